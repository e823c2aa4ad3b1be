"""From nothing to a network ready for transfer: float32 training, tuning through simulated quantization, scales.

All of it is the host's work in float32, outside the contract; the result is parameters of the contract.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from bitrow import calibrate, float_model
from bitrow.calibrate import LeastSquares
from bitrow.errors import BitrowError
from bitrow.float_model import FloatModel
from bitrow.graph import LinearSize, Network, linear_shape
from bitrow.layers.twin import ConvScales, Weights
from bitrow.outputs import only
from bitrow.transfer import network_module
from bitrow.transfer.augment import Augmentation, augment
from bitrow.transfer.data import Images, Task
from bitrow.transfer.loss_scale import LossScale
from bitrow.transfer.network_module import NetworkModule
from bitrow.transfer.numerics import Numerics, Scaling, TrainingNumerics, with_gradient

CALIBRATION = 256  # images that scales are chosen on


@dataclass(frozen=True)
class Fit:
    """How a float32 model is trained. `statistics`: batch norms use the batch's; else they keep the running ones."""

    epochs: int
    learning_rate: float
    batch: int = 64
    statistics: bool = True
    augmentation: Augmentation | None = None


def fit(
    network: Network,
    model: FloatModel,
    images: Images,
    how: Fit,
    seed: int,
    scales: dict[str, ConvScales] | None = None,
) -> FloatModel:
    """Train `model`, through simulated quantization where `scales` are given.

    Raises:
        BitrowError: no images.
    """
    if how.epochs == 0:
        return model
    batch = min(how.batch, len(images.y))
    if batch == 0:
        raise BitrowError("pretraining: found no images, expected some")
    steps = len(images.y) // batch
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its step count with float32
        state = _optimizer(how, steps).init(model.params)
        for epoch in range(how.epochs):
            order = np.random.default_rng((seed, epoch)).permutation(len(images.y))[: steps * batch]
            order = order.reshape(steps, batch).astype(np.int32)
            shuffled = _Shuffled(images.x, images.y, order, np.array([seed, epoch], np.uint32))
            model, state = _epoch(_Fitting(network, how, steps), model, state, scales, shuffled)
    return model


def _optimizer(how: Fit, steps: int) -> optax.GradientTransformation:
    return optax.adamw(optax.cosine_decay_schedule(how.learning_rate, how.epochs * steps), weight_decay=1e-3)


class _Fitting(NamedTuple):
    """What an epoch's program is compiled for."""

    network: Network
    how: Fit
    steps: int


class _Shuffled(NamedTuple):
    """Images and labels, the order of an epoch `[steps, batch]`, and the numbers of its augmentation, u32[2]."""

    x: Any
    y: Any
    order: Any
    number: Any


@functools.partial(jax.jit, static_argnums=0)
def _epoch(
    fitting: _Fitting, model: FloatModel, state: Any, scales: Any, shuffled: _Shuffled
) -> tuple[FloatModel, Any]:
    network, how, steps = fitting
    x, y, order, number = shuffled
    optimizer = _optimizer(how, steps)

    def step(carry: tuple[FloatModel, Any], index: Array) -> tuple[tuple[FloatModel, Any], None]:
        model, state = carry
        batch = x[index]
        if how.augmentation is not None:
            batch = augment(batch, number[0], number[1], index=index, how=how.augmentation)

        def loss_of(params: Any) -> tuple[Array, Any]:
            whole = FloatModel(params, model.stats)
            logits, stats = float_model.forward(network, whole, batch, train=how.statistics, scales=scales)
            return float_model.cross_entropy(logits, y[index]) / len(index), stats

        grads, stats = jax.grad(loss_of, has_aux=True)(model.params)
        updates, state = optimizer.update(grads, state, model.params)
        return (FloatModel(optax.apply_updates(model.params, updates), stats), state), None

    return lax.scan(step, (model, state), order)[0]


class Pretrained(NamedTuple):
    """A float32 model of the source task, the same tuned through quantization, and the scales of that."""

    network: Network
    model: FloatModel
    tuned: FloatModel
    scales: dict[str, ConvScales]


def pretrain(
    network: Network,
    source: Task,
    seed: int,
    first: Fit,
    tuning: Fit,
    rule: calibrate.CalibrationRule = LeastSquares(),
    model: FloatModel | None = None,
) -> Pretrained:
    """Train on the source task in float32 (or take `model`), choose scales, tune through simulated quantization."""
    if model is None:
        model = fit(network, float_model.initialize(network, seed), source.train, first, seed)
    scales = calibrate.forward_scales(network, model, source.train.x[:CALIBRATION], rule)
    tuned = fit(network, model, source.train, replace(tuning, statistics=False), seed + 1, scales)
    return Pretrained(network, model, tuned, scales)


def new_head(network: Network, classes: int) -> Network:
    """The network with a head of `classes` outputs.

    Raises:
        BitrowError: a network whose output is no head, or that has several.
    """
    node = network.node(only(network, "a new head"))
    if not isinstance(node.size, LinearSize):
        raise BitrowError(f"{network.name} {node.name}: found no head, expected one to replace")
    nodes = tuple(replace(n, size=LinearSize(classes)) if n is node else n for n in network.nodes)
    return replace(network, nodes=nodes)


class ReadyModule(NamedTuple):
    """A module for the target task, and the loss scale that its gradients' scales assume.

    The module has that scale inside, for any loss of its logits (`loss_scale.LossScale`).
    """

    module: NetworkModule
    loss_scale: float


def ready(
    found: Pretrained, target: Task, arithmetic: TrainingNumerics, seed: int,
    rule: calibrate.CalibrationRule = LeastSquares(),
) -> ReadyModule:  # fmt: skip
    """The pretrained network with a new head, drawn from `seed`, in `arithmetic`.

    Float32 has the masters of the float32 model; the others those tuned through quantization, and gradient
    scales measured on the target's images.

    Raises:
        BitrowError: naming the layer; what the contract refuses.
    """
    in_float = arithmetic.numerics is Numerics.FLOAT32
    network = new_head(found.network, len(target.classes))
    if not in_float:
        network = with_gradient(network, arithmetic.gradient)
    model = _with_head(network, found.model if in_float else found.tuned, seed)
    if in_float:
        dy_scale, loss_scale = dict.fromkeys(found.scales, 1.0), 1.0
    else:
        images, labels = target.train.x[:CALIBRATION], target.train.y[:CALIBRATION]
        of_gradients = _log(rule) if arithmetic.gradient.scaling is Scaling.LOG else rule
        dy_scale, loss_scale = calibrate.gradient_scales(network, model, found.scales, images, labels, of_gradients)
    scales = found.scales
    if in_float:
        scales = calibrate.forward_scales(network, model, target.train.x[:CALIBRATION], rule)
    params = calibrate.make_params(network, model, scales, dy_scale)
    module = network_module.from_params(network, params, arithmetic, model, scales)
    module.loss_scale = LossScale(loss_scale)
    return ReadyModule(module, loss_scale)


def _log(rule: calibrate.CalibrationRule) -> calibrate.CalibrationRule:
    """The rule for codes of 8 bits, whose largest is 127, for logarithmic ones, whose largest is 64."""
    return lambda values, fmt: 2 * rule(values, fmt)


def _with_head(network: Network, model: FloatModel, seed: int) -> FloatModel:
    shape = linear_shape(network, network.node(network.output))
    weight = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(shape[0])
    head = Weights(jnp.asarray(weight, jnp.float32), jnp.zeros(shape[1], jnp.float32))
    return FloatModel(model.params | {network.output: head}, model.stats)
