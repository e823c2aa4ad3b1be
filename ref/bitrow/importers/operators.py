"""What a reader makes of a file: float operators on maps (h, w, c), free of the file's layout, names and versions.

Weights stand as the accelerator has them, [kh, kw, c_in/groups, c_out] and [in, out], the inputs of a fully connected
layer in row-major order of (h, w, c). Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from bitrow.config import Shape
from bitrow.config.windows import same
from bitrow.formats import Fxp

PerAxis = tuple[int, int]  # along h, along w
PerSide = tuple[int, int, int, int]  # top, bottom, left, right
NO_SIDES: PerSide = (0, 0, 0, 0)


def same_sides(
    shape: Shape, kernel: PerAxis, stride: PerAxis, dilation: PerAxis = (1, 1), more_after: bool = True
) -> PerSide:
    """Padding SAME: a result of size/stride rows, rounded up; an odd one is behind the map, or before it."""
    sides = []
    for axis in (0, 1):
        before, after = same(shape[axis], kernel[axis], stride[axis], dilation[axis])
        sides += [before, after] if more_after else [after, before]
    return sides[0], sides[1], sides[2], sides[3]


class NotImported(Exception):
    """Why one node of a file cannot be a layer, in words that follow its name."""


class FileQuantizer(NamedTuple):
    """A quantizer that the file states: scale f32[] or, of weights, f32[c_out], zero point 0, to nearest even."""

    scale: np.ndarray
    fmt: Fxp


@dataclass(frozen=True, eq=False)
class FloatOperator:
    """An operator on maps; `shape` gives its result's."""

    label: ClassVar[str]

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """Shape (h, w, c) of the result; raises NotImported where the inputs do not fit."""
        return inputs[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Windowed(FloatOperator):
    """An operator over windows."""

    kernel: PerAxis
    stride: PerAxis = (1, 1)
    padding: PerSide = NO_SIDES
    dilation: PerAxis = (1, 1)

    def rows(self, shape: Shape) -> PerAxis:
        """Rows and columns of the result."""
        found = []
        for axis in (0, 1):
            before, after = self.padding[2 * axis : 2 * axis + 2]
            extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1
            found.append((shape[axis] + before + after - extent) // self.stride[axis] + 1)
        if min(found) < 1:
            sides = "x".join(map(str, self.kernel))
            raise NotImported(f"found a {sides} window on a {shape[0]}x{shape[1]} map, expected it to fit")
        return found[0], found[1]

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        return (*self.rows(inputs[0]), inputs[0][2])


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolve(Windowed):
    """A convolution: weight f32[kh, kw, c_in/groups, c_out], bias f32[c_out] or None; `transposed` (SPEC.md C5)."""

    label = "convolution"

    weight: np.ndarray
    bias: np.ndarray | None = None
    groups: int = 1
    x_quantizer: FileQuantizer | None = None
    w_quantizer: FileQuantizer | None = None
    transposed: bool = False
    output_padding: PerAxis = (0, 0)

    def rows(self, shape: Shape) -> PerAxis:
        if not self.transposed:
            return super().rows(shape)
        found = []
        for axis in (0, 1):
            extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1
            cut = sum(self.padding[2 * axis : 2 * axis + 2])
            found.append((shape[axis] - 1) * self.stride[axis] + extent - cut + self.output_padding[axis])
        if min(found) < 1:
            raise NotImported(f"found pads {list(self.padding)} that leave {found[0]}x{found[1]}, expected a result")
        return found[0], found[1]

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        expected = self.weight.shape[2] * self.groups
        if inputs[0][2] != expected:
            raise NotImported(f"found {inputs[0][2]} input channels, expected {expected} of its weights")
        return (*self.rows(inputs[0]), self.weight.shape[3])


@dataclass(frozen=True, eq=False)
class FullyConnected(FloatOperator):
    """A product with weights f32[h*w*c, out] of a whole map, bias f32[out] or None."""

    label = "fully connected layer"

    weight: np.ndarray
    bias: np.ndarray | None = None
    x_quantizer: FileQuantizer | None = None
    w_quantizer: FileQuantizer | None = None

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        return 1, 1, self.weight.shape[1]


@dataclass(frozen=True, eq=False)
class Normalize(FloatOperator):
    """Batch norm with frozen statistics, f32[c] each (SPEC.md B1)."""

    label = "batch norm"

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    var: np.ndarray
    eps: float

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        if self.gamma.shape != (inputs[0][2],):
            raise NotImported(f"found {self.gamma.size} channels' values, expected {inputs[0][2]}")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class ScaleShift(FloatOperator):
    """`x * scale + shift`, f32[] or f32[c] each; it becomes a bias or a batch norm."""

    label = "scale and shift by constants"

    scale: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True, eq=False)
class Clamp(FloatOperator):
    """Values cut to `low` .. `high`: a ReLU, a ReLU6, or part of a pattern."""

    label = "clip"

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Pointwise(FloatOperator):
    """An activation by `name`: "hard_swish", "sigmoid", "silu", or "hard_sigmoid" of alpha and beta."""

    label = "activation"

    name: str
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxWindow(Windowed):
    """Max pool."""

    label = "max pool"


@dataclass(frozen=True, eq=False, kw_only=True)
class MeanWindow(Windowed):
    """Average pool; `whole` is the mean of the whole map, `count_padding` counts the padding's zeros."""

    label = "average pool"

    whole: bool = False
    count_padding: bool = False

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        return (1, 1, inputs[0][2]) if self.whole else super().shape(inputs)


class AddMaps(FloatOperator):
    """The sum of two maps of one shape."""

    label = "add"

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        if inputs[0] != inputs[1]:
            raise NotImported(f"found maps {inputs[0]} and {inputs[1]}, expected one shape: there is no broadcast add")
        return inputs[0]


class MultiplyMaps(FloatOperator):
    """The product of a map and one of the same shape, or of (1, 1, c)."""

    label = "multiply"

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        if inputs[1] not in (inputs[0], (1, 1, inputs[0][2])):
            raise NotImported(f"found maps {inputs[0]} and {inputs[1]}, expected one shape, or (1, 1, c) second")
        return inputs[0]


class JoinMaps(FloatOperator):
    """Channels of the second map behind those of the first."""

    label = "concat"

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        (h, w, c), other = inputs
        if other[:2] != (h, w):
            raise NotImported(f"found maps {inputs[0]} and {other}, expected equal rows and columns")
        return h, w, c + other[2]


@dataclass(frozen=True, eq=False)
class RepeatRows(FloatOperator):
    """Nearest upsampling by whole factors."""

    label = "nearest upsampling"

    factors: PerAxis

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        h, w, c = inputs[0]
        return h * self.factors[0], w * self.factors[1], c


@dataclass(frozen=True, eq=False)
class SpreadDepth(FloatOperator):
    """Depth to space; `crd`: the channels are the slowest part of the depth (ONNX's mode CRD), else the fastest."""

    label = "depth to space"

    block: int
    crd: bool

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        h, w, c = inputs[0]
        if c % self.block**2:
            raise NotImported(f"found {c} channels, expected a multiple of {self.block**2}")
        return h * self.block, w * self.block, c // self.block**2


@dataclass(frozen=True, eq=False)
class PadMap(FloatOperator):
    """A constant around the map."""

    label = "padding"

    padding: PerSide
    value: float

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        h, w, c = inputs[0]
        top, bottom, left, right = self.padding
        return h + top + bottom, w + left + right, c


@dataclass(frozen=True, eq=False)
class Requantize(FloatOperator):
    """Simulated quantization of a map; it becomes the quantizer of the convolutions that read it."""

    label = "quantizer"

    quantizer: FileQuantizer


@dataclass(frozen=True, eq=False)
class LeftToHost(FloatOperator):
    """What the host does with a network's output, such as softmax."""

    label = "host's operator"
