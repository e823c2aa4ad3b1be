"""Binary floating point of any format, one scalar at a time, in integers (SPEC.md F1 to F6, F9).

A `Number` is exact. Every operation forms its exact result and leaves through `round_to`, the one place
of the oracle where a result becomes a bit pattern. FP32 arithmetic is these functions under the default
mode (F9).
"""

from __future__ import annotations

import enum
import functools
import math
from fractions import Fraction
from typing import NamedTuple

from bitrow.formats import Float, FloatMode, Overflow, Rounding

NEAREST = FloatMode()

_GUARD_BITS = 3  # beyond the significand: half an ulp, and two places so that a sticky bit stays below it


class NumberKind(enum.Enum):
    """What a bit pattern stands for."""

    FINITE = "finite"
    INFINITE = "infinite"
    NAN = "nan"


class Number(NamedTuple):
    """`(-1)^sign * significand * 2^exponent`, exactly; for an infinity only `sign` counts."""

    kind: NumberKind
    sign: int
    significand: int = 0
    exponent: int = 0


NAN = Number(NumberKind.NAN, 0)


class _Limits(NamedTuple):
    """Constants of a format, worked out once."""

    sign: int
    infinity: int
    fraction: int
    least: int


@functools.cache
def _limits(exponent_bits: int, fraction_bits: int) -> _Limits:
    fmt = Float(exponent_bits, fraction_bits)
    return _Limits(fmt.sign_mask, fmt.infinity_bits, fmt.fraction_bits, fmt.min_exponent - fmt.fraction_bits)


def unpack(fmt: Float, bits: int, flush: bool = False) -> Number:
    """The number that `bits` stand for; with `flush`, a subnormal reads as a zero of its sign (F1, F5)."""
    limits = _limits(fmt.exponent_bits, fmt.fraction_bits)
    sign = int(bits & limits.sign != 0)
    magnitude = bits & (limits.sign - 1)
    if magnitude >= limits.infinity:
        return Number(NumberKind.INFINITE, sign) if magnitude == limits.infinity else NAN
    field = magnitude >> limits.fraction
    if not field:
        return Number(NumberKind.FINITE, sign, 0 if flush else magnitude, limits.least)
    hidden = 1 << limits.fraction
    return Number(NumberKind.FINITE, sign, magnitude & (hidden - 1) | hidden, limits.least + field - 1)


def integer(value: int) -> Number:
    """An integer as a number; 0 is +0."""
    return Number(NumberKind.FINITE, int(value < 0), abs(value), 0)


def exact(number: Number) -> Fraction:
    """The value of a finite number.

    Raises:
        ValueError: an infinity or a NaN.
    """
    if number.kind is not NumberKind.FINITE:
        raise ValueError(f"exact value: found {number.kind.value}, expected a finite number")
    value = Fraction(number.significand) * Fraction(2) ** number.exponent
    return -value if number.sign else value


def _rounds_away(rounding: Rounding, sign: int, odd: bool, rest: int, half: int) -> bool:
    """Whether a discarded part `rest` of an ulp of `2 * half` moves the magnitude up (F3)."""
    if rounding is Rounding.NEAREST_EVEN:
        return rest > half or (rest == half and odd)
    if rounding is Rounding.NEAREST_AWAY:
        return rest >= half
    if rounding is Rounding.UP:
        return rest > 0 and not sign
    if rounding is Rounding.DOWN:
        return rest > 0 and bool(sign)
    return False


def _overflowed(fmt: Float, sign: int, mode: FloatMode) -> int:
    """Magnitude bits of a finite result that is too large (F6)."""
    if mode.overflow is Overflow.SATURATE or mode.rounding is Rounding.TOWARD_ZERO:
        return fmt.max_finite_bits
    if mode.rounding is (Rounding.UP if sign else Rounding.DOWN):
        return fmt.max_finite_bits
    return fmt.infinity_bits


def round_to(fmt: Float, sign: int, significand: int, exponent: int, mode: FloatMode = NEAREST) -> int:
    """`(-1)^sign * significand * 2^exponent` rounded once to `fmt`, as bits (F2, F3, F5, F6).

    The lowest bit of `significand` may be sticky (set for a nonzero remainder below it), provided that it
    lies below half an ulp of the result. A zero significand gives the zero of `sign`: the operation has
    decided on it.
    """
    limits = _limits(fmt.exponent_bits, fmt.fraction_bits)
    top = limits.sign if sign else 0
    if not significand:
        return top
    unit = max(significand.bit_length() + exponent - 1 - limits.fraction, limits.least)
    shift = unit - exponent
    if shift <= 0:
        kept = significand << -shift
    else:
        kept = significand >> shift
        rest = significand & ((1 << shift) - 1)
        kept += _rounds_away(mode.rounding, sign, bool(kept & 1), rest, 1 << (shift - 1))
    # The hidden bit adds one to the exponent field, and so does a carry out of the significand.
    magnitude = ((unit - limits.least) << limits.fraction) + kept
    if magnitude >= limits.infinity:
        magnitude = _overflowed(fmt, sign, mode)
    if mode.flush and magnitude >> limits.fraction == 0:
        magnitude = 0
    return top | magnitude


def from_fraction(fmt: Float, value: Fraction, mode: FloatMode = NEAREST, zero_sign: int = 0) -> int:
    """A rational rounded once to `fmt`; zero takes `zero_sign` (F3)."""
    if not value:
        return round_to(fmt, zero_sign, 0, 0, mode)
    significand, exponent = _divide(fmt, abs(value.numerator), value.denominator)
    return round_to(fmt, int(value < 0), significand, exponent, mode)


def _divide(fmt: Float, numerator: int, denominator: int) -> tuple[int, int]:
    """Quotient as significand with a sticky low bit, and exponent; longer than any significand of `fmt`."""
    places = fmt.fraction_bits + _GUARD_BITS + denominator.bit_length() - numerator.bit_length()
    shift = max(places, 0)
    quotient, remainder = divmod(numerator << shift, denominator)
    return quotient << 1 | (remainder != 0), -shift - 1


def _infinity(fmt: Float, sign: int) -> int:
    return (fmt.sign_mask if sign else 0) | fmt.infinity_bits


def round_number(fmt: Float, x: Number, mode: FloatMode = NEAREST) -> int:
    """A conversion: `x` rounded once to `fmt` (F4, F10)."""
    if x.kind is NumberKind.NAN:
        return fmt.nan_bits
    if x.kind is NumberKind.INFINITE:
        return _infinity(fmt, x.sign)
    return round_to(fmt, x.sign, x.significand, x.exponent, mode)


def add(fmt: Float, x: Number, y: Number, mode: FloatMode = NEAREST) -> int:
    """`x + y` rounded once to `fmt` (F2, F3, F4)."""
    if x.kind is not NumberKind.FINITE or y.kind is not NumberKind.FINITE:
        if x.kind is NumberKind.NAN or y.kind is NumberKind.NAN:
            return fmt.nan_bits
        if x.kind is y.kind and x.sign != y.sign:
            return fmt.nan_bits
        return _infinity(fmt, x.sign if x.kind is NumberKind.INFINITE else y.sign)
    exponent = min(x.exponent, y.exponent)
    total = x.significand << (x.exponent - exponent)
    other = y.significand << (y.exponent - exponent)
    if x.sign == y.sign:
        return round_to(fmt, x.sign, total + other, exponent, mode)
    if total == other:
        return round_to(fmt, int(mode.rounding is Rounding.DOWN), 0, 0, mode)
    if total > other:
        return round_to(fmt, x.sign, total - other, exponent, mode)
    return round_to(fmt, y.sign, other - total, exponent, mode)


def exact_product(x: Number, y: Number) -> Number:
    """`x * y`, not rounded; infinity times zero is NaN (F4)."""
    if x.kind is NumberKind.NAN or y.kind is NumberKind.NAN:
        return NAN
    if x.kind is NumberKind.FINITE and y.kind is NumberKind.FINITE:
        return Number(NumberKind.FINITE, x.sign ^ y.sign, x.significand * y.significand, x.exponent + y.exponent)
    finite = x if x.kind is NumberKind.FINITE else y
    if finite.kind is NumberKind.FINITE and not finite.significand:
        return NAN
    return Number(NumberKind.INFINITE, x.sign ^ y.sign)


def mul(fmt: Float, x: Number, y: Number, mode: FloatMode = NEAREST) -> int:
    """`x * y` rounded once to `fmt` (F2, F4)."""
    return round_number(fmt, exact_product(x, y), mode)


def fma(fmt: Float, x: Number, y: Number, z: Number, mode: FloatMode = NEAREST) -> int:
    """`x * y + z` rounded once to `fmt` (F2)."""
    return add(fmt, exact_product(x, y), z, mode)


def div(fmt: Float, x: Number, y: Number, mode: FloatMode = NEAREST) -> int:
    """`x / y` rounded once to `fmt`; finite nonzero over zero is an infinity in every mode (F4, F6)."""
    sign = x.sign ^ y.sign
    if x.kind is NumberKind.NAN or y.kind is NumberKind.NAN:
        return fmt.nan_bits
    if x.kind is NumberKind.INFINITE:
        return fmt.nan_bits if y.kind is NumberKind.INFINITE else _infinity(fmt, sign)
    if y.kind is NumberKind.INFINITE:
        return round_to(fmt, sign, 0, 0, mode)
    if not y.significand:
        return _infinity(fmt, sign) if x.significand else fmt.nan_bits
    if not x.significand:
        return round_to(fmt, sign, 0, 0, mode)
    significand, exponent = _divide(fmt, x.significand, y.significand)
    return round_to(fmt, sign, significand, exponent + x.exponent - y.exponent, mode)


def sqrt(fmt: Float, x: Number, mode: FloatMode = NEAREST) -> int:
    """The square root of `x` rounded once to `fmt`; -0 gives -0, a negative number NaN (F4)."""
    if x.kind is NumberKind.NAN or (x.sign and (x.kind is NumberKind.INFINITE or x.significand)):
        return fmt.nan_bits
    if x.kind is NumberKind.INFINITE:
        return _infinity(fmt, 0)
    if not x.significand:
        return round_to(fmt, x.sign, 0, 0, mode)
    shift = max(2 * (fmt.fraction_bits + _GUARD_BITS) - x.significand.bit_length(), 0)
    shift += (x.exponent - shift) & 1  # the root halves an even exponent
    radicand = x.significand << shift
    root = math.isqrt(radicand)
    return round_to(fmt, 0, root << 1 | (root * root != radicand), (x.exponent - shift) // 2 - 1, mode)
