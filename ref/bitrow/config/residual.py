"""The residual add (SPEC.md A2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig, Shape
from bitrow.config.rows import Ops, Phase, Place, RowPlan, elements
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode


@dataclass(frozen=True)
class AddConfig(LayerConfig):
    """Residual add of two maps (SPEC.md A2).

    Raises:
        BitrowError: a mode that is none.
    """

    label = "add"
    arity = 2

    mode: FloatMode = FloatMode()

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        if inputs[0] != inputs[1]:
            raise BitrowError(f"{where}: found operands {inputs[0]} and {inputs[1]}, expected equal shapes")
        return inputs[0]

    def row_plan(self, place: Place) -> RowPlan:
        return RowPlan()

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        return Ops() if phase.backward else Ops(add=elements(place.out))
