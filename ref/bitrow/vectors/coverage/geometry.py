"""Windows of convolutions and pools over integer arrays, for the proofs of coverage (SPEC.md C1, C2, A2).

Standard library and numpy only; int64 throughout, so that no sum of codes overflows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bitrow.config import ConvConfig, MaxPoolConfig, output_size
from bitrow.formats import FP16
from bitrow.vectors.coverage import exact
from bitrow.vectors.coverage.exact import Exact


def conv_sum(config: ConvConfig, x_code: np.ndarray, weight_code: np.ndarray) -> np.ndarray:
    """Exact sums of M1 as int64 `[n, oh, ow, c_out]`, whatever the register would make of them."""
    pad, stride, groups = config.padding, config.stride, config.groups
    kh, kw, c_group, c_out = weight_code.shape
    x = np.pad(x_code.astype(np.int64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    oh, ow = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    weight = weight_code.astype(np.int64).reshape(kh, kw, c_group, groups, c_out // groups)
    total = np.zeros((x.shape[0], oh, ow, groups, c_out // groups), np.int64)
    for a in range(kh):
        for b in range(kw):
            part = x[:, a : a + (oh - 1) * stride + 1 : stride, b : b + (ow - 1) * stride + 1 : stride]
            part = part.reshape(*part.shape[:3], groups, c_group)
            total += np.einsum("nhwgc,cgo->nhwgo", part, weight[a, b])
    return total.reshape(*total.shape[:3], c_out)


def dilate(config: ConvConfig, dy: np.ndarray, kernel: tuple[int, int], hw: tuple[int, int]) -> np.ndarray:
    """`dy` spread by the stride so that `dx[h, w]` reads rows h..h+kh-1 and columns w..w+kw-1; zeros
    elsewhere."""
    n, oh, ow, c_out = dy.shape
    shape = [size + k - 1 for size, k in zip(hw, kernel, strict=True)]
    out = np.zeros((n, *shape, c_out), dy.dtype)
    rows = np.arange(oh) * config.stride + kernel[0] - 1 - config.padding
    columns = np.arange(ow) * config.stride + kernel[1] - 1 - config.padding
    r, c = ((p >= 0) & (p < size) for p, size in zip((rows, columns), shape, strict=True))
    out[:, rows[r][:, None], columns[c][None, :]] = dy[:, r][:, :, c]
    return out


def gradient_sum(config: ConvConfig, dy_code: np.ndarray, weight_code: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Exact sums of C2 as int64 `[n, h, w, c_in]`."""
    kh, kw, c_group, c_out = weight_code.shape
    groups = config.groups
    spread = dilate(config, dy_code.astype(np.int64), (kh, kw), hw)
    weight = weight_code.astype(np.int64).reshape(kh, kw, c_group, groups, c_out // groups)
    total = np.zeros((dy_code.shape[0], *hw, groups, c_group), np.int64)
    for a in range(kh):
        for b in range(kw):
            part = spread[:, a : a + hw[0], b : b + hw[1]].reshape(*total.shape[:3], groups, c_out // groups)
            total += np.einsum("nhwgo,cgo->nhwgc", part, weight[kh - 1 - a, kw - 1 - b])
    return total.reshape(*total.shape[:3], groups * c_group)


def gradient_terms(config: ConvConfig, dy: np.ndarray, weight_code: np.ndarray, hw: tuple[int, int]) -> Exact:
    """Exact products of C3, `[K, n, h, w, c_in]` in C2's order; a skipped product is a zero."""
    kh, kw, c_group, c_out = weight_code.shape
    groups, per_group = config.groups, c_out // config.groups
    spread = dilate(config, dy, (kh, kw), hw)
    group = np.arange(c_group * groups) // c_group
    within = np.arange(c_group * groups) % c_group
    parts = []
    for a in range(kh):
        for b in range(kw):
            for j in range(per_group):
                operand = spread[:, a : a + hw[0], b : b + hw[1], group * per_group + j]
                code = weight_code[kh - 1 - a, kw - 1 - b, within, group * per_group + j]
                value = exact.decode(operand, FP16, config.mode.flush)
                parts.append(exact.mul(value, exact.integer(code)))
    shape = parts[0].sig.shape
    return Exact(*(np.stack([np.broadcast_to(getattr(p, f), shape) for p in parts]) for f in Exact._fields))


class Windows(NamedTuple):
    """Words of each window element, `[kernel*kernel, n, oh, ow, c]`, and where they lie inside the map."""

    words: np.ndarray
    inside: np.ndarray


def pool_windows(config: MaxPoolConfig, x: np.ndarray) -> Windows:
    """The windows of a max pool, elements in row-major order."""
    k, stride, pad = config.kernel, config.stride, config.padding
    oh, ow = (output_size(size, k, stride, pad) for size in x.shape[1:3])
    edges = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    padded, inside = np.pad(x, edges), np.pad(np.ones(x.shape, bool), edges)
    slices = [
        (
            slice(None),
            slice(a, a + (oh - 1) * stride + 1, stride),
            slice(b, b + (ow - 1) * stride + 1, stride),
        )
        for a in range(k)
        for b in range(k)
    ]
    return Windows(np.stack([padded[s] for s in slices]), np.stack([inside[s] for s in slices]))


class Winners(NamedTuple):
    """The dy words on their way to one window element each, `[n, h, w, c]` of the input; `hit` says where."""

    hit: np.ndarray
    dy: np.ndarray


def winners(config: MaxPoolConfig, index: np.ndarray, dy: np.ndarray, hw: tuple[int, int]) -> Iterator[Winners]:
    """What each input wins, window by window in row-major order (SPEC.md A2)."""
    n, oh, ow, c = dy.shape
    k, stride, pad = config.kernel, config.stride, config.padding
    size = (n, hw[0] + 2 * pad + k, hw[1] + 2 * pad + k, c)
    span = (slice(None), slice(pad, pad + hw[0]), slice(pad, pad + hw[1]))
    # an input meets its windows in row-major order when their elements come last first
    for a in reversed(range(k)):
        for b in reversed(range(k)):
            rows = slice(a, a + (oh - 1) * stride + 1, stride)
            where = (slice(None), rows, slice(b, b + (ow - 1) * stride + 1, stride))
            hit, words = np.zeros(size, bool), np.zeros(size, dy.dtype)
            hit[where] = index == a * k + b
            words[where] = np.where(hit[where], dy, 0)
            yield Winners(hit[span], words[span])
