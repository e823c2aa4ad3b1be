"""The emulator's steps: an order's tasks, two rows of a line in one step where that changes no bit.

A task may leave its place in the order as long as every slot is still read and written in the order's sequence: what
reads a row stays behind what wrote it, and what overwrites a slot behind all who read it. So rings too small, or rows
too early, give the same wrong bits as in the order itself. Two tasks share a step if neither reads what the other
writes: all of a step's reads come before its writes. Numpy and the standard library.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.pipeline.memory import TRASH_SLOT, ZERO_SLOT, Memory, Order, Store, TaskProgram
from bitrow.pipeline.stages import Phase

StagePhase = tuple[int, Phase]  # the tasks of one phase of one stage
MOST = 2  # tasks in a step


class Touched(NamedTuple):
    """The slots that a task reads, None for a row of zeros, and writes, in its program's order, each in its store."""

    reads: list[tuple[Store, int] | None]
    writes: list[tuple[Store, int]]


@dataclass(frozen=True)
class Columns:
    """Where the scan's table `[steps, columns]` int32 holds what a step needs.

    `image`, `row`: of each task; `reads`: slots; `present`: 1 where the read is a row and not one of zeros; `writes`:
    slots, by store. Of a step of n tasks, entry k of task m stands at place k*n + m.
    """

    image: slice
    row: slice
    reads: slice
    present: slice
    writes: tuple[slice, ...]

    PROGRAM, ZERO = range(2)  # ZERO holds 0, which the compiler must not know


@dataclass(frozen=True)
class Steps:
    """The steps of an order: `table` and its `columns`; `programs`: a line and a number of tasks for each branch.

    `step`, `member` and `size` by task of the order: its step, its place in it, and how many share it.
    """

    table: np.ndarray
    columns: Columns
    programs: tuple[tuple[StagePhase, int], ...]
    step: np.ndarray
    member: np.ndarray
    size: np.ndarray


def make_steps(
    memory: Memory, programs: Mapping[StagePhase, TaskProgram], order: Order, pairable: Collection[StagePhase]
) -> Steps:
    """Resolve every task's accesses to slots, and pair rows of the lines `pairable`.

    Raises:
        BitrowError: the order holds a task that the network does not have.
    """
    lines, touched = _resolve(memory, programs, order)
    groups = pair(lines, touched, pairable)
    kinds = sorted({(lines[group[0]], len(group)) for group in groups})
    numbers = {kind: number for number, kind in enumerate(kinds)}
    sized = [(touched[task], len(group)) for group in groups for task in group]
    widths = [MOST, MOST, *[max(len(one.reads) * many for one, many in sized)] * 2]
    widths += [max(sum(at is store for at, _ in one.writes) * many for one, many in sized) for store in Store]
    image, row, reads, present, *writes = (slice(a, b) for a, b in pairwise(np.cumsum([2, *widths]).tolist()))
    table = np.zeros((len(groups), writes[-1].stop), np.int32)
    table[:, reads] = ZERO_SLOT
    table[:, writes[0].start :] = TRASH_SLOT
    step, member, size = (np.zeros(len(lines), np.int32) for _ in range(3))
    for number, group in enumerate(groups):
        many = len(group)
        table[number, Columns.PROGRAM] = numbers[lines[group[0]], many]
        for place, task in enumerate(group):
            step[task], member[task], size[task] = number, place, many
            table[number, image.start + place] = order.image[task]
            table[number, row.start + place] = order.row[task]
            for k, found in enumerate(touched[task].reads):
                if found:
                    table[number, reads.start + k * many + place] = found[1]
                    table[number, present.start + k * many + place] = 1
            filled = [columns.start + place for columns in writes]
            for store, slot in touched[task].writes:
                table[number, filled[store]] = slot
                filled[store] += many
    columns = Columns(image, row, reads, present, tuple(writes))
    return Steps(table, columns, tuple(kinds), step, member, size)


def _resolve(
    memory: Memory, programs: Mapping[StagePhase, TaskProgram], order: Order
) -> tuple[list[StagePhase], list[Touched]]:
    lines, touched = [], []
    rows_of = {
        line: [[(memory.regions[one.ring.key], one.rows.tolist()) for one in part] for part in program[1:]]
        for line, program in programs.items()
    }
    for task, (stage, phase, image, row) in enumerate(zip(*(column.tolist() for column in order), strict=True)):
        line = (stage, Phase(phase))
        if line not in programs or row >= programs[line].rows:
            raise BitrowError(f"order task {task}: found {line[1].name} row {row} of stage {stage}, expected a task")
        reads: list[tuple[Store, int] | None] = []
        for region, rows in rows_of[line][0]:
            reads += [None if at < 0 else (region.store, region.slot(image, at)) for at in rows[row]]
        writes = [(region.store, region.slot(image, at)) for region, rows in rows_of[line][1] for at in rows[row]]
        lines.append(line)
        touched.append(Touched(reads, writes))
    return lines, touched


def pair(
    lines: Sequence[StagePhase], touched: Sequence[Touched], pairable: Collection[StagePhase]
) -> list[tuple[int, ...]]:
    """Tasks by step, in a sequence in which every slot sees its reads and writes as in the order.

    Takes pairs as long as there are any, then tasks of lines that have none to wait for, and only then a half. Two
    tasks of a line that write one slot do so in the same place of their programs, so that the later one's row stays.
    """
    before = _before(touched)
    queues: dict[StagePhase, list[int]] = {}
    for task in reversed(range(len(lines))):
        queues.setdefault(lines[task], []).append(task)
    done = bytearray(len(lines))
    blocked_by: dict[StagePhase, int] = {}  # a task that the line's next pair waits for

    def waits_for(task: int, partner: int = -1) -> int:
        """A task that must be done before, -1 for none."""
        must, may_share = before[task]
        for other in must:
            if not done[other]:
                return other
        for other in may_share:
            if not done[other] and other != partner:
                return other
        return -1

    found: list[tuple[int, ...]] = []
    while queues:
        alone, half = -1, -1
        for line, queue in sorted(queues.items(), key=lambda item: item[1][-1]):
            blocker = blocked_by.get(line, -1)
            if blocker >= 0 and not done[blocker]:
                continue
            first = queue[-1]
            blocked_by[line] = waits_for(first)
            if blocked_by[line] >= 0:
                continue
            if line not in pairable or len(queue) == 1:
                alone = first if alone < 0 else alone
            elif waits_for(queue[-2], first) < 0:
                group: tuple[int, ...] = (first, queue[-2])
                break
            else:
                half = first
        else:
            group = (alone if alone >= 0 else half,)
        for task in group:
            done[task] = 1
            queues[lines[task]].pop()
        if not queues[lines[group[0]]]:
            del queues[lines[group[0]]]
        found.append(group)
    return found


def _before(touched: Sequence[Touched]) -> list[tuple[list[int], list[int]]]:
    """For each task those that must come before it, and those before it that may share its step."""
    writer: dict[tuple[Store, int], int] = {}
    readers: dict[tuple[Store, int], list[int]] = {}
    found = []
    for task, (reads, writes) in enumerate(touched):
        rows = [slot for slot in reads if slot]
        must = {writer[slot] for slot in rows if slot in writer}
        may_share = {writer[slot] for slot in writes if slot in writer}
        for slot in writes:
            may_share.update(readers.get(slot, ()))
        found.append((sorted(must), sorted(may_share - must)))
        for slot in rows:
            readers.setdefault(slot, []).append(task)
        for slot in writes:
            writer[slot], readers[slot] = task, []
    return found
