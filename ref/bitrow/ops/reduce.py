"""The declared orders of summation (SPEC.md B2): pairwise trees and running sums, never a library's sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32

from bitrow.doors import guard
from bitrow.formats import FP16, FP32, Float, FloatMode
from bitrow.ops import fp16
from bitrow.ops.dtypes import Sum
from bitrow.ops.softfloat import bits_float32, float32_bits, is_nan
from bitrow.ops.tap import Tap, no_tap

Adder = Callable[[Array, Array], Array]
_UNROLLED = 8  # terms of a running sum that need no loop


def fp32_add(a: Float32[Array, "*#s"], b: Float32[Array, "*#s"]) -> Float32[Array, "*s"]:
    """One FP32 addition with the canonical NaN (SPEC.md F4, F9).

    Meant for sums of FP16 values and of their products, which never reach FP32's subnormals.
    """
    return canonical_fp32(a + b)


def canonical_fp32(x: Float32[Array, "*s"]) -> Float32[Array, "*s"]:
    """x with every NaN as 0x7FC00000."""
    word = float32_bits(x)
    return bits_float32(jnp.where(is_nan(word, FP32), jnp.uint32(FP32.nan_bits), word))


def adder(fmt: Float, mode: FloatMode) -> Adder:
    """Addition in the accumulator format: float32 arrays for FP32, float16 arrays for FP16 under `mode`."""
    if fmt == FP16:
        return lambda a, b: fp16.add(a, b, mode)
    return fp32_add


def opaque(zeros: Array) -> Array:
    """Zeros that XLA cannot see: it would turn 0 + x into x, which is wrong for x = -0."""
    return lax.optimization_barrier(zeros)


def tree(x: Sum[Array, "..."], axis: int, add: Adder, tap: Tap = no_tap, name: str = "sum") -> Array:
    """Pairwise tree over `axis`, padded with +0 to a power of two; the axis is dropped (SPEC.md B2).

    Taps NAME_level1, NAME_level2, ... keep the halved axis in place (SPEC.md T2).
    """
    axis %= x.ndim
    size = x.shape[axis]
    padded = 1 << (size - 1).bit_length()
    if padded != size:
        x = opaque(jnp.pad(x, [(0, padded - size if i == axis else 0) for i in range(x.ndim)]))
    if padded == 1 and x.dtype == jnp.float32:
        x = canonical_fp32(x)  # no addition will do it
    level = 0
    while x.shape[axis] > 1:
        pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        x = add(lax.index_in_dim(pairs, 0, axis + 1, False), lax.index_in_dim(pairs, 1, axis + 1, False))
        level += 1
        tap(f"{name}_level{level}", x)
    return lax.squeeze(x, (axis,))


def running(rows: Sum[Array, "rows ..."], add: Adder, tap: Tap = no_tap, name: str = "sum") -> Array:
    """Sum over the first axis, one after another from +0 (SPEC.md B2). Taps NAME_running, all running values."""
    if tap is no_tap and rows.shape[0] <= _UNROLLED:
        total = jnp.broadcast_to(opaque(jnp.zeros((), rows.dtype)), rows.shape[1:])
        for row in rows:
            total = add(total, row)
        return total

    def step(total: Array, row: Array) -> tuple[Array, Any]:
        total = add(total, row)
        return total, (total if tap is not no_tap else None)

    total, history = lax.scan(step, opaque(jnp.zeros_like(rows[0])), rows)
    if tap is not no_tap:
        tap(f"{name}_running", history)
    return total


guard(__name__)
