"""Exact values of FP words in numpy integers: what coverage proves its bins with (SPEC.md F2, F3).

A value is a sign, an integer significand and a binary exponent, so that a tie or an overflow is decided by
integer comparison. Where an exact result needs more bits than an int64 holds, its tail is jammed into the
lowest bit, which keeps every comparison that `classify` makes. Standard library and numpy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bitrow.formats import Float, FloatMode, Rounding

_ROOM = 61


class Exact(NamedTuple):
    """`(-1)^negative * sig * 2^exp`, elementwise; `nan` and `infinite` say where that is not the value."""

    negative: np.ndarray
    sig: np.ndarray
    exp: np.ndarray
    nan: np.ndarray
    infinite: np.ndarray

    @property
    def finite(self) -> np.ndarray:
        return ~(self.nan | self.infinite)

    @property
    def zero(self) -> np.ndarray:
        return self.finite & (self.sig == 0)

    @property
    def top(self) -> np.ndarray:
        """Exponent of the leading bit; meaningless where the significand is zero."""
        return self.exp + bit_length(self.sig) - 1


def bit_length(sig: np.ndarray) -> np.ndarray:
    """Bits of each non-negative int64."""
    length = np.zeros(np.shape(sig), np.int64)
    rest = np.array(sig, np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        wide = rest >> step > 0
        length += np.where(wide, step, 0)
        rest = np.where(wide, rest >> step, rest)
    return length + (rest > 0)


def decode(bits: np.ndarray, fmt: Float, flush: bool = False) -> Exact:
    """Exact value of each word of `fmt`; `flush` reads subnormals as zeros (SPEC.md F5)."""
    words = np.asarray(bits).astype(np.int64) & ((1 << fmt.bits) - 1)
    fraction = words & ((1 << fmt.fraction_bits) - 1)
    field = words >> fmt.fraction_bits & ((1 << fmt.exponent_bits) - 1)
    special = field == (1 << fmt.exponent_bits) - 1
    sig = np.where(field == 0, fraction, fraction | 1 << fmt.fraction_bits)
    if flush:
        sig = np.where(field == 0, 0, sig)
    exp = np.maximum(field, 1) - fmt.bias - fmt.fraction_bits
    nan = special & (fraction != 0)
    return Exact(words >= fmt.sign_mask, np.where(special, 0, sig), exp, nan, special & ~nan)


def integer(value: np.ndarray) -> Exact:
    """Exact value of integers."""
    value = np.asarray(value).astype(np.int64)
    none = np.zeros(value.shape, bool)
    return Exact(value < 0, np.abs(value), np.zeros(value.shape, np.int64), none, none)


def _jam(sig: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """`sig` shifted right, any bit lost kept as a one in the lowest place."""
    shift = np.minimum(shift, 62)
    kept = sig >> shift
    return kept | (kept << shift != sig)


def negate(x: Exact) -> Exact:
    """`-x`."""
    return x._replace(negative=~x.negative)


def add(x: Exact, y: Exact) -> Exact:
    """`x + y`; NaN for opposite infinities."""
    x, y = (Exact(*(np.asarray(part) for part in v)) for v in (x, y))
    swap = np.where(y.sig == 0, False, np.where(x.sig == 0, True, y.exp > x.exp))
    high = [np.where(swap, b, a) for a, b in zip(x, y, strict=True)]
    low = [np.where(swap, a, b) for a, b in zip(x, y, strict=True)]
    gap = np.where(low[1] == 0, 0, high[2] - low[2])
    left = np.minimum(gap, _ROOM - np.maximum(bit_length(high[1]), bit_length(low[1])))
    left = np.maximum(left, 0)
    signed_high = np.where(high[0], -1, 1) * (high[1] << left)
    signed_low = np.where(low[0], -1, 1) * _jam(low[1], gap - left)
    total = signed_high + signed_low
    opposed = x.infinite & y.infinite & (x.negative != y.negative)
    nan = x.nan | y.nan | opposed
    infinite = (x.infinite | y.infinite) & ~nan
    negative = np.where(infinite, np.where(x.infinite, x.negative, y.negative), total < 0)
    negative = np.where((total == 0) & ~infinite, x.negative & y.negative, negative)
    return Exact(negative, np.abs(total), high[2] - left, nan, infinite)


def mul(x: Exact, y: Exact) -> Exact:
    """`x * y`; NaN for zero times infinity. The significands' bits must sum to at most 62."""
    nan = x.nan | y.nan | (x.infinite & y.zero) | (x.zero & y.infinite)
    infinite = (x.infinite | y.infinite) & ~nan
    return Exact(x.negative ^ y.negative, x.sig * y.sig, x.exp + y.exp, nan, infinite)


def div(x: Exact, y: Exact) -> Exact:
    """`x / y` of operands of up to 24 bits, its tail jammed; NaN for 0/0 and infinity/infinity."""
    nan = x.nan | y.nan | (x.zero & y.zero) | (x.infinite & y.infinite)
    infinite = (x.infinite | y.zero) & ~nan
    # a subnormal numerator is normalised first, else the quotient would keep too few bits
    spare = 30 - bit_length(x.sig)
    wide, divisor = x.sig << (spare + 30), np.maximum(y.sig, 1)
    quotient = wide // divisor
    sig = np.where(y.infinite, 0, quotient << 1 | (quotient * divisor != wide))
    return Exact(x.negative ^ y.negative, sig, x.exp - y.exp - spare - 31, nan, infinite)


def sqrt(x: Exact) -> Exact:
    """Square root of an operand of up to 24 bits, its tail jammed; NaN below zero, -0 of -0."""
    spare = 28 - bit_length(x.sig)
    odd = (x.exp - spare) & 1
    wide = x.sig << (spare + odd + 30)
    exp = x.exp - spare - odd
    root = np.floor(np.sqrt(wide.astype(np.float64))).astype(np.int64)
    for _ in range(2):  # float64 is a guess, at most one off
        root = np.where(root * root > wide, root - 1, root)
        root = np.where((root + 1) * (root + 1) <= wide, root + 1, root)
    sig = root << 1 | (root * root != wide)
    nan = x.nan | (x.negative & ~x.zero)
    return Exact(x.negative, np.where(x.sig == 0, 0, sig), (exp - 30) // 2 - 1, nan, x.infinite & ~nan)


class Rounded(NamedTuple):
    """Where an exact result lies between the numbers of a format, elementwise booleans.

    `tie_lower` and `tie_upper`: exactly half way, the even neighbour being the smaller or the larger
    magnitude. `above_tie`, `below_tie`: within an eighth of a unit of half way, but not on it. `subnormal`:
    nonzero, below the smallest normal number. `boundary`: below it, and rounding up to it. `vanish`: nonzero,
    rounding to zero. `overflow`: finite, rounding past the largest. `top`: the exponent of the rounded result's leading
    bit (an integer; meaningless where that is zero).
    """

    inexact: np.ndarray
    tie_lower: np.ndarray
    tie_upper: np.ndarray
    above_tie: np.ndarray
    below_tie: np.ndarray
    subnormal: np.ndarray
    boundary: np.ndarray
    vanish: np.ndarray
    overflow: np.ndarray
    top: np.ndarray


def _carries(
    rounding: Rounding, x: Exact, tie: np.ndarray, above: np.ndarray, lost: np.ndarray, odd: np.ndarray
) -> np.ndarray:
    """Where rounding goes to the larger magnitude (SPEC.md F3)."""
    if rounding is Rounding.NEAREST_EVEN:
        return above | (tie & odd)
    if rounding is Rounding.NEAREST_AWAY:
        return above | tie
    if rounding is Rounding.TOWARD_ZERO:
        return np.zeros_like(tie)
    return lost & (x.negative == (rounding is Rounding.DOWN))


def classify(x: Exact, fmt: Float, mode: FloatMode | None = None, fraction_bits: int | None = None) -> Rounded:
    """Where `x` lies in `fmt`, rounding under `mode` (SPEC.md F3, F6); None is nearest even (F9).

    `fraction_bits`: as many as another format has, to round as that would if it had the exponents of `fmt`.
    """
    mode = mode or FloatMode()
    live = x.finite & (x.sig > 0)
    place = np.maximum(x.top, fmt.min_exponent) - (fmt.fraction_bits if fraction_bits is None else fraction_bits)
    drop = np.clip(place - x.exp, 0, 62)
    kept = np.where(live, x.sig >> drop, 0)
    rest = np.where(live, x.sig - (kept << drop), 0)
    unit = np.left_shift(np.int64(1), drop)
    half = unit >> 1
    lost, off, odd = live & (rest != 0), rest - half, kept & 1 == 1
    tie = lost & (off == 0)
    near = np.maximum(unit >> 3, 1)
    carry = _carries(mode.rounding, x, tie, lost & (off > 0), lost, odd)
    subnormal = live & (x.top < fmt.min_exponent)
    rounded_top = place + bit_length(kept + carry) - 1
    return Rounded(
        inexact=lost,
        tie_lower=tie & ~odd,
        tie_upper=tie & odd,
        above_tie=lost & (off > 0) & (off <= near),
        below_tie=lost & (off < 0) & (off >= -near),
        subnormal=subnormal,
        boundary=subnormal & (rounded_top == fmt.min_exponent),
        vanish=live & (kept + carry == 0),
        overflow=live & (rounded_top > fmt.max_exponent),
        top=rounded_top,
    )
