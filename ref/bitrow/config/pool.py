"""Pools (SPEC.md A2, A3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bitrow.config.base import LayerConfig, Saved, Shape, positive, window_size
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode


@dataclass(frozen=True)
class MaxPoolConfig(LayerConfig):
    """Max pool over `kernel` x `kernel` windows (SPEC.md A2).

    Raises:
        BitrowError: kernel outside 1..16 (the winner's index has 8 bits), stride below 1, or padding that
            leaves a window empty, a field of another type.
    """

    label = "max pool"

    kernel: int = 2
    stride: int = 2
    padding: int = 0
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.label, "kernel", self.kernel, 1)
        if self.kernel > 16:
            raise BitrowError(f"max pool kernel: found {self.kernel}, expected at most 16")
        positive(self.label, "stride", self.stride, 1)
        positive(self.label, "padding", self.padding, 0)
        if self.padding * 2 > self.kernel:
            raise BitrowError(
                f"max pool padding: found {self.padding}, expected at most half the kernel of {self.kernel}"
            )

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        kernel = (self.kernel, self.kernel)
        return (*window_size(where, inputs[0], kernel, self.stride, self.padding), inputs[0][2])

    def saved(self, trained: Collection[str], passes: bool) -> list[Saved]:
        places = max(1, (self.kernel**2 - 1).bit_length())
        return [Saved("winners", places, of_result=True)] if passes else []

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]


@dataclass(frozen=True)
class AvgPoolConfig(LayerConfig):
    """Average pool over `kernel` x `kernel` windows that do not overlap, or the whole map (SPEC.md A3).

    `kernel` None is the whole map. The stride is the kernel.

    Raises:
        BitrowError: kernel below 1, a field of another type.
    """

    label = "average pool"

    kernel: int | None = None
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel is not None:
            positive(self.label, "kernel", self.kernel, 1)

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        if self.kernel is None:
            return 1, 1, inputs[0][2]
        return (*window_size(where, inputs[0], (self.kernel, self.kernel), self.kernel, 0), inputs[0][2])

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]
