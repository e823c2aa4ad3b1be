"""Nearest upsampling (SPEC.md A12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig, Shape, positive
from bitrow.config.rows import Ops, Phase, Place, RowPlan, elements, raised
from bitrow.formats import FloatMode


@dataclass(frozen=True)
class UpsampleConfig(LayerConfig):
    """Nearest upsampling by whole factors, `rows` and `columns` (SPEC.md A12).

    Raises:
        BitrowError: a factor below 1, a field of another type.
    """

    label = "upsample"

    rows: int = 2
    columns: int = 2
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.label, "rows", self.rows, 1)
        positive(self.label, "columns", self.columns, 1)

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        h, w, c = inputs[0]
        return h * self.rows, w * self.columns, c

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]

    def row_plan(self, place: Place) -> RowPlan:
        return raised(self.rows)

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """Back, the sums of the factors' windows."""
        if phase is not Phase.BACKWARD_HEAD:
            return Ops()
        row = elements(place.shape)
        return Ops(add=(self.rows * self.columns - 1) * row, moved=row)
