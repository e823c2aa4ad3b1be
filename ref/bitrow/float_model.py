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
from jax import Array
from jaxtyping import Float32, Int

from bitrow.errors import BitrowError
from bitrow.graph import INPUT, Network
from bitrow.layers.table import layer
from bitrow.layers.twin import ConvScales, FloatLayer
from bitrow.outputs import only
from bitrow.parameters import site_of


class FloatModel(NamedTuple):
    """What is trained, `params`, and what is only observed, `stats`, by layer: those of its float twin."""

    params: dict[str, Any]
    stats: dict[str, Any]

    def layer(self, name: str) -> FloatLayer:
        """What the layer of this name runs on."""
        return FloatLayer(self.params.get(name), self.stats.get(name))


Observe = Callable[[str, Array], None]


def initialize(network: Network, seed: int) -> FloatModel:
    """He-normal weights, gamma 1, beta 0, mean 0, var 1; a zero head, lecun-normal hidden Linears.

    Drawn by numpy from `seed`.
    """
    rng = np.random.default_rng(seed)
    found = {n.name: layer(n.config).twin.initialize(n.config, site_of(network, n), rng) for n in network.nodes}
    params = {name: each.params for name, each in found.items() if each.params is not None}
    return FloatModel(params, {name: each.stats for name, each in found.items() if each.stats is not None})


def forward(
    network: Network,
    model: FloatModel,
    x: Float32[Array, "n h w c"],
    *,
    train: bool = False,
    scales: Mapping[str, ConvScales] | None = None,
    offsets: Mapping[str, Array] | None = None,
    observe: Observe | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Logits f32[n, classes] of x f32[n,h,w,c], and the running statistics after this batch.

    Logits of several outputs are a dict of them by name.
    `train` normalises by the batch's own statistics, otherwise by the running ones. `scales` quantizes the
    named convolutions in simulation. `offsets` are added to the named convolutions' outputs, so that their
    gradient is the gradient of the output. `observe` is called with every value and its name.
    """
    values = {INPUT: x}
    stats = dict(model.stats)
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        scale = scales.get(node.name) if scales else None
        given, twin = model.layer(node.name)._replace(scale=scale, train=train), layer(node.config).twin
        if not twin.fits(given.params):
            kind = type(node.config).__name__
            raise BitrowError(f"{node.name}: found no float parameters, expected those of {kind}")
        y, new_stats = twin.forward(node.config, given, inputs)
        if new_stats is not None:
            stats[node.name] = new_stats
        if offsets and node.name in offsets:
            y = y + offsets[node.name]
        if observe:
            observe(node.name, y)
        values[node.name] = y
    found = {name: _flat(network, name, values[name]) for name in network.outputs}
    return (found if network.more_outputs else found[network.output]), stats


def _flat(network: Network, name: str, y: Array) -> Array:
    return y.reshape(y.shape[0], -1) if layer(network.node(name).config).flat else y


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

    Raises:
        BitrowError: a network of several outputs.
    """
    only(network, "training on labels")

    @jax.jit
    def step(model: FloatModel, state: Any, x: Array, labels: Array) -> tuple[FloatModel, Any, Array]:
        def loss_of(params: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
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
