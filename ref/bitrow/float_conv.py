"""The host's float32 convolution and its simulated codes, with gradients that stay fast inside a compiled loop.

XLA's own gradients of a convolution take its slow path on CPU where they stand in a `while` or `scan`: ten to a
hundred times the time of the forward pass. Here the gradient of the input is a forward convolution with the
rotated kernel, and that of the weights one matrix product for each place of the kernel. Float32 sums in any order:
nothing here is in the contract.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32

from bitrow.config import ConvConfig
from bitrow.formats import Fxp


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def float_conv(
    config: ConvConfig, x: Float32[Array, "n h w c_in"], weight: Float32[Array, "kh kw c c_out"]
) -> Float32[Array, "n oh ow c_out"]:
    """Convolution with the windows and groups of `config`; `c` is `c_in` over the groups."""
    if config.transposed:
        return _back(config, turned(weight, config.groups), x, config.output_hw(weight.shape[:2], x.shape[1:3]))
    return _along(config, x, weight)


def turned(weight: Float32[Array, "kh kw c c_out"], groups: int) -> Float32[Array, "kh kw c c_out"]:
    """Input and output channels swapped inside each group: a transposed convolution is the gradient of that one."""
    kh, kw, c, c_out = weight.shape
    split = weight.reshape(kh, kw, c, groups, c_out // groups).transpose(0, 1, 4, 3, 2)
    return split.reshape(kh, kw, c_out // groups, groups * c)


def _along(config: ConvConfig, x: Array, weight: Array) -> Array:
    down, across = config.windows(weight.shape)
    places = _Places((down.stride, across.stride), ((down.before, down.after), (across.before, across.after)))
    return _convolve(config.groups, x, weight, places._replace(inside=(down.dilation, across.dilation)))


class _Places(NamedTuple):
    """Steps of windows, padding, dilation of the map (`spread`) and of the kernel (`inside`), for h and w."""

    stride: tuple[int, int]
    padding: tuple[tuple[int, int], ...]
    spread: tuple[int, int] = (1, 1)
    inside: tuple[int, int] = (1, 1)


def _convolve(groups: int, x: Array, weight: Array, places: _Places) -> Array:
    return lax.conv_general_dilated(
        x, weight, *places, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups, precision=lax.Precision.HIGHEST,
    )  # fmt: skip


def _forward(config: ConvConfig, x: Array, weight: Array) -> tuple[Array, tuple[Array, Array]]:
    return float_conv(config, x, weight), (x, weight)


def _backward(config: ConvConfig, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, weight = saved
    return input_gradient(config, weight, dy, x.shape[1:3]), weight_gradient(config, x, dy, weight.shape[:2])


float_conv.defvjp(_forward, _backward)


def input_gradient(
    config: ConvConfig,
    weight: Float32[Array, "kh kw c c_out"],
    dy: Float32[Array, "n oh ow c_out"],
    hw: tuple[int, ...],
) -> Float32[Array, "n h w c_in"]:
    """Gradient of an input of `hw` rows and columns."""
    if config.transposed:
        return _along(config, dy, turned(weight, config.groups))
    return _back(config, weight, dy, hw)


def _back(config: ConvConfig, weight: Array, dy: Array, hw: tuple[int, ...]) -> Array:
    windows = config.windows(weight.shape)
    rotated = turned(weight[::-1, ::-1], config.groups)
    padding = tuple(
        (one.extent - 1 - one.before, size - (out - 1) * one.stride - 1 + one.before)
        for one, size, out in zip(windows, hw, dy.shape[1:3], strict=True)
    )
    down, across = windows
    spread, inside = (down.stride, across.stride), (down.dilation, across.dilation)
    return _convolve(config.groups, dy, rotated, _Places((1, 1), padding, spread, inside))


def weight_gradient(
    config: ConvConfig, x: Float32[Array, "n h w c_in"], dy: Float32[Array, "n oh ow c_out"], kernel: tuple[int, ...]
) -> Float32[Array, "kh kw c c_out"]:
    """Gradient of weights of `kernel` rows and columns."""
    if config.transposed:
        return turned(_of_weights(config, dy, x, kernel), config.groups)
    return _of_weights(config, x, dy, kernel)


def _of_weights(config: ConvConfig, x: Array, dy: Array, kernel: tuple[int, ...]) -> Array:
    groups, (down, across) = config.groups, config.windows(kernel)
    (oh, ow), c, c_out = dy.shape[1:3], x.shape[3] // groups, dy.shape[3]
    x = jnp.pad(x, ((0, 0), (down.before, down.after), (across.before, across.after), (0, 0)))
    dy = dy.reshape(-1, groups, c_out // groups)
    places = []
    for i in range(0, down.extent, down.dilation):
        for j in range(0, across.extent, across.dilation):
            rows, columns = i + (oh - 1) * down.stride + 1, j + (ow - 1) * across.stride + 1
            seen = x[:, i : rows : down.stride, j : columns : across.stride, :].reshape(-1, groups, c)
            product = lax.dot_general(seen, dy, (((0,), (0,)), ((1,), (1,))), precision=lax.Precision.HIGHEST)
            places.append(product.transpose(1, 0, 2).reshape(c, c_out))
    return jnp.stack(places).reshape(*kernel, c, c_out)


def fake_quantize(x: Float32[Array, "*s"], scale: Float32[Array, " ..."], fmt: Fxp) -> Float32[Array, "*s"]:
    """`scale * clip(rint(x / scale))` in float32; the gradient passes where Q4's mask is 1."""
    t = x / scale
    rounded = lax.stop_gradient(jnp.rint(t))
    inside = (rounded >= fmt.min) & (rounded <= fmt.max)
    return scale * (jnp.clip(rounded, fmt.min, fmt.max) + jnp.where(inside, t - lax.stop_gradient(t), 0.0))
