"""The exceptions of FP16 operations, on words in uint32 arrays: a word of `Flag` bits each (SPEC.md F11 to F14, Q6).

A result is rounded once more, to a format of the same fractions and endless exponents, by `round_pack` as every other:
what is tiny or too large is asked of that. Where the flags are not asked for, nothing here is traced.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int32, UInt32

from bitrow.doors import guard
from bitrow.formats import FP16, FP32, Flag, FlagMode, Float, FloatMode, Tininess
from bitrow.ops import code_words
from bitrow.ops import softfloat as soft
from bitrow.ops.softfloat import Exact, Unpacked, u32, unpack

_ENDLESS = Float(11, FP16.fraction_bits)  # no result of FP16 or FP32 operands leaves its exponents
_TOO_LARGE = u32((_ENDLESS.bias + FP16.max_exponent + 1) << FP16.fraction_bits)
_NORMAL = u32((_ENDLESS.bias + FP16.min_exponent) << FP16.fraction_bits)


def _bit(flag: Flag, where: Bool[Array, "*s"]) -> UInt32[Array, "*s"]:
    return jnp.where(where, u32(flag), u32(0))


def _rounding(exact: Exact, mode: FlagMode) -> UInt32[Array, "..."]:
    """What a finite result raises by being rounded to FP16 (SPEC.md F13, F14)."""
    _, _, rest = soft.kept_and_lost(exact.exponent, exact.significand, FP16)
    endless = soft.round_pack(*exact, _ENDLESS, FloatMode(mode.rounding)) & u32(_ENDLESS.sign_mask - 1)
    overflow = endless >= _TOO_LARGE
    some = exact.significand != 0
    tiny = exact.exponent < FP16.min_exponent if mode.tininess is Tininess.BEFORE_ROUNDING else endless < _NORMAL
    lost = rest != 0
    if mode.flush:
        delivered = soft.round_pack(*exact, FP16, mode.plain)
        lost = lost | ((delivered & u32(FP16.sign_mask - 1)) == 0)
    inexact = some & (lost | overflow)
    return _bit(Flag.INEXACT, inexact) | _bit(Flag.UNDERFLOW, inexact & tiny) | _bit(Flag.OVERFLOW, overflow)


def _raised(
    exact: Exact, mode: FlagMode, finite: Bool[Array, "*s"], invalid: Bool[Array, "*s"]
) -> UInt32[Array, "..."]:
    return jnp.where(invalid, u32(Flag.INVALID), jnp.where(finite, _rounding(exact, mode), u32(0)))


def _signalling(a: UInt32[Array, "*s"], fmt: Float) -> Bool[Array, "*s"]:
    magnitude = a & u32(fmt.sign_mask - 1)
    return (magnitude > u32(fmt.infinity_bits)) & (magnitude < u32(fmt.nan_bits))


def _finite(x: Unpacked) -> Bool[Array, "*s"]:
    return ~(x.nan | x.inf)


def _no_product(x: Unpacked, y: Unpacked) -> Bool[Array, "*s"]:
    """Infinity times zero."""
    return (x.inf & y.zero) | (x.zero & y.inf)


def _read(a: UInt32[Array, "*s"], fmt: Float, mode: FlagMode) -> Unpacked:
    return unpack(a, fmt, mode.flush and fmt == FP16)


def _pair(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], fmt: Float, mode: FlagMode
) -> tuple[Unpacked, Unpacked, Bool[Array, "*s"]]:
    a, b = jnp.broadcast_arrays(a, b)
    return _read(a, fmt, mode), _read(b, fmt, mode), _signalling(a, fmt) | _signalling(b, fmt)


def _of_sum(x: Unpacked, y: Unpacked, signalling: Bool[Array, "*s"], mode: FlagMode) -> UInt32[Array, "..."]:
    opposed = x.inf & y.inf & (x.sign != y.sign)
    return _raised(soft.exact_sum(x, y), mode, _finite(x) & _finite(y), signalling | opposed)


def add(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], mode: FlagMode = FlagMode(), fmt: Float = FP16
) -> UInt32[Array, "..."]:
    """Flags of a + b of words of FP16 or FP32 (`fmt`), rounded to FP16."""
    x, y, signalling = _pair(a, b, fmt, mode)
    return _of_sum(x, y, signalling, mode)


def sub(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "..."]:
    """Flags of a - b."""
    return add(a, b ^ u32(FP16.sign_mask), mode)


def mul(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], mode: FlagMode = FlagMode(), fmt: Float = FP16
) -> UInt32[Array, "..."]:
    """Flags of a * b of words of FP16 or FP32 (`fmt`), rounded to FP16."""
    x, y, signalling = _pair(a, b, fmt, mode)
    return _raised(soft.exact_product(x, y), mode, _finite(x) & _finite(y), signalling | _no_product(x, y))


def fma(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], c: UInt32[Array, "*#s"], mode: FlagMode = FlagMode()
) -> UInt32[Array, "..."]:
    """Flags of a * b + c; infinity times zero is invalid whatever c is."""
    a, b, c = jnp.broadcast_arrays(a, b, c)
    x, y, signalling = _pair(a, b, FP16, mode)
    z = _read(c, FP16, mode)
    product = soft.half_product(x, y)
    # of a NaN there is no infinite product to meet an infinite c
    product = product._replace(inf=product.inf & ~product.nan)
    return _of_sum(product, z, signalling | _signalling(c, FP16) | _no_product(x, y), mode)


def div(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "..."]:
    """Flags of a / b."""
    x, y, signalling = _pair(a, b, FP16, mode)
    finite = _finite(x) & _finite(y)
    found = _raised(
        soft.exact_quotient(x, y), mode, finite, signalling | (x.inf & y.inf) | (x.zero & y.zero & ~(x.nan | y.nan))
    )
    by_zero = finite & y.zero & ~x.zero
    return jnp.where(by_zero, u32(Flag.DIVIDE_BY_ZERO), found)


def sqrt(a: UInt32[Array, "*s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "*s"]:
    """Flags of the square root; a root is neither tiny nor too large."""
    x = _read(a, FP16, mode)
    below = (x.sign == 1) & ~x.zero & ~x.nan
    return _raised(soft.exact_root(x), mode, _finite(x), _signalling(a, FP16) | below)


def from_int32(value: Int32[Array, "*s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "*s"]:
    """Flags of an integer rounded to FP16."""
    return _rounding(soft.exact_integer(value), mode)


def from_float32(a: UInt32[Array, "*s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "*s"]:
    """Flags of an FP32 word rounded to FP16."""
    x = unpack(a, FP32)
    return _raised(soft.as_exact(x), mode, _finite(x), _signalling(a, FP32))


def to_float32(a: UInt32[Array, "*s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "*s"]:
    """Flags of an FP16 word as FP32, which is exact: only a signalling NaN raises any."""
    return _bit(Flag.INVALID, _signalling(a, FP16))


def dequantize(
    acc: Int32[Array, "*#s"], scale: UInt32[Array, "*#s"], mode: FlagMode = FlagMode()
) -> UInt32[Array, "..."]:
    """Flags of an integer times a scale, rounded once (SPEC.md D1)."""
    acc, scale = jnp.broadcast_arrays(acc, scale)
    return _rounding(soft.exact_scaled(acc, unpack(scale, FP16, mode.flush), FP16), mode)


def _codes(x: Unpacked, inside: Bool[Array, "*s"]) -> UInt32[Array, "*s"]:
    """Of a code inside the range, whether t has a fraction (SPEC.md Q6)."""
    places = jnp.clip(soft.LEADING - x.exponent, 0, 31).astype(jnp.uint32)
    fraction = (x.significand & ((u32(1) << places) - u32(1))) != 0
    return jnp.where(inside, _bit(Flag.INEXACT, fraction), u32(Flag.INVALID))


def to_code(
    t: UInt32[Array, "*s"], low: Int32[Array, "*#s"], high: Int32[Array, "*#s"]
) -> UInt32[Array, "*s"]:
    """Flags of the code from `low` to `high` of FP16 words (SPEC.md Q6)."""
    return _codes(unpack(t, FP16), code_words.nearest(t, low, high).mask)


def to_drawn_code(
    t: UInt32[Array, "*s"], word: UInt32[Array, "*s"], low: Int32[Array, "*#s"], high: Int32[Array, "*#s"]
) -> UInt32[Array, "*s"]:
    """Flags of the code of FP16 words and words of the LFSR (SPEC.md Q6)."""
    x = unpack(t, FP16)
    found = code_words.drawn(t, word, low - 1, high + 1)
    return _codes(x, _finite(x) & (found >= low) & (found <= high))


guard(__name__)
