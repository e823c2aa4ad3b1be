"""Hard sigmoid (SPEC.md A9)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float16

from bitrow.config import HardSigmoidConfig, ReluConfig
from bitrow.doors import guard
from bitrow.formats import FP16
from bitrow.layers import activation
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import FloatLayer, Twin
from bitrow.ops import fp16
from bitrow.ops.tap import Tap, no_tap

_ONE = 0x3C00


def _constant(word: int) -> Array:
    return lax.bitcast_convert_type(jnp.uint16(word), jnp.float16)


def clip(x: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """x between 0 and 1, NaN for NaN."""
    word = fp16.bits(activation.forward(ReluConfig(), x))
    word = jnp.where(word > jnp.uint16(FP16.infinity_bits), word, jnp.minimum(word, jnp.uint16(_ONE)))
    return lax.bitcast_convert_type(word, jnp.float16)


def forward(config: HardSigmoidConfig, x: Float16[Array, "*s"], tap: Tap = no_tap) -> Float16[Array, "*s"]:
    """alpha * x + beta, each rounded once, then between 0 and 1. Taps scaled, shifted, y."""
    scaled = fp16.mul(x, _constant(config.alpha), config.mode)
    shifted = fp16.add(scaled, _constant(config.beta), config.mode)
    y = clip(shifted)
    for name, value in (("scaled", scaled), ("shifted", shifted), ("y", y)):
        tap(name, value)
    return y


def passes(y: Float16[Array, "*s"]) -> Bool[Array, "*s"]:
    """Where backward passes dy, from the result: between 0 and 1."""
    word = fp16.bits(y)
    return (word > 0) & (word < jnp.uint16(_ONE))


def backward(
    config: HardSigmoidConfig, mask: Bool[Array, "*s"], dy: Float16[Array, "*s"], tap: Tap = no_tap
) -> Float16[Array, "*s"]:
    """dy * alpha, rounded once, where `mask`, as `passes` gives it, else +0. Taps slope, dx."""
    slope = fp16.mul(dy, _constant(config.alpha), config.mode)
    dx = jnp.where(mask, slope, jnp.float16(0))
    tap("slope", slope)
    tap("dx", dx)
    return dx


def apply(config: HardSigmoidConfig, x: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """`forward`, differentiable by `backward`."""
    return LAYER.apply(config, None, x)


def _forward(config: HardSigmoidConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, Array]:
    y = forward(config, inputs[0], tap)
    return y, passes(y)


def _backward(config: HardSigmoidConfig, up: Upstream) -> Gradients:
    return Gradients((backward(config, up.saved, up.dy, up.tap),))


def _row(config: HardSigmoidConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    y = forward(config, operands[0])
    return y, (passes(y).astype(jnp.uint8),)


def _row_back(config: HardSigmoidConfig, task: RowTask, dy: Array) -> Written:
    return (backward(config, task.take("mask").astype(bool), dy),)


def _number(word: int) -> Array:
    return _constant(word).astype(jnp.float32)


def _float(config: HardSigmoidConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    return jnp.clip(inputs[0] * _number(config.alpha) + _number(config.beta), 0, 1), None


# Of a normal input: a result about 1/2, a slope of about 1/6 where it has one.
TWIN = Twin(_float, moment=lambda config, site: 0.3, gradient=lambda config, site, dy: dy / 36)
LAYER = Layer(_forward, _backward, Rows(_row, _row_back), twin=TWIN)

guard(__name__)
