"""Max and average pools (SPEC.md A2, A3)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float16, UInt8

from bitrow.config import AvgPoolConfig, MaxPoolConfig
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32
from bitrow.ops import fp16, softfloat
from bitrow.ops.mac import forward_padding, pad_spatial, windows
from bitrow.ops.reduce import fp32_add, running, tree
from bitrow.ops.tap import Tap, no_tap

_PADDING_KEY = -0x8000  # below every number's key
_NAN_KEY = 0x7FFF


def _order_key(x: Array) -> Array:
    """int32 that orders FP16 as A2 does: NaN highest, -0 equal to +0."""
    word = fp16.bits(x).astype(jnp.int32)
    magnitude = word & 0x7FFF
    key = jnp.where(word > 0x7FFF, -magnitude, magnitude)
    return jnp.where(magnitude > FP16.infinity_bits, _NAN_KEY, key)


def max_forward(
    config: MaxPoolConfig, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> tuple[Float16[Array, "n oh ow c"], UInt8[Array, "n oh ow c"]]:
    """The first maximum of each window, and its place in it, kh*kernel + kw. Taps y, index.

    Raises:
        BitrowError: a map smaller than the window, or a kernel above 16 (its index has 8 bits).
    """
    _check_window(config.kernel, x.shape, config.padding)
    if config.kernel > 16:
        raise BitrowError(f"max pool kernel: found {config.kernel}, expected at most 16")
    padding, size = forward_padding(config.padding), (config.kernel, config.kernel)
    values = windows(pad_spatial(fp16.canonical(x), padding, jnp.float16(0)), size, config.stride)
    keys = windows(pad_spatial(_order_key(x), padding, jnp.int32(_PADDING_KEY)), size, config.stride)
    best, y, index = keys[0], values[0], jnp.zeros(keys[0].shape, jnp.uint8)
    for place in range(1, len(keys)):
        better = keys[place] > best
        best = jnp.where(better, keys[place], best)
        y = jnp.where(better, values[place], y)
        index = jnp.where(better, jnp.uint8(place), index)
    tap("y", y)
    tap("index", index)
    return y, index


def _check_window(kernel: int, shape: tuple[int, ...], padding: int) -> None:
    if min(shape[1], shape[2]) + 2 * padding < kernel:
        raise BitrowError(
            f"pool input: found {shape[1]}x{shape[2]} with padding {padding}, expected at least {kernel}x{kernel}"
        )


def max_backward(
    config: MaxPoolConfig,
    index: UInt8[Array, "n oh ow c"],
    dy: Float16[Array, "n oh ow c"],
    input_hw: tuple[int, int],
    tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """Each dy to its window's winner; several windows' dy are added in row-major order. Tap dx."""
    n, oh, ow, c = dy.shape
    dx = jnp.zeros((n, *input_hw, c), jnp.float16)

    def place(array: Array, kh: int, kw: int, fill: Array) -> Array:
        """Window (i, j)'s word at input row i*S - P + kh, column j*S - P + kw."""
        low = (kh - config.padding, kw - config.padding)
        high = [
            size - first - (count - 1) * config.stride - 1
            for size, first, count in zip(input_hw, low, (oh, ow), strict=True)
        ]
        step = config.stride - 1
        return pad_spatial(array, ((low[0], high[0], step), (low[1], high[1], step)), fill)

    # An input's windows in row-major order meet it at descending (kh, kw). The first dy is taken, not added to +0.
    seen = jnp.zeros(dx.shape, bool)
    for at in reversed(range(config.kernel * config.kernel)):
        kh, kw = divmod(at, config.kernel)
        won = place(index == at, kh, kw, jnp.bool_(False))
        gradient = place(dy, kh, kw, jnp.float16(0))
        more = jnp.where(seen, fp16.add(dx, gradient, config.mode), fp16.canonical(gradient))
        dx = jnp.where(won, more, dx)
        seen = seen | won
    tap("dx", dx)
    return dx


def _avg_window(config: AvgPoolConfig, hw: tuple[int, int]) -> tuple[int, int]:
    return hw if config.kernel is None else (config.kernel, config.kernel)


def avg_forward(
    config: AvgPoolConfig, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> Float16[Array, "n oh ow c"]:
    """Mean of each window in FP32, rounded once to FP16. Taps sum_level*, sum_running, sum, y.

    Raises:
        BitrowError: a map smaller than the window.
    """
    if config.kernel is not None:
        _check_window(config.kernel, x.shape, 0)
    n, h, w, c = x.shape
    kh, kw = _avg_window(config, (h, w))
    oh, ow = h // kh, w // kw
    wide = fp16.widen(x[:, : oh * kh, : ow * kw], config.mode).reshape(n, oh, kh, ow, kw, c)
    rows = tree(wide, 4, fp32_add, tap)
    total = running(jnp.moveaxis(rows, 2, 0), fp32_add, tap)
    tap("sum", total)
    inv_n = softfloat.from_ratio(1, kh * kw, FP32)
    y = softfloat.bits_float16(softfloat.mul(softfloat.float32_bits(total), inv_n, FP32, config.mode, FP16))
    tap("y", y)
    return y


def avg_backward(
    config: AvgPoolConfig,
    dy: Float16[Array, "n oh ow c"],
    input_hw: tuple[int, int],
    tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """dy times fp32(1/n), rounded once, to every input of its window; +0 to the others. Tap dx."""
    kh, kw = _avg_window(config, input_hw)
    inv_n = softfloat.from_ratio(1, kh * kw, FP32)
    wide = softfloat.float32_bits(fp16.widen(dy, config.mode))
    each = softfloat.bits_float16(softfloat.mul(wide, inv_n, FP32, config.mode, FP16))
    dx = jnp.repeat(jnp.repeat(each, kh, axis=1), kw, axis=2)
    rest = (input_hw[0] - dx.shape[1], input_hw[1] - dx.shape[2])
    dx = lax.pad(dx, jnp.float16(0), ((0, 0, 0), (0, rest[0], 0), (0, rest[1], 0), (0, 0, 0)))
    tap("dx", dx)
    return dx


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def apply_max(config: MaxPoolConfig, x: Float16[Array, "n h w c"]) -> Float16[Array, "n oh ow c"]:
    """`max_forward`'s y, differentiable by `max_backward`."""
    return max_forward(config, x)[0]


# The input's shape travels through residuals as an array of no elements: residuals must be arrays.
def _max_forward(config: MaxPoolConfig, x: Array) -> tuple[Array, tuple[Array, Array]]:
    y, index = max_forward(config, x)
    return y, (index, jnp.zeros((0, *x.shape[1:3])))


def _max_backward(config: MaxPoolConfig, saved: tuple[Array, Array], dy: Array) -> tuple[Array]:
    index, shape = saved
    return (max_backward(config, index, dy, (shape.shape[1], shape.shape[2])),)


apply_max.defvjp(_max_forward, _max_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def apply_avg(config: AvgPoolConfig, x: Float16[Array, "n h w c"]) -> Float16[Array, "n oh ow c"]:
    """`avg_forward`, differentiable by `avg_backward`."""
    return avg_forward(config, x)


def _avg_forward(config: AvgPoolConfig, x: Array) -> tuple[Array, Array]:
    return avg_forward(config, x), jnp.zeros((0, *x.shape[1:3]))


def _avg_backward(config: AvgPoolConfig, shape: Array, dy: Array) -> tuple[Array]:
    return (avg_backward(config, dy, (shape.shape[1], shape.shape[2])),)


apply_avg.defvjp(_avg_forward, _avg_backward)
