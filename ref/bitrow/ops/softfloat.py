"""IEEE 754 arithmetic in 32-bit integer operations, for any format of at most 32 bits (SPEC.md F1 to F6, F9).

Nothing here can be contracted, reassociated, flushed or kept in excess precision, because no
floating-point instruction is used. Values are bit patterns in uint32 arrays (a smaller format in the low
bits); arrays broadcast. Every function ends in `round_pack`, the one place that rounds.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float16, Float32, Int32, UInt32

from bitrow.doors import guard
from bitrow.formats import FP16, Float, FloatMode, Overflow, Rounding
from bitrow.ops.dtypes import Sum

RNE = FloatMode()
LEADING = 23  # bit that holds the leading one of an unpacked significand, in every format
ROUND = 30  # bit that holds the leading one of a significand given to round_pack


def u32(value: int) -> Array:
    """`value` as a uint32 constant."""
    return jnp.uint32(value)


class Unpacked(NamedTuple):
    """A decoded number: (-1)^sign * significand * 2^(exponent - 23), the significand's leading one at bit 23."""

    sign: UInt32[Array, "..."]
    exponent: Int32[Array, "..."]
    significand: UInt32[Array, "..."]
    nan: Bool[Array, "..."]
    inf: Bool[Array, "..."]

    @property
    def zero(self) -> Bool[Array, "..."]:
        return self.significand == 0


def unpack(bits: UInt32[Array, "..."], fmt: Float, flush: bool = False) -> Unpacked:
    """Decode words of `fmt`; with `flush` a subnormal reads as zero (SPEC.md F5)."""
    field = (bits >> fmt.fraction_bits) & u32((1 << fmt.exponent_bits) - 1)
    fraction = bits & u32((1 << fmt.fraction_bits) - 1)
    special = field == u32((1 << fmt.exponent_bits) - 1)
    subnormal = field == 0
    whole = jnp.where(subnormal, fraction, fraction | u32(1 << fmt.fraction_bits))
    if flush:
        whole = jnp.where(subnormal, u32(0), whole)
    shift = jnp.minimum(lax.clz(whole), u32(31)).astype(jnp.int32) - (31 - LEADING)
    exponent = jnp.maximum(field.astype(jnp.int32), 1) - fmt.bias + (LEADING - fmt.fraction_bits) - shift
    return Unpacked(
        sign=bits >> (fmt.bits - 1),
        exponent=exponent,
        significand=whole << shift.astype(jnp.uint32),
        nan=special & (fraction != 0),
        inf=special & (fraction == 0),
    )


def shift_right_sticky(value: UInt32[Array, "..."], amount: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """`value >> amount`, the lowest bit set where a one was shifted out."""
    near = jnp.minimum(amount, u32(31))
    lost = (value & ((u32(1) << near) - u32(1))) != 0
    lost = jnp.where(amount > 31, value != 0, lost)
    return jnp.where(amount > 31, u32(0), value >> near) | lost.astype(jnp.uint32)


def _increment(rounding: Rounding, sign: Array, quotient: Array, rest: Array, half: Array) -> Array:
    if rounding is Rounding.NEAREST_EVEN:
        return (rest > half) | ((rest == half) & ((quotient & u32(1)) == 1))
    if rounding is Rounding.NEAREST_AWAY:
        return rest >= half
    if rounding is Rounding.UP:
        return (rest != 0) & (sign == 0)
    if rounding is Rounding.DOWN:
        return (rest != 0) & (sign == 1)
    return jnp.zeros_like(rest, bool)


def overflow_bits(sign: UInt32[Array, "..."], fmt: Float, mode: FloatMode) -> UInt32[Array, "..."]:
    """Magnitude that an overflowing result takes (SPEC.md F6)."""
    finite, infinite = u32(fmt.max_finite_bits), u32(fmt.infinity_bits)
    if mode.overflow is Overflow.SATURATE or mode.rounding is Rounding.TOWARD_ZERO:
        return jnp.full_like(sign, finite)
    if mode.rounding is Rounding.UP:
        return jnp.where(sign == 1, finite, infinite)
    if mode.rounding is Rounding.DOWN:
        return jnp.where(sign == 1, infinite, finite)
    return jnp.full_like(sign, infinite)


class Unrounded(NamedTuple):
    """What a result is before it is rounded: (-1)^sign * significand * 2^(exponent - 30), as `round_pack` takes it."""

    sign: UInt32[Array, "..."]
    exponent: Int32[Array, "..."]
    significand: UInt32[Array, "..."]


def kept_and_lost(
    exponent: Int32[Array, "*s"], significand: UInt32[Array, "*s"], fmt: Float
) -> tuple[Int32[Array, "*s"], UInt32[Array, "*s"], UInt32[Array, "*s"]]:
    """The exponent in range, what a word of `fmt` has places for, and the rest below them, its lowest bit sticky."""
    # Clamped so that fields stay in range; past it the result is far out of the format either way.
    exponent = jnp.clip(exponent, fmt.min_exponent - 64, fmt.max_exponent + 1)
    below = jnp.maximum(fmt.min_exponent - exponent, 0).astype(jnp.uint32)
    kept = shift_right_sticky(significand, below)
    drop = ROUND - fmt.fraction_bits
    return exponent, kept >> drop, kept & u32((1 << drop) - 1)


def round_pack(
    sign: UInt32[Array, "..."],
    exponent: Int32[Array, "..."],
    significand: UInt32[Array, "..."],
    fmt: Float,
    mode: FloatMode = RNE,
) -> UInt32[Array, "..."]:
    """Round (-1)^sign * significand * 2^(exponent - 30) to `fmt`: the only rounding (SPEC.md F2, F3, F5, F6).

    `significand` has its leading one at bit 30 (or is zero) and its lowest bit is sticky.
    """
    exponent, quotient, rest = kept_and_lost(exponent, significand, fmt)
    up = _increment(mode.rounding, sign, quotient, rest, u32(1 << (ROUND - fmt.fraction_bits - 1)))
    field = (jnp.maximum(exponent + fmt.bias, 1) - 1).astype(jnp.uint32)
    bits = (field << fmt.fraction_bits) + quotient + up.astype(jnp.uint32)
    bits = jnp.where(bits >= u32(fmt.infinity_bits), overflow_bits(sign, fmt, mode), bits)
    if mode.flush:
        bits = jnp.where(bits < u32(1 << fmt.fraction_bits), u32(0), bits)
    bits = jnp.where(significand == 0, u32(0), bits)
    return bits | (sign << (fmt.bits - 1))


def normalise(exponent: Int32[Array, "..."], significand: UInt32[Array, "..."]) -> tuple[Array, Array]:
    """Shift the leading one up to bit 30; `significand` must be below 2^31."""
    shift = jnp.minimum(lax.clz(significand), u32(31)).astype(jnp.int32) - 1
    shift = jnp.maximum(shift, 0)
    return exponent - shift, significand << shift.astype(jnp.uint32)


def _special(bits: Array, fmt: Float, nan: Array, inf: Array, sign: Array) -> Array:
    bits = jnp.where(inf, u32(fmt.infinity_bits) | (sign << (fmt.bits - 1)), bits)
    return jnp.where(nan, u32(fmt.nan_bits), bits)


def convert(bits: UInt32[Array, "..."], source: Float, target: Float, mode: FloatMode = RNE) -> UInt32[Array, "..."]:
    """Words of `source` rounded once to `target` (SPEC.md F10)."""
    x = unpack(bits, source, mode.flush and source == FP16)
    out = round_pack(*as_exact(x), target, mode)
    return _special(out, target, x.nan, x.inf, x.sign)


def as_exact(x: Unpacked) -> Unrounded:
    """A finite number as a result."""
    return Unrounded(x.sign, x.exponent, x.significand << (ROUND - LEADING))


def add(
    a: UInt32[Array, "*#s"],
    b: UInt32[Array, "*#s"],
    fmt: Float,
    mode: FloatMode = RNE,
    target: Float | None = None,
) -> UInt32[Array, "..."]:
    """a + b of two words of `fmt`, rounded once to `target` (by default `fmt`)."""
    a, b = jnp.broadcast_arrays(a, b)
    x, y = unpack(a, fmt, mode.flush and fmt == FP16), unpack(b, fmt, mode.flush and fmt == FP16)
    return _sum(x, y, target or fmt, mode)


def exact_sum(x: Unpacked, y: Unpacked) -> Unrounded:
    """x + y of finite numbers; where the significand is 0, so is the sum, and the sign is either's."""
    # Zeros have no exponent of their own: give them the lowest, so that the other operand leads.
    ex = jnp.where(x.zero, -(1 << 20), x.exponent)
    ey = jnp.where(y.zero, -(1 << 20), y.exponent)
    swap = (ex < ey) | ((ex == ey) & (x.significand < y.significand))
    big = jnp.where(swap, y.significand, x.significand) << 6
    small = jnp.where(swap, x.significand, y.significand) << 6
    sign = jnp.where(swap, y.sign, x.sign)
    exponent = jnp.maximum(ex, ey)
    small = shift_right_sticky(small, jnp.abs(ex - ey).astype(jnp.uint32))
    total = jnp.where(x.sign == y.sign, big + small, big - small)
    exponent, total = normalise(exponent + 1, total)
    return Unrounded(sign, exponent, total)


def _sum(x: Unpacked, y: Unpacked, target: Float, mode: FloatMode) -> Array:
    """x + y rounded once to `target`."""
    sign, exponent, total = exact_sum(x, y)
    bits = round_pack(sign, exponent, total, target, mode)
    cancelled = u32(1) if mode.rounding is Rounding.DOWN else u32(0)
    zero_sign = jnp.where(x.sign == y.sign, x.sign, cancelled)
    bits = jnp.where(total == 0, zero_sign << (target.bits - 1), bits)
    nan = x.nan | y.nan | (x.inf & y.inf & (x.sign != y.sign))
    return _special(bits, target, nan, x.inf | y.inf, jnp.where(x.inf, x.sign, y.sign))


def mul(
    a: UInt32[Array, "*#s"],
    b: UInt32[Array, "*#s"],
    fmt: Float,
    mode: FloatMode = RNE,
    target: Float | None = None,
) -> UInt32[Array, "..."]:
    """a * b of two words of `fmt`, rounded once to `target` (by default `fmt`)."""
    target = target or fmt
    a, b = jnp.broadcast_arrays(a, b)
    x, y = unpack(a, fmt, mode.flush and fmt == FP16), unpack(b, fmt, mode.flush and fmt == FP16)
    sign, exponent, product = exact_product(x, y)
    bits = round_pack(sign, exponent, product, target, mode)
    nan = x.nan | y.nan | (x.inf & y.zero) | (x.zero & y.inf)
    return _special(bits, target, nan, x.inf | y.inf, sign)


def exact_product(x: Unpacked, y: Unpacked) -> Unrounded:
    """x * y of finite numbers."""
    sign = x.sign ^ y.sign
    # 24 x 24 bits in 12-bit limbs: the product is high * 2^24 + low, the significand its top 30 bits.
    x1, x0 = x.significand >> 12, x.significand & u32(0xFFF)
    y1, y0 = y.significand >> 12, y.significand & u32(0xFFF)
    low = x0 * y0
    middle = x1 * y0 + x0 * y1 + (low >> 12)
    high = x1 * y1 + (middle >> 12)
    low = ((middle & u32(0xFFF)) << 12) | (low & u32(0xFFF))
    sticky = ((low & u32(0x3FFFF)) != 0).astype(jnp.uint32)
    exponent, product = normalise(x.exponent + y.exponent + 2, (high << 6) | (low >> 18) | sticky)
    return Unrounded(sign, exponent, product)


def fma(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], c: UInt32[Array, "*#s"], mode: FloatMode = RNE
) -> UInt32[Array, "..."]:
    """a * b + c of FP16 words, rounded once (SPEC.md F2); the product of two significands of 11 bits has 22."""
    a, b, c = jnp.broadcast_arrays(a, b, c)
    x, y, z = (unpack(word, FP16, mode.flush) for word in (a, b, c))
    return _sum(half_product(x, y), z, FP16, mode)


def half_product(x: Unpacked, y: Unpacked) -> Unpacked:
    """x * y of FP16 numbers, exact."""
    unused = LEADING - FP16.fraction_bits
    product = (x.significand >> unused) * (y.significand >> unused) << (LEADING - 2 * FP16.fraction_bits - 1)
    below = (product >> LEADING) == 0  # or the product is zero
    return Unpacked(
        sign=x.sign ^ y.sign,
        exponent=x.exponent + y.exponent + jnp.where(below, 0, 1),
        significand=jnp.where(below, product << 1, product),
        nan=x.nan | y.nan | (x.inf & y.zero) | (x.zero & y.inf),
        inf=x.inf | y.inf,
    )


def mul_integer(
    value: Int32[Array, "*#s"], b: UInt32[Array, "*#s"], fmt: Float, mode: FloatMode = RNE
) -> UInt32[Array, "..."]:
    """`value` (any int32, exact) times a word of FP16 `fmt`, rounded once (SPEC.md D1); zero gives +0."""
    value, b = jnp.broadcast_arrays(value, b)
    return round_pack(*exact_scaled(value, unpack(b, fmt, mode.flush), fmt), fmt, mode)


def exact_scaled(value: Int32[Array, "*s"], y: Unpacked, fmt: Float) -> Unrounded:
    """`value` times a finite number of `fmt`."""
    negative = value < 0
    magnitude = jnp.where(negative, -value, value).astype(jnp.uint32)  # -2^31 wraps to 2^31, as it should
    shift = jnp.minimum(lax.clz(magnitude), u32(31))
    magnitude = magnitude << shift
    factor = y.significand >> (LEADING - fmt.fraction_bits)
    low = (magnitude & u32(0xFFFF)) * factor
    high = (magnitude >> 16) * factor + (low >> 16)
    sticky = ((low & u32(0xFFFF)) != 0).astype(jnp.uint32)
    exponent = y.exponent - fmt.fraction_bits + 16 + 30 - shift.astype(jnp.int32)
    exponent, product = normalise(exponent, high | sticky)
    sign = jnp.where(magnitude == 0, u32(0), negative.astype(jnp.uint32) ^ y.sign)
    return Unrounded(sign, exponent, product)


def from_int32(value: Int32[Array, "..."], fmt: Float, mode: FloatMode = RNE) -> UInt32[Array, "..."]:
    """Integers rounded once to `fmt` (SPEC.md F10); zero gives +0."""
    return round_pack(*exact_integer(value), fmt, mode)


def exact_integer(value: Int32[Array, "..."]) -> Unrounded:
    """An integer; -2^31 as what it is to its last bit, which is sticky."""
    negative = value < 0
    magnitude = jnp.where(negative, -value, value).astype(jnp.uint32)
    sticky = shift_right_sticky(magnitude, jnp.full_like(magnitude, 1))
    large = magnitude >> 31 == 1  # only -2^31: keep the value below 2^31 for normalise
    exponent, significand = normalise(
        jnp.where(large, 31, 30).astype(jnp.int32), jnp.where(large, sticky, magnitude)
    )
    return Unrounded(negative.astype(jnp.uint32), exponent, significand)


def div(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], fmt: Float, mode: FloatMode = RNE) -> UInt32[Array, "..."]:
    """a / b, rounded once. x/0 is an infinity, 0/0 and inf/inf are NaN."""
    a, b = jnp.broadcast_arrays(a, b)
    x, y = unpack(a, fmt, mode.flush and fmt == FP16), unpack(b, fmt, mode.flush and fmt == FP16)
    sign, exponent, quotient = exact_quotient(x, y)
    bits = round_pack(sign, exponent, quotient, fmt, mode)
    nan = x.nan | y.nan | (x.inf & y.inf) | (x.zero & y.zero)
    bits = jnp.where(y.inf, sign << (fmt.bits - 1), bits)
    return _special(bits, fmt, nan, x.inf | y.zero, sign)


def exact_quotient(x: Unpacked, y: Unpacked) -> Unrounded:
    """x / y of finite numbers; meaningless where y is 0."""
    sign = x.sign ^ y.sign
    divisor = jnp.where(y.zero, u32(1), y.significand)
    quotient = lax.div(x.significand, divisor)
    rest = x.significand - quotient * divisor
    for _ in range(4):  # 4 digits of 7 bits: 28 fraction bits
        rest = rest << 7
        digit = lax.div(rest, divisor)
        rest = rest - digit * divisor
        quotient = (quotient << 7) | digit
    sticky = (rest != 0).astype(jnp.uint32)
    exponent, quotient = normalise(x.exponent - y.exponent + 1, (quotient << 1) | sticky)
    return Unrounded(sign, exponent, quotient)


def sqrt(a: UInt32[Array, "..."], fmt: Float, mode: FloatMode = RNE) -> UInt32[Array, "..."]:
    """Square root, rounded once. Of a negative number NaN, of -0 -0."""
    x = unpack(a, fmt, mode.flush and fmt == FP16)
    bits = round_pack(*exact_root(x), fmt, mode)
    nan = x.nan | ((x.sign == 1) & ~x.zero)
    return _special(bits, fmt, nan, x.inf, x.sign)


def exact_root(x: Unpacked) -> Unrounded:
    """The square root of a finite number's magnitude, with its sign."""
    odd = (x.exponent & 1).astype(jnp.uint32)
    radicand = (x.significand << odd) << 5  # its top 15 digit pairs; 12 pairs of zeros follow

    def digit(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        root, rest = state
        shift = jnp.maximum(28 - 2 * i, 0).astype(jnp.uint32)
        pair = jnp.where(i < 15, (radicand >> shift) & u32(3), u32(0))
        rest = (rest << 2) | pair
        trial = (root << 2) | u32(1)
        fits = rest >= trial
        return (root << 1) | fits.astype(jnp.uint32), jnp.where(fits, rest - trial, rest)

    zeros = jnp.zeros_like(radicand)
    root, rest = lax.fori_loop(0, 27, digit, (zeros, zeros))
    significand = (root << 4) | (rest != 0).astype(jnp.uint32)
    exponent = (x.exponent - odd.astype(jnp.int32)) >> 1
    return Unrounded(x.sign, exponent, significand)


def negate(a: UInt32[Array, "..."], fmt: Float) -> UInt32[Array, "..."]:
    """-a, exact; NaN stays canonical."""
    return jnp.where(is_nan(a, fmt), u32(fmt.nan_bits), a ^ u32(fmt.sign_mask))


def sub(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], fmt: Float, mode: FloatMode = RNE) -> UInt32[Array, "..."]:
    """a - b, rounded once: a + (-b), as IEEE 754 has it."""
    return add(a, negate(b, fmt), fmt, mode)


def is_nan(a: UInt32[Array, "..."], fmt: Float) -> Bool[Array, "..."]:
    """True where a word is any NaN."""
    return (a & u32(fmt.sign_mask - 1)) > u32(fmt.infinity_bits)


def positive_part(a: UInt32[Array, "*s"], fmt: Float) -> UInt32[Array, "*s"]:
    """a where it is greater than 0 or NaN, else +0 (SPEC.md B2's var)."""
    keep = (a < jnp.uint32(fmt.sign_mask)) | is_nan(a, fmt)
    return jnp.where(keep, a, jnp.uint32(0))


def from_ratio(numerator: int, denominator: int, fmt: Float) -> UInt32[Array, ""]:
    """The positive rational numerator/denominator rounded once to nearest even; host constants such as 1/M."""
    shift = 32 + denominator.bit_length()
    quotient, rest = divmod(numerator << shift, denominator)
    extra = quotient.bit_length() - (ROUND + 1)
    lost = rest != 0 or quotient & ((1 << extra) - 1) != 0
    significand = (quotient >> extra) | int(lost)
    exponent = ROUND + extra - shift
    return round_pack(u32(0), jnp.int32(exponent), u32(significand), fmt)


def float32_bits(x: Float32[Array, "..."]) -> UInt32[Array, "..."]:
    """Bit view of float32."""
    return lax.bitcast_convert_type(x, jnp.uint32)


def bits_float32(bits: UInt32[Array, "..."]) -> Array:
    """float32 of its bit view."""
    return lax.bitcast_convert_type(bits, jnp.float32)


def float16_bits(x: Float16[Array, "..."]) -> UInt32[Array, "..."]:
    """Bit view of float16, in uint32."""
    return lax.bitcast_convert_type(x, jnp.uint16).astype(jnp.uint32)


def bits_float16(bits: UInt32[Array, "..."]) -> Array:
    """float16 of its bit view in uint32."""
    return lax.bitcast_convert_type(bits.astype(jnp.uint16), jnp.float16)


def to_bits(x: Sum[Array, "..."], fmt: Float) -> UInt32[Array, "..."]:
    """Bit view, in uint32, of a float16 or float32 array of format `fmt`."""
    return float16_bits(x) if fmt == FP16 else float32_bits(x)


def from_bits(bits: UInt32[Array, "..."], fmt: Float) -> Array:
    """float16 or float32 array of words of format `fmt`."""
    return bits_float16(bits) if fmt == FP16 else bits_float32(bits)


guard(__name__)
