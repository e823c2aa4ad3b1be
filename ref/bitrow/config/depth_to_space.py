"""Depth to space (SPEC.md A13)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig, Shape, positive
from bitrow.config.rows import Ops, Phase, Place, RowPlan, elements, raised
from bitrow.errors import BitrowError


class DepthOrder(enum.Enum):
    """What a channel's number counts first, as ONNX names it: DCR the place in the block, CRD the result's channel."""

    DCR = "dcr"
    CRD = "crd"


@dataclass(frozen=True)
class DepthToSpaceConfig(LayerConfig):
    """Channels become blocks of `block` x `block` places (SPEC.md A13).

    Raises:
        BitrowError: a block below 1, a field of another type.
    """

    label = "depth to space"

    block: int = 2
    order: DepthOrder = DepthOrder.DCR

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.label, "block", self.block, 1)

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        (h, w, c), places = inputs[0], self.block**2
        if c % places:
            raise BitrowError(f"{where}: found {c} channels, expected a multiple of {places}")
        return h * self.block, w * self.block, c // places

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]

    def row_plan(self, place: Place) -> RowPlan:
        return raised(self.block)

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        return Ops(moved=elements(place.shape)) if phase is Phase.BACKWARD_HEAD else Ops()
