"""Activations (SPEC.md A1)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig, SavedMap, Shape
from bitrow.config.rows import FLAG, Ops, Phase, Place, RingKind, RowPlan, elements, kept


@dataclass(frozen=True)
class ReluConfig(LayerConfig):
    """ReLU, or ReLU6 with `six` (SPEC.md A1).

    Raises:
        BitrowError: `six` that is no bool.
    """

    label = "ReLU"

    six: bool = False

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        return [SavedMap("mask", 1)] if passes else []

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return True

    def row_plan(self, place: Place) -> RowPlan:
        return RowPlan(buffers=(kept("mask", RingKind.RELU, FLAG),))

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """A comparison counts as an addition."""
        return Ops() if phase.backward else Ops(add=(2 if self.six else 1) * elements(place.out))
