"""ReLU and ReLU6, decided on the bits (SPEC.md A1)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float16

from bitrow.config import ReluConfig
from bitrow.doors import guard
from bitrow.formats import FP16
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import FloatLayer, Twin
from bitrow.ops import fp16
from bitrow.ops.once import once
from bitrow.ops.tap import Tap, no_tap

SIX = 0x4600


def _positive(word: Array, below: int) -> Array:
    """0 < x < the FP16 number of bits `below`."""
    return (word > 0) & (word < jnp.uint16(below))


def forward(config: ReluConfig, x: Float16[Array, "*s"], tap: Tap = no_tap) -> Float16[Array, "*s"]:
    """x where x > 0 (6 above 6 with `six`), NaN where NaN, else +0. Tap y."""
    word = fp16.bits(x)
    y = jnp.where(_positive(word, FP16.infinity_bits + 1), word, jnp.uint16(0))
    if config.six:
        y = jnp.minimum(y, jnp.uint16(SIX))
    nan = (word & jnp.uint16(0x7FFF)) > jnp.uint16(FP16.infinity_bits)
    out = lax.bitcast_convert_type(jnp.where(nan, jnp.uint16(FP16.nan_bits), y), jnp.float16)
    tap("y", out)
    return out


def passes(config: ReluConfig, x: Float16[Array, "*s"]) -> Bool[Array, "*s"]:
    """Where backward passes dy: all that it needs of x."""
    return _positive(fp16.bits(x), SIX if config.six else FP16.infinity_bits + 1)


def backward(
    config: ReluConfig, mask: Bool[Array, "*s"], dy: Float16[Array, "*s"], tap: Tap = no_tap
) -> Float16[Array, "*s"]:
    """dy where `mask`, as `passes` gives it, else +0. Tap dx."""
    dx = jnp.where(mask, fp16.canonical(dy), jnp.float16(0))
    tap("dx", dx)
    return dx


def apply(config: ReluConfig, x: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """`forward`, differentiable by `backward`."""
    return LAYER.apply(config, None, x)


def _forward(config: ReluConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, Array]:
    y = once(forward(config, inputs[0], tap))  # else the mask, whose bits of y and of x are the same, makes x anew
    return y, passes(config, y)


def _backward(config: ReluConfig, up: Upstream) -> Gradients:
    return Gradients((backward(config, up.saved, up.dy, up.tap),))


def _float(config: ReluConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    return jnp.clip(inputs[0], 0, 6 if config.six else None), None


TWIN = Twin(_float, moment=lambda config, site: site.moments[0] / 2, gradient=lambda config, site, dy: dy / 2)


def _row(config: ReluConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    return forward(config, operands[0]), (passes(config, operands[0]).astype(jnp.uint8),)


def _row_back(config: ReluConfig, task: RowTask, dy: Array) -> Written:
    return (backward(config, task.take("mask").astype(bool), dy),)


LAYER = Layer(_forward, _backward, Rows(_row, _row_back), stores=True, twin=TWIN)

guard(__name__)
