"""What the host computes beside the accelerator, in a stated order, so that its bits are fixed, too.

The operands are FP16, so every product is exact in float32. Sums over a batch are pairwise trees over its images: the
halves of a batch are its subtrees, so that a batch split over 2^k devices adds up to the same bits (SPEC.md B2 has the
tree). Gradients of the trainable parameters are float32 and the host's (SPEC.md A4, C4).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float16, Float32

from bitrow.formats import FloatMode
from bitrow.layers import residual
from bitrow.ops import fp16, reduce
from bitrow.ops.once import once

_AT_ONCE = 8  # positions of an image that are added in one step of the loop over them
_UNROLLED = 8  # inputs of a pointwise layer that are added in one piece of the program
_WHOLE = 64  # inputs up to which a pointwise layer with few outputs is one piece
_FROM_FIRST = 32  # up to so many, a sum begins with its first term, and may be -0


def tree_sum(x: Float32[Array, "..."], axes: Sequence[int]) -> Float32[Array, "..."]:
    """Pairwise trees over `axes`, one after another; the axes are dropped."""
    for axis in sorted(axes, reverse=True):
        x = reduce.tree(x, axis, lambda a, b: a + b)
    return x


def channel_sum(x: Float16[Array, "n h w c"]) -> Float32[Array, " c"]:
    """Sum over w, then h, then n, by pairwise trees."""
    return tree_sum(fp16.widen(x), (0, 1, 2))


def outer_sum(x: Float16[Array, "n *s c"], dy: Float16[Array, "n *s r"]) -> Float32[Array, "c r"]:
    """Sum of x[c] * dy[r]: over an image's positions one after another, over the images by a pairwise tree."""
    n, c, r = x.shape[0], x.shape[-1], dy.shape[-1]
    left, right = _apart(x).reshape(n, -1, c), _apart(dy).reshape(n, -1, r)
    count = left.shape[1]
    each = max(size for size in range(1, _AT_ONCE + 1) if count % size == 0)

    def step(turn: Array, total: Array) -> Array:
        for at in range(each):
            place = turn.astype(jnp.uint32) * jnp.uint32(each) + jnp.uint32(at)
            a, b = (lax.dynamic_index_in_dim(v, place, 1, False) for v in (left, right))
            total = total + fp16.product(a[:, :, None], b[:, None, :])
        return total

    zeros = jnp.broadcast_to(reduce.opaque(jnp.zeros((), jnp.float32)), (n, c, r))
    return tree_sum(lax.fori_loop(0, count // each, step, zeros), (0,))


def _apart(x: Float16[Array, "*s"]) -> Float32[Array, "*s"]:
    """x as float32, made once: XLA would fuse all that x is made of into each of its readers, every term again."""
    return once(fp16.widen(x))


def _mix(x: Float16[Array, "*s c"], weight: Float16[Array, "c r"]) -> Float16[Array, "*s r"]:
    """x times weight over c: FP32 sums in the order of c, from +0 where c is over 32, and one rounding to FP16."""
    c, r = weight.shape
    if r < c <= _WHOLE and r <= x.shape[-2]:
        # A row's columns lie side by side, not its few outputs: more of them fit a vector.
        x = once(jnp.swapaxes(x, -1, -2))
        return jnp.swapaxes(_sum(fp16.widen(x), weight, -2, c), -1, -2)
    return _sum(_apart(x), weight, -1, _UNROLLED)


def _sum(x: Float32[Array, "..."], weight: Float16[Array, "c r"], axis: int, unrolled: int) -> Float16[Array, "..."]:
    """`_mix` over `axis` of x, where r is in the result; so many terms in one piece of the program."""
    c, r = weight.shape
    axis, factors = x.ndim + axis, fp16.widen(weight)
    shape = (*x.shape[:axis], r, *x.shape[axis + 1 :])
    head = (c - 1) % unrolled + 1
    start = reduce.opaque(jnp.zeros(shape, jnp.float32)) if c > _FROM_FIRST else None
    total = _chain(lax.slice_in_dim(x, 0, head, axis=axis), factors[:head], start, axis)
    if c > head:
        rest = lax.slice_in_dim(x, head, c, axis=axis)
        pieces = jnp.moveaxis(rest.reshape(*x.shape[:axis], -1, unrolled, *x.shape[axis + 1 :]), axis, 0)
        each = pieces, factors[head:].reshape(-1, unrolled, r)
        total, _ = lax.scan(lambda total, piece: (_chain(*piece, total, axis), None), total, each)
    return once(fp16.round_once(total))


def _chain(x: Array, factors: Array, total: Array | None, axis: int) -> Array:
    """total + the sum over `axis` of x times factors f32[c, r], term by term."""
    shape = [-1 if place == axis else 1 for place in range(x.ndim)]
    for c in range(x.shape[axis]):
        term = fp16.product(lax.slice_in_dim(x, c, c + 1, axis=axis), factors[c].reshape(shape))
        total = term if total is None else total + term
    assert total is not None
    return total


def half(value: Float32[Array, "*s"]) -> Float16[Array, "*s"]:
    """The FP16 number that stands for a float32 master value: nearest, ties to even."""
    return fp16.round_once(value)


def as_half(x: Array) -> Float16[Array, "*s"]:
    """What the accelerator reads of a host's float32 x; its gradient is that of the rounded numbers."""
    return x if x.dtype == jnp.float16 else _rounded(x.astype(jnp.float32))


@jax.custom_vjp
def _rounded(x: Float32[Array, "*s"]) -> Float16[Array, "*s"]:
    return half(x)


_rounded.defvjp(lambda x: (half(x), None), lambda saved, dy: (fp16.widen(dy),))


@jax.custom_vjp
def pointwise(x: Float16[Array, "n h w c"], weight: Float32[Array, "c r"]) -> Float16[Array, "n h w r"]:
    """A 1x1 convolution of FP16 values with the FP16 roundings of trainable weights."""
    return _mix(x, half(weight))


def _pointwise_forward(x: Array, weight: Array) -> tuple[Array, tuple[Array, Array]]:
    rounded = half(weight)
    return _mix(x, rounded), (x, rounded)


def _pointwise_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, rounded = saved
    return _mix(dy, rounded.T), outer_sum(x, dy)


pointwise.defvjp(_pointwise_forward, _pointwise_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def upsample(x: Float16[Array, "n h w c"], size: tuple[int, int]) -> Float16[Array, "n oh ow c"]:
    """Every element repeated to fill `size`; +0 in the rows and columns that are left over."""
    (h, w), (rows, columns) = x.shape[1:3], size
    x = jnp.repeat(jnp.repeat(x, rows // h, axis=1), columns // w, axis=2)
    return lax.pad(x, jnp.float16(0), ((0, 0, 0), (0, rows % h, 0), (0, columns % w, 0), (0, 0, 0)))


def _upsample_forward(x: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    return upsample(x, size), jnp.zeros((0, *x.shape[1:3]))


def _upsample_backward(size: tuple[int, int], shape: Array, dy: Array) -> tuple[Array]:
    (_, h, w), (rows, columns) = shape.shape, size
    dy = fp16.widen(dy[:, : rows // h * h, : columns // w * w])
    blocks = dy.reshape(dy.shape[0], h, rows // h, w, columns // w, dy.shape[3])
    return (fp16.round_once(tree_sum(blocks, (2, 4))),)


upsample.defvjp(_upsample_forward, _upsample_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def copies(
    mode: FloatMode, count: int, stored: bool, x: Float16[Array, "*s"]
) -> tuple[Float16[Array, "*s"], ...]:
    """x for each of `count` readers; their gradients are added by `fp16_add`, the last reader's first (SPEC.md A5).

    `stored`: x lies in memory, and no reader computes it anew.
    """
    return (x if stored else once(x),) * count


def _copies_forward(mode: FloatMode, count: int, stored: bool, x: Array) -> tuple[tuple[Array, ...], None]:
    return copies(mode, count, stored, x), None


def _copies_backward(
    mode: FloatMode, count: int, stored: bool, saved: None, dys: tuple[Array, ...]
) -> tuple[Array]:
    return (once(residual.accumulate(dys[::-1], mode)),)


copies.defvjp(_copies_forward, _copies_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def per_image(count: int, value: Float32[Array, "*s"]) -> Float16[Array, "n *s"]:
    """The FP16 rounding of a master value for each of `count` images; its gradient is a tree over them."""
    return jnp.broadcast_to(half(value), (count, *value.shape))


def _per_image_forward(count: int, value: Array) -> tuple[Array, None]:
    return per_image(count, value), None


def _per_image_backward(count: int, saved: None, dy: Array) -> tuple[Array]:
    return (tree_sum(fp16.widen(dy), (0,)),)


per_image.defvjp(_per_image_forward, _per_image_backward)
