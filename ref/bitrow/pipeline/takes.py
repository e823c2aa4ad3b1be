"""Which rows a row task takes of a buffer, and which it waits for (SPEC.md C1, C2). Standard library only."""

from __future__ import annotations

from collections.abc import Callable

from bitrow.config.rows import Take, Window

TakenRows = tuple[int | None, ...]


def window_rows(window: Window, row: int, in_rows: int) -> tuple[int, int]:
    """First input row that output row `row` reads, and the last under its window; first > last: none is read."""
    first = row * window.stride - window.before
    return _from(Take.WINDOW, window, row, in_rows, _inside(first, first + window.extent - 1, in_rows))


def gradient_rows(window: Window, row: int, out_rows: int) -> tuple[int, int]:
    """First output row that reads `row`, and the last whose window spans it; first > last: none does (SPEC.md C2)."""
    reach = row + window.before
    spanned = _inside(-(-(reach - window.extent + 1) // window.stride), reach // window.stride, out_rows)
    return _from(Take.MEETING, window, row, out_rows, spanned)


def _from(take: Take, window: Window, row: int, rows: int, spanned: tuple[int, int]) -> tuple[int, int]:
    """A dilated window may take less than it spans: rows before the first that it takes are free."""
    if window.dilation == 1:
        return spanned
    return min((at for at in taken(take, window, row, rows) if at is not None), default=spanned[1] + 1), spanned[1]


def _inside(first: int, last: int, rows: int) -> tuple[int, int]:
    if last < first or last < 0 or first >= rows:  # reads nothing: wait for the row before it all the same
        last = min(max(last, 0), rows - 1)
        return last + 1, last
    return max(first, 0), min(last, rows - 1)


# First and last of the rows that a task waits for, by its window, its row and the buffer's rows. A dilated window
# waits for the rows between those that it takes, too: they come in order.
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
    kernel, stride, before, _, dilation = window

    def inside(at: int, step: int = 1) -> int | None:
        return at // step if at % step == 0 and 0 <= at // step < rows else None

    match take:
        case Take.SAME:
            return (row,)
        case Take.WINDOW:
            return tuple(inside(row * stride - before + k * dilation) for k in range(kernel))
        case Take.MEETING:
            return tuple(inside(row + before - (kernel - 1 - k) * dilation, stride) for k in range(kernel))
        case Take.POOLED:
            return (inside(row // kernel),)
        case Take.RUNNING:
            return (row // kernel if row % kernel else None,)
        case Take.LAST | Take.ONLY:
            return (0,)
    return ()
