"""The table of TFLite's operators on maps [n, h, w, c]: a row each."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_values import (
    NHWC,
    FileMap,
    Known,
    Lost,
    OnnxValue,
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
    FloatOperator,
    FullyConnected,
    JoinMaps,
    LeftToHost,
    MaxWindow,
    MeanWindow,
    MultiplyMaps,
    NotImported,
    PadMap,
    PerAxis,
    PerSide,
    Pointwise,
    RepeatRows,
    ScaleShift,
    SpreadDepth,
    same_sides,
)
from bitrow.importers.tflite_call import MOST, TfliteCall
from bitrow.importers.tflite_codes import dequantize, quantize

_SAME, _VALID = 0, 1  # of Padding
_FUSED: dict[int, tuple[str, FloatOperator]] = {1: ("relu", Clamp(0.0, math.inf)), 3: ("relu6", Clamp(0.0, 6.0))}


TfliteRow = Callable[[StepBuilder, TfliteCall], OnnxValue]


def _spatial(call: TfliteCall) -> FileMap:
    x = call.map()
    if x.axes != NHWC:
        raise NotImported(f"found a map laid out as {shown(x)}, expected [n, h, w, c]")
    return x


def _fused(
    build: StepBuilder, call: TfliteCall, op: FloatOperator, *inputs: FileMap, axes: tuple[str, ...] | None = None
) -> FileMap:
    """An operator, and the activation that is fused behind it."""
    number = call.option("FusedActivationFunction")
    if number == 0:
        return build.step(call, op, *inputs, axes=axes)
    if number not in _FUSED:
        raise NotImported(f"found fused activation {number} of TFLite's, expected none, RELU or RELU6")
    name, behind = _FUSED[number]
    made = build.step(call, behind, build.step(call, op, *inputs, part=1, axes=axes))
    names = (call.name, f"{call.name}_{name}")
    build.steps[-2:] = [step._replace(name=one) for step, one in zip(build.steps[-2:], names, strict=True)]
    return made


def _sides(call: TfliteCall, x: FileMap, kernel: PerAxis, stride: PerAxis, dilation: PerAxis = (1, 1)) -> PerSide:
    padding = call.option("Padding")
    if padding not in (_SAME, _VALID):
        raise NotImported(f"found padding {padding} of TFLite's, expected SAME or VALID")
    return same_sides(x.shape, kernel, stride, dilation) if padding == _SAME else NO_SIDES


def _convolution(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    """Weights [c_out, kh, kw, c_in/groups], or of a depthwise one [1, kh, kw, c_in * multiplier]."""
    x, deep = _spatial(call), call.operator == "DEPTHWISE_CONV_2D"
    weight, quantizer = call.weights((1, 2, 0, 3) if deep else (1, 2, 3, 0))
    kh, kw, c_in, c_out = weight.shape
    if deep and (c_in != 1 or c_out % x.shape[2]):
        raise NotImported(f"found weights of shape {[c_in, kh, kw, c_out]}, expected [1, kh, kw, n * {x.shape[2]}]")
    if x.shape[2] % c_in:
        raise NotImported(f"found {x.shape[2]} input channels, expected {c_in} of its weights")
    groups = x.shape[2] // c_in
    kernel = (kh, kw)
    stride, dilation = call.pair("StrideH", "StrideW"), call.pair("DilationHFactor", "DilationWFactor")
    op = Convolve(
        kernel=kernel, stride=stride, dilation=dilation, padding=_sides(call, x, kernel, stride, dilation),
        weight=np.ascontiguousarray(weight), bias=call.bias(c_out), groups=groups, w_quantizer=quantizer,
    )  # fmt: skip
    return _fused(build, call, op, x)


def _pool(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    x, kernel = _spatial(call), call.pair("FilterHeight", "FilterWidth")
    stride = call.pair("StrideH", "StrideW")
    padding = _sides(call, x, kernel, stride)
    if call.operator == "MAX_POOL_2D":
        return _fused(build, call, MaxWindow(kernel=kernel, stride=stride, padding=padding), x)
    whole = kernel == x.shape[:2] and padding == NO_SIDES
    return _fused(build, call, MeanWindow(kernel=kernel, stride=stride, padding=padding, whole=whole), x)


def _connected(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    x, (weight, quantizer) = call.map(), call.weights((1, 0))
    if call.option("WeightsFormat"):
        raise NotImported("found shuffled weights, expected them in order")
    if len(x.axes) != 2 and x.shape[:2] != (1, 1) and call.option("KeepNumDims"):
        raise NotImported(f"found a product over the channels of {shown(x)}, expected one of the whole map")
    axes = x.axes if call.option("KeepNumDims") else ("n", "c")
    flat = x if len(x.axes) == 2 else reshaped(x, [x.batch, -1])
    op = FullyConnected(flat_weight(flat, weight), call.bias(weight.shape[1]), w_quantizer=quantizer)
    return _fused(build, call, op, flat, axes=axes)


def _sum(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    """ADD and SUB of maps or constants."""
    first, second = call.found(0), call.found(1)
    minus = call.operator == "SUB"
    if isinstance(second, Known):
        x, shift = call.map(0), per_channel(call.map(0), second)
        return _fused(build, call, ScaleShift(np.ones((), np.float32), -shift if minus else shift), x)
    if isinstance(first, Known):
        x, sign = call.map(1), np.asarray(-1 if minus else 1, np.float32)
        return _fused(build, call, ScaleShift(sign, per_channel(x, first)), x)
    x, other = _one_layout(call)
    if minus:
        raise NotImported("found the difference of two maps, expected a constant")
    return _fused(build, call, AddMaps(), x, other)


def _product(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    for place, other in ((0, 1), (1, 0)):
        constant = call.found(other)
        if isinstance(constant, Known):
            x = call.map(place)
            return _fused(build, call, ScaleShift(per_channel(x, constant), np.zeros((), np.float32)), x)
    x, gate = _one_layout(call)
    if x.shape[:2] == (1, 1) != gate.shape[:2]:
        x, gate = gate, x
    return _fused(build, call, MultiplyMaps(), x, gate)


def _one_layout(call: TfliteCall) -> tuple[FileMap, FileMap]:
    x, other = call.map(0), call.map(1)
    if x.axes != other.axes:
        raise NotImported(f"found maps laid out as {shown(x)} and {shown(other)}, expected one layout")
    return x, other


def _concatenation(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    joined, *others = (call.map(place) for place in range(len(call.node.inputs)))
    axis = call.option("Axis")
    if map_axis(joined, axis) != "c" or any(one.axes != joined.axes for one in others) or not others:
        raise NotImported(f"found axis {axis} of {len(others) + 1} maps of {shown(joined)}, expected the channels")
    for place, other in enumerate(others[:-1]):
        joined = build.step(call, JoinMaps(), joined, other, part=place + 2)
    return _fused(build, call, JoinMaps(), joined, others[-1])


def _pad(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    x, sides = call.map(), call.integers(1)
    if len(sides) != 2 * len(x.axes) or not all(0 <= one <= MOST for one in sides):
        raise NotImported(f"found paddings {sides[:8]}, expected two from 0 for each of {shown(x)}")
    by_axis = {axis: (sides[2 * place], sides[2 * place + 1]) for place, axis in enumerate(x.axes)}
    if call.operator == "PAD" and [axis for axis, pair in by_axis.items() if any(pair)] == ["c"]:
        return _zero_channels(build, call, x, *by_axis["c"])
    if any(any(pair) for axis, pair in by_axis.items() if axis not in ("h", "w")):
        raise NotImported(f"found paddings {sides[:8]} of {shown(x)}, expected rows and columns, or channels alone")
    value = 0.0
    if call.operator == "PADV2":
        array = number_array(call.known(2))
        if array.size != 1:
            raise NotImported(f"found {array.size} numbers to pad with, expected one")
        value = float(array.reshape(()))
    return build.step(call, PadMap((*by_axis.get("h", (0, 0)), *by_axis.get("w", (0, 0))), value), x)


def _zero_channels(build: StepBuilder, call: TfliteCall, x: FileMap, before: int, after: int) -> OnnxValue:
    """Channels of zeros behind a map, as shortcuts to wider maps have them: those of a convolution of zeros, joined."""
    if before or x.axes[-1] != "c":
        raise NotImported(f"found {before} channels before those of {shown(x)}, expected them behind")
    channels = x.shape[2]
    groups = math.gcd(channels, after)
    call.file.spend(4 * (channels // groups) * after)
    weight = np.zeros((1, 1, channels // groups, after), np.float32)
    zeros = build.step(call, Convolve(kernel=(1, 1), weight=weight, groups=groups), x, part=1)
    return build.step(call, JoinMaps(), x, zeros)


def _mean(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    x, axes = call.map(), call.integers(1)
    if sorted(map_axis(x, axis) for axis in axes) != ["h", "w"]:
        raise NotImported(f"found axes {axes[:8]} of {shown(x)}, expected rows and columns")
    kept = x.axes if call.option("KeepDims") else tuple(axis for axis in x.axes if axis not in ("h", "w"))
    return build.step(call, MeanWindow(kernel=x.shape[:2], whole=True), x, axes=kept)


def _resize(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    """TfliteRow i is `i // factor`, with and without half pixels, where the factor is whole."""
    x, size = _spatial(call), call.integers(1)
    if call.option("AlignCorners"):
        raise NotImported("found align_corners, expected none")
    factors = [one // old for one, old in zip(size, x.shape[:2], strict=False)]
    if len(size) != 2 or not all(1 <= one <= 64 for one in factors) or [
            one * old for one, old in zip(factors, x.shape[:2], strict=True)] != size:  # fmt: skip
        raise NotImported(f"found rows and columns {size[:4]} of {list(x.shape[:2])}, expected whole factors to 64")
    return build.step(call, RepeatRows((factors[0], factors[1])), x)


def _depth_to_space(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    if call.size("BlockSize") > 64:
        raise NotImported(f"found block size {call.size('BlockSize')}, expected at most 64")
    return build.step(call, SpreadDepth(call.size("BlockSize"), False), _spatial(call))


def _reshape(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    """RESHAPE by its second input, where it has one; else, as SQUEEZE, to the shape that the file states."""
    stated = list(call.file.tensors[call.node.outputs[0]].shape)
    return reshaped(call.map(), call.integers(1) if call.given(1) else stated, zero_copies=False)


def _pointwise(op: FloatOperator) -> TfliteRow:
    return lambda build, call: build.step(call, op, call.map())


MAPS: dict[str, TfliteRow] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "MAX_POOL_2D": _pool,
    "AVERAGE_POOL_2D": _pool,
    "FULLY_CONNECTED": _connected,
    "ADD": _sum,
    "SUB": _sum,
    "MUL": _product,
    "CONCATENATION": _concatenation,
    "PAD": _pad,
    "PADV2": _pad,
    "MEAN": _mean,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "DEPTH_TO_SPACE": _depth_to_space,
    "DEQUANTIZE": dequantize,
    "QUANTIZE": quantize,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "TRANSPOSE": lambda build, call: transposed(call.map(), call.integers(1)),
    "RELU": _pointwise(Clamp(0.0, math.inf)),
    "RELU6": _pointwise(Clamp(0.0, 6.0)),
    "LOGISTIC": _pointwise(Pointwise("sigmoid")),
    "HARD_SWISH": _pointwise(Pointwise("hard_swish")),
    "SOFTMAX": _pointwise(LeftToHost()),
    "LOG_SOFTMAX": _pointwise(LeftToHost()),
}


def made_by(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    """What an operator makes. Raises: NotImported: it has no row, or its row refuses."""
    if call.operator not in MAPS:
        raise NotImported("an unknown operator")
    if any(isinstance(call.found(place), Lost) for place in range(len(call.node.inputs)) if call.given(place)):
        return Lost()
    return MAPS[call.operator](build, call)
