"""Classifier head: FP16 products, FP32 pairwise trees, one rounding (SPEC.md A4)."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float16, Float32

from bitrow.config import LinearConfig
from bitrow.doors import guard
from bitrow.formats import FP16, FP32
from bitrow.host import host_fp32, rounded_fp16
from bitrow.layers.frozen import zero_cotangent
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import Calibration, FloatLayer, Site, Twin, Weights
from bitrow.ops import fp16, softfloat
from bitrow.ops.reduce import fp32_add, tree
from bitrow.ops.tap import Tap, no_tap
from bitrow.splitmix import Draw

_CUT_DEVIATION = 0.8796256610342398  # of a normal distribution cut at two deviations


class LinearParams(NamedTuple):
    """FP16 weights and FP32 bias of the head."""

    weight: Float16[Array, "c_in c_out"]
    bias: Float32[Array, "c_out"]


def forward(
    config: LinearConfig, params: LinearParams, x: Float16[Array, "n c_in"], tap: Tap = no_tap
) -> Float16[Array, "n c_out"]:
    """Logits. Taps sum_level*, sum, y."""
    products = fp16.product(fp16.widen(x, config.mode)[:, :, None], fp16.widen(params.weight, config.mode)[None])
    total = tree(products, 1, fp32_add, tap)
    tap("sum", total)
    bias = softfloat.float32_bits(params.bias)
    bits = softfloat.add(softfloat.float32_bits(total), bias, FP32, config.mode, FP16)
    y = softfloat.bits_float16(bits)
    tap("y", y)
    return y


def backward(
    config: LinearConfig, params: LinearParams, dy: Float16[Array, "n c_out"], tap: Tap = no_tap
) -> Float16[Array, "n c_in"]:
    """Gradient of the head's input. Taps sum_level*, sum, dx."""
    products = fp16.product(fp16.widen(dy, config.mode)[:, None, :], fp16.widen(params.weight, config.mode)[None])
    total = tree(products, 2, fp32_add, tap)
    tap("sum", total)
    dx = fp16.round_once(total, config.mode)
    tap("dx", dx)
    return dx


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def apply(config: LinearConfig, params: LinearParams, x: Float16[Array, "n c_in"]) -> Float16[Array, "n c_out"]:
    """`forward`, differentiable in x by `backward`; its weight gradient is the host's (SPEC.md A4)."""
    return forward(config, params, x)


def _apply_forward(config: LinearConfig, params: LinearParams, x: Array) -> tuple[Array, LinearParams]:
    return forward(config, params, x), params


def _apply_backward(config: LinearConfig, params: LinearParams, dy: Array) -> tuple[LinearParams, Array]:
    return zero_cotangent(params), backward(config, params, dy)


apply.defvjp(_apply_forward, _apply_backward)

def _rows(x: Array) -> Array:
    """`[n, h*w*c]`; n may be 0."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _forward(config: LinearConfig, params: LinearParams, inputs: list[Array], tap: Tap) -> tuple[Array, Array]:
    """y as a map of one place; x flattened is kept for the host, who forms the weight gradient."""
    x = _rows(inputs[0])
    return forward(config, params, x, tap)[:, None, None, :], x


def _backward(config: LinearConfig, up: Upstream) -> Gradients:
    dx = backward(config, up.params, _rows(up.dy), up.tap)
    return Gradients((dx.reshape(dx.shape[0], *up.shape),))


def _float(config: LinearConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    y = inputs[0].reshape(inputs[0].shape[0], -1) @ layer.params.weight
    return (y + jnp.broadcast_to(layer.params.bias, y.shape))[:, None, None, :], None


def _initialize(config: LinearConfig, site: Site, rng: np.random.Generator) -> FloatLayer:
    """Zeros for the network's head; for a hidden layer, which zeros would stop, lecun-normal weights as in flax."""
    weight = np.zeros(site.weights) if site.last else _lecun_normal(site.weights, rng)
    return FloatLayer(Weights(jnp.asarray(weight, jnp.float32), jnp.zeros(site.output[2], jnp.float32)))


def _lecun_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Of variance 1/inputs, from a normal distribution cut at two deviations."""
    drawn = rng.standard_normal(shape)
    while (outside := np.abs(drawn) > 2).any():
        drawn[outside] = rng.standard_normal(int(outside.sum()))
    return drawn / (_CUT_DEVIATION * math.sqrt(shape[0]))


def _calibrate(config: LinearConfig, site: Site, layer: FloatLayer, found: Calibration) -> LinearParams:
    half = jnp.asarray(rounded_fp16(f"{site.where} weight", layer.params.weight))
    return LinearParams(half, jnp.asarray(host_fp32(site.where, "bias", layer.params.bias)))


def _draw(config: LinearConfig, site: Site, deviation: float, draw: Draw) -> LinearParams:
    weight = draw.triangle(256, site.weights) / (104 * math.sqrt(site.weights[0]))
    bias = draw.about(0.0, 0.25, site.weights[1:])
    return LinearParams(jnp.asarray(weight, jnp.float16), jnp.asarray(bias, jnp.float32))


TWIN = Twin(
    _float, _initialize, lambda params: isinstance(params, Weights) and params.bias is not None, _calibrate, _draw,
    moment=lambda config, site: 1.0,
    gradient=lambda config, site, dy: dy * (site.output[2] / math.prod(site.shape)),
)  # fmt: skip


def _row(config: LinearConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    return forward(config, task.ready, _rows(task.slab("x", task.place.shape[2])))[:, None, None, :], ()


def _row_gradient(config: LinearConfig, task: RowTask) -> Written:
    dx = backward(config, task.ready, _rows(task.take("dy", *task.place.out)))
    return (lax.dynamic_slice_in_dim(dx.reshape(task.lanes, *task.place.shape), task.row[0], 1, axis=1),)


ROWS = Rows(_row, gradient=_row_gradient)
LAYER = Layer(_forward, _backward, ROWS, lambda config: LinearParams, flat=True, twin=TWIN)

guard(__name__)
