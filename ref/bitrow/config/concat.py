"""Concatenation (SPEC.md A7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig, Shape
from bitrow.config.rows import Ops, Phase, Place, RowPlan
from bitrow.errors import BitrowError


@dataclass(frozen=True)
class ConcatConfig(LayerConfig):
    """Two maps one behind the other along their channels (SPEC.md A7)."""

    label = "concat"
    arity = 2

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        (h, w, c), other = inputs
        if other[:2] != (h, w):
            raise BitrowError(f"{where}: found maps {inputs[0]} and {other}, expected equal rows and columns")
        return h, w, c + other[2]

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs)

    def row_plan(self, place: Place) -> RowPlan:
        return RowPlan()

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        return Ops()
