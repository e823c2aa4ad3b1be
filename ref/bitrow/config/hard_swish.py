"""Hard swish (SPEC.md A6)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig, SavedMap, Shape
from bitrow.config.rows import HALF, Ops, Phase, Place, RingKind, RowPlan, elements, kept
from bitrow.formats import FloatMode


@dataclass(frozen=True)
class HardSwishConfig(LayerConfig):
    """Hard swish, `x * relu6(x + 3) / 6` (SPEC.md A6).

    Raises:
        BitrowError: a mode that is none.
    """

    label = "hard swish"

    mode: FloatMode = FloatMode()

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        return [SavedMap("input", 16, 2)] if passes else []

    def row_plan(self, place: Place) -> RowPlan:
        return RowPlan(buffers=(kept("input", RingKind.KEPT, HALF),))

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """Two products each way; a sum, and two comparisons, which count as additions."""
        return Ops(mul=2 * elements(place.out), add=3 * elements(place.out))
