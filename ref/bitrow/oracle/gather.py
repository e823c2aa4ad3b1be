"""Which words a convolution reads, in reduction order, in both directions (SPEC.md M1, M2, C1, C2).

A target row of the result reads source rows; both directions differ only in where they look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from bitrow.config.windows import Window, Windows
from bitrow.errors import BitrowError
from bitrow.oracle.arrays import Row, chosen_rows

T = TypeVar("T")
Sources = list[list[int | None]]


class Gather(NamedTuple):
    """Where each target row and column reads, and the kernels that it meets there.

    `rows[i]` and `columns[j]` list source indices in reduction order, None where there is nothing to read
    (outside the map, or a dilation hole). `kernels[group][channel]` is flat in the same order, channels of
    the source fastest.
    """

    rows: Sources
    columns: Sources
    kernels: list[list[list[int]]]


def forward_sources(size: int, window: Window) -> Sources:
    """For each output index, the input index under each kernel index (M1).

    Raises:
        BitrowError: the kernel does not fit the padded map.
    """
    count = window.results(size)
    if count < 1:
        padding = f"{window.before} and {window.after}"
        raise BitrowError(f"window of {window.extent}: found a map of {size} with padding {padding}, expected more")
    inside, (kernel, stride, before, _, dilation) = range(size), window
    reads = [[i * stride - before + k * dilation for k in range(kernel)] for i in range(count)]
    return [[at if at in inside else None for at in row] for row in reads]


def gradient_sources(size: int, dy_size: int, window: Window) -> Sources:
    """For each input index, the dy index under each index of the rotated kernel (C2)."""
    result: Sources = []
    kernel, stride, before, _, dilation = window
    for h in range(size):
        row: list[int | None] = []
        for rotated in range(kernel):
            i, hole = divmod(h + before - (kernel - 1 - rotated) * dilation, stride)
            row.append(i if not hole and 0 <= i < dy_size else None)
        result.append(row)
    return result


def forward_gather(weight: np.ndarray, x_hw: tuple[int, int], windows: Windows, groups: int) -> Gather:
    """Gather of C1: weight `[kh, kw, c_in/groups, c_out]`, order kh, kw, c_in."""
    kh, kw, c_in_group, c_out = weight.shape
    kernels = weight.transpose(3, 0, 1, 2).reshape(groups, c_out // groups, kh * kw * c_in_group)
    return Gather(
        forward_sources(x_hw[0], windows[0]),
        forward_sources(x_hw[1], windows[1]),
        kernels.tolist(),
    )


def gradient_gather(weight: np.ndarray, x_hw: tuple[int, int], windows: Windows, groups: int) -> Gather:
    """Gather of C2: the kernel rotated and its channels swapped, order kh, kw, c_out."""
    kh, kw, c_in_group, c_out = weight.shape
    split = weight[::-1, ::-1].reshape(kh, kw, c_in_group, groups, c_out // groups)
    kernels = split.transpose(3, 2, 0, 1, 4).reshape(groups, c_in_group, kh * kw * (c_out // groups))
    rows, columns = (
        gradient_sources(size, window.results(size), window) for size, window in zip(x_hw, windows, strict=True)
    )
    return Gather(rows, columns, kernels.tolist())


def turned(weight: np.ndarray, groups: int) -> np.ndarray:
    """Input and output channels swapped inside each group: `[kh, kw, c_in/groups, c_out]` becomes
    `[kh, kw, c_out/groups, c_in]`. A transposed convolution is the gradient of the one with these weights (C5)."""
    kh, kw, c_in_group, c_out = weight.shape
    split = weight.reshape(kh, kw, c_in_group, groups, c_out // groups).transpose(0, 1, 4, 3, 2)
    return split.reshape(kh, kw, c_out // groups, groups * c_in_group)


def touched(sources: Sources, source_shape: tuple[int, ...], rows: Iterable[Row] | None) -> list[Row]:
    """The source rows that the target `rows` read, ascending; every source row where `rows` is None."""
    if rows is None:
        return chosen_rows(None, source_shape[0], source_shape[1])
    chosen = chosen_rows(rows, source_shape[0], len(sources))
    return sorted({(n, at) for n, h in chosen for at in sources[h] if at is not None})


def patches(
    gather: Gather, source: dict[Row, list[list[T]]], target: Row, outside: T
) -> Iterator[list[list[T]]]:
    """For each column of a target row, the words that it reads: one flat list for each group."""
    n, h = target
    groups = len(gather.kernels)
    width = _source_channels(gather)
    gap: Sequence[T] = [outside] * (groups * width)
    present = [source[(n, at)] if at is not None else None for at in gather.rows[h]]
    for columns in gather.columns:
        cells = [gap if row is None or at is None else row[at] for row in present for at in columns]
        yield [[word for cell in cells for word in cell[g * width : (g + 1) * width]] for g in range(groups)]


def _source_channels(gather: Gather) -> int:
    """Source channels of one group."""
    return len(gather.kernels[0][0]) // (len(gather.rows[0]) * len(gather.columns[0]))
