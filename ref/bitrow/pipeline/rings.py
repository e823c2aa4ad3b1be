"""Every buffer of the pipeline as a ring of rows: who writes, who reads, how many slots by formula.

A ring that feeds windows of K rows at stride S needs K + S slots: K are read while S arrive. A ring of output
gradients needs ceil(K/S) + 1: at most ceil(K/S) of its rows meet in one row of the input gradient, and one arrives.
Where two paths of different length meet again, the shorter also holds what is under way on the longer: its lag in
rows, from the balanced pipeline (beats.py). Bits kept for the backward pass have a map of slots for each image in
flight. Standard library and numpy.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bitrow.config import ConvConfig, ReluConfig
from bitrow.formats import Gradient
from bitrow.pipeline.beats import Beats
from bitrow.pipeline.flow import Flow, Rows
from bitrow.pipeline.machine import Mac, Machine, RingRule
from bitrow.pipeline.stages import Edge, Head, Phase, Stage, Window, gradient_phase


class RingKind(enum.Enum):
    """What a ring holds. Values are the names in reports."""

    INPUT = "input rows"
    SKIP = "skip rows"
    HANDOFF = "rows from head to chain"
    DY = "output gradient rows"
    GRADIENT = "input gradient rows"
    MASK = "quantizer masks"
    RELU = "ReLU masks"
    INDEX = "max pool winners"
    BATCH = "batch norm inputs"


SAVED = frozenset((RingKind.MASK, RingKind.RELU, RingKind.INDEX, RingKind.BATCH))


class Reader(NamedTuple):
    """A line that reads ring rows `first`..`last` at each of its rows."""

    line: int
    first: Rows
    last: Rows


@dataclass(frozen=True, eq=False)
class Ring:
    """A buffer of rows.

    `writer`: the line that fills it, `per` of its rows to a ring row. `rows` of each image; `row_bits` of each;
    `kernel`, `stride`: the window of rows that a reader holds, and the rows that arrive meanwhile; `pace`: a reader's
    row takes pace[0] ring rows for pace[1] of its own; `least`: slots with which the balanced order of tasks still
    runs (K of a window); `reach`: ring rows, and rows of the reader, by which the balanced pipeline starts reading
    after the first row is there. `last_line`, `last_row`: for each ring row the task after which its slot is free,
    line -1 where no window reads it or a row before it.
    """

    index: int
    name: str
    kind: RingKind
    stage: int
    edge: int
    writer: int
    per: int
    readers: tuple[Reader, ...]
    rows: int
    row_bits: int
    kernel: int
    stride: int
    pace: tuple[int, int]
    least: int
    reach: tuple[int, int]
    last_line: Rows
    last_row: Rows

    @property
    def banked(self) -> bool:
        """It lives in the banks: all but the queue between the arrays."""
        return self.kind is not RingKind.HANDOFF


class _Builder:
    def __init__(self, flow: Flow, machine: Machine) -> None:
        self.flow, self.machine = flow, machine
        self.rings: list[Ring] = []

    def add(
        self,
        name: str,
        kind: RingKind,
        stage: Stage,
        writer: tuple[int, Phase],
        readers: list[Reader],
        row_bits: int,
        *,
        edge: int = -1,
        per: int = 1,
        kernel: int = 1,
        stride: int = 1,
        pace: tuple[int, int] | None = None,
        least: int | None = None,
        reach: tuple[int, int] = (0, 0),
    ) -> None:
        line = self.flow.line(*writer)
        rows = self.flow.lines[line].rows // per
        last_line, last_row = _last_readers(readers, rows)
        self.rings.append(
            Ring(
                len(self.rings),
                f"{stage.name}.{name}",
                kind,
                stage.index,
                edge,
                line,
                per,
                tuple(readers),
                rows,
                row_bits,
                kernel,
                stride,
                pace or (stride, 1),
                least or kernel,
                reach,
                last_line,
                last_row,
            )
        )

    def same_rows(self, stage: int, phase: Phase) -> Reader:
        line = self.flow.line(stage, phase)
        rows = np.arange(self.flow.lines[line].rows)
        return Reader(line, rows, rows)

    def column(self, stage: int, phase: Phase, place: int) -> Reader:
        line = self.flow.line(stage, phase)
        column = self.flow.columns[line][place]
        return Reader(line, column.first, column.last)


def _last_readers(readers: list[Reader], rows: int) -> tuple[Rows, Rows]:
    """Rows leave a ring in order: one that no window reads leaves with the window before it."""
    line, row = np.full(rows, -1), np.zeros(rows, np.int64)
    for reader in readers:  # later lines read later: the last one that reads a row frees it
        for task, (first, last) in enumerate(zip(reader.first, reader.last, strict=True)):
            if first <= last:
                line[first:] = reader.line
                row[first:] = task
    return line, row


@functools.lru_cache(maxsize=64)
def build_rings(flow: Flow, machine: Machine) -> tuple[Ring, ...]:
    """All rings of a network on a machine (whose multipliers decide what rows hold), by stage."""
    build = _Builder(flow, machine)
    for stage in flow.stages:
        for edge in stage.edges:
            _edge_rings(build, stage, edge)
        if stage.head:
            _head_rings(build, stage)
        if flow.training:
            _relu_rings(build, stage)
    return tuple(build.rings)


def code_bits(bits: int) -> int:
    """Bits that a code takes in memory: up to 4 share a byte, others have one (SPEC.md Q5)."""
    return 4 if bits <= 4 else 8


def _bytes(elements: int, bits: int) -> int:
    """Bits of a row that starts on a byte."""
    return -(-elements * bits // 8) * 8


def conv_config(stage: Stage) -> ConvConfig | None:
    """The configuration of a stage headed by a convolution."""
    config = stage.head.config if stage.head else None
    return config if isinstance(config, ConvConfig) else None


def row_elements(shape: tuple[int, int, int]) -> int:
    return shape[1] * shape[2]


def _edge_rings(build: _Builder, stage: Stage, edge: Edge) -> None:
    flow = build.flow
    elements = row_elements(flow.stages[edge.producer].out_shape)
    writer = (edge.producer, Phase.FORWARD_CHAIN)
    window, conv = stage.window, conv_config(stage)
    fp16 = _bytes(elements, 16)
    if edge.skip:
        place = [column.edge for column in flow.columns[flow.line(stage.index, Phase.FORWARD_CHAIN)]]
        reader = build.column(stage.index, Phase.FORWARD_CHAIN, place.index(edge.index))
        build.add(edge.node + ".skip", RingKind.SKIP, stage, writer, [reader], fp16, edge=edge.index)
    elif stage.kind is Head.BATCH_NORM:
        phases = [Phase.FORWARD_HEAD, Phase.FORWARD_CHAIN]
        phases += [Phase.BACKWARD_CHAIN, Phase.BACKWARD_HEAD] if flow.training else []
        readers = [build.same_rows(stage.index, phase) for phase in phases]
        build.add("y", RingKind.BATCH, stage, writer, readers, fp16, edge=edge.index)
    else:
        phase = Phase.FORWARD_HEAD if stage.kind in (Head.CONV, Head.AVG_POOL) else Phase.FORWARD_CHAIN
        if stage.kind is Head.AVG_POOL:
            window = Window()  # its rows are added one by one
        fxp = conv is not None and build.machine.mac is Mac.FXP
        bits = _bytes(elements, code_bits(conv.x_format.bits)) if conv and fxp else fp16
        reader = build.column(stage.index, phase, 0)
        build.add(
            "x",
            RingKind.INPUT,
            stage,
            writer,
            [reader],
            bits,
            edge=edge.index,
            kernel=window.kernel,
            stride=window.stride,
            reach=(window.kernel - 1 - window.padding, 0),
        )
        if fxp and flow.training:
            mask = build.same_rows(stage.index, Phase.BACKWARD_HEAD)
            build.add("mask", RingKind.MASK, stage, writer, [mask], _bytes(elements, 1), edge=edge.index)
    if flow.training:
        back = (edge.consumer, gradient_phase(flow.stages, edge))
        reader = build.same_rows(edge.producer, Phase.BACKWARD_CHAIN)
        name = f"{edge.node}.skip_dx" if edge.skip else "dx"
        build.add(name, RingKind.GRADIENT, stage, back, [reader], fp16, edge=edge.index)


def _head_rings(build: _Builder, stage: Stage) -> None:
    elements = row_elements(stage.out_shape)
    index, conv = stage.index, conv_config(stage)
    if stage.kind is Head.CONV:
        reader = build.same_rows(index, Phase.FORWARD_CHAIN)
        build.add("deq", RingKind.HANDOFF, stage, (index, Phase.FORWARD_HEAD), [reader], _bytes(elements, 16))
    if stage.kind is Head.AVG_POOL:
        reader = build.same_rows(index, Phase.FORWARD_CHAIN)
        sums, kernel = _bytes(elements, 32), stage.window.kernel
        build.add("sum", RingKind.HANDOFF, stage, (index, Phase.FORWARD_HEAD), [reader], sums, per=kernel)
    if not build.flow.training:
        return
    fxp = conv and conv.gradient is Gradient.FXP and build.machine.mac is Mac.FXP
    bits = _bytes(elements, code_bits(conv.dy_format.bits)) if conv and fxp else _bytes(elements, 16)
    place = 1 if stage.kind is Head.BATCH_NORM else 0
    window = stage.window
    kernel, least = -(-window.kernel // window.stride), -(-(window.kernel - 1) // window.stride) + 1
    reader = build.column(index, Phase.BACKWARD_HEAD, place)
    writer, pace = (index, Phase.BACKWARD_CHAIN), (1, window.stride)
    geometry: dict[str, Any] = {"kernel": kernel, "pace": pace, "least": least, "reach": (0, window.padding)}
    build.add("dy", RingKind.DY, stage, writer, [reader], bits, **geometry)
    if stage.kind is Head.MAX_POOL:
        places = max(1, (stage.window.kernel**2 - 1).bit_length())
        winners = _bytes(elements, places)
        build.add("index", RingKind.INDEX, stage, (index, Phase.FORWARD_CHAIN), [reader], winners)


def _relu_rings(build: _Builder, stage: Stage) -> None:
    for node in stage.chain:
        if isinstance(node.config, ReluConfig):
            reader = build.same_rows(stage.index, Phase.BACKWARD_CHAIN)
            bits = _bytes(row_elements(stage.out_shape), 1)
            writer = (stage.index, Phase.FORWARD_CHAIN)
            build.add(f"{node.name}.mask", RingKind.RELU, stage, writer, [reader], bits)


def lag(ring: Ring, flow: Flow, beats: Beats) -> int | None:
    """Rows that a ring holds beyond its window, because its reader waits for a longer path.

    None where writer and reader do not keep one pace, which unusual padding can bring about: then nothing but the map
    bounds the rows under way.
    """
    reader = ring.readers[-1]
    beat = beats.beat[ring.writer] * ring.per
    step = beats.beat[reader.line]
    if step * ring.pace[1] != beat * ring.pace[0]:
        return None
    ready = beats.offset[ring.writer] + beats.span[ring.writer] + (ring.per - 1) * beats.beat[ring.writer]
    soonest = ready + ring.reach[0] * beat + ring.reach[1] * step
    return -(-max(0, beats.offset[reader.line] - soonest) // beat)


class Capacity(NamedTuple):
    """What sizes the rings: the rule, rows of the queue from FXP to FP, images in flight, images of the batch."""

    rule: RingRule
    handoff_rows: int
    images_in_flight: int
    images: int


def slots(ring: Ring, flow: Flow, beats: Beats, capacity: Capacity) -> int:
    """Row slots of a ring by formula; 0 is unbounded.

    Never more than the rows that images in flight can put there: all images of the batch behind a barrier, else those
    in flight, at least two for a forward pass alone (the tail of one and the head of the next).
    """
    in_flight = capacity.images_in_flight if flow.training else 2
    if flow.barrier:
        in_flight = capacity.images
    most = ring.rows * min(in_flight, capacity.images)
    if ring.kind in SAVED:
        return most
    if ring.kind is RingKind.HANDOFF:
        return min(capacity.handoff_rows, most)
    behind = lag(ring, flow, beats)
    full = ring.kernel + ring.stride
    match capacity.rule:
        case RingRule.UNBOUNDED:
            return 0
        case RingRule.K:
            full = ring.least
        case RingRule.K_PLUS_1:
            full = min(ring.least + 1, full)
    return most if behind is None else min(most, full + behind)
