"""The quantizers in integer operations on FP16 words, for any code format (SPEC.md Q1 to Q4).

`fxp` quantizes arrays in float32, which is faster where there is float32; these are what is printed in other
languages. The range of the codes is an argument.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int32, UInt32

from bitrow.doors import guard
from bitrow.formats import FP16
from bitrow.ops.softfloat import LEADING, Unpacked, shift_right_sticky, u32, unpack

_BEYOND = 512  # past the codes of every format


class Quantized(NamedTuple):
    """A code, and whether the gradient passes (SPEC.md Q4)."""

    code: Int32[Array, "*s"]
    mask: Bool[Array, "*s"]


def _signed(x: Unpacked, magnitude: UInt32[Array, "*s"]) -> Int32[Array, "*s"]:
    value = jnp.where(x.exponent > 8, jnp.int32(_BEYOND), magnitude.astype(jnp.int32))
    return jnp.where(x.nan, jnp.int32(0), jnp.where(x.sign == 1, -value, value))


def _clip(value: Int32[Array, "*s"], low: Int32[Array, "*#s"], high: Int32[Array, "*#s"]) -> Int32[Array, "*s"]:
    return jnp.minimum(jnp.maximum(value, low), high)


def nearest(t: UInt32[Array, "*s"], low: Int32[Array, "*#s"], high: Int32[Array, "*#s"]) -> Quantized:
    """The nearest integer to the FP16 word t, ties to even, clipped to the range; NaN is 0 (SPEC.md Q1, Q2, Q4)."""
    x = unpack(t, FP16)
    drop = jnp.clip(LEADING - x.exponent, LEADING - 8, LEADING + 2).astype(jnp.uint32)
    odd = (x.significand >> drop) & u32(1)
    found = _signed(x, (x.significand + ((u32(1) << (drop - 1)) - 1) + odd) >> drop)
    return Quantized(_clip(found, low, high), (found >= low) & (found <= high) & ~x.nan)


def drawn(
    t: UInt32[Array, "*s"], word: UInt32[Array, "*s"], low: Int32[Array, "*#s"], high: Int32[Array, "*#s"]
) -> Int32[Array, "*s"]:
    """floor(t + word / 65536), clipped to the range (SPEC.md Q3). What t has below 2^-16 only rounds it down."""
    x = unpack(t, FP16)
    drop = jnp.clip(8 - x.exponent, 0, 31).astype(jnp.uint32)
    sticky = shift_right_sticky(x.significand << 3, drop)  # two bits more than multiples of 2^-16, the lower sticky
    scaled = sticky.astype(jnp.int32)
    whole = jnp.where(x.sign == 1, -scaled, scaled) >> 2
    bounded = jnp.where(
        x.exponent > 8, jnp.where(x.sign == 1, jnp.int32(-_BEYOND << 16), jnp.int32(_BEYOND << 16)), whole
    )
    return _clip(jnp.where(x.nan, jnp.int32(0), (bounded + word.astype(jnp.int32)) >> 16), low, high)


guard(__name__)
