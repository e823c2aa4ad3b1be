"""Why units stood still, and which banks made tasks wait. Standard library and numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bitrow.pipeline.engine import StallCause
from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.stages import Phase

CAUSES = tuple(value for name, value in vars(StallCause).items() if name.isupper())


class Idle(NamedTuple):
    """A unit's idle cycles before one task: `place` of the task in the schedule, `cause`, and how many."""

    place: np.ndarray
    cause: np.ndarray
    cycles: np.ndarray


def unit_kinds(found: Schedule) -> tuple[str, ...]:
    """The kind of each unit, without the stage that a unit of its own belongs to; of other policies, its name."""
    return found.plan.kinds or found.units


def idle(found: Schedule) -> Idle:
    """Every idle cycle between a unit's first possible and its last task, by cause.

    Causes are charged one after another, in `StallCause`'s order: each has what it adds to those before it. What then
    remains is a bank's doing.
    """
    until = {cause: np.zeros(len(found), np.int64) for cause in CAUSES}
    for wait in found.waits:
        tasks, others = found.task_of[wait.tasks], found.task_of[wait.until]
        np.maximum.at(until[wait.cause], tasks, found.end[others] + wait.delay)
    before = _previous_end(found)
    places, causes, cycles = [], [], []
    for number, cause in enumerate(CAUSES):
        limit = found.start if cause == StallCause.BANK else np.minimum(until[cause], found.start)
        waited = np.maximum(limit - before, 0)
        if cause == StallCause.DONE:
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
    """Idle cycles by kind of unit and cause; `StallCause.DONE` counts from a unit's last task to the end."""
    kinds = unit_kinds(found)
    table = {kind: dict.fromkeys(CAUSES, 0) for kind in dict.fromkeys(kinds)}
    gaps = idle(found)
    for unit, kind in enumerate(kinds):
        mine = found.unit[gaps.place] == unit
        for number, cause in enumerate(CAUSES):
            table[kind][cause] += int(gaps.cycles[mine & (gaps.cause == number)].sum())
        last = found.end[found.unit == unit].max(initial=0)
        table[kind][StallCause.DONE] += found.cycles - int(last)
    return table


class BankConflict(NamedTuple):
    """A task that a bank made wait: where, and from when to when."""

    bank: int
    since: int
    until: int
    stage: str
    phase: str
    image: int
    row: int


class Conflicts(NamedTuple):
    """Bank conflicts of a run: `tasks` that waited for a port and the `cycles` of waiting, `by_bank`; `own_cycles`
    lost to accesses of one task that share a bank; the `first` task that waited.

    `proved`: every access of the run was booked on a port and none had to wait, so the mapping is free of conflicts
    for this schedule, which is static.
    """

    tasks: int
    cycles: int
    by_bank: dict[int, int]
    own_cycles: int
    proved: bool
    first: BankConflict | None

    def __str__(self) -> str:
        if self.proved:
            return "none: proved for this schedule"
        waited = f"{self.tasks:,} tasks, {self.cycles:,} cycles of waiting"
        return waited + (f"; {self.own_cycles:,} within tasks" if self.own_cycles else "")


def conflicts(found: Schedule) -> Conflicts:
    """Count bank conflicts, or prove that there are none."""
    by_bank: dict[int, int] = {}
    for block in found.blocked:
        by_bank[block.bank] = by_bank.get(block.bank, 0) + block.until - block.since
    own = int((found.end - found.start - found.compute).sum())
    tasks = len({block.task for block in found.blocked})
    proved = found.booked and not tasks and not own
    return Conflicts(tasks, sum(by_bank.values()), dict(sorted(by_bank.items())), own, proved, _first(found))


def _first(found: Schedule) -> BankConflict | None:
    if not found.blocked:
        return None
    block = min(found.blocked, key=lambda one: (one.since, one.task))
    place = int(found.task_of[block.task])
    stage = found.flow.stages[int(found.stage[place])].name
    phase = Phase(int(found.phase[place])).name.lower()
    where = int(found.image[place]), int(found.row[place])
    return BankConflict(block.bank, block.since, block.until, stage, phase, *where)


def utilization(found: Schedule, kind: str, bins: int = 1) -> np.ndarray:
    """Share of the cycles in which arrays of a kind (work.UNIT) are at work, float64[bins] over the run.

    Arrays that take turns on one unit count apart; with units of their own, the mean over the stages' arrays.
    """
    lines = np.array([name == kind for name in found.grid.kinds()])
    stages = {line.stage for line, mine in zip(found.flow.lines, lines, strict=True) if mine}
    return _share(found, lines[found.line], 1 if found.machine.shared else len(stages), bins)


def unit_busy(found: Schedule, kind: str) -> float:
    """Share of the cycles in which units of a kind (`unit_kinds`) run a task."""
    units = np.array([name == kind for name in unit_kinds(found)])
    return float(_share(found, units[found.unit], int(units.sum()), 1)[0])


def _share(found: Schedule, mine: np.ndarray, units: int, bins: int) -> np.ndarray:
    start, end = np.sort(found.start[mine]), np.sort(found.end[mine])
    edges = np.linspace(0, found.cycles, bins + 1)
    busy = _area_before(end, edges) - _area_before(start, edges)
    return -np.diff(busy) / (np.diff(edges) * max(1, units))


def _area_before(times: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Sum over times of how far each edge lies behind them."""
    below = np.searchsorted(times, edges)
    total = np.concatenate([[0.0], np.cumsum(times.astype(np.float64))])
    return below * edges - total[below]
