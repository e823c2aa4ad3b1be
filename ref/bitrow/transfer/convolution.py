"""A convolution that trains: the layer's bits or their simulation, and the host's weight gradient.

The weights are float32 masters; their codes are made in the program, exactly as the host's calibration makes
them. What the backward pass saves depends on what is trained: a frozen convolution saves its mask and nothing
else, and one whose input needs no gradient saves nothing (SPEC.md C2, C4).
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Bool, Float16, Float32, Int8, Integer, UInt16

from bitrow import float_conv, typed
from bitrow.config import ConvConfig
from bitrow.formats import FP16, Fxp, Gradient, QuantRounding
from bitrow.layers import conv
from bitrow.layers.conv import ConvParams
from bitrow.ops import fp16, fxp, lfsr
from bitrow.ops.once import once
from bitrow.transfer import ordered, scale_gradient
from bitrow.transfer.numerics import AXIS, ROW_BITS, Numerics, ScaleRule, Scaling

_WITH_MASK = 6  # bits of a code that fits a byte with its mask
LOG_MOST = 64  # the largest logarithmic code of four bits: 0, 2^0 to 2^6, and a sign


@dataclass(frozen=True)
class ConvPlan:
    """How a convolution is run: its configuration, the numerics, and where its gradient's scale comes from.

    `sharded`: the batch is split over the mesh axis AXIS, so stochastic rounding starts at the device's first
    element (SPEC.md Q3). `channels`: the input channels whose weights train, of a convolution of one group; () for all.
    `warn`: a backward pass whose codes are all zero warns, under this name, from the host. `learned`: by which rule the
    input's scale trains, where it does.
    """

    config: ConvConfig
    numerics: Numerics
    scaling: Scaling = Scaling.STATIC
    sharded: bool = False
    warn: str = ""
    channels: tuple[int, ...] = ()
    learned: ScaleRule = ScaleRule.LSQ

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "convolution")


class ForwardScales(NamedTuple):
    """Scales of the forward pass. `w_scale` and `scale` are scalars or one for each output channel.

    `learned`: the input's scale before it was rounded, where that is trained (`learned_scales`).
    """

    x_scale: Float16[Array, ""]
    x_inv_scale: Float16[Array, ""]
    w_scale: Float16[Array, "..."]
    scale: Float16[Array, "..."]
    learned: Float32[Array, ""] | None = None


class BackwardScales(NamedTuple):
    """Scales of the backward pass, and the seed of its stochastic rounding; they change between steps only."""

    dy_scale: Float16[Array, ""]
    dy_inv_scale: Float16[Array, ""]
    dx_scale: Float16[Array, ""] | None
    seed: UInt16[Array, ""]


def weight_codes(
    weight: Float32[Array, "kh kw c_in c_out"], w_scale: Float16[Array, "..."], fmt: Fxp
) -> tuple[Integer[Array, "kh kw c_in c_out"], Bool[Array, "kh kw c_in c_out"]]:
    """`clip(rint(weight / w_scale))` of the exact quotient, and where it is not clipped.

    A quotient rounded to float32 finds the code or its neighbour; the comparisons with the codes' midpoints,
    which float32 holds exactly, find which.
    """
    scale = jnp.broadcast_to(fp16.widen(w_scale), weight.shape)
    near = jnp.rint(jnp.clip(weight / scale, fmt.min - 2, fmt.max + 2))
    odd = near != 2 * jnp.floor(near * jnp.float32(0.5))
    above, below = (near + jnp.float32(0.5)) * scale, (near - jnp.float32(0.5)) * scale
    up = (weight > above) | ((weight == above) & odd)
    down = (weight < below) | ((weight == below) & odd)
    code = near + up.astype(jnp.float32) - down.astype(jnp.float32)
    inside = (code >= fmt.min) & (code <= fmt.max)
    return jnp.clip(code, fmt.min, fmt.max).astype(fxp.code_dtype(fmt)), inside


def conv_params(
    config: ConvConfig, weight: Array, bias: Array | None, forward: ForwardScales, gradient: BackwardScales
) -> ConvParams:
    """The layer's parameters as `layers.conv` reads them."""
    return ConvParams(
        weight_code=weight_codes(weight, forward.w_scale, config.weight_format)[0],
        x_inv_scale=forward.x_inv_scale,
        scale=forward.scale,
        w_scale=forward.w_scale,
        dy_inv_scale=gradient.dy_inv_scale,
        dx_scale=gradient.dx_scale,
        bias=None if bias is None else ordered.half(bias),
        seed=gradient.seed,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def convolve(
    plan: ConvPlan,
    weight: Float32[Array, "kh kw c_in c_out"],
    bias: Float32[Array, " c_out"] | None,
    forward: ForwardScales,
    gradient: BackwardScales,
    probe: Float32[Array, "2"],
    x: Float16[Array, "n h w c_in"],
) -> Float16[Array, "n oh ow c_out"]:
    """The convolution's output (SPEC.md C1), differentiable in x as the accelerator does it (C2, C3).

    The gradients of weight, bias and a learned scale are the host's, in float32 and straight through their rounding
    (C4). The "gradient" of `probe` is the largest magnitude that the gradient's quantizer saw, for delayed scales, and
    1 if it made a code that is not zero, else 0; where there are no codes, the same of the gradient itself.

    Raises:
        BitrowError: another channel count, or a map smaller than the kernel.
    """
    return _run(plan, conv_params(plan.config, weight, bias, forward, gradient), forward, x)[0]


def _run(plan: ConvPlan, params: ConvParams, forward: ForwardScales, x: Array) -> tuple[Array, Array, Array]:
    """Output, codes of the input and their mask."""
    config = plan.config
    conv.check_input(config, params, x.shape)
    code, mask = _quantized(config, params, x)
    if plan.numerics is Numerics.BIT_ACCURATE:
        kernel, places = conv.forward_kernel(config, params), conv.forward_places(config, params, x.shape[1:3])
        return conv.multiply(config, params, kernel, code, places), code, mask
    value = code.astype(jnp.float32) * fp16.widen(forward.x_scale)
    y = fp16.round_once(float_conv.float_conv(config, value, _value(params)), config.mode)
    return (y if params.bias is None else fp16.add(y, params.bias, config.mode)), code, mask


def _quantized(config: ConvConfig, params: ConvParams, x: Array) -> tuple[Array, Array]:
    """Codes of x and their mask, stored as one number, else each computes anew what x is made of."""
    fmt = config.x_format
    if fmt.bits > _WITH_MASK:
        return conv.quantize_input(config, params, once(x))
    code, mask = conv.quantize_input(config, params, x)
    apart = code.dtype.type(1 << _WITH_MASK)  # of a clipped code's number from the code
    number = once(jnp.where(mask, code, code + apart))
    mask = number <= code.dtype.type(fmt.max)
    return jnp.where(mask, number, number - apart), mask


def _value(params: ConvParams) -> Float32[Array, "kh kw c_in c_out"]:
    code = params.weight_code.astype(jnp.float32)
    return code * jnp.broadcast_to(fp16.widen(params.w_scale), code.shape)


class _Saved(NamedTuple):
    weight: Any
    params: ConvParams  # its codes are made once for both passes
    forward: ForwardScales
    gradient: BackwardScales
    mask: Bool[Array, "n h w c"] | None  # where the input needs a gradient
    code: Int8[Array, "n h w c"] | None  # where the weights do
    x: Array | None  # where its scale does: f16[n,h,w,c], or i8 of `scale_gradient.host_clip_gradient`'s ends
    shape: Array  # no elements: the input's rows and columns
    probed: Array | None


def _forward(plan: ConvPlan, weight: Any, bias: Any, forward: Any, gradient: Any, probe: Any, x: Any) -> Any:
    plain = jax.tree.map(lambda leaf: leaf.value, (bias, forward, gradient), is_leaf=_is_primal)
    params = conv_params(plan.config, weight.value, *plain)
    params = params._replace(weight_code=once(params.weight_code))
    y, code, mask = _run(plan, params, plain[1], x.value)
    shape = jnp.zeros((0, *x.value.shape[1:3]))
    probed = probe.value if probe.perturbed else None
    learns = forward.learned is not None and forward.learned.perturbed
    seen = None
    if learns:
        seen = x.value if plan.learned is ScaleRule.LSQ else jnp.where(mask, jnp.zeros_like(code), code)
    if plan.channels:
        code = code[..., jnp.array(plan.channels)]
    kept = mask if x.perturbed else None, code if weight.perturbed else None, seen
    return y, _Saved(weight.value, params, plain[1], plain[2], *kept, shape, probed)


def _is_primal(leaf: Any) -> bool:
    return hasattr(leaf, "perturbed")


def _backward(plan: ConvPlan, saved: _Saved, dy: Any) -> tuple[Any, ...]:
    if isinstance(dy, SymbolicZero):
        return None, None, None, None, None, None
    params = saved.params
    dx, ready = None, dy
    if saved.mask is not None:
        ready = once(_ready(plan, params, dy))  # else who asks whether all are zero makes them anew
        dx = _input_gradient(plan, params, saved, dy, ready)
        if plan.warn:
            _warn_where_silent(plan.warn, ready)
    dweight = None
    if saved.code is not None:
        value = saved.code.astype(jnp.float32) * fp16.widen(saved.forward.x_scale)
        dweight = weight_gradient(plan.config, value, fp16.widen(dy), saved.weight, params, plan.channels)
    dbias = None if params.bias is None else ordered.channel_sum(dy)
    dforward = None if saved.x is None else _scale_gradient(plan, params, saved, dy)
    seen = None if saved.probed is None else jnp.stack([_largest(plan, params, dy), _heard(ready)])
    return dweight, dbias, dforward, None, seen, dx


def _scale_gradient(plan: ConvPlan, params: ConvParams, saved: _Saved, dy: Array) -> ForwardScales:
    """Of the scale that is learned; the others of the scales have none."""
    assert saved.x is not None
    weight = _value(params)
    if plan.learned is ScaleRule.PACT:
        hw = saved.x.shape[1], saved.x.shape[2]
        found = scale_gradient.host_clip_gradient(plan.config, saved.x, weight, dy, hw)
    else:
        quantized = conv.quantize_input(plan.config, params, saved.x)
        found = scale_gradient.host_gradient(plan.config, saved.x, quantized, weight, dy, saved.forward.x_scale)
    none: Any = None
    return ForwardScales(none, none, none, none, found)


convolve.defvjp(_forward, _backward, symbolic_zeros=True)


def weight_gradient(
    config: ConvConfig, value: Array, dy: Array, weight: Array, params: ConvParams, channels: tuple[int, ...] = ()
) -> Array:
    """The host's float32 gradient of the weights, straight through their rounding, zero where it clips.

    With `channels` those are the input channels that `value` has, and the others' gradient is zero.
    """
    inside = weight_codes(weight, params.w_scale, config.weight_format)[1]
    found = host_gradient(config, value, dy, weight.shape[:2])
    if channels:
        found = jnp.zeros_like(weight).at[:, :, jnp.array(channels)].set(found)
    return jnp.where(inside, found, jnp.float32(0))


# A program of its own, because a name scope is not kept inside a backward pass.
@functools.partial(jax.jit, static_argnums=(0, 3))
def host_gradient(config: ConvConfig, value: Array, dy: Array, kernel_hw: tuple[int, int]) -> Array:
    """The sums of `weight_gradient`, in whatever order XLA likes: the host's (numerics.HOST)."""
    return float_conv.weight_gradient(config, value, dy, kernel_hw)


def _largest(plan: ConvPlan, params: ConvParams, dy: Array) -> Float32[Array, ""]:
    folded = conv.fold_gradient(plan.config, params, dy)
    word = jnp.max(fp16.bits(folded) & jnp.uint16(0x7FFF))
    return fp16.widen(lax.bitcast_convert_type(word, jnp.float16))


def _heard(ready: Array) -> Float32[Array, ""]:
    """1 if any code, or FP16 number, is not zero."""
    word = fp16.bits(ready) & jnp.uint16(0x7FFF) if ready.dtype == jnp.float16 else ready
    return jnp.any(word != 0).astype(jnp.float32)


def _warn_where_silent(name: str, ready: Array) -> None:
    def warn() -> None:
        told = f"{name}: found gradient codes that are all zero in a step: nothing before it trains"
        warnings.warn(told, stacklevel=2)

    lax.cond(_heard(ready) == 0, lambda: jax.debug.callback(warn), lambda: None)


def _ready(plan: ConvPlan, params: ConvParams, dy: Array) -> Array:
    """Codes of dy, or dy as C3 multiplies it."""
    config = plan.config
    start = lax.axis_index(AXIS).astype(jnp.uint32) * jnp.uint32(math.prod(dy.shape)) if plan.sharded else 0
    if plan.scaling is Scaling.ROW:
        return row_codes(config, params, dy, start)
    if plan.scaling is Scaling.LOG:
        return log_codes(config, params, dy, start)
    return conv.prepare_gradient(config, params, dy, start)


def _input_gradient(plan: ConvPlan, params: ConvParams, saved: _Saved, dy: Array, ready: Array) -> Array:
    config = plan.config
    assert saved.mask is not None
    hw = saved.shape.shape[1], saved.shape.shape[2]
    places = conv.gradient_places(config, params, dy.shape[1:3], hw)
    if plan.numerics is Numerics.BIT_ACCURATE:
        kernel = conv.gradient_kernel(config, params)
        return conv.multiply_gradient(config, params, kernel, ready, saved.mask, places)
    return _simulated_gradient(config, params, saved, ready)


def _simulated_gradient(config: ConvConfig, params: ConvParams, saved: _Saved, ready: Array) -> Array:
    if config.gradient is Gradient.FP16:
        value = fp16.widen(ready, config.mode)
    else:
        value = ready.astype(jnp.float32) * fp16.widen(saved.gradient.dy_scale)
    weight = params.weight_code.astype(jnp.float32) if config.fold else _value(params)
    assert saved.mask is not None
    dx = float_conv.input_gradient(config, weight, value, saved.mask.shape[1:3])
    return jnp.where(saved.mask, fp16.round_once(dx, config.mode), jnp.float16(0))


def row_codes(
    config: ConvConfig, params: ConvParams, dy: Float16[Array, "n oh ow co"], start: int | Array
) -> Integer[Array, "n oh ow co"]:
    """Codes of dy under a scale for each row: the tensor's times 2^k, k from 0 to ROW_BITS.

    k is the least for which the row's largest magnitude rounds to a code that is not clipped. A row's codes have
    ROW_BITS fewer bits than `config.dy_format`; shifted left by k they are codes of the tensor's scale, which the
    accumulator takes as any other (SPEC.md C2, M1).

    Raises:
        BitrowError: a per-channel weight scale without `fold` (C2).
    """
    dy = conv.fold_gradient(config, params, dy)
    narrow = replace(config.dy_format, bits=config.dy_format.bits - ROW_BITS)
    t = fp16.mul(dy, params.dy_inv_scale, config.mode)
    magnitude = fp16.bits(t) & jnp.uint16(0x7FFF)
    number = jnp.where(magnitude > jnp.uint16(FP16.infinity_bits), jnp.uint16(0), magnitude)
    largest = lax.bitcast_convert_type(jnp.max(number, axis=(2, 3), keepdims=True), jnp.float16)
    shift = jnp.zeros(largest.shape, jnp.int32)
    for k in range(ROW_BITS):
        shift = shift + (fp16.widen(largest) >= jnp.float32((narrow.max + 0.5) * 2.0**k)).astype(jnp.int32)
    # 2^-k by its exponent field; the product may leave FP16's normal range, where it rounds to subnormals.
    inverse = lax.bitcast_convert_type(((15 - shift) << 10).astype(jnp.uint16), jnp.float16)
    inverse = jnp.broadcast_to(inverse, dy.shape)
    if config.dy_rounding is QuantRounding.NEAREST_EVEN:
        code = fxp.quantize(t, inverse, narrow, config.mode)[0]
    else:
        words = lfsr.words(params.seed, start, dy.shape)
        code = fxp.quantize_stochastic(t, inverse, words, narrow, config.mode)[0]
    return (code.astype(jnp.int32) << jnp.broadcast_to(shift, code.shape)).astype(fxp.code_dtype(config.dy_format))


def log_codes(
    config: ConvConfig, params: ConvParams, dy: Float16[Array, "n oh ow co"], start: int | Array
) -> Integer[Array, "n oh ow co"]:
    """Codes of dy that are 0 or powers of two up to LOG_MOST, which the accumulator takes as any (SPEC.md C2, M1).

    Four bits hold them, sign and exponent; they are wider codes of the tensor's scale. Between two of them the fraction
    decides, by Q3's words or, to the nearest, ties away from 0. A NaN is 0.

    Raises:
        BitrowError: a per-channel weight scale without `fold` (C2).
    """
    dy = conv.fold_gradient(config, params, dy)
    t = fp16.mul(dy, params.dy_inv_scale, config.mode)
    word = fp16.bits(t)
    magnitude = fp16.widen(lax.bitcast_convert_type(word & jnp.uint16(0x7FFF), jnp.float16))
    magnitude = jnp.where(jnp.isnan(magnitude), jnp.float32(0), jnp.minimum(magnitude, jnp.float32(LOG_MOST)))
    exponent = (lax.bitcast_convert_type(magnitude, jnp.int32) >> 23) - 127  # of float32
    whole = jnp.where(exponent < 0, 0, jnp.int32(1) << jnp.maximum(exponent, 0))
    step = jnp.maximum(whole, 1)
    # at most 16 bits of a fraction, times a power of two: exact
    inverse = lax.bitcast_convert_type((127 - jnp.maximum(exponent, 0)) << 23, jnp.float32)
    part = (magnitude - whole.astype(jnp.float32)) * inverse
    if config.dy_rounding is QuantRounding.NEAREST_EVEN:
        up = part >= jnp.float32(0.5)
    else:
        words = lfsr.words(params.seed, start, dy.shape).astype(jnp.float32)
        up = part * jnp.float32(65536) >= jnp.float32(65536) - words
    code = whole + step * up.astype(jnp.int32)
    return jnp.where(word >> 15 == 1, -code, code).astype(fxp.code_dtype(config.dy_format))
