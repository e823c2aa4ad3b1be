"""A network as the stages of a row pipeline (SPEC.md C1, C2, A5).

A stage is a head layer followed by the elementwise layers that only it feeds. The head works by rows on its own: an
FXP convolution, an average pool that adds rows as they come, a batch norm that must see the whole batch. The chain is
what the FP array does to a row in one visit. Standard library only.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

from bitrow.config.rows import Phase, Place, RingKind, RowPlan, Take, Window
from bitrow.graph import INPUT, Network, Node, Shape, consumers, shapes

__all__ = ["Edge", "Phase", "Stage", "StageLayer", "Window", "gradient_edges", "gradient_phase", "row_count", "stages"]

NO_HEAD = RowPlan()


@dataclass(frozen=True)
class Edge:
    """A value on its way from the stage `producer` to the stage `consumer`, where `node` reads it.

    `operand` is its place among the node's inputs; `skip` marks the other operands of a node inside the consumer's
    chain. `index` counts the network's edges; `position` is the node's place in the network, which orders the sum of
    gradients (SPEC.md A5).
    """

    index: int
    value: str
    producer: int
    consumer: int
    node: str
    position: int
    operand: int
    skip: bool


class StageLayer(NamedTuple):
    """A layer in a stage: what it is, where it stands, how it works by rows."""

    node: Node
    place: Place
    plan: RowPlan


@dataclass(frozen=True)
class Stage:
    """A head and the chain behind it; the first stage, which has neither, is the host that feeds images.

    `head` is None for a chain alone. `chain` are elementwise layers, each reading the one before it (the first reads
    the head, or the main edge). `output` names the value it makes. `edges`: the main edge first, then the other
    operands of the chain's layers, in its order. Shapes are (h, w, c).
    """

    index: int
    head: Node | None
    chain: tuple[Node, ...]
    sites: tuple[StageLayer, ...]  # of head and chain
    output: str
    in_shape: Shape
    out_shape: Shape
    edges: tuple[Edge, ...]

    @property
    def name(self) -> str:
        return self.sites[0].node.name if self.sites else self.output

    @property
    def source(self) -> bool:
        """The host that feeds images."""
        return not self.sites

    @property
    def plan(self) -> RowPlan:
        """How the head works by rows, and how the main edge is read."""
        return self.sites[0].plan if self.head else NO_HEAD

    @property
    def window(self) -> Window:
        """How output rows read the main edge, or rows of it make output rows."""
        return self.plan.window

    @functools.cached_property
    def barrier(self) -> bool:
        """No row leaves before the last of the batch was seen (SPEC.md B2)."""
        return any(take is Take.BATCH for buffer in self.plan.buffers for _, take in buffer.reads)

    @functools.cached_property
    def hands_off(self) -> bool:
        """The head's rows wait for the chain's visit."""
        return any(buffer.kind is RingKind.HANDOFF for buffer in self.plan.buffers)

    @functools.cached_property
    def adds_rows(self) -> bool:
        """The head's forward tasks take input rows one by one, and no windows."""
        return any(buffer.take(Phase.FORWARD_HEAD) is Take.SAME for buffer in self.plan.inputs)

    def take(self, edge: Edge) -> Take:
        """What the chain's layer takes of an operand that comes on an edge of its own."""
        return next((site.plan.takes[edge.operand] for site in self.sites
                     if site.node.name == edge.node and site.plan.takes), Take.SAME)  # fmt: skip

    @property
    def queued(self) -> bool:
        """They come from the array of multipliers, through the queue from FXP to FP array."""
        return self.hands_off and Phase.FORWARD_HEAD in self.plan.products


def stages(network: Network) -> tuple[Stage, ...]:
    """The stages in topological order, the source first.

    An elementwise layer joins the chain of the stage that makes its input, if it is that value's only reader; one of
    several inputs joins the latest computed of them, but not one of which it takes the only row.
    """
    sizes = shapes(network)
    sites = {node.name: _site(node, sizes) for node in network.nodes}
    position = {node.name: place for place, node in enumerate(network.nodes)}
    groups = _groups(network, sites)
    groups.sort(key=lambda group: position[group[-1].node.name])
    maker = {INPUT: 0} | {group[-1].node.name: place for place, group in enumerate(groups, start=1)}
    found = [Stage(0, None, (), (), INPUT, sizes[INPUT], sizes[INPUT], ())]
    edge_count = 0
    for group in groups:
        edges = _edges(group, maker, position, edge_count)
        edge_count += len(edges)
        nodes = tuple(site.node for site in group)
        head = nodes[0] if group[0].plan.head else None
        out, into = nodes[-1].name, sizes[edges[0].value]
        chain = nodes[1:] if head else nodes
        found.append(Stage(len(found), head, chain, tuple(group), out, into, sizes[out], edges))
    return tuple(found)


def _site(node: Node, sizes: dict[str, Shape]) -> StageLayer:
    place = Place(node.size, tuple(sizes[name] for name in node.inputs), sizes[node.name])
    return StageLayer(node, place, node.config.row_plan(place))


def _groups(network: Network, sites: dict[str, StageLayer]) -> list[list[StageLayer]]:
    readers = consumers(network)
    position = {node.name: place for place, node in enumerate(network.nodes)}
    tail: dict[str, list[StageLayer]] = {}  # the group that ends in a value
    groups: list[list[StageLayer]] = []
    for node in network.nodes:
        plan, latest = sites[node.name].plan, max(node.inputs, key=lambda name: position.get(name, -1))
        joins = not plan.head and (not plan.takes or plan.takes[node.inputs.index(latest)] is Take.SAME)
        if joins and len(readers[latest]) == 1 and latest in tail:
            group = tail.pop(latest)
            group.append(sites[node.name])
        else:
            group = [sites[node.name]]
            groups.append(group)
        tail[node.name] = group
    return groups


def _edges(group: list[StageLayer], maker: dict[str, int], position: dict[str, int], first: int) -> tuple[Edge, ...]:
    found: list[Edge] = []
    inside = {site.node.name for site in group}
    index = maker[group[-1].node.name]
    for node in (site.node for site in group):
        for operand, value in enumerate(node.inputs):
            if value not in inside:
                place, order = first + len(found), position[node.name]
                found.append(Edge(place, value, maker[value], index, node.name, order, operand, bool(found)))
    return tuple(found)


def row_count(stage: Stage, phase: Phase) -> int:
    """Row tasks of this kind in one image; 0 where the stage has none."""
    if phase is Phase.BACKWARD_HEAD:
        return stage.in_shape[0] if stage.head else 0
    if phase is not Phase.FORWARD_HEAD:
        return stage.out_shape[0]
    return max((stage.out_shape[0] * made.per for made in stage.plan.buffers if made.writer is phase), default=0)


def gradient_edges(network_stages: tuple[Stage, ...], stage: int) -> tuple[Edge, ...]:
    """Edges that read the stage's output, in A5's order of summing their gradients: the last reader first.

    A node that adds a value to itself stands twice. Empty for the network's output, whose gradient is the host's.
    """
    found = [edge for reader in network_stages for edge in reader.edges if edge.producer == stage]
    return tuple(sorted(found, key=lambda edge: (edge.position, edge.operand), reverse=True))


def gradient_phase(network_stages: tuple[Stage, ...], edge: Edge) -> Phase:
    """Which tasks of the consumer make the gradient rows of an edge."""
    through_head = not edge.skip and network_stages[edge.consumer].head is not None
    return Phase.BACKWARD_HEAD if through_head else Phase.BACKWARD_CHAIN
