"""The host's float32 convolution and its simulated codes, with gradients that stay fast inside a compiled loop.

XLA's own gradients of a convolution take its slow path on CPU where they stand in a `while` or `scan`: ten to a
hundred times the time of the forward pass. Here the gradient of the input is a forward convolution with the
rotated kernel, and that of the weights one matrix product for each place of the kernel. Float32 sums in any order:
nothing here is in the contract.
"""

from __future__ import annotations

import functools

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
    """Convolution with the stride, padding and groups of `config`; `c` is `c_in` over the groups."""
    return _convolve(config.groups, x, weight, (config.stride,) * 2, ((config.padding,) * 2,) * 2)


def _convolve(
    groups: int, x: Array, weight: Array, stride: tuple[int, int], padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, int] = (1, 1),
) -> Array:  # fmt: skip
    return lax.conv_general_dilated(
        x, weight, stride, padding, lhs_dilation=dilation, dimension_numbers=("NHWC", "HWIO", "NHWC"),
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
    kh, kw, c, c_out = weight.shape
    groups, stride = config.groups, config.stride
    rotated = weight[::-1, ::-1].reshape(kh, kw, c, groups, c_out // groups)
    rotated = rotated.transpose(0, 1, 4, 3, 2).reshape(kh, kw, c_out // groups, groups * c)
    padding = tuple(
        (k - 1 - config.padding, size - (out - 1) * stride - 1 + config.padding)
        for k, size, out in zip((kh, kw), hw, dy.shape[1:3], strict=True)
    )
    return _convolve(groups, dy, rotated, (1, 1), padding, (stride, stride))


def weight_gradient(
    config: ConvConfig, x: Float32[Array, "n h w c_in"], dy: Float32[Array, "n oh ow c_out"], kernel: tuple[int, ...]
) -> Float32[Array, "kh kw c c_out"]:
    """Gradient of weights of `kernel` rows and columns."""
    groups, stride, pad = config.groups, config.stride, config.padding
    (oh, ow), c, c_out = dy.shape[1:3], x.shape[3] // groups, dy.shape[3]
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    dy = dy.reshape(-1, groups, c_out // groups)
    places = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows, columns = i + (oh - 1) * stride + 1, j + (ow - 1) * stride + 1
            seen = x[:, i:rows:stride, j:columns:stride, :].reshape(-1, groups, c)
            product = lax.dot_general(seen, dy, (((0,), (0,)), ((1,), (1,))), precision=lax.Precision.HIGHEST)
            places.append(product.transpose(1, 0, 2).reshape(c, c_out))
    return jnp.stack(places).reshape(*kernel, c, c_out)


def fake_quantize(x: Float32[Array, "*s"], scale: Float32[Array, " ..."], fmt: Fxp) -> Float32[Array, "*s"]:
    """`scale * clip(rint(x / scale))` in float32; the gradient passes where Q4's mask is 1."""
    t = x / scale
    rounded = lax.stop_gradient(jnp.rint(t))
    inside = (rounded >= fmt.min) & (rounded <= fmt.max)
    return scale * (jnp.clip(rounded, fmt.min, fmt.max) + jnp.where(inside, t - lax.stop_gradient(t), 0.0))
