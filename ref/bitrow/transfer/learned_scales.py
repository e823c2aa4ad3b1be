"""Scales of a convolution's input that are trained: LSQ (Esser et al. 2020, Learned step size quantization), PACT (Choi
et al. 2018, Parameterized clipping activation), which differ in the gradient alone (`scale_gradient`).

The master is float32, a multiple of calibration's scale that begins at 1: so a step of Adam, which does not see how
large a gradient is, is a share of the scale. Making the scales of it, and its gradient is the
host's (SPEC.md A4); the scales are FP16 numbers within F8's range, and the accelerator takes them as any others. The
scales of weights, whose codes are frozen, stay.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array, lax

from bitrow.formats import SCALE_MAX, SCALE_MIN
from bitrow.ops import fp16
from bitrow.transfer import ordered
from bitrow.transfer.convolution import ForwardScales
from bitrow.transfer.gradient import larger, least, round_up, smaller

_LARGEST = 2.0**15  # of the product of two scales: no rounding of it becomes an infinity


def scales(calibrated: ForwardScales, step: Array, power_of_two: bool) -> ForwardScales:
    """Calibration's scales with an input scale of `step` f32[] times its own (SPEC.md F8, D3).

    It is rounded to FP16, or to a power of two, and kept where it, its inverse and its product with the scale of the
    weights are normal. `learned` of the result is the scale that was rounded, to be differentiated by: straight through
    the rounding and the bounds.
    """
    learned = step * fp16.widen(calibrated.x_scale)
    x_scale = _rounded(lax.stop_gradient(learned), calibrated.w_scale, power_of_two)
    product = fp16.mul(jnp.broadcast_to(x_scale, calibrated.w_scale.shape), calibrated.w_scale)
    inverse = fp16.div(jnp.float16(1), x_scale)
    return calibrated._replace(x_scale=x_scale, x_inv_scale=inverse, scale=product, learned=learned)


def _rounded(wanted: Array, w_scale: Array, power_of_two: bool) -> Array:
    word = fp16.bits(w_scale)
    small, large = (lax.bitcast_convert_type(each(word), jnp.float16) for each in (jnp.min, jnp.max))
    # what no comparison holds for, NaN, becomes the least, and so do 0 and below
    inside = jnp.where(wanted > SCALE_MIN, jnp.minimum(wanted, jnp.float32(SCALE_MAX)), jnp.float32(SCALE_MIN))
    if power_of_two:  # the nearest on a logarithmic scale
        inside = jnp.maximum(inside * jnp.float32(math.sqrt(0.5)), jnp.float32(SCALE_MIN))
    scale = ordered.half(inside)
    scale = round_up(scale) if power_of_two else scale
    most = smaller(fp16.div(jnp.float16(_LARGEST), large), jnp.float16(SCALE_MAX))
    return smaller(larger(scale, least(small)), most)
