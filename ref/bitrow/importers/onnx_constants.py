"""Operators on constants alone, which are computed while an ONNX file is read: shapes, fills, transposed weights.

Each is a row of CONSTANTS; a result is bounded before it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.importers.onnx_node import OnnxNode
from bitrow.importers.onnx_values import Known
from bitrow.importers.operators import NotImported

_Inputs = list[Known]
_MOST = 1 << 16


def _shape_of(node: OnnxNode, sizes: Known) -> tuple[int, ...]:
    found = [int(size) for size in sizes.array.reshape(-1)]
    if len(found) > 8 or any(size < 0 for size in found):
        raise NotImported(f"found the shape {found[:8]}, expected up to 8 sizes from 0")
    return tuple(found)


def _fill(node: OnnxNode, inputs: _Inputs) -> Known:
    shape = _shape_of(node, inputs[0])
    value = node.tensor("value")
    one = np.float32(0) if value is None else value.reshape(-1)[0] if value.size == 1 else None
    if one is None:
        raise NotImported("found a value of several numbers, expected one")
    node.file.spend(math.prod(shape), one.dtype.itemsize)
    return Known(np.broadcast_to(one, shape))  # its memory is taken where it is used


def _constant(node: OnnxNode, inputs: _Inputs) -> Known:
    value = node.tensor("value")
    if value is not None:
        return Known(value)
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64), ("value_floats", np.float32),
                        ("value_ints", np.int64)):  # fmt: skip
        found = node.attribute(name)
        if found is not None:
            return Known(np.array(found, dtype))
    raise NotImported("found no value of numbers, expected one")


def _reshape(node: OnnxNode, inputs: _Inputs) -> Known:
    array, target = inputs[0].array, [int(size) for size in inputs[1].array.reshape(-1)]
    copied = [array.shape[i] if size == 0 and i < array.ndim else size for i, size in enumerate(target)]
    return _like(inputs[0], lambda part: part.reshape(copied), one_scale=True)


def _transpose(node: OnnxNode, inputs: _Inputs) -> Known:
    perm = node.integers("perm") or list(reversed(range(inputs[0].array.ndim)))
    return _like(inputs[0], lambda part: part.transpose(perm))


def _like(given: Known, change: Callable[[np.ndarray], np.ndarray], one_scale: bool = False) -> Known:
    """A constant moved about, its scale with it."""
    if given.scale is None or given.scale.size == 1:
        return given._replace(array=change(given.array))
    if one_scale:
        raise NotImported("found quantized weights of several scales, expected them where they are used")
    return given._replace(array=change(given.array), scale=change(given.scale))


def _squeeze(node: OnnxNode, inputs: _Inputs) -> Known:
    axes = node.axes(1)
    return _like(inputs[0], lambda part: np.squeeze(part, None if axes is None else tuple(axes)), one_scale=True)


def _unsqueeze(node: OnnxNode, inputs: _Inputs) -> Known:
    return _like(inputs[0], lambda part: np.expand_dims(part, tuple(node.axes(1) or ())), one_scale=True)


def _cast(node: OnnxNode, inputs: _Inputs) -> Known:
    dtype = np.dtype(node.dtype("to"))
    node.file.spend(inputs[0].array.size, dtype.itemsize)
    with np.errstate(all="ignore"):
        return Known(inputs[0].array.astype(dtype))


def _gather(node: OnnxNode, inputs: _Inputs) -> Known:
    array, places, axis = inputs[0].array, inputs[1].array, node.integer("axis", 0)
    _check_small(inputs, array.size // max(1, array.shape[axis]) * places.size)
    return Known(np.take(array, places, axis=axis))


def _concat(node: OnnxNode, inputs: _Inputs) -> Known:
    _check_small(inputs, sum(one.array.size for one in inputs))
    return Known(np.concatenate([one.array for one in inputs], axis=node.integer("axis", 0)))


def _slice(node: OnnxNode, inputs: _Inputs) -> Known:
    _check_small(inputs, inputs[0].array.size)
    parts: list[Any] = [[int(v) for v in one.array.reshape(-1)] for one in inputs[1:]]
    starts, ends, axes, steps = [*parts, None, None, None, None][:4]
    if starts is None or ends is None:
        raise NotImported("found no starts and ends, expected constants")
    index: list[slice] = [slice(None)] * inputs[0].array.ndim
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        index[axes[place] if axes else place] = slice(start, end, steps[place] if steps else 1)
    return Known(inputs[0].array[tuple(index)])


def _arithmetic(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[OnnxNode, _Inputs], Known]:
    def compute(node: OnnxNode, inputs: _Inputs) -> Known:
        _check_small(inputs, math.prod(np.broadcast_shapes(*(one.array.shape for one in inputs))))
        with np.errstate(all="ignore"):
            return Known(function(*(one.array for one in inputs)))

    return compute


def _divide(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one / other if one.dtype.kind == "f" else np.trunc(one / other).astype(one.dtype)


def _check_small(inputs: _Inputs, size: int) -> None:
    """Arithmetic of shapes and of vectors, of a result of `size`; on more, which is weights, no exporter does any."""
    largest = max([size, *(one.array.size for one in inputs)])
    if largest > _MOST or any(one.scale is not None for one in inputs):
        raise NotImported(f"found constants of {largest:,} numbers, expected at most {_MOST:,} to compute with")


CONSTANTS: dict[str, Callable[[OnnxNode, _Inputs], Known]] = {
    "Constant": _constant,
    "ConstantOfShape": _fill,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Cast": _cast,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Identity": lambda node, inputs: inputs[0],
    "Add": _arithmetic(np.add),
    "Sub": _arithmetic(np.subtract),
    "Mul": _arithmetic(np.multiply),
    "Div": _arithmetic(_divide),
}


def computed(node: OnnxNode, inputs: _Inputs) -> Known:
    """The constant that a node makes of constants. Raises: NotImported: numpy cannot, or the rules above refuse."""
    try:
        return CONSTANTS[node.operator](node, inputs)
    except BitrowError:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise NotImported(f"found constants that it cannot take ({reason})") from None
