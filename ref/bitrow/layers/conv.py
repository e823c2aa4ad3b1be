"""Frozen FXP convolution: quantize, multiply-accumulate, dequantize, in both directions (SPEC.md C)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float16, Int, UInt16

from bitrow.config import ConvConfig, output_size
from bitrow.errors import BitrowError
from bitrow.formats import Gradient, QuantRounding
from bitrow.host import check_scale, inverse_scale, product_scale, product_scales
from bitrow.layers.frozen import zero_cotangent
from bitrow.ops import fp16, fxp, lfsr, mac, reduce
from bitrow.ops.tap import Tap, no_tap, prefixed, renamed


class ConvParams(NamedTuple):
    """Frozen parameters of a convolution. `scale` and `w_scale` are scalars or one for each output channel.

    `dx_scale` is None where a per-channel weight scale without `fold` leaves no FXP input gradient (SPEC.md C2).
    """

    weight_code: Int[Array, "kh kw c_in c_out"]
    x_inv_scale: Float16[Array, ""]
    scale: Float16[Array, "..."]
    w_scale: Float16[Array, "..."]
    dy_inv_scale: Float16[Array, ""]
    dx_scale: Float16[Array, ""] | None
    bias: Float16[Array, "c_out"] | None
    seed: UInt16[Array, ""]


def make_params(
    config: ConvConfig,
    layer: str,
    weight_code: np.ndarray,
    x_scale: float,
    w_scale: float | np.ndarray,
    dy_scale: float,
    bias: np.ndarray | None = None,
    seed: int = 1,
) -> ConvParams:
    """Check a layer and compute what the host stores for it (SPEC.md F8, Q1, M2, D3).

    Args:
        config: the layer's configuration.
        layer: its name, for messages.
        weight_code: integers `[kh, kw, c_in/groups, c_out]` in `config.weight_format`.
        x_scale: scale of the input's codes.
        w_scale: scale of the weight codes, or one for each output channel `[c_out]`.
        dy_scale: scale of the output gradient's codes (of `dy_folded`'s with `fold`).
        bias: FP16 `[c_out]`, added after the dequantizer.
        seed: of the stochastic rounding of dy.

    Raises:
        BitrowError: naming `layer`; a scale outside F8, a product outside D3, codes outside the format, an
            accumulator too small for the worst case (M2), a bias or scale of another length.
    """
    weight_code = np.asarray(weight_code)
    if weight_code.ndim != 4:
        raise BitrowError(f"{layer} weight_code: found shape {weight_code.shape}, expected [kh, kw, c_in, c_out]")
    config.check(layer, weight_code.shape)
    fmt, c_out = config.weight_format, weight_code.shape[3]
    low, high = int(weight_code.min()), int(weight_code.max())
    if low < fmt.min or high > fmt.max:
        raise BitrowError(f"{layer} weight_code: found {low} to {high}, expected {fmt.min} to {fmt.max}")
    w_scales = np.asarray(w_scale, np.float64)
    for name, array in (("w_scale", w_scales), ("bias", None if bias is None else np.asarray(bias))):
        if array is not None and array.shape not in ((), (c_out,)):
            raise BitrowError(f"{layer} {name}: found shape {array.shape}, expected {c_out} channels")
    lfsr.check_seed(layer, seed)
    check_scale(layer, "x_scale", x_scale)
    check_scale(layer, "dy_scale", dy_scale)
    for scale in w_scales.reshape(-1):
        check_scale(layer, "w_scale", scale)
    if w_scales.ndim == 0:
        scale = np.float16(product_scale(layer, "x_scale * w_scale", x_scale, float(w_scales)))
    else:
        scale = product_scales(layer, "x_scale * w_scale", x_scale, w_scales.tolist())
    return ConvParams(
        weight_code=jnp.asarray(weight_code, fxp.code_dtype(fmt)),
        x_inv_scale=jnp.float16(inverse_scale(x_scale)),
        scale=jnp.asarray(scale, jnp.float16),
        w_scale=jnp.asarray(w_scales, jnp.float16),
        dy_inv_scale=jnp.float16(inverse_scale(dy_scale)),
        dx_scale=_dx_scale(config, layer, w_scales, dy_scale),
        bias=None if bias is None else jnp.broadcast_to(jnp.asarray(bias, jnp.float16), (c_out,)),
        seed=jnp.uint16(seed),
    )


def _dx_scale(config: ConvConfig, layer: str, w_scales: np.ndarray, dy_scale: float) -> Array | None:
    if config.gradient is Gradient.FP16:
        return None
    if config.fold:
        return jnp.float16(dy_scale)
    if w_scales.ndim:
        return None
    return jnp.float16(product_scale(layer, "dy_scale * w_scale", dy_scale, float(w_scales)))


def forward(
    config: ConvConfig, params: ConvParams, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> tuple[Float16[Array, "n oh ow c_out"], Bool[Array, "n h w c"]]:
    """Output and the straight-through mask kept for backward (SPEC.md C1). Taps t, x_code, mask, acc, deq, y."""
    check_input(config, params, x.shape)

    inner = renamed(tap, {"code": "x_code"})
    code, mask = fxp.quantize(x, params.x_inv_scale, config.x_format, config.mode, inner)
    bound = config.bounds(params.weight_code.shape)[0]
    acc = mac.accumulate(
        code, params.weight_code, mac.forward_padding(config.padding), config.stride, config.groups,
        config.accumulator, bound, tap,
    )
    acc_bound = min(bound, -config.accumulator.min)
    y = fxp.dequantize(acc, params.scale, acc_bound, config.dequantize, config.mode, tap)
    if params.bias is not None:
        y = fp16.add(y, params.bias, config.mode)
    tap("y", y)
    return y, mask


def check_input(config: ConvConfig, params: ConvParams, shape: tuple[int, ...]) -> None:
    """Refuse an input that does not fit the kernel.

    Raises:
        BitrowError: another channel count, or a map smaller than the kernel.
    """
    kh, kw, c_in, _ = params.weight_code.shape
    if shape[3] != c_in * config.groups:
        raise BitrowError(f"convolution input: found {shape[3]} channels, expected {c_in * config.groups}")
    if min(output_size(shape[1], kh, 1, config.padding), output_size(shape[2], kw, 1, config.padding)) < 1:
        raise BitrowError(
            f"convolution input: found {shape[1]}x{shape[2]}, expected at least the kernel of {kh}x{kw} "
            f"with padding {config.padding}"
        )


def backward(
    config: ConvConfig,
    params: ConvParams,
    mask: Bool[Array, "n h w c"],
    dy: Float16[Array, "n oh ow c_out"],
    tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """Input gradient through the frozen weights (SPEC.md C2, C3). Taps dy_*, dx_*, dx.

    Raises:
        BitrowError: a per-channel weight scale without `fold` (C2).
    """
    if params.w_scale.ndim and not config.fold:
        raise BitrowError("convolution gradient: found a weight scale per channel, expected one per tensor or fold")
    if config.fold:
        dy = fp16.mul(dy, params.w_scale, config.mode)
        tap("dy_folded", dy)
    gradient = _gradient_fp16 if config.gradient is Gradient.FP16 else _gradient_fxp
    dx = gradient(config, params, mask.shape[1:3], dy, tap)
    dx = jnp.where(mask, dx, jnp.float16(0))
    tap("dx", dx)
    return dx


def _gradient_fxp(
    config: ConvConfig, params: ConvParams, dx_hw: tuple[int, int], dy: Array, tap: Tap
) -> Array:
    inner = renamed(prefixed(tap, "dy_"), {"mask": None})  # the gradient of a gradient is not taken
    if config.dy_rounding is QuantRounding.STOCHASTIC:
        words = lfsr.words(params.seed, 0, dy.shape)
        inner("words", words)
        code, _ = fxp.quantize_stochastic(dy, params.dy_inv_scale, words, config.dy_format, config.mode, inner)
    else:
        code, _ = fxp.quantize(dy, params.dy_inv_scale, config.dy_format, config.mode, inner)
    bound = config.bounds(params.weight_code.shape)[1]
    padding = mac.gradient_padding(
        dy.shape[1:3], dx_hw, params.weight_code.shape[:2], config.stride, config.padding
    )
    acc = mac.accumulate(
        code, mac.rotate(params.weight_code, config.groups), padding, 1, config.groups,
        config.accumulator, bound, prefixed(tap, "dx_"),
    )
    assert params.dx_scale is not None  # backward() has refused the case that lacks it
    acc_bound = min(bound, -config.accumulator.min)
    return fxp.dequantize(acc, params.dx_scale, acc_bound, config.dequantize, config.mode, prefixed(tap, "dx_"))


def _gradient_fp16(
    config: ConvConfig, params: ConvParams, dx_hw: tuple[int, int], dy: Array, tap: Tap
) -> Array:
    """C3: FP32 sums of FP16 dy times weight codes, one term after another."""
    weight = mac.rotate(params.weight_code, config.groups).astype(jnp.float32)
    kh, kw, c_terms, c_in = weight.shape
    padding = mac.gradient_padding(dy.shape[1:3], dx_hw, (kh, kw), config.stride, config.padding)
    wide = fp16.widen(dy, config.mode)
    present = mac.pad_spatial(jnp.ones((1, *dy.shape[1:3], 1), bool), padding, jnp.bool_(False))
    padded = mac.pad_spatial(wide, padding, jnp.float32(0))
    groups = config.groups

    def columns(array: Array, g: int) -> Array:
        parts = [p.reshape(*p.shape[:3], g, -1) for p in mac.windows(array, (kh, kw), 1)]
        return jnp.moveaxis(jnp.stack(parts), -1, 1)  # [kh*kw, terms, n, h, w, g]

    values = columns(padded, groups).reshape(kh * kw * c_terms, *dy.shape[:1], *dx_hw, groups)
    exists = columns(present, 1).repeat(c_terms, 1).reshape(kh * kw * c_terms, 1, *dx_hw, 1)
    factors = weight.reshape(kh * kw * c_terms, groups, c_in // groups)

    def step(total: Array, term: tuple[Array, Array, Array]) -> tuple[Array, Array | None]:
        value, here, factor = term
        added = reduce.fp32_add(total, value[..., None] * factor[None, None, None])
        total = jnp.where(here[..., None], added, total)
        return total, (total.reshape(*total.shape[:3], -1) if tap is not no_tap else None)

    start = jnp.zeros((dy.shape[0], *dx_hw, groups, c_in // groups), jnp.float32)
    total, history = lax.scan(step, start, (values, exists, factors))
    total = total.reshape(dy.shape[0], *dx_hw, c_in)
    if tap is not no_tap:
        tap("dx_sum_running", history)
    tap("dx_sum", total)
    scale = jnp.float16(1) if config.fold else params.w_scale
    dx = fxp.scale_once(total, scale, config.mode)
    tap("dx_deq", dx)
    return dx


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def apply(config: ConvConfig, params: ConvParams, x: Float16[Array, "n h w c"]) -> Float16[Array, "n oh ow co"]:
    """`forward`'s output, differentiable in x by `backward`; the parameters are frozen (SPEC.md C4)."""
    return forward(config, params, x)[0]


def _apply_forward(config: ConvConfig, params: ConvParams, x: Array) -> tuple[Array, tuple[ConvParams, Array]]:
    y, mask = forward(config, params, x)
    return y, (params, mask)


def _apply_backward(config: ConvConfig, saved: tuple[ConvParams, Array], dy: Array) -> tuple[ConvParams, Array]:
    params, mask = saved
    return zero_cotangent(params), backward(config, params, mask, dy)


apply.defvjp(_apply_forward, _apply_backward)
