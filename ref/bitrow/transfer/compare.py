"""Simulated beside bit-accurate training over whole epochs, word by word: where they first differ, and why.

Every step runs both forward passes from the same state on the same images and compares every layer's words. Each
numerics also trains on from a state of its own, so that a difference that only the gradients show is found, too.
SPEC.md E2 says when there is none; `compare_cause` says what a difference comes from.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from bitrow import exactness
from bitrow.errors import BitrowError
from bitrow.exactness import FORWARD
from bitrow.formats import Dequantize
from bitrow.graph import Network, convolutions
from bitrow.transfer.augment import augment
from bitrow.transfer.checkpoint import arrays, digest
from bitrow.transfer.compare_cause import Explanation, RoundingCause, explain
from bitrow.transfer.epoch import EpochProgram, State
from bitrow.transfer.modules import Conv
from bitrow.transfer.network_module import NetworkModule, Parts
from bitrow.transfer.training import Trainer

Maps = dict[str, np.ndarray]
EXPLAINED = 256  # words whose causes are counted


@dataclass(frozen=True)
class Difference:
    """The first word that differs: of the first step, the earliest layer, the first image of the batch.

    `step` counts from 1 through all epochs, `image` is its place in the training set, `element` the place in the
    layer's output. `words` of that layer's and `logits` of the step's words differ. `why` is None where the layer
    is no convolution. `tally` counts the causes of the layer's first EXPLAINED words that differ.
    """

    step: int
    image: int
    layer: str
    element: tuple[int, ...]
    simulated: int
    accurate: int
    words: int
    logits: int
    why: Explanation | None
    tally: tuple[tuple[str, int], ...]

    def lines(self) -> list[str]:
        """The report: where, the arithmetic, the causes."""
        place = ", ".join(map(str, self.element))
        found, wanted = (f"0x{word:04x} = {_value(word):.9g}" for word in (self.simulated, self.accurate))
        first = (
            f"step {self.step}, image {self.image}, {self.layer}[{place}]: simulated {found}, bit-accurate {wanted} "
            f"({self.words} words of the layer, {self.logits} logits)"
        )
        if self.why is None:
            return [first, "cause: no convolution, and its inputs are the same: a defect"]
        tally = ", ".join(f"{name} {count}" for name, count in self.tally)
        causes = "; ".join(cause.value for cause in self.why.causes)
        return [first, self.why.line(), f"cause: {causes}", f"of the layer's first {EXPLAINED} such words: {tally}"]

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        words = {name: f"0x{getattr(self, name):04x}" for name in ("simulated", "accurate")}
        why = None if self.why is None else self.why.to_json()
        return vars(self) | words | {"element": list(self.element), "why": why, "tally": dict(self.tally)}


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    `words` were compared, of all layers, in `steps` steps on `images` images; in `differing` steps some differ.
    `certified`: SPEC.md E2 holds for every convolution forward, so none may. `parted` is the first step after
    which the two trained states differ, None where they end the same; `digests` are theirs, bit-accurate first.
    """

    steps: int
    images: int
    words: int
    differing: int
    certified: bool
    difference: Difference | None
    parted: int | None
    digests: tuple[str, str]

    @property
    def holds(self) -> bool:
        """Whether what is proved is what was found: no difference where E2 holds."""
        return not (self.certified and self.differing)

    def lines(self) -> list[str]:
        """The report."""
        where = f"{self.steps} steps, {self.images} images, {self.words} words"
        found = f"{self.differing} steps differ" if self.differing else "every forward pass has the same bits"
        clause = "E2 holds for every convolution" if self.certified else "E3: some scales are no powers of two"
        state = "the same" if self.parted is None else f"different from step {self.parted} on"
        more = [] if self.difference is None else self.difference.lines()
        return [f"{where}: {found} ({clause}); trained states {state}", *more]

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return vars(self) | {"difference": None if self.difference is None else self.difference.to_json()}


def compare(
    accurate: Trainer, simulated: Trainer, epochs: int = 1, advance: Callable[[str], None] = lambda step: None
) -> Comparison:
    """Train both for some epochs, and compare every forward pass from the bit-accurate trainer's state.

    The trainers differ in nothing but their modules' numerics and use one device. `advance` is called after each step.

    Raises:
        BitrowError: trainers that begin in different states, or use more devices.
    """
    states = [accurate.start(), simulated.start()]
    if digest(states[0]) != digest(states[1]):
        raise BitrowError("compare: found trainers that begin in different states, expected the same")
    if accurate.mesh.size > 1:
        raise BitrowError(f"compare: found {accurate.mesh.size} devices, expected one")
    module = accurate.parts.join()
    certified = _certified(module)
    count = words = differing = 0
    first, parted = None, None
    for epoch, index in _steps(accurate, epochs):
        count += 1
        here, there = (_observed(trainer, states[0], epoch, index) for trainer in (accurate, simulated))
        words += sum(layer.size for layer in here.values())
        different = _different(module.network, here, there)
        differing += bool(different)
        if different and first is None:
            first = _difference(accurate.module(states[0]), different, here, there, count, index)
        states = [
            trainer.advance(state, epoch, index[None])[0]
            for trainer, state in zip((accurate, simulated), states, strict=True)
        ]
        if parted is None and not _same(*states):
            parted = count
        advance(f"step {count}")
    digests = digest(states[0]), digest(states[1])
    images = count * accurate.recipe.batch
    return Comparison(count, images, words, differing, certified, first, parted, digests)


def _steps(trainer: Trainer, epochs: int) -> Iterator[tuple[int, np.ndarray]]:
    for epoch in range(epochs):
        for index in trainer.order(epoch):
            yield epoch, index


def _observed(trainer: Trainer, state: State, epoch: int, index: np.ndarray) -> Maps:
    """Words of every layer's output, and of the input, as the trainer's numerics forms them."""
    fixed = trainer.parts.probes, trainer.parts.constants
    seed = np.array([trainer.recipe.seed, epoch], np.uint32)
    found = _observe(trainer.program, state, fixed, trainer.images.x[index], index, seed)
    return {name: np.asarray(value).view(np.uint16) for name, value in found.items()}


@functools.partial(jax.jit, static_argnums=0)
def _observe(program: EpochProgram, state: State, fixed: Any, x: Array, index: Array, seed: Array) -> dict[str, Array]:
    probes, constants = fixed
    how = program.recipe.augmentation
    if how is not None:
        x = augment(x, seed[0], seed[1], index=index, how=how)
    found: dict[str, Array] = {}
    Parts(program.structure, state.params, probes, state.gradient, constants).join()(x, found.__setitem__)
    return found


def _different(network: Network, here: Maps, there: Maps) -> list[str]:
    """Layers whose words differ, in network order."""
    return [node.name for node in network.nodes if not np.array_equal(here[node.name], there[node.name])]


def _difference(
    module: NetworkModule, different: list[str], here: Maps, there: Maps, step: int, index: np.ndarray
) -> Difference:
    layer, output = different[0], module.network.output
    unequal = here[layer] != there[layer]
    places = [tuple(map(int, place)) for place in np.argwhere(unequal)]
    logits = int((here[output] != there[output]).sum())
    why = [_explained(module, layer, here, there, place) for place in places[:EXPLAINED]]
    causes = Counter(cause for one in why if one is not None for cause in one.causes)
    tally = tuple((cause.name.lower(), causes[cause]) for cause in RoundingCause if causes[cause])
    image, *element = places[0]
    simulated, accurate = (int(maps[layer][places[0]]) for maps in (there, here))
    return Difference(
        step, int(index[image]), layer, tuple(element), simulated, accurate, len(places), logits, why[0], tally
    )


def _explained(
    module: NetworkModule, layer: str, here: Maps, there: Maps, place: tuple[int, ...]
) -> Explanation | None:
    node, conv = module.network.node(layer), module.layers[layer]
    if not isinstance(conv, Conv):
        return None
    params: Any = conv.to_params()
    image, row, column, channel = place
    x, x_scale = here[node.inputs[0]][image], np.asarray(conv.forward_scales().x_scale)
    words = int(there[layer][place]), int(here[layer][place])
    return explain(conv.config, params, x_scale, x, (row, column, channel), *words)


def _certified(module: NetworkModule) -> bool:
    """Whether SPEC.md E2 holds for every convolution forward, whatever weights its format allows."""
    found = []
    for name, config, *_ in convolutions(module.network):
        params: Any = module.layers[name].to_params()
        worst = np.full(params.weight_code.shape, config.weight_format.min)
        inverse, scale = np.asarray(params.x_inv_scale), np.asarray(params.scale)
        certificate = exactness.certify_direction(name, config, FORWARD, worst, inverse, scale)
        once = config.dequantize is Dequantize.FUSED or certificate.two_step_equal
        found.append("E2" in certificate.holds and once)
    return all(found)


def _same(one: State, other: State) -> bool:
    return all(np.array_equal(a.view(np.uint8), b.view(np.uint8)) for a, b in _pairs(one, other))


def _pairs(one: State, other: State) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for a, b in zip(arrays(one).values(), arrays(other).values(), strict=True):
        yield np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)


def _value(word: int) -> float:
    return float(np.uint16(word).view(np.float16))
