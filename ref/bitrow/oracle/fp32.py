"""Scalar FP32 on 32-bit patterns: nearest even, subnormals kept, overflow to infinity (SPEC.md F9).

Every argument and result is an int holding a bit pattern (uint32).
"""

from __future__ import annotations

import functools
from fractions import Fraction

from bitrow.formats import FP32
from bitrow.oracle import softfloat
from bitrow.oracle.softfloat import Number


@functools.lru_cache(maxsize=1 << 18)
def read(a: int) -> Number:
    """The number that an FP32 pattern stands for (F1)."""
    return softfloat.unpack(FP32, a)


def negate(a: int) -> int:
    """`a` with its sign turned."""
    return a ^ FP32.sign_mask


def from_fraction(value: Fraction) -> int:
    """A rational rounded once to FP32; zero gives +0."""
    return softfloat.from_fraction(FP32, value)


def add(a: int, b: int) -> int:
    """`a + b` rounded once (F9)."""
    return softfloat.add(FP32, read(a), read(b))


def sub(a: int, b: int) -> int:
    """`a - b` rounded once (F9)."""
    return add(a, negate(b))


def mul(a: int, b: int) -> int:
    """`a * b` rounded once (F9)."""
    return softfloat.mul(FP32, read(a), read(b))


def div(a: int, b: int) -> int:
    """`a / b` rounded once (F9)."""
    return softfloat.div(FP32, read(a), read(b))


def sqrt(a: int) -> int:
    """The square root of `a` rounded once (F9)."""
    return softfloat.sqrt(FP32, read(a))
