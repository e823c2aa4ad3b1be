"""The program of an epoch: the state of the next one and metrics from images, labels and their order.

A step adds up the gradients of a batch's images by a pairwise tree, on each device over its part of the batch and then
over the devices, so that what the contract and `ordered` fix has the same bits on 1, 2, 4 or 8 devices. The weight
gradients of unfrozen convolutions are plain float32 sums and have not.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from bitrow.formats import Fxp, Gradient
from bitrow.transfer import gradient, optimizers, ordered, policies, trained_codes
from bitrow.transfer.augment import augment
from bitrow.transfer.convolution import BackwardScales
from bitrow.transfer.network_module import Parts
from bitrow.transfer.numerics import AXIS, COMPILED, HOST, Scaling, TrainedWeights
from bitrow.transfer.recipe import Recipe


class State(NamedTuple):
    """What an epoch changes: masters, the optimizer's state, gradient scales by convolution, their history."""

    params: dict[str, Array]
    optimizer: Any
    gradient: dict[str, BackwardScales]
    history: dict[str, Array]


class Metrics(NamedTuple):
    """Of every step of an epoch: mean loss f32[steps], share of images right f32[steps].

    `silent`: by the path of each convolution through which the gradient goes, whether all codes of its output gradient
    were zero, bool[steps]. Nothing before such a layer has trained on in that step, but by other ways.
    """

    loss: Array
    accuracy: Array
    silent: dict[str, Array]

    def silent_layers(self) -> dict[str, int]:
        """In how many steps a convolution's codes were all zero, of those where they were in some."""
        counts = {path.split("/")[1]: int(steps.sum()) for path, steps in self.silent.items()}
        return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class EpochProgram:
    """Everything static of a compiled epoch. `channels`: by convolution, the input channels whose weights are trained,
    where not all are. `watched`: probes of the convolutions that pass a gradient on. `classes`: how many are the
    target's, where the source's follow in the head, else 0. `coded`: weights that train as codes, and their formats."""

    structure: Any
    trained: frozenset[str]
    rules: tuple[tuple[str, gradient.ScaleUpdate], ...]
    watched: tuple[str, ...]
    channels: tuple[tuple[str, tuple[int, ...]], ...]
    recipe: Recipe
    steps: int
    in_float: bool
    mesh: Mesh
    classes: int
    coded: tuple[tuple[str, Fxp], ...]

    @property
    def delayed(self) -> frozenset[str]:
        """Those whose scales follow their gradients."""
        return frozenset(
            _probe(name) for name, rule in self.rules
            if rule.scaling is Scaling.DELAYED and rule.config.gradient is not Gradient.FP16
        )  # fmt: skip

    def optimizer(self, constants: Mapping[str, Any], seed: int = 0) -> optax.GradientTransformation:
        """The recipe's, by default Adam with a cosine decay, for what is trained; `seed` is that of its first state."""
        how, grids = self.recipe, self.grids(constants)

        def around(made: optax.GradientTransformation) -> optax.GradientTransformation:
            return trained_codes.as_codes(made, grids, how.weights is TrainedWeights.QAS, seed) if grids else made

        return optimizers.make(
            how.optimizer, how.schedule, how.learning_rate, self.steps * how.epochs, how.accumulate, around
        )

    def grids(self, constants: Mapping[str, Any]) -> dict[str, trained_codes.CodeGrid]:
        """Of the weights that train as codes, by their scales among `network_module.Parts.constants`."""
        scales = {name: constants[f"{name.removesuffix('weight')}scales"].w_scale for name, _ in self.coded}
        return {name: trained_codes.CodeGrid(fmt, scales[name]) for name, fmt in self.coded}


def _probe(gradient: str) -> str:
    return f"{gradient.removesuffix('gradient')}probe"


def partitioned(
    program: EpochProgram, params: Mapping[str, Array], constants: Mapping[str, Any], seed: int = 0
) -> optax.GradientTransformation:
    """The recipe's optimizer, for what is trained of `params`."""
    return policies.frozen_but(program.optimizer(constants, seed), policies.labels(params, program.trained))


def advance(
    program: EpochProgram, state: State, fixed: Any, x: Array, y: Array, order: Array, numbers: Any
) -> tuple[State, Metrics]:
    """A step on the images x and labels y at each row of `order` i32[steps, batch]; `run` is this, compiled.

    `fixed`: a module's probes and constants. `numbers`: seed and epoch u32[2]; what the loss and then its gradients are
    multiplied by f32[2].
    """

    def run(state: State, fixed: Any, x: Array, y: Array, order: Array, numbers: Any) -> tuple[State, Metrics]:
        def one(state: State, index: Array) -> tuple[State, Metrics]:
            batch = x[index]
            how = program.recipe.augmentation
            if how is not None:
                batch = augment(batch, numbers[0][0], numbers[0][1], index=index, how=how)
            return step(program, state, fixed, batch, y[index], numbers[1])

        return lax.scan(one, state, order)

    specs = (P(), P(), P(), P(), P(None, AXIS), P())
    return jax.shard_map(run, mesh=program.mesh, in_specs=specs, out_specs=P(), check_vma=False)(
        state, fixed, x, y, order, numbers
    )


run = jax.jit(advance, static_argnums=0, compiler_options=COMPILED)


def _forward(program: EpochProgram, state: State, fixed: Any, x: Array) -> tuple[Array, Any]:
    """Logits, and what pulls their gradient back to the trained parameters and the watched probes."""
    probes, constants = fixed
    trained = {name: value for name, value in state.params.items() if name in program.trained}
    # a probe asks for its output gradient, so that one too many sends the backward pass through frozen layers
    watched = {name: probes[name] for name in program.watched}

    def logits_of(trained: dict[str, Array], watched: dict[str, Array]) -> Array:
        parts = Parts(program.structure, state.params | trained, probes | watched, state.gradient, constants)
        return parts.join()(x)

    return jax.vjp(logits_of, trained, watched)


@functools.partial(jax.jit, static_argnums=0)  # without COMPILED: `compare` has it in a program of its own
def gradients(
    program: EpochProgram, state: State, fixed: Any, x: Array, dlogits: Array
) -> tuple[Array, dict[str, Array]]:
    """Logits of images x, and from their gradient dlogits those of what is trained: `training.Trainer.gradients`."""

    def run(state: State, fixed: Any, x: Array, dlogits: Array) -> tuple[Array, dict[str, Array]]:
        logits, pull = _forward(program, state, fixed, x)
        return logits, _over_devices(program, pull(dlogits)[0])

    specs = (P(), P(), P(AXIS), P(AXIS))
    return jax.shard_map(run, mesh=program.mesh, in_specs=specs, out_specs=(P(AXIS), P()), check_vma=False)(
        state, fixed, x, dlogits
    )


def step(program: EpochProgram, state: State, fixed: Any, x: Array, y: Array, scales: Array) -> tuple[State, Metrics]:
    """One step on images x f32[batch, h,w,c] and labels y i32[batch]."""
    constants = fixed[1]
    logits, pull = _forward(program, state, fixed, x)
    with jax.named_scope(HOST):
        loss, right, dlogits = _loss(program, logits, y, scales[0])
    grads, seen = pull(dlogits)
    grads, loss, right = _over_devices(program, (grads, loss, right))
    if program.mesh.size > 1:
        seen = lax.pmax(seen, AXIS)
    largest = {name: seen[name][0] for name in program.delayed if name in seen}
    batch = program.recipe.batch
    with jax.named_scope(HOST):
        grads = lax.optimization_barrier(jax.tree.map(lambda g: g * scales[1], grads))
        silent = {name: value[1] == 0 for name, value in seen.items()}
        metrics = Metrics(loss / batch, right / batch, silent)
    return _update(program, state, constants, grads, largest), metrics


def _loss(program: EpochProgram, logits: Array, y: Array, loss_scale: Array) -> tuple[Array, Array, Array]:
    """Summed cross-entropy, images that are right, and the gradient of the logits: the host's work (SPEC.md A4)."""
    wide = logits.astype(jnp.float32)
    if program.classes:  # an image's own task decides which there are
        of_source = jnp.arange(wide.shape[1])[None, :] >= program.classes
        wide = jnp.where(of_source == (y >= program.classes)[:, None], wide, -jnp.inf)
    shifted = wide - jnp.max(wide, axis=1, keepdims=True)
    odds = jnp.exp(shifted)
    total = ordered.tree_sum(odds, (1,))[:, None]
    one_hot = jax.nn.one_hot(y, logits.shape[1], dtype=jnp.float32)
    of_label = jnp.max(jnp.where(one_hot > 0, shifted, -jnp.inf), axis=1)
    loss = jnp.log(total[:, 0]) - of_label
    dlogits = odds / total - one_hot
    if not program.in_float:
        dlogits = ordered.half(dlogits * loss_scale)
    right = (jnp.argmax(wide, axis=1) == y).astype(jnp.float32)
    return ordered.tree_sum(loss, (0,)), ordered.tree_sum(right, (0,)), dlogits


def _over_devices(program: EpochProgram, values: Any) -> Any:
    """Sums over the devices, by the upper levels of the batch's pairwise tree."""
    if program.mesh.size == 1:
        return values
    return jax.tree.map(lambda v: ordered.tree_sum(lax.all_gather(v, AXIS), (0,)), values)


def _update(
    program: EpochProgram, state: State, constants: Any, grads: dict[str, Array], largest: dict[str, Array]
) -> State:
    every = {name: grads.get(name, jnp.zeros_like(value)) for name, value in state.params.items()}
    with jax.named_scope(HOST):
        rule = partitioned(program, state.params, constants)
        updates, optimizer = rule.update(every, state.optimizer, state.params)
        # frozen ones are passed on, not added to: -0 + 0 is +0
        params = {
            name: _updated(program, name, value, updates[name]) if name in program.trained else value
            for name, value in state.params.items()
        }
    scales, history = dict(state.gradient), dict(state.history)
    for name, rule in program.rules:
        layer = name.removesuffix("gradient")
        w_scale, probe = constants[f"{layer}scales"].w_scale, largest.get(f"{layer}probe", jnp.float32(0))
        scales[name], history[name] = gradient.advance(rule, scales[name], w_scale, history[name], probe)
    return State(params, optimizer, scales, history)


def _updated(program: EpochProgram, name: str, value: Array, update: Array) -> Array:
    """The parameter after its update; of weights that train for some input channels, those alone."""
    chosen = {f"layers/{layer}/weight": channels for layer, channels in program.channels}.get(name)
    if chosen is None:
        return value + update
    place = jnp.zeros(value.shape[2], bool).at[jnp.array(chosen)].set(True)
    return jnp.where(jnp.broadcast_to(place[:, None], value.shape), value + update, value)
