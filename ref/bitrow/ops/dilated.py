"""Convolution of a dilated map without its zeros: the input gradient of a strided convolution (SPEC.md C2, M1).

Outputs that lie the same distance past a multiple of the stride meet the same taps of the kernel, and only those
meet words that are not dilation's zeros. So every such phase is a small convolution of the map itself, and the phases
are put back in turn. Leaving out zeros changes no exact sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Int32, Integer

from bitrow.doors import guard
from bitrow.ops import meshes

Axis = tuple[int, int, int]  # (low, high, interior), as lax.pad


class _Phase(NamedTuple):
    """Along one axis: the first tap, how many, and the padding of the map that puts its first output at 0."""

    first: int
    taps: int
    low: int
    high: int


def applies(padding: tuple[Axis, Axis]) -> bool:
    """Both axes are dilated alike, and padded by no negative number."""
    return padding[0][2] == padding[1][2] > 0 and min(padding[0][:2] + padding[1][:2]) >= 0


def convolve(
    code: Integer[Array, "n h w c"],
    weight: Integer[Array, "kh kw c c_out"],
    padding: tuple[Axis, Axis],
    product: Callable[[Array, Array], Array],
) -> Int32[Array, "n oh ow c_out"]:
    """Exact accumulators of stride 1. `product(padded, weight)`: those of an undilated map padded already."""
    stride = padding[0][2] + 1
    axes = zip(code.shape[1:3], weight.shape[:2], padding, strict=True)
    sizes = [(size - 1) * stride + 1 + low + high - kernel + 1 for size, kernel, (low, high, _) in axes]
    rows, columns = (-(-size // stride) for size in sizes)

    def phase(row: int, column: int) -> Array:
        down = _phase(row, stride, padding[0][0], weight.shape[0], code.shape[1], rows)
        right = _phase(column, stride, padding[1][0], weight.shape[1], code.shape[2], columns)
        if not down.taps or not right.taps:
            nothing = jnp.zeros_like(code[:, :1, :1, :1], jnp.int32)  # split over a mesh as the code is
            return jnp.broadcast_to(nothing, (code.shape[0], rows, columns, weight.shape[3]))
        edges = (0, 0, 0), (down.low, down.high, 0), (right.low, right.high, 0), (0, 0, 0)
        taps = weight[down.first :: stride, right.first :: stride]
        return product(lax.pad(code, jnp.zeros((), code.dtype), edges), taps)

    found = [jnp.stack([phase(row, column) for column in range(stride)], axis=3) for row in range(stride)]
    shape = code.shape[0], rows * stride, columns * stride, weight.shape[3]
    whole = meshes.reshape(jnp.stack(found, axis=2), shape)
    return whole[:, : sizes[0], : sizes[1]]


def _phase(offset: int, stride: int, low: int, kernel: int, size: int, count: int) -> _Phase:
    """Output `offset + stride*q` meets element `q + before + t` of the map at tap `first + stride*t`."""
    first = (low - offset) % stride
    taps = len(range(first, kernel, stride))
    before = (offset + first - low) // stride
    return _Phase(first, taps, -before, count + before + taps - 1 - size)


guard(__name__)
