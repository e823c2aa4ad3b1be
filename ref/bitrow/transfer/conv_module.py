"""The convolution as a flax nnx module, and what every module of a layer has: the numerics that it runs in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from bitrow import typed
from bitrow.config import ConvConfig
from bitrow.errors import BitrowError
from bitrow.float_conv import float_conv
from bitrow.formats import Fxp, Gradient
from bitrow.host import nearest_fp16
from bitrow.layers.conv import ConvParams
from bitrow.ops import fp16
from bitrow.parameters import LayerParams
from bitrow.transfer import learned_scales, ordered
from bitrow.transfer.convolution import BackwardScales, ConvPlan, ForwardScales, conv_params, convolve, weight_codes
from bitrow.transfer.numerics import GradientNumerics, Numerics, ScaleRule, Scaling, wide_format


class Probe(nnx.Variable):
    """Float32 zeros [2] whose "gradient" is what `convolution.convolve` saw of its output gradient."""


class GradientState(nnx.Variable):
    """A convolution's BackwardScales, which may change between steps."""


class CalibrationConstant(nnx.Variable):
    """What calibration chose and training does not change."""


class LayerModule(nnx.Module):
    """What every layer has: the numerics that it runs in."""

    def __init__(self, numerics: Numerics = Numerics.BIT_ACCURATE) -> None:
        self.numerics = numerics

    @property
    def in_float(self) -> bool:
        """Whether values are float32."""
        return typed.coerce("numerics", Numerics, self.numerics) is Numerics.FLOAT32

    def to_params(self) -> LayerParams | None:
        """The parameters as the contract's layer reads them, None where it has none."""
        return None


class Conv(LayerModule):
    """A convolution (SPEC.md C) built as `nnx.Conv` is, for modules of one's own.

    Weights f32[kh,kw,in/groups,out] are lecun-normal and a bias f32[out] zero, drawn from `rngs.params`. `config` says
    geometry and formats: `ConvConfig(stride=2, padding=1)`. In float32 it runs at once; in other numerics once
    `own_loop.calibrate` has chosen its scales.

    Raises:
        BitrowError: channels that the groups do not divide, a kernel that is none, a scaling that the gradient's format
            cannot have (`numerics.GradientNumerics`).
    """

    config: ConvConfig
    weight: nnx.Param[Array]
    bias: nnx.Param[Array] | None
    step: nnx.Param[Array] | None
    clip: nnx.Param[Array] | None
    scales: CalibrationConstant
    gradient: GradientState

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        *,
        config: ConvConfig = ConvConfig(),
        use_bias: bool = True,
        scaling: Scaling = Scaling.STATIC,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__()
        if config.gradient is Gradient.FXP:
            fmt = GradientNumerics(config.dy_format, config.dy_rounding, scaling).fmt
            assert fmt is not None
            config = replace(config, dy_format=wide_format(fmt, scaling))
        shape = _weight_shape(config, in_features, out_features, kernel_size)
        weight = nnx.initializers.lecun_normal()(rngs.params(), shape, jnp.float32)
        bias = jnp.zeros(out_features, jnp.float32) if use_bias else None
        one, seed = jnp.float16(1), jax.random.randint(rngs.params(), (), 1, 1 << 16).astype(jnp.uint16)
        self._hold(config, weight, bias, scaling)
        self.calibrated = False
        self.set_scales(ForwardScales(one, one, one, one), BackwardScales(one, one, one, seed))

    def _hold(self, config: ConvConfig, weight: Array, bias: Array | None, scaling: Scaling) -> None:
        self.config, self.scaling, self.sharded = config, scaling, False
        self.weight = nnx.Param(weight)
        self.bias = None if bias is None else nnx.Param(bias)
        self.step, self.clip, self.powers = nnx.data(None), nnx.data(None), False
        self.probe = Probe(jnp.zeros(2, jnp.float32))
        self.name = self.warn = ""
        self.channels: tuple[int, ...] = ()  # whose weights train; all of them
        self.calibrated = True

    def set_scales(self, forward: ForwardScales, gradient: BackwardScales) -> None:
        """Take these scales (SPEC.md F8, D3)."""
        self.scales, self.gradient = CalibrationConstant(forward), GradientState(gradient)

    def learn_scale(self, power_of_two: bool = False, rule: ScaleRule = ScaleRule.LSQ) -> None:
        """Let the input's scale train (`learned_scales`), as a multiple f32[] of what calibration chose.

        The multiple is called `step`, under PACT `clip`.
        """
        one, self.powers = nnx.data(nnx.Param(jnp.ones((), jnp.float32))), power_of_two
        self.step, self.clip = (one, nnx.data(None)) if rule is ScaleRule.LSQ else (nnx.data(None), one)

    def forward_scales(self) -> ForwardScales:
        """Those that it runs on."""
        chosen: ForwardScales = self.scales.get_value()
        learned = self.clip if self.step is None else self.step
        return chosen if learned is None else learned_scales.scales(chosen, learned.get_value(), self.powers)

    def __call__(self, x: Array) -> Array:
        """y [n,oh,ow,c_out] of x [n,h,w,c_in]. Raises: BitrowError: no scales yet."""
        weight = self.weight.get_value()
        bias = None if self.bias is None else self.bias.get_value()
        if self.in_float:
            y = float_conv(self.config, x, weight)
            y = y if bias is None else y + jnp.broadcast_to(bias, y.shape)
            look = OBSERVER.get()
            return y if look is None else look(self, x, y)
        if not self.calibrated:
            raise BitrowError(f"{self.name or 'convolution'}: found no scales, expected own_loop.calibrate before")
        rule = ScaleRule.LSQ if self.clip is None else ScaleRule.PACT
        plan = ConvPlan(self.config, self.numerics, self.scaling, self.sharded, self.warn, self.channels, rule)
        state = self.gradient.get_value()
        scales, probe = self.forward_scales(), self.probe.get_value()
        return convolve(plan, weight, bias, scales, state, probe, ordered.as_half(x))

    def to_params(self) -> ConvParams:
        bias = None if self.bias is None else self.bias.get_value()
        forward, gradient = self.forward_scales(), self.gradient.get_value()
        return conv_params(self.config, self.weight.get_value(), bias, forward, gradient)


# Of convolutions in float32: what is called with (convolution, x, y), and gives the y to go on with.
OBSERVER: ContextVar[Callable[[Conv, Array, Array], Array] | None] = ContextVar("observer", default=None)


def _weight_shape(
    config: ConvConfig, c_in: int, c_out: int, kernel: int | Sequence[int]
) -> tuple[int, int, int, int]:
    size = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
    if len(size) != 2 or min(size) < 1:
        raise BitrowError(f"convolution kernel_size: found {kernel}, expected rows and columns")
    if min(c_in, c_out) < 1 or c_in % config.groups or c_out % config.groups:
        raise BitrowError(f"convolution: found {c_in} to {c_out} channels, expected multiples of {config.groups}")
    return size[0], size[1], c_in // config.groups, c_out


class ConvOfParams(Conv):
    """A convolution from the layer's parameters and optionally the float32 weights behind them.

    `weight` f32[kh,kw,c_in/groups,c_out] defaults to `w_scale * weight_code`, `bias` f32[c_out] to the layer's.
    `x_scale` defaults to the scale that the stored inverse and product come from.

    Raises:
        BitrowError: naming `name`; weights whose codes are not the parameters'.
    """

    def __init__(
        self,
        config: ConvConfig,
        params: ConvParams,
        weight: Array | None = None,
        bias: Array | None = None,
        x_scale: float | None = None,
        *,
        scaling: Scaling = Scaling.STATIC,
        name: str = "convolution",
    ) -> None:
        LayerModule.__init__(self)
        if weight is None:
            code = np.asarray(params.weight_code, np.float32)
            weight = jnp.asarray(code * np.asarray(params.w_scale, np.float32))
        if bias is None and params.bias is not None:
            bias = fp16.widen(params.bias)
        same = _codes(weight, params.w_scale, config.weight_format) == params.weight_code
        if not bool(same.all()):
            raise BitrowError(f"{name}: found weights that do not round to its weight_code, expected the same codes")
        self._hold(config, weight, bias, scaling)
        scale = jnp.float16(x_scale if x_scale is not None else input_scale(params))
        self.set_scales(
            ForwardScales(scale, params.x_inv_scale, params.w_scale, params.scale),
            BackwardScales(
                jnp.float16(gradient_scale(params, config)), params.dy_inv_scale, params.dx_scale, params.seed
            ),
        )


@functools.partial(jax.jit, static_argnums=2)
def _codes(weight: Array, w_scale: Array, fmt: Fxp) -> Array:
    return weight_codes(weight, w_scale, fmt)[0]


def input_scale(params: ConvParams) -> float:
    """The FP16 scale nearest to 1/x_inv_scale whose inverse and product with w_scale are the stored ones."""
    inverse = float(params.x_inv_scale)
    w_scale, product = (np.asarray(v, np.float64).reshape(-1)[0] for v in (params.w_scale, params.scale))
    near = np.float16(1 / inverse)
    candidates = [near]
    for towards in (0, np.inf):
        step = near
        for _ in range(4):
            step = np.nextafter(step, np.float16(towards))
            candidates.append(step)
    for scale in sorted(map(float, candidates), key=lambda value: abs(value - 1 / inverse)):
        if nearest_fp16(1 / scale) == inverse and nearest_fp16(scale * w_scale) == product:
            return scale
    return float(near)


def gradient_scale(params: ConvParams, config: ConvConfig) -> float:
    """The dy_scale behind dy_inv_scale: the FP16 number nearest to its inverse that makes the stored dx_scale."""
    inverse = float(params.dy_inv_scale)
    if params.dx_scale is None:
        return nearest_fp16(1 / inverse)
    if config.fold:
        return float(params.dx_scale)
    return input_scale(params._replace(x_inv_scale=params.dy_inv_scale, scale=params.dx_scale))
