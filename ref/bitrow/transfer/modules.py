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
from flax import nnx
from jax import Array

from bitrow.config import AddConfig, BatchNormConfig, LayerConfig, LinearConfig, ReluConfig, Statistics
from bitrow.formats import FloatMode
from bitrow.layers import batch_norm, linear
from bitrow.layers.batch_norm import BatchParams, FrozenParams
from bitrow.layers.linear import LinearParams
from bitrow.layers.table import layer
from bitrow.layers.twin import EPS, FloatLayer
from bitrow.ops import fp16
from bitrow.parameters import LayerParams
from bitrow.transfer import ordered
from bitrow.transfer.conv_module import (
    CalibrationConstant,
    Conv,
    ConvOfParams,
    GradientState,
    LayerModule,
    Probe,
)  # fmt: skip


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
        return _normalize(self.config, scale, shift, ordered.as_half(y))

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
            return batch_norm.apply_batch(self.config, self.to_params(), ordered.as_half(y))
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
        return layer(self.config).apply(self.config, params, *map(ordered.as_half, inputs))

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
        return _classify(self.config, weight, bias, ordered.as_half(x))

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
        y, shortcut = (x, x) if self.in_float else ordered.copies(self.mode, 2, False, ordered.as_half(x))
        for each in self.main:
            y = each(y)
        for each in self.shortcut:
            shortcut = each(shortcut)
        return self.relu(self.add(y, shortcut))


__all__ = [
    "Add",
    "BatchNorm",
    "CalibrationConstant",
    "Conv",
    "ConvOfParams",
    "FrozenBatchNorm",
    "GradientState",
    "Head",
    "LayerModule",
    "Pool",
    "Probe",
    "Relu",
    "ResidualBlock",
    "Statistics",
    "UntrainedLayer",
]  # fmt: skip
