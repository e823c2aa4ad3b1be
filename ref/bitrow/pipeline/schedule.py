"""The static schedule: when every row task runs, with rings, queues and bank ports booked (SPEC.md C1, C2).

Each unit runs its tasks in the policy's order. A task starts at the first cycle in which its unit is free, all rows
that it needs are there, every slot that it writes is free, and every bank that it touches has a port left; of several
that could start in one cycle, the unit listed first goes first. It then keeps unit and ports for all its cycles.
Standard library and numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn

import numpy as np

from bitrow.errors import BitrowError
from bitrow.graph import Network, shapes
from bitrow.pipeline import banks as banking
from bitrow.pipeline.beats import beats
from bitrow.pipeline.engine import UNKNOWN, Blocked, StallCause, Timing, Wait, Workload, run, uncollected
from bitrow.pipeline.flow import Flow, NeedColumn, dataflow
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, Packing
from bitrow.pipeline.mappings import mapped_lines
from bitrow.pipeline.policies import Grid, SchedulePlan, SchedulePolicy, make_grid, row_pipelined_overlap
from bitrow.pipeline.reach import Training
from bitrow.pipeline.rings import SAVED, Capacity, Ring, RingKind, build_rings, slots
from bitrow.pipeline.stages import Phase
from bitrow.pipeline.weights import loaded_bits

MOST_ROWS = 1 << 19  # of all maps of all images: minutes of scheduling
_LAYOUT_IMAGES = 2  # or groups, enough to see every pair of lines that ever run together


@dataclass(frozen=True, eq=False)
class Schedule:
    """A timed run of a network on a machine, of `images` images or, where tasks make rows of several at once, groups.

    One entry for each task in the arrays, sorted by `start` (then by unit), which is an order of execution: `stage`,
    `phase` (stages.Phase), `image`, `row`, `unit`, `start`, `end` (cycles, end exclusive), `compute` (cycles without
    the wait for a bank that the task's own accesses share). `slots` by ring, `layout` their banks; `booked`: banks
    were; `task_of` turns a grid's task number into a place in the arrays.
    """

    flow: Flow
    machine: Machine
    policy: str
    images: int
    plan: SchedulePlan
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
    booked: bool

    @property
    def units(self) -> tuple[str, ...]:
        return self.plan.units

    @property
    def batch(self) -> int:
        """All images that ran."""
        return self.images * self.machine.images_at_once

    @property
    def cycles(self) -> int:
        """From the first image's first row to the end of the last task."""
        return int(self.end.max())

    def __len__(self) -> int:
        return len(self.start)


def schedule(
    network: Network,
    machine: Machine = DEFAULT_MACHINE,
    policy: SchedulePolicy = row_pipelined_overlap,
    images: int = 1,
    *,
    training: Training = True,
    book_banks: bool = True,
    durations: Callable[[Grid], np.ndarray] | None = None,
) -> Schedule:
    """Schedule `images` images of a network, forward and with `training` backward, as far as it says.

    `book_banks` False gives every bank as many ports as it takes. `durations` may replace the cycles that the machine
    takes for each task of a grid (without `book_banks`).

    Raises:
        BitrowError: `images` below 1 or no multiple of the machine's `images_at_once`, more than 2^19 rows of maps of
            all images; a machine that cannot run the network, naming the resource and how much of it is missing; a
            layer in `training` that is none of it.
    """
    check_images(network, images)
    groups, rest = divmod(images, machine.images_at_once)
    if rest:
        raise BitrowError(f"images: found {images}, expected a multiple of {machine.images_at_once} images_at_once")
    flow = dataflow(network, training)
    if flow.barrier and flow.training and groups > machine.images_in_flight:
        missing = groups - machine.images_in_flight
        raise BitrowError(
            f"machine {machine.name} images_in_flight: found {machine.images_in_flight}, "
            f"expected {groups}, the batch over which {network.name} takes its statistics ({missing} short)"
        )
    grid = make_grid(flow, machine, groups)
    plan = policy(grid)
    rings = build_rings(flow, machine)
    ring_slots = ring_capacities(grid, plan, rings)
    layout = banking.make_layout(rings, ring_slots, machine, whole_maps=plan.whole_maps)
    if book_banks and machine.shared:
        some = min(groups, _LAYOUT_IMAGES) * machine.images_at_once
        layout = layout._replace(offset=allocate(network, replace(machine, bank_depth=0), policy, some, training))
    if machine.packing is Packing.RINGS and not plan.whole_maps:
        banking.check_depth(banking.bank_words(rings, ring_slots, layout, machine), machine)
    touched = _touched(grid, rings, ring_slots, layout) if book_banks else []
    if durations:
        compute = duration = durations(grid)
    else:
        load = -(-loaded_bits(grid, plan) // machine.dram_width)
        compute, duration = _durations(grid, rings, touched, load, book_banks)
    waits = _waits(grid, plan, rings, ring_slots)
    ports = machine.ports if book_banks else 0
    with uncollected():
        lists = _bank_lists(touched) if ports else []
        units = len(plan.units)
        job = Workload(plan.sequence, plan.unit, duration, units, waits, plan.start, lists, layout.total, ports)
        timing = run(job)
    if timing.stuck:
        _refuse(grid, rings, waits, timing)
    name = getattr(policy, "__name__", type(policy).__name__)
    setup = _Setup(grid, plan, name, rings, tuple(ring_slots), layout, waits, book_banks)
    return _sorted_schedule(setup, compute, timing)


def check_images(network: Network, images: int) -> None:
    """Refuse a number of images that cannot be scheduled. Raises: BitrowError: as `schedule`."""
    if images < 1:
        raise BitrowError(f"images: found {images}, expected 1 or more")
    rows = sum(height for height, _, _ in shapes(network).values())
    if rows * images > MOST_ROWS:
        raise BitrowError(
            f"{network.name}: found {rows:,} rows of maps for each of {images:,} images, "
            f"expected at most {MOST_ROWS:,} in all; fewer images or a smaller input"
        )


@functools.lru_cache(maxsize=64)
def allocate(
    network: Network, machine: Machine, policy: SchedulePolicy, images: int, training: Training
) -> tuple[int, ...]:
    """Bank offsets of all rings, chosen from what runs at the same time when banks have ports enough."""
    boundless = replace(machine, banks=1, ports=1, bank_depth=0)  # that run is the same for any number of them
    ideal = rings_together(network, boundless, policy, images, training)
    layout = banking.make_layout(ideal.rings, ideal.slots, machine, whole_maps=ideal.whole_maps)
    return banking.best_offsets(ideal.rings, ideal.slots, ideal.together, layout, ideal.cycles)


class _Together(NamedTuple):
    """Of a run with ports enough: its rings, and for how many of its cycles any two are used at once."""

    rings: tuple[Ring, ...]
    slots: tuple[int, ...]
    whole_maps: bool
    together: np.ndarray
    cycles: int


@functools.lru_cache(maxsize=64)
def rings_together(
    network: Network, machine: Machine, policy: SchedulePolicy, images: int, training: Training
) -> _Together:
    """What `allocate` places rings by."""
    ideal = schedule(network, machine, policy, images, training=training, book_banks=False)
    lines = len(ideal.flow.lines)
    overlap = banking.used_together(ideal.line, ideal.unit, ideal.start, ideal.end, lines)
    touches = np.zeros((lines, len(ideal.rings)))
    for line, found in enumerate(banking.accesses(ideal.flow, ideal.rings)):
        for access in found:
            touches[line, access.ring.index] += 1
    together = touches.T @ overlap @ touches
    return _Together(ideal.rings, ideal.slots, ideal.plan.whole_maps, together, ideal.cycles)


def ring_capacities(grid: Grid, plan: SchedulePlan, rings: tuple[Ring, ...]) -> list[int]:
    """Slots of every ring under a plan; 0 is unbounded."""
    machine, flow = grid.machine, grid.flow
    if plan.whole_maps:
        return [ring.rows * (grid.images if flow.barrier else 1) for ring in rings]
    capacity = Capacity(machine.ring_rule, machine.handoff_rows, machine.images_in_flight, grid.images)
    pace = beats(flow, grid.images)
    return [slots(ring, flow, pace, capacity) for ring in rings]


def task_ids(grid: Grid, line: int, image: np.ndarray | int, row: np.ndarray | int) -> np.ndarray:
    """Numbers of tasks in a grid."""
    return np.asarray(grid.first[line] + np.asarray(image) * grid.flow.lines[line].rows + row)


def _waits(grid: Grid, plan: SchedulePlan, rings: tuple[Ring, ...], ring_slots: list[int]) -> tuple[Wait, ...]:
    found: list[Wait] = []
    images = np.arange(grid.images)[:, None]
    for place, line in enumerate(grid.flow.lines):
        mine = task_ids(grid, place, images, np.arange(line.rows)).reshape(-1)
        for column in grid.flow.columns[place]:
            if _is_there(grid.flow, place, column):
                continue
            image = np.full_like(images, grid.images - 1) if column.whole_batch else images
            until = task_ids(grid, column.line, image, column.last).reshape(-1)
            cause, delay = StallCause.DATA, 0
            if column.whole_batch:
                cause, delay = StallCause.BARRIER, grid.machine.statistics_latency
            if column.loss:
                cause, delay = StallCause.LOSS, grid.machine.loss_latency
            found.append(Wait(cause, -1, mine, until, delay))
    for ring in rings:
        if ring_slots[ring.index] and not (ring.queued and plan.one_queue):
            found.append(_slot_wait(grid, ring, ring_slots[ring.index]))
    if plan.one_queue:
        found.append(_queue_wait(grid, plan))
    return tuple(wait for wait in found if len(wait.tasks))


def _is_there(flow: Flow, place: int, column: NeedColumn) -> bool:
    """What the forward pass kept, all of it made before the loss, and so before the backward pass begins."""
    kept = flow.lines[place].phase.backward and not flow.lines[column.line].phase.backward and not column.loss
    return kept and int(column.last.max()) <= flow.before_loss[column.line]


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
    other = StallCause.HANDOFF if ring.kind is RingKind.HANDOFF else StallCause.RING
    cause = StallCause.SAVED if ring.kind in SAVED else other
    return Wait(cause, ring.index, tasks, until, 0)


def _queue_wait(grid: Grid, plan: SchedulePlan) -> Wait:
    """One queue from FXP to FP array: an FXP row waits until the row that came `handoff_rows` before it has left."""
    flow = grid.flow
    chain = np.full(len(flow.lines), -1)
    for place, line in enumerate(flow.lines):
        if line.phase is Phase.FORWARD_HEAD and flow.stages[line.stage].queued:
            chain[place] = flow.line(line.stage, Phase.FORWARD_CHAIN)
    order = plan.sequence[chain[grid.line[plan.sequence]] >= 0]
    partner = order - grid.first[grid.line[order]] + grid.first[chain[grid.line[order]]]
    depth = grid.machine.handoff_rows
    return Wait(StallCause.HANDOFF, -1, order[depth:], partner[:-depth], 0)


def _touched(grid: Grid, rings: tuple[Ring, ...], ring_slots: list[int], layout: banking.Layout) -> list[np.ndarray]:
    by_line = banking.accesses(grid.flow, rings)
    found = []
    for line, line_accesses in zip(grid.flow.lines, by_line, strict=True):
        banks = banking.touched_banks(line_accesses, ring_slots, layout, grid.images)
        found.append(banks if banks.size else np.zeros((grid.images * line.rows, 0), np.int64))
    return found


def _durations(
    grid: Grid, rings: tuple[Ring, ...], touched: list[np.ndarray], load: np.ndarray, book_banks: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles of every task, `load` for its weights among them, without and with the wait for banks that its own
    accesses share.
    """
    flow, machine = grid.flow, grid.machine
    mapped = mapped_lines(flow, rings, machine)
    compute, duration = [], []
    loads = np.split(load, np.cumsum([line.rows * grid.images for line in flow.lines])[:-1])
    for place in range(len(flow.lines)):
        cycles = np.tile(mapped[place].cycles, grid.images)
        cycles = np.maximum(cycles, loads[place]) if machine.weight_buffers > 1 else cycles + loads[place]
        compute.append(cycles)
        share = banking.most_on_a_bank(touched[place]) if book_banks else 1
        duration.append(cycles * -(-share // machine.ports) if book_banks else cycles)
    return np.concatenate(compute), np.concatenate(duration)


def _bank_lists(touched: list[np.ndarray]) -> list[list[int]]:
    """Banks of every task, in the grid's order."""
    found: list[list[int]] = []
    for line in touched:
        rows = line.tolist()
        if line.shape[1] and (line < 0).any():
            rows = [[bank for bank in row if bank >= 0] for row in rows]
        found += rows
    return found


def _refuse(grid: Grid, rings: tuple[Ring, ...], waits: tuple[Wait, ...], timing: Timing) -> NoReturn:
    """Name a full ring among the tasks that stand still, or else an order that is no order."""
    stuck, network = set(timing.stuck), grid.flow.network.name
    for wait in waits:
        if wait.ring < 0:
            continue
        hopeless = timing.end[wait.until] == UNKNOWN
        if stuck.intersection(wait.tasks[hopeless].tolist()):
            raise BitrowError(
                f"{network} {rings[wait.ring].name}: found a ring too short for the order of tasks under "
                f"{grid.machine.ring_rule.value} slots, expected at least 1 slot more"
            )
    names = ", ".join(sorted({grid.flow.stages[grid.flow.lines[grid.line[t]].stage].name for t in stuck}))
    raise BitrowError(f"{network}: found an order in which {names} wait for one another")


class _Setup(NamedTuple):
    """What a run is made of, by the names that `Schedule` has for it."""

    grid: Grid
    plan: SchedulePlan
    policy: str
    rings: tuple[Ring, ...]
    slots: tuple[int, ...]
    layout: banking.Layout
    waits: tuple[Wait, ...]
    booked: bool


def _sorted_schedule(setup: _Setup, compute: np.ndarray, timing: Timing) -> Schedule:
    grid, unit = setup.grid, setup.plan.unit
    order = np.lexsort((unit, timing.start))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    line = grid.line[order]
    lines = grid.flow.lines
    return Schedule(
        **setup._asdict(),
        flow=grid.flow,
        machine=grid.machine,
        images=grid.images,
        line=line,
        stage=np.array([place.stage for place in lines])[line],
        phase=np.array([int(place.phase) for place in lines])[line],
        image=grid.image[order],
        row=grid.row[order],
        unit=unit[order],
        start=timing.start[order],
        end=timing.end[order],
        compute=compute[order],
        task_of=place,
        blocked=timing.blocked,
    )
