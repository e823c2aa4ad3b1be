"""The static schedule: when every row task runs, with rings, queues and bank ports booked (SPEC.md C1, C2).

Each unit runs its tasks in the policy's order. A task starts at the first cycle in which its unit is free,
all rows that it needs are there, every slot that it writes is free, and every bank that it touches has a
port left; of several that could start in one cycle, the unit listed first goes first. It then keeps unit
and ports for all its cycles. Standard library and numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.graph import Network
from bitrow.pipeline import banks as banking
from bitrow.pipeline.beats import beats
from bitrow.pipeline.flow import Flow, dataflow
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine
from bitrow.pipeline.policies import Grid, Plan, Policy, make_grid, row_pipelined_overlap
from bitrow.pipeline.rings import Capacity, Ring, RingKind, build_rings, slots
from bitrow.pipeline.stages import Head, Phase
from bitrow.pipeline.work import compute_cycles, lanes_of, line_work, read_passes

_UNKNOWN = 1 << 62
_LAYOUT_IMAGES = 2  # enough to see every pair of lines that ever run together


class Cause:
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
    """A reason to wait: `tasks` (those that wait) must not start before `until` ends (same length), plus
    `delay`.
    """

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


@dataclass(frozen=True, eq=False)
class Schedule:
    """A timed run of a network on a machine.

    One entry for each task in the arrays, sorted by `start` (then by unit), which is an order of execution:
    `stage`, `phase` (stages.Phase), `image`, `row`, `unit`, `start`, `end` (cycles, end exclusive),
    `compute` (cycles without the wait for a bank that the task's own accesses share). `slots` by ring,
    `layout` their banks; `task_of` turns a grid's task number into a place in the arrays.
    """

    flow: Flow
    machine: Machine
    policy: str
    images: int
    plan: Plan
    grid: Grid
    rings: tuple[Ring, ...]
    slots: tuple[int, ...]
    layout: banking.Layout
    line: np.ndarray
    stage: np.ndarray
    phase: np.ndarray
    image: np.ndarray
    row: np.ndarray
    unit: np.ndarray
    start: np.ndarray
    end: np.ndarray
    compute: np.ndarray
    task_of: np.ndarray
    waits: tuple[Wait, ...]
    blocked: tuple[Blocked, ...]

    @property
    def units(self) -> tuple[str, ...]:
        return self.plan.units

    @property
    def cycles(self) -> int:
        """From the first image's first row to the end of the last task."""
        return int(self.end.max())

    def __len__(self) -> int:
        return len(self.start)


def schedule(
    network: Network,
    machine: Machine = DEFAULT_MACHINE,
    policy: Policy = row_pipelined_overlap,
    images: int = 1,
    *,
    training: bool = True,
    book_banks: bool = True,
    durations: Callable[[Grid], np.ndarray] | None = None,
) -> Schedule:
    """Schedule `images` images of a network, forward and with `training` backward.

    `book_banks` False gives every bank as many ports as it takes. `durations` may replace the cycles that the
    machine takes for each task of a grid (without `book_banks`).

    Raises:
        BitrowError: `images` below 1; a machine that cannot run the network, naming the resource and how
        much of
            it is missing.
    """
    if images < 1:
        raise BitrowError(f"images: found {images}, expected 1 or more")
    flow = dataflow(network, training)
    if flow.barrier and training and images > machine.images_in_flight:
        missing = images - machine.images_in_flight
        raise BitrowError(
            f"machine {machine.name} images_in_flight: found {machine.images_in_flight}, "
            f"expected {images}, the batch over which {network.name} takes its statistics ({missing} short)"
        )
    grid = make_grid(flow, machine, images)
    plan = policy(grid)
    rings = build_rings(flow, machine)
    ring_slots = ring_capacities(grid, plan, rings)
    layout = banking.make_layout(rings, ring_slots, machine, whole_maps=plan.whole_maps)
    if book_banks and machine.shared:
        some = min(images, _LAYOUT_IMAGES)
        layout = layout._replace(offset=allocate(network, machine, policy, some, training))
    banking.check_depth(banking.bank_words(rings, ring_slots, layout, machine), machine)
    touched = _touched(grid, rings, ring_slots, layout)
    if durations:
        compute = duration = durations(grid)
    else:
        compute, duration = _durations(grid, rings, touched, book_banks)
    waits = _waits(grid, plan, rings, ring_slots)
    ports = machine.ports if book_banks else 0
    start, end, blocked = run(_Problem(grid, plan, rings, waits, duration, touched, ports, layout))
    name = getattr(policy, "__name__", type(policy).__name__)
    return _sorted_schedule(grid, plan, name, rings, ring_slots, layout, start, end, compute, waits, blocked)


@functools.lru_cache(maxsize=64)
def allocate(
    network: Network, machine: Machine, policy: Policy, images: int, training: bool
) -> tuple[int, ...]:
    """Bank offsets of all rings, chosen from what runs at the same time when banks have ports enough."""
    ideal = schedule(network, machine, policy, images, training=training, book_banks=False)
    lines = len(ideal.flow.lines)
    overlap = banking.used_together(ideal.line, ideal.unit, ideal.start, ideal.end, lines)
    touches = np.zeros((lines, len(ideal.rings)))
    for line, found in enumerate(banking.accesses(ideal.flow, ideal.rings)):
        for access in found:
            touches[line, access.ring.index] += 1
    return banking.best_offsets(
        ideal.rings, ideal.slots, touches.T @ overlap @ touches, ideal.layout, ideal.cycles
    )


def ring_capacities(grid: Grid, plan: Plan, rings: tuple[Ring, ...]) -> list[int]:
    """Slots of every ring under a plan; 0 is unbounded."""
    machine, flow = grid.machine, grid.flow
    if plan.whole_maps:
        return [ring.rows * (grid.images if flow.barrier else 1) for ring in rings]
    capacity = Capacity(machine.ring_rule, machine.handoff_rows, machine.images_in_flight, grid.images)
    pace = beats(flow, grid.images)
    return [slots(ring, flow, pace, capacity) for ring in rings]


def task_ids(grid: Grid, line: int, image: np.ndarray | int, row: np.ndarray | int) -> np.ndarray:
    """Numbers of tasks in a grid."""
    rows = np.array([place.rows for place in grid.flow.lines]) * grid.images
    base = int(rows[:line].sum())
    return np.asarray(base + np.asarray(image) * grid.flow.lines[line].rows + row)


def _waits(grid: Grid, plan: Plan, rings: tuple[Ring, ...], ring_slots: list[int]) -> tuple[Wait, ...]:
    found: list[Wait] = []
    images = np.arange(grid.images)[:, None]
    for place, line in enumerate(grid.flow.lines):
        mine = task_ids(grid, place, images, np.arange(line.rows)).reshape(-1)
        for column in grid.flow.columns[place]:
            image = np.full_like(images, grid.images - 1) if column.whole_batch else images
            until = task_ids(grid, column.line, image, column.last).reshape(-1)
            cause, delay = Cause.DATA, 0
            if column.whole_batch:
                cause, delay = Cause.BARRIER, grid.machine.statistics_latency
            if column.loss:
                cause, delay = Cause.LOSS, grid.machine.loss_latency
            found.append(Wait(cause, -1, mine, until, delay))
    for ring in rings:
        in_queue = ring.kind is RingKind.HANDOFF and grid.flow.stages[ring.stage].kind is Head.CONV
        if ring_slots[ring.index] and not (in_queue and plan.one_queue):
            found.append(_slot_wait(grid, ring, ring_slots[ring.index]))
    if plan.one_queue:
        found.append(_queue_wait(grid, plan))
    return tuple(wait for wait in found if len(wait.tasks))


def _slot_wait(grid: Grid, ring: Ring, capacity: int) -> Wait:
    """A row is written once the last reader of the row that had its slot has ended."""
    total = np.arange(capacity, grid.images * ring.rows)
    image, row = np.divmod(total - capacity, ring.rows)
    read = ring.last_line[row] >= 0
    total, image, row = total[read], image[read], row[read]
    until = np.zeros(len(total), np.int64)
    for line in np.unique(ring.last_line[row]):
        here = ring.last_line[row] == line
        until[here] = task_ids(grid, int(line), image[here], ring.last_row[row[here]])
    tasks = task_ids(grid, ring.writer, total // ring.rows, total % ring.rows * ring.per)
    saved = ring.kind.name in ("MASK", "RELU", "INDEX", "BATCH")
    cause = Cause.SAVED if saved else Cause.HANDOFF if ring.kind is RingKind.HANDOFF else Cause.RING
    return Wait(cause, ring.index, tasks, until, 0)


def _queue_wait(grid: Grid, plan: Plan) -> Wait:
    """One queue from FXP to FP array: an FXP row waits until the row that came `handoff_rows` before it has
    left.
    """
    flow = grid.flow
    chain = np.full(len(flow.lines), -1)
    for place, line in enumerate(flow.lines):
        if line.phase is Phase.FORWARD_HEAD and flow.stages[line.stage].kind is Head.CONV:
            chain[place] = flow.line(line.stage, Phase.FORWARD_CHAIN)
    order = plan.sequence[chain[grid.line[plan.sequence]] >= 0]
    first = np.array([int(task_ids(grid, place, 0, 0)) for place in range(len(flow.lines))])
    partner = order - first[grid.line[order]] + first[chain[grid.line[order]]]
    depth = grid.machine.handoff_rows
    return Wait(Cause.HANDOFF, -1, order[depth:], partner[:-depth], 0)


def _touched(
    grid: Grid, rings: tuple[Ring, ...], ring_slots: list[int], layout: banking.Layout
) -> list[np.ndarray]:
    by_line = banking.accesses(grid.flow, rings)
    found = []
    for line, line_accesses in zip(grid.flow.lines, by_line, strict=True):
        banks = banking.touched_banks(line_accesses, ring_slots, layout, grid.images)
        found.append(banks if banks.size else np.zeros((grid.images * line.rows, 0), np.int64))
    return found


def _durations(
    grid: Grid, rings: tuple[Ring, ...], touched: list[np.ndarray], book_banks: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles of every task without and with the wait for banks that its own accesses share."""
    flow, machine = grid.flow, grid.machine
    lanes = lanes_of(flow, machine)
    by_line = banking.accesses(flow, rings)
    compute, duration = [], []
    for place, line in enumerate(flow.lines):
        stage, work = flow.stages[line.stage], line_work(flow, line, machine)
        words = np.zeros(line.rows, np.int64)
        again = read_passes(flow, machine, place)
        for access in by_line[place]:
            row_words = -(-access.ring.row_bits // machine.bank_width)
            many = 1 if access.write else again
            words = np.maximum(words, np.where(access.last >= access.first, row_words * many, 0))
        cycles = compute_cycles(stage, line, work, lanes[line.stage], machine)
        cycles = np.tile(np.maximum(cycles, words), grid.images)
        compute.append(cycles)
        share = banking.most_on_a_bank(touched[place]) if book_banks else 1
        duration.append(cycles * -(-share // machine.ports) if book_banks else cycles)
    return np.concatenate(compute), np.concatenate(duration)


class _Problem(NamedTuple):
    grid: Grid
    plan: Plan
    rings: tuple[Ring, ...]
    waits: tuple[Wait, ...]
    duration: np.ndarray
    touched: list[np.ndarray]
    ports: int
    layout: banking.Layout


def _wait_lists(
    problem: _Problem,
) -> tuple[list[list[int]], dict[int, list[tuple[int, int]]], list[int]]:
    """For each task the tasks or events whose ends it waits for; the events, by the task that they follow
    with a delay; and the ends of all, as far as they are known: those of the plan's own times.
    """
    count = len(problem.duration)
    waits: list[list[int]] = [[] for _ in range(count)]
    events: dict[int, list[tuple[int, int]]] = {}
    number = count
    known: dict[tuple[int, int], int] = {}
    for wait in problem.waits:
        tasks, until = wait.tasks.tolist(), wait.until.tolist()
        if not wait.delay:
            for task, other in zip(tasks, until, strict=True):
                waits[task].append(other)
            continue
        for task, other in zip(tasks, until, strict=True):
            if (other, wait.delay) not in known:
                known[other, wait.delay] = number
                events.setdefault(other, []).append((number, wait.delay))
                number += 1
            waits[task].append(known[other, wait.delay])
    end = [_UNKNOWN] * number
    if problem.plan.start is not None:
        for task, time in enumerate(problem.plan.start.tolist()):
            waits[task].append(len(end))
            end.append(time)
    return waits, events, end


def run(problem: _Problem) -> tuple[np.ndarray, np.ndarray, tuple[Blocked, ...]]:
    """Start and end of every task, and the tasks that found a bank taken.

    Raises:
        BitrowError: an order or a capacity with which some task can never start, naming what it waits for.
    """
    waits, events, end = _wait_lists(problem)
    plan, duration = problem.plan, problem.duration.tolist()
    count, units = len(duration), len(plan.units)
    queue_unit = plan.unit[plan.sequence]
    queues = [iter(plan.sequence[queue_unit == unit].tolist()) for unit in range(units)]
    start = [0] * count
    ports = _ports(problem)
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
                    if until == _UNKNOWN:
                        waiting.setdefault(other, []).append(unit)
                        break
                    time = until
            else:
                heappush(ready, time * units + unit)
        if not ready:
            break
        time, unit = divmod(heappop(ready), units)
        task = head[unit]
        possible = ports.ready(task, time) if ports else time
        if possible > time:
            blocked.append(Blocked(task, ports.bank, time, possible))
            heappush(ready, possible * units + unit)
            woken = ()
            continue
        finish = time + duration[task]
        start[task], end[task], free[unit] = time, finish, finish
        if ports:
            ports.take(task, finish)
        head[unit] = next(queues[unit], -1)
        woken = [unit]
        if task in waiting:
            woken += waiting.pop(task)
        if task in events:
            for event, delay in events[task]:
                end[event] = finish + delay
                woken += waiting.pop(event, [])
    if max(head) >= 0:
        _refuse(problem, head, end)
    return np.array(start), np.array(end[:count]), tuple(blocked)


class _OnePort:
    """Banks with a port each: a bank is free when its last task has ended."""

    def __init__(self, banks: int, touched: list[list[int]]) -> None:
        self.free = [0] * banks
        self.touched = touched
        self.bank = -1

    def ready(self, task: int, time: int) -> int:
        free = self.free
        for bank in self.touched[task]:
            if free[bank] > time:
                time, self.bank = free[bank], bank
        return time

    def take(self, task: int, finish: int) -> None:
        free = self.free
        for bank in self.touched[task]:
            free[bank] = finish


class _ManyPorts:
    """Banks with several ports: for each bank the cycles at which its ports get free, in order."""

    def __init__(self, banks: int, ports: int, touched: list[list[int]]) -> None:
        self.free = [[0] * ports for _ in range(banks)]
        self.wanted = [
            [(bank, min(row.count(bank), ports)) for bank in dict.fromkeys(row)] for row in touched
        ]
        self.bank = -1

    def ready(self, task: int, time: int) -> int:
        for bank, many in self.wanted[task]:
            until = self.free[bank][many - 1]
            if until > time:
                time, self.bank = until, bank
        return time

    def take(self, task: int, finish: int) -> None:
        for bank, many in self.wanted[task]:
            free = self.free[bank]
            free[:many] = [finish] * many
            free.sort()


def _ports(problem: _Problem) -> _OnePort | _ManyPorts | None:
    if not problem.ports:
        return None
    banks = problem.layout.total
    touched: list[list[int]] = []
    for line in problem.touched:
        if line.shape[1] and (line < 0).any():
            touched += [[bank for bank in row if bank >= 0] for row in line.tolist()]
        else:
            touched += line.tolist()
    if problem.ports == 1:
        return _OnePort(banks, touched)
    return _ManyPorts(banks, problem.ports, touched)


def _refuse(problem: _Problem, head: list[int], end: list[int]) -> None:
    """Name a full ring among the tasks that stand still, or else an order that is no order."""
    stuck = {task for task in head if task >= 0}
    grid = problem.grid
    for wait in problem.waits:
        if wait.ring < 0:
            continue
        for task, other in zip(wait.tasks.tolist(), wait.until.tolist(), strict=True):
            if task in stuck and end[other] == _UNKNOWN:
                ring = problem.rings[wait.ring]
                raise BitrowError(
                    f"{grid.flow.network.name} {ring.name}: found a ring too short for the order of tasks "
                    f"under {grid.machine.ring_rule.value} slots, expected at least 1 slot more"
                )
    names = ", ".join(sorted({grid.flow.stages[grid.flow.lines[grid.line[t]].stage].name for t in stuck}))
    raise BitrowError(f"{grid.flow.network.name}: found an order in which {names} wait for one another")


def _sorted_schedule(
    grid: Grid,
    plan: Plan,
    name: str,
    rings: tuple[Ring, ...],
    ring_slots: list[int],
    layout: banking.Layout,
    start: np.ndarray,
    end: np.ndarray,
    compute: np.ndarray,
    waits: tuple[Wait, ...],
    blocked: tuple[Blocked, ...],
) -> Schedule:
    order = np.lexsort((plan.unit, start))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    line = grid.line[order]
    lines = grid.flow.lines
    return Schedule(
        flow=grid.flow,
        machine=grid.machine,
        policy=name,
        images=grid.images,
        plan=plan,
        grid=grid,
        rings=rings,
        slots=tuple(ring_slots),
        layout=layout,
        line=line,
        stage=np.array([place.stage for place in lines])[line],
        phase=np.array([int(place.phase) for place in lines])[line],
        image=grid.image[order],
        row=grid.row[order],
        unit=plan.unit[order],
        start=start[order],
        end=end[order],
        compute=compute[order],
        task_of=place,
        waits=waits,
        blocked=blocked,
    )
