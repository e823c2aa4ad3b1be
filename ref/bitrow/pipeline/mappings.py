"""Which lanes make which sums of a convolution's row, in how many cycles and readings (SPEC.md M1, M2, C1, C2).

The bits are the same: sums of integers are exact in any order. Where the order decides, in an accumulator that may
saturate and in FP16 MACs, sums are not split. Standard library and numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bitrow.pipeline import banks as banking
from bitrow.pipeline.buffers import Access
from bitrow.pipeline.flow import Flow, LineRows
from bitrow.pipeline.machine import Mac, Machine, Mapping, Packing, RingRule
from bitrow.pipeline.rings import Ring
from bitrow.pipeline.stages import Stage
from bitrow.pipeline.weights import weight_bits
from bitrow.pipeline.work import UNIT, Work, ceil_div, compute_cycles, lanes_of, line_work, unit_kind


class LaneWay(NamedTuple):
    """How the rows of a line go over the lanes.

    `split` lanes make each sum. `passes` over the lanes, which read the rows of a window `again` times (`words`);
    `cycles`, int64[rows], of the products. The images of a task come in so many `turns`, with weights read in each.
    """

    mapping: Mapping
    split: int
    passes: int
    again: int
    cycles: LineRows
    turns: int = 1

    def words(self, row_words: int) -> int:
        """Words that are read of a row of so many: two passes that share a row may share a word."""
        return row_words * self.again + self.passes - self.again

    def bits(self, row_bits: int, bank_width: int) -> int:
        """Bits that are read of a row of so many."""
        return row_bits * self.again + bank_width * (self.passes - self.again)

    def in_turns(self, turns: int) -> LaneWay:
        """So many images, or groups of them, one after the other: passes that each read the rows of one."""
        return self._replace(passes=self.passes * turns, cycles=self.cycles * turns, turns=turns)

    def __str__(self) -> str:
        lanes = f"{self.mapping.value} {self.split}" if self.split > 1 else self.mapping.value
        return f"{lanes} in {self.turns} turns" if self.turns > 1 else lanes


class MappedLine(NamedTuple):
    """The way chosen for a line, and `cycles`, int64[rows], of its tasks: lanes, words and pipeline."""

    way: LaneWay
    cycles: LineRows


def ways(stage: Stage, work: Work, lanes: int, machine: Machine) -> Iterator[LaneWay]:
    """Every way that the array has of making rows of `work` of an image, on `lanes` multipliers: all of a task's
    images side by side, fewer, or one after the other; by row comes first.
    """
    for turns in range(1, machine.images_at_once + 1):
        beside, rest = divmod(machine.images_at_once, turns)
        if not rest:
            for way in _ways_beside(stage, work.times(beside), lanes, machine):
                yield way.in_turns(turns)


def _ways_beside(stage: Stage, work: Work, lanes: int, machine: Machine) -> Iterator[LaneWay]:
    outputs = int(work.outputs[0])
    terms = work.macs // max(outputs, 1)
    passes = max(1, ceil_div(outputs, lanes))
    yield LaneWay(Mapping.ROW, 1, passes, passes, passes * terms)
    plan = stage.plan
    if plan.groups > 1 and machine.mapping in (Mapping.CHANNEL, Mapping.BEST):
        each = outputs // plan.groups
        again = max(1, ceil_div(each, lanes))
        passes = again * ceil_div(plan.groups, max(1, lanes // each))
        yield LaneWay(Mapping.CHANNEL, 1, passes, again, passes * terms)
    exact = machine.mac is Mac.FXP and not plan.ordered
    if exact and machine.mapping in (Mapping.SPLIT, Mapping.BEST):
        steps, split = 1, 2
        while split <= min(lanes, int(terms.max())):
            passes = ceil_div(outputs, lanes // split)
            of_pass = np.where(terms, ceil_div(terms, split) + steps, 0)
            yield LaneWay(Mapping.SPLIT, split, passes, passes, passes * of_pass)
            steps, split = steps + 1, 2 * split


def mapped_lines(flow: Flow, rings: tuple[Ring, ...], machine: Machine) -> tuple[MappedLine, ...]:
    """By line, the way of the fewest cycles over an image, of equals the one that reads the fewest bits, the first."""
    return _mapped_lines(flow, rings, replace(machine, **_NOT_ASKED))


# What decides of no line by itself: machines that differ in it alone share their lines.
_NOT_ASKED: dict[str, Any] = {
    "clock_mhz": 1.0, "banks": 1, "ports": 1, "bank_depth": 0, "packing": Packing.RINGS, "ring_rule": RingRule.K,
    "handoff_rows": 1, "images_in_flight": 1,
}  # fmt: skip


@functools.lru_cache(maxsize=512)
def _mapped_lines(flow: Flow, rings: tuple[Ring, ...], machine: Machine) -> tuple[MappedLine, ...]:
    by_line = banking.accesses(flow, rings)
    return tuple(_mapped(flow, place, by_line[place], machine) for place in range(len(flow.lines)))


def _mapped(flow: Flow, place: int, accesses: list[Access], machine: Machine) -> MappedLine:
    line = flow.lines[place]
    stage, lanes = flow.stages[line.stage], lanes_of(flow, machine)[line.stage]
    alone = line_work(flow, line, machine)
    work = alone.times(machine.images_at_once)
    if unit_kind(stage, line.phase, machine) == UNIT.FXP:
        found = list(ways(stage, alone, lanes.fxp, machine))
    else:
        found = [LaneWay(Mapping.ROW, 1, 1, 1, np.zeros(line.rows, np.int64))]
    mapped = []
    for way in found:
        cycles = compute_cycles(stage, line, work, lanes, machine, way.cycles)
        for access in accesses:
            row_words = -(-access.ring.row_bits // machine.bank_width)
            words = row_words if access.write else way.words(row_words)
            cycles = np.maximum(cycles, np.where(access.many > 0, words, 0))
        mapped.append(MappedLine(way, cycles))
    if len(mapped) == 1:
        return mapped[0]
    weights = weight_bits(flow, line, machine)

    def cost(one: MappedLine) -> tuple[int, int]:
        rows = _bits(accesses, one.way, machine).values()
        return int(one.cycles.sum()), sum(rows) + one.way.turns * weights

    return min(mapped, key=cost)


def _bits(accesses: list[Access], way: LaneWay, machine: Machine) -> dict[int, int]:
    """Bits between a line and the banks, by ring."""
    bits: dict[int, int] = {}
    for access in accesses:
        ring = access.ring
        of_row = ring.row_bits if access.write else way.bits(ring.row_bits, machine.bank_width)
        bits[ring.index] = bits.get(ring.index, 0) + int(access.many.sum()) * of_row
    return bits


class LineTraffic(NamedTuple):
    """What the tasks of a line do beside their operations: `bits` between them and the banks, by ring; `partial_sums`,
    additions of what the lanes of a split sum have made, in an image; `weight_bits`, read in every turn.
    """

    bits: dict[int, int]
    partial_sums: int
    weight_bits: int


def line_traffic(flow: Flow, rings: tuple[Ring, ...], machine: Machine) -> tuple[LineTraffic, ...]:
    """By line, under the mappings chosen."""
    by_line, found = banking.accesses(flow, rings), []
    for line, accesses, mapped in zip(flow.lines, by_line, mapped_lines(flow, rings, machine), strict=True):
        way = mapped.way
        partial = (way.split - 1) * int(line_work(flow, line, machine).outputs.sum()) if way.split > 1 else 0
        weights = way.turns * weight_bits(flow, line, machine)
        found.append(LineTraffic(_bits(accesses, way, machine), partial, weights))
    return tuple(found)
