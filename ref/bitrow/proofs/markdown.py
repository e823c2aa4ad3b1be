"""Tables as Markdown, for the pages that commands write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a section that holds one table; a bar in a cell is escaped."""
    return [f"## {title}", "", _line(header), f"|{'---|' * len(header)}", *map(_line, rows), ""]
