"""Hard swish (SPEC.md A6)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float16

from bitrow.config import HardSwishConfig, ReluConfig
from bitrow.doors import guard
from bitrow.formats import FP16
from bitrow.layers import activation
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import FloatLayer, Twin
from bitrow.ops import fp16
from bitrow.ops.tap import Tap, no_tap

_ONE, _THREE = 0x3C00, 0x4200
_SIXTH, _THIRD, _HALF = 0x3155, 0x3555, 0x3800  # rounded to nearest even, whatever the mode


def _constant(word: int) -> Array:
    return lax.bitcast_convert_type(jnp.uint16(word), jnp.float16)


def forward(config: HardSwishConfig, x: Float16[Array, "*s"], tap: Tap = no_tap) -> Float16[Array, "*s"]:
    """x * relu6(x + 3) * 1/6, each rounded once. Taps shifted, gate, gated, y."""
    shifted = fp16.add(x, _constant(_THREE), config.mode)
    gate = activation.forward(ReluConfig(six=True), shifted)
    gated = fp16.mul(x, gate, config.mode)
    y = fp16.mul(gated, _constant(_SIXTH), config.mode)
    for name, value in (("shifted", shifted), ("gate", gate), ("gated", gated), ("y", y)):
        tap(name, value)
    return y


def ramp(slope: Float16[Array, "*s"], x: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """The derivative at x: `slope` where -3 < x < 3, 0 below, 1 above, NaN for NaN."""
    word = fp16.bits(x)
    magnitude, negative = word & jnp.uint16(0x7FFF), word >= jnp.uint16(0x8000)
    flat = jnp.where(negative, jnp.uint16(0), jnp.uint16(_ONE))
    flat = jnp.where(magnitude > jnp.uint16(FP16.infinity_bits), jnp.uint16(FP16.nan_bits), flat)
    factor = jnp.where(magnitude < jnp.uint16(_THREE), fp16.bits(slope), flat)
    return lax.bitcast_convert_type(factor, jnp.float16)


def backward(
    config: HardSwishConfig, x: Float16[Array, "*s"], dy: Float16[Array, "*s"], tap: Tap = no_tap
) -> Float16[Array, "*s"]:
    """dy times the derivative at x: x/3 + 1/2 where -3 < x < 3, else 0 or 1. Taps x_third, slope, factor, dx."""
    x_third = fp16.mul(x, _constant(_THIRD), config.mode)
    slope = fp16.add(x_third, _constant(_HALF), config.mode)
    factor = ramp(slope, x)
    dx = fp16.mul(dy, factor, config.mode)
    for name, value in (("x_third", x_third), ("slope", slope), ("factor", factor), ("dx", dx)):
        tap(name, value)
    return dx


def apply(config: HardSwishConfig, x: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """`forward`, differentiable by `backward`."""
    return LAYER.apply(config, None, x)


def _forward(config: HardSwishConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, Array]:
    return forward(config, inputs[0], tap), inputs[0]


def _backward(config: HardSwishConfig, up: Upstream) -> Gradients:
    return Gradients((backward(config, up.saved, up.dy, up.tap),))


def _row(config: HardSwishConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    return forward(config, operands[0]), (operands[0],)


def _row_back(config: HardSwishConfig, task: RowTask, dy: Array) -> Written:
    return (backward(config, task.take("input"), dy),)


def _float(config: HardSwishConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    return inputs[0] * jnp.clip(inputs[0] + 3, 0, 6) / 6, None


# Of a normal input, between the quarter that is left of a small one and the half that is left of a large one.
TWIN = Twin(_float, moment=lambda config, site: site.moments[0] * 0.375, gradient=lambda config, site, dy: dy * 0.375)
LAYER = Layer(_forward, _backward, Rows(_row, _row_back), twin=TWIN)

guard(__name__)
