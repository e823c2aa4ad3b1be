"""Hard swish (SPEC.md A6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitrow.config.base import LayerConfig, Shape
from bitrow.formats import FloatMode


@dataclass(frozen=True)
class HardSwishConfig(LayerConfig):
    """Hard swish, `x * relu6(x + 3) / 6` (SPEC.md A6).

    Raises:
        BitrowError: a mode that is none.
    """

    label = "hard swish"

    mode: FloatMode = FloatMode()

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]
