"""The sigmoid of a table, and what multiplies by it (SPEC.md A10, A11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig
from bitrow.config.pointwise import PointwiseLayer
from bitrow.config.rows import HALF, Ops, Phase, Place, RingKind, elements, kept
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode

LEAST_BITS, MOST_BITS = 3, 10  # a segment of 1, and one so short that no FP16 number below 8 lies between its ends


def _check_bits(label: str, bits: int) -> None:
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise BitrowError(f"{label} table_bits: found {bits}, expected {LEAST_BITS} to {MOST_BITS}")


@dataclass(frozen=True)
class SigmoidConfig(PointwiseLayer, LayerConfig):
    """Sigmoid by a table of `2^table_bits + 1` FP16 words over [0, 8] and lines between them (SPEC.md A10).

    Raises:
        BitrowError: `table_bits` outside 3..10, a field of another type.
    """

    label = "sigmoid"
    keeps = kept("result", RingKind.KEPT, HALF)
    of_result = True

    table_bits: int = 6
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_bits(self.label, self.table_bits)

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return True

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """Forward a product and a sum on the line, and the sum that mirrors it; back two products and a sum."""
        row = elements(place.out)
        return Ops(mul=2 * row, add=row) if phase.backward else Ops(mul=row, add=2 * row)


@dataclass(frozen=True)
class SiluConfig(PointwiseLayer, LayerConfig):
    """SiLU, `x * sigmoid(x)`, by the sigmoid's table (SPEC.md A11).

    Raises:
        BitrowError: `table_bits` outside 3..10, a field of another type.
    """

    label = "SiLU"
    keeps = kept("input", RingKind.KEPT, HALF)

    table_bits: int = 6
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_bits(self.label, self.table_bits)

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """The sigmoid's, and a product forward; back the sigmoid's again, three products and a sum."""
        row = elements(place.out)
        return Ops(mul=4 * row, add=3 * row) if phase.backward else Ops(mul=2 * row, add=2 * row)
