"""Every access of a run to its banks: which task, which row of which ring, on which port and when.

Standard library and numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bitrow.pipeline import banks as banking
from bitrow.pipeline.rings import Ring
from bitrow.pipeline.schedule import Schedule


class PortAccess(NamedTuple):
    """A task, by its place in the schedule, has a row of a ring (`number`: image times its rows, plus row) on a port of
    a bank from cycle `start` to `end`, exclusive.
    """

    task: int
    ring: Ring
    number: int
    write: bool
    bank: int
    port: int
    start: int
    end: int


def port_accesses(found: Schedule) -> Iterator[PortAccess]:
    """Every access of every task, in the order of tasks.

    A task holds its banks' ports from start to end; of several it takes the lowest free. Of a task's own accesses that
    find fewer ports than they are, each has a port for its turn.
    """
    by_line = banking.accesses(found.flow, found.rings)
    ports = found.machine.ports
    free = [[0] * ports for _ in range(found.layout.total)]
    labels = [[(access.ring, access.write) for access in line for _ in access.rows.T] for line in by_line]
    rows = [banking.touched_rows(line, found.images).tolist() for line in by_line]
    banks = [banking.touched_banks(line, found.slots, found.layout, found.images).tolist() for line in by_line]
    first = found.grid.first.tolist()
    number = np.empty(len(found), np.int64)
    number[found.task_of] = np.arange(len(found))
    columns = (number, found.line, found.start, found.end)
    for task, (place, line, start, end) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        if not labels[line]:
            continue
        by_bank: dict[int, list[tuple[int, Ring, bool]]] = {}
        at = place - first[line]
        for bank, row, (ring, write) in zip(banks[line][at], rows[line][at], labels[line], strict=True):
            if bank >= 0:
                by_bank.setdefault(bank, []).append((row, ring, write))
        for bank, here in by_bank.items():
            lanes = [port for port in range(ports) if free[bank][port] <= start][: len(here)] or [ports - 1]
            turns = -(-len(here) // len(lanes))
            for nth, (row, ring, write) in enumerate(here):
                turn, lane = divmod(nth, len(lanes))
                since, until = (start + (end - start) * step // turns for step in (turn, turn + 1))
                yield PortAccess(task, ring, row, write, bank, lanes[lane], since, until)
            for port in lanes:
                free[bank][port] = end
