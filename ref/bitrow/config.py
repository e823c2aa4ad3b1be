"""Configuration values of the layers, shared by oracle, kernels, vectors and pipeline (SPEC.md C, B, A).

Standard library only. A value here is hashable and holds everything about a layer but its arrays.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bitrow import typed
from bitrow.errors import BitrowError
from bitrow.formats import (
    FP16,
    FP32,
    FXP4,
    AccOverflow,
    Accumulator,
    Dequantize,
    Float,
    FloatMode,
    Fxp,
    Gradient,
    QuantRounding,
    magnitude_bound,
)

KernelShape = tuple[int, int, int, int]  # kh, kw, c_in/groups, c_out


class Statistics(enum.Enum):
    """Where batch norm takes mean and variance from (SPEC.md B1, B2)."""

    FROZEN = "frozen"
    BATCH = "batch"


def _positive(layer: str, name: str, value: int, least: int) -> None:
    if value < least:
        raise BitrowError(f"{layer} {name}: found {value}, expected {least} or more")


@dataclass(frozen=True)
class ConvConfig:
    """A frozen FXP convolution: square stride and padding, groups (SPEC.md Q, M, D, C).

    `x_format`, `weight_format`, `dy_format` are the code formats of input, weights and output gradient;
    `fold` moves a per-channel weight scale into dy before it is quantized (C2).

    Raises:
        BitrowError: stride or groups below 1, negative padding, a field of another type.
    """

    stride: int = 1
    padding: int = 0
    groups: int = 1
    x_format: Fxp = FXP4
    weight_format: Fxp = FXP4
    dy_format: Fxp = FXP4
    accumulator: Accumulator = Accumulator()
    dequantize: Dequantize = Dequantize.FUSED
    gradient: Gradient = Gradient.FXP
    dy_rounding: QuantRounding = QuantRounding.NEAREST_EVEN
    fold: bool = False
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "convolution")
        _positive("convolution", "stride", self.stride, 1)
        _positive("convolution", "groups", self.groups, 1)
        _positive("convolution", "padding", self.padding, 0)

    def bounds(self, kernel_shape: tuple[int, ...]) -> tuple[int, int]:
        """Worst-case |acc| of M2, forward and of the input gradient, for `[kh, kw, c_in/groups, c_out]`.

        Raises:
            BitrowError: a shape that is not four ints.
        """
        kernel_shape = typed.coerce("convolution kernel_shape", KernelShape, kernel_shape)
        kh, kw, c_in_group, c_out = kernel_shape
        forward = magnitude_bound(kh * kw * c_in_group, self.x_format, self.weight_format)
        terms = kh * kw * (c_out // self.groups)
        return forward, magnitude_bound(terms, self.dy_format, self.weight_format)

    def check(self, layer: str, kernel_shape: tuple[int, ...]) -> None:
        """Refuse a kernel that the groups do not divide or the accumulator cannot hold (SPEC.md M2).

        Raises:
            BitrowError: naming `layer`, the bound and the accumulator's range; a shape that is not four ints from 1.
        """
        kernel_shape = typed.coerce(f"{layer} kernel_shape", KernelShape, kernel_shape)
        if min(kernel_shape) < 1:
            raise BitrowError(f"{layer} kernel_shape: found {kernel_shape}, expected four ints from 1")
        if kernel_shape[3] % self.groups:
            raise BitrowError(
                f"{layer}: found {kernel_shape[3]} output channels, expected a multiple of {self.groups} groups"
            )
        if self.accumulator.overflow is not AccOverflow.ERROR:
            return
        forward, gradient = self.bounds(kernel_shape)
        bound = forward if self.gradient is Gradient.FP16 else max(forward, gradient)
        if bound > self.accumulator.max:
            raise BitrowError(
                f"{layer}: accumulator of {self.accumulator.bits} bits holds {self.accumulator.max}, "
                f"expected room for the worst case {bound}; widen it or choose wrap or saturate"
            )


@dataclass(frozen=True)
class BatchNormConfig:
    """Batch norm with frozen or batch statistics (SPEC.md B1, or B2 and B3).

    `fma` fuses the per-element multiply and add; `accumulator` is FP16 or FP32, for batch statistics.

    Raises:
        BitrowError: an accumulator that is neither FP16 nor FP32, a field of another type.
    """

    statistics: Statistics = Statistics.FROZEN
    fma: bool = False
    accumulator: Float = FP32
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "batch norm")
        if self.accumulator not in (FP16, FP32):
            raise BitrowError(f"batch norm accumulator: found {self.accumulator}, expected FP16 or FP32")


@dataclass(frozen=True)
class ReluConfig:
    """ReLU, or ReLU6 with `six` (SPEC.md A1).

    Raises:
        BitrowError: `six` that is no bool.
    """

    six: bool = False

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "ReLU")


@dataclass(frozen=True)
class AddConfig:
    """Residual add of two maps (SPEC.md A2).

    Raises:
        BitrowError: a mode that is none.
    """

    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "add")


@dataclass(frozen=True)
class MaxPoolConfig:
    """Max pool over `kernel` x `kernel` windows (SPEC.md A2).

    Raises:
        BitrowError: kernel outside 1..16 (the winner's index has 8 bits), stride below 1, or padding that
            leaves a window empty, a field of another type.
    """

    kernel: int = 2
    stride: int = 2
    padding: int = 0
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "max pool")
        _positive("max pool", "kernel", self.kernel, 1)
        if self.kernel > 16:
            raise BitrowError(f"max pool kernel: found {self.kernel}, expected at most 16")
        _positive("max pool", "stride", self.stride, 1)
        _positive("max pool", "padding", self.padding, 0)
        if self.padding * 2 > self.kernel:
            raise BitrowError(
                f"max pool padding: found {self.padding}, expected at most half the kernel of {self.kernel}"
            )


@dataclass(frozen=True)
class AvgPoolConfig:
    """Average pool over `kernel` x `kernel` windows that do not overlap, or the whole map (SPEC.md A3).

    `kernel` None is the whole map. The stride is the kernel.

    Raises:
        BitrowError: kernel below 1, a field of another type.
    """

    kernel: int | None = None
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "average pool")
        if self.kernel is not None:
            _positive("average pool", "kernel", self.kernel, 1)


@dataclass(frozen=True)
class LinearConfig:
    """Classifier head (SPEC.md A4).

    Raises:
        BitrowError: a mode that is none.
    """

    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "head")


LayerConfig = (
    ConvConfig | BatchNormConfig | ReluConfig | AddConfig | MaxPoolConfig | AvgPoolConfig | LinearConfig
)


@typed.arguments
def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Rows (or columns) that a window of `kernel` makes of `size` (SPEC.md C1); below 1 where none fits.

    Raises:
        BitrowError: naming the argument; one that is no int.
    """
    return (size + 2 * padding - kernel) // stride + 1
