"""Convolutions and pools of ONNX: strides, dilations and paddings, stated or automatic."""

from __future__ import annotations

import numpy as np

from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_node import OnnxNode
from bitrow.importers.onnx_values import FileMap, Known, number_array, spatial
from bitrow.importers.operators import (
    NO_SIDES,
    Convolve,
    FileQuantizer,
    MaxWindow,
    MeanWindow,
    NotImported,
    PadMap,
    PerAxis,
    PerSide,
    same_sides,
)

_MOST = 1 << 16  # of a kernel, stride, dilation or padding


def convolve(build: StepBuilder, node: OnnxNode) -> FileMap:
    """Conv: weights [c_out, c_in/groups, kh, kw]."""
    x, weight = spatial(node.map(0)), node.known(1)
    array = number_array(weight)
    if array.ndim != 4 or not array.size:
        raise NotImported(f"found weights of shape {list(array.shape)}, expected [c_out, c_in/groups, kh, kw]")
    kernel = (array.shape[2], array.shape[3])
    if (node.integers("kernel_shape") or list(kernel)) != list(kernel):
        raise NotImported(f"found kernel_shape {node.integers('kernel_shape')}, expected {list(kernel)} of its weights")
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    node.file.spend(array.size, array.itemsize)
    op = Convolve(
        kernel=kernel, stride=stride, dilation=dilation, padding=_sides(node, x, kernel, stride, dilation),
        weight=np.ascontiguousarray(array.transpose(2, 3, 1, 0)), bias=node.vector(2) if node.given(2) else None,
        groups=_bounded("group", node.integer("group", 1)), w_quantizer=weight_quantizer(weight, (2, 3, 1, 0)),
    )  # fmt: skip
    if op.bias is not None and op.bias.shape != (array.shape[0],):
        raise NotImported(f"found a bias of {op.bias.size} numbers, expected {array.shape[0]}")
    return build.step(node, op, x)


def convolve_transposed(build: StepBuilder, node: OnnxNode) -> FileMap:
    """ConvTranspose: weights [c_in, c_out/groups, kh, kw]."""
    x, weight = spatial(node.map(0)), node.known(1)
    array, groups = number_array(weight), _bounded("group", node.integer("group", 1))
    if array.ndim != 4 or not array.size or array.shape[0] % groups:
        found = f"found weights of shape {list(array.shape)} in {groups} groups"
        raise NotImported(f"{found}, expected [c_in, c_out/groups, kh, kw]")
    c_in, each, kh, kw = array.shape
    if (node.integers("kernel_shape") or [kh, kw]) != [kh, kw]:
        raise NotImported(f"found kernel_shape {node.integers('kernel_shape')}, expected {[kh, kw]} of its weights")
    if node.integers("output_shape") or node.text("auto_pad", "NOTSET").startswith("SAME"):
        raise NotImported("found an output_shape or SAME pads, expected pads and output_padding")
    if groups > 1 and weight.scale is not None and weight.scale.size > 1:
        raise NotImported(f"found {weight.scale.size} weight scales of {groups} groups, expected one")
    stride, dilation, more = _pair(node, "strides"), _pair(node, "dilations"), node.integers("output_padding") or [0, 0]
    if len(more) != 2 or not all(0 <= extra < step for extra, step in zip(more, stride, strict=True)):
        raise NotImported(f"found output_padding {more[:8]}, expected two below the strides {list(stride)}")
    node.file.spend(array.size, array.itemsize)
    split = array.reshape(groups, c_in // groups, each, kh, kw).transpose(3, 4, 1, 0, 2)
    op = Convolve(
        kernel=(kh, kw), stride=stride, dilation=dilation, padding=_sides(node, x, (kh, kw), stride, dilation),
        weight=np.ascontiguousarray(split.reshape(kh, kw, c_in // groups, groups * each)), groups=groups,
        bias=node.vector(2) if node.given(2) else None, w_quantizer=weight_quantizer(weight, (2, 3, 0, 1)),
        transposed=True, output_padding=(more[0], more[1]),
    )  # fmt: skip
    if op.bias is not None and op.bias.shape != (groups * each,):
        raise NotImported(f"found a bias of {op.bias.size} numbers, expected {groups * each}")
    return build.step(node, op, x)


def weight_quantizer(weight: Known, order: tuple[int, ...]) -> FileQuantizer | None:
    """The quantizer of weights whose axes go to `order`, the outputs last."""
    if weight.scale is None or weight.fmt is None:
        return None
    scale = weight.scale.astype(np.float32)
    if scale.size == 1:
        return FileQuantizer(scale.reshape(()), weight.fmt)
    moved = scale.transpose(order) if scale.ndim == len(order) else scale
    if moved.shape != (1,) * (len(order) - 1) + (weight.array.shape[order[-1]],):
        raise NotImported(f"found weight scales of shape {list(scale.shape)}, expected one, or one for each output")
    return FileQuantizer(moved.reshape(-1), weight.fmt)


def max_pool(build: StepBuilder, node: OnnxNode) -> FileMap:
    x, kernel, stride, padding = _pool(node)
    if _pair(node, "dilations") != (1, 1):
        raise NotImported(f"found dilations {node.integers('dilations')}, expected none in a pool")
    if node.integer("ceil_mode", 0):
        padding = _ceiled(x, kernel, stride, padding)
    return build.step(node, MaxWindow(kernel=kernel, stride=stride, padding=padding), x)


def mean_pool(build: StepBuilder, node: OnnxNode) -> FileMap:
    x, kernel, stride, padding = _pool(node)
    if _pair(node, "dilations") != (1, 1):
        raise NotImported(f"found dilations {node.integers('dilations')}, expected none in a pool")
    if node.integer("ceil_mode", 0) and _ceiled(x, kernel, stride, padding) != padding:
        raise NotImported("found ceil_mode with a last window beyond the map, expected whole windows")
    whole = kernel == x.shape[:2] and padding == NO_SIDES
    counted = bool(node.integer("count_include_pad", 0))
    op = MeanWindow(kernel=kernel, stride=stride, padding=padding, whole=whole, count_padding=counted)
    return build.step(node, op, x)


def whole_mean(build: StepBuilder, node: OnnxNode) -> FileMap:
    """GlobalAveragePool."""
    x = spatial(node.map(0))
    return build.step(node, MeanWindow(kernel=x.shape[:2], whole=True), x)


def whole_max(build: StepBuilder, node: OnnxNode) -> FileMap:
    """GlobalMaxPool."""
    x = spatial(node.map(0))
    return build.step(node, MaxWindow(kernel=x.shape[:2]), x)


def pad(build: StepBuilder, node: OnnxNode) -> FileMap:
    x = node.map(0)
    mode = node.text("mode", "constant")
    sides = node.list_of(1, "pads")
    if mode != "constant" or sides is None or node.given(3):
        raise NotImported(f"found mode {mode} of pads {str(sides)[:40]}, expected constant pads on all axes")
    if len(sides) != 2 * len(x.axes) or max(map(abs, sides), default=0) > _MOST:
        raise NotImported(f"found {len(sides)} pads, expected {2 * len(x.axes)} up to {_MOST:,}")
    rank = len(x.axes)
    found = {axis: (sides[place], sides[place + rank]) for place, axis in enumerate(x.axes)}
    if any(found[axis] != (0, 0) for axis in found if axis not in ("h", "w")) or min(sides) < 0:
        raise NotImported(f"found pads {sides[:8]}, expected none but on rows and columns, from 0")
    value = node.number(2, 0.0) if node.opset >= 11 else node.real("value", 0.0)
    padding = (*found.get("h", (0, 0)), *found.get("w", (0, 0)))
    return build.step(node, PadMap(padding, float(value or 0.0)), x)


def _pool(node: OnnxNode) -> tuple[FileMap, PerAxis, PerAxis, PerSide]:
    x = spatial(node.map(0))
    sizes = node.integers("kernel_shape") or []
    if len(sizes) != 2:
        raise NotImported(f"found kernel_shape {sizes[:8]}, expected rows and columns")
    kernel = (_bounded("kernel_shape", sizes[0]), _bounded("kernel_shape", sizes[1]))
    stride = _pair(node, "strides")
    return x, kernel, stride, _sides(node, x, kernel, stride, (1, 1))


def _ceiled(x: FileMap, kernel: PerAxis, stride: PerAxis, padding: PerSide) -> PerSide:
    """The padding with which whole windows reach as far as ceil_mode's do."""
    sides = list(padding)
    for axis in (0, 1):
        before, after = padding[2 * axis : 2 * axis + 2]
        room = x.shape[axis] + before + after - kernel[axis]
        rest = -room % stride[axis]
        # A window that would begin in the padding behind the map is none.
        if rest and (-(-room // stride[axis])) * stride[axis] < x.shape[axis] + before:
            sides[2 * axis + 1] += rest
    return sides[0], sides[1], sides[2], sides[3]


def _pair(node: OnnxNode, name: str) -> PerAxis:
    found = node.integers(name) or [1, 1]
    if len(found) != 2:
        raise NotImported(f"found {name} {found[:8]}, expected two: maps have rows and columns")
    return _bounded(name, found[0]), _bounded(name, found[1])


def _bounded(name: str, value: int) -> int:
    if not 1 <= value <= _MOST:
        raise NotImported(f"found {name} {value}, expected 1 to {_MOST:,}")
    return value


def _sides(node: OnnxNode, x: FileMap, kernel: PerAxis, stride: PerAxis, dilation: PerAxis) -> PerSide:
    """Top, bottom, left, right."""
    mode = node.text("auto_pad", "NOTSET")
    if mode == "VALID":
        return NO_SIDES
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        return same_sides(x.shape, kernel, stride, dilation, more_after=mode == "SAME_UPPER")
    pads = node.integers("pads") or [0, 0, 0, 0]
    if mode != "NOTSET" or len(pads) != 4 or not 0 <= min(pads) <= max(pads) <= _MOST:
        raise NotImported(f"found auto_pad {mode} and pads {pads[:8]}, expected four from 0 to {_MOST:,}")
    return pads[0], pads[2], pads[1], pads[3]
