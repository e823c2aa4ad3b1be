"""Between float16 and float32, exactly: by the backend's casts where they are right, else by integer operations.

XLA's CPU backend has no float16 casts below F16C (it stops at compile time), and a backend may flush subnormals.
So the casts are tried once, on every word, and used only if they compile and agree with numpy. Both ways give the
same bits; the casts are faster.

A compiler may do more than cast: LLVM makes one half product of two widened factors, a product and a narrowing, and
processors with FP16 arithmetic then fuse it with a sum; XLA drops a narrowing that is widened again. Neither passes
an integer operation that it cannot see through, so one stands on both sides of every narrowing.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float16, Float32

from bitrow.doors import guard
from bitrow.formats import FP16, FP32
from bitrow.ops.softfloat import bits_float16, bits_float32, float16_bits, float32_bits, u32

_HALF = 0x3F000000  # 0.5: its ulp is 2^-24, FP16's smallest subnormal
_REBIAS = 112 << 23  # FP32's bias less FP16's, in FP32's exponent field


def widen(x: Float16[Array, "*s"]) -> Float32[Array, "*s"]:
    """float16 as float32; NaNs stay NaNs."""
    return x.astype(jnp.float32) if casts_are_exact(jax.default_backend()) else widen_by_integers(x)


def narrow(value: Float32[Array, "*s"]) -> Float16[Array, "*s"]:
    """float32 rounded to float16, to nearest even, overflowing to infinity; every NaN as 0x7E00."""
    return canonical(_narrow(value))


def narrow_term(value: Float32[Array, "*s"]) -> Float16[Array, "*s"]:
    """`narrow` of what a sum reads next, which makes NaNs canonical: one instruction instead of three."""
    word = lax.bitcast_convert_type(_narrow(value), jnp.int16)
    return lax.bitcast_convert_type(lax.min(word, jnp.full_like(word, FP16.nan_bits)), jnp.float16)


def _narrow(value: Float32[Array, "*s"]) -> Float16[Array, "*s"]:
    """Its bits are to be decided by an integer operation before anything widens them."""
    value = decided(value)
    return value.astype(jnp.float16) if casts_are_exact(jax.default_backend()) else narrow_by_integers(value)


def canonical(x: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """x with every NaN as 0x7E00 (SPEC.md F4). The comparison is signed because AVX2 has no other."""
    word = lax.bitcast_convert_type(x, jnp.int16)
    nan = (word & jnp.int16(0x7FFF)) > jnp.int16(FP16.infinity_bits)
    return lax.bitcast_convert_type(jnp.where(nan, jnp.int16(FP16.nan_bits), word), jnp.float16)


def decided(value: Float32[Array, "*s"]) -> Float32[Array, "*s"]:
    """value, its bits decided by an integer minimum: a positive NaN's payload is at most the canonical one's.

    Numbers stay as they are, but no compiler knows that, so none joins what stands before with what comes after:
    no product is fused with a sum or narrowed. One instruction.
    """
    word = lax.bitcast_convert_type(value, jnp.int32)
    return lax.bitcast_convert_type(lax.min(word, jnp.full_like(word, FP32.nan_bits)), jnp.float32)


def widen_by_integers(x: Float16[Array, "*s"]) -> Float32[Array, "*s"]:
    """`widen` without a float16 instruction."""
    word = float16_bits(x)
    magnitude = word & u32(0x7FFF)
    normal = (magnitude << 13) + u32(_REBIAS)
    special = (magnitude << 13) + u32(2 * _REBIAS)
    subnormal = float32_bits(magnitude.astype(jnp.float32) * jnp.float32(2.0**-24))
    wide = jnp.where(magnitude >= u32(FP16.infinity_bits), special, normal)
    wide = jnp.where(magnitude < u32(0x400), subnormal, wide)
    return bits_float32(wide | ((word & u32(0x8000)) << 16))


def narrow_by_integers(value: Float32[Array, "*s"]) -> Float16[Array, "*s"]:
    """`narrow` without a float16 instruction."""
    word = float32_bits(value)
    magnitude = word & u32(0x7FFFFFFF)
    odd = (magnitude >> 13) & u32(1)
    normal = ((magnitude + u32(0xFFF) + odd) >> 13) - u32(_REBIAS >> 13)
    normal = jnp.minimum(normal, u32(FP16.infinity_bits))
    # Below 2^-14 a float32 addition rounds to the subnormals' grid; float32's own subnormals vanish either way.
    subnormal = float32_bits(bits_float32(magnitude) + jnp.float32(0.5)) - u32(_HALF)
    half = jnp.where(magnitude < u32(0x38800000), subnormal, normal)
    half = half | ((word >> 16) & u32(0x8000))
    return bits_float16(jnp.where(magnitude > u32(FP32.infinity_bits), u32(FP16.nan_bits), half))


@functools.cache
def casts_are_exact(backend: str) -> bool:
    """Whether the default backend's casts compile and agree with numpy on every float16 and every tie between two."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].astype(np.float32)
    ties = np.concatenate([finite, finite * np.float32(1 + 2.0**-11), np.nextafter(finite, np.float32(0))])

    def both(x: Array, ties: Array) -> tuple[Array, Array]:
        return lax.convert_element_type(x, jnp.float32), lax.convert_element_type(ties, jnp.float16)

    try:
        # The trial has NaNs and infinities, and needs a compiler, whatever the program that asks is debugging.
        with jax.debug_nans(False), jax.debug_infs(False), jax.disable_jit(False):
            wide, half = jax.jit(both).lower(every, ties).compile()(every, ties)
    except jax.errors.JaxRuntimeError:
        return False
    with np.errstate(all="ignore"):
        return np.array_equal(np.asarray(wide), every.astype(np.float32), equal_nan=True) and np.array_equal(
            np.asarray(half).view(np.uint16), ties.astype(np.float16).view(np.uint16)
        )


guard(__name__)
