"""FP16 arithmetic on float16 arrays, one rounding per operation (SPEC.md F).

Under nearest even, + - * and fma run in float32: products are exact there, and the sum of two FP16
numbers, rounded to 24 bits and then to 11, is rounded as if once (24 >= 2*11 + 2). Everything else goes through
`softfloat`. All arrays broadcast; every NaN comes out as 0x7E00.

No result is left to what a compiler does not do: between a product and a sum, and before and after each rounding,
an integer operation decides the bits (`half_casts.decided`).
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float16, Float32, Int32

from bitrow.doors import guard
from bitrow.formats import FP16, FP32, FloatMode, Overflow, Rounding
from bitrow.ops import half_casts, softfloat
from bitrow.ops.half_casts import canonical
from bitrow.ops.softfloat import bits_float16, bits_float32, float16_bits, float32_bits

__all__ = ["add", "add_odd", "bits", "canonical", "div", "fma", "from_float32", "from_int32", "mul", "mul_add",
           "product", "round_once", "sqrt", "sub", "to_float32", "widen"]  # fmt: skip

RNE = FloatMode()


def bits(x: Float16[Array, "*s"]) -> Array:
    """Bit view of float16 as uint16."""
    return lax.bitcast_convert_type(x, jnp.uint16)


def widen(x: Float16[Array, "*s"], mode: FloatMode = RNE) -> Float32[Array, "*s"]:
    """Operand as float32, exact; a subnormal reads as zero under `mode.flush` (SPEC.md F5)."""
    if mode.flush:
        word = bits(x)
        subnormal = (word & jnp.uint16(FP16.infinity_bits)) == 0
        x = lax.bitcast_convert_type(jnp.where(subnormal, word & jnp.uint16(0x8000), word), jnp.float16)
    return half_casts.widen(x)


def round_once(value: Float32[Array, "*s"], mode: FloatMode = RNE) -> Float16[Array, "*s"]:
    """Round to FP16 a float32 that is exact, or was rounded to odd, under `mode` (SPEC.md F3 to F6)."""
    if mode.rounding is not Rounding.NEAREST_EVEN:
        return bits_float16(softfloat.convert(float32_bits(value), FP32, FP16, mode))
    out = half_casts.narrow(value)
    if mode.overflow is Overflow.SATURATE:
        word = bits(out)
        magnitude = float32_bits(value) & jnp.uint32(0x7FFFFFFF)
        over = ((word & jnp.uint16(0x7FFF)) == jnp.uint16(0x7C00)) & (magnitude < FP32.infinity_bits)
        word = jnp.where(over, (word & jnp.uint16(0x8000)) | jnp.uint16(FP16.max_finite_bits), word)
        out = lax.bitcast_convert_type(word, jnp.float16)
    if mode.flush:
        word = bits(out)
        subnormal = (word & jnp.uint16(FP16.infinity_bits)) == 0
        out = lax.bitcast_convert_type(jnp.where(subnormal, word & jnp.uint16(0x8000), word), jnp.float16)
    return out


def product(a: Float32[Array, "*#s"], b: Float32[Array, "*#s"]) -> Float32[Array, "*s"]:
    """a * b, for a sum to read; the caller knows it exact. No compiler fuses it with that sum."""
    return half_casts.decided(a * b)


def add_odd(
    a: Float32[Array, "*#s"], b: Float32[Array, "*#s"], a_leads: bool = False
) -> Float32[Array, "*s"]:
    """a + b rounded to odd in float32: exact if it fits, else the neighbour with an odd last bit.

    Rounding the result to FP16, in any mode, equals rounding the exact sum (Boldo and Melquiond 2008). The
    error of the float32 sum is found by Knuth's TwoSum, or by Dekker's shorter one where the caller knows that
    |a| >= |b| or a = 0 (`a_leads`). Operands must keep the error above float32's subnormals.
    """
    total = a + b
    if a_leads:
        error = b - (total - a)
    else:
        b_part = total - a
        error = (a - (total - b_part)) + (b - b_part)
    word = float32_bits(total)
    inexact = (error > 0) | (error < 0)
    away = (error > 0) == (word >> 31 == 0)  # the exact sum lies further from zero
    odd = jnp.where(away, word + jnp.uint32(1), word - jnp.uint32(1))
    word = jnp.where(inexact & ((word & jnp.uint32(1)) == 0), odd, word)
    return bits_float32(word)


def add(a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], mode: FloatMode = RNE) -> Float16[Array, "*s"]:
    """a + b, rounded once (SPEC.md F2 to F6)."""
    a, b = jnp.broadcast_arrays(a, b)
    if mode.rounding is not Rounding.NEAREST_EVEN:
        return bits_float16(softfloat.add(float16_bits(a), float16_bits(b), FP16, mode))
    return round_once(widen(a, mode) + widen(b, mode), mode)


def sub(a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], mode: FloatMode = RNE) -> Float16[Array, "*s"]:
    """a - b, rounded once (SPEC.md F2 to F6)."""
    a, b = jnp.broadcast_arrays(a, b)
    if mode.rounding is not Rounding.NEAREST_EVEN:
        return bits_float16(softfloat.sub(float16_bits(a), float16_bits(b), FP16, mode))
    return round_once(widen(a, mode) - widen(b, mode), mode)


def mul(a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], mode: FloatMode = RNE) -> Float16[Array, "*s"]:
    """a * b, rounded once (SPEC.md F2 to F6); the float32 product is exact."""
    a, b = jnp.broadcast_arrays(a, b)
    return round_once(widen(a, mode) * widen(b, mode), mode)


def fma(
    a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], c: Float16[Array, "*#s"], mode: FloatMode = RNE
) -> Float16[Array, "*s"]:
    """a * b + c, rounded once (SPEC.md F2)."""
    a, b, c = jnp.broadcast_arrays(a, b, c)
    exact, addend = product(widen(a, mode), widen(b, mode)), widen(c, mode)
    total = add_odd(exact, addend)
    if mode.rounding is Rounding.DOWN:
        # F3's zero: an exact sum of opposite signs is -0 under `down`, which float32 addition does not know.
        opposite = (float32_bits(exact) ^ float32_bits(addend)) >> 31 == 1
        total = jnp.where((total == 0) & opposite, -jnp.float32(0), total)
    return round_once(total, mode)


def mul_add(
    a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], c: Float16[Array, "*#s"], mode: FloatMode = RNE
) -> Float16[Array, "*s"]:
    """a * b, rounded, + c, rounded: `add(mul(a, b), c)` (SPEC.md F2 to F6), faster where `mode` is the default."""
    if mode != RNE:
        return add(mul(a, b, mode), c, mode)
    shape = jnp.broadcast_shapes(a.shape, b.shape, c.shape)
    a, b, c = (jnp.broadcast_to(widen(x), shape) for x in (a, b, c))
    return round_once(half_casts.widen(half_casts.narrow_term(a * b)) + c)


def div(a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], mode: FloatMode = RNE) -> Float16[Array, "*s"]:
    """a / b, rounded once (SPEC.md F2 to F6)."""
    return bits_float16(softfloat.div(float16_bits(a), float16_bits(b), FP16, mode))


def sqrt(a: Float16[Array, "*s"], mode: FloatMode = RNE) -> Float16[Array, "*s"]:
    """Square root, rounded once (SPEC.md F2 to F6)."""
    return bits_float16(softfloat.sqrt(float16_bits(a), FP16, mode))


def from_int32(value: Int32[Array, "*s"], mode: FloatMode = RNE) -> Float16[Array, "*s"]:
    """Integers rounded once to FP16 (SPEC.md F10)."""
    return bits_float16(softfloat.from_int32(value, FP16, mode))


def from_float32(x: Float32[Array, "*s"], mode: FloatMode = RNE) -> Float16[Array, "*s"]:
    """FP32 rounded once to FP16 (SPEC.md F10)."""
    return bits_float16(softfloat.convert(float32_bits(x), FP32, FP16, mode))


def to_float32(a: Float16[Array, "*s"], mode: FloatMode = RNE) -> Float32[Array, "*s"]:
    """FP16 as FP32, exact; NaNs come out as 0x7FC00000 (SPEC.md F10)."""
    return bits_float32(softfloat.convert(float16_bits(a), FP16, FP32, FloatMode(flush=mode.flush)))


guard(__name__)
