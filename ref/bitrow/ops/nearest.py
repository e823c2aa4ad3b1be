"""FP16 sums and products under the default mode, in few integer operations (SPEC.md F2, F3, F4).

`softfloat` serves every format and mode; these serve what is run most, where a compiler is to make vectors of it: the
C model's arrays. Words are the low 16 bits of uint32 arrays; none of the operations is a choice between two bools.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import UInt32

from bitrow.doors import guard
from bitrow.formats import FP16
from bitrow.ops.softfloat import u32

_MAGNITUDE, _SIGN, _INF, _NAN = u32(0x7FFF), u32(0x8000), u32(FP16.infinity_bits), u32(FP16.nan_bits)


def _parts(magnitude: UInt32[Array, "*s"]) -> tuple[UInt32[Array, "*s"], UInt32[Array, "*s"]]:
    """Exponent from 0 up, of subnormals as of the least normal numbers, and significand of 11 bits."""
    field = magnitude >> 10
    hidden = jnp.minimum(field, u32(1))
    return field - hidden, (magnitude & u32(0x3FF)) | (hidden << 10)


def _rounded(significand: UInt32[Array, "*s"], exponent: UInt32[Array, "*s"]) -> UInt32[Array, "*s"]:
    """Magnitude of significand * 2^(exponent - 64) units of 2^-24, to nearest even; significand is below 2^24."""
    zeros = jnp.minimum(lax.clz(significand), u32(31)) - u32(8)
    lead = significand << zeros  # its leading one at bit 23
    field = exponent + u32(13) - zeros  # 64 more than FP16's, less one
    above = jnp.maximum(field, u32(64)) - u32(64)
    drop = jnp.minimum(u32(77) - jnp.minimum(field, u32(64)), u32(25))
    odd = (lead >> drop) & u32(1)
    kept = (lead + ((u32(1) << (drop - u32(1))) - u32(1)) + odd) >> drop
    return jnp.where(significand == 0, u32(0), jnp.minimum((above << 10) + kept, _INF))


def add(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"]) -> UInt32[Array, "..."]:
    """a + b rounded once to nearest even."""
    low, high = jnp.minimum(a & _MAGNITUDE, b & _MAGNITUDE), jnp.maximum(a & _MAGNITUDE, b & _MAGNITUDE)
    sign = jnp.where((a & _MAGNITUDE) >= (b & _MAGNITUDE), a, b) & _SIGN
    (low_exponent, small), (high_exponent, big) = _parts(low), _parts(high)
    gap = high_exponent - low_exponent
    aligned = (small << 12) >> gap
    lost = jnp.where(aligned << gap == small << 12, u32(0), u32(1))
    opposite = (a ^ b) & _SIGN
    term = aligned | lost
    total = (big << 12) + jnp.where(opposite == 0, term, u32(0) - term)
    sign = jnp.where(total == 0, a & b & _SIGN, sign)
    word = _rounded(total, high_exponent + u32(52)) | sign
    infinite = jnp.where(low == _INF, opposite, u32(0))  # infinities of opposite signs
    word = jnp.where(high >= _INF, high | sign, word)
    return jnp.where((high + infinite) > _INF, _NAN, word)


def mul(a: UInt32[Array, "*#s"], b: UInt32[Array, "*#s"]) -> UInt32[Array, "..."]:
    """a * b rounded once to nearest even."""
    low, high = jnp.minimum(a & _MAGNITUDE, b & _MAGNITUDE), jnp.maximum(a & _MAGNITUDE, b & _MAGNITUDE)
    sign = (a ^ b) & _SIGN
    (low_exponent, small), (high_exponent, big) = _parts(low), _parts(high)
    word = _rounded(small * big, low_exponent + high_exponent + u32(40)) | sign
    word = jnp.where(high >= _INF, _INF | sign, word)
    undefined = jnp.where(low == 0, u32(1), u32(0))  # infinity times zero
    return jnp.where((high + undefined) > _INF, _NAN, word)


guard(__name__)
