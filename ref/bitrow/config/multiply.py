"""The product of two maps (SPEC.md A8)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig, SavedMap, Shape
from bitrow.config.rows import HALF, SUM, Buffer, Ops, Phase, Place, RingKind, RowPlan, Take, elements, kept
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode


@dataclass(frozen=True)
class MultiplyConfig(LayerConfig):
    """Product of two maps of one shape, or with `gate` of a map and a gate (1, 1, c), one factor for each channel.

    Squeeze-and-excite multiplies a map by what was made of its average (SPEC.md A8).

    Raises:
        BitrowError: a field of another type.
    """

    label = "multiply"
    arity = 2

    gate: bool = False
    mode: FloatMode = FloatMode()

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        x, other = inputs
        expected = (1, 1, x[2]) if self.gate else x
        if other != expected:
            what = f"a gate {expected} for the map {x}" if self.gate else "equal shapes, or the option gate"
            raise BitrowError(f"{where}: found factors {x} and {other}, expected {what}")
        return x

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        if not passes:
            return []
        maps = [SavedMap("input", 16, 2)]
        return maps if self.gate else [*maps, SavedMap("other input", 16, 2)]

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def row_plan(self, place: Place) -> RowPlan:
        """Rows of the map wait for the gate's one row, which stays where it is until the last gradient was taken."""
        if not self.gate:
            return RowPlan(buffers=(kept("input", RingKind.KEPT, HALF), kept("other", RingKind.KEPT, HALF)))
        reads = ((Phase.BACKWARD_CHAIN, Take.LAST),)
        total = Buffer("total", None, SUM, Phase.BACKWARD_CHAIN, reads, words=place.out[2], rows=1)
        return RowPlan(
            takes=(Take.SAME, Take.ONLY),
            buffers=(kept("input", RingKind.KEPT, HALF), total),
            wide=(Phase.BACKWARD_CHAIN,),
        )

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """A product forward; two back, and with a gate the sum of one of them."""
        row = elements(place.out)
        return Ops(mul=2 * row, add=row if self.gate else 0) if phase.backward else Ops(mul=row)
