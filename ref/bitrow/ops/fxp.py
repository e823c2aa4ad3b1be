"""Quantizer, dequantizer and packed codes (SPEC.md Q, D)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float16, Float32, Int32, UInt8, UInt16

from bitrow.doors import guard
from bitrow.formats import FP16, Dequantize, FloatMode, Fxp
from bitrow.ops import fp16, softfloat
from bitrow.ops.dtypes import Code
from bitrow.ops.tap import Tap, no_tap

RNE = FloatMode()
EXACT_PRODUCT = 1 << 13  # an accumulator up to here times an 11-bit significand fits float32
_MAGIC = 1.5 * 2**23
_MAGIC_BITS = 0x4B400000
EXACT_INTEGER = 1 << 20  # an accumulator up to here times an 11-bit significand fits int32
EXACT_SPLIT = (1 << 24) - 1  # an accumulator up to here splits into two 12-bit halves


def code_dtype(fmt: Fxp) -> jnp.dtype:
    """int8, or uint8 for unsigned codes."""
    return jnp.dtype(jnp.int8 if fmt.signed else jnp.uint8)


def _scaled(x: Array, inv_scale: Array, mode: FloatMode, tap: Tap) -> Array:
    t = fp16.mul(x, inv_scale, mode)
    tap("t", t)
    return fp16.widen(t)


def _nearest(t: Array, fmt: Fxp) -> Array:
    """int32 nearest to float32 t, ties to even, clipped to one past the format's ends; NaN decided before.

    Adding 1.5 * 2^23 leaves the rounded integer in the low bits of the sum's fraction.
    """
    bounded = jnp.clip(jnp.where(jnp.isnan(t), jnp.float32(0), t), fmt.min - 1, fmt.max + 1)
    return lax.bitcast_convert_type(bounded + jnp.float32(_MAGIC), jnp.int32) - _MAGIC_BITS


def _clip(value: Array, fmt: Fxp) -> Array:
    return jnp.clip(value, fmt.min, fmt.max).astype(code_dtype(fmt))


def _mask(t: Array, nearest: Array, fmt: Fxp) -> Array:
    return (nearest >= fmt.min) & (nearest <= fmt.max) & ~jnp.isnan(t)


def quantize(
    x: Float16[Array, "*s"],
    inv_scale: Float16[Array, "*#s"],
    fmt: Fxp,
    mode: FloatMode = RNE,
    tap: Tap = no_tap,
) -> tuple[Code[Array, "*s"], Bool[Array, "*s"]]:
    """Codes (int8, uint8 if unsigned) and the straight-through mask (SPEC.md Q1, Q2, Q4). Taps t, code, mask."""
    t = _scaled(x, inv_scale, mode, tap)
    nearest = _nearest(t, fmt)
    code, mask = _clip(nearest, fmt), _mask(t, nearest, fmt)
    tap("code", code)
    tap("mask", mask)
    return code, mask


def quantize_stochastic(
    x: Float16[Array, "*s"],
    inv_scale: Float16[Array, "*#s"],
    words: UInt16[Array, "*s"],
    fmt: Fxp,
    mode: FloatMode = RNE,
    tap: Tap = no_tap,
) -> tuple[Code[Array, "*s"], Bool[Array, "*s"]]:
    """Codes by stochastic rounding with one LFSR word per element (SPEC.md Q3), and Q4's mask. Taps t, code, mask."""
    t = _scaled(x, inv_scale, mode, tap)
    bounded = jnp.clip(jnp.where(jnp.isnan(t), jnp.float32(0), t), fmt.min - 1, fmt.max + 1)
    whole = jnp.floor(bounded)
    # The fraction has at most 24 bits and the word 16, so both sides of the comparison are exact.
    carry = (bounded - whole) * jnp.float32(65536) >= jnp.float32(65536) - words.astype(jnp.float32)
    code = _clip(whole.astype(jnp.int32) + carry.astype(jnp.int32), fmt)
    mask = _mask(t, _nearest(t, fmt), fmt)
    tap("code", code)
    tap("mask", mask)
    return code, mask


def scale_once(
    value: Float32[Array, "*s"], scale: Float16[Array, "*#s"], mode: FloatMode = RNE
) -> Float16[Array, "*s"]:
    """`value * scale` rounded once to FP16; `value` is float32 and splits exactly into two 12-bit halves.

    Used where the product of a 24-bit value and an 11-bit scale needs more than float32's 24 bits (SPEC.md D1, C3).
    """
    high = softfloat.bits_float32(softfloat.float32_bits(value) & jnp.uint32(0xFFFFF000))
    low = jnp.where(value == high, jnp.float32(0), value - high)  # an infinity has no low half
    factor = jnp.broadcast_to(fp16.widen(scale, mode), value.shape)
    high, low = fp16.product(high, factor), fp16.product(low, factor)
    return fp16.round_once(fp16.add_odd(high, low, a_leads=True), mode)


def _scale_integer(acc: Int32[Array, "*s"], scale: Float16[Array, "*s"], mode: FloatMode) -> Float16[Array, "*s"]:
    """`acc * scale` rounded once to FP16, by the exact int32 product with the scale's significand.

    A product of more than 24 bits is rounded to odd in its last 24 of 31, which float32 holds.
    """
    word = softfloat.float16_bits(scale).astype(jnp.int32)
    product = acc * (word & 0x3FF | 0x400)
    odd = (product | ((product & 127) + 127)) & ~127
    value = jnp.where(jnp.abs(product) < 1 << 24, product, odd).astype(jnp.float32)
    unit = softfloat.bits_float32((((word >> 10) + 102) << 23).astype(jnp.uint32))
    return fp16.round_once(value * unit, mode)


def dequantize(
    acc: Int32[Array, "*s"],
    scale: Float16[Array, "*#s"],
    acc_bound: int,
    method: Dequantize = Dequantize.FUSED,
    mode: FloatMode = RNE,
    tap: Tap = no_tap,
) -> Float16[Array, "*s"]:
    """Accumulators times scale, to FP16 (SPEC.md D1 fused, D2 two_step). Taps acc_fp16 (two_step) and deq.

    `acc_bound` is the largest |acc| that can occur; a small one allows a shorter exact path.
    """
    scale = jnp.broadcast_to(scale, acc.shape)
    if method is Dequantize.TWO_STEP:
        acc_fp16 = fp16.from_int32(acc, mode)
        tap("acc_fp16", acc_fp16)
        deq = fp16.mul(acc_fp16, scale, mode)
    elif acc_bound <= EXACT_PRODUCT:
        deq = fp16.round_once(acc.astype(jnp.float32) * fp16.widen(scale, mode), mode)
    elif acc_bound <= EXACT_INTEGER:
        deq = _scale_integer(acc, scale, mode)
    elif acc_bound <= EXACT_SPLIT:
        deq = scale_once(acc.astype(jnp.float32), scale, mode)
    else:
        deq = softfloat.bits_float16(softfloat.mul_integer(acc, softfloat.float16_bits(scale), FP16, mode))
    tap("deq", deq)
    return deq


def pack(code: Code[Array, "*s c"]) -> UInt8[Array, "*s b"]:
    """Codes of at most 4 bits, two to a byte along the last axis, lower index in the low nibble (SPEC.md Q5)."""
    nibble = code.astype(jnp.uint8) & jnp.uint8(0xF)
    pad = [(0, 0)] * (code.ndim - 1) + [(0, code.shape[-1] % 2)]
    nibble = jnp.pad(nibble, pad)
    return nibble[..., 0::2] | (nibble[..., 1::2] << jnp.uint8(4))


def unpack(packed: UInt8[Array, "*s b"], fmt: Fxp, width: int) -> Code[Array, "*s c"]:
    """The first `width` codes of each packed row (SPEC.md Q5)."""
    nibbles = jnp.stack([packed & jnp.uint8(0xF), packed >> jnp.uint8(4)], axis=-1)
    nibbles = nibbles.reshape(*packed.shape[:-1], 2 * packed.shape[-1])[..., :width]
    if not fmt.signed:
        return nibbles & jnp.uint8((1 << fmt.bits) - 1)
    unused = jnp.int8(8 - fmt.bits)
    return (nibbles.astype(jnp.int8) << unused) >> unused


guard(__name__)
