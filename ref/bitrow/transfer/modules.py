"""flax nnx modules over the layers: they train with optax like any others, in the numerics of one attribute.

Every module holds float32 master parameters (`nnx.Param`) and runs them in `numerics`, which
`module.set_attributes(numerics=...)` changes for a whole tree: float32, simulated or bit-accurate, the same
parameters, the same code. Between modules values are FP16, or float32 under Numerics.FLOAT32.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from bitrow import typed
from bitrow.config import AddConfig, BatchNormConfig, ConvConfig, LayerConfig, LinearConfig, ReluConfig, Statistics
from bitrow.errors import BitrowError
from bitrow.float_conv import float_conv
from bitrow.formats import FloatMode, Fxp
from bitrow.host import nearest_fp16
from bitrow.layers import batch_norm, linear
from bitrow.layers.batch_norm import BatchParams, FrozenParams
from bitrow.layers.conv import ConvParams
from bitrow.layers.linear import LinearParams
from bitrow.layers.table import layer
from bitrow.layers.twin import EPS, FloatLayer
from bitrow.ops import fp16
from bitrow.parameters import LayerParams
from bitrow.transfer import ordered
from bitrow.transfer.convolution import BackwardScales, ConvPlan, ForwardScales, conv_params, convolve, weight_codes
from bitrow.transfer.numerics import Numerics, Scaling


class Probe(nnx.Variable):
    """A float32 zero whose "gradient" is the largest magnitude of a convolution's output gradient."""


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
    """A convolution (SPEC.md C), from the layer's parameters and optionally the float32 weights behind them.

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
        super().__init__()
        self.config, self.scaling, self.sharded = config, scaling, False
        if weight is None:
            code = np.asarray(params.weight_code, np.float32)
            weight = jnp.asarray(code * np.asarray(params.w_scale, np.float32))
        if bias is None and params.bias is not None:
            bias = fp16.widen(params.bias)
        same = _codes(weight, params.w_scale, config.weight_format) == params.weight_code
        if not bool(same.all()):
            raise BitrowError(f"{name}: found weights that do not round to its weight_code, expected the same codes")
        self.weight = nnx.Param(weight)
        self.bias = None if bias is None else nnx.Param(bias)
        scale = jnp.float16(x_scale if x_scale is not None else input_scale(params))
        self.scales = CalibrationConstant(ForwardScales(scale, params.x_inv_scale, params.w_scale, params.scale))
        dy_scale = gradient_scale(params, config)
        self.gradient = GradientState(
            BackwardScales(jnp.float16(dy_scale), params.dy_inv_scale, params.dx_scale, params.seed)
        )
        self.probe = Probe(jnp.zeros((), jnp.float32))

    def __call__(self, x: Array) -> Array:
        """y [n,oh,ow,c_out] of x [n,h,w,c_in]."""
        weight = self.weight.get_value()
        bias = None if self.bias is None else self.bias.get_value()
        if self.in_float:
            y = float_conv(self.config, x, weight)
            return y if bias is None else y + jnp.broadcast_to(bias, y.shape)
        plan = ConvPlan(self.config, self.numerics, self.scaling, self.sharded)
        state = self.gradient.get_value()
        return convolve(plan, weight, bias, self.scales.get_value(), state, self.probe.get_value(), x)

    def to_params(self) -> ConvParams:
        bias = None if self.bias is None else self.bias.get_value()
        forward, gradient = self.scales.get_value(), self.gradient.get_value()
        return conv_params(self.config, self.weight.get_value(), bias, forward, gradient)


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


class FrozenBatchNorm(LayerModule):
    """Batch norm with frozen statistics, folded (SPEC.md B1): z = a*y + b with masters `scale` and `shift`.

    The masters round to FP16's a and b. Trained ones are the host's, its gradients sums in float32.
    """

    def __init__(self, config: BatchNormConfig, scale: Array, shift: Array) -> None:
        super().__init__()
        self.config = config
        self.scale, self.shift = nnx.Param(scale), nnx.Param(shift)

    def __call__(self, y: Array) -> Array:
        """z of y, both [n,h,w,c]."""
        scale, shift = self.scale.get_value(), self.shift.get_value()
        if self.in_float:
            return y * jnp.broadcast_to(scale, y.shape) + jnp.broadcast_to(shift, y.shape)
        return _normalize(self.config, scale, shift, y)

    def to_params(self) -> FrozenParams:
        return FrozenParams(ordered.half(self.scale.get_value()), ordered.half(self.shift.get_value()))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normalize(config: BatchNormConfig, scale: Array, shift: Array, y: Array) -> Array:
    return batch_norm.affine(config, ordered.half(scale), ordered.half(shift), y)


def _normalize_forward(config: BatchNormConfig, scale: Any, shift: Any, y: Any) -> tuple[Array, Any]:
    z = _normalize(config, scale.value, shift.value, y.value)
    return z, (scale.value, y.value if scale.perturbed else None, shift.value if shift.perturbed else None)


def _normalize_backward(config: BatchNormConfig, saved: Any, dz: Array) -> tuple[Any, ...]:
    scale, y, shift = saved
    if not isinstance(dz, Array):  # a symbolic zero
        return None, None, None
    params = FrozenParams(ordered.half(scale), ordered.half(scale))  # b plays no part in the gradient of y
    dscale = None
    if y is not None:  # the products are exact in float32
        dscale = ordered.tree_sum(fp16.product(fp16.widen(dz), fp16.widen(y)), (0, 1, 2))
    dshift = None if shift is None else ordered.channel_sum(dz)
    return dscale, dshift, batch_norm.backward_frozen(config, params, dz)


_normalize.defvjp(_normalize_forward, _normalize_backward, symbolic_zeros=True)


class BatchNorm(LayerModule):
    """Batch norm with the batch's own statistics (SPEC.md B2, B3): gamma and beta train, on the accelerator's sums."""

    def __init__(self, config: BatchNormConfig, gamma: Array, beta: Array, eps: float = EPS) -> None:
        super().__init__()
        self.config, self.eps = config, eps
        self.gamma, self.beta = nnx.Param(gamma), nnx.Param(beta)

    def __call__(self, y: Array) -> Array:
        """z of y, both [n,h,w,c]."""
        if not self.in_float:
            return batch_norm.apply_batch(self.config, self.to_params(), y)
        gamma, beta = self.gamma.get_value(), self.beta.get_value()
        a = gamma / jnp.sqrt(y.var((0, 1, 2)) + self.eps)
        b = beta - y.mean((0, 1, 2)) * a
        return y * jnp.broadcast_to(a, y.shape) + jnp.broadcast_to(b, y.shape)

    def to_params(self) -> BatchParams:
        return BatchParams(self.gamma.get_value(), self.beta.get_value(), jnp.float32(self.eps))


class UntrainedLayer(LayerModule):
    """A layer of any kind that trains nothing: `params` and what its float twin runs on are constants."""

    def __init__(self, config: LayerConfig, params: LayerParams = None, floats: FloatLayer = FloatLayer()) -> None:
        super().__init__()
        self.config = config
        self.constants = None if params is None else CalibrationConstant((params, floats))

    def __call__(self, *inputs: Array) -> Array:
        """The result of a map for each input."""
        params, floats = (None, FloatLayer()) if self.constants is None else self.constants.get_value()
        if self.in_float:
            return layer(self.config).twin.forward(self.config, floats, list(inputs))[0]
        return layer(self.config).apply(self.config, params, *inputs)

    def to_params(self) -> LayerParams:
        return None if self.constants is None else self.constants.get_value()[0]


class Relu(UntrainedLayer):
    """ReLU or ReLU6 (SPEC.md A1)."""

    def __init__(self, config: ReluConfig = ReluConfig()) -> None:
        super().__init__(config)


class Add(UntrainedLayer):
    """Residual add (SPEC.md A2)."""

    def __init__(self, config: AddConfig = AddConfig()) -> None:
        super().__init__(config)


class Pool(UntrainedLayer):
    """Max or average pool (SPEC.md A2, A3)."""


class Head(LayerModule):
    """Classifier head (SPEC.md A4), its weight gradient the host's: pairwise trees over the batch.

    `weight` f32[in, classes], whose FP16 roundings the head multiplies by, and `bias` f32[classes].
    """

    def __init__(self, config: LinearConfig, weight: Array, bias: Array) -> None:
        super().__init__()
        self.config = config
        self.weight, self.bias = nnx.Param(weight), nnx.Param(bias)

    def __call__(self, x: Array) -> Array:
        """Logits [n, classes] of x [n, ...], read flattened in row-major order."""
        x = x.reshape(x.shape[0], -1)
        weight, bias = self.weight.get_value(), self.bias.get_value()
        if self.in_float:
            y = x @ weight
            return y + jnp.broadcast_to(bias, y.shape)
        return _classify(self.config, weight, bias, x)

    def to_params(self) -> LinearParams:
        return LinearParams(ordered.half(self.weight.get_value()), self.bias.get_value())


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _classify(config: LinearConfig, weight: Array, bias: Array, x: Array) -> Array:
    return linear.forward(config, LinearParams(ordered.half(weight), bias), x)


def _classify_forward(config: LinearConfig, weight: Array, bias: Array, x: Array) -> tuple[Array, Any]:
    params = LinearParams(ordered.half(weight), bias)
    return linear.forward(config, params, x), (params, x)


def _classify_backward(config: LinearConfig, saved: Any, dy: Array) -> tuple[Array, Array, Array]:
    params, x = saved
    return ordered.outer_sum(x, dy), ordered.tree_sum(fp16.widen(dy), (0,)), linear.backward(config, params, dy)


_classify.defvjp(_classify_forward, _classify_backward)


class ResidualBlock(LayerModule):
    """relu(main(x) + shortcut(x)): `main` and `shortcut` are chains of layers; an empty shortcut is x itself.

    The gradient of x is the sum of both chains', the shortcut's first (SPEC.md A5).
    """

    def __init__(
        self, main: Sequence[LayerModule], shortcut: Sequence[LayerModule] = (), mode: FloatMode = FloatMode()
    ) -> None:
        super().__init__()
        self.mode = mode
        self.main, self.shortcut = nnx.List(list(main)), nnx.List(list(shortcut))
        self.add, self.relu = Add(AddConfig(mode)), Relu()

    def __call__(self, x: Array) -> Array:
        """y [n,oh,ow,c_out] of x [n,h,w,c_in]."""
        y, shortcut = (x, x) if self.in_float else ordered.copies(self.mode, 2, x)
        for each in self.main:
            y = each(y)
        for each in self.shortcut:
            shortcut = each(shortcut)
        return self.relu(self.add(y, shortcut))


__all__ = [
    "Add",
    "BatchNorm",
    "Conv",
    "FrozenBatchNorm",
    "Head",
    "LayerModule",
    "Pool",
    "Relu",
    "ResidualBlock",
    "Statistics",
    "UntrainedLayer",
]  # fmt: skip
