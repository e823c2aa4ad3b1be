"""How a tensor's words are read, and what the formats of a program's lines are (SPEC.md V2).

Standard library and numpy only.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitrow.config import BatchNormConfig
from bitrow.formats import FP16, FP32, Flag, Float, Fxp


class Role(enum.Enum):
    """What a tensor is to the design under test."""

    INPUT = "input"
    PARAMETER = "parameter"
    TAP = "tap"
    OUTPUT = "output"


class Kind(enum.Enum):
    """How a word is read."""

    FP16 = "fp16"
    FP32 = "fp32"
    CODE = "code"
    INTEGER = "integer"
    MASK = "mask"
    INDEX = "index"
    WORD = "word"
    PACKED = "packed"
    FLAGS = "flags"


@dataclass(frozen=True)
class Encoding:
    """Width and meaning of a tensor's words (SPEC.md V2).

    `bits` is the word's width: 16 for FP16, 32 for FP32, the code's own bits for CODE, 1 for MASK, 8 for
    INDEX, 16 for WORD (LFSR), 8 for PACKED nibbles, 5 for FLAGS, `acc_bits` for INTEGER. `signed`: two's complement.
    """

    kind: Kind
    bits: int
    signed: bool = False

    @property
    def hex_digits(self) -> int:
        return -(-self.bits // 4)

    @property
    def word_bits(self) -> int:
        """Width of the word in a hex file: that of INTEGER is rounded up to a multiple of 4 (SPEC.md V2)."""
        return 4 * self.hex_digits if self.kind is Kind.INTEGER else self.bits

    @property
    def dtype(self) -> np.dtype:
        """The integer dtype that holds these words in a `Tensor`."""
        width = {Kind.FP16: 16, Kind.WORD: 16, Kind.FP32: 32, Kind.INTEGER: 32}.get(self.kind, 8)
        return np.dtype(f"{'i' if self.signed else 'u'}{width // 8}")


FP16_WORD = Encoding(Kind.FP16, 16)
FP32_WORD = Encoding(Kind.FP32, 32)
MASK_WORD = Encoding(Kind.MASK, 1)
INDEX_WORD = Encoding(Kind.INDEX, 8)
LFSR_WORD = Encoding(Kind.WORD, 16)
PACKED_BYTE = Encoding(Kind.PACKED, 8)
FLAGS_WORD = Encoding(Kind.FLAGS, len(Flag))


def code_encoding(fmt: Fxp) -> Encoding:
    """Encoding of codes of `fmt`."""
    return Encoding(Kind.CODE, fmt.bits, fmt.signed)


def integer_encoding(bits: int) -> Encoding:
    """Encoding of a two's complement integer of `bits`."""
    return Encoding(Kind.INTEGER, bits, signed=True)


def float_format(name: str, config: Any) -> Float | None:
    """The floating-point format that `name` in a line means; None where its words are no floats."""
    if name == "acc":
        return config.accumulator
    return {"16": FP16, "32": FP32, "host": FP32}.get(name)


def code_format(name: str, config: Any) -> Fxp:
    """The code format that `name` in a line means: `code` is the configuration itself."""
    return config if name == "code" else getattr(config, f"{name}_format")


def _statistic(config: BatchNormConfig) -> Encoding:
    return FP16_WORD if config.accumulator == FP16 else FP32_WORD


FORMATS: dict[str, Callable[[Any], Encoding]] = {
    "16": lambda config: FP16_WORD,
    "32": lambda config: FP32_WORD,
    "host": lambda config: FP32_WORD,  # FP32, read as rounded to the line's format to nearest even (B2)
    "acc": _statistic,
    "int": lambda config: integer_encoding(32),
    "reg": lambda config: integer_encoding(config.accumulator.bits),
    "mask": lambda config: MASK_WORD,
    "index": lambda config: INDEX_WORD,
    "lfsr": lambda config: LFSR_WORD,
    "byte": lambda config: PACKED_BYTE,
    "flags": lambda config: FLAGS_WORD,
    **{name: lambda config, name=name: code_encoding(code_format(name, config))  # type: ignore[misc]
       for name in ("code", "x", "weight", "dy")},
}  # fmt: skip
