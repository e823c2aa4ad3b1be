"""Convolutions, products and pools among JAX's primitives."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_values import (
    FileMap,
    Known,
    flat_weight,
    map_axis,
    number_array,
    shown,
)
from bitrow.importers.operators import (
    NO_SIDES,
    Convolve,
    FullyConnected,
    MaxWindow,
    MeanWindow,
    NotImported,
    PerSide,
)
from bitrow.importers.traced_values import TracedNode, TracedValue, WindowSums


def convolution(build: StepBuilder, node: TracedNode) -> TracedValue:
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
        padding=not_negative((top, bottom, left, right)), dilation=tuple(given["rhs_dilation"]),
        groups=given["feature_group_count"],
    )  # fmt: skip
    axes = dict(zip(out, "nchw", strict=True))
    return build.step(node, op, x, axes=tuple(axes[place] for place in range(4)))


def not_negative(sides: PerSide) -> PerSide:
    if min(sides) < 0:
        raise NotImported(f"found paddings {list(sides)}, expected none below 0")
    return sides


def product_of_weights(build: StepBuilder, node: TracedNode) -> TracedValue:
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


def max_pool(build: StepBuilder, node: TracedNode) -> TracedValue:
    x, window = _window(node)
    return build.step(node, MaxWindow(**window), x)


def window_sum(build: StepBuilder, node: TracedNode) -> TracedValue:
    x, window = _window(node)
    whole = window["kernel"] == x.shape[:2] and window["padding"] == NO_SIDES
    op = MeanWindow(**window, whole=whole)
    return WindowSums(x, op, x._replace(value="", shape=op.shape([x.shape])))


def whole_sum(build: StepBuilder, node: TracedNode) -> TracedValue:
    x, axes = node.map(0), node.params["axes"]
    if sorted(map_axis(x, axis) for axis in axes) != ["h", "w"]:
        raise NotImported(f"found a sum over axes {list(axes)} of {shown(x)}, expected rows and columns")
    kept = tuple(axis for axis in x.axes if axis not in ("h", "w"))
    view = x._replace(value="", shape=(1, 1, x.shape[2]), axes=kept)
    return WindowSums(x, MeanWindow(kernel=x.shape[:2], whole=True), view)


def mean(build: StepBuilder, node: TracedNode, sums: WindowSums) -> TracedValue:
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


def _counts(sums: WindowSums) -> np.ndarray:
    """How many values of each window are no padding, f64[h,w]."""
    counts = []
    for axis in (0, 1):
        before = sums.op.padding[2 * axis]
        begin = np.arange(sums.view.shape[axis]) * sums.op.stride[axis] - before
        end = np.minimum(begin + sums.op.kernel[axis], sums.source.shape[axis])
        counts.append((end - np.maximum(begin, 0)).astype(np.float64))
    return np.outer(*counts)
