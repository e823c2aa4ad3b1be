"""Activations (SPEC.md A1)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bitrow.config.base import LayerConfig, Saved, Shape


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

    def saved(self, trained: Collection[str], passes: bool) -> list[Saved]:
        return [Saved("mask", 1)] if passes else []

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return True
