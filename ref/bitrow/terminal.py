"""The one way out to a terminal: text whose control characters, markup and length can do nothing.

What a file or an argument says may stand in any line, so every line passes `plain`. Standard library only; rich is
loaded by the tables alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ERROR_LENGTH = 1_000  # characters of an error's line
LINE_LENGTH = 10_000  # of any other line
_FILE_WIDTH = 10_000  # columns where nobody looks: a table in a file keeps its figures
_LEAST_WIDTH = 20
_MANY = 5  # columns of figures
_SQUEEZED = 12  # columns of text in a table that is wider than the terminal


def plain(text: object, most: int = LINE_LENGTH) -> str:
    """`text` as one line of printable characters: others as escapes, what is longer than `most` without its middle.

    Control characters, escape codes, line ends, characters that turn or hide text and lone surrogates become `\\x1b`
    and the like. What is plain stays as it is, so that plain text may pass again.
    """
    line = str(text)
    if len(line) > most:
        head, tail = most * 2 // 3, most // 6
        line = f"{line[:head]} ... [{len(line):,} characters] ... {line[-tail:]}"
    return line if line.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in line)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def tolerate() -> None:
    """Let standard output and error replace what their encoding lacks, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def put(lines: Iterable[object]) -> None:
    """Lines on standard output."""
    for line in lines:
        print(plain(line))


def say(line: object) -> None:
    """One line of the program's own on standard error."""
    print(plain(f"bitrow: {' '.join(str(line).split())}", ERROR_LENGTH), file=sys.stderr)


def put_json(text: str) -> None:
    """JSON, which escapes what it holds by itself, on standard output."""
    print(text)


def console(stderr: bool = False) -> Console:
    """A console that parses no markup. Off a terminal it is as wide as what it prints."""
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = _FILE_WIDTH
    elif made.width < _LEAST_WIDTH:  # COLUMNS=0, or a terminal that does not know
        made.width = 80
    return made


class Column(NamedTuple):
    """A column of a table: its name, and whether it holds figures."""

    name: str
    figures: bool = False


def table(title: str, columns: Sequence[Column], rows: Iterable[Sequence[object]] = ()) -> Table:
    """A table of plain cells; a cell too wide for the terminal goes on in the next line."""
    from rich.table import Table

    made = Table(title=plain(title), title_justify="left", title_style="bold")
    for column in columns:
        made.add_column(plain(column.name), justify="right" if column.figures else "left", overflow="fold")
    for row in rows:
        add_row(made, row)
    return made


def add_row(made: Table, cells: Sequence[object], style: str = "") -> None:
    """One more row; `style` is its colour."""
    made.add_row(*map(plain, cells), style=style)


def put_table(made: Any, to: Console | None = None) -> None:
    """A table on standard output, or on the console `to`.

    One of many figures, more than the width holds without breaking them, is listed row by row, each by its name.
    """
    to = to or console()
    if _fits(made, to.width):
        to.print(made)
        return
    put_line(made.title, to, "bold")
    for line in _listed(made, to.width):
        put_line(line, to)


def _fits(made: Table, width: int) -> bool:
    """Figures stay whole beside what text can be squeezed to; a table of few may break them."""
    figures = [column for column in made.columns if column.justify == "right"]
    if len(figures) < _MANY:
        return True
    lengths = {id(column): max(map(len, (str(column.header), *map(str, column.cells)))) for column in made.columns}
    kept = sum(lengths[id(column)] for column in figures)
    texts = (min(lengths[id(column)], _SQUEEZED) for column in made.columns if column.justify != "right")
    return kept + sum(texts) + 3 * len(made.columns) + 1 <= width


def _listed(made: Table, width: int) -> Iterator[str]:
    """Each row as a line of its texts, and its figures by name in lines below."""
    rows = zip(*(list(column.cells) for column in made.columns), strict=True)
    for row in rows:
        cells = [(column, str(cell)) for column, cell in zip(made.columns, row, strict=True) if str(cell)]
        yield ", ".join(cell for column, cell in cells if column.justify != "right")
        line = ""
        for named in (f"{column.header} {cell}" for column, cell in cells if column.justify == "right"):
            if line and len(line) + 2 + len(named) > width:
                yield line
                line = ""
            line = f"{line}, {named}" if line else f"  {named}"
        yield line


def put_line(line: object, to: Console | None = None, style: str = "") -> None:
    """A line between tables, as `put`, in a style."""
    (to or console()).print(plain(line), style=style or None, markup=False, highlight=False, soft_wrap=True)
