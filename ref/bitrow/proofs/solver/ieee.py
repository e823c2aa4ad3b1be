"""IEEE 754 rounding as z3's floating-point theory defines it: what the integer kernels are held against.

Nothing of bitrow's rounding is used here, only formats and the meaning of the parameters F5 and F6.
"""

from __future__ import annotations

from typing import Any

import z3

from bitrow.formats import Float, FloatMode, Overflow, Rounding

_DIRECTIONS = {
    Rounding.NEAREST_EVEN: z3.RNE,
    Rounding.TOWARD_ZERO: z3.RTZ,
    Rounding.UP: z3.RTP,
    Rounding.DOWN: z3.RTN,
    Rounding.NEAREST_AWAY: z3.RNA,
}
_NEAR_BITS = 12  # exponent bits of a wide number that holds an integer of any width used here
_FAR_BITS = 36  # and of one that holds it times two to any int32


def _bias(exponent_bits: int) -> int:
    return (1 << (exponent_bits - 1)) - 1


def sort(fmt: Float) -> Any:
    """z3's sort of a format."""
    return z3.FPSort(fmt.exponent_bits, fmt.fraction_bits + 1)


def number(word: Any, fmt: Float, flush: bool = False) -> Any:
    """The number of a word of the format in the low bits of `word`; with `flush` a subnormal is a zero (F5)."""
    found = z3.fpBVToFP(z3.Extract(fmt.bits - 1, 0, word), sort(fmt))
    zero = z3.If(z3.fpIsNegative(found), z3.fpMinusZero(sort(fmt)), z3.fpPlusZero(sort(fmt)))
    return z3.If(z3.fpIsSubnormal(found), zero, found) if flush else found


def exact(sign: Any, significand: Any, exponent: Any) -> Any:
    """(-1)^sign * significand * 2^exponent as a wide number, exactly: terms of 1, n and up to 36 bits.

    The significand is converted by z3, its exponent moved by integer addition: no rounding anywhere.
    """
    n = significand.size()
    near = z3.FPSort(_NEAR_BITS, n)
    whole = z3.fpToIEEEBV(z3.fpUnsignedToFP(z3.RNE(), significand, near))
    field = z3.ZeroExt(_FAR_BITS - _NEAR_BITS, z3.Extract(n + _NEAR_BITS - 2, n - 1, whole))
    moved = field + (_bias(_FAR_BITS) - _bias(_NEAR_BITS)) + z3.SignExt(_FAR_BITS - exponent.size(), exponent)
    far = z3.FPSort(_FAR_BITS, n)
    nonzero = z3.fpFP(sign, moved, z3.Extract(n - 2, 0, whole))
    zero = z3.If(sign == 1, z3.fpMinusZero(far), z3.fpPlusZero(far))
    return z3.If(significand == 0, zero, nonzero)


def word(value: Any, fmt: Float) -> Any:
    """The word of a number, NaN canonical (F4)."""
    return z3.If(z3.fpIsNaN(value), z3.BitVecVal(fmt.nan_bits, fmt.bits), z3.fpToIEEEBV(value))


def rounded(value: Any, fmt: Float, mode: FloatMode) -> Any:
    """The word, in 32 bits, of a number rounded once to `fmt` (F3), with F6's saturation and F5's flush after."""
    direction = _DIRECTIONS[mode.rounding]()
    found = word(z3.fpToFP(direction, value, sort(fmt)), fmt)
    return finished(found, z3.Not(z3.fpIsInf(value)), fmt, mode)


def finished(found: Any, finite: Any, fmt: Float, mode: FloatMode) -> Any:
    """F5 and F6 on IEEE's word of a result; `finite`: it is not an infinity of the operands' making."""
    magnitude = found & z3.BitVecVal(fmt.sign_mask - 1, fmt.bits)
    sign = found & z3.BitVecVal(fmt.sign_mask, fmt.bits)
    if mode.overflow is Overflow.SATURATE:
        overflowed = z3.And(magnitude == fmt.infinity_bits, finite)
        found = z3.If(overflowed, sign | z3.BitVecVal(fmt.max_finite_bits, fmt.bits), found)
    if mode.flush:
        subnormal = z3.ULT(magnitude, z3.BitVecVal(1 << fmt.fraction_bits, fmt.bits))
        found = z3.If(subnormal, sign, found)
    return z3.ZeroExt(32 - fmt.bits, found)
