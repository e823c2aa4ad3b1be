"""ReLU, residual add, gradient accumulation, pools and the classifier head (SPEC.md A).

Inputs and results are dicts of integer bit arrays (uint16 for FP16, uint32 for FP32); taps bear SPEC.md's
names. `rows` asks for some output rows only, as in `bitrow.oracle.arrays`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from bitrow.config import AddConfig, LinearConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, FloatMode
from bitrow.oracle import fp16, fp32, softfloat
from bitrow.oracle.arrays import Row, Words, chosen_rows, lead, map_words, need, take
from bitrow.oracle.pool import avg_backward, avg_forward, max_backward, max_forward
from bitrow.oracle.reduce import Arithmetic, tree

__all__ = [
    "accumulate",
    "add_forward",
    "avg_backward",
    "avg_forward",
    "linear_backward",
    "linear_forward",
    "max_backward",
    "max_forward",
    "relu_backward",
    "relu_forward",
    "relu_passes",
]

_SIX = softfloat.round_number(FP16, softfloat.integer(6))
_FP32 = Arithmetic(FP32)


def _elementwise(name: str, function, arrays: Sequence[np.ndarray], rows: Iterable[Row] | None) -> Words:
    rows = None if rows is None else list(rows)
    n, h = arrays[0].shape[:2]
    wanted = chosen_rows(rows, n, h)
    out = map_words(function, np.uint16, *(take(array, wanted) for array in arrays))
    return {name: out.reshape(*lead(rows, n, h), *out.shape[1:])}


def relu(x: int, six: bool = False) -> int:
    """A1 on one FP16 word. Positive words order as integers, so 6 needs no arithmetic."""
    if fp16.is_nan(x):
        return FP16.nan_bits
    if not fp16.is_positive(x):
        return 0
    return min(x, _SIX) if six else x


def relu_passes(x: int, six: bool = False) -> int:
    """Whether A1's backward passes the gradient at x: 1 or 0."""
    return int(fp16.is_positive(x) and not (six and x >= _SIX))


def relu_forward(config: ReluConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """A1: x uint16 `[n, h, w, c]` in, y out."""
    return _elementwise("y", functools.partial(relu, six=config.six), need(inputs, "x"), rows)


def relu_backward(config: ReluConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """A1's backward, dx out.

    Args:
        config: the layer.
        inputs: dy uint16 `[n, h, w, c]`, and x uint16 or, in its place, mask uint8: where x passes.
        rows: the rows wanted, all where None.
    """
    (dy,) = need(inputs, "dy")
    if "mask" in inputs:
        return _elementwise("dx", _selected, (np.asarray(inputs["mask"]), dy), rows)
    passes = functools.partial(relu_passes, six=config.six)
    return _elementwise("dx", lambda x, g: _selected(passes(x), g), (*need(inputs, "x"), dy), rows)


def _selected(passes: int, dy: int) -> int:
    return fp16.canonical(dy) if passes else 0


def add_forward(config: AddConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """A2's residual add: x and shortcut uint16 `[n, h, w, c]` in, y out. Its gradient is dy to both."""
    operation = functools.partial(fp16.add, mode=config.mode)
    return _elementwise("y", operation, need(inputs, "x", "shortcut"), rows)


def accumulate(dys: Sequence[np.ndarray], mode: FloatMode = softfloat.NEAREST) -> np.ndarray:
    """The gradient of a value with several consumers, in the order that the backward pass reaches them (A5).

    Args:
        dys: FP16 words, one array for each consumer; a single one is passed on as it is.
        mode: the addition's parameters.

    Raises:
        BitrowError: no gradient.
    """
    if not dys:
        raise BitrowError("accumulate: found no gradient, expected one or more")
    operation = functools.partial(fp16.add, mode=mode)
    return functools.reduce(lambda total, dy: map_words(operation, np.uint16, total, dy), dys)


def _products(x: np.ndarray, y: np.ndarray, mode: FloatMode) -> np.ndarray:
    """FP16 by FP16, exact in FP32 (A4)."""
    return map_words(
        lambda a, b: softfloat.mul(FP32, fp16.read(a, mode), fp16.read(b, mode)), np.uint32, x, y
    )


def linear_forward(config: LinearConfig, inputs: Words) -> Words:
    """A4: x uint16 `[n, i]`, weight uint16 `[i, o]`, bias uint32 `[o]` in.

    Returns:
        sum_level* uint32 `[n, i, o]` with i halved, sum uint32 `[n, o]`, y uint16 `[n, o]`.
    """
    x, weight, bias = need(inputs, "x", "weight", "bias")
    _check_linear("x", x.shape, weight.shape, 0)
    levels, total = tree(_FP32, _products(x[:, :, None], weight[None], config.mode), axis=1)
    taps = {f"sum_level{i}": level for i, level in enumerate(levels, start=1)}
    y = map_words(
        lambda s, b: softfloat.add(FP16, fp32.read(s), fp32.read(b), config.mode), np.uint16, total, bias
    )
    return taps | {"sum": total, "y": y}


def linear_backward(config: LinearConfig, inputs: Words) -> Words:
    """A4's input gradient: dy uint16 `[n, o]` and weight uint16 `[i, o]` in.

    Returns:
        sum_level* uint32 `[n, i, o]` with o halved, sum uint32 `[n, i]`, dx uint16 `[n, i]`.
    """
    dy, weight = need(inputs, "dy", "weight")
    _check_linear("dy", dy.shape, weight.shape, 1)
    levels, total = tree(_FP32, _products(dy[:, None, :], weight[None], config.mode), axis=2)
    taps = {f"sum_level{i}": level for i, level in enumerate(levels, start=1)}
    dx = map_words(functools.partial(fp16.from_float32, mode=config.mode), np.uint16, total)
    return taps | {"sum": total, "dx": dx}


def _check_linear(name: str, shape: tuple[int, ...], weight: tuple[int, ...], axis: int) -> None:
    if len(shape) != 2 or len(weight) != 2 or shape[1] != weight[axis]:
        raise BitrowError(f"linear {name}: found shape {shape}, expected [n, {weight[axis]}]")
