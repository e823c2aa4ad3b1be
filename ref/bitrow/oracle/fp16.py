"""Scalar FP16 on 16-bit patterns: the functions of `bitrow.fp16`, one word at a time (SPEC.md F).

Every argument and result is an int holding a bit pattern (uint16; uint32 for FP32), and every function
takes the parameters of F3, F5 and F6 as `mode`.
"""

from __future__ import annotations

import functools

from bitrow.formats import FP16, FP32, FloatMode
from bitrow.oracle import softfloat
from bitrow.oracle.softfloat import NEAREST, Number


@functools.lru_cache(maxsize=1 << 17)
def _read(a: int, flush: bool) -> Number:
    return softfloat.unpack(FP16, a, flush)


def read(a: int, mode: FloatMode = NEAREST) -> Number:
    """An FP16 operand of an arithmetic operation, flushed where the mode says so (F5)."""
    return _read(a, mode.flush)


def negate(a: int) -> int:
    """`a` with its sign turned."""
    return a ^ FP16.sign_mask


def is_nan(a: int) -> bool:
    """Whether `a` is any NaN."""
    return a & 0x7FFF > FP16.infinity_bits


def canonical(a: int) -> int:
    """A word that a selection returns: itself, with every NaN as 0x7E00; no flush (F4, F5)."""
    return FP16.nan_bits if is_nan(a) else a


def is_positive(a: int) -> bool:
    """Whether `a > 0`, infinity included; subnormals count (F5: a selection does not flush)."""
    return 0 < a <= FP16.infinity_bits


def add(a: int, b: int, mode: FloatMode = NEAREST) -> int:
    """`a + b` rounded once (F2, F3)."""
    return softfloat.add(FP16, read(a, mode), read(b, mode), mode)


def sub(a: int, b: int, mode: FloatMode = NEAREST) -> int:
    """`a - b` rounded once (F2, F3)."""
    return add(a, negate(b), mode)


def mul(a: int, b: int, mode: FloatMode = NEAREST) -> int:
    """`a * b` rounded once (F2)."""
    return softfloat.mul(FP16, read(a, mode), read(b, mode), mode)


def fma(a: int, b: int, c: int, mode: FloatMode = NEAREST) -> int:
    """`a * b + c` rounded once (F2)."""
    return softfloat.fma(FP16, read(a, mode), read(b, mode), read(c, mode), mode)


def div(a: int, b: int, mode: FloatMode = NEAREST) -> int:
    """`a / b` rounded once (F2, F6)."""
    return softfloat.div(FP16, read(a, mode), read(b, mode), mode)


def sqrt(a: int, mode: FloatMode = NEAREST) -> int:
    """The square root of `a` rounded once (F2, F4)."""
    return softfloat.sqrt(FP16, read(a, mode), mode)


def from_int32(i: int, mode: FloatMode = NEAREST) -> int:
    """An integer rounded once; 0 gives +0 (F10)."""
    return softfloat.round_number(FP16, softfloat.integer(i), mode)


def from_float32(x: int, mode: FloatMode = NEAREST) -> int:
    """An FP32 pattern rounded once to FP16 (F10)."""
    return softfloat.round_number(FP16, softfloat.unpack(FP32, x), mode)


def to_float32(a: int, mode: FloatMode = NEAREST) -> int:
    """`a` as an FP32 pattern, exactly; a subnormal is flushed first where the mode says so (F9, F10)."""
    return softfloat.round_number(FP32, read(a, mode))
