"""The same graph in plain float32 JAX: to train a network, to calibrate it, and to compare with.

Nothing here is part of the contract. A convolution may quantize its input and weights in simulation
(quantize, dequantize, float32 convolution, straight-through gradient), which is how the shipped model is
fine-tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jaxtyping import Float32, Int

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
)
from bitrow.errors import BitrowError
from bitrow.float_conv import float_conv
from bitrow.formats import Fxp
from bitrow.graph import INPUT, Network, Node, kernel_shape, linear_shape, shapes

EPS = 2.0**-10  # about the usual 1e-3, and exact in FP16
_MOMENTUM = 0.9


class Weights(NamedTuple):
    """Float32 weights [kh, kw, c_in/groups, c_out] or [in, out], and a bias [c_out] or None."""

    weight: Float32[Array, " ..."]
    bias: Float32[Array, " c_out"] | None


class Norm(NamedTuple):
    """Float32 gamma and beta of a batch norm, [c]."""

    gamma: Float32[Array, " c"]
    beta: Float32[Array, " c"]


class Stats(NamedTuple):
    """Float32 running mean and variance of a batch norm, [c]."""

    mean: Float32[Array, " c"]
    var: Float32[Array, " c"]


class FloatModel(NamedTuple):
    """What is trained, `params`, and what is only observed, `stats`, by layer."""

    params: dict[str, Weights | Norm]
    stats: dict[str, Stats]


class ConvScales(NamedTuple):
    """Scales of a convolution's input, f32[], and weights, f32[] or f32[c_out]."""

    x_scale: Float32[Array, ""]
    w_scale: Float32[Array, "*c_out"]


Observe = Callable[[str, Array], None]


def initialize(network: Network, seed: int) -> FloatModel:
    """He-normal weights, gamma 1, beta 0, mean 0, var 1; a zero head. Drawn by numpy from `seed`."""
    rng = np.random.default_rng(seed)
    params: dict[str, Weights | Norm] = {}
    stats: dict[str, Stats] = {}
    for node in network.nodes:
        c_out = shapes(network)[node.name][2]
        ones, zeros = jnp.ones(c_out, jnp.float32), jnp.zeros(c_out, jnp.float32)
        match node.config:
            case ConvConfig():
                shape = kernel_shape(network, node)
                deviation = np.sqrt(2 / np.prod(shape[:3]))
                weight = jnp.asarray(rng.standard_normal(shape) * deviation, jnp.float32)
                params[node.name] = Weights(weight, zeros if getattr(node.size, "bias", False) else None)
            case BatchNormConfig():
                params[node.name] = Norm(ones, zeros)
                stats[node.name] = Stats(zeros, ones)
            case LinearConfig():
                params[node.name] = Weights(jnp.zeros(linear_shape(network, node), jnp.float32), zeros)
    return FloatModel(params, stats)


def fake_quantize(x: Float32[Array, "*s"], scale: Float32[Array, " ..."], fmt: Fxp) -> Float32[Array, "*s"]:
    """`scale * clip(rint(x / scale))` in float32; the gradient passes where Q4's mask is 1."""
    t = x / scale
    rounded = lax.stop_gradient(jnp.rint(t))
    inside = (rounded >= fmt.min) & (rounded <= fmt.max)
    return scale * (jnp.clip(rounded, fmt.min, fmt.max) + jnp.where(inside, t - lax.stop_gradient(t), 0.0))


def forward(
    network: Network,
    model: FloatModel,
    x: Float32[Array, "n h w c"],
    *,
    train: bool = False,
    scales: Mapping[str, ConvScales] | None = None,
    offsets: Mapping[str, Array] | None = None,
    observe: Observe | None = None,
) -> tuple[Float32[Array, "n ..."], dict[str, Stats]]:
    """Logits f32[n, classes] of x f32[n,h,w,c], and the running statistics after this batch.

    `train` normalises by the batch's own statistics, otherwise by the running ones. `scales` quantizes the
    named convolutions in simulation. `offsets` are added to the named convolutions' outputs, so that their
    gradient is the gradient of the output. `observe` is called with every value and its name.
    """
    values = {INPUT: x}
    stats = dict(model.stats)
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        scale = scales.get(node.name) if scales else None
        y, new_stats = _layer(node, model, inputs, train, scale)
        if new_stats is not None:
            stats[node.name] = new_stats
        if offsets and node.name in offsets:
            y = y + offsets[node.name]
        if observe:
            observe(node.name, y)
        values[node.name] = y
    output = values[network.output]
    head = isinstance(network.node(network.output).config, LinearConfig)
    return (output.reshape(output.shape[0], -1) if head else output), stats


def _layer(
    node: Node, model: FloatModel, inputs: list[Array], train: bool, scale: ConvScales | None
) -> tuple[Array, Stats | None]:
    x = inputs[0]
    match node.config, model.params.get(node.name):
        case ConvConfig() as config, Weights() as weights:
            return _conv(config, weights, x, scale), None
        case BatchNormConfig(), Norm() as norm:
            return _batch_norm(norm, model.stats[node.name], x, train)
        case ReluConfig(six=six), _:
            return jnp.clip(x, 0, 6 if six else None), None
        case AddConfig(), _:
            return x + inputs[1], None
        case MaxPoolConfig() as config, _:
            return max_pool(config, x), None
        case AvgPoolConfig() as config, _:
            return avg_pool(config, x), None
        case LinearConfig(), Weights(weight, bias) if bias is not None:
            y = x.reshape(x.shape[0], -1) @ weight
            return (y + jnp.broadcast_to(bias, y.shape))[:, None, None, :], None
    raise BitrowError(
        f"{node.name}: found no float parameters, expected those of {type(node.config).__name__}"
    )


def _conv(config: ConvConfig, weights: Weights, x: Array, scale: ConvScales | None) -> Array:
    weight = weights.weight
    if scale is not None:
        x = fake_quantize(x, scale.x_scale, config.x_format)
        w_scale = jnp.broadcast_to(scale.w_scale, weight.shape)
        weight = fake_quantize(weight, w_scale, config.weight_format)
    y = float_conv(config, x, weight)
    return y if weights.bias is None else y + jnp.broadcast_to(weights.bias, y.shape)


def _batch_norm(norm: Norm, stats: Stats, y: Array, train: bool) -> tuple[Array, Stats]:
    if train:
        mean, var = y.mean((0, 1, 2)), y.var((0, 1, 2))
        stats = Stats(_running(stats.mean, mean), _running(stats.var, var))
    else:
        mean, var = stats
    a = norm.gamma / jnp.sqrt(var + EPS)
    b = norm.beta - mean * a
    return y * jnp.broadcast_to(a, y.shape) + jnp.broadcast_to(b, y.shape), stats


def _running(old: Array, new: Array) -> Array:
    return _MOMENTUM * old + (1 - _MOMENTUM) * new


def max_pool(config: MaxPoolConfig, x: Float32[Array, "n h w c"]) -> Float32[Array, "n oh ow c"]:
    """Max pool in float32."""
    window, stride = (1, config.kernel, config.kernel, 1), (1, config.stride, config.stride, 1)
    padding = ((0, 0), (config.padding, config.padding), (config.padding, config.padding), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, window, stride, padding)


def avg_pool(config: AvgPoolConfig, x: Float32[Array, "n h w c"]) -> Float32[Array, "n oh ow c"]:
    """Average pool in float32."""
    n, h, w, c = x.shape
    kh, kw = (h, w) if config.kernel is None else (config.kernel, config.kernel)
    cropped = x[:, : h // kh * kh, : w // kw * kw, :]
    return cropped.reshape(n, h // kh, kh, w // kw, kw, c).mean((2, 4))


def cross_entropy(logits: Float32[Array, "n classes"], labels: Int[Array, " n"]) -> Float32[Array, ""]:
    """Summed softmax cross-entropy of logits f32[n, classes] and labels int[n]: f32[]."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum()


def train(
    network: Network,
    model: FloatModel,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    optimizer: optax.GradientTransformation,
    *,
    scales: Mapping[str, ConvScales] | None = None,
    batch_statistics: bool = True,
) -> tuple[FloatModel, list[float]]:
    """Train on batches of (x f32[n,h,w,c], labels int[n]), one step each; returns the model and mean losses.

    `scales` trains through simulated quantization; without `batch_statistics` batch norms use, and keep,
    their running statistics.
    """

    @jax.jit
    def step(model: FloatModel, state: Any, x: Array, labels: Array) -> tuple[FloatModel, Any, Array]:
        def loss_of(params: dict[str, Weights | Norm]) -> tuple[Array, dict[str, Stats]]:
            logits, stats = forward(
                network, FloatModel(params, model.stats), x, train=batch_statistics, scales=scales
            )
            return cross_entropy(logits, labels) / x.shape[0], stats

        (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(model.params)
        updates, state = optimizer.update(grads, state, model.params)
        return FloatModel(optax.apply_updates(model.params, updates), stats), state, loss

    losses = []
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its step count with float32
        state = optimizer.init(model.params)
        for x, labels in batches:
            model, state, loss = step(model, state, jnp.asarray(x), jnp.asarray(labels))
            losses.append(float(loss))
    return model, losses
