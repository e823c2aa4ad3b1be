"""The training loop: one compiled program for an epoch, its batch split over the devices present.

Images, labels and the order of an epoch go in, the state of the next epoch and its metrics come out. A step adds
up the gradients of a batch's images by a pairwise tree, on each device over its part of the batch and then over
the devices, so that what the contract and `ordered` fix has the same bits on 1, 2, 4 or 8 devices. The weight
gradients of unfrozen convolutions are plain float32 sums and have not.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from bitrow import typed
from bitrow.errors import BitrowError
from bitrow.formats import Fxp, Gradient
from bitrow.graph import convolutions, shapes
from bitrow.transfer import gradient, optimizers, ordered, policies, trained_codes
from bitrow.transfer.accounting_reach import reach
from bitrow.transfer.augment import Augmentation, augment
from bitrow.transfer.convolution import BackwardScales
from bitrow.transfer.data import Images
from bitrow.transfer.evaluation import evaluate
from bitrow.transfer.modules import Conv
from bitrow.transfer.network_module import NetworkModule, Parts, take_apart
from bitrow.transfer.numerics import AXIS, COMPILED, HOST, Scaling, TrainedWeights


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
class Recipe:
    """How to train. `batch` is a power of two; `loss_scale` multiplies the loss and is taken out of the gradients.

    `optimizer` and `schedule` are names of `optimizers`; `accumulate` batches make an update. `power_of_two`: delayed
    scales are powers of two. `augmentation` None trains on the images as they are. `replay`: the share of source images
    in each batch. `weights`: what trained convolutions keep.

    Raises:
        BitrowError: a batch that is no power of two, a rate that is not positive, an unknown optimizer, schedule or
            weights, a share of no image or of all.
    """

    batch: int = 32
    learning_rate: float = 1e-3
    epochs: int = 10
    seed: int = 0
    loss_scale: float = 1.0
    power_of_two: bool = False
    augmentation: Augmentation | None = None
    optimizer: str = "adam"
    schedule: str = "cosine"
    accumulate: int = 1
    replay: float = 0.0
    weights: TrainedWeights = TrainedWeights.MASTERS

    def __post_init__(self) -> None:
        if self.batch < 1 or self.batch & (self.batch - 1):
            raise BitrowError(f"batch: found {self.batch}, expected a power of two")
        if not self.learning_rate > 0:
            raise BitrowError(f"learning rate: found {self.learning_rate}, expected a positive number")
        if self.epochs < 1:
            raise BitrowError(f"epochs: found {self.epochs}, expected 1 or more")
        optimizers.check(self.optimizer, self.schedule, self.accumulate)
        object.__setattr__(self, "weights", typed.coerce("recipe weights", TrainedWeights, self.weights))
        if not (self.replay == 0 or (0 < self.replay < 1 and 0 < self.replayed < self.batch)):
            found = f"replay: found {self.replay:g} of a batch of {self.batch}"
            raise BitrowError(f"{found}, expected a share of at least one image, and not of all")

    @property
    def replayed(self) -> int:
        """Source images of a batch."""
        return round(self.replay * self.batch)


class Replay(NamedTuple):
    """The source's training images, labels from 0, and how many classes of the head, its first ones, the target has."""

    images: Images
    classes: int


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


def check_batch(recipe: Recipe, images: int, devices: int) -> None:
    """Refuse fewer images than a batch takes, and a batch that the devices do not divide. Raises: BitrowError."""
    least = recipe.batch - recipe.replayed
    if images < least:
        raise BitrowError(f"training images: found {images}, expected at least a batch of {least}")
    if recipe.batch % devices:
        raise BitrowError(f"batch: found {recipe.batch}, expected a multiple of {devices} devices")


class Trainer:
    """Trains one module on images f32[n,h,w,c] with labels i32[n] under a policy.

    `replay`: what a recipe with a share of source images takes them from (`source.widen` makes the head for it).

    Raises:
        BitrowError: fewer images than a batch, a batch that the devices do not divide, a share of no images.
    """

    def __init__(
        self,
        module: NetworkModule,
        policy: policies.Policy,
        recipe: Recipe,
        images: Images,
        devices: list[jax.Device] | None = None,
        replay: Replay | None = None,
    ) -> None:
        self.mesh = Mesh(np.array(devices or jax.devices()), (AXIS,))
        check_batch(recipe, len(images.y), self.mesh.size)
        conv = [layer for layer in module.layers.values() if hasattr(layer, "sharded")]
        for layer in conv:
            layer.set_attributes(sharded=self.mesh.size > 1)
        self._loss_scale, module.loss_scale = module.loss_scale, None  # a trainer's is in its own loss
        self.parts = take_apart(module)
        module.loss_scale = self._loss_scale
        self.targets, self.images = len(images.y), _together(recipe, images, replay)
        network = self.network = module.network
        names = policies.trained(network, policy, self.parts.params, module.sparse)
        sizes = shapes(network)
        used = reach(network, names)
        rules = tuple(
            (f"layers/{conv.name}/gradient", gradient.ScaleUpdate(
                conv.config, _scaling(module, conv.name) if conv.input in used.values else Scaling.STATIC,
                recipe.batch * int(np.prod(sizes[conv.name])), recipe.power_of_two,
            ))
            for conv in convolutions(network)
        )  # fmt: skip
        passing = () if module.in_float else tuple(
            f"layers/{conv.name}/probe" for conv in convolutions(network) if conv.input in used.values
        )  # fmt: skip
        self.recipe = recipe
        shared = replace(recipe, seed=0, loss_scale=1.0)  # runs that differ in these share their compiled program
        steps = len(images.y) // (recipe.batch - recipe.replayed)
        chosen = module.sparse.channels if module.sparse and policy.budget else ()
        self.channels = {name: len(each) for name, each in chosen}
        grouped = {conv.name for conv in convolutions(network) if conv.config.groups > 1}  # they train all or none
        channels = tuple((name, each) for name, each in chosen if name not in grouped)
        self.program = EpochProgram(
            self.parts.structure, names, rules, passing, channels, shared, steps, module.in_float, self.mesh,
            0 if replay is None else replay.classes, policies.coded(network, names, recipe.weights),
        )  # fmt: skip
        trained_codes.check_use(recipe.weights, policy.name, module.in_float, bool(self.program.coded))
        grids = self.program.grids(self.parts.constants)
        placed = {name: trained_codes.on_grid(self.parts.params[name], grid) for name, grid in grids.items()}
        self.parts = self.parts._replace(params=self.parts.params | placed)

    def start(self) -> State:
        """The state before the first epoch."""
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its step count with float32
            made = _partitioned(self.program, self.parts.params, self.parts.constants, self.recipe.seed)
            optimizer = made.init(self.parts.params)
        history = {name: jnp.zeros(gradient.HISTORY, jnp.float32) for name, _ in self.program.rules}
        return self.place(State(self.parts.params, optimizer, dict(self.parts.gradient), history))

    def place(self, state: State) -> State:
        """The state on every device of the mesh."""
        return jax.device_put(state, NamedSharding(self.mesh, P()))

    def epoch(self, state: State, number: int) -> tuple[State, Metrics]:
        """Train the epoch of this number, from 0: every image of the target at most once, in an order drawn from seed
        and number."""
        return self.advance(state, number, self.order(number))

    def order(self, number: int) -> np.ndarray:
        """Places of the images of every step of an epoch, i32[steps, batch]; replayed ones, drawn anew each time that
        all were taken, end a step."""
        recipe, steps = self.recipe, self.program.steps
        order = np.random.default_rng((recipe.seed, number)).permutation(self.targets)
        order = order[: steps * (recipe.batch - recipe.replayed)].reshape(steps, -1)
        if recipe.replayed:
            count, sources = steps * recipe.replayed, len(self.images.y) - self.targets
            rng = np.random.default_rng((recipe.seed, number, 1))
            again = np.concatenate([rng.permutation(sources) for _ in range(-(-count // sources))])[:count]
            order = np.concatenate([order, self.targets + again.reshape(steps, -1)], 1)
        return order.astype(np.int32)

    def advance(self, state: State, number: int, order: np.ndarray) -> tuple[State, Metrics]:
        """Train some steps of the epoch of this number, on the images at `order` i32[steps, batch]."""
        with jax.numpy_dtype_promotion("standard"):
            return _epoch(self.program, *self._arguments(state, number, order))

    def program_of_epoch(self) -> tuple[Any, tuple[Any, ...]]:
        """What `epoch` compiles, as a jitted function, and its arguments: to be lowered, timed or read."""

        @functools.partial(jax.jit, compiler_options=COMPILED)
        def run(*arguments: Any) -> tuple[State, Metrics]:
            with jax.numpy_dtype_promotion("standard"):
                return _steps(self.program, *arguments)

        return run, self._arguments(self.start(), 0, self.order(0))

    def _arguments(self, state: State, number: int, order: np.ndarray) -> tuple[Any, ...]:
        fixed = self.parts.probes, self.parts.constants
        return state, fixed, self.images.x, self.images.y, order, self._numbers(number)

    def _numbers(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Seed and epoch u32[2]; what the loss and then its gradients are multiplied by f32[2]."""
        recipe = self.recipe
        loss_scale = 1.0 if self.program.in_float else recipe.loss_scale
        scales = np.array([loss_scale, 1 / (recipe.batch * loss_scale)], np.float32)
        return np.array([recipe.seed, epoch], np.uint32), scales

    def gradients(self, state: State, x: Array, dlogits: Array) -> tuple[Array, dict[str, Array]]:
        """The step without the host's loss and update: logits of images x f32[n,h,w,c], and from their gradient
        dlogits [n, classes] those of the trained parameters, summed over the batch (SPEC.md A4, A5, C2, C4)."""
        return _gradients(self.program, state, (self.parts.probes, self.parts.constants), x, dlogits)

    def accuracy(self, state: State, images: Images) -> float:
        """Share of the target's images whose largest logit, of those of its classes, is their label's."""
        parts = self.parts._replace(params=state.params, gradient=state.gradient)
        return evaluate(parts, self.mesh, images, self.program.classes)

    def module(self, state: State) -> NetworkModule:
        """The module with the state's parameters and scales."""
        module = self.parts._replace(params=state.params, gradient=state.gradient).join()
        module.loss_scale = self._loss_scale
        return module


def _together(recipe: Recipe, images: Images, replay: Replay | None) -> Images:
    """The target's images and after them the source's, whose labels follow the target's classes."""
    if (recipe.replayed > 0) != (replay is not None and len(replay.images.y) > 0):
        count = 0 if replay is None else len(replay.images.y)
        found = f"replay: found a share of {recipe.replay:g} and {count} source images"
        raise BitrowError(f"{found}, expected both or none")
    if replay is None:
        return images
    pairs = ((images.x, replay.images.x), (images.y, replay.images.y + np.int32(replay.classes)))
    return Images(*(np.concatenate(pair) for pair in pairs))


def _probe(gradient: str) -> str:
    return f"{gradient.removesuffix('gradient')}probe"


def _scaling(module: NetworkModule, name: str) -> Scaling:
    layer = module.layers[name]
    assert isinstance(layer, Conv)
    return layer.scaling


def _partitioned(
    program: EpochProgram, params: Mapping[str, Array], constants: Mapping[str, Any], seed: int = 0
) -> optax.GradientTransformation:
    return policies.frozen_but(program.optimizer(constants, seed), policies.labels(params, program.trained))


def _steps(
    program: EpochProgram, state: State, fixed: Any, x: Array, y: Array, order: Array, numbers: Any
) -> tuple[State, Metrics]:
    def run(state: State, fixed: Any, x: Array, y: Array, order: Array, numbers: Any) -> tuple[State, Metrics]:
        def step(state: State, index: Array) -> tuple[State, Metrics]:
            batch = x[index]
            how = program.recipe.augmentation
            if how is not None:
                batch = augment(batch, numbers[0][0], numbers[0][1], index=index, how=how)
            return _step(program, state, fixed, batch, y[index], numbers[1])

        return lax.scan(step, state, order)

    specs = (P(), P(), P(), P(), P(None, AXIS), P())
    return jax.shard_map(run, mesh=program.mesh, in_specs=specs, out_specs=P(), check_vma=False)(
        state, fixed, x, y, order, numbers
    )


_epoch = jax.jit(_steps, static_argnums=0, compiler_options=COMPILED)


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


@functools.partial(jax.jit, static_argnums=0)
def _gradients(
    program: EpochProgram, state: State, fixed: Any, x: Array, dlogits: Array
) -> tuple[Array, dict[str, Array]]:
    def run(state: State, fixed: Any, x: Array, dlogits: Array) -> tuple[Array, dict[str, Array]]:
        logits, pull = _forward(program, state, fixed, x)
        return logits, _over_devices(program, pull(dlogits)[0])

    specs = (P(), P(), P(AXIS), P(AXIS))
    return jax.shard_map(run, mesh=program.mesh, in_specs=specs, out_specs=(P(AXIS), P()), check_vma=False)(
        state, fixed, x, dlogits
    )


def _step(program: EpochProgram, state: State, fixed: Any, x: Array, y: Array, scales: Array) -> tuple[State, Metrics]:
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
        rule = _partitioned(program, state.params, constants)
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
