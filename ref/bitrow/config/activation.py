"""Activations (SPEC.md A1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitrow.config.base import LayerConfig, Shape


@dataclass(frozen=True)
class ReluConfig(LayerConfig):
    """ReLU, or ReLU6 with `six` (SPEC.md A1).

    Raises:
        BitrowError: `six` that is no bool.
    """

    label = "ReLU"

    six: bool = False

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]
