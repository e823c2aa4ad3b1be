"""Multiply-accumulate of integer codes: convolution as gathered windows times a matrix (SPEC.md M).

Sums are exact int32 (modulo 2^32 where the accumulator wraps), so their order is free, except in the
`saturate` model, which clamps after every product.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Int, Int32

from bitrow.formats import Accumulator, AccOverflow
from bitrow.ops.tap import Tap, no_tap

Padding = tuple[tuple[int, int, int], tuple[int, int, int]]  # (low, high, interior) for h and w, as lax.pad


def forward_padding(padding: int) -> Padding:
    """Symmetric padding of SPEC.md C1."""
    return (padding, padding, 0), (padding, padding, 0)


def gradient_padding(
    dy_hw: tuple[int, int], dx_hw: tuple[int, int], kernel_hw: tuple[int, int], stride: int, padding: int
) -> Padding:
    """Dilation and padding that make the input gradient a plain stride-1 convolution (SPEC.md C2)."""

    def axis(dy: int, dx: int, kernel: int) -> tuple[int, int, int]:
        low = kernel - 1 - padding
        return low, dx + kernel - 2 - low - (dy - 1) * stride, stride - 1

    return axis(dy_hw[0], dx_hw[0], kernel_hw[0]), axis(dy_hw[1], dx_hw[1], kernel_hw[1])


def rotate(weight: Array, groups: int) -> Array:
    """Kernel of the input gradient: rotated in (kh, kw), channels swapped inside each group (SPEC.md C2)."""
    kh, kw, c_in, c_out = weight.shape
    grouped = weight[::-1, ::-1].reshape(kh, kw, c_in, groups, c_out // groups)
    return grouped.transpose(0, 1, 4, 3, 2).reshape(kh, kw, c_out // groups, groups * c_in)


def pad_spatial(x: Array, padding: Padding, fill: Array) -> Array:
    """`lax.pad` of the h and w axes of `[n, h, w, c]`."""
    return lax.pad(x, fill, ((0, 0, 0), *padding, (0, 0, 0)))


def windows(x: Array, kernel_hw: tuple[int, int], stride: int) -> list[Array]:
    """For each (kh, kw) in row-major order, the elements of padded `x` that it meets: `[n, oh, ow, c]` each."""
    kh, kw = kernel_hw
    n, h, w, c = x.shape
    oh, ow = (h - kh) // stride + 1, (w - kw) // stride + 1
    return [
        lax.slice(x, (0, i, j, 0), (n, i + (oh - 1) * stride + 1, j + (ow - 1) * stride + 1, c), (1, stride, stride, 1))
        for i in range(kh)
        for j in range(kw)
    ]


def wrap(acc: Int32[Array, "*s"], bits: int) -> Int32[Array, "*s"]:
    """The low `bits` of acc as two's complement (SPEC.md M2)."""
    unused = jnp.int32(32 - bits)
    return (acc << unused) >> unused


def saturating_add(acc: Array, product: Array, accumulator: Accumulator) -> Array:
    """acc + product clamped to the accumulator's range, without leaving int32."""
    up = jnp.minimum(acc, jnp.int32(accumulator.max) - product)
    down = jnp.maximum(acc, jnp.int32(accumulator.min) - product)
    return jnp.where(product > 0, up, down) + product


def _saturating(columns: Array, weight: Array, accumulator: Accumulator, tap: Tap) -> Array:
    """columns `[n, oh, ow, g, K]`, weight `[K, g, c_out/g]`: clamped after each product, K in order."""
    start = jnp.zeros((*columns.shape[:-1], weight.shape[-1]), jnp.int32)

    def step(acc: Array, term: tuple[Array, Array]) -> tuple[Array, Array | None]:
        x, w = term
        acc = saturating_add(acc, x[..., None] * w[None, None, None], accumulator)
        return acc, (acc.reshape(*acc.shape[:3], -1) if tap is not no_tap else None)

    terms = (jnp.moveaxis(columns, -1, 0).astype(jnp.int32), weight.astype(jnp.int32))
    acc, history = lax.scan(step, start, terms)
    if tap is not no_tap:
        tap("acc_running", history)
    return acc.reshape(*acc.shape[:3], -1)


def _group_columns(parts: list[Array], groups: int) -> Array:
    """Windows as `[n, oh, ow, g, K]`, K in the order kh, kw, c_in."""
    split = [p.reshape(*p.shape[:3], groups, -1) for p in parts]
    return jnp.concatenate(split, axis=-1)


def _exact(parts: list[Array], weight: Array, groups: int) -> Array:
    kh, kw, c_in, c_out = weight.shape
    if groups == 1:
        columns = jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
        flat = weight.reshape(kh * kw * c_in, c_out)
        return lax.dot_general(columns, flat, (((3,), (0,)), ((), ())), preferred_element_type=jnp.int32)
    if c_in == 1 and c_out == groups:  # depthwise: no reduction over channels, so no matrix product
        taps = weight.reshape(kh * kw, 1, 1, 1, c_out).astype(jnp.int32)
        acc = parts[0].astype(jnp.int32) * taps[0]
        for part, tap_weight in zip(parts[1:], taps[1:], strict=True):
            acc = acc + part.astype(jnp.int32) * tap_weight
        return acc
    columns = _group_columns(parts, groups)
    flat = weight.reshape(kh * kw * c_in, groups, c_out // groups)
    acc = lax.dot_general(columns, flat, (((4,), (0,)), ((3,), (1,))), preferred_element_type=jnp.int32)
    return jnp.moveaxis(acc, 0, 3).reshape(*parts[0].shape[:3], c_out)


def accumulate(
    code: Int[Array, "n h w c"],
    weight_code: Int[Array, "kh kw c_in c_out"],
    padding: Padding,
    stride: int,
    groups: int,
    accumulator: Accumulator,
    bound: int,
    tap: Tap = no_tap,
) -> Int32[Array, "n oh ow c_out"]:
    """The accumulator of M1 and M2. `bound` is its worst case; taps acc (and acc_running where it saturates)."""
    if code.dtype != jnp.int8:  # unsigned codes: up to 255, too wide for an int8 product
        narrow = jnp.int16
        code, weight_code = code.astype(narrow), weight_code.astype(narrow)
    kh, kw = weight_code.shape[:2]
    parts = windows(pad_spatial(code, padding, jnp.zeros((), code.dtype)), (kh, kw), stride)
    fits = bound <= accumulator.max
    if not fits and accumulator.overflow is AccOverflow.SATURATE:
        flat = weight_code.reshape(-1, groups, weight_code.shape[3] // groups)
        acc = _saturating(_group_columns(parts, groups), flat, accumulator, tap)
    else:
        acc = _exact(parts, weight_code, groups)
        if not fits and accumulator.overflow is AccOverflow.WRAP:
            acc = wrap(acc, accumulator.bits)
    tap("acc", acc)
    return acc
