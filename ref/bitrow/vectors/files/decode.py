"""What single words mean: value, class and distance, for messages and for `bitrow inspect` (SPEC.md F1, F7).

Standard library only; values are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

from bitrow.contract.encoding import Encoding, Kind
from bitrow.formats import FP16, FP32, Flag, Float

_FLOATS = {Kind.FP16: FP16, Kind.FP32: FP32}


def float_of(encoding: Encoding) -> Float | None:
    """The floating-point format of an encoding, None for integers."""
    return _FLOATS.get(encoding.kind)


@dataclass(frozen=True)
class FloatWord:
    """The fields of a floating-point word and, where it is a number, its exact value."""

    fmt: Float
    word: int

    @property
    def negative(self) -> bool:
        return bool(self.word & self.fmt.sign_mask)

    @property
    def field(self) -> int:
        """The exponent field as stored."""
        return (self.word & (self.fmt.sign_mask - 1)) >> self.fmt.fraction_bits

    @property
    def fraction(self) -> int:
        return self.word & ((1 << self.fmt.fraction_bits) - 1)

    @property
    def kind(self) -> str:
        """zero, subnormal, normal, infinity or NaN."""
        if self.field == (1 << self.fmt.exponent_bits) - 1:
            return "NaN" if self.fraction else "infinity"
        if self.field:
            return "normal"
        return "subnormal" if self.fraction else "zero"

    @property
    def exponent(self) -> int:
        """Exponent of the leading place: that of the subnormals for a subnormal or zero."""
        return max(self.field, 1) - self.fmt.bias

    @property
    def ulp(self) -> Fraction:
        """The distance to the next larger magnitude."""
        return Fraction(2) ** (self.exponent - self.fmt.fraction_bits)

    @property
    def value(self) -> Fraction | None:
        """The exact value, None for an infinity or NaN; both zeros are 0."""
        if self.kind in ("NaN", "infinity"):
            return None
        significand = self.fraction | (self.field != 0) << self.fmt.fraction_bits
        return (-1 if self.negative else 1) * significand * self.ulp


def decimal_text(value: Fraction) -> str:
    """A dyadic rational as an exact decimal, in plain or exponent form, whichever is shorter."""
    with localcontext() as context:
        context.prec = 400
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        plain, short = f"{exact:f}", f"{exact.normalize():e}"
    return plain if len(plain) <= len(short) + 4 else short


def hex_float(number: FloatWord) -> str:
    """The C99 hexadecimal form of a finite number."""
    if number.kind == "zero":
        return "-0x0p+0" if number.negative else "0x0p+0"
    digits = -(-number.fmt.fraction_bits // 4)
    aligned = number.fraction << (4 * digits - number.fmt.fraction_bits)
    lead = int(number.field != 0)
    tail = f".{aligned:0{digits}x}".rstrip("0").rstrip(".")
    return f"{'-' if number.negative else ''}0x{lead}{tail}p{number.exponent:+d}"


def signed_value(word: int, bits: int, signed: bool) -> int:
    """An integer word's value: two's complement of `bits` where `signed`."""
    return word - (1 << bits) if signed and word >> (bits - 1) & 1 else word


def value_text(word: int, encoding: Encoding) -> str:
    """The value of a word in few characters: "1.5", "-0", "inf", "NaN", "-8", of flags their names."""
    fmt = float_of(encoding)
    if encoding.kind is Kind.FLAGS:
        return ", ".join(str(flag.name).lower().replace("_", " ") for flag in Flag if word & flag) or "nothing raised"
    if fmt is None:
        return str(signed_value(word, encoding.word_bits, encoding.signed))
    number = FloatWord(fmt, word)
    sign = "-" if number.negative else ""
    if number.kind == "NaN":
        return "NaN"
    if number.kind == "infinity":
        return f"{sign}inf"
    value = number.value or Fraction(0)
    return f"{sign}0" if not value else decimal_text(value)


def word_text(word: int, encoding: Encoding) -> str:
    """A word in hex with its value, as in "0x3c01 (1.0009765625)"."""
    return f"0x{word:0{encoding.hex_digits}x} ({value_text(word, encoding)})"


def place(word: int, encoding: Encoding) -> int | None:
    """Position of a word in the order of values, so that neighbours differ by 1; None for NaN.

    Both zeros have the position 0.
    """
    fmt = float_of(encoding)
    if fmt is None:
        return signed_value(word, encoding.word_bits, encoding.signed)
    magnitude = word & (fmt.sign_mask - 1)
    if magnitude > fmt.infinity_bits:
        return None
    return -magnitude if word & fmt.sign_mask else magnitude


def ulps(found: int, expected: int, encoding: Encoding) -> int | None:
    """Signed distance `found - expected` in units in the last place; None where a NaN takes part."""
    first, second = place(found, encoding), place(expected, encoding)
    return None if first is None or second is None else first - second
