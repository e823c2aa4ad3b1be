"""The table of JAX's primitives on maps: a row each, which adds to the graph or changes how a map is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bitrow.importers.onnx_builder import Builder
from bitrow.importers.onnx_values import (
    FileMap,
    Known,
    Lost,
    flat_weight,
    map_axis,
    number_array,
    per_channel,
    reshaped,
    shown,
    transposed,
)
from bitrow.importers.operators import (
    NO_SIDES,
    AddMaps,
    Clamp,
    Convolve,
    FullyConnected,
    JoinMaps,
    MaxWindow,
    MeanWindow,
    MultiplyMaps,
    NotImported,
    PadMap,
    PerSide,
    Pointwise,
    ScaleShift,
)
from bitrow.importers.traced_equations import TracedEquation


class Root(NamedTuple):
    """What a constant was made of: `gamma / sqrt(var + eps)`; without a root, `var + eps` alone."""

    gamma: np.ndarray
    var: np.ndarray
    eps: float
    rooted: bool = False


class Constant(NamedTuple):
    """A value that does not depend on the input."""

    array: np.ndarray
    root: Root | None = None


class Sums(NamedTuple):
    """Sums of windows of `source`, which a division by their sizes makes means; `view`: the result as it is seen."""

    source: FileMap
    op: MeanWindow
    view: FileMap


TracedValue = Constant | FileMap | Sums | Lost


@dataclass(frozen=True, eq=False)
class RootScale(ScaleShift):
    """A scale that is `gamma / sqrt(var + eps)`."""

    gamma: np.ndarray
    var: np.ndarray
    eps: float


class TracedNode:
    """A primitive, and what its inputs stand for."""

    def __init__(self, equation: TracedEquation, found: Mapping[str, TracedValue]) -> None:
        self.equation, self.params = equation, equation.params
        self.name, self.operator, self.outputs = equation.name, equation.operator, equation.outputs
        self.dims: tuple[int, ...] = equation.shapes[0] if equation.shapes else ()
        self.inputs = [found[one] if isinstance(one, str) else Constant(one) for one in equation.inputs]

    def map(self, place: int = 0) -> FileMap:
        """A map. Raises: NotImported: a constant, or sums that nothing divided."""
        found = self.inputs[place]
        if isinstance(found, FileMap):
            return found
        what = "a window's sum that nothing divides by its size" if isinstance(found, Sums) else "a constant"
        raise NotImported(f"found {what} as input {place + 1}, expected a map")

    def constant(self, place: int) -> Constant:
        """A constant. Raises: NotImported: a value that depends on the input."""
        found = self.inputs[place]
        if isinstance(found, Constant):
            return found
        raise NotImported(f"found a computed input {place + 1}, expected a constant")

    @property
    def constant_at(self) -> int | None:
        """Which of two inputs is a constant."""
        return next((place for place, one in enumerate(self.inputs) if isinstance(one, Constant)), None)


Row = Callable[[Builder, TracedNode], TracedValue]


def _convolution(build: Builder, node: TracedNode) -> TracedValue:
    x, weight, given = node.map(0), number_array(Known(node.constant(1).array)), node.params
    lhs, rhs, out = given["dimension_numbers"]
    if len(x.axes) != 4 or {x.axes[place] for place in lhs} != set("nchw") or x.axes[lhs[0]] != "n":
        raise NotImported(f"found a map laid out as {shown(x)}, expected images of rows, columns, channels")
    if [x.axes[place] for place in lhs[1:]] != ["c", "h", "w"] or given["batch_group_count"] != 1:
        raise NotImported("found channels or images in another place than the convolution's, expected them in theirs")
    if tuple(given["lhs_dilation"]) != (1, 1):
        raise NotImported("a transposed convolution, which no reader has yet")
    (top, bottom), (left, right) = given["padding"]
    weight = np.ascontiguousarray(weight.transpose(rhs[2], rhs[3], rhs[1], rhs[0]))
    op = Convolve(
        kernel=(weight.shape[0], weight.shape[1]), stride=tuple(given["window_strides"]), weight=weight,
        padding=_not_negative((top, bottom, left, right)), dilation=tuple(given["rhs_dilation"]),
        groups=given["feature_group_count"],
    )  # fmt: skip
    axes = dict(zip(out, "nchw", strict=True))
    return build.step(node, op, x, axes=tuple(axes[place] for place in range(4)))


def _not_negative(sides: PerSide) -> PerSide:
    if min(sides) < 0:
        raise NotImported(f"found paddings {list(sides)}, expected none below 0")
    return sides


def _product_of_weights(build: Builder, node: TracedNode) -> TracedValue:
    x, weight = node.map(0), number_array(Known(node.constant(1).array))
    (mine, its), batch = node.params["dimension_numbers"]
    if any(batch[0]) or any(batch[1]) or len(mine) != 1 or mine[0] != len(x.axes) - 1 or weight.ndim != 2:
        raise NotImported(f"found a product over axes {list(mine)} of {shown(x)}, expected one over the last")
    weight = weight if its[0] == 0 else weight.T
    if len(x.axes) == 2:
        return build.step(node, FullyConnected(flat_weight(x, weight), None), x, axes=("n", "c"))
    if x.axes[-1] != "c":
        raise NotImported(f"found a product over {x.axes[-1]} of {shown(x)}, expected the channels")
    return build.step(node, Convolve(kernel=(1, 1), weight=np.ascontiguousarray(weight[None, None])), x)


def _window(node: TracedNode) -> tuple[FileMap, dict[str, Any]]:
    """The map, and kernel, stride and padding of windows on rows and columns."""
    x, given = node.map(0), node.params
    if sorted(x.axes) != ["c", "h", "n", "w"]:
        raise NotImported(f"found a map laid out as {shown(x)}, expected rows and columns")
    ones = [*given["base_dilation"], *given["window_dilation"]]
    n, c, h, w = (x.axes.index(letter) for letter in "nchw")
    sizes, strides, pads = given["window_dimensions"], given["window_strides"], given["padding"]
    if set(ones) != {1} or any(sizes[i] != 1 or strides[i] != 1 or tuple(pads[i]) != (0, 0) for i in (n, c)):
        raise NotImported(f"found windows of {list(sizes)}, expected rows and columns without dilation")
    return x, {"kernel": (sizes[h], sizes[w]), "stride": (strides[h], strides[w]), "padding": (*pads[h], *pads[w])}


def _max_pool(build: Builder, node: TracedNode) -> TracedValue:
    x, window = _window(node)
    return build.step(node, MaxWindow(**window), x)


def _window_sum(build: Builder, node: TracedNode) -> TracedValue:
    x, window = _window(node)
    whole = window["kernel"] == x.shape[:2] and window["padding"] == NO_SIDES
    op = MeanWindow(**window, whole=whole)
    return Sums(x, op, x._replace(value="", shape=op.shape([x.shape])))


def _whole_sum(build: Builder, node: TracedNode) -> TracedValue:
    x, axes = node.map(0), node.params["axes"]
    if sorted(map_axis(x, axis) for axis in axes) != ["h", "w"]:
        raise NotImported(f"found a sum over axes {list(axes)} of {shown(x)}, expected rows and columns")
    kept = tuple(axis for axis in x.axes if axis not in ("h", "w"))
    view = x._replace(value="", shape=(1, 1, x.shape[2]), axes=kept)
    return Sums(x, MeanWindow(kernel=x.shape[:2], whole=True), view)


def _mean(build: Builder, node: TracedNode, sums: Sums) -> TracedValue:
    """Sums divided by the size of the window, or by how many of it are no padding."""
    op, divisor = sums.op, node.constant(1).array.astype(np.float64)
    h, w = op.kernel
    if np.all(divisor == h * w):
        counted = any(op.padding)
    elif len(sums.view.axes) == 4 and np.array_equal(_as_map(sums.view, divisor), _counts(sums)):
        counted = False
    else:
        raise NotImported(f"found sums of {h}x{w} windows divided by other numbers, expected their sizes")
    made = MeanWindow(kernel=op.kernel, stride=op.stride, padding=op.padding, whole=op.whole, count_padding=counted)
    return build.step(node, made, sums.source, axes=sums.view.axes)


def _as_map(view: FileMap, divisor: np.ndarray) -> np.ndarray:
    """The divisor by rows and columns, f64[h,w]; empty where it is not the same for all channels."""
    order = [view.axes.index(letter) for letter in "nchw"]
    full = np.broadcast_to(divisor, view.dims).transpose(order)
    return full[0, 0] if (full == full[:1, :1]).all() else np.zeros(0)


def _counts(sums: Sums) -> np.ndarray:
    """How many values of each window are no padding, f64[h,w]."""
    counts = []
    for axis in (0, 1):
        before = sums.op.padding[2 * axis]
        begin = np.arange(sums.view.shape[axis]) * sums.op.stride[axis] - before
        end = np.minimum(begin + sums.op.kernel[axis], sums.source.shape[axis])
        counts.append((end - np.maximum(begin, 0)).astype(np.float64))
    return np.outer(*counts)


def _scaled(make: Callable[[np.ndarray], tuple[Any, Any]]) -> Callable[[Builder, TracedNode, int], TracedValue]:
    def row(build: Builder, node: TracedNode, at: int) -> TracedValue:
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


def _arithmetic(build: Builder, node: TracedNode) -> TracedValue:
    """Two maps, or a map and a constant."""
    at, first = node.constant_at, node.inputs[0]
    if isinstance(first, Sums) and node.operator == "div":
        return _mean(build, node, first)
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


def _clamp(build: Builder, node: TracedNode) -> TracedValue:
    return build.step(node, Clamp(_number(node, 0), _number(node, 2)), node.map(1))


def _join(build: Builder, node: TracedNode) -> TracedValue:
    joined, *others = (node.map(place) for place in range(len(node.inputs)))
    if map_axis(joined, node.params["dimension"]) != "c" or any(one.axes != joined.axes for one in others):
        raise NotImported(f"found axis {node.params['dimension']} of {shown(joined)}, expected the channels")
    for part, other in enumerate(others):
        joined = build.step(node, JoinMaps(), joined, other, part=len(others) - 1 - part)
    return joined


def _pad(build: Builder, node: TracedNode) -> TracedValue:
    x, sides = node.map(0), dict(zip(node.map(0).axes, node.params["padding_config"], strict=True))
    none = (0, 0, 0)
    h, w = sides.pop("h", none), sides.pop("w", none)
    if any(tuple(one) != none for one in sides.values()) or h[2] or w[2]:
        raise NotImported("found padding of other axes, or between values, expected rows and columns")
    return build.step(node, PadMap(_not_negative((h[0], h[1], w[0], w[1])), _number(node, 1)), x)


def _view(look: Callable[[FileMap, TracedNode], FileMap]) -> Row:
    """A primitive that changes no value; of sums, too."""

    def row(build: Builder, node: TracedNode) -> TracedValue:
        found = node.inputs[0]
        if isinstance(found, Sums):
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


PRIMITIVES: dict[str, Row] = {
    "conv_general_dilated": _convolution,
    "dot_general": _product_of_weights,
    "reduce_window_max": _max_pool,
    "reduce_window_sum": _window_sum,
    "reduce_sum": _whole_sum,
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


_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "copy": lambda x: x,
    "reshape": lambda x, **given: x.reshape(given["new_sizes"]),
}  # fmt: skip


def computed(node: TracedNode) -> dict[str, TracedValue]:
    """What a primitive makes of constants, by name; what it was made of, where that says a batch norm's scale."""
    given = [node.constant(place) for place in range(len(node.inputs))]
    arrays = [one.array for one in given]
    if node.operator in _NUMPY and all(one.dtype == arrays[0].dtype for one in arrays):
        params = node.params if node.operator == "reshape" else {}
        with np.errstate(all="ignore"):
            made = [_NUMPY[node.operator](*arrays, **params)]
    else:
        made = [np.asarray(one) for one in node.equation.bind(arrays)]
    root = _root(node.operator, given)
    root = root if root is not None and root.var.size == made[0].size else None
    return {name: Constant(one, root if place == 0 else None)
            for place, (name, one) in enumerate(zip(node.outputs, made, strict=True))}  # fmt: skip


def _root(operator: str, given: list[Constant]) -> Root | None:
    """`var + eps`, its root, the root times gamma; shapes do not matter, only c numbers in order."""
    one, other = (given[0], given[-1])
    if operator == "add" and other.array.ndim == 0 and one.array.ndim and other.array.dtype == np.float32:
        var = one.array.reshape(-1).astype(np.float32)
        return Root(np.ones_like(var), var, float(other.array)) if var.size == max(one.array.shape) else None
    if operator == "rsqrt" and one.root is not None and not one.root.rooted:
        return one.root._replace(rooted=True)
    if operator == "mul":
        for root, gamma in ((one.root, other.array), (other.root, one.array)):
            if root is not None and root.rooted and gamma.size == root.var.size:
                return root._replace(gamma=root.gamma * gamma.reshape(-1).astype(np.float32))
    if operator in ("reshape", "broadcast_in_dim", "squeeze", "copy") and one.root is not None:
        return one.root
    return None
