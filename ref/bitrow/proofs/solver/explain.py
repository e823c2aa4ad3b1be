"""Counterexamples decoded: what a reader sees, and what the oracle says."""

from __future__ import annotations

from bitrow.contract.encoding import FP16_WORD, FP32_WORD, Encoding
from bitrow.errors import BitrowError
from bitrow.formats import FP16, Float
from bitrow.proofs.claim import Counterexample
from bitrow.vectors.files.decode import value_text

OperandText = tuple[str, str, str]


def _encoding(fmt: Float) -> Encoding:
    return FP16_WORD if fmt == FP16 else FP32_WORD


def operand(name: str, word: int, fmt: Float = FP16) -> OperandText:
    """A floating-point operand of a counterexample."""
    encoding = _encoding(fmt)
    return name, f"0x{word:0{encoding.hex_digits}x}", value_text(word, encoding)


def integer(name: str, value: int, bits: int = 32) -> OperandText:
    """An integer operand of a counterexample."""
    return name, f"0x{value & ((1 << bits) - 1):0{-(-bits // 4)}x}", str(value)


def text(word: int, fmt: Float = FP16) -> str:
    """A result: its word and its meaning."""
    _, shown, meaning = operand("", word, fmt)
    return f"{shown} ({meaning})"


def confirmed(operands: tuple[OperandText, ...], found: int, expected: int, fmt: Float = FP16) -> Counterexample:
    """A counterexample whose expected word the oracle computed.

    Raises:
        BitrowError: the oracle agrees with the word found, so that the solver's side is wrong.
    """
    if found == expected:
        raise BitrowError(
            f"solver: found {operands} a counterexample, expected one: the oracle gives {text(found, fmt)}, too"
        )
    return Counterexample(operands, text(found, fmt), text(expected, fmt), "oracle")
