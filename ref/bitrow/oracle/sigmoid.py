"""The words of the sigmoid's table, in integers alone (SPEC.md A10)."""

from __future__ import annotations

import functools
from fractions import Fraction

from bitrow.formats import FP16
from bitrow.oracle import softfloat

END = 8  # where the table ends, and with it the numbers that are not 0 or 1
_PLACES = 128  # binary places of the bounds: no entry lies within 2^-100 of half way between two words


def _exponential(exponent: Fraction) -> tuple[int, int]:
    """Integers below and above e^exponent times 2^128, for an exponent of 0 to 8: its series, each term cut."""
    term = low = 1 << _PLACES
    count = 0
    while term:
        count += 1
        term = term * exponent.numerator // (exponent.denominator * count)
        low += term
    # a term loses less than (1 + 8/1 + 8*8/(1*2) + ...) < 2^12 in all its steps; what follows the last is below it
    return low, low + (count + 1 << 12)


@functools.lru_cache(maxsize=8)
def table(bits: int) -> tuple[int, ...]:
    """sigmoid(i * 8 / 2^bits) for i from 0 to 2^bits, each rounded once to FP16, to nearest even."""
    found = []
    for i in range((1 << bits) + 1):
        # sigmoid(v) = e^v / (e^v + 1) grows with e^v: both bounds round to one word
        words = {
            softfloat.from_fraction(FP16, Fraction(bound, bound + (1 << _PLACES)))
            for bound in (_exponential(Fraction(END * i, 1 << bits)) if i else (1 << _PLACES,))
        }
        (word,) = words
        found.append(word)
    return tuple(found)


def _place(magnitude: int, bits: int) -> Fraction:
    """Where a magnitude below 8 lies, in segments of the table: exact."""
    number = softfloat.unpack(FP16, magnitude)
    return Fraction(number.significand) * Fraction(2) ** (number.exponent + bits - 3)


_ONE = softfloat.round_number(FP16, softfloat.integer(1))
_EIGHT = softfloat.round_number(FP16, softfloat.integer(END))
_MAGNITUDE = FP16.sign_mask - 1


@functools.lru_cache(maxsize=1 << 14)
def base(x: int, bits: int) -> int:
    """The table's word at the lower end of the segment that holds |x|; 1 from 8 on, NaN for NaN."""
    magnitude = x & _MAGNITUDE
    if magnitude > FP16.infinity_bits:
        return FP16.nan_bits
    return _ONE if magnitude >= _EIGHT else table(bits)[int(_place(magnitude, bits))]


@functools.lru_cache(maxsize=1 << 14)
def rise(x: int, bits: int) -> int:
    """The table's next word less that one, exact; +0 from 8 on and for NaN."""
    if x & _MAGNITUDE >= _EIGHT:
        return 0
    at = int(_place(x & _MAGNITUDE, bits))
    lower, upper = (softfloat.unpack(FP16, word) for word in table(bits)[at : at + 2])
    return softfloat.add(FP16, upper, lower._replace(sign=1))


@functools.lru_cache(maxsize=1 << 14)
def part(x: int, bits: int) -> int:
    """How far |x| lies in its segment, from 0 up to 1, exact; +0 from 8 on and for NaN."""
    if x & _MAGNITUDE >= _EIGHT:
        return 0
    place = _place(x & _MAGNITUDE, bits)
    return softfloat.from_fraction(FP16, place - int(place))


def _complement(upper: int) -> int:
    """1 - upper, for the words of a sigmoid's upper half: exact, and +0 where it is 1, whatever the mode."""
    number = softfloat.unpack(FP16, upper)
    return softfloat.add(FP16, softfloat.integer(1), number._replace(sign=1 - number.sign))


def rising(upper: int, x: int) -> int:
    """sigmoid(x) of sigmoid(|x|): 1 less it for a negative x."""
    return _complement(upper) if x & FP16.sign_mask and upper <= FP16.infinity_bits else upper


def falling(upper: int, x: int) -> int:
    """1 - sigmoid(x) of sigmoid(|x|): 1 less it unless x is negative."""
    return upper if x & FP16.sign_mask or upper > FP16.infinity_bits else _complement(upper)
