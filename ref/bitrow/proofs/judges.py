"""Judges that share no code with the kernels: numpy's float16, and float64 bracketed by it (SPEC.md F2 to F6).

An exact value lies between two neighbouring FP16 numbers, its bracket; each rounding mode then chooses one of the
two by where in the bracket the value lies. Values come in float64, exact or so close that no FP16 number and no
midpoint of two lies between them and the exact value:

- sum: FP16 numbers are multiples of 2^-24 below 2^16, so a sum is a multiple of 2^-24 below 2^17: 41 bits.
- product: 11 by 11 bits. An accumulator times a scale: at most 32 by 11 bits.
- quotient of x = X*2^e and y, beside an FP16 number or midpoint m with m*y = M*Y*2^f; X, Y < 2^11, M < 2^12. If
  x/y is not m, then |x - m*y| is at least 2^e, which is x/X, or 2^f, which is m*y/(M*Y). So x/y and m differ by
  more than 2^-24 of either, and the float64 quotient, off by at most 2^-53, lies on the same side of m.
- root of x, beside m with m*m = M*M*2^f: in the same way x and m*m differ by more than 2^-25, sqrt(x) and m by
  more than 2^-27.
- a*b + c: rounded to float64 with its error known exactly; where the sum equals m, the error's sign decides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bitrow.formats import FP16, FloatMode, Overflow, Rounding

INFINITY, NAN, LARGEST, LEAST_NORMAL = FP16.infinity_bits, FP16.nan_bits, FP16.max_finite_bits, 0x400
SIGN = np.uint16(FP16.sign_mask)
BEYOND = 65536.0  # what FP16's next number would be: the upper end of the last bracket
EXACT, BELOW_HALF, HALF, ABOVE_HALF = range(4)

EVERY_WORD = np.arange(1 << 16, dtype=np.uint16)
VALUES = EVERY_WORD.view(np.float16).astype(np.float64)  # the value of each word


class Bracket(NamedTuple):
    """Magnitudes between neighbours: the word of the lower one, and where above it (EXACT to ABOVE_HALF), uint16."""

    low: np.ndarray
    rest: np.ndarray

    def rounded(self, direction: str, overflow: Overflow = Overflow.INFINITY, flush: bool = False) -> np.ndarray:
        """Magnitude words in the `direction` that `direction_of` names (SPEC.md F3, F5, F6)."""
        if direction == "even":
            out = self.low + (self.rest + (self.low & np.uint16(1)) > HALF)
        elif direction == "away":
            out = self.low + (self.rest >= HALF)
        elif direction == "up":
            out = self.low + (self.rest > EXACT)
        else:
            out = self.low.copy()
        if overflow is Overflow.SATURATE:
            np.minimum(out, np.uint16(LARGEST), out=out)
        if flush:
            out[out < LEAST_NORMAL] = 0
        return out


def bracket(value: np.ndarray, error: np.ndarray | None = None) -> Bracket:
    """The brackets of nonnegative finite float64 values, or of `value + error` where `value` is its rounding.

    A value beyond the largest finite number is above half of the last bracket, as in every mode from 65536 on.
    """
    near = np.minimum(value, LARGEST_VALUE).astype(np.float16)  # numpy rounds float64 to nearest, once
    back = near.astype(np.float64)
    above = back > value if error is None else (back > value) | ((back == value) & (error < 0))
    low = near.view(np.uint16) - above
    floor = low.view(np.float16).astype(np.float64)
    ceiling = np.minimum((low + np.uint16(1)).view(np.float16).astype(np.float64), BEYOND)
    half = (floor + ceiling) * 0.5
    rest = (value > floor).astype(np.uint16)
    if error is None:
        rest += value >= half
        rest += value > half
    else:
        rest |= (value == floor) & (error > 0)
        at_half = value == half
        rest += (value > half) | (at_half & (error >= 0))
        rest += (value > half) | (at_half & (error > 0))
    return Bracket(low, rest)


LARGEST_VALUE = 65504.0


def two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 sum and its exact error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def direction_of(rounding: Rounding, negative: bool) -> str:
    """How a magnitude is rounded under a mode: even, away (ties), up or down."""
    if rounding is Rounding.NEAREST_EVEN:
        return "even"
    if rounding is Rounding.NEAREST_AWAY:
        return "away"
    return "up" if rounding is (Rounding.DOWN if negative else Rounding.UP) else "down"


def canonical(words: np.ndarray) -> np.ndarray:
    """uint16 words with every NaN as 0x7E00 (SPEC.md F4), in place."""
    words[(words & 0x7FFF) > INFINITY] = NAN
    return words


def flushed(words: np.ndarray) -> np.ndarray:
    """uint16 words with every subnormal as the zero of its sign (SPEC.md F5)."""
    return np.where((words & 0x7FFF) < LEAST_NORMAL, words & SIGN, words)


class Signed(NamedTuple):
    """Numbers of either sign: where they are negative, and the brackets of their magnitudes."""

    negative: np.ndarray
    magnitude: Bracket

    def rounded(self, mode: FloatMode) -> np.ndarray:
        """Words under a mode; the zero of a negative number is -0."""
        plus, minus = (direction_of(mode.rounding, negative) for negative in (False, True))
        up = self.magnitude.rounded(plus, mode.overflow, mode.flush)
        if plus == minus:
            return up | (self.negative * SIGN)
        return np.where(self.negative, self.magnitude.rounded(minus, mode.overflow, mode.flush) | SIGN, up)


def signed(value: np.ndarray, error: np.ndarray | None = None) -> Signed:
    """Finite float64 values of either sign (see `bracket`); -0.0 counts as negative."""
    negative = np.signbit(value)
    return Signed(negative, bracket(np.abs(value), None if error is None else np.where(negative, -error, error)))
