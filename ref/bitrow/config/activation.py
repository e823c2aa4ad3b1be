"""Activations (SPEC.md A1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig
from bitrow.config.pointwise import PointwiseLayer
from bitrow.config.rows import FLAG, Ops, Phase, Place, RingKind, elements, kept


@dataclass(frozen=True)
class ReluConfig(PointwiseLayer, LayerConfig):
    """ReLU, or ReLU6 with `six` (SPEC.md A1).

    Raises:
        BitrowError: `six` that is no bool.
    """

    label = "ReLU"
    keeps = kept("mask", RingKind.RELU, FLAG)

    six: bool = False

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return True

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """A comparison counts as an addition."""
        return Ops() if phase.backward else Ops(add=(2 if self.six else 1) * elements(place.out))
