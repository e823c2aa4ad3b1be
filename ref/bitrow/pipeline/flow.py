"""All row tasks of a network, grouped into lines, with what each waits for: the pipeline's data flow as arrays.

A line is one kind of row task of one stage: its rows run in order, image after image. Needs the standard library and
numpy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bitrow.graph import Network
from bitrow.pipeline.buffers import Buffers
from bitrow.pipeline.reach import Training, needed
from bitrow.pipeline.stages import Phase, Stage, row_count, stages

LineRows = np.ndarray  # int64[rows of a line]


class TaskLine(NamedTuple):
    """The tasks of one phase of one stage: `rows` in each image."""

    stage: int
    phase: Phase
    rows: int


class NeedColumn(NamedTuple):
    """One need of every row of a line: rows `first`..`last` of line `line`, `many` of a buffer (see buffers.Need)."""

    line: int
    first: LineRows
    last: LineRows
    edge: int
    whole_batch: bool
    loss: bool
    many: LineRows


@dataclass(frozen=True, eq=False)
class Flow:
    """The lines of a network in the order in which they may first run, and the needs of each.

    `trained` says how far the backward pass goes, if there is one (`training`). `line(stage, phase)` is -1 where a
    stage has no such tasks.
    """

    network: Network
    buffers: Buffers
    lines: tuple[TaskLine, ...]
    columns: tuple[tuple[NeedColumn, ...], ...]
    trained: Training

    @property
    def training(self) -> bool:
        return self.buffers.training

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.buffers.stages

    def line(self, stage: int, phase: Phase) -> int:
        return self._places.get((stage, phase), -1)

    @functools.cached_property
    def _places(self) -> dict[tuple[int, Phase], int]:
        return {(line.stage, line.phase): place for place, line in enumerate(self.lines)}

    @functools.cached_property
    def barrier(self) -> bool:
        """Some batch norm of the network takes its statistics from the batch."""
        return any(stage.barrier for stage in self.stages)

    @functools.cached_property
    def before_loss(self) -> tuple[int, ...]:
        """By line, the last row that the loss waits for, and with it all before; -1 where it waits for none."""
        reach = [-1] * len(self.lines)
        for stage in self.stages:
            if not self.buffers.out_edges[stage.index]:
                place = self.line(stage.index, Phase.FORWARD_CHAIN)
                reach[place] = self.lines[place].rows - 1
        for place in reversed(range(len(self.lines))):  # a line waits for lines before it
            if not self.lines[place].phase.backward and reach[place] >= 0:
                for column in self.columns[place]:
                    reach[column.line] = max(reach[column.line], int(column.last[: reach[place] + 1].max()))
        return tuple(reach)

    @functools.cached_property
    def rows(self) -> int:
        """Row tasks of one image."""
        return sum(line.rows for line in self.lines)


@functools.lru_cache(maxsize=64)
def dataflow(network: Network, training: Training = True) -> Flow:
    """The row tasks of a network, forward, and with `training` backward, as far as `reach.Training` says.

    Raises:
        BitrowError: the name of a layer that the network does not have.
    """
    parts = stages(network)
    buffers = Buffers(parts, training is not False, needed(network, training))
    lines: list[TaskLine] = []
    for stage in parts:
        for phase in (Phase.FORWARD_HEAD, Phase.FORWARD_CHAIN):
            lines.append(TaskLine(stage.index, phase, row_count(stage, phase)))
    if buffers.training:
        for stage in reversed(parts):
            for phase in (Phase.BACKWARD_CHAIN, Phase.BACKWARD_HEAD):
                lines.append(TaskLine(stage.index, phase, row_count(stage, phase)))
    lines = [line for line in lines if line.rows and buffers.runs(parts[line.stage], line.phase)]
    places = {(line.stage, line.phase): place for place, line in enumerate(lines)}
    columns = tuple(_columns(buffers, line, places) for line in lines)
    return Flow(network, buffers, tuple(lines), columns, training)


def _columns(buffers: Buffers, line: TaskLine, places: dict[tuple[int, Phase], int]) -> tuple[NeedColumn, ...]:
    found = []
    for need_of in buffers.needs(buffers.stages[line.stage], line.phase):
        column = [need_of(row) for row in range(line.rows)]
        need = column[0]
        first = np.array([row.first for row in column], np.int64)
        last = np.array([row.last for row in column], np.int64)
        many = np.array([row.many for row in column], np.int64)
        place = places[need.stage, need.phase]
        found.append(NeedColumn(place, first, last, need.edge, need.whole_batch, need.loss, many))
    return tuple(found)
