"""The table of ONNX operators on maps: a row each, which adds to the graph or changes how a map is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitrow.importers import onnx_views as views
from bitrow.importers import onnx_windows as windows
from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_node import OnnxNode
from bitrow.importers.onnx_quantizers import dequantize_linear, quant, quantize_linear
from bitrow.importers.onnx_values import (
    FileMap,
    Known,
    OnnxValue,
    flat_weight,
    map_axis,
    number_array,
    per_channel,
    shown,
    spatial,
)
from bitrow.importers.onnx_windows import weight_quantizer
from bitrow.importers.operators import (
    AddMaps,
    Clamp,
    FullyConnected,
    JoinMaps,
    LeftToHost,
    MeanWindow,
    MultiplyMaps,
    Normalize,
    NotImported,
    Pointwise,
    RepeatRows,
    ScaleShift,
    SpreadDepth,
)

OperatorRow = Callable[[StepBuilder, OnnxNode], OnnxValue]
_NEAREST = ("half_pixel", "pytorch_half_pixel")


def _batch_norm(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    if node.integer("training_mode", 0) or not node.integer("spatial", 1):
        raise NotImported("found batch statistics, expected those of training, one for each channel")
    x = node.map(0)
    if x.axes[1:2] != ("c",):
        raise NotImported(f"found a map laid out as {shown(x)}, expected channels second")
    gamma, beta, mean, var = (node.vector(place) for place in range(1, 5))
    return build.step(node, Normalize(gamma, beta, mean, var, node.real("epsilon", 1e-5)), x)


def _clip(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    if node.opset < 11:
        low, high = node.real("min", -math.inf), node.real("max", math.inf)
    else:
        low, high = (node.number(1, -math.inf), node.number(2, math.inf))  # type: ignore[assignment]
    return build.step(node, Clamp(max(low, -math.inf), high), node.map(0))


def _affine(place: int, make: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> OperatorRow:
    """A map and a constant; `place` is the constant's, -1 where either may be it."""

    def row(build: StepBuilder, node: OnnxNode) -> OnnxValue:
        at = place if place >= 0 else int(isinstance(node.found(1), Known))
        x = node.map(1 - at)
        return build.step(node, ScaleShift(*make(per_channel(x, node.known(at)))), x)

    return row


_ONE, _ZERO = np.float32(1), np.float32(0)
_ADD = _affine(-1, lambda c: (np.asarray(_ONE), c))
_MULTIPLY = _affine(-1, lambda c: (c, np.asarray(_ZERO)))
_MINUS = _affine(1, lambda c: (np.asarray(_ONE), -c))
_FROM = _affine(0, lambda c: (np.asarray(-_ONE), c))


def _inverse(constant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not constant.all():
        raise NotImported("found a division by 0, expected other constants")
    return (1 / constant.astype(np.float64)).astype(np.float32), np.asarray(_ZERO)


_OVER = _affine(1, _inverse)


def _same_layout(node: OnnxNode, count: int) -> list[FileMap]:
    maps = [node.map(place) for place in range(count)]
    if len({one.axes for one in maps}) > 1:
        layouts = " and ".join(map(shown, maps[:2]))
        raise NotImported(f"found maps laid out as {layouts}, expected one layout")
    return maps


def _has_constant(node: OnnxNode) -> bool:
    return any(isinstance(node.found(place), Known) for place in range(len(node.inputs)))


def _sum(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    """Add, and Sum of any number."""
    if _has_constant(node):
        return _ADD(build, node)
    total, *others = _same_layout(node, len(node.inputs))
    for part, other in enumerate(reversed(range(len(others)))):
        total = build.step(node, AddMaps(), total, others[part], part=other)
    return total


def _product(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    if _has_constant(node):
        return _MULTIPLY(build, node)
    x, gate = _same_layout(node, 2)
    if x.shape[:2] == (1, 1) != gate.shape[:2]:
        x, gate = gate, x
    return build.step(node, MultiplyMaps(), x, gate)


def _minus(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    return (_FROM if isinstance(node.found(0), Known) else _MINUS)(build, node)


def _concat(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    if _has_constant(node):
        raise NotImported("found a constant among the maps, expected maps alone")
    joined, *others = _same_layout(node, len(node.inputs))
    if map_axis(joined, node.integer("axis", 1)) != "c":
        raise NotImported(f"found axis {node.integer('axis', 1)} of {shown(joined)}, expected the channels")
    for part, other in enumerate(reversed(range(len(others)))):
        joined = build.step(node, JoinMaps(), joined, others[part], part=other)
    return joined


def _matmul(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    return _connected(build, node, node.known(1), None)


def _gemm(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    weight = node.known(1)
    if node.integer("transA", 0) or node.real("alpha", 1.0) != 1 or node.real("beta", 1.0) != 1:
        raise NotImported("found transA, alpha or beta, expected x * weight + bias")
    if node.integer("transB", 0):
        scale = weight.scale.T if weight.scale is not None and weight.scale.ndim == 2 else weight.scale
        weight = Known(weight.array.T, scale, weight.fmt)
    return _connected(build, node, weight, node.vector(2) if node.given(2) else None)


def _connected(build: StepBuilder, node: OnnxNode, weight: Known, bias: np.ndarray | None) -> OnnxValue:
    x, array = node.map(0), number_array(weight)
    if array.ndim != 2 or not array.size:
        raise NotImported(f"found weights of shape {list(array.shape)}, expected [in, out]")
    outputs = array.shape[1]
    if bias is not None and bias.size not in (1, outputs):
        raise NotImported(f"found a bias of {bias.size} numbers, expected {outputs}")
    bias = None if bias is None else np.broadcast_to(bias, (outputs,))
    node.file.spend(array.size, array.itemsize)
    op = FullyConnected(flat_weight(x, array), bias, w_quantizer=weight_quantizer(weight, (0, 1)))
    return build.step(node, op, x, axes=("n", "c"))


def _reduced_mean(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    x, axes = node.map(0), node.axes(1)
    letters = sorted(map_axis(x, axis) for axis in axes or ())
    if letters != ["h", "w"]:
        raise NotImported(f"found axes {axes} of {shown(x)}, expected rows and columns")
    kept = x.axes if node.integer("keepdims", 1) else tuple(axis for axis in x.axes if axis not in ("h", "w"))
    return build.step(node, MeanWindow(kernel=x.shape[:2], whole=True), x, axes=kept)


def _resize(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    x = spatial(node.map(0))
    _check_nearest(node)
    place = 2 if node.operator == "Resize" and node.opset >= 11 else 1
    if node.operator == "Upsample" and node.opset < 9:
        scales = node.attribute("scales", [])
    elif node.given(place) and node.known(place).array.size:
        scales = [float(one) for one in node.known(place).array.reshape(-1)]
    else:
        scales = [size / old for size, old in zip(node.list_of(3, "sizes") or [], x.dims, strict=False)]
    factors = [int(scale) for scale in scales if 1 <= scale <= 64 and scale == int(scale)]
    if len(factors) != 4 or factors[:2] != [1, 1]:
        found = [round(scale, 4) for scale in scales[:4]]
        raise NotImported(f"found scales {found}, expected whole ones of rows and columns")
    return build.step(node, RepeatRows((factors[2], factors[3])), x)


def _check_nearest(node: OnnxNode) -> None:
    """Only what gives result i the row `i // factor`, for whole factors."""
    mode = node.text("mode", "nearest")
    place = node.text("coordinate_transformation_mode", "half_pixel" if node.opset >= 11 else "asymmetric")
    rounding = node.text("nearest_mode", "round_prefer_floor" if node.opset >= 11 else "floor")
    halves = place in _NEAREST and rounding in ("round_prefer_floor", "round_prefer_ceil")
    if mode != "nearest" or not (halves or (place == "asymmetric" and rounding == "floor")):
        raise NotImported(f"found mode {mode}, {place}, {rounding}, expected nearest rows of whole factors")


def _depth_to_space(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    x, block, mode = spatial(node.map(0)), node.integer("blocksize", 0), node.text("mode", "DCR")
    if not 1 <= block <= 64 or mode not in ("DCR", "CRD"):
        raise NotImported(f"found blocksize {block} and mode {mode}, expected 1 to 64, DCR or CRD")
    return build.step(node, SpreadDepth(block, mode == "CRD"), x)


def _pointwise(name: str, alpha: float = 0.0, beta: float = 0.0) -> OperatorRow:
    def row(build: StepBuilder, node: OnnxNode) -> OnnxValue:
        given = (node.real("alpha", alpha), node.real("beta", beta)) if name == "hard_sigmoid" else (alpha, beta)
        return build.step(node, Pointwise(name, *given), node.map(0))

    return row


def _host(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    return build.step(node, LeftToHost(), node.map(0))


MAPS: dict[str, OperatorRow] = {
    "Conv": windows.convolve,
    "BatchNormalization": _batch_norm,
    "Relu": lambda build, node: build.step(node, Clamp(0.0, math.inf), node.map(0)),
    "Clip": _clip,
    "HardSwish": _pointwise("hard_swish"),
    "HardSigmoid": _pointwise("hard_sigmoid", 0.2, 0.5),
    "Sigmoid": _pointwise("sigmoid"),
    "ConvTranspose": windows.convolve_transposed,
    "MaxPool": windows.max_pool,
    "AveragePool": windows.mean_pool,
    "GlobalAveragePool": windows.whole_mean,
    "GlobalMaxPool": windows.whole_max,
    "ReduceMean": _reduced_mean,
    "Add": _sum,
    "Sum": _sum,
    "Sub": _minus,
    "Mul": _product,
    "Div": _OVER,
    "Concat": _concat,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Pad": windows.pad,
    "Resize": _resize,
    "Upsample": _resize,
    "DepthToSpace": _depth_to_space,
    "Flatten": views.flatten,
    "Reshape": views.reshape,
    "Squeeze": views.squeeze,
    "Unsqueeze": views.unsqueeze,
    "Transpose": views.transpose,
    "Shape": views.shape,
    "Identity": views.same,
    "Dropout": views.dropout,
    "Cast": views.cast,
    "Quant": quant,
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "Softmax": _host,
    "LogSoftmax": _host,
    "ArgMax": _host,
}

REFUSED: dict[str, str] = {
    "BipolarQuant": "codes of -1 and 1 are no FXP format (SPEC.md F7)",
    "Trunc": "the accelerator has no truncation of codes",
    "FloatQuant": "minifloat codes are no FXP format (SPEC.md F7)",
}
