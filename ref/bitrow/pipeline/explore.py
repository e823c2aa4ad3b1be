"""Thousands of machines for one network: each with its cycles, energy, area and memory, exactly as a run of its own has
them.

Machines whose tasks take the same cycles on the same banks share one schedule: lanes that nothing waits for, the
packing of the banks and the clock change what is built and nothing else. Standard library and numpy.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from bitrow.errors import BitrowError
from bitrow.graph import Network
from bitrow.pipeline.cost import Counts, Scope, cost_of, count, total_area, total_energy
from bitrow.pipeline.cost_tables import DEFAULT_COSTS, CostTables, Range
from bitrow.pipeline.flow import dataflow
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, machine_from
from bitrow.pipeline.mappings import mapped_lines
from bitrow.pipeline.memory_size import built_bits
from bitrow.pipeline.policies import policy_named
from bitrow.pipeline.reach import Training
from bitrow.pipeline.rings import build_rings
from bitrow.pipeline.schedule import Schedule, check_images, schedule

MOST_MACHINES = 100_000
FP_LANES = "fp_lanes"  # multipliers and adders, as many of each
SweepAxes = tuple[tuple[str, tuple[Any, ...]], ...]
AXES: SweepAxes = (
    ("fxp_lanes", (256, 512, 1024, 2048, 4096, 8192)),
    ("dequantizer_lanes", (8, 16, 32, 64)),
    (FP_LANES, (16, 32, 64, 128)),
    ("banks", (16, 32, 64)),
    ("ports", (1, 2)),
    ("ring_rule", ("K", "K+1", "K+S")),
    ("mapping", ("row", "split", "channel", "best")),
    ("packing", ("lifetimes", "rings")),
)
# Machines that differ in these alone may share a schedule, or what the places of rings in banks are chosen by.
_SHARE = ("clock_mhz", "dequantizer_lanes", "mapping", "packing", "banks", "ports", "bank_depth")
# What changes a schedule through the cycles of its tasks alone, or not at all.
_BESIDE: dict[str, Any] = {
    name: getattr(DEFAULT_MACHINE, name)
    for name in ("clock_mhz", "fxp_lanes", "dequantizer_lanes", "fp_mul_lanes", "fp_add_lanes", "mapping", "packing")
}


@dataclass(frozen=True, eq=False)
class Search:
    """What is explored: `axes` name fields of a machine, or `FP_LANES`, with their values as TOML has them; all else is
    `base`'s. `policy`, `images` and `training` are those of `schedule`.

    Raises:
        BitrowError: an unknown policy or layer, a number of images that cannot be; an axis that is no field or stands
            twice, no value or one that the field refuses, more than `MOST_MACHINES`.
    """

    network: Network
    axes: SweepAxes = AXES
    base: Machine = DEFAULT_MACHINE
    policy: str = "row_pipelined_overlap"
    images: int = 2
    training: Training = True
    costs: CostTables = DEFAULT_COSTS

    def __post_init__(self) -> None:
        policy_named(self.policy)
        check_images(self.network, self.images)
        dataflow(self.network, self.training)
        _settings(self)

    @property
    def trained(self) -> bool | list[str]:
        """`training` as JSON has it."""
        return self.training if isinstance(self.training, bool) else sorted(self.training)


class Point(NamedTuple):
    """Figures of one machine's run.

    `cycles` of all images; `flops`; `memory` bits of on-chip buffers as built; `energy` pJ with the weight memory, of
    all images; `area` um2 with the weight memory.
    """

    cycles: int
    flops: int
    memory: int
    energy: Range
    area: Range


def machines(search: Search) -> Iterator[Machine]:
    """Every machine of a search, the last axis fastest."""
    for settings in itertools.product(*_settings(search)):
        yield replace(search.base, **dict(itertools.chain.from_iterable(one.items() for one in settings)))


def _settings(search: Search) -> list[list[dict[str, Any]]]:
    """Of each axis the fields of a machine that each value sets."""
    known = {FP_LANES, *(field.name for field in fields(Machine))} - {"name"}
    names = [name for name, _ in search.axes]
    for name, values in search.axes:
        if name not in known or names.count(name) > 1 or not values:
            what = f"no values of {name}" if name in known and not values else repr(name)
            raise BitrowError(f"axes: found {what}, expected each once of {', '.join(sorted(known))}, with values")
    many = math.prod(len(values) for _, values in search.axes)
    if many > MOST_MACHINES:
        raise BitrowError(f"axes: found {many:,} machines, expected at most {MOST_MACHINES:,}")
    return [[_setting(search.base, name, value) for value in values] for name, values in search.axes]


def _setting(base: Machine, name: str, value: Any) -> dict[str, Any]:
    """Checked as a machine's file is."""
    names = ("fp_mul_lanes", "fp_add_lanes") if name == FP_LANES else (name,)
    made = machine_from(dict.fromkeys(names, value), base.name)
    return {field: getattr(made, field) for field in names}


class Batch(NamedTuple):
    """Machines of a search that one process times: their places in its order, and they."""

    number: int
    places: tuple[int, ...]
    machines: tuple[Machine, ...]

    def __str__(self) -> str:
        return f"batch {self.number} of machines"


def batches(found: Sequence[Machine]) -> list[Batch]:
    """Machines that may share work, together."""
    apart = [field.name for field in fields(Machine) if field.name not in _SHARE]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, machine in enumerate(found):
        groups.setdefault(tuple(getattr(machine, name) for name in apart), []).append(place)
    return [Batch(number, tuple(places), tuple(found[place] for place in places))
            for number, places in enumerate(groups.values())]  # fmt: skip


class _Timed(NamedTuple):
    """A schedule and what was counted of it; `memory`: built bits and all, by packing."""

    schedule: Schedule
    counts: Counts
    memory: dict[enum.Enum, tuple[int, int]]


def evaluate(search: Search, batch: Batch) -> list[Point | str]:
    """Figures of a batch's machines; of one that cannot run the network the reason."""
    runs: dict[Any, _Timed] = {}
    found: list[Point | str] = []
    for machine in batch.machines:
        try:
            found.append(_point(search, machine, runs))
        except BitrowError as error:
            found.append(str(error))
    return found


def _point(search: Search, machine: Machine, runs: dict[Any, _Timed]) -> Point:
    key = _timing_key(search, machine)
    if key not in runs:
        policy = policy_named(search.policy)
        made = schedule(search.network, machine, policy, search.images, training=search.training)
        runs[key] = _Timed(made, count(made), {})
    run = runs[key]
    found = replace(run.schedule, machine=machine, grid=replace(run.schedule.grid, machine=machine))
    if machine.packing not in run.memory:
        run.memory[machine.packing] = built_bits(found)
    built, total = run.memory[machine.packing]
    cost = cost_of(found, total, built / 8 / found.layout.total, search.costs, run.counts)
    return Point(found.cycles, run.counts.flops, total, total_energy(cost, Scope.CHIP), total_area(cost))


def _timing_key(search: Search, machine: Machine) -> tuple[Any, ...]:
    """Machines with an equal key have one schedule and one set of counts."""
    flow = dataflow(search.network, search.training)
    mapped = mapped_lines(flow, build_rings(flow, machine), machine)
    ways = tuple((line.way.mapping, line.way.split, line.way.turns, line.cycles.tobytes()) for line in mapped)
    return replace(machine, **_BESIDE), ways
