"""The FP32 sum of FP16 gradients times weight codes, term after term (SPEC.md C3, F9)."""

from __future__ import annotations

from collections.abc import Sequence

from bitrow.formats import FP32, FloatMode
from bitrow.oracle import fp16, fp32, softfloat
from bitrow.oracle.softfloat import NumberKind


def running_sum(words: Sequence[int | None], codes: Sequence[int], mode: FloatMode) -> list[int]:
    """FP32 sum of FP16 words times codes after each term, from +0; None terms are skipped (C3, F9)."""
    numbers = [None if word is None else fp16.read(word, mode) for word in words]
    if any(number is not None and number.kind is not NumberKind.FINITE for number in numbers):
        return _special_sum(words, codes, mode)
    total, bits, result = 0, 0, []
    for number, code in zip(numbers, codes, strict=True):
        if number is not None and number.significand and code:
            # Counted in 2^-24, of which every FP16 number is a multiple: the sum never leaves the integers.
            units = number.significand << (number.exponent + 24)
            bits, total = _fp32_of_units(total + (-units if number.sign else units) * code)
        result.append(bits)
    return result


def _fp32_of_units(units: int) -> tuple[int, int]:
    """`units * 2^-24` rounded to FP32, and what that is in units again."""
    magnitude = abs(units)
    bits = softfloat.round_to(FP32, int(units < 0), magnitude, -24)
    if not magnitude & ((1 << max(magnitude.bit_length() - 24, 0)) - 1):
        return bits, units
    number = softfloat.unpack(FP32, bits)
    rounded = number.significand << (number.exponent + 24)
    return bits, -rounded if number.sign else rounded


def _special_sum(words: Sequence[int | None], codes: Sequence[int], mode: FloatMode) -> list[int]:
    """The same by FP32 operations, for infinities and NaN: infinity times code 0 is NaN (F4)."""
    total, result = 0, []
    for word, code in zip(words, codes, strict=True):
        if word is not None:
            product = softfloat.mul(FP32, fp16.read(word, mode), softfloat.integer(code))
            total = fp32.add(total, product)
        result.append(total)
    return result
