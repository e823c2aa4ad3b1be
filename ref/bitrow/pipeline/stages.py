"""A network as the stages of a row pipeline, and what every row of a stage waits for (SPEC.md C1, C2, A5).

A stage is a head layer followed by the elementwise layers that only it feeds. The head works by rows on its own: an
FXP convolution, an average pool that adds rows as they come, a batch norm that must see the whole batch. The chain is
what the FP array does to a row in one visit. Standard library only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    Statistics,
)
from bitrow.graph import INPUT, ConvSize, Network, Node, Shape, consumers, shapes


class Head(enum.Enum):
    """What stands at the head of a stage. SOURCE is the host that feeds images; NONE is a chain alone."""

    SOURCE = "source"
    CONV = "conv"
    MAX_POOL = "max_pool"
    AVG_POOL = "avg_pool"
    LINEAR = "linear"
    BATCH_NORM = "batch_norm"
    NONE = "none"


class Phase(enum.IntEnum):
    """The four kinds of row tasks of a stage.

    FORWARD_HEAD: a convolution's output row; an *input* row added to an average pool's or batch norm's sums.
    FORWARD_CHAIN: an output row of the stage (heads without rows of their own are computed here, too).
    BACKWARD_CHAIN: output row's gradient summed over its readers (A5) and taken back through the chain.
    BACKWARD_HEAD: a row of the input's gradient, through the head.
    """

    FORWARD_HEAD = 0
    FORWARD_CHAIN = 1
    BACKWARD_CHAIN = 2
    BACKWARD_HEAD = 3

    @property
    def label(self) -> str:
        """The name in charts and traces."""
        return self.name.lower().replace("_", " ")


class Window(NamedTuple):
    """Output row i reads input rows `i*stride - padding` to `i*stride - padding + kernel - 1`."""

    kernel: int = 1
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Edge:
    """A value on its way from the stage `producer` to the stage `consumer`, where `node` reads it.

    `operand` is its place among the node's inputs. `window` is how the consumer's rows read it; `skip` marks the
    other operand of an add inside the consumer's chain. `index` counts the network's edges; `position` is the node's
    place in the network, which orders the sum of gradients (SPEC.md A5).
    """

    index: int
    value: str
    producer: int
    consumer: int
    node: str
    position: int
    operand: int
    window: Window
    skip: bool


@dataclass(frozen=True)
class Stage:
    """A head and the chain behind it.

    `head` is None for SOURCE and NONE. `chain` are elementwise nodes, each reading the one before it (the first reads
    the head, or for NONE the main edge). `output` names the value it makes. `edges`: the main edge first (SOURCE has
    none), then one for each add of the chain, in its order. Shapes are (h, w, c).
    """

    index: int
    kind: Head
    head: Node | None
    chain: tuple[Node, ...]
    output: str
    in_shape: Shape
    out_shape: Shape
    edges: tuple[Edge, ...]

    @property
    def name(self) -> str:
        return self.head.name if self.head else self.chain[0].name if self.chain else self.output

    @property
    def window(self) -> Window:
        """How output rows read the main edge; a 1x1 for SOURCE."""
        return self.edges[0].window if self.edges else Window()

    @property
    def barrier(self) -> bool:
        """No row leaves before the last of the batch was seen (SPEC.md B2)."""
        return self.kind is Head.BATCH_NORM


class Need(NamedTuple):
    """Rows `first`..`last` of another kind of task, read by a task; an empty range where `first > last`.

    Row `last`, and so all before it, must be done first, also where nothing is read. `whole_batch`: of every image of
    the batch; `loss`: the host's loss stands between. `edge` is the edge that the rows travel on, or -1 inside a
    stage.
    """

    stage: int
    phase: Phase
    first: int
    last: int
    edge: int = -1
    whole_batch: bool = False
    loss: bool = False


def stages(network: Network) -> tuple[Stage, ...]:
    """The stages in topological order, the source first.

    An elementwise layer joins the chain of the stage that makes its input, if it is that value's only reader; an add
    joins the later computed of its operands. A batch norm with batch statistics heads its own stage.
    """
    groups = _groups(network)
    position = {node.name: place for place, node in enumerate(network.nodes)}
    groups.sort(key=lambda nodes: position[nodes[-1].name])
    maker = {INPUT: 0} | {nodes[-1].name: place for place, nodes in enumerate(groups, start=1)}
    sizes = shapes(network)
    found = [Stage(0, Head.SOURCE, None, (), INPUT, sizes[INPUT], sizes[INPUT], ())]
    edge_count = 0
    for index, nodes in enumerate(groups, start=1):
        kind = _head_kind(nodes[0])
        edges = _edges(network, index, nodes, maker, position, edge_count)
        edge_count += len(edges)
        head, chain = (None, tuple(nodes)) if kind is Head.NONE else (nodes[0], tuple(nodes[1:]))
        out = nodes[-1].name
        found.append(Stage(index, kind, head, chain, out, sizes[edges[0].value], sizes[out], edges))
    return tuple(found)


def _head_kind(node: Node) -> Head:
    match node.config:
        case ConvConfig():
            return Head.CONV
        case MaxPoolConfig():
            return Head.MAX_POOL
        case AvgPoolConfig():
            return Head.AVG_POOL
        case LinearConfig():
            return Head.LINEAR
        case BatchNormConfig(statistics=Statistics.BATCH):
            return Head.BATCH_NORM
    return Head.NONE


def _groups(network: Network) -> list[list[Node]]:
    readers = consumers(network)
    position = {node.name: place for place, node in enumerate(network.nodes)}
    tail: dict[str, list[Node]] = {}  # the group that ends in a value
    groups: list[list[Node]] = []
    for node in network.nodes:
        latest = max(node.inputs, key=lambda name: position.get(name, -1))
        if _head_kind(node) is Head.NONE and len(readers[latest]) == 1 and latest in tail:
            group = tail.pop(latest)
            group.append(node)
        else:
            group = [node]
            groups.append(group)
        tail[node.name] = group
    return groups


def _edges(
    network: Network,
    index: int,
    nodes: list[Node],
    maker: dict[str, int],
    position: dict[str, int],
    first: int,
) -> tuple[Edge, ...]:
    found: list[Edge] = []
    inside = {node.name for node in nodes}
    for node in nodes:
        for operand, value in enumerate(node.inputs):
            if value in inside:
                continue
            main = not found
            window = _window(network, node) if main else Window()
            place, order = first + len(found), position[node.name]
            edge = Edge(place, value, maker[value], index, node.name, order, operand, window, not main)
            found.append(edge)
    return tuple(found)


def _window(network: Network, node: Node) -> Window:
    rows = shapes(network)[node.inputs[0]][0]
    match node.config, node.size:
        case ConvConfig() as config, ConvSize() as size:
            return Window(size.kh, config.stride, config.padding)
        case MaxPoolConfig() as config, _:
            return Window(config.kernel, config.stride, config.padding)
        case AvgPoolConfig() as config, _:
            return Window(config.kernel or rows, config.kernel or rows, 0)
        case LinearConfig(), _:
            return Window(rows, rows, 0)
        case ((BatchNormConfig() | ReluConfig() | AddConfig()), _):
            return Window()
    raise AssertionError(node.config)


def row_count(stage: Stage, phase: Phase) -> int:
    """Row tasks of this kind in one image; 0 where the stage has none."""
    in_rows, out_rows = stage.in_shape[0], stage.out_shape[0]
    if phase in (Phase.FORWARD_CHAIN, Phase.BACKWARD_CHAIN):
        return out_rows
    if phase is Phase.BACKWARD_HEAD:
        return in_rows if stage.head else 0
    match stage.kind:
        case Head.CONV | Head.BATCH_NORM:
            return out_rows
        case Head.AVG_POOL:
            return out_rows * stage.window.kernel
    return 0


def window_rows(window: Window, row: int, in_rows: int) -> tuple[int, int]:
    """First and last input row that output row `row` reads, inside the map; first > last: none."""
    first = row * window.stride - window.padding
    return _inside(first, first + window.kernel - 1, in_rows)


def gradient_rows(window: Window, row: int, out_rows: int) -> tuple[int, int]:
    """First and last output row i with `iS-P <= row <= iS-P+K-1`; first > last: none (SPEC.md C2)."""
    reach = row + window.padding
    return _inside(-(-(reach - window.kernel + 1) // window.stride), reach // window.stride, out_rows)


def _inside(first: int, last: int, rows: int) -> tuple[int, int]:
    if last < first or last < 0 or first >= rows:  # reads nothing: wait for the row before it all the same
        last = min(max(last, 0), rows - 1)
        return last + 1, last
    return max(first, 0), min(last, rows - 1)


def needs(network_stages: tuple[Stage, ...], stage: int, phase: Phase, row: int) -> tuple[Need, ...]:
    """What the task of `row` waits for and reads, in its image or batch. Rows of a kind also run in order."""
    this = network_stages[stage]
    match phase:
        case Phase.FORWARD_HEAD:
            return (_main_need(this, *_head_reads(this, row)),)
        case Phase.FORWARD_CHAIN:
            skips = tuple(
                Need(edge.producer, Phase.FORWARD_CHAIN, row, row, edge.index) for edge in this.edges[1:]
            )
            return _forward_chain_needs(this, row) + skips
        case Phase.BACKWARD_CHAIN:
            return _backward_chain_needs(network_stages, this, row)
        case Phase.BACKWARD_HEAD:
            return _backward_head_needs(this, row)


def _main_need(stage: Stage, first: int, last: int) -> Need:
    edge = stage.edges[0]
    return Need(edge.producer, Phase.FORWARD_CHAIN, first, last, edge.index)


def _head_reads(stage: Stage, row: int) -> tuple[int, int]:
    if stage.kind is Head.CONV:
        return window_rows(stage.window, row, stage.in_shape[0])
    return row, row


def _forward_chain_needs(stage: Stage, row: int) -> tuple[Need, ...]:
    index, head = stage.index, Phase.FORWARD_HEAD
    match stage.kind:
        case Head.SOURCE:
            return ()
        case Head.CONV:
            return (Need(index, head, row, row),)
        case Head.AVG_POOL:
            kernel = stage.window.kernel
            return (Need(index, head, row * kernel, row * kernel + kernel - 1),)
        case Head.BATCH_NORM:
            sums = Need(index, head, 0, stage.in_shape[0] - 1, whole_batch=True)
            return (sums, _main_need(stage, row, row))
    return (_main_need(stage, *window_rows(stage.window, row, stage.in_shape[0])),)


def _backward_chain_needs(network_stages: tuple[Stage, ...], stage: Stage, row: int) -> tuple[Need, ...]:
    readers = gradient_edges(network_stages, stage.index)
    if not readers:
        return (Need(stage.index, Phase.FORWARD_CHAIN, 0, stage.out_shape[0] - 1, loss=True),)
    return tuple(
        Need(edge.consumer, gradient_phase(network_stages, edge), row, row, edge.index) for edge in readers
    )


def _backward_head_needs(stage: Stage, row: int) -> tuple[Need, ...]:
    index, chain = stage.index, Phase.BACKWARD_CHAIN
    if stage.kind is Head.BATCH_NORM:
        return (
            Need(index, chain, 0, stage.out_shape[0] - 1, whole_batch=True),
            Need(index, chain, row, row),
        )
    return (Need(index, chain, *gradient_rows(stage.window, row, stage.out_shape[0])),)


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
