"""What activations have in common: a word for each word of one map, and one map that the backward pass reads.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from bitrow.config.base import SavedMap, Shape
from bitrow.config.rows import Buffer, Place, RowPlan


class PointwiseLayer:
    """Stands before `LayerConfig` among the bases of such a layer.

    `keeps` is what its backward pass reads of a row, a word of the layer's input unless `of_result`.
    """

    keeps: ClassVar[Buffer]
    of_result: ClassVar[bool] = False

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        bits = self.keeps.encoding.bits
        return [SavedMap(self.keeps.name, bits, -(-bits // 8), of_result=self.of_result)] if passes else []

    def row_plan(self, place: Place) -> RowPlan:
        return RowPlan(buffers=(self.keeps,))
