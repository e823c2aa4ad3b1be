"""What reads windows of a map: convolution sums, pools (SPEC.md M1, M2, C1 to C3, A2, A3)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from bitrow.contract.frame import ROW_AXES, Axes, Frame, Result, Value, single
from bitrow.contract.program import Line
from bitrow.formats import FP16, FloatMode
from bitrow.oracle import fp16, fxp, gather
from bitrow.oracle.arrays import Row
from bitrow.oracle.float_sum import running_sum

T = TypeVar("T")


def _by_row(frame: Frame, source: Value) -> dict[Row, Any]:
    return dict(zip(frame.rows[source.axes[0]], source.words.tolist(), strict=True))


def _summed(
    frame: Frame, axes: Axes, source: Value, outside: T, reduce: Callable[[list[T], list[int]], Any], dtype: type
) -> np.ndarray:
    """`reduce` of each window's words and its kernel, for every row, column and channel; a running index first (T2)."""
    plan = frame.operation.gather(frame.config, frame.given)
    target = frame.rows[next(axis for axis in axes if axis in ROW_AXES)]
    rows = _by_row(frame, source)
    values = [
        reduce(patch, kernel)
        for row in target
        for groups in gather.patches(plan, rows, row, outside)
        for patch, kernels in zip(groups, plan.kernels, strict=True)
        for kernel in kernels
    ]
    shape = (len(target), len(plan.columns), len(plan.kernels) * len(plan.kernels[0]))
    if axes[0] in ROW_AXES:
        return np.array(values, dtype).reshape(shape)
    return np.moveaxis(np.array(values, dtype).reshape(*shape, len(plan.kernels[0][0])), -1, 0)


def _macs(frame: Frame, line: Line, axes: Axes, codes: Value, weight: Value) -> Result:
    """The sum of products in the accumulator (M1, M2)."""
    register = frame.config.accumulator
    return single(line, axes, _summed(frame, axes, codes, 0, lambda x, w: fxp.mac(x, w, register), np.int32))


def _clamped_macs(frame: Frame, line: Line, axes: Axes, codes: Value, weight: Value) -> Result:
    """The register after each product, clamped (M2 `saturate`)."""
    register = frame.config.accumulator
    return single(line, axes, _summed(frame, axes, codes, 0, lambda x, w: fxp.mac_running(x, w, register), np.int32))


def _float_macs(frame: Frame, line: Line, axes: Axes, dy: Value, weight: Value) -> Result:
    """The FP32 sum of products of FP16 words and codes after each; nothing to read is skipped (C3)."""
    mode = frame.config.mode
    return single(line, axes, _summed(frame, axes, dy, None, lambda x, w: running_sum(x, w, mode), np.uint32))


def _order(a: int) -> int:
    """An integer that orders FP16 words as A2 does: NaN above all, -0 equal to +0."""
    if fp16.is_nan(a):
        return FP16.infinity_bits + 1
    magnitude = a & (FP16.sign_mask - 1)
    return -magnitude if a & FP16.sign_mask else magnitude


def _winner(candidates: list[tuple[int, int]]) -> tuple[int, int]:
    """Word and place of the first maximum of `(word, place)` pairs in row-major order (A2)."""
    word, place = max(candidates, key=lambda candidate: _order(candidate[0]))  # max keeps the first
    return fp16.canonical(word), place


def _kept_rows(sources: list[int | None], image: int, rows: dict[Row, Any]) -> dict[int, Any]:
    """The rows of a window that lie inside the map, by their place in it."""
    return {kh: rows[image, at] for kh, at in enumerate(sources) if at is not None}


def _winners(frame: Frame, x: Value) -> list[tuple[int, int]]:
    """Word and place of each window's winner, row by row; a pool's two lines search once."""
    if "winners" not in frame.shared:
        frame.shared["winners"] = _search(frame, x)
    return frame.shared["winners"]


def _search(frame: Frame, x: Value) -> list[tuple[int, int]]:
    config, rows = frame.config, _by_row(frame, x)
    down = frame.operation.row_sources(config, frame.given) or []
    window = config.windows[1]
    across = gather.forward_sources(x.words.shape[1], window)
    found = []
    for image, i in frame.rows[frame.operation.target]:
        kept = _kept_rows(down[i], image, rows)
        for sources in across:
            cells = [(row[at], kh * window.kernel + kw)
                     for kh, row in kept.items() for kw, at in enumerate(sources) if at is not None]  # fmt: skip
            for channel in range(x.words.shape[2]):
                found.append(_winner([(cell[channel], place) for cell, place in cells]))
    return found


def _maximum(frame: Frame, line: Line, axes: Axes, x: Value) -> Result:
    """The first maximum of each window; a NaN is greater than any number, and padding never wins (A2)."""
    words = _pooled(frame, x, 0, np.uint16)
    return single(line, axes, words)


def _place(frame: Frame, line: Line, axes: Axes, x: Value) -> Result:
    """Where in its window the winner is, kh * KW + kw (A2)."""
    words = _pooled(frame, x, 1, np.uint8)
    return single(line, axes, words)


def _pooled(frame: Frame, x: Value, part: int, dtype: type) -> np.ndarray:
    words: np.ndarray = np.array([found[part] for found in _winners(frame, x)], dtype)
    across = frame.config.windows[1].results(x.words.shape[1])
    return words.reshape(len(frame.rows[frame.operation.target]), across, x.words.shape[2])


def _won(frame: Frame, line: Line, axes: Axes, dy: Value, index: Value) -> Result:
    """dx of each input from the windows that it wins in, row-major order (A2)."""
    config, (h, w) = frame.config, frame.operation.map_size(frame.given)
    down = gather.gradient_sources(h, frame.counts[dy.axes[0]][1], config.windows[0])
    across = gather.gradient_sources(w, dy.words.shape[1], config.windows[1])
    gradients, places = _by_row(frame, dy), _by_row(frame, index)
    (kh_last, kw_last), dx = (window.kernel - 1 for window in config.windows), []
    for image, at in frame.rows[axes[0]]:
        for columns in across:
            windows = [((image, i), j, (kh_last - kh) * (kw_last + 1) + kw_last - kw)
                       for kh, i in enumerate(down[at]) for kw, j in enumerate(columns)
                       if i is not None and j is not None]  # fmt: skip
            for channel in range(dy.words.shape[2]):
                won = [gradients[row][j][channel] for row, j, place in windows if places[row][j][channel] == place]
                dx.append(_gathered(won, config.mode))
    words = np.array(dx, np.uint16).reshape(len(frame.rows[axes[0]]), w, dy.words.shape[2])
    return single(line, axes, words)


def _gathered(won: list[int], mode: FloatMode) -> int:
    """dx of an input: +0, or the first dy that goes to it plus the others, one after another (A2, A3)."""
    if not won:
        return 0
    return functools.reduce(lambda total, dy: fp16.add(total, dy, mode), won[1:], fp16.canonical(won[0]))


def _windows(frame: Frame, line: Line, axes: Axes, x: Value) -> Result:
    """The windows of an average pool (A3): +0 where they reach outside the map."""
    place = {row: at for at, row in enumerate(frame.rows[x.axes[0]])}
    down, right = frame.operation.windows(frame.config, frame.given)
    sources = gather.forward_sources(frame.counts[x.axes[0]][1], down)
    read = [[-1 if at is None else place[n, at] for at in sources[i]] for n, i in frame.rows[axes[0]]]
    across = [[-1 if at is None else at for at in one] for one in gather.forward_sources(x.words.shape[1], right)]
    framed = np.pad(x.words, ((0, 1), (0, 1), (0, 0)))  # its last row and column are +0
    rows = np.array(read, np.intp).reshape(len(read), down.kernel, 1, 1)  # none, perhaps
    words = framed[rows, np.array(across, np.intp)[None, None]]
    return single(line, axes, words)


def _spread(frame: Frame, line: Line, axes: Axes, dy: Value) -> Result:
    """A window's gradient to each of its inputs, several windows' added in row-major order (A3)."""
    operation, rows = frame.operation, _by_row(frame, dy)
    window = operation.windows(frame.config, frame.given)[1]
    down = operation.row_sources(frame.config, frame.given) or []
    across = gather.gradient_sources(operation.map_size(frame.given)[1], dy.words.shape[1], window)
    channels, dx = range(dy.words.shape[2]), []
    for image, at in frame.rows[axes[0]]:
        holding = [rows[image, i] for i in down[at] if i is not None]
        for columns in across:
            met = [row[j] for row in holding for j in columns if j is not None]
            dx += [_gathered([cell[channel] for cell in met], frame.config.mode) for channel in channels]
    words = np.array(dx, np.uint16).reshape(len(frame.rows[axes[0]]), len(across), len(channels))
    return single(line, axes, words)


WINDOWS: dict[str, Any] = {
    "macs": _macs,
    "clamped_macs": _clamped_macs,
    "float_macs": _float_macs,
    "maximum": _maximum,
    "place": _place,
    "won": _won,
    "windows": _windows,
    "spread": _spread,
}
