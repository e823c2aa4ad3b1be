"""Frozen FXP convolution: quantize, multiply-accumulate, dequantize, in both directions (SPEC.md C)."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float16, Int32, Integer

from bitrow.config import ConvConfig
from bitrow.config.rows import Place, elements
from bitrow.doors import guard
from bitrow.errors import BitrowError
from bitrow.formats import Gradient, QuantRounding
from bitrow.host import FP16_MIN_NORMAL, check_scale
from bitrow.layers import conv_twin
from bitrow.layers.conv_params import (
    ConvParams,
    check_gradient,
    check_input,
    check_params,
    forward_kernel,
    forward_places,
    gradient_kernel,
    gradient_places,
    make_params,
)
from bitrow.layers.frozen import zero_cotangent
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import Calibration, FloatLayer, Site
from bitrow.ops import fp16, fxp, lfsr, mac, meshes, reduce
from bitrow.ops.dtypes import Code
from bitrow.ops.tap import Tap, no_tap, prefixed, renamed
from bitrow.splitmix import Draw


def forward(
    config: ConvConfig, params: ConvParams, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> tuple[Float16[Array, "n oh ow c_out"], Bool[Array, "n h w c"]]:
    """Output and the straight-through mask kept for backward (SPEC.md C1). Taps t, x_code, mask, acc, deq, y.

    Raises:
        BitrowError: another channel count, or a map smaller than the kernel.
    """
    check_input(config, params, x.shape)
    code, mask = quantize_input(config, params, x, tap)
    kernel = forward_kernel(config, params)
    return multiply(config, params, kernel, code, forward_places(config, params, x.shape[1:3]), tap), mask


def quantize_input(
    config: ConvConfig, params: ConvParams, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> tuple[Code[Array, "n h w c"], Bool[Array, "n h w c"]]:
    """Codes of the input, or of some of its rows, and their mask: `forward`'s first half."""
    inner = renamed(tap, {"code": "x_code"})
    return fxp.quantize(x, params.x_inv_scale, config.x_format, config.mode, inner)


def accumulate(
    config: ConvConfig,
    params: ConvParams,
    kernel: mac.Kernel,
    code: Code[Array, "n h w c"],
    places: mac.Places,
    tap: Tap = no_tap,
) -> Int32[Array, "n oh ow c_out"]:
    """Accumulators of codes (SPEC.md M). A slab of the KH rows of a window makes one row."""
    bound = config.bounds(params.weight_code.shape)[0]
    return mac.accumulate(code, kernel, places, config.accumulator, bound, tap)


def multiply(
    config: ConvConfig,
    params: ConvParams,
    kernel: mac.Kernel,
    code: Code[Array, "n h w c"],
    places: mac.Places,
    tap: Tap = no_tap,
) -> Float16[Array, "n oh ow c_out"]:
    """Accumulate and dequantize codes: `forward`'s second half."""
    return dequantize(config, params, accumulate(config, params, kernel, code, places, tap), tap)


def dequantize(
    config: ConvConfig, params: ConvParams, acc: Int32[Array, "n oh ow words"], tap: Tap = no_tap
) -> Float16[Array, "n oh ow words"]:
    """Accumulators to FP16, and the bias: the end of `forward` (SPEC.md D, C1).

    A row may lie flat, `[n, 1, 1, ow*c_out]`, if the parameters of channels do, too.
    """
    acc_bound = min(config.bounds(params.weight_code.shape)[0], -config.accumulator.min)
    y = fxp.dequantize(acc, params.scale, acc_bound, config.dequantize, config.mode, tap)
    if params.bias is not None:
        y = fp16.add(y, params.bias, config.mode)
    tap("y", y)
    return y


def backward(
    config: ConvConfig,
    params: ConvParams,
    mask: Bool[Array, "n h w c"],
    dy: Float16[Array, "n oh ow c_out"],
    tap: Tap = no_tap,
    start: int | Integer[Array, ""] = 0,
) -> Float16[Array, "n h w c"]:
    """Input gradient through the frozen weights (SPEC.md C2, C3). Taps dy_*, dx_*, dx.

    `start`: where dy is part of a tensor, the row-major index in it of dy's first element (SPEC.md Q3).

    Raises:
        BitrowError: a per-channel weight scale without `fold` (C2), dy of another size than `forward`'s output.
    """
    check_params(config, params)
    check_gradient(config, params, mask.shape, dy.shape[1:3])
    places = gradient_places(config, params, dy.shape[1:3], mask.shape[1:3])
    ready = prepare_gradient(config, params, dy, start, tap)
    return multiply_gradient(config, params, gradient_kernel(config, params), ready, mask, places, tap)


def fold_gradient(
    config: ConvConfig, params: ConvParams, dy: Float16[Array, "n oh ow words"], tap: Tap = no_tap
) -> Float16[Array, "n oh ow words"]:
    """dy, times the weight scale where `fold` says so (SPEC.md C2). Taps dy_folded.

    Raises:
        BitrowError: a per-channel weight scale without `fold`.
    """
    if params.w_scale.ndim and not config.fold:
        raise BitrowError("convolution gradient: found a weight scale per channel, expected one per tensor or fold")
    if config.fold:
        dy = fp16.mul(dy, params.w_scale, config.mode)
        tap("dy_folded", dy)
    return dy


def prepare_gradient(
    config: ConvConfig, params: ConvParams, dy: Float16[Array, "n oh ow words"], start: int | Integer[Array, ""],
    tap: Tap = no_tap,
) -> Array:
    """dy, or some of its rows, folded and quantized to codes: `backward`'s first half. C3 leaves it FP16.

    `start` is the row-major index in the whole tensor of dy's first element (SPEC.md Q3).

    Raises:
        BitrowError: a per-channel weight scale without `fold` (C2); stochastic rounding in parts by `shard_map`, all
            of which begin at one element.
    """
    dy = fold_gradient(config, params, dy, tap)
    if config.gradient is Gradient.FP16:
        return dy
    inner = renamed(prefixed(tap, "dy_"), {"mask": None})  # the gradient of a gradient is not taken
    if config.dy_rounding is QuantRounding.NEAREST_EVEN:
        return fxp.quantize(dy, params.dy_inv_scale, config.dy_format, config.mode, inner)[0]
    _check_start(params, dy, start)
    words = lfsr.words(params.seed, start, dy.shape)
    inner("words", words)
    return fxp.quantize_stochastic(dy, params.dy_inv_scale, words, config.dy_format, config.mode, inner)[0]


def _check_start(params: ConvParams, dy: Array, start: int | Array) -> None:
    own = meshes.varying(params.seed) | (frozenset() if isinstance(start, int) else meshes.varying(start))
    shared = meshes.varying(dy) - own
    if shared:
        raise BitrowError(
            f"convolution gradient start: found one for all parts along {', '.join(sorted(shared))}, expected the "
            f"index of each part's first element (SPEC.md Q3): apply_part or backward takes it"
        )


def multiply_gradient(
    config: ConvConfig,
    params: ConvParams,
    kernel: mac.Kernel,
    ready: Float16[Array, "n oh ow c_out"] | Code[Array, "n oh ow c_out"],
    mask: Bool[Array, "n h w c"],
    places: mac.Places,
    tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """dx of what `prepare_gradient` made, spread and padded by `places`, with `gradient_kernel`'s kernel.

    `backward`'s second half. A slab of the KH rows that one row meets, zeros among them, makes that row.
    """
    accumulate = _gradient_fp16 if config.gradient is Gradient.FP16 else _gradient_fxp
    dx = jnp.where(mask, accumulate(config, params, kernel, ready, places, tap), jnp.float16(0))
    tap("dx", dx)
    return dx


def _gradient_fxp(
    config: ConvConfig, params: ConvParams, kernel: mac.Kernel, code: Array, places: mac.Places, tap: Tap
) -> Array:
    if params.dx_scale is None:
        raise BitrowError("convolution dx_scale: found none, expected the scale of an FXP gradient (SPEC.md C2)")
    outer = prefixed(tap, "dx_")
    bound = config.bounds(params.weight_code.shape)[1]
    acc = mac.accumulate(code, kernel, places, config.accumulator, bound, outer)
    acc_bound = min(bound, -config.accumulator.min)
    return fxp.dequantize(acc, params.dx_scale, acc_bound, config.dequantize, config.mode, outer)


def _gradient_fp16(
    config: ConvConfig, params: ConvParams, kernel: mac.Kernel, dy: Array, places: mac.Places, tap: Tap
) -> Array:
    """C3: FP32 sums of FP16 dy times weight codes, one term after another.

    The zeros of padding and dilation are added, not skipped: a sum that starts at +0 is never -0 under nearest
    even, so adding a zero of either sign leaves it as it is.
    """
    groups, weight = config.groups, kernel.weight.astype(jnp.float32)
    kh, kw, c_terms, c_in = weight.shape
    padded = mac.pad_spatial(fp16.widen(dy, config.mode), places.padding, jnp.float32(0))
    met = mac.windows(padded, (kh, kw), places.stride, places.dilation)
    parts = [p.reshape(*p.shape[:3], groups, c_terms) for p in met]
    values = jnp.moveaxis(jnp.stack(parts), -1, 1)  # [kh*kw, c_terms, n, h, w, groups]
    values = values.reshape(kh * kw * c_terms, *values.shape[2:])
    factors = weight.reshape(kh * kw * c_terms, groups, c_in // groups)

    def step(total: Array, term: tuple[Array, Array]) -> tuple[Array, Any]:
        value, factor = term
        total = reduce.fp32_add(total, fp16.product(value[..., None], factor[None, None, None]))
        return total, (total.reshape(*total.shape[:3], c_in) if tap is not no_tap else None)

    zeros = jnp.zeros_like(values[0][..., None] * factors[0][None, None, None])  # they lie where the sums do
    start = reduce.opaque(zeros)
    total, history = lax.scan(step, start, (values, factors))
    total = total.reshape(*total.shape[:3], c_in)
    if tap is not no_tap:
        tap("dx_sum_running", history)
    tap("dx_sum", total)
    scale = jnp.float16(1) if config.fold else params.w_scale
    dx = fxp.scale_once(total, scale, config.mode)
    tap("dx_deq", dx)
    return dx


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def apply(config: ConvConfig, params: ConvParams, x: Float16[Array, "n h w c"]) -> Float16[Array, "n oh ow c_out"]:
    """`forward`'s output, differentiable in x by `backward`; the parameters are frozen (SPEC.md C4).

    x is the whole batch: under `vmap` and `shard_map` every part would take the same words of stochastic rounding.
    `shard_map` is refused, `vmap` cannot be seen here; `apply_part` is for both.
    """
    return forward(config, params, x)[0]


def _apply_forward(config: ConvConfig, params: ConvParams, x: Array) -> tuple[Array, tuple[ConvParams, Array]]:
    y, mask = forward(config, params, x)
    return y, (params, mask)


def _apply_backward(config: ConvConfig, saved: tuple[ConvParams, Array], dy: Array) -> tuple[ConvParams, Array]:
    params, mask = saved
    return zero_cotangent(params), backward(config, params, mask, dy)


apply.defvjp(_apply_forward, _apply_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def apply_part(
    config: ConvConfig, params: ConvParams, x: Float16[Array, "n h w c"], start: int | Integer[Array, ""]
) -> Float16[Array, "n oh ow co"]:
    """`apply` of a part of a batch; `start`: the row-major index, in the whole output, of the part's first element."""
    return forward(config, params, x)[0]


def _part_forward(config: ConvConfig, params: ConvParams, x: Array, start: Any) -> tuple[Array, Any]:
    y, saved = _apply_forward(config, params, x)
    return y, (*saved, start)


def _part_backward(config: ConvConfig, saved: Any, dy: Array) -> tuple[ConvParams, Array, np.ndarray]:
    params, mask, start = saved
    dx = backward(config, params, mask, dy, start=start)
    return zero_cotangent(params), dx, np.zeros(jnp.shape(start), jax.dtypes.float0)


apply_part.defvjp(_part_forward, _part_backward)


def _forward(config: ConvConfig, params: ConvParams, inputs: list[Array], tap: Tap) -> tuple[Array, Array]:
    return forward(config, params, inputs[0], tap)


def _backward(config: ConvConfig, up: Upstream) -> Gradients:
    elements = math.prod(up.dy.shape[1:])
    if isinstance(up.first_image, int):
        start: int | Array = up.first_image * elements
    else:
        start = up.first_image.astype(jnp.uint32) * jnp.uint32(elements)
    return Gradients((backward(config, up.params, up.saved, up.dy, up.tap, start),))


def _check(where: str, config: ConvConfig, params: ConvParams) -> None:
    """Refuse values that the contract does not allow (SPEC.md F7, F8, D3, Q3)."""
    code, fmt = np.asarray(params.weight_code), config.weight_format
    if code.min() < fmt.min or code.max() > fmt.max:
        raise BitrowError(
            f"{where} weight_code: found {code.min()} to {code.max()}, expected {fmt.min} to {fmt.max}"
        )
    for name in ("x_inv_scale", "w_scale", "dy_inv_scale"):
        for value in np.asarray(getattr(params, name)).reshape(-1):
            check_scale(where, name, float(value))
    for name in ("scale", "dx_scale"):
        if getattr(params, name) is None:
            continue
        for value in np.asarray(getattr(params, name), np.float64).reshape(-1):
            if not FP16_MIN_NORMAL <= value < np.inf:
                raise BitrowError(f"{where} {name}: found {value!s}, expected a positive normal FP16 number")
    if int(params.seed) == 0:
        raise BitrowError(f"{where} seed: found 0, expected 1 to 65535")


def _calibrate(config: ConvConfig, site: Site, layer: FloatLayer, found: Calibration) -> ConvParams:
    return make_params(config, site.where, *conv_twin.TWIN.calibrate(config, site, layer, found))


def _draw(config: ConvConfig, site: Site, deviation: float, draw: Draw) -> ConvParams:
    return make_params(config, site.where, *conv_twin.TWIN.draw(config, site, deviation, draw))


TWIN = replace(conv_twin.TWIN, calibrate=_calibrate, draw=_draw)


class _RowParams(NamedTuple):
    """Parameters as rows use them: `wide` has those of channels once for each column, kernels are for single rows."""

    params: ConvParams
    wide: ConvParams
    forward: mac.Kernel
    gradient: mac.Kernel | None


def _row_params(config: ConvConfig, params: ConvParams, place: Place, training: bool) -> _RowParams:
    vectors = {"scale": params.scale, "w_scale": params.w_scale, "bias": params.bias}
    tiled = {name: jnp.tile(v, place.out[1]) for name, v in vectors.items() if v is not None and v.ndim}
    gradient = gradient_kernel(config, params, row=place.shape[1]) if training else None
    return _RowParams(params, params._replace(**tiled), forward_kernel(config, params, row=place.out[1]), gradient)


def _row_encode(config: ConvConfig, ready: _RowParams, z: Array) -> Written:
    code, mask = quantize_input(config, ready.params, z)
    return code, mask.astype(jnp.uint8)


def _of_a_slab(places: mac.Places, spread: bool) -> mac.Places:
    """The same of the rows of one window side by side, which bring their own padding but for zeros between columns."""
    low, high, zeros = places.padding[1] if spread else (0, 0, 0)
    if not zeros:  # the columns beside the row are in the ring
        low, high = min(low, 0), min(high, 0)
    return mac.Places(((0, 0, 0), (low, high, zeros)), (1, places.stride[1]), (1, places.dilation[1]))


def _row_head(config: ConvConfig, task: RowTask) -> Written:
    slab, ready = task.slab("x", task.place.shape[2]), task.ready
    places = _of_a_slab(forward_places(config, ready.params, task.place.shape[:2]), config.transposed)
    acc = accumulate(config, ready.params, ready.forward, slab, places)
    return (dequantize(config, ready.wide, acc.reshape(acc.shape[0], 1, 1, -1)),)


def _row(config: ConvConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    return task.take("deq"), ()


def _row_back(config: ConvConfig, task: RowTask, dy: Array) -> Written:
    """dy quantized; with stochastic rounding each row from its own place in the tensor (SPEC.md Q3)."""
    params = task.ready.wide
    if config.dy_rounding is not QuantRounding.STOCHASTIC or config.gradient is Gradient.FP16:
        return (prepare_gradient(config, params, dy, 0),)
    lanes = jnp.arange(task.lanes, dtype=jnp.uint32)
    image = task.image.astype(jnp.uint32)[:, None] * jnp.uint32(task.lanes) + lanes[None]
    rows = image * jnp.uint32(task.place.out[0]) + task.row.astype(jnp.uint32)[:, None]
    start = rows.reshape(-1) * jnp.uint32(elements(task.place.out))
    return (jax.vmap(lambda dy, start: prepare_gradient(config, params, dy[None], start)[0])(dy, start),)


def _row_gradient(config: ConvConfig, task: RowTask) -> Written:
    params, place = task.ready.params, task.place
    slab = task.slab("dy", place.out[2])
    mask = task.take("mask", 1, *place.shape[1:]).astype(bool)
    places = _of_a_slab(gradient_places(config, params, place.out[:2], place.shape[:2]), not config.transposed)
    return (multiply_gradient(config, params, task.ready.gradient, slab, mask, places),)


ROWS = Rows(_row, _row_back, _row_head, _row_gradient, _row_encode, _row_params, pairs=True)
LAYER = Layer(_forward, _backward, ROWS, lambda config: ConvParams, check=_check, twin=TWIN)

guard(__name__)
