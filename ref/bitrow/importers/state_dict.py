"""PyTorch state dicts in safetensors, whose graph the names of tensors say: torchvision's ResNets and MobileNetV2.

A width, a number of classes or of blocks may be any; what has a tensor too many or too few is refused, each by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bitrow.config import Shape
from bitrow.errors import BitrowError
from bitrow.importers.float_graph import FileNode, FloatGraph, FloatStep, Reading, Refusal
from bitrow.importers.names import identifier
from bitrow.importers.operators import (
    AddMaps,
    Clamp,
    Convolve,
    FloatOperator,
    FullyConnected,
    MaxWindow,
    MeanWindow,
    Normalize,
    NotImported,
)
from bitrow.reading.tensors import read_tensors

_EPS = 1e-5  # of torch's batch norm; no tensor says it
_SIZE = (224, 224)
_SIX, _NONE = 6.0, float("inf")
_MOBILE_STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)  # of features 1 to 17
_INPUT = "input"


def read_state_dict(path: Path, input_size: tuple[int, int] | None = None) -> Reading:
    """The network of a state dict; `input_size` is 224x224 unless given.

    Raises:
        BitrowError: no safetensors file, a model file of bitrow, or names of no network that is known.
    """
    found = read_tensors(path, "a state dict of PyTorch")
    if "bitrow" in found.metadata:
        raise BitrowError(f"{path}: found a model file of bitrow, expected a state dict of PyTorch")
    modules = _Modules(path, found.arrays, input_size or _SIZE)
    if "layer1.0.conv1.weight" in found.arrays:
        output = _resnet(modules)
    elif "features.0.0.weight" in found.arrays and "classifier.1.weight" in found.arrays:
        output = _mobilenet(modules)
    else:
        first = ", ".join(name[:40] for name in sorted(found.arrays)[:3])
        raise BitrowError(f"{path}: found tensors {first}, expected those of torchvision's ResNets or MobileNetV2")
    return modules.reading(output)


class _Modules:
    """Steps named by their modules, each of which takes its tensors."""

    def __init__(self, path: Path, arrays: Mapping[str, np.ndarray], size: tuple[int, int]) -> None:
        self._path, self._arrays = path, arrays
        self._left = {name for name in arrays if not name.endswith(".num_batches_tracked")}
        self._steps: list[FloatStep] = []
        self._nodes: list[FileNode] = []
        self._refusals: list[Refusal] = []
        stem = arrays.get("conv1.weight", arrays.get("features.0.0.weight"))
        channels = stem.shape[1] if stem is not None and stem.ndim == 4 else 3
        self.shapes: dict[str, Shape] = {_INPUT: (*size, channels)}

    def reading(self, output: str) -> Reading:
        """All of it; a tensor that no module took is refused."""
        for name in sorted(self._left):
            self._refusals.append(Refusal(name, "tensor", "found it, expected none of this name"))
        layouts: dict[str, tuple[str, ...]] = dict.fromkeys(self.shapes, ("n", "c", "h", "w"))
        graph = FloatGraph(identifier(self._path.stem, "network"), _INPUT, () if self._refusals else (output,),
                           tuple(self._steps), self.shapes, layouts)  # fmt: skip
        return Reading(graph, tuple(self._nodes), tuple(self._refusals))

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._arrays

    def add(self, name: str, kind: str, op: FloatOperator | None, *inputs: str) -> str:
        """One step; the name of its value. Without an operator, the module was refused."""
        self._nodes.append(FileNode(name, kind))
        if op is None or not all(one in self.shapes for one in inputs):
            return name
        try:
            self.shapes[name] = op.shape([self.shapes[one] for one in inputs])
            self._steps.append(FloatStep(name, kind, op, inputs, name, (name,)))
        except NotImported as error:
            self._refusals.append(Refusal(name, kind, str(error)))
        return name

    def take(self, name: str, kind: str, rank: int, fields: tuple[str, ...]) -> list[np.ndarray] | None:
        """Tensors of a module, the first of `rank` dimensions, the others vectors; None where one is refused."""
        found = []
        for place, field in enumerate(fields):
            array = self._arrays.get(f"{name}.{field}")
            self._left.discard(f"{name}.{field}")
            wanted = rank if place == 0 else 1
            if array is None or array.ndim != wanted or array.dtype not in (np.float16, np.float32):
                what = "no tensor" if array is None else f"{array.dtype}{list(array.shape)}"
                reason = f"found {what} {field!r}, expected float32 or float16 of {wanted} dimensions"
                self._refusals.append(Refusal(name, kind, reason))
                continue
            found.append(array.astype(np.float32))
        return found if len(found) == len(fields) else None

    def conv(self, name: str, x: str, stride: int = 1, depthwise: bool = False) -> str:
        """A convolution padded to keep rows and columns at stride 1."""
        given = self.take(name, "Conv2d", 4, ("weight",))
        if given is None:
            return self.add(name, "Conv2d", None)
        weight = np.ascontiguousarray(given[0].transpose(2, 3, 1, 0))
        kh, kw = weight.shape[:2]
        groups = weight.shape[3] if depthwise else 1
        op = Convolve(kernel=(kh, kw), stride=(stride, stride), padding=(kh // 2, kh // 2, kw // 2, kw // 2),
                      weight=weight, groups=groups)  # fmt: skip
        return self.add(name, "Conv2d", op, x)

    def norm(self, name: str, x: str) -> str:
        """A batch norm."""
        given = self.take(name, "BatchNorm2d", 1, ("weight", "bias", "running_mean", "running_var"))
        if given is None:
            return self.add(name, "BatchNorm2d", None)
        gamma, beta, mean, var = given
        return self.add(name, "BatchNorm2d", Normalize(gamma, beta, mean, var, _EPS), x)

    def relu(self, name: str, x: str, high: float = _NONE) -> str:
        return self.add(name, "ReLU6" if high == _SIX else "ReLU", Clamp(0.0, high), x)

    def head(self, name: str, x: str) -> str:
        """The mean of the map, and a classifier."""
        x = self.add("avgpool", "AdaptiveAvgPool2d", MeanWindow(kernel=(1, 1), whole=True), x)
        given = self.take(name, "Linear", 2, ("weight", "bias"))
        return self.add(name, "Linear", None if given is None else FullyConnected(given[0].T, given[1]), x)


def _resnet(m: _Modules) -> str:
    """Basic blocks or bottlenecks, as many as there are."""
    x = m.relu("relu", m.norm("bn1", m.conv("conv1", _INPUT, 2)))
    x = m.add("maxpool", "MaxPool2d", MaxWindow(kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1)), x)
    for stage in range(1, 5):
        block = 0
        while m.has(f"layer{stage}.{block}.conv1.weight"):
            x = _block(m, f"layer{stage}.{block}", x, 2 if stage > 1 and block == 0 else 1)
            block += 1
    return m.head("fc", x)


def _block(m: _Modules, name: str, x: str, stride: int) -> str:
    count = 3 if m.has(f"{name}.conv3.weight") else 2
    strided = 2 if count == 3 else 1  # torchvision's bottlenecks have the stride in the middle
    y = x
    for place in range(1, count + 1):
        y = m.norm(f"{name}.bn{place}", m.conv(f"{name}.conv{place}", y, stride if place == strided else 1))
        y = m.relu(f"{name}.relu{place}", y) if place < count else y
    if m.has(f"{name}.downsample.0.weight"):
        x = m.norm(f"{name}.downsample.1", m.conv(f"{name}.downsample.0", x, stride))
    return m.relu(f"{name}.relu", m.add(f"{name}.add", "add", AddMaps(), y, x))


def _mobilenet(m: _Modules) -> str:
    x = m.relu("features.0.2", m.norm("features.0.1", m.conv("features.0.0", _INPUT, 2)), _SIX)
    number = 1
    while m.has(f"features.{number}.conv.0.0.weight"):
        stride = _MOBILE_STRIDES[number - 1] if number <= len(_MOBILE_STRIDES) else 1
        x = _inverted(m, f"features.{number}.conv", x, stride)
        number += 1
    last = f"features.{number}"
    return m.head("classifier.1", m.relu(f"{last}.2", m.norm(f"{last}.1", m.conv(f"{last}.0", x)), _SIX))


def _inverted(m: _Modules, name: str, x: str, stride: int) -> str:
    """Expansion where there is one, a depthwise convolution, a projection; a shortcut where the shapes are equal."""
    expanded = m.has(f"{name}.1.0.weight")
    y = m.conv(f"{name}.0.0", x, 1 if expanded else stride, not expanded)
    y = m.relu(f"{name}.0.2", m.norm(f"{name}.0.1", y), _SIX)
    if expanded:
        y = m.relu(f"{name}.1.2", m.norm(f"{name}.1.1", m.conv(f"{name}.1.0", y, stride, True)), _SIX)
    place = 2 if expanded else 1
    y = m.norm(f"{name}.{place + 1}", m.conv(f"{name}.{place}", y))
    if stride == 1 and m.shapes.get(x) == m.shapes.get(y) and x in m.shapes:
        return m.add(f"{name[: -len('.conv')]}.add", "add", AddMaps(), y, x)
    return y
