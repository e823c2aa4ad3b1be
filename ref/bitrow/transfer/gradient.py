"""Gradients' scales between steps: delayed scaling, and the seeds of stochastic rounding (SPEC.md F8, D3, Q3).

Scales are parameters of the contract; how the host chooses them is not. Everything here runs inside the compiled
epoch, on integers and FP16 operations, so that its bits are those of the contract's arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32

from bitrow.config import ConvConfig
from bitrow.formats import SCALE_MAX, SCALE_MIN, Fxp, Gradient
from bitrow.host import FP16_MIN_NORMAL
from bitrow.ops import fp16, lfsr
from bitrow.transfer.convolution import BackwardScales
from bitrow.transfer.numerics import Scaling

HISTORY = 16  # steps whose largest magnitudes a delayed scale looks back on


class ScaleUpdate(NamedTuple):
    """How one convolution's scales change; static. `elements` of its output gradient in one step."""

    config: ConvConfig
    scaling: Scaling
    elements: int
    power_of_two: bool


def advance(
    rule: ScaleUpdate, scales: BackwardScales, w_scale: Array, history: Float32[Array, "steps"],
    largest: Float32[Array, ""],
) -> tuple[BackwardScales, Float32[Array, "steps"]]:  # fmt: skip
    """The scales and history for the next step, after one that saw `largest`.

    A delayed scale is the history's largest magnitude over the format's, rounded once to FP16, or up to a power
    of two; it stays where the history is all zero or not finite, and where the scale of dx would not be a normal
    number it is the least for which it is (SPEC.md F8, D3). The seed moves on by the step's elements.
    """
    history = jnp.concatenate([largest.reshape(1), history[:-1]])
    seed = lfsr.jump(scales.seed, rule.elements)
    if rule.scaling is not Scaling.DELAYED or rule.config.gradient is Gradient.FP16:
        return scales._replace(seed=seed), history
    wanted = _wanted(jnp.max(history), rule.config.dy_format, rule.power_of_two)
    folded = rule.config.fold
    wanted = larger(wanted, jnp.float16(SCALE_MIN) if folded else least(w_scale))
    wanted = smaller(wanted, jnp.float16(SCALE_MAX))
    known = (jnp.max(history) > 0) & jnp.isfinite(jnp.max(history))
    dy_scale = jnp.where(known, wanted, scales.dy_scale)
    dx_scale = dy_scale if folded else fp16.mul(dy_scale, w_scale)
    return BackwardScales(dy_scale, fp16.div(jnp.float16(1), dy_scale), dx_scale, seed), history


def _wanted(largest: Array, fmt: Fxp, power_of_two: bool) -> Array:
    scale = fp16.div(fp16.round_once(largest), jnp.float16(fmt.max))
    return round_up(scale) if power_of_two else scale


def round_up(scale: Array) -> Array:
    """The least power of two that is not below a positive normal FP16 number."""
    word = fp16.bits(scale) + jnp.uint16(0x3FF)
    return lax.bitcast_convert_type(word & jnp.uint16(0x7C00), jnp.float16)


def least(w_scale: Array) -> Array:
    """A power of two, at least SCALE_MIN, whose product with w_scale is a normal FP16 number."""
    least = fp16.div(jnp.float16(FP16_MIN_NORMAL), w_scale)
    return round_up(larger(least, jnp.float16(SCALE_MIN)))


def larger(a: Array, b: Array) -> Array:
    """Of two FP16 numbers that are not negative; their words are in their order."""
    return lax.bitcast_convert_type(jnp.maximum(fp16.bits(a), fp16.bits(b)), jnp.float16)


def smaller(a: Array, b: Array) -> Array:
    return lax.bitcast_convert_type(jnp.minimum(fp16.bits(a), fp16.bits(b)), jnp.float16)
