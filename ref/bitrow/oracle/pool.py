"""Max and average pools, forward and backward, one scalar at a time (SPEC.md A2, A3)."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from bitrow.config import AvgPoolConfig, MaxPoolConfig
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, FloatMode
from bitrow.oracle import fp16, fp32, softfloat
from bitrow.oracle.arrays import Row, Words, chosen_rows, lead, map_words, need, take
from bitrow.oracle.gather import forward_sources, gradient_sources
from bitrow.oracle.reduce import Arithmetic, running, tree

_FP32 = Arithmetic(FP32)


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


def max_forward(config: MaxPoolConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """Max pool (A2).

    Args:
        config: the layer.
        inputs: x uint16 `[n, h, w, c]`.
        rows: the output rows wanted, all where None.

    Returns:
        y uint16 and index uint8 `[n, oh, ow, c]`, or `[rows, ow, c]`: the winner's kh*kernel + kw.
    """
    rows = None if rows is None else list(rows)
    (x,) = need(inputs, "x")
    n, h, w, c = x.shape
    row_sources = forward_sources(h, config.kernel, config.stride, config.padding)
    column_sources = forward_sources(w, config.kernel, config.stride, config.padding)
    words, places = [], []
    targets = chosen_rows(rows, n, len(row_sources))
    for image, i in targets:
        kept = {kh: x[image, at].tolist() for kh, at in enumerate(row_sources[i]) if at is not None}
        for sources in column_sources:
            cells = [
                (row[at], kh * config.kernel + kw)
                for kh, row in kept.items()
                for kw, at in enumerate(sources)
                if at is not None
            ]
            for channel in range(c):
                word, place = _winner([(cell[channel], place) for cell, place in cells])
                words.append(word)
                places.append(place)
    shape = (*lead(rows, n, len(row_sources)), len(column_sources), c)
    return {
        "y": np.array(words, np.uint16).reshape(shape),
        "index": np.array(places, np.uint8).reshape(shape),
    }


def max_backward(
    config: MaxPoolConfig, inputs: Words, input_hw: tuple[int, int], rows: Iterable[Row] | None = None
) -> Words:
    """Max pool's input gradient (A2).

    Args:
        config: the layer.
        inputs: dy uint16 and index uint8 `[n, oh, ow, c]`.
        input_hw: rows and columns of the input map.
        rows: the rows of dx wanted, all where None.

    Returns:
        dx uint16 `[n, h, w, c]`, or `[rows, w, c]`.
    """
    rows = None if rows is None else list(rows)
    dy, index = need(inputs, "dy", "index")
    n, oh, ow, c = dy.shape
    h, w = input_hw
    geometry = (config.kernel, config.stride, config.padding)
    windows_h, windows_w = gradient_sources(h, oh, *geometry), gradient_sources(w, ow, *geometry)
    last = config.kernel - 1
    dx = []
    for image, at in chosen_rows(rows, n, h):
        for across in windows_w:
            windows = [
                (i, j, (last - kh) * config.kernel + last - kw)
                for kh, i in enumerate(windows_h[at])
                for kw, j in enumerate(across)
                if i is not None and j is not None
            ]
            for channel in range(c):
                won = [
                    int(dy[image, i, j, channel])
                    for i, j, place in windows
                    if index[image, i, j, channel] == place
                ]
                dx.append(_gathered(won, config.mode))
    return {"dx": np.array(dx, np.uint16).reshape(*lead(rows, n, h), w, c)}


def _gathered(won: list[int], mode: FloatMode) -> int:
    """dx of an input: +0, or the first dy that goes to it plus the others, one after another (A2)."""
    if not won:
        return 0
    return functools.reduce(lambda total, dy: fp16.add(total, dy, mode), won[1:], fp16.canonical(won[0]))


def _window(config: AvgPoolConfig, input_hw: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a window (A3).

    Raises:
        BitrowError: the window is larger than the map.
    """
    h, w = input_hw
    if config.kernel is None:
        return h, w
    if config.kernel > min(h, w):
        raise BitrowError(f"average pool kernel: found {config.kernel}, expected at most {min(h, w)}")
    return config.kernel, config.kernel


def _inv_n(kernel: tuple[int, int]) -> softfloat.Number:
    return fp32.read(fp32.from_fraction(Fraction(1, kernel[0] * kernel[1])))


def avg_forward(config: AvgPoolConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """Average pool (A3).

    Args:
        config: the layer.
        inputs: x uint16 `[n, h, w, c]`.
        rows: the output rows wanted, all where None.

    Returns:
        sum_level* uint32 `[n, oh, kernel_h, ow, w, c]` with w, the window's columns, halved; sum_running
        `[kernel_h, n, oh, ow, c]`, sum `[n, oh, ow, c]`, uint32; y uint16 `[n, oh, ow, c]`. With `rows`,
        `n, oh` are one axis.
    """
    rows = None if rows is None else list(rows)
    (x,) = need(inputs, "x")
    n, h, w, c = x.shape
    kernel_h, kernel_w = _window(config, (h, w))
    oh, ow = h // kernel_h, w // kernel_w
    windows = x[:, : oh * kernel_h, : ow * kernel_w].reshape(n, oh, kernel_h, ow, kernel_w, c)
    wanted = take(windows, chosen_rows(rows, n, oh))
    levels, row_sums = tree(_FP32, _FP32.widen(wanted, config.mode), axis=3)
    sums = running(_FP32, np.moveaxis(row_sums, 1, 0))
    inv_n = _inv_n((kernel_h, kernel_w))
    y = map_words(lambda s: softfloat.mul(FP16, fp32.read(s), inv_n, config.mode), np.uint16, sums[-1])
    shape = lead(rows, n, oh)
    taps = {f"sum_level{i}": level for i, level in enumerate(levels, start=1)} | {"sum": sums[-1], "y": y}
    out = {name: tap.reshape(*shape, *tap.shape[1:]) for name, tap in taps.items()}
    return out | {"sum_running": sums.reshape(kernel_h, *shape, ow, c)}


def avg_backward(
    config: AvgPoolConfig, inputs: Words, input_hw: tuple[int, int], rows: Iterable[Row] | None = None
) -> Words:
    """Average pool's input gradient (A3), dy uint16 `[n, oh, ow, c]` to dx `[n, h, w, c]`, or its rows."""
    rows = None if rows is None else list(rows)
    (dy,) = need(inputs, "dy")
    n, oh, ow, c = dy.shape
    h, w = input_hw
    kernel = _window(config, input_hw)
    inv_n, mode = _inv_n(kernel), config.mode
    scaled = map_words(lambda g: softfloat.mul(FP16, fp16.read(g, mode), inv_n, mode), np.uint16, dy)
    dx = np.zeros((n, h, w, c), np.uint16)
    inside = scaled.repeat(kernel[0], axis=1).repeat(kernel[1], axis=2)
    dx[:, : oh * kernel[0], : ow * kernel[1]] = inside
    return {"dx": take(dx, chosen_rows(rows, n, h)).reshape(*lead(rows, n, h), w, c)}
