"""Which rows a row task takes of a buffer, and which it waits for (SPEC.md C1, C2). Standard library only."""

from __future__ import annotations

from collections.abc import Callable

from bitrow.config.rows import Take, Window

TakenRows = tuple[int | None, ...]


def window_rows(window: Window, row: int, in_rows: int) -> tuple[int, int]:
    """First and last input row that output row `row` reads, inside the map; first > last: none."""
    first = row * window.stride - window.padding
    return _inside(first, first + window.kernel - 1, in_rows)


def gradient_rows(window: Window, row: int, out_rows: int) -> tuple[int, int]:
    """First and last output row i with `iS-P <= row <= iS-P+K-1`; first > last: none (SPEC.md C2)."""
    reach = row + window.padding
    return _inside(-(-(reach - window.kernel + 1) // window.stride), reach // window.stride, out_rows)


def _inside(first: int, last: int, rows: int) -> tuple[int, int]:
    if last < first or last < 0 or first >= rows:  # reads nothing: wait for the row before it all the same
        last = min(max(last, 0), rows - 1)
        return last + 1, last
    return max(first, 0), min(last, rows - 1)


# First and last of the rows that a task waits for, by its window, its row and the buffer's rows.
SPANS: dict[Take, Callable[[Window, int, int], tuple[int, int]]] = {
    Take.SAME: lambda window, row, rows: (row, row),
    Take.WINDOW: window_rows,
    Take.MEETING: gradient_rows,
    Take.POOLED: gradient_rows,
    Take.ONLY: lambda window, row, rows: (0, 0),
    Take.BATCH: lambda window, row, rows: (0, rows - 1),
}


def taken(take: Take, window: Window, row: int, rows: int) -> TakenRows:
    """The rows that the task of `row` takes of a buffer of `rows`, as many for each task; None is a row of zeros."""
    kernel, stride, padding = window

    def inside(at: int, step: int = 1) -> int | None:
        return at // step if at % step == 0 and 0 <= at // step < rows else None

    match take:
        case Take.SAME:
            return (row,)
        case Take.WINDOW:
            return tuple(inside(row * stride - padding + k) for k in range(kernel))
        case Take.MEETING:
            return tuple(inside(row + padding - kernel + 1 + k, stride) for k in range(kernel))
        case Take.POOLED:
            return (inside(row // kernel),)
        case Take.RUNNING:
            return (row // kernel if row % kernel else None,)
        case Take.LAST | Take.ONLY:
            return (0,)
    return ()
