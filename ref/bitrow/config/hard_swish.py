"""Hard swish (SPEC.md A6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig
from bitrow.config.pointwise import PointwiseLayer
from bitrow.config.rows import HALF, Ops, Phase, Place, RingKind, elements, kept
from bitrow.formats import FloatMode


@dataclass(frozen=True)
class HardSwishConfig(PointwiseLayer, LayerConfig):
    """Hard swish, `x * relu6(x + 3) / 6` (SPEC.md A6).

    Raises:
        BitrowError: a mode that is none.
    """

    label = "hard swish"
    keeps = kept("input", RingKind.KEPT, HALF)

    mode: FloatMode = FloatMode()

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """Two products each way; a sum, and two comparisons, which count as additions."""
        return Ops(mul=2 * elements(place.out), add=3 * elements(place.out))
