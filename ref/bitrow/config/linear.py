"""The classifier head (SPEC.md A4)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bitrow import typed
from bitrow.config.base import ArraySpec, LayerConfig, LayerSize, SavedMap, Shape, check_extent
from bitrow.config.rows import Ops, Phase, Place, RowPlan, Take, Window, elements, gradient_rows, input_rows
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode


@dataclass(frozen=True)
class LinearSize(LayerSize):
    """Size of a classifier head: its number of outputs.

    Raises:
        BitrowError: no int.
    """

    c_out: int

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "head size")


@dataclass(frozen=True)
class LinearConfig(LayerConfig):
    """Classifier head (SPEC.md A4).

    Raises:
        BitrowError: a mode that is none.
    """

    label = "head"
    size_type = LinearSize

    mode: FloatMode = FloatMode()

    def weight_shape(self, size: LinearSize, shape: Shape) -> tuple[int, int]:
        """`[in, out]`: the input is read flattened in row-major order."""
        return math.prod(shape), size.c_out

    def output_shape(self, where: str, size: LinearSize, inputs: Sequence[Shape]) -> Shape:
        if size.c_out < 1:
            raise BitrowError(f"{where} size: found {size.c_out} outputs, expected 1 or more")
        check_extent(where, (*inputs[0], size.c_out), "weights")
        return 1, 1, size.c_out

    def arrays(self, size: LinearSize, shape: Shape, channels: int) -> dict[str, ArraySpec]:
        """FP16 weights and an FP32 bias."""
        return {
            "weight": ArraySpec("float16", self.weight_shape(size, shape)),
            "bias": ArraySpec("float32", (channels,)),
        }

    def masters(self, size: LinearSize, shape: Shape, channels: int) -> dict[str, tuple[int, ...]]:
        return {"weight": self.weight_shape(size, shape), "bias": (channels,)}

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        return [SavedMap("input", 16, 2, operand=True)] if "weight" in trained else []

    def row_plan(self, place: Place) -> RowPlan:
        """One row, computed in the chain's visit from the whole input."""
        rows = place.shape[0]
        return RowPlan(
            head=True,
            window=Window(rows, rows),
            inputs=(input_rows(Phase.FORWARD_CHAIN, Take.WINDOW),),
            buffers=(gradient_rows(Take.POOLED),),
            wide=(Phase.FORWARD_CHAIN, Phase.BACKWARD_HEAD),
        )

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        if phase is Phase.BACKWARD_CHAIN:
            return Ops()
        inputs = elements(place.shape) if phase is Phase.BACKWARD_HEAD else math.prod(place.shape)
        return Ops(mul=inputs * place.size.c_out, add=inputs * place.size.c_out)
