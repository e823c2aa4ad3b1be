"""The table of JAX's primitives on maps: a row each, which adds to the graph or changes how a map is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bitrow.importers import traced_windows as windows
from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_values import (
    FileMap,
    Known,
    map_axis,
    number_array,
    per_channel,
    reshaped,
    shown,
    transposed,
)
from bitrow.importers.operators import (
    AddMaps,
    Clamp,
    JoinMaps,
    MultiplyMaps,
    NotImported,
    PadMap,
    Pointwise,
    ScaleShift,
)
from bitrow.importers.traced_values import RootScale, TracedNode, TracedValue, WindowSums

TracedRow = Callable[[StepBuilder, TracedNode], TracedValue]


def _scaled(make: Callable[[np.ndarray], tuple[Any, Any]]) -> Callable[[StepBuilder, TracedNode, int], TracedValue]:
    def row(build: StepBuilder, node: TracedNode, at: int) -> TracedValue:
        x, constant = node.map(1 - at), node.constant(at)
        scale, shift = (np.asarray(one, np.float32) for one in make(per_channel(x, Known(constant.array))))
        root = constant.root
        if root is not None and root.rooted and node.operator == "mul":
            return build.step(node, RootScale(scale, shift, root.gamma, root.var, root.eps), x)
        return build.step(node, ScaleShift(scale, shift), x)

    return row


def _inverse(constant: np.ndarray) -> tuple[Any, Any]:
    if not constant.all():
        raise NotImported("found a division by 0, expected other constants")
    return 1 / constant.astype(np.float64), 0


_BY_CONSTANT = {
    "add": (_scaled(lambda c: (1, c)),) * 2, "mul": (_scaled(lambda c: (c, 0)),) * 2,
    "sub": (_scaled(lambda c: (-1, c)), _scaled(lambda c: (1, -c))), "div": (None, _scaled(_inverse)),
    "max": (lambda build, node, at: build.step(node, Clamp(_number(node, at), math.inf), node.map(1 - at)),) * 2,
    "min": (lambda build, node, at: build.step(node, Clamp(-math.inf, _number(node, at)), node.map(1 - at)),) * 2,
}  # fmt: skip


def _number(node: TracedNode, place: int) -> float:
    array = number_array(Known(node.constant(place).array))
    if not array.size or (array != array.reshape(-1)[0]).any():
        raise NotImported(f"found {array.size} different numbers as input {place + 1}, expected one")
    return float(array.reshape(-1)[0])


def _arithmetic(build: StepBuilder, node: TracedNode) -> TracedValue:
    """Two maps, or a map and a constant."""
    at, first = node.constant_at, node.inputs[0]
    if isinstance(first, WindowSums) and node.operator == "div":
        return windows.mean(build, node, first)
    if at is not None:
        row = _BY_CONSTANT[node.operator][at]
        if row is None:
            raise NotImported("found a constant divided by a map, expected a map by a constant")
        return row(build, node, at)
    x, other = node.map(0), node.map(1)
    if node.operator not in ("add", "mul") or x.axes != other.axes:
        found = f"{shown(x)} and {shown(other)}"
        raise NotImported(f"found two maps ({found}), expected add or mul of one layout, or a constant")
    if node.operator == "add":
        return build.step(node, AddMaps(), x, other)
    x, other = (other, x) if x.shape[:2] == (1, 1) != other.shape[:2] else (x, other)
    return build.step(node, MultiplyMaps(), x, other)


def _clamp(build: StepBuilder, node: TracedNode) -> TracedValue:
    return build.step(node, Clamp(_number(node, 0), _number(node, 2)), node.map(1))


def _join(build: StepBuilder, node: TracedNode) -> TracedValue:
    joined, *others = (node.map(place) for place in range(len(node.inputs)))
    if map_axis(joined, node.params["dimension"]) != "c" or any(one.axes != joined.axes for one in others):
        raise NotImported(f"found axis {node.params['dimension']} of {shown(joined)}, expected the channels")
    for part, other in enumerate(others):
        joined = build.step(node, JoinMaps(), joined, other, part=len(others) - 1 - part)
    return joined


def _pad(build: StepBuilder, node: TracedNode) -> TracedValue:
    x, sides = node.map(0), dict(zip(node.map(0).axes, node.params["padding_config"], strict=True))
    none = (0, 0, 0)
    h, w = sides.pop("h", none), sides.pop("w", none)
    if any(tuple(one) != none for one in sides.values()) or h[2] or w[2]:
        raise NotImported("found padding of other axes, or between values, expected rows and columns")
    return build.step(node, PadMap(windows.not_negative((h[0], h[1], w[0], w[1])), _number(node, 1)), x)


def _view(look: Callable[[FileMap, TracedNode], FileMap]) -> TracedRow:
    """A primitive that changes no value; of sums, too."""

    def row(build: StepBuilder, node: TracedNode) -> TracedValue:
        found = node.inputs[0]
        if isinstance(found, WindowSums):
            return found._replace(view=look(found.view, node))
        return look(node.map(0), node)

    return row


def _same_size(x: FileMap, node: TracedNode) -> FileMap:
    if math.prod(node.dims) != math.prod(x.dims):
        raise NotImported(f"found a map repeated to {list(node.dims)}, expected it by a product alone")
    return reshaped(x, node.dims)


def _cast(x: FileMap, node: TracedNode) -> FileMap:
    if np.dtype(node.params["new_dtype"]) not in (np.dtype(np.float32), np.dtype(np.float16)):
        raise NotImported(f"found a map cast to {node.params['new_dtype']}, expected float32 or float16")
    return x


PRIMITIVES: dict[str, TracedRow] = {
    "conv_general_dilated": windows.convolution,
    "dot_general": windows.product_of_weights,
    "reduce_window_max": windows.max_pool,
    "reduce_window_sum": windows.window_sum,
    "reduce_sum": windows.whole_sum,
    "clamp": _clamp,
    "concatenate": _join,
    "pad": _pad,
    "logistic": lambda build, node: build.step(node, Pointwise("sigmoid"), node.map(0)),
    "reshape": _view(_same_size),
    "squeeze": _view(_same_size),
    "broadcast_in_dim": _view(_same_size),
    "transpose": _view(lambda x, node: transposed(x, node.params["permutation"])),
    "convert_element_type": _view(_cast),
    "copy": _view(lambda x, node: x),
    "stop_gradient": _view(lambda x, node: x),
    **dict.fromkeys(_BY_CONSTANT, _arithmetic),
}
