"""The buffers of a network: what its layers declare, each at its place, and what every row task reads and writes.

Needs, rings, bank accesses, and the rows of the emulator all follow from here. Standard library and numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from bitrow.config.rows import HALF, Buffer, Phase, RingKind, Take, Window, elements
from bitrow.graph import Shape
from bitrow.pipeline.stages import Edge, Stage, StageLayer, gradient_edges, gradient_phase, row_count
from bitrow.pipeline.takes import SPANS, TakenRows, taken

BufferKey = str  # a buffer's name in the network, and its ring's in reports

SKIP = Buffer("skip", RingKind.SKIP, HALF, Phase.FORWARD_CHAIN, ((Phase.FORWARD_CHAIN, Take.SAME),))
# The one row of an image that a whole map is taken with: a backward pass takes it once more.
ONLY = Buffer("skip", RingKind.SKIP, HALF, Phase.FORWARD_CHAIN, ((Phase.FORWARD_CHAIN, Take.ONLY),))
KEPT = replace(ONLY, kind=RingKind.KEPT, reads=(*ONLY.reads, (Phase.BACKWARD_CHAIN, Take.ONLY)))
LOGITS = Buffer("logits", None, HALF, Phase.FORWARD_CHAIN, ())
GRADIENT = Buffer("dx", None, HALF, Phase.BACKWARD_CHAIN, ())  # of the network's input, for the host


@dataclass(frozen=True)
class Held:
    """A buffer at its place: `key` its name, of a stage and perhaps of an edge into it, declared for `node`.

    Tasks of `writer`, a stage's, fill it; those of the stage `reader` take rows of it. A row holds `words` and lies
    between `margin` zeros; `rows` of them make an image's map. `tap`: the tap of whole tensors that has its rows.
    """

    key: BufferKey
    buffer: Buffer
    stage: Stage
    node: str
    writer: tuple[int, Phase]
    reader: int
    shape: Shape
    edge: int = -1
    tap: str = ""

    @property
    def words(self) -> int:
        return self.buffer.words or elements(self.shape)

    @property
    def margin(self) -> tuple[int, int]:
        """Words of zeros before and behind a row."""
        before, behind = self.buffer.margin
        return before * self.shape[2], behind * self.shape[2]

    @property
    def rows(self) -> int:
        return self.buffer.rows or self.shape[0]

    @property
    def window(self) -> Window:
        """The one by which windows of it are taken."""
        return self.stage.window

    def written(self, row: int) -> int:
        """The row that the writer's task of `row` fills."""
        return 0 if self.buffer.rows else row // self.buffer.per


class Access(NamedTuple):
    """What a kind of task touches of a buffer or its ring: the rows of it, int64[rows of the line, most], -1 none."""

    ring: Any
    rows: np.ndarray
    write: bool

    @property
    def many(self) -> np.ndarray:
        """How many rows there are, int64[rows of the line]."""
        return (self.rows >= 0).sum(axis=1)


class Need(NamedTuple):
    """Rows `first`..`last` of another kind of task, read by a task; an empty range where `first > last`.

    Row `last`, and so all before it, must be done first, also where nothing is read. `whole_batch`: of every image of
    the batch; `loss`: the host's loss stands between. `edge` is the edge that the rows travel on, or -1 inside a
    stage. `many` rows of the buffer are read.
    """

    stage: int
    phase: Phase
    first: int
    last: int
    edge: int = -1
    whole_batch: bool = False
    loss: bool = False
    many: int = 0


class Buffers:
    """All buffers of a network's stages, with `training` those of the backward pass, too.

    `needed`: the values whose gradient is made, all of them where nothing is said (`reach.needed`). `inputs` and
    `gradient` by edge, the main edge's gradient among them; `own` by stage and place in it: what the layer there
    declares.
    """

    def __init__(self, stages: tuple[Stage, ...], training: bool, needed: frozenset[str] | None = None) -> None:
        self.stages, self.training = stages, training
        self._needed = needed
        self.inputs: dict[int, list[Held]] = {}
        self.gradient: dict[int, Held] = {}
        self.own: dict[tuple[int, int], list[Held]] = {}
        self.ends: dict[int, list[Held]] = {}
        for stage in stages:
            for edge in stage.edges:
                self.inputs[edge.index] = list(self._edge_inputs(stage, edge))
                if self.needs_gradient(edge.value):
                    self.gradient[edge.index] = self._edge_gradient(stage, edge)
            for place, site in enumerate(stage.sites):
                self.own[stage.index, place] = list(self._declared(stage, place, site))
        for stage in stages:
            self.ends[stage.index] = list(self._host_ends(stage))

    def all(self) -> Iterator[Held]:
        """Every buffer, in the order of the rings: a stage's edges, its head, its chain."""
        for stage in self.stages:
            for edge in stage.edges:
                yield from self.inputs[edge.index]
                if edge.index in self.gradient:
                    yield self.gradient[edge.index]
            for place in range(len(stage.sites)):
                yield from self.own[stage.index, place]
            yield from self.ends[stage.index]

    def needs_gradient(self, value: str) -> bool:
        """The backward pass makes the gradient of this value."""
        return self.training and (self._needed is None or value in self._needed)

    def takes_part(self, stage: Stage, site: StageLayer) -> bool:
        """The gradient goes through the layer, or the layer sums it up for parameters of its own (SPEC.md B3)."""
        passes = any(map(self.needs_gradient, site.node.inputs))
        return passes or (site.plan.head and stage.barrier and self.needs_gradient(stage.output))

    def runs(self, stage: Stage, phase: Phase) -> bool:
        """There are tasks of this kind: backward, where a gradient is needed."""
        if phase is Phase.BACKWARD_CHAIN:
            return self.needs_gradient(stage.output)
        if phase is Phase.BACKWARD_HEAD:
            return stage.head is not None and self.needs_gradient(stage.head.inputs[0])
        return True

    @functools.cached_property
    def logits(self) -> dict[str, Held]:
        """What the host takes of the network's outputs, by their names."""
        return {held.stage.output: held for ends in self.ends.values() for held in ends if held.buffer is LOGITS}

    @functools.cached_property
    def _outputs(self) -> list[Stage]:
        """The stages whose results leave the network: those that none reads."""
        return [stage for stage in self.stages if not self.out_edges[stage.index]]

    @functools.cached_property
    def dx(self) -> Held:
        """The gradient of the network's input."""
        return next(held for held in self.ends[0] if held.buffer is GRADIENT)

    def local(self, stage: Stage, place: int) -> dict[str, Held]:
        """The buffers of a layer by their own names: a head's are also the rows of its input.

        An operand on an edge of its own, as far as a task may take it again, is `operand` and its number.
        """
        main = self.inputs[stage.edges[0].index] if place == 0 and stage.head else []
        found = {held.buffer.name: held for held in (*self.own[stage.index, place], *main)}
        for edge in stage.edges[1:]:
            if edge.node == stage.sites[place].node.name:
                found[f"operand{edge.operand}"] = self.inputs[edge.index][0]
        return found

    @functools.cached_property
    def out_edges(self) -> dict[int, list[Edge]]:
        """By stage, the edges that read its output, in the network's order."""
        found: dict[int, list[Edge]] = {stage.index: [] for stage in self.stages}
        for edge in (edge for stage in self.stages for edge in stage.edges):
            found[edge.producer].append(edge)
        return found

    def _edge_inputs(self, stage: Stage, edge: Edge) -> Iterator[Held]:
        shape, writer = self.stages[edge.producer].out_shape, (edge.producer, Phase.FORWARD_CHAIN)
        for buffer in (self._skip(stage, edge),) if edge.skip else stage.plan.inputs:
            if self._used(buffer, stage, edge.node):
                name = _skip_name(stage, edge) if edge.skip else buffer.name
                tap = f"{edge.node}/forward/{buffer.tap}" if buffer.tap else self._made(edge.producer)
                yield Held(
                    f"{stage.name}.{name}", buffer, stage, edge.node, writer, stage.index, shape, edge.index, tap
                )

    def _made(self, stage: int) -> str:
        """The tap of what a stage gives forward; the host's images have none."""
        sites = self.stages[stage].sites
        return f"{sites[-1].node.name}/forward/{sites[-1].node.config.result}" if sites else ""

    def _skip(self, stage: Stage, edge: Edge) -> Buffer:
        if stage.take(edge) is Take.SAME:
            return SKIP
        passes = any(map(self.needs_gradient, next(s.node.inputs for s in stage.sites if s.node.name == edge.node)))
        return KEPT if passes else ONLY

    def _edge_gradient(self, stage: Stage, edge: Edge) -> Held:
        phase = gradient_phase(self.stages, edge)
        per = stage.out_shape[0] if edge.skip and stage.take(edge) is Take.ONLY else 1  # the last one has the sum
        buffer = Buffer("dx", RingKind.GRADIENT, HALF, phase, ((Phase.BACKWARD_CHAIN, Take.SAME),), per=per)
        name = f"{_skip_name(stage, edge)}_dx" if edge.skip else "dx"
        tap = f"{edge.node}/backward/dx" if phase is Phase.BACKWARD_HEAD else ""
        shape, writer = self.stages[edge.producer].out_shape, (stage.index, phase)
        return Held(f"{stage.name}.{name}", buffer, stage, edge.node, writer, edge.producer, shape, edge.index, tap)

    def _declared(self, stage: Stage, place: int, site: StageLayer) -> Iterator[Held]:
        head = place == 0 and stage.head is not None
        for buffer in site.plan.buffers:
            if self._used(buffer, stage, site.node.name):
                name = buffer.name if head else f"{site.node.name}.{buffer.name}"
                way = "backward" if buffer.writer.backward else "forward"
                tap = f"{site.node.name}/{way}/{buffer.tap}" if buffer.tap else ""
                writer, shape = (stage.index, buffer.writer), site.place.out
                yield Held(f"{stage.name}.{name}", buffer, stage, site.node.name, writer, stage.index, shape, tap=tap)

    def _host_ends(self, stage: Stage) -> Iterator[Held]:
        """What the host takes of a stage: logits, and the gradient of images."""
        dx = stage.source and self.needs_gradient(stage.output)
        for buffer, here in ((LOGITS, not self.out_edges[stage.index]), (GRADIENT, dx)):
            if here:
                writer = (stage.index, buffer.writer)
                key = f"{stage.name}.{buffer.name}"
                tap = logits_tap(stage.output, len(self._outputs)) if buffer is LOGITS else buffer.name
                yield Held(key, buffer, stage, stage.name, writer, -1, stage.out_shape, tap=tap)

    def _used(self, buffer: Buffer, stage: Stage, node: str) -> bool:
        """What only the backward pass writes or reads is there where the gradient goes through its layer."""
        inputs = next((site.node.inputs for site in stage.sites if site.node.name == node), ())
        return not buffer.trains or any(map(self.needs_gradient, inputs))

    def reads(self, stage: Stage, phase: Phase) -> Iterator[tuple[Held, Take]]:
        """What a task reads, in its order: gradients, the chain's back to front, the head's, its inputs, skips."""
        found: list[Held] = []
        if phase is Phase.BACKWARD_CHAIN:
            found += [self.gradient[edge.index] for edge in gradient_edges(self.stages, stage.index)]
        for place in reversed(range(len(stage.sites))):
            found += self.own[stage.index, place]
        for edge in stage.edges:
            found += self.inputs[edge.index]
        for held in found:
            take = held.buffer.take(phase)
            if take:
                yield held, take

    def writes(self, stage: Stage, phase: Phase) -> Iterator[Held]:
        """What a task writes, in its order: gradients of the chain's operands, the layers' own, then what goes on."""
        found: list[Held] = []
        edges = stage.edges if self.training else ()
        if phase is Phase.BACKWARD_CHAIN:
            found += [self.gradient[edge.index] for edge in reversed(edges) if edge.index in self.gradient]
        for place in range(len(stage.sites)):
            found += self.own[stage.index, place]
        for edge in self.out_edges[stage.index]:
            found += self.inputs[edge.index]
        found += self.ends[stage.index]
        if phase is Phase.BACKWARD_HEAD:
            found += [self.gradient[edge.index] for edge in edges if edge.index in self.gradient]
        yield from (held for held in found if held.writer == (stage.index, phase))

    def accesses(self, stage: Stage, phase: Phase) -> list[Access]:
        """What the tasks of a phase read row by row, and then what they write, in their order."""
        rows = range(row_count(stage, phase))
        found = [
            _access(held, [taken(take, held.window, row, held.rows) for row in rows], False)
            for held, take in self.reads(stage, phase)
            if take is not Take.BATCH
        ]
        return found + [
            _access(held, [(held.written(row),) for row in rows], True) for held in self.writes(stage, phase)
        ]

    def needs(self, stage: Stage, phase: Phase) -> list[Callable[[int], Need]]:
        """What the task of a row waits for and reads, in its image or batch. Rows of a kind also run in order.

        What the forward pass kept comes last: a row that no window reads may be made after the loss.
        """
        found: dict[Any, Callable[[int], Need]] = {}
        kept: dict[Any, Callable[[int], Need]] = {}
        if phase is Phase.BACKWARD_CHAIN and not self.out_edges[stage.index]:
            found.update((end.index, functools.partial(_loss, end)) for end in self._outputs)
        for held, take in self.reads(stage, phase):
            if take in SPANS:
                there = found if held.writer[1].backward == phase.backward else kept
                there.setdefault((held.writer, held.edge, take), functools.partial(_need, held, take))
        return [*found.values(), *kept.values()]


def _loss(end: Stage, row: int) -> Need:
    """The host forms a loss when it has every row of every output."""
    return Need(end.index, Phase.FORWARD_CHAIN, 0, end.out_shape[0] - 1, loss=True)


def logits_tap(output: str, outputs: int) -> str:
    """The name of the tap of an output: of one alone `logits`."""
    return "logits" if outputs == 1 else f"logits/{output}"


def _access(held: Held, rows: list[TakenRows], write: bool) -> Access:
    found = [[-1 if row is None else row for row in one] for one in rows]
    return Access(held, np.array(found, np.int64), write)


def _skip_name(stage: Stage, edge: Edge) -> str:
    """Of a layer's second operand that comes from elsewhere, and so on, with its number."""
    same = [other for other in stage.edges if other.skip and other.node == edge.node]
    return f"{edge.node}.skip" + (str(edge.operand) if len(same) > 1 else "")


def _need(held: Held, take: Take, row: int) -> Need:
    first, last = SPANS[take](held.window, row, held.rows)
    per, batch = held.buffer.per, take is Take.BATCH
    many = held.rows if batch else sum(at is not None for at in taken(take, held.window, row, held.rows))
    return Need(*held.writer, first * per, last * per + per - 1, held.edge, batch, many=many)
