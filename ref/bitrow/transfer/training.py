"""The training loop: one compiled program for an epoch (`epoch`), its batch split over the devices present."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from bitrow.errors import BitrowError
from bitrow.graph import convolutions, shapes
from bitrow.transfer import epoch, gradient, policies, trained_codes
from bitrow.transfer.accounting_reach import reach
from bitrow.transfer.data import Images
from bitrow.transfer.epoch import EpochProgram, Metrics, State
from bitrow.transfer.evaluation import evaluate
from bitrow.transfer.modules import Conv
from bitrow.transfer.network_module import NetworkModule, take_apart
from bitrow.transfer.numerics import AXIS, COMPILED, Scaling
from bitrow.transfer.recipe import Recipe, Replay


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
            made = epoch.partitioned(self.program, self.parts.params, self.parts.constants, self.recipe.seed)
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
            return epoch.run(self.program, *self._arguments(state, number, order))

    def program_of_epoch(self) -> tuple[Any, tuple[Any, ...]]:
        """What `epoch` compiles, as a jitted function, and its arguments: to be lowered, timed or read."""

        @functools.partial(jax.jit, compiler_options=COMPILED)
        def run(*arguments: Any) -> tuple[State, Metrics]:
            with jax.numpy_dtype_promotion("standard"):
                return epoch.advance(self.program, *arguments)

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
        return epoch.gradients(self.program, state, (self.parts.probes, self.parts.constants), x, dlogits)

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


def _scaling(module: NetworkModule, name: str) -> Scaling:
    layer = module.layers[name]
    assert isinstance(layer, Conv)
    return layer.scaling
