"""Batch norm (SPEC.md B)."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import ArraySpec, LayerConfig, SavedMap, Shape
from bitrow.config.rows import (
    HALF,
    SUM,
    Buffer,
    Ops,
    Phase,
    Place,
    RingKind,
    RowPlan,
    Take,
    elements,
    gradient_rows,
)
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, Float, FloatMode


class Statistics(enum.Enum):
    """Where batch norm takes mean and variance from (SPEC.md B1, B2)."""

    FROZEN = "frozen"
    BATCH = "batch"


@dataclass(frozen=True)
class BatchNormConfig(LayerConfig):
    """Batch norm with frozen or batch statistics (SPEC.md B1, or B2 and B3).

    `fma` fuses the per-element multiply and add; `accumulator` is FP16 or FP32, for batch statistics.

    Raises:
        BitrowError: an accumulator that is neither FP16 nor FP32, a field of another type.
    """

    label = "batch norm"
    result = "z"

    statistics: Statistics = Statistics.FROZEN
    fma: bool = False
    accumulator: Float = FP32
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.accumulator not in (FP16, FP32):
            raise BitrowError(f"batch norm accumulator: found {self.accumulator}, expected FP16 or FP32")

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def arrays(self, size: None, shape: Shape, channels: int) -> dict[str, ArraySpec]:
        """FP16 a and b of frozen statistics (B1), else FP32 gamma, beta and eps (B2)."""
        if self.statistics is Statistics.FROZEN:
            return dict.fromkeys(("a", "b"), ArraySpec("float16", (channels,)))
        vector = ArraySpec("float32", (channels,))
        return {"gamma": vector, "beta": vector, "eps": ArraySpec("float32", ())}

    def masters(self, size: None, shape: Shape, channels: int) -> dict[str, tuple[int, ...]]:
        frozen = self.statistics is Statistics.FROZEN
        return dict.fromkeys(("scale", "shift") if frozen else ("gamma", "beta"), (channels,))

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        """Gradients of gamma and beta are the accelerator's (B3), those of a scale the host's."""
        needed = "scale" in trained if self.statistics is Statistics.FROZEN else passes or bool(trained)
        return [SavedMap("input", 16, 2, operand="scale" in trained)] if needed else []

    def row_plan(self, place: Place) -> RowPlan:
        """Batch statistics head a stage whose rows are summed, and its gradient's, before the first leaves (B2, B3)."""
        if self.statistics is Statistics.FROZEN:
            return RowPlan()
        y = Buffer("y", RingKind.BATCH, HALF, Phase.FORWARD_CHAIN, tuple((phase, Take.SAME) for phase in Phase))
        channels, last = place.out[2], Take.LAST
        statistics = ((Phase.FORWARD_CHAIN, last), (Phase.BACKWARD_HEAD, last))
        buffers = (
            *(_sums(name, Phase.FORWARD_HEAD, Phase.FORWARD_CHAIN, channels) for name in ("r1", "r2")),
            Buffer("statistics", None, SUM, Phase.FORWARD_CHAIN, statistics, words=5 * channels, rows=1),
            *(_sums(name, Phase.BACKWARD_CHAIN, Phase.BACKWARD_HEAD, channels) for name in ("t1", "t2")),
            gradient_rows(Take.SAME),
            Buffer("coefficients", None, SUM, Phase.BACKWARD_HEAD, statistics[1:], words=4 * channels, rows=1),
        )
        return RowPlan(head=True, inputs=(y,), buffers=buffers, wide=(Phase.FORWARD_HEAD, Phase.BACKWARD_CHAIN))

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """With frozen statistics a product and a sum, and a product back; else also the sums of B2 and B3."""
        row, frozen = elements(place.out), self.statistics is Statistics.FROZEN
        match phase:
            case Phase.FORWARD_CHAIN:
                return Ops(mul=row, add=row)
            case Phase.BACKWARD_CHAIN:
                return Ops(mul=row, add=0 if frozen else 2 * row)
            case Phase.FORWARD_HEAD:  # the square, and both sums
                return Ops(mul=row, add=2 * row)
        return Ops(mul=2 * row, add=2 * row)


def _sums(name: str, writer: Phase, reader: Phase, channels: int) -> Buffer:
    """The sums of each row, which the first row behind the barrier adds up."""
    return Buffer(name, None, SUM, writer, ((reader, Take.BATCH),), words=channels)
