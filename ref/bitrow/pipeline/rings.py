"""Every buffer of the pipeline as a ring of rows: who writes, who reads, how many slots by formula.

A ring that feeds windows of K rows at stride S needs K + S slots: K are read while S arrive (K counts the rows that a
dilated window skips). A ring of output
gradients needs ceil(K/S) + 1: at most ceil(K/S) of its rows meet in one row of the input gradient, and one arrives.
Where two paths of different length meet again, the shorter also holds what is under way on the longer: its lag in
rows, from the balanced pipeline (beats.py). Bits kept for the backward pass have a map of slots for each image in
flight. Standard library and numpy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bitrow.config.rows import SAVED, Phase, RingKind, Take, Window
from bitrow.pipeline.beats import Beats
from bitrow.pipeline.buffers import Held
from bitrow.pipeline.flow import Flow, LineRows
from bitrow.pipeline.machine import Mac, Machine, RingRule
from bitrow.pipeline.takes import SPANS

__all__ = ["SAVED", "Capacity", "Ring", "RingKind", "RingReader", "build_rings", "lag", "slots"]


class RingReader(NamedTuple):
    """A line that reads ring rows `first`..`last` at each of its rows."""

    line: int
    first: LineRows
    last: LineRows


class Pattern(NamedTuple):
    """How rows pass through a ring.

    `kernel`, `stride`: the window of rows that a reader holds, and the rows that arrive meanwhile; `pace`: a reader's
    row takes pace[0] ring rows for pace[1] of its own; `least`: slots with which the balanced order of tasks still
    runs (K of a window); `reach`: ring rows, and rows of the reader, by which the balanced pipeline starts reading
    after the first row is there.
    """

    kernel: int = 1
    stride: int = 1
    pace: tuple[int, int] = (1, 1)
    least: int = 1
    reach: tuple[int, int] = (0, 0)


def _input_window(window: Window) -> Pattern:
    extent, stride = window.extent, window.stride
    return Pattern(extent, stride, (stride, 1), extent, (extent - 1 - window.before, 0))


def _gradient_window(window: Window) -> Pattern:
    extent, stride = window.extent, window.stride
    return Pattern(-(-extent // stride), 1, (1, stride), -(-(extent - 1) // stride) + 1, (0, window.before))


_PATTERNS = {Take.WINDOW: _input_window, Take.MEETING: _gradient_window, Take.POOLED: _gradient_window}


@dataclass(frozen=True, eq=False)
class Ring:
    """A buffer of rows that a layer declares (`held`), on a machine.

    `writer`: the line that fills it, `per` of its rows to a ring row. `rows` of each image; `row_bits` of each, of all
    images that a task makes at once.
    `last_line`, `last_row`: for each ring row the task after which its slot is free, line -1 where no window reads it
    or a row before it.
    """

    index: int
    held: Held
    kind: RingKind
    writer: int
    readers: tuple[RingReader, ...]
    rows: int
    row_bits: int
    pattern: Pattern
    last_line: LineRows
    last_row: LineRows

    @property
    def name(self) -> str:
        return self.held.key

    @property
    def stage(self) -> int:
        return self.held.stage.index

    @property
    def edge(self) -> int:
        return self.held.edge

    @property
    def per(self) -> int:
        return self.held.buffer.per

    @property
    def kernel(self) -> int:
        return self.pattern.kernel

    @property
    def stride(self) -> int:
        return self.pattern.stride

    @property
    def queued(self) -> bool:
        """Its rows may share the one queue from FXP to FP array."""
        return self.kind is RingKind.HANDOFF and self.held.stage.queued

    @property
    def banked(self) -> bool:
        """It lives in the banks: all but the queue between the arrays."""
        return self.kind is not RingKind.HANDOFF


def _last_readers(readers: list[RingReader], rows: int) -> tuple[LineRows, LineRows]:
    """Rows leave a ring in order: one that no window reads leaves with the window before it."""
    line, row = np.full(rows, -1), np.zeros(rows, np.int64)
    for reader in readers:  # later lines read later: the last one that reads a row frees it
        for task, (first, last) in enumerate(zip(reader.first, reader.last, strict=True)):
            if first <= last:
                line[first:] = reader.line
                row[first:] = task
    return line, row


def build_rings(flow: Flow, machine: Machine) -> tuple[Ring, ...]:
    """All rings of a network on a machine (whose multipliers decide what rows hold), by stage."""
    return _built_rings(flow, machine.mac is Mac.FXP, machine.images_at_once)


@functools.lru_cache(maxsize=64)
def _built_rings(flow: Flow, fxp: bool, at_once: int) -> tuple[Ring, ...]:
    found: list[Ring] = []
    for held in flow.buffers.all():
        kind = held.buffer.kind
        if kind and (fxp or kind is not RingKind.MASK):
            ring = _ring(len(found), held, kind, flow, fxp)
            found.append(replace(ring, row_bits=ring.row_bits * at_once))
    return tuple(found)


def _ring(index: int, held: Held, kind: RingKind, flow: Flow, fxp: bool) -> Ring:
    writer = flow.line(*held.writer)
    rows = flow.lines[writer].rows // held.buffer.per
    readers, pattern = [], Pattern()
    for phase, take in held.buffer.reads:
        line = flow.line(held.reader, phase)
        if line >= 0 and take in SPANS:
            spans = [SPANS[take](held.window, row, rows) for row in range(flow.lines[line].rows)]
            readers.append(RingReader(line, *np.array(spans, np.int64).T))
            if take in _PATTERNS and kind not in SAVED:  # what is saved has whole maps
                pattern = _PATTERNS[take](held.window)
    row_bits = held.buffer.encoding.row_bits(held.words, fxp)
    return Ring(index, held, kind, writer, tuple(readers), rows, row_bits, pattern, *_last_readers(readers, rows))


def lag(ring: Ring, flow: Flow, beats: Beats) -> int | None:
    """Rows that a ring holds beyond its window, because its reader waits for a longer path.

    None where writer and reader do not keep one pace, which unusual padding can bring about: then nothing but the map
    bounds the rows under way. A row that is an image's only one has its slot for every image under way.
    """
    if ring.held.buffer.take(Phase.FORWARD_CHAIN) is Take.ONLY:
        return None
    reader = ring.readers[-1]
    beat = beats.beat[ring.writer] * ring.per
    step = beats.beat[reader.line]
    if step * ring.pattern.pace[1] != beat * ring.pattern.pace[0]:
        return None
    ready = beats.offset[ring.writer] + beats.span[ring.writer] + (ring.per - 1) * beats.beat[ring.writer]
    soonest = ready + ring.pattern.reach[0] * beat + ring.pattern.reach[1] * step
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
    in flight, for a forward pass alone those that the balanced pipeline has under way at once.
    """
    in_flight = capacity.images_in_flight if flow.training else 1 - (-beats.length // beats.period)
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
            full = ring.pattern.least
        case RingRule.K_PLUS_1:
            full = min(ring.pattern.least + 1, full)
    return most if behind is None else min(most, full + behind)
