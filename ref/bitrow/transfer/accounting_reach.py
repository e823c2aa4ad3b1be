"""How far the gradient goes for a set of trained parameters: which values need one, which layers pass it on."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bitrow.errors import BitrowError
from bitrow.graph import INPUT, Network, Node, Shape, convolutions, shapes
from bitrow.transfer.branches import LiteResidual, blocks

BRANCHES, LAYERS, PROMPT = "branches", "layers", "prompt"
SCALE, CLIP = SCALES = ("step", "clip")  # of LSQ, of PACT


@dataclass(frozen=True)
class Branch:
    """A lite residual branch beside a block: `pooled` is the shape (h, w, c) of what its first weights read."""

    start: str
    end: str
    start_shape: Shape
    end_shape: Shape
    pooled: Shape
    rank: int

    @property
    def hidden(self) -> Shape:
        """Of the map between its two layers."""
        return *self.pooled[:2], self.rank

    @property
    def small(self) -> Shape:
        """Of its output before it is repeated to the block's size."""
        return *self.pooled[:2], self.end_shape[2]

    @property
    def pools(self) -> bool:
        return self.pooled != self.start_shape


@dataclass(frozen=True)
class Reach:
    """`trained` names of parameters ("layers/stem_bn/shift", "branches/s1b1_add/up", "prompt/delta"), and what
    follows from them for the network. `channels`: of convolutions whose weights train for some input channels only,
    how many.
    """

    network: Network
    trained: frozenset[str]
    channels: Mapping[str, int] = field(default_factory=dict, hash=False)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """Those of which something is trained, in order."""
        named = {name.split("/")[1] for name in self.trained if name.startswith(f"{BRANCHES}/")}
        return tuple(branch for branch in all_branches(self.network) if branch.end in named)

    @cached_property
    def prompt(self) -> bool:
        """The input's perturbation is trained."""
        return f"{PROMPT}/delta" in self.trained

    @cached_property
    def values(self) -> frozenset[str]:
        """Values (a layer's name, or INPUT) whose gradient is needed: those that a trained parameter makes, and
        all that are made of them.
        """
        ends = {branch.end for branch in self.branches}
        needed = {INPUT} if self.prompt else set()
        for node in self.network.nodes:
            if node.name in ends or self.fields(node) or needed & set(node.inputs):
                needed.add(node.name)
        return frozenset(needed)

    def fields(self, node: Node) -> frozenset[str]:
        """The layer's own trained parameters: weight, bias, scale, shift, gamma, beta."""
        prefix = f"{LAYERS}/{node.name}/"
        return frozenset(name.removeprefix(prefix) for name in self.trained if name.startswith(prefix))

    def passes(self, node: Node) -> bool:
        """The layer makes the gradient of an input of its: a product may do so for its gate alone."""
        return not self.values.isdisjoint(node.inputs)

    @cached_property
    def count(self) -> int:
        """Trained numbers."""
        sizes = parameter_shapes(self.network) | scale_shapes(self.network)
        return sum(self.part(name.split("/")[1], int(np.prod(sizes[name])), name) for name in self.trained)

    def part(self, layer: str, count: int, name: str = "") -> int:
        """Of `count` numbers that a convolution's weights, or what is kept for them, have: those of trained channels.

        `name`, if given, is a parameter's, all of which trains unless it is the weight.
        """
        if layer not in self.channels or (name and name.split("/")[2] != "weight"):
            return count
        return count * self.channels[layer] // shapes(self.network)[self.network.node(layer).inputs[0]][2]


def reach(network: Network, trained: Iterable[str], channels: Mapping[str, int] | None = None) -> Reach:
    """What follows from training the parameters of these names.

    Raises:
        BitrowError: a name that the network with its branches and prompt does not have, or none at all.
    """
    names, known = frozenset(trained), parameter_shapes(network) | scale_shapes(network)
    unknown = sorted(names - set(known))
    if unknown or not names:
        found = repr(unknown[0]) if unknown else "nothing"
        raise BitrowError(f"{network.name} trained: found {found}, expected names such as {next(iter(known))!r}")
    return Reach(network, names, channels or {})


@functools.lru_cache(maxsize=64)
def all_branches(network: Network) -> tuple[Branch, ...]:
    """The branch beside every block that can have one."""
    sizes, found = shapes(network), []
    for place in blocks(network):
        start, end = sizes[place.start], sizes[place.end]
        module = LiteResidual(start, end, np.random.default_rng(0))
        rows, columns = (start[0] // 2, start[1] // 2) if module.pool is not None else start[:2]
        rank = module.down.get_value().shape[1]
        found.append(Branch(place.start, place.end, start, end, (rows, columns, start[2]), rank))
    return tuple(found)


def parameter_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Every parameter that a policy may train, by name, but for `scale_shapes`."""
    sizes, found = shapes(network), dict[str, tuple[int, ...]]()
    for node in network.nodes:
        own = node.config.masters(node.size, sizes[node.inputs[0]], sizes[node.name][2])
        for name, shape in own.items():
            found[f"{LAYERS}/{node.name}/{name}"] = shape
    for branch in all_branches(network):
        found[f"{BRANCHES}/{branch.end}/down"] = (branch.start_shape[2], branch.rank)
        found[f"{BRANCHES}/{branch.end}/up"] = (branch.rank, branch.end_shape[2])
    found[f"{PROMPT}/delta"] = network.input_shape
    return found


def scale_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """The scales that a policy may train, of each convolution's input, by either rule, by name."""
    return {f"{LAYERS}/{conv.name}/{name}": () for conv in convolutions(network) for name in SCALES}
