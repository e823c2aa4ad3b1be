"""The exceptions of FP16 operations, on words in uint32 arrays: a word of `Flag` bits each (SPEC.md F11 to F14, Q6).

A result is rounded once more, to a format of the same fractions and endless exponents, by `round_pack` as every other:
what is tiny or too large is asked of that. Where the flags are not asked for, nothing here is traced. `before_add` and
its like say what the operands decide, `rounding` the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int32, UInt32

from bitrow.doors import guard
from bitrow.formats import FP16, FP32, Flag, FlagMode, Float, FloatMode, Tininess
from bitrow.ops import code_words
from bitrow.ops import softfloat as soft
from bitrow.ops.softfloat import Unpacked, Unrounded, u32, unpack

_ENDLESS = Float(11, FP16.fraction_bits)  # no result of FP16 or FP32 operands leaves its exponents
_TOO_LARGE = (_ENDLESS.bias + FP16.max_exponent + 1) << FP16.fraction_bits
_NORMAL = (_ENDLESS.bias + FP16.min_exponent) << FP16.fraction_bits


class FlagStage(NamedTuple):
    """What operands raise; where the result is `live`, what rounding it raises instead, `softfloat.Unrounded`."""

    live: Bool[Array, "..."]
    raised: UInt32[Array, "..."]
    sign: UInt32[Array, "..."]
    exponent: Int32[Array, "..."]
    significand: UInt32[Array, "..."]


def _bit(flag: Flag, where: Bool[Array, "*s"]) -> UInt32[Array, "*s"]:
    return jnp.where(where, u32(flag), u32(0))


def rounding(
    sign: UInt32[Array, "*s"], exponent: Int32[Array, "*s"], significand: UInt32[Array, "*s"], mode: FlagMode
) -> UInt32[Array, "*s"]:
    """What a finite result raises by being rounded to FP16 (SPEC.md F13, F14)."""
    exact = Unrounded(sign, exponent, significand)
    _, _, rest = soft.kept_and_lost(exponent, significand, FP16)
    endless = soft.round_pack(*exact, _ENDLESS, FloatMode(mode.rounding)) & u32(_ENDLESS.sign_mask - 1)
    overflow = endless >= u32(_TOO_LARGE)
    tiny = exponent < FP16.min_exponent if mode.tininess is Tininess.BEFORE_ROUNDING else endless < u32(_NORMAL)
    lost = rest != 0
    if mode.flush:
        delivered = soft.round_pack(*exact, FP16, mode.plain)
        lost = lost | ((delivered & u32(FP16.sign_mask - 1)) == 0)
    inexact = (significand != 0) & (lost | overflow)
    return _bit(Flag.INEXACT, inexact) | _bit(Flag.UNDERFLOW, inexact & tiny) | _bit(Flag.OVERFLOW, overflow)


def _flags(stage: FlagStage, mode: FlagMode) -> UInt32[Array, "..."]:
    return jnp.where(stage.live, rounding(*stage[2:], mode), stage.raised)


def _stage(exact: Unrounded, finite: Bool[Array, "*s"], invalid: Bool[Array, "*s"]) -> FlagStage:
    return FlagStage(finite & ~invalid, _bit(Flag.INVALID, invalid), *exact)


def _signalling(a: UInt32[Array, "*s"], fmt: Float) -> Bool[Array, "*s"]:
    magnitude = a & u32(fmt.sign_mask - 1)
    return (magnitude > u32(fmt.infinity_bits)) & (magnitude < u32(fmt.nan_bits))


def _finite(x: Unpacked) -> Bool[Array, "*s"]:
    return ~(x.nan | x.inf)


def _no_product(x: Unpacked, y: Unpacked) -> Bool[Array, "*s"]:
    """Infinity times zero; a NaN's significand is none of zero's."""
    return (x.inf & y.zero) | (x.zero & y.inf)


def _pair(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], fmt: Float, flush: bool
) -> tuple[Unpacked, Unpacked, Bool[Array, "*s"]]:
    a, b = jnp.broadcast_arrays(a, b)
    flush = flush and fmt == FP16
    return unpack(a, fmt, flush), unpack(b, fmt, flush), _signalling(a, fmt) | _signalling(b, fmt)


def _before_sum(x: Unpacked, y: Unpacked, invalid: Bool[Array, "*s"]) -> FlagStage:
    opposed = x.inf & y.inf & (x.sign != y.sign)
    return _stage(soft.exact_sum(x, y), _finite(x) & _finite(y), invalid | opposed)


def before_add(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], flush: bool = False, fmt: Float = FP16
) -> FlagStage:
    """Of a + b of words of FP16 or FP32 (`fmt`)."""
    return _before_sum(*_pair(a, b, fmt, flush))


def before_sub(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], flush: bool = False) -> FlagStage:
    """Of a - b."""
    return before_add(a, b ^ u32(FP16.sign_mask), flush)


def before_mul(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], flush: bool = False, fmt: Float = FP16
) -> FlagStage:
    """Of a * b of words of FP16 or FP32 (`fmt`)."""
    x, y, signalling = _pair(a, b, fmt, flush)
    return _stage(soft.exact_product(x, y), _finite(x) & _finite(y), signalling | _no_product(x, y))


def before_fma(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], c: UInt32[Array, "*#s"], flush: bool = False
) -> FlagStage:
    """Of a * b + c; infinity times zero is invalid whatever c is."""
    a, b, c = jnp.broadcast_arrays(a, b, c)
    x, y, signalling = _pair(a, b, FP16, flush)
    product = soft.half_product(x, y)
    product = product._replace(inf=product.inf & ~product.nan)  # of a NaN there is none to meet an infinite c
    invalid = signalling | _signalling(c, FP16) | _no_product(x, y)
    return _before_sum(product, unpack(c, FP16, flush), invalid)


def before_div(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], flush: bool = False) -> FlagStage:
    """Of a / b."""
    x, y, signalling = _pair(a, b, FP16, flush)
    finite = _finite(x) & _finite(y)
    undefined = (x.inf & y.inf) | (finite & x.zero & y.zero)
    stage = _stage(soft.exact_quotient(x, y), finite & ~y.zero, signalling | undefined)
    return stage._replace(raised=stage.raised | _bit(Flag.DIVIDE_BY_ZERO, finite & y.zero & ~x.zero))


def before_sqrt(a: UInt32[Array, "*s"], flush: bool = False) -> FlagStage:
    """Of the square root of a."""
    x = unpack(a, FP16, flush)
    below = (x.sign == 1) & ~x.zero & ~x.nan
    return _stage(soft.exact_root(x), _finite(x), _signalling(a, FP16) | below)


def before_from_float32(a: UInt32[Array, "*s"]) -> FlagStage:
    """Of an FP32 word."""
    x = unpack(a, FP32)
    return _stage(soft.as_exact(x), _finite(x), _signalling(a, FP32))


def add(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], mode: FlagMode = FlagMode(), fmt: Float = FP16
) -> UInt32[Array, "..."]:
    """Flags of a + b of words of FP16 or FP32 (`fmt`), rounded to FP16."""
    return _flags(before_add(a, b, mode.flush, fmt), mode)


def sub(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "..."]:
    """Flags of a - b."""
    return _flags(before_sub(a, b, mode.flush), mode)


def mul(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], mode: FlagMode = FlagMode(), fmt: Float = FP16
) -> UInt32[Array, "..."]:
    """Flags of a * b of words of FP16 or FP32 (`fmt`), rounded to FP16."""
    return _flags(before_mul(a, b, mode.flush, fmt), mode)


def fma(
    a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], c: UInt32[Array, "*#s"], mode: FlagMode = FlagMode()
) -> UInt32[Array, "..."]:
    """Flags of a * b + c."""
    return _flags(before_fma(a, b, c, mode.flush), mode)


def div(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "..."]:
    """Flags of a / b."""
    return _flags(before_div(a, b, mode.flush), mode)


def sqrt(a: UInt32[Array, "*s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "*s"]:
    """Flags of the square root."""
    return _flags(before_sqrt(a, mode.flush), mode)


def from_int32(value: Int32[Array, "*s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "*s"]:
    """Flags of an integer rounded to FP16."""
    return rounding(*soft.exact_integer(value), mode)


def from_float32(a: UInt32[Array, "*s"], mode: FlagMode = FlagMode()) -> UInt32[Array, "*s"]:
    """Flags of an FP32 word rounded to FP16."""
    return _flags(before_from_float32(a), mode)


def to_float32(a: UInt32[Array, "*s"]) -> UInt32[Array, "*s"]:
    """Flags of an FP16 word as FP32, which is exact: only a signalling NaN raises any."""
    return _bit(Flag.INVALID, _signalling(a, FP16))


def before_dequantize(acc: Int32[Array, "*#s"], scale: UInt32[Array, "*#s"]) -> Unrounded:
    """An integer times a scale, exact; a scale is a normal number."""
    acc, scale = jnp.broadcast_arrays(acc, scale)
    return soft.exact_scaled(acc, unpack(scale, FP16), FP16)


def dequantize(
    acc: Int32[Array, "*#s"], scale: UInt32[Array, "*#s"], mode: FlagMode = FlagMode()
) -> UInt32[Array, "..."]:
    """Flags of an integer times a scale, rounded once (SPEC.md D1)."""
    return rounding(*before_dequantize(acc, scale), mode)


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
