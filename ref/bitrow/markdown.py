"""Tables as Markdown, for pages that are written by programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; a bar in a cell is escaped."""
    return [_line(header), f"|{'---|' * len(header)}", *map(_line, rows)]


def section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a section that holds one table."""
    return [f"## {title}", "", *table(header, rows), ""]
