"""The table of Keras's layers: a row each, which reads its configuration and its arrays."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitrow.importers.keras_node import MOST, KerasNode, whole_numbers
from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_values import NHWC, FileMap, flat_weight, reshaped, shown
from bitrow.importers.operators import (
    NO_SIDES,
    AddMaps,
    Clamp,
    Convolve,
    FloatOperator,
    FullyConnected,
    JoinMaps,
    LeftToHost,
    MaxWindow,
    MeanWindow,
    MultiplyMaps,
    Normalize,
    NotImported,
    PadMap,
    PerAxis,
    PerSide,
    Pointwise,
    RepeatRows,
    ScaleShift,
    same_sides,
)

KerasRow = Callable[[StepBuilder, KerasNode], FileMap]

_ACTIVATIONS: dict[str, FloatOperator] = {
    "relu": Clamp(0.0, math.inf),
    "relu6": Clamp(0.0, 6.0),
    "sigmoid": Pointwise("sigmoid"),
    "silu": Pointwise("silu"),
    "swish": Pointwise("silu"),
    "hard_sigmoid": Pointwise("hard_sigmoid", float(np.float32(1 / 6)), 0.5),
    "hard_silu": Pointwise("hard_swish"),
    "hard_swish": Pointwise("hard_swish"),
    "softmax": LeftToHost(),
    "log_softmax": LeftToHost(),
}


def _activation(node: KerasNode) -> FloatOperator | None:
    """The operator of `activation`, None of the identity."""
    name = node.option("activation", "linear")
    if name in (None, "linear"):
        return None
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise NotImported(f"found activation {str(name)[:40]!r}, expected one of {', '.join(_ACTIVATIONS)}")
    if name == "hard_sigmoid" and node.file.version.startswith("2"):
        return Pointwise("hard_sigmoid", 0.2, 0.5)  # Keras 3 made it another function
    return _ACTIVATIONS[name]


def _activated(
    build: StepBuilder, node: KerasNode, op: FloatOperator, x: FileMap, axes: tuple[str, ...] | None = None
) -> FileMap:
    """An operator, and the layer's activation behind it."""
    behind = _activation(node)
    if behind is None:
        return build.step(node, op, x, axes=axes)
    made = build.step(node, behind, build.step(node, op, x, part=1, axes=axes))
    names = (node.name, f"{node.name}_{node.option('activation')}")
    build.steps[-2:] = [step._replace(name=name) for step, name in zip(build.steps[-2:], names, strict=True)]
    return made


def _spatial(node: KerasNode) -> FileMap:
    x = node.single()
    node.expect("data_format", "channels_last")
    if x.axes != NHWC:
        raise NotImported(f"found a map laid out as {shown(x)}, expected [n, h, w, c]")
    return x


def _sides(node: KerasNode, x: FileMap, kernel: PerAxis, stride: PerAxis, dilation: PerAxis = (1, 1)) -> PerSide:
    same = node.expect("padding", "valid", "same") == "same"
    return same_sides(x.shape, kernel, stride, dilation) if same else NO_SIDES


def _convolution(build: StepBuilder, node: KerasNode, depthwise: bool = False) -> FileMap:
    x = _spatial(node)
    biased = node.expect("use_bias", True, False)
    weight, *bias = node.arrays(*((4, 1) if biased else (4,)))
    kernel = (weight.shape[0], weight.shape[1])
    stride, dilation = node.pair("strides", 1), node.pair("dilation_rate", 1)
    groups = x.shape[2] if depthwise else node.option("groups", 1)
    if type(groups) is not int or not 1 <= groups <= MOST:
        raise NotImported(f"found groups {str(groups)[:40]}, expected 1 to {MOST:,}")
    if depthwise:  # [kh, kw, c_in, multiplier]: the results of a channel lie side by side
        weight = weight.reshape(*kernel, 1, -1)
    if bias and bias[0].shape != weight.shape[3:]:
        raise NotImported(f"found a bias of {bias[0].size} numbers, expected {weight.shape[3]}")
    op = Convolve(
        kernel=kernel, stride=stride, dilation=dilation, padding=_sides(node, x, kernel, stride, dilation),
        weight=weight, bias=bias[0] if bias else None, groups=groups,
    )  # fmt: skip
    return _activated(build, node, op, x)


def _dense(build: StepBuilder, node: KerasNode) -> FileMap:
    x = node.single()
    biased = node.expect("use_bias", True, False)
    weight, *bias = node.arrays(*((2, 1) if biased else (2,)))
    if bias and bias[0].shape != weight.shape[1:]:
        raise NotImported(f"found a bias of {bias[0].size} numbers, expected {weight.shape[1]}")
    given = bias[0] if bias else None
    if len(x.axes) == 2:
        return _activated(build, node, FullyConnected(flat_weight(x, weight), given), x, ("n", "c"))
    if x.axes[-1] != "c":
        raise NotImported(f"found a map laid out as {shown(x)}, expected channels last")
    return _activated(build, node, Convolve(kernel=(1, 1), weight=weight[None, None], bias=given), x)


def _batch_norm(build: StepBuilder, node: KerasNode) -> FileMap:
    x = node.single()
    axis = node.option("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, len(x.axes) - 1) or isinstance(axis, bool) or x.axes[-1] != "c":
        raise NotImported(f"found axis {str(axis)[:20]} of {shown(x)}, expected the channels, last")
    scaled, centred = node.expect("scale", True, False), node.expect("center", True, False)
    given = node.arrays(*(1,) * (2 + scaled + centred))
    mean, var = given[-2:]
    gamma = given[0] if scaled else np.ones_like(mean)
    beta = given[int(scaled)] if centred else np.zeros_like(mean)
    if len({one.shape for one in (gamma, beta, mean, var)}) != 1:
        raise NotImported(f"found arrays of {[one.size for one in given]} numbers, expected one size")
    return build.step(node, Normalize(gamma, beta, mean, var, node.number("epsilon", 1e-3)), x)


def _relu(build: StepBuilder, node: KerasNode) -> FileMap:
    if node.number("negative_slope", 0.0) or node.number("threshold", 0.0):
        raise NotImported("found a slope below 0 or a threshold, expected neither")
    high = math.inf if node.option("max_value") is None else node.number("max_value", 0.0)
    return build.step(node, Clamp(0.0, high), node.single())


def _active(build: StepBuilder, node: KerasNode) -> FileMap:
    x, op = node.single(), _activation(node)
    return x if op is None else build.step(node, op, x)


def _softmax(build: StepBuilder, node: KerasNode) -> FileMap:
    return build.step(node, LeftToHost(), node.single())


def _zeros(build: StepBuilder, node: KerasNode) -> FileMap:
    x, found = _spatial(node), node.option("padding", 1)
    if type(found) is int:
        found = [[found, found]] * 2
    if isinstance(found, list):
        found = [[one, one] if type(one) is int else one for one in found]
    if not isinstance(found, list) or len(found) != 2 or not all(whole_numbers(one, 2, 0) for one in found):
        raise NotImported(f"found padding {str(found)[:40]}, expected [[top, bottom], [left, right]]")
    return build.step(node, PadMap((*found[0], *found[1]), 0.0), x)


def _pool(node: KerasNode) -> tuple[FileMap, PerAxis, PerAxis]:
    x, kernel = _spatial(node), node.pair("pool_size", 2)
    return x, kernel, kernel if node.option("strides") is None else node.pair("strides", 2)


def _max_pool(build: StepBuilder, node: KerasNode) -> FileMap:
    x, kernel, stride = _pool(node)
    return build.step(node, MaxWindow(kernel=kernel, stride=stride, padding=_sides(node, x, kernel, stride)), x)


def _mean_pool(build: StepBuilder, node: KerasNode) -> FileMap:
    x, kernel, stride = _pool(node)
    padding = _sides(node, x, kernel, stride)
    whole = kernel == x.shape[:2] and padding == NO_SIDES
    return build.step(node, MeanWindow(kernel=kernel, stride=stride, padding=padding, whole=whole), x)


def _whole_map(build: StepBuilder, node: KerasNode) -> FileMap:
    x = _spatial(node)
    axes = x.axes if node.expect("keepdims", False, True) else ("n", "c")
    if node.operator == "GlobalMaxPooling2D":
        return build.step(node, MaxWindow(kernel=x.shape[:2]), x, axes=axes)
    return build.step(node, MeanWindow(kernel=x.shape[:2], whole=True), x, axes=axes)


def _folded(op: FloatOperator) -> KerasRow:
    """Two maps at a time, from the first on."""

    def row(build: StepBuilder, node: KerasNode) -> FileMap:
        joined, *others = (node.map(place) for place in range(max(2, len(node.inputs))))
        axis = node.option("axis", -1)
        if any(one.axes != joined.axes for one in others):
            raise NotImported("found maps of several layouts, expected one")
        if isinstance(op, JoinMaps) and (axis not in (-1, len(joined.axes) - 1) or joined.axes[-1] != "c"):
            raise NotImported(f"found axis {str(axis)[:20]} of {shown(joined)}, expected the channels, last")
        for place, other in enumerate(others):
            if isinstance(op, MultiplyMaps) and joined.shape[:2] == (1, 1) != other.shape[:2]:
                joined, other = other, joined
            joined = build.step(node, op, joined, other, part=len(others) - 1 - place)
        return joined

    return row


def _flatten(build: StepBuilder, node: KerasNode) -> FileMap:
    node.expect("data_format", "channels_last")
    return reshaped(node.single(), [1, -1])


def _reshape(build: StepBuilder, node: KerasNode) -> FileMap:
    target = node.option("target_shape")
    if not isinstance(target, list) or not whole_numbers(target, len(target), -1) or len(target) > 8:
        raise NotImported(f"found target_shape {str(target)[:40]}, expected whole numbers")
    return reshaped(node.single(), [1, *target], zero_copies=False)


def _rescale(build: StepBuilder, node: KerasNode) -> FileMap:
    scale, shift = (np.float32(node.number(name, given)) for name, given in (("scale", 1.0), ("offset", 0.0)))
    return build.step(node, ScaleShift(np.asarray(scale), np.asarray(shift)), node.single())


def _upsample(build: StepBuilder, node: KerasNode) -> FileMap:
    x, factors = _spatial(node), node.pair("size", 2)
    node.expect("interpolation", "nearest")
    if max(factors) > 64:
        raise NotImported(f"found size {list(factors)}, expected at most 64")
    return build.step(node, RepeatRows(factors), x)


LAYERS: dict[str, KerasRow] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": lambda build, node: _convolution(build, node, depthwise=True),
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "ReLU": _relu,
    "Activation": _active,
    "Softmax": _softmax,
    "ZeroPadding2D": _zeros,
    "MaxPooling2D": _max_pool,
    "AveragePooling2D": _mean_pool,
    "GlobalAveragePooling2D": _whole_map,
    "GlobalMaxPooling2D": _whole_map,
    "UpSampling2D": _upsample,
    "Add": _folded(AddMaps()),
    "Multiply": _folded(MultiplyMaps()),
    "Concatenate": _folded(JoinMaps()),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Rescaling": _rescale,
    "Dropout": lambda build, node: node.single(),
    "SpatialDropout2D": lambda build, node: node.single(),
    "Identity": lambda build, node: node.single(),
}
