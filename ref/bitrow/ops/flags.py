"""FP16 operations that return the exceptions they raise beside their results (SPEC.md F11 to F14, Q6).

Results are those of `fp16` and `fxp`, by the same kernels; flags are a uint8 array of `formats.Flag` bits. `sticky`
makes one word of many, as a register of flags that nothing clears.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float16, Float32, Int32, UInt8, UInt16

from bitrow.doors import guard
from bitrow.formats import FP16, FP32, FlagMode, Fxp
from bitrow.ops import flag_words, fp16, fxp, softfloat
from bitrow.ops.dtypes import Code
from bitrow.ops.softfloat import bits_float16, float16_bits, float32_bits

__all__ = ["Flagged", "add", "add_fp32", "dequantize", "div", "fma", "from_float32", "from_int32", "mul", "mul_fp32",
           "sqrt", "sticky", "sub", "to_code", "to_drawn_code", "to_float32"]  # fmt: skip


class Flagged(NamedTuple):
    """A result, and the flags (uint8) of each element of it."""

    y: Array
    flags: UInt8[Array, "..."]


def _with(y: Array, flags: Array) -> Flagged:
    return Flagged(y, flags.astype(jnp.uint8))


def sticky(flags: UInt8[Array, "..."]) -> UInt8[Array, ""]:
    """The bitwise or of all flags, uint8 []."""
    return lax.reduce(flags, jnp.uint8(0), lax.bitwise_or, range(flags.ndim))


def add(a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], mode: FlagMode = FlagMode()) -> Flagged:
    """a + b and its flags (SPEC.md F11 to F14)."""
    return _with(fp16.add(a, b, mode.plain), flag_words.add(float16_bits(a), float16_bits(b), mode))


def sub(a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], mode: FlagMode = FlagMode()) -> Flagged:
    """a - b and its flags (SPEC.md F11 to F14)."""
    return _with(fp16.sub(a, b, mode.plain), flag_words.sub(float16_bits(a), float16_bits(b), mode))


def mul(a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], mode: FlagMode = FlagMode()) -> Flagged:
    """a * b and its flags (SPEC.md F11 to F14)."""
    return _with(fp16.mul(a, b, mode.plain), flag_words.mul(float16_bits(a), float16_bits(b), mode))


def fma(
    a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], c: Float16[Array, "*#s"], mode: FlagMode = FlagMode()
) -> Flagged:
    """a * b + c, rounded once, and its flags (SPEC.md F11 to F14)."""
    words = float16_bits(a), float16_bits(b), float16_bits(c)
    return _with(fp16.fma(a, b, c, mode.plain), flag_words.fma(*words, mode))


def div(a: Float16[Array, "*#s"], b: Float16[Array, "*#s"], mode: FlagMode = FlagMode()) -> Flagged:
    """a / b and its flags (SPEC.md F11 to F14)."""
    return _with(fp16.div(a, b, mode.plain), flag_words.div(float16_bits(a), float16_bits(b), mode))


def sqrt(a: Float16[Array, "*s"], mode: FlagMode = FlagMode()) -> Flagged:
    """The square root and its flags (SPEC.md F11 to F14)."""
    return _with(fp16.sqrt(a, mode.plain), flag_words.sqrt(float16_bits(a), mode))


def from_int32(value: Int32[Array, "*s"], mode: FlagMode = FlagMode()) -> Flagged:
    """Integers rounded to FP16, and the flags (SPEC.md F10 to F14)."""
    return _with(fp16.from_int32(value, mode.plain), flag_words.from_int32(value, mode))


def from_float32(x: Float32[Array, "*s"], mode: FlagMode = FlagMode()) -> Flagged:
    """FP32 rounded to FP16, and the flags (SPEC.md F10 to F14)."""
    return _with(fp16.from_float32(x, mode.plain), flag_words.from_float32(float32_bits(x), mode))


def to_float32(a: Float16[Array, "*s"], mode: FlagMode = FlagMode()) -> Flagged:
    """FP16 as FP32, and the flags (SPEC.md F10 to F14)."""
    return _with(fp16.to_float32(a, mode.plain), flag_words.to_float32(float16_bits(a)))


def add_fp32(a: Float32[Array, "*#s"], b: Float32[Array, "*#s"], mode: FlagMode = FlagMode()) -> Flagged:
    """a + b of FP32 rounded once to FP16, as A4's y, and its flags (SPEC.md F9, F11 to F14)."""
    words = float32_bits(a), float32_bits(b)
    return _with(bits_float16(softfloat.add(*words, FP32, mode.plain, FP16)), flag_words.add(*words, mode, FP32))


def mul_fp32(a: Float32[Array, "*#s"], b: Float32[Array, "*#s"], mode: FlagMode = FlagMode()) -> Flagged:
    """a * b of FP32 rounded once to FP16, as A3's y, and its flags (SPEC.md F9, F11 to F14)."""
    words = float32_bits(a), float32_bits(b)
    return _with(bits_float16(softfloat.mul(*words, FP32, mode.plain, FP16)), flag_words.mul(*words, mode, FP32))


def dequantize(acc: Int32[Array, "*#s"], scale: Float16[Array, "*#s"], mode: FlagMode = FlagMode()) -> Flagged:
    """Accumulators times scales, positive normal numbers, rounded once, and the flags (SPEC.md D1, F11 to F14)."""
    acc, scale = jnp.broadcast_arrays(acc, scale)
    y = fxp.dequantize(acc, scale, 1 << 31, mode=mode.plain)
    return _with(y, flag_words.dequantize(acc, float16_bits(scale), mode))


_ONE = 0x3C00


def to_code(t: Float16[Array, "*s"], fmt: Fxp) -> Flagged:
    """Codes of t, to nearest (SPEC.md Q1, Q2), and the flags of each (Q6)."""
    code, _ = fxp.quantize(t, bits_float16(jnp.uint32(_ONE)), fmt)
    return _with(code, flag_words.to_code(float16_bits(t), jnp.int32(fmt.min), jnp.int32(fmt.max)))


def to_drawn_code(t: Float16[Array, "*s"], word: UInt16[Array, "*s"], fmt: Fxp) -> Flagged:
    """Codes of t and words of the LFSR (SPEC.md Q3), and the flags of each (Q6)."""
    code: Code[Array, "*s"]
    code, _ = fxp.quantize_stochastic(t, bits_float16(jnp.uint32(_ONE)), word, fmt)
    ends = jnp.int32(fmt.min), jnp.int32(fmt.max)
    return _with(code, flag_words.to_drawn_code(float16_bits(t), word.astype(jnp.uint32), *ends))


guard(__name__)
