"""Multiply-accumulate of integer codes: convolution as gathered windows times a matrix (SPEC.md M).

Sums are exact int32 (modulo 2^32 where the accumulator wraps), so their order is free, except in the
`saturate` model, which clamps after every product. Exactness also allows Winograd's F(4, 3) along w for kernels three
wide: four outputs take six products instead of twelve, and integers lose nothing by it (claim `fxp.four_by_three`).
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Int8, Int32, Integer, Shaped

from bitrow.config.windows import Window, Windows
from bitrow.doors import guard
from bitrow.formats import AccOverflow, Accumulator
from bitrow.ops import dilated
from bitrow.ops.dtypes import Code
from bitrow.ops.once import once
from bitrow.ops.tap import Tap, no_tap

Padding = tuple[tuple[int, int, int], tuple[int, int, int]]  # (low, high, interior) for h and w, as lax.pad


class Places(NamedTuple):
    """Where a kernel meets a map: how the map is padded and spread, and the steps from one window to the next
    (`stride`) and inside a window (`dilation`), for h and w."""

    padding: Padding
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    @property
    def dense(self) -> bool:
        """Windows lie at every place, and read every position."""
        return self.stride == self.dilation == (1, 1)


NO_PADDING: Padding = ((0, 0, 0), (0, 0, 0))


def forward_places(windows: Windows) -> Places:
    """Those of SPEC.md C1."""
    down, across = windows
    padding = (down.before, down.after, 0), (across.before, across.after, 0)
    return Places(padding, (down.stride, across.stride), (down.dilation, across.dilation))


def gradient_places(windows: Windows, dy_hw: tuple[int, ...], dx_hw: tuple[int, ...]) -> Places:
    """Padding and zeros inside dy that make the input gradient a convolution of stride 1 (SPEC.md C2)."""

    def axis(window: Window, dy: int, dx: int) -> tuple[int, int, int]:
        low = window.extent - 1 - window.before
        return low, dx + window.extent - 2 - low - (dy - 1) * window.stride, window.stride - 1

    down, across = windows
    padding = axis(down, dy_hw[0], dx_hw[0]), axis(across, dy_hw[1], dx_hw[1])
    return Places(padding, (1, 1), (down.dilation, across.dilation))


def rotate(weight: Code[Array, "kh kw c_in c_out"], groups: int) -> Array:
    """Kernel of the input gradient: rotated in (kh, kw), channels swapped inside each group (SPEC.md C2)."""
    return swap(weight[::-1, ::-1], groups)


def swap(weight: Code[Array, "kh kw c_in c_out"], groups: int) -> Array:
    """Channels swapped inside each group, `[kh, kw, c_out/groups, c_in]`; twice, the weights themselves."""
    kh, kw, c_in, c_out = weight.shape
    grouped = weight.reshape(kh, kw, c_in, groups, c_out // groups)
    return grouped.transpose(0, 1, 4, 3, 2).reshape(kh, kw, c_out // groups, groups * c_in)


def pad_spatial(x: Shaped[Array, "n h w c"], padding: Padding, fill: Shaped[Array, ""]) -> Array:
    """`lax.pad` of the h and w axes of `[n, h, w, c]`."""
    return lax.pad(x, fill, ((0, 0, 0), *padding, (0, 0, 0)))


def windows(
    x: Shaped[Array, "n h w c"], kernel_hw: tuple[int, ...], stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> list[Array]:
    """For each (kh, kw) in row-major order, the elements of padded `x` that it meets: `[n, oh, ow, c]` each."""
    n, h, w, c = x.shape
    (kh, kw), (down, across), (apart, aside) = kernel_hw, stride, dilation
    last = (h - (kh - 1) * apart - 1) // down * down, (w - (kw - 1) * aside - 1) // across * across
    return [
        lax.slice(x, (0, i, j, 0), (n, i + last[0] + 1, j + last[1] + 1, c), (1, down, across, 1))
        for i in range(0, kh * apart, apart)
        for j in range(0, kw * aside, aside)
    ]


def wrap(acc: Int32[Array, "*s"], bits: int) -> Int32[Array, "*s"]:
    """The low `bits` of acc as two's complement (SPEC.md M2)."""
    return sign_extended(acc, jnp.int32(32 - bits))


def sign_extended(acc: Int32[Array, "*s"], unused: Int32[Array, ""]) -> Int32[Array, "*s"]:
    """acc without its `unused` highest bits, 0 to 31, as two's complement."""
    return (acc << unused) >> unused


def saturating_add(
    acc: Int32[Array, "*#s"], product: Int32[Array, "*#s"], accumulator: Accumulator
) -> Int32[Array, "*s"]:
    """acc + product clamped to the accumulator's range, without leaving int32."""
    return clamped_add(acc, product, jnp.int32(accumulator.min), jnp.int32(accumulator.max))


def clamped_add(
    acc: Int32[Array, "*#s"], product: Int32[Array, "*#s"], low: Int32[Array, ""], high: Int32[Array, ""]
) -> Int32[Array, "*s"]:
    """acc + product clamped to a range that holds acc, without leaving int32."""
    up = jnp.minimum(acc, high - product)
    down = jnp.maximum(acc, low - product)
    return jnp.where(product > 0, up, down) + product


def _saturating(columns: Array, weight: Array, accumulator: Accumulator, tap: Tap) -> Array:
    """columns `[n, oh, ow, g, K]`, weight `[K, g, c_out/g]`: clamped after each product, K in order."""
    c_out = weight.shape[1] * weight.shape[2]

    def step(acc: Array, term: tuple[Array, Array]) -> tuple[Array, Any]:
        x, w = term
        acc = saturating_add(acc, x[..., None] * w[None, None, None], accumulator)
        return acc, (acc.reshape(*acc.shape[:3], c_out) if tap is not no_tap else None)

    terms = (jnp.moveaxis(columns, -1, 0).astype(jnp.int32), weight.astype(jnp.int32))
    start = jnp.zeros_like(terms[0][0][..., None] * terms[1][0][None, None, None])  # it lies where the sums do
    acc, history = lax.scan(step, start, terms)
    if tap is not no_tap:
        tap("acc_running", history)
    return acc.reshape(*acc.shape[:3], c_out)


def _group_columns(parts: list[Array], groups: int) -> Array:
    """Windows as `[n, oh, ow, g, K]`, K in the order kh, kw, c_in."""
    split = [p.reshape(*p.shape[:3], groups, p.shape[3] // groups) for p in parts]
    return jnp.concatenate(split, axis=-1)


class Kernel(NamedTuple):
    """Weights made ready: as they are, `[kh, kw, k_in, k_out]`, and in the form of the product to be used, or None.

    `three_wide`: for F(4, 3), `[6, kh*k_in, k_out]`. For single rows: `by_input`, `[kw*kh*k_in, k_out]`, or
    `by_output`, its transpose.
    """

    weight: Code[Array, "kh kw k_in k_out"]
    three_wide: Int8[Array, "6 k k_out"] | None
    by_input: Code[Array, "k k_out"] | None = None
    by_output: Code[Array, "k_out k"] | None = None


def prepare(
    weight_code: Code[Array, "kh kw c_in c_out"], dense: bool, groups: int, magnitudes: tuple[int, int], bound: int
) -> Kernel:
    """Transform the weights once where F(4, 3) applies: dense windows, no groups, transformed codes that fit int8.

    `dense`: the `Places` are; `magnitudes`: the largest |code| and |weight_code|; `bound`: the worst-case |acc|, which
    must fit int32 24 times.
    """
    if not (dense and _three_wide_applies(weight_code.shape, groups, magnitudes, bound)):
        return Kernel(weight_code, None)
    six = _transform(weight_code[:, 0], weight_code[:, 1], weight_code[:, 2])
    return Kernel(weight_code, six.reshape(6, -1, weight_code.shape[3]))


def prepare_gradient(
    weight_code: Code[Array, "kh kw c_in c_out"], dense: bool, groups: int, magnitudes: tuple[int, int], bound: int
) -> Kernel:
    """`prepare` for the rotated weights. Transformed before they are rotated: XLA fuses the two the other way
    round into code that LLVM takes seconds to compile at 32 channels."""
    rotated = rotate(weight_code, groups)
    if not (dense and _three_wide_applies(rotated.shape, groups, magnitudes, bound)):
        return Kernel(rotated, None)
    six = _transform(weight_code[:, 2], weight_code[:, 1], weight_code[:, 0])
    return Kernel(rotated, six[:, ::-1].transpose(0, 1, 3, 2).reshape(6, -1, rotated.shape[3]))


# F(4, 3): output column r is, 24 times, the sum over i of OF_PRODUCTS[r][i] * (OF_CODES[i] . six columns of codes) *
# (OF_WEIGHTS[i] . the kernel's three columns).
OF_CODES = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1))  # fmt: skip
OF_WEIGHTS = ((1, 0, 0), (1, 1, 1), (1, -1, 1), (1, 2, 4), (1, -2, 4), (0, 0, 1))
OF_PRODUCTS = ((6, -4, -4, 1, 1, 0), (0, -4, 4, 2, -2, 0), (0, -4, -4, 4, 4, 0), (0, -4, 4, 8, -8, 24))
_TIMES = 24  # 2^3 * 3
_THIRD = -1431655765  # 3 * _THIRD is 1 modulo 2^32


def reach(matrix: tuple[tuple[int, ...], ...]) -> int:
    """The largest |result| of a transform of terms up to 1."""
    return max(sum(map(abs, row)) for row in matrix)


def three_wide_fits(magnitudes: tuple[int, int], bound: int) -> bool:
    """Transformed codes and weights fit int8, and 24 times the accumulator int32; so do the products' sums."""
    codes, weights = reach(OF_CODES) * magnitudes[0], reach(OF_WEIGHTS) * magnitudes[1]
    return max(codes, weights) <= 127 and _TIMES * bound < 1 << 31


def _three_wide_applies(shape: tuple[int, ...], groups: int, magnitudes: tuple[int, int], bound: int) -> bool:
    return shape[1] == 3 and groups == 1 and three_wide_fits(magnitudes, bound)


def _weighted(row: tuple[int, ...], terms: Sequence[Array]) -> Array:
    """Sum of integer terms times the row's numbers, in their own type."""
    pairs = [(times, term) for times, term in zip(row, terms, strict=True) if times]
    return functools.reduce(operator.add, (term * term.dtype.type(times) for times, term in pairs))


def _transform(*columns: Integer[Array, "kh c_in c_out"]) -> Int8[Array, "6 kh c_in c_out"]:
    """Weights of F(4, 3) from the kernel's three columns."""
    return jnp.stack([_weighted(row, [column.astype(jnp.int8) for column in columns]) for row in OF_WEIGHTS])


_FEW_WIDE = 2  # outputs side by side that take no fewer products by F(4, 3)
_FEW_COLUMNS = 48  # for fewer, packing weights by input channels takes longer than the products


def prepare_row(weight_code: Code[Array, "kh kw c_in c_out"], groups: int, columns: int) -> Kernel:
    """Lay the weights out for a row of `columns` at a time; by output channels they need no packing."""
    if groups != 1:
        return Kernel(weight_code, None)
    by_input = weight_code.transpose(1, 0, 2, 3).reshape(-1, weight_code.shape[3])
    if columns < _FEW_COLUMNS:
        return Kernel(weight_code, None, None, by_input.T)
    return Kernel(weight_code, None, by_input)


def _dot(columns: Array, weight: Array) -> Array:
    contract = (((columns.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(columns, weight, contract, preferred_element_type=jnp.int32)


def _dots(columns: Array, weights: Array) -> Array:
    """A product for each of the first axis."""
    contract = (((2,), (1,)), ((0,), (0,)))
    return lax.dot_general(columns, weights, contract, preferred_element_type=jnp.int32)


def _three_wide(padded: Array, six: Array, kh: int) -> Array:
    """Columns 4t to 4t+3 of the output from columns 4t to 4t+5 of the input, by F(4, 3) with transformed weights."""
    n, h, w, c = padded.shape
    oh, ow = h - kh + 1, w - 2
    turns = -(-ow // 4)
    padded = once(jnp.pad(padded, ((0, 0), (0, 0), (0, 4 * turns + 4 - w), (0, 0))))
    fours = padded.reshape(n, h, turns + 1, 4, c)
    met = [fours[:, :, place // 4 : turns + place // 4, place % 4] for place in range(6)]
    parts = jnp.stack([_weighted(row, met) for row in OF_CODES])
    columns = jnp.concatenate([parts[:, :, k : k + oh] for k in range(kh)], axis=-1)
    products = _dots(columns.reshape(6, n * oh * turns, kh * c), six).reshape(6, n, oh, turns, 1, six.shape[2])
    # One sum whose numbers differ by column, not a stack of four sums: what reads it stands in one loop.
    shape = n, oh, turns, 4, six.shape[2]
    factors = [jnp.array(factor, jnp.int32).reshape(4, 1) for factor in zip(*OF_PRODUCTS, strict=True)]
    terms = [jnp.broadcast_to(m, shape) * jnp.broadcast_to(f, shape) for m, f in zip(products, factors, strict=True)]
    acc = (functools.reduce(operator.add, terms) >> 3) * jnp.int32(_THIRD)
    return acc.reshape(n, oh, 4 * turns, shape[4])[:, :, :ow]


def _row(padded: Array, kernel: Kernel, places: Places) -> Array:
    """The one row of a slab of kh rows: few large copies into one matrix."""
    kh, kw, _, _ = kernel.weight.shape
    side_by_side = jnp.concatenate([padded[:, k : k + 1] for k in range(kh)], axis=-1)
    columns = jnp.concatenate(windows(side_by_side, (1, kw), places.stride, places.dilation), axis=-1)
    flat = columns.reshape(math.prod(columns.shape[:3]), columns.shape[-1])
    if kernel.by_input is not None:
        acc = _dot(flat, kernel.by_input)
    else:
        assert kernel.by_output is not None
        acc = lax.dot_general(flat, kernel.by_output, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)
    return acc.reshape(*columns.shape[:3], acc.shape[-1])


def _exact(parts: list[Array], weight: Array, groups: int) -> Array:
    kh, kw, c_in, c_out = weight.shape
    if groups == 1:
        columns = jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
        return _dot(columns, weight.reshape(kh * kw * c_in, c_out))
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


def _undilated(padded: Array, weight: Array) -> Array:
    return _exact(windows(padded, weight.shape[:2]), weight, 1)


def accumulate(
    code: Code[Array, "n h w c"],
    kernel: Kernel,
    places: Places,
    accumulator: Accumulator,
    bound: int,
    tap: Tap = no_tap,
) -> Int32[Array, "n oh ow c_out"]:
    """The accumulator of M1 and M2, in as many groups as `code` has channels for the kernel's.

    `bound` is its worst case; taps acc (and acc_running where it saturates).
    """
    weight_code = kernel.weight
    groups = code.shape[3] // weight_code.shape[2]
    if code.dtype != jnp.int8:  # unsigned codes: up to 255, too wide for an int8 product
        code, weight_code = code.astype(jnp.int16), weight_code.astype(jnp.int16)
    kernel_hw = weight_code.shape[:2]
    of_rows = kernel.by_input is not None or kernel.by_output is not None
    # Stored, else every place of the kernel quantizes anew; codes of rows are stored already.
    store = (lambda codes: codes) if kernel_hw == (1, 1) or of_rows else once
    fits = bound <= accumulator.max
    if dilated.applies(places.padding) and places.dense and groups == 1 and fits:
        acc = dilated.convolve(store(code), weight_code, places.padding, _undilated)
        tap("acc", acc)
        return acc
    padded = pad_spatial(code, places.padding, jnp.zeros((), code.dtype))
    three_wide = kernel.three_wide is not None and code.dtype == jnp.int8 and padded.shape[2] - 2 > _FEW_WIDE
    if not three_wide:  # which stores them with more padding
        padded = store(padded)
    met = functools.partial(windows, padded, kernel_hw, places.stride, places.dilation)
    if not fits and accumulator.overflow is AccOverflow.SATURATE:
        flat = weight_code.reshape(-1, groups, weight_code.shape[3] // groups)
        columns = _group_columns(met(), groups)
        acc = _saturating(columns, flat, accumulator, tap)
    elif three_wide:
        assert kernel.three_wide is not None
        acc = _three_wide(padded, kernel.three_wide, kernel_hw[0])
    elif of_rows and code.dtype == jnp.int8:
        acc = _row(padded, kernel, places)
    else:
        acc = _exact(met(), weight_code, groups)
    if not fits and accumulator.overflow is AccOverflow.WRAP:
        acc = wrap(acc, accumulator.bits)
    tap("acc", acc)
    return acc


guard(__name__)
