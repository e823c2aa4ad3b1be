"""The timing engine: tasks in order on their units, each once what it waits for has ended and ports are free.

It walks through time from start to start, so that ports go to whoever could take them first. Standard library and
numpy.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple

import numpy as np

UNKNOWN = 1 << 62


class StallCause:
    """Why a unit stood still, in the order in which waiting is charged."""

    DATA = "rows not there yet"
    BARRIER = "batch statistics"
    LOSS = "loss on the host"
    RING = "ring full"
    SAVED = "images in flight"
    HANDOFF = "queue to FP array full"
    BANK = "bank conflict"
    DONE = "nothing left to do"


class Wait(NamedTuple):
    """A reason to wait: `tasks` (those that wait) must not start before `until` ends (same length), plus `delay`."""

    cause: str
    ring: int
    tasks: np.ndarray
    until: np.ndarray
    delay: int


class Blocked(NamedTuple):
    """A task that found a bank's ports taken: which bank, from when, and until when."""

    task: int
    bank: int
    since: int
    until: int


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking, again and again, through many small lists without cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class Workload(NamedTuple):
    """What the engine runs.

    `sequence`: tasks in static order; `unit`, `duration` (cycles, from 1): of each task; `units`: how many. `waits`:
    what must have ended first; `start`: cycles before which tasks may not start, or None. `touched`: the banks of
    each task, of `banks` with `ports` each (0: as many as it takes).
    """

    sequence: np.ndarray
    unit: np.ndarray
    duration: np.ndarray
    units: int
    waits: Sequence[Wait]
    start: np.ndarray | None
    touched: list[list[int]]
    banks: int
    ports: int


class Timing(NamedTuple):
    """Start and end of each task, and who found a bank taken; `stuck`: tasks that can never start."""

    start: np.ndarray
    end: np.ndarray
    blocked: tuple[Blocked, ...]
    stuck: tuple[int, ...]


def run(job: Workload) -> Timing:
    """Time every task; of several that could start in one cycle, the unit listed first goes first."""
    # One long loop, with ports written out: it runs once for every task, and calls would double its time.
    waits, events, end = _wait_lists(job)
    duration = job.duration.tolist()
    count, units = len(duration), job.units
    queue_unit = job.unit[job.sequence]
    queues = [iter(job.sequence[queue_unit == unit].tolist()) for unit in range(units)]
    start = [0] * count
    touched = job.touched if job.ports else [[]] * count
    bank_free = [0] * job.banks
    many = _ManyPorts(job) if job.ports > 1 else None
    waiting: dict[int, list[int]] = {}
    blocked: list[Blocked] = []
    head = [next(queue, -1) for queue in queues]
    free = [0] * units
    ready: list[int] = []  # heap of time * units + unit: who could start when, banks apart
    woken: Iterable[int] = range(units)
    while True:
        for unit in woken:
            task = head[unit]
            if task < 0:
                continue
            time = free[unit]
            for other in waits[task]:
                until = end[other]
                if until > time:
                    if until == UNKNOWN:
                        waiting.setdefault(other, []).append(unit)
                        break
                    time = until
            else:
                heappush(ready, time * units + unit)
        if not ready:
            break
        time, unit = divmod(heappop(ready), units)
        task = head[unit]
        possible, taken = time, -1
        if many:
            possible, taken = many.ready(task, time)
        else:
            for bank in touched[task]:
                if bank_free[bank] > possible:
                    possible, taken = bank_free[bank], bank
        if taken >= 0:
            blocked.append(Blocked(task, taken, time, possible))
            heappush(ready, possible * units + unit)
            woken = ()
            continue
        finish = time + duration[task]
        start[task], end[task], free[unit] = time, finish, finish
        if many:
            many.take(task, finish)
        else:
            for bank in touched[task]:
                bank_free[bank] = finish
        head[unit] = next(queues[unit], -1)
        woken = [unit]
        if task in waiting:
            woken += waiting.pop(task)
        if task in events:
            for event, delay in events[task]:
                end[event] = finish + delay
                woken += waiting.pop(event, [])
    stuck = tuple(task for task in head if task >= 0)
    return Timing(np.array(start), np.array(end[:count]), tuple(blocked), stuck)


def _wait_lists(job: Workload) -> tuple[list[list[int]], dict[int, list[tuple[int, int]]], list[int]]:
    """For each task the tasks or events whose ends it waits for; the events, by the task that they follow with a
    delay; and all ends, known so far as they are a task's own earliest start.
    """
    count = number = len(job.duration)
    tasks, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    events: dict[int, list[tuple[int, int]]] = {}
    for wait in job.waits:
        until = wait.until
        if wait.delay:
            followed, place = np.unique(until, return_inverse=True)
            for event, task in enumerate(followed.tolist(), start=number):
                events.setdefault(task, []).append((event, wait.delay))
            until = number + place
            number += len(followed)
        tasks.append(wait.tasks)
        others.append(until)
    ends = [UNKNOWN] * number
    if job.start is not None:
        tasks.append(np.arange(count))
        others.append(np.arange(number, number + count))
        ends += job.start.tolist()
    waiter, other = np.concatenate(tasks), np.concatenate(others)
    order = np.argsort(waiter, kind="stable")
    flat = other[order].tolist()
    bounds = np.searchsorted(waiter[order], np.arange(count + 1)).tolist()
    return [flat[low:high] for low, high in pairwise(bounds)], events, ends


class _ManyPorts:
    """Banks with several ports: for each bank the cycles at which its ports get free, in order."""

    def __init__(self, job: Workload) -> None:
        ports = job.ports
        self.free = [[0] * ports for _ in range(job.banks)]
        self.wanted = [[(bank, min(row.count(bank), ports)) for bank in dict.fromkeys(row)] for row in job.touched]

    def ready(self, task: int, time: int) -> tuple[int, int]:
        """From when the task may have its ports, and the last bank that it waits for, -1 for none."""
        taken = -1
        for bank, many in self.wanted[task]:
            until = self.free[bank][many - 1]
            if until > time:
                time, taken = until, bank
        return time, taken

    def take(self, task: int, finish: int) -> None:
        for bank, many in self.wanted[task]:
            free = self.free[bank]
            free[:many] = [finish] * many
            free.sort()
