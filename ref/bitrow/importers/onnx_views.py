"""Operators of ONNX that change no value: how a map is looked at, and its shape."""

from __future__ import annotations

import numpy as np

from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_node import OnnxNode
from bitrow.importers.onnx_values import Known, OnnxValue, reshaped, transposed
from bitrow.importers.operators import NotImported


def flatten(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    x = node.map(0)
    if node.integer("axis", 1) != 1:
        raise NotImported(f"found axis {node.integer('axis', 1)}, expected 1")
    return reshaped(x, [x.batch, -1])


def reshape(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    target = node.list_of(1, "shape") or []
    if len(target) > 8:
        raise NotImported(f"found a shape of {len(target)} sizes, expected up to 8")
    x = node.map(0)
    if x.batch == 1 and target[:1] == [-1] and target.count(-1) == 1:
        target = [1, *target[1:]]
    return reshaped(x, target, not node.integer("allowzero", 0))


def squeeze(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    x, axes = node.map(0), node.axes(1)
    places = {axis % len(x.axes) for axis in axes} if axes is not None else None
    dims = [size for place, size in enumerate(x.dims) if not (size == 1 if places is None else place in places)]
    return reshaped(x, dims)


def unsqueeze(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    x, axes = node.map(0), node.axes(1) or []
    dims, rank = list(x.dims), len(x.axes) + len(axes)
    if rank > 8:
        raise NotImported(f"found {rank} dimensions, expected up to 8")
    for axis in sorted(axis % rank for axis in axes):
        dims.insert(axis, 1)
    return reshaped(x, dims)


def shape(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    return Known(np.array(node.map(0).dims, np.int64))


def cast(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    if node.dtype("to") not in (np.float32, np.float16):
        raise NotImported(f"found a cast of a map to {np.dtype(node.dtype('to'))}, expected float32 or float16")
    return node.map(0)


def dropout(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    if node.number(2, 0.0):
        raise NotImported("found training_mode, expected none")
    return node.map(0)


def same(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    return node.map(0)


def transpose(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    x = node.map(0)
    return transposed(x, node.integers("perm") or list(reversed(range(len(x.axes)))))
