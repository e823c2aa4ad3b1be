"""The host's gradient of a convolution's input scale: LSQ (Esser et al. 2020, Learned step size quantization) and PACT
(Choi et al. 2018, Parameterized clipping activation).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array

from bitrow import float_conv
from bitrow.config import ConvConfig
from bitrow.ops import fp16


# A program of its own, because a name scope is not kept inside a backward pass.
@functools.partial(jax.jit, static_argnums=0)
def host_gradient(
    config: ConvConfig, x: Array, quantized: tuple[Array, Array], weight: Array, dy: Array, x_scale: Array
) -> Array:
    """The gradient f32[] of a convolution's input scale, of FP16 input x [n,h,w,c_in], its codes and their mask.

    `weight` f32[kh,kw,c_in/groups,c_out] is codes times scale, dy f16[n,oh,ow,c_out]. The host forms the gradient of
    the quantized input, also where it was clipped and the accelerator's is zero, and adds it up times how the input
    follows the scale: the code less x/scale, or where it was clipped the code. LSQ's factor, 1/sqrt(elements of an
    image * largest code), makes it comparable to those of weights.
    """
    code, mask = quantized
    dx = float_conv.input_gradient(config, weight, fp16.widen(dy), x.shape[1:3])
    share = jnp.where(mask, fp16.widen(x) / fp16.widen(x_scale), jnp.float32(0))
    total = jnp.sum(dx * (code.astype(jnp.float32) - share))
    return total * jnp.float32(1 / math.sqrt(math.prod(x.shape[1:]) * config.x_format.max))


@functools.partial(jax.jit, static_argnums=(0, 4))
def host_clip_gradient(config: ConvConfig, ends: Array, weight: Array, dy: Array, hw: tuple[int, int]) -> Array:
    """The gradient f32[] of a convolution's input scale, as that of its clip alone.

    `ends` i8[n,h,w,c_in] has the code of each input that was clipped, the largest or the least, and 0 of the others;
    the rest is `host_gradient`'s. The value there is the code times the scale, whatever the input.
    """
    return jnp.sum(float_conv.input_gradient(config, weight, fp16.widen(dy), hw) * ends.astype(jnp.float32))
