"""Hard sigmoid (SPEC.md A9)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig
from bitrow.config.pointwise import PointwiseLayer
from bitrow.config.rows import FLAG, Ops, Phase, Place, RingKind, elements, kept
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FloatMode


def _word(name: str, value: float) -> int:
    """A number as the nearest FP16 word, ties to even."""
    try:
        return int.from_bytes(struct.pack("<e", value), "little")
    except (OverflowError, struct.error):
        raise BitrowError(f"hard sigmoid {name}: found {value!r}, expected a number that FP16 holds") from None


@dataclass(frozen=True)
class HardSigmoidConfig(PointwiseLayer, LayerConfig):
    """Hard sigmoid, `alpha * x + beta` between 0 and 1 (SPEC.md A9).

    `alpha` and `beta` are FP16 words; 1/6 and 1/2, as PyTorch and MobileNetV3 have them, where none are given.

    Raises:
        BitrowError: an alpha that is no positive finite number, a beta that is not finite, a field of another type.
    """

    label = "hard sigmoid"
    keeps = kept("mask", RingKind.RELU, FLAG)

    alpha: int = 0x3155
    beta: int = 0x3800
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha < FP16.infinity_bits:
            raise BitrowError(f"hard sigmoid alpha: found {self.alpha:#x}, expected a positive finite FP16 word")
        if not 0 <= self.beta <= 0xFFFF or self.beta & 0x7FFF >= FP16.infinity_bits:
            raise BitrowError(f"hard sigmoid beta: found {self.beta:#x}, expected a finite FP16 word")

    @classmethod
    def of(cls, alpha: float, beta: float, mode: FloatMode = FloatMode()) -> HardSigmoidConfig:
        """The one of these numbers, each rounded once to FP16, to nearest even: ONNX has 0.2 and 0.5.

        Raises:
            BitrowError: numbers that FP16 does not hold.
        """
        return cls(_word("alpha", alpha), _word("beta", beta), mode)

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return True

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """A product each way; forward a sum, and two comparisons, which count as additions."""
        row = elements(place.out)
        return Ops(mul=row) if phase.backward else Ops(mul=row, add=3 * row)
