"""Ring sizes found instead of calculated: run the balanced pipeline with rings without end, take the peak.

The run is the schedule's own, with a unit for each kind of task of each stage that takes exactly the beats in which
its input arrives; so nothing starves and nothing is overrun, and what lies in a ring at once is what it has to hold.
Standard library and numpy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.graph import Network
from bitrow.pipeline.beats import beats
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, RingRule
from bitrow.pipeline.occupancy import peak_rows
from bitrow.pipeline.policies import Grid, SchedulePlan, balanced_times
from bitrow.pipeline.rings import SAVED, Ring, RingKind
from bitrow.pipeline.schedule import Schedule, ring_capacities, schedule


class RingSize(NamedTuple):
    """Slots of a ring by formula, and the peak of rows that the balanced pipeline put into it."""

    ring: Ring
    formula: int
    found: int


def balanced_units(grid: Grid) -> SchedulePlan:
    """The policy of the balanced pipeline: a unit for each kind of task of each stage, rows in order."""
    names = tuple(f"{grid.flow.stages[line.stage].name} {line.phase.name}" for line in grid.flow.lines)
    return SchedulePlan(np.arange(len(grid.line)), grid.line, names)


def _timetable(grid: Grid) -> SchedulePlan:
    return balanced_units(grid)._replace(start=balanced_times(grid, beats(grid.flow, grid.images)))


def balanced_spans(grid: Grid) -> np.ndarray:
    """Beats that each task of the balanced pipeline takes."""
    return np.array(beats(grid.flow, grid.images).span)[grid.line]


def balanced_run(
    network: Network, machine: Machine = DEFAULT_MACHINE, images: int = 3, *, training: bool = True
) -> Schedule:
    """The balanced pipeline of a network, in beats, with unbounded rings and all images in flight.

    Raises:
        BitrowError: a task missed its time: the timetable is wrong.
    """
    endless = replace(machine, ring_rule=RingRule.UNBOUNDED, images_in_flight=images, loss_latency=0)
    endless = replace(endless, statistics_latency=0)
    found = schedule(
        network, endless, _timetable, images, training=training, book_banks=False, durations=balanced_spans
    )
    assert found.plan.start is not None
    late = found.start[found.task_of] != found.plan.start
    if late.any():
        raise BitrowError(f"{network.name}: found {np.count_nonzero(late)} late rows in the balanced pipeline")
    return found


def ring_sizes(
    network: Network, machine: Machine = DEFAULT_MACHINE, images: int = 3, *, training: bool = True
) -> tuple[RingSize, ...]:
    """Formula and finding for every ring, save those kept for backward and the queues (a choice)."""
    found = balanced_run(network, machine, images, training=training)
    rule = replace(machine, ring_rule=RingRule.K_PLUS_S, images_in_flight=images)
    grid = replace(found.grid, machine=rule)
    formula = ring_capacities(grid, found.plan, found.rings)
    return tuple(
        RingSize(ring, formula[ring.index], peak_rows(found, ring))
        for ring in found.rings
        if ring.kind not in SAVED and ring.kind is not RingKind.HANDOFF
    )
