"""Scheduling policies: the static order of row tasks, and which unit runs each.

A policy is a function from a `Grid` of tasks to a `SchedulePlan`; `schedule` takes any. The row-pipelined ones order
tasks as the balanced pipeline (beats.py) would start them, later stages first at the same beat. Then every row's needs,
and every reader that must free a slot, come earlier in the order, so no order can deadlock rings of K slots or more.
Standard library and numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.pipeline.beats import Beats, beats
from bitrow.pipeline.flow import Flow
from bitrow.pipeline.machine import Machine
from bitrow.pipeline.stages import Phase
from bitrow.pipeline.work import UNIT, unit_kind


@dataclass(frozen=True, eq=False)
class Grid:
    """All tasks of a run: int64 arrays `line`, `image`, `row`, an entry for each task, in this order."""

    flow: Flow
    machine: Machine
    images: int
    line: np.ndarray
    image: np.ndarray
    row: np.ndarray

    @functools.cached_property
    def first(self) -> np.ndarray:
        """By line, the number of its first task."""
        rows = np.array([line.rows for line in self.flow.lines]) * self.images
        return np.cumsum(rows) - rows

    def kinds(self) -> list[str]:
        """By line, the kind of unit that its tasks need."""
        parts = self.flow.stages
        return [unit_kind(parts[line.stage], line.phase, self.machine) for line in self.flow.lines]


class SchedulePlan(NamedTuple):
    """What a policy decides.

    `sequence`: all tasks in static order; each unit runs its own in this order. `unit`: each task's. `units`: their
    names, and `kinds` what each is, without the stage that a unit of its own belongs to. `whole_maps`: buffers hold
    maps and not rings of rows. `one_queue`: rows of all stages share the queue from FXP to FP array. `start`, where
    given, are cycles before which tasks may not start.
    """

    sequence: np.ndarray
    unit: np.ndarray
    units: tuple[str, ...]
    whole_maps: bool = False
    one_queue: bool = False
    start: np.ndarray | None = None
    kinds: tuple[str, ...] = ()


SchedulePolicy = Callable[[Grid], SchedulePlan]


def make_grid(flow: Flow, machine: Machine, images: int) -> Grid:
    """The tasks of `images` images."""
    rows = np.array([line.rows for line in flow.lines])
    counts = rows * images
    line = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    image, row = np.divmod(within, rows[line])
    return Grid(flow, machine, images, line, image, row)


def layer_by_layer(grid: Grid) -> SchedulePlan:
    """The baseline: a layer's convolution over the whole map, then its chain; one unit works at a time.

    Images follow one another through the whole network; behind a barrier all go through each layer together.
    """
    backward = np.array([line.phase >= Phase.BACKWARD_CHAIN for line in grid.flow.lines])[grid.line]
    together = np.zeros_like(grid.image) if grid.flow.barrier else grid.image
    sequence = np.lexsort((grid.row, grid.image, grid.line, backward, together))
    unit, units, kinds = _units(grid, overlap=False, own=False)
    return SchedulePlan(sequence, unit, units, whole_maps=True, kinds=kinds)


def row_pipelined(grid: Grid) -> SchedulePlan:
    """Rows flow through all layers; FXP and FP array take turns."""
    unit, units, kinds = _units(grid, overlap=False, own=not grid.machine.shared)
    return SchedulePlan(balanced_order(grid), unit, units, one_queue=grid.machine.shared, kinds=kinds)


def row_pipelined_overlap(grid: Grid) -> SchedulePlan:
    """Rows flow through all layers, FXP and FP array on different rows at once: the paper's."""
    unit, units, kinds = _units(grid, overlap=True, own=not grid.machine.shared)
    return SchedulePlan(balanced_order(grid), unit, units, one_queue=grid.machine.shared, kinds=kinds)


POLICIES: dict[str, SchedulePolicy] = {
    policy.__name__: policy for policy in (layer_by_layer, row_pipelined, row_pipelined_overlap)
}


def policy_named(name: str) -> SchedulePolicy:
    """One of the three policies.

    Raises:
        BitrowError: no policy of that name.
    """
    if name not in POLICIES:
        raise BitrowError(f"policy: found {name!r}, expected one of {', '.join(POLICIES)}")
    return POLICIES[name]


def _units(grid: Grid, *, overlap: bool, own: bool) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """The unit of each task, the units' names, and their kinds."""
    kinds: dict[str, str] = {}  # by name
    by_line = []
    for line, kind in zip(grid.flow.lines, grid.kinds(), strict=True):
        if kind != UNIT.LOADER and not overlap:
            kind = "arrays"
        name = f"{grid.flow.stages[line.stage].name} {kind}" if own and kind != UNIT.LOADER else kind
        kinds.setdefault(name, kind)
        by_line.append(list(kinds).index(name))
    return np.array(by_line)[grid.line], tuple(kinds), tuple(kinds.values())


def balanced_times(grid: Grid, pace: Beats) -> np.ndarray:
    """When each task would start in the balanced pipeline, in beats."""
    in_flight = grid.machine.images_in_flight if grid.flow.training else grid.images
    starts = np.array([pace.start(image, in_flight) for image in range(grid.images)])
    return starts[grid.image] + np.array(pace.offset)[grid.line] + grid.row * np.array(pace.beat)[grid.line]


def balanced_order(grid: Grid) -> np.ndarray:
    """Tasks by their time in the balanced pipeline, later stages first at the same beat."""
    flow = grid.flow
    pace = beats(flow, grid.images, fused=grid.machine.shared)
    time, depth = balanced_times(grid, pace), []
    early = np.zeros(len(flow.lines), np.int64)
    stages = len(flow.stages)
    for place, line in enumerate(flow.lines):
        forward = line.phase < Phase.BACKWARD_CHAIN
        step = 2 * line.stage if forward else 2 * (2 * stages - line.stage)
        late = line.phase in (Phase.FORWARD_CHAIN, Phase.BACKWARD_HEAD)
        if pace.fused and line.phase is Phase.FORWARD_CHAIN and flow.stages[line.stage].queued:
            early[place] = pace.offset[place] - pace.offset[flow.line(line.stage, Phase.FORWARD_HEAD)]
            late = False  # ranked with its FXP row, behind it by its phase
        depth.append(step + late)
    phase = np.array([line.phase for line in flow.lines])[grid.line]
    return np.lexsort((grid.row, phase, -np.array(depth)[grid.line], time - early[grid.line]))
