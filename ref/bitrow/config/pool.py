"""Pools (SPEC.md A2, A3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig, SavedMap, Shape, positive, window_size
from bitrow.config.rows import (
    SUM,
    Buffer,
    Ops,
    Phase,
    Place,
    RingKind,
    RowPlan,
    RowWord,
    Take,
    Window,
    elements,
    gradient_rows,
    input_rows,
)
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

    @property
    def _winner(self) -> RowWord:
        """A place in a window."""
        return RowWord(max(1, (self.kernel**2 - 1).bit_length()), "uint8")

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        kernel = (self.kernel, self.kernel)
        return (*window_size(where, inputs[0], kernel, self.stride, self.padding), inputs[0][2])

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        return [SavedMap("winners", self._winner.bits, of_result=True)] if passes else []

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]

    def row_plan(self, place: Place) -> RowPlan:
        """A row is computed in the chain's visit; its windows' winners are kept, whose gradients meet."""
        reads = ((Phase.BACKWARD_HEAD, Take.MEETING),)
        winners = Buffer("index", RingKind.INDEX, self._winner, Phase.FORWARD_CHAIN, reads)
        return RowPlan(
            head=True,
            window=Window(self.kernel, self.stride, self.padding),
            inputs=(input_rows(Phase.FORWARD_CHAIN, Take.WINDOW, margin=self.padding),),
            buffers=(gradient_rows(Take.MEETING), winners),
        )

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """A comparison counts as an addition."""
        match phase:
            case Phase.FORWARD_CHAIN:
                return Ops(add=(self.kernel**2 - 1) * elements(place.out))
            case Phase.BACKWARD_HEAD:
                row = elements(place.shape)
                return Ops(add=rows * -(-self.kernel // self.stride) * row, moved=row)
        return Ops()


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

    def row_plan(self, place: Place) -> RowPlan:
        """Input rows are added to sums as they come; the chain scales the sums."""
        kernel = self.kernel or place.shape[0]
        reads = ((Phase.FORWARD_HEAD, Take.RUNNING), (Phase.FORWARD_CHAIN, Take.SAME))
        sums = Buffer("sum", RingKind.HANDOFF, SUM, Phase.FORWARD_HEAD, reads, per=kernel)
        return RowPlan(
            head=True,
            window=Window(kernel, kernel),
            inputs=(input_rows(Phase.FORWARD_HEAD, Take.SAME),),
            buffers=(sums, gradient_rows(Take.POOLED)),
            wide=(Phase.FORWARD_HEAD,),
        )

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        match phase:
            case Phase.FORWARD_HEAD:
                return Ops(add=elements(place.shape))
            case Phase.FORWARD_CHAIN:
                return Ops(mul=elements(place.out))
            case Phase.BACKWARD_HEAD:
                return Ops(mul=elements(place.shape))
        return Ops()
