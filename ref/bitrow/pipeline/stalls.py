"""Why units stood still, and which banks made tasks wait. Standard library and numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bitrow.pipeline.engine import Cause
from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.work import UNIT

CAUSES = tuple(value for name, value in vars(Cause).items() if name.isupper())


class Idle(NamedTuple):
    """A unit's idle cycles before one task: `place` of the task in the schedule, `cause`, and how many."""

    place: np.ndarray
    cause: np.ndarray
    cycles: np.ndarray


def unit_kinds(found: Schedule) -> tuple[str, ...]:
    """The kind of each unit, without the stage that a unit of its own belongs to."""
    kinds = (*UNIT, "arrays")
    return tuple(next(kind for kind in kinds if name.endswith(kind)) for name in found.units)


def idle(found: Schedule) -> Idle:
    """Every idle cycle between a unit's first possible and its last task, by cause.

    Causes are charged one after another, in `Cause`'s order: each has what it adds to those before it. What
    then remains is a bank's doing.
    """
    until = {cause: np.zeros(len(found), np.int64) for cause in CAUSES}
    for wait in found.waits:
        tasks, others = found.task_of[wait.tasks], found.task_of[wait.until]
        np.maximum.at(until[wait.cause], tasks, found.end[others] + wait.delay)
    before = _previous_end(found)
    places, causes, cycles = [], [], []
    for number, cause in enumerate(CAUSES):
        limit = found.start if cause == Cause.BANK else np.minimum(until[cause], found.start)
        waited = np.maximum(limit - before, 0)
        if cause == Cause.DONE:
            continue
        places.append(np.flatnonzero(waited))
        causes.append(np.full(len(places[-1]), number))
        cycles.append(waited[places[-1]])
        before = np.maximum(before, limit)
    return Idle(np.concatenate(places), np.concatenate(causes), np.concatenate(cycles))


def _previous_end(found: Schedule) -> np.ndarray:
    before = np.zeros(len(found), np.int64)
    for unit in range(len(found.units)):
        mine = np.flatnonzero(found.unit == unit)
        before[mine[1:]] = found.end[mine[:-1]]
    return before


def stall_table(found: Schedule) -> dict[str, dict[str, int]]:
    """Idle cycles by kind of unit and cause; `Cause.DONE` counts from a unit's last task to the end."""
    kinds = unit_kinds(found)
    table = {kind: dict.fromkeys(CAUSES, 0) for kind in dict.fromkeys(kinds)}
    gaps = idle(found)
    for unit, kind in enumerate(kinds):
        mine = found.unit[gaps.place] == unit
        for number, cause in enumerate(CAUSES):
            table[kind][cause] += int(gaps.cycles[mine & (gaps.cause == number)].sum())
        last = found.end[found.unit == unit].max(initial=0)
        table[kind][Cause.DONE] += found.cycles - int(last)
    return table


class Conflicts(NamedTuple):
    """Bank conflicts of a run: tasks that waited for a port and the cycles that it cost, by bank; cycles
    lost to accesses of one task that share a bank."""

    tasks: int
    cycles: int
    by_bank: dict[int, int]
    own_cycles: int


def conflicts(found: Schedule) -> Conflicts:
    """Count bank conflicts."""
    by_bank: dict[int, int] = {}
    for block in found.blocked:
        by_bank[block.bank] = by_bank.get(block.bank, 0) + block.until - block.since
    own = int((found.end - found.start - found.compute).sum())
    tasks = len({block.task for block in found.blocked})
    return Conflicts(tasks, sum(by_bank.values()), dict(sorted(by_bank.items())), own)


def utilization(found: Schedule, kind: str, bins: int = 1) -> np.ndarray:
    """Share of the cycles in which units of a kind are busy, float64[bins] over the run."""
    units = np.array([name == kind for name in unit_kinds(found)])
    mine = units[found.unit]
    start, end = np.sort(found.start[mine]), np.sort(found.end[mine])
    edges = np.linspace(0, found.cycles, bins + 1)
    busy = _area_before(end, edges) - _area_before(start, edges)
    return -np.diff(busy) / (np.diff(edges) * max(1, int(units.sum())))


def _area_before(times: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Sum over times of how far each edge lies behind them."""
    below = np.searchsorted(times, edges)
    total = np.concatenate([[0.0], np.cumsum(times.astype(np.float64))])
    return below * edges - total[below]
