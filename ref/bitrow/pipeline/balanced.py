"""How the default machine was found: of all in `AXES` the one with the least product of time, energy and area over four
networks.

Ports, rings and packing are the default's: a second port's larger cells are in no cost table, and K+S slots are the
paper's. Mappings are those whose rows lie as traces have them. `python -m bitrow.pipeline.balanced` prints the tables
of docs/pipeline.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bitrow import zoo
from bitrow.executors.team import Where
from bitrow.markdown import table
from bitrow.pipeline import explore_state
from bitrow.pipeline.ablate import NETWORKS
from bitrow.pipeline.explore import FP_LANES, Batch, Search, SweepAxes, evaluate
from bitrow.pipeline.explore_command import solve
from bitrow.pipeline.explore_front import Candidate, candidates
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, as_table, machine_from
from bitrow.pipeline.reach import every_layer
from bitrow.terminal import put

MAPPINGS = ("row", "split")
AXES: SweepAxes = (
    ("fxp_lanes", (2048, 4096, 8192, 16384)),
    ("dequantizer_lanes", (16, 32, 64, 128)),
    (FP_LANES, (32, 64, 128, 256)),
    ("banks", (16, 32, 64, 128)),
    ("mapping", MAPPINGS),
)
STATE = Path("out/explore")


class Ranked(NamedTuple):
    """A machine with its runs, by network, and the geometric mean over them of seconds x uJ x mm2 of an image."""

    product: float
    machine: Machine
    runs: dict[str, Candidate]


def search_of(name: str, axes: SweepAxes = AXES) -> Search:
    """The question of one network: two images, forward and backward to the first layer."""
    network = zoo.build(name)
    return Search(network, axes, training=every_layer(network))


def ranked(found: Mapping[str, Sequence[Candidate]]) -> list[Ranked]:
    """Machines that run every network, the least product first."""
    runs: dict[Machine, dict[str, Candidate]] = {}
    for name, ones in found.items():
        for one in ones:
            runs.setdefault(one.machine, {})[name] = one
    every = [
        Ranked(math.prod(one.product for one in by.values()) ** (1 / len(by)), machine, by)
        for machine, by in runs.items()
        if len(by) == len(found)
    ]
    return sorted(every, key=lambda one: one.product)


def searched(state: Path = STATE, where: Where = Where()) -> list[Ranked]:
    """Every machine of `AXES` on the four networks; what is done is kept in the folder `state`."""
    found = {}
    for name in NETWORKS:
        search = search_of(name)
        points = solve(search, explore_state.place(state, search), where, quiet=False)
        found[name], _ = candidates(search, points)
    return ranked(found)


def neighbours(machine: Machine) -> Iterator[Machine]:
    """The machine with lanes of a kind or banks halved and doubled, and with the other mapping."""
    for fields in (("fxp_lanes",), ("dequantizer_lanes",), ("fp_mul_lanes", "fp_add_lanes"), ("banks",)):
        here = {field: getattr(machine, field) for field in fields}
        yield replace(machine, **{field: many // 2 for field, many in here.items()})
        yield replace(machine, **{field: many * 2 for field, many in here.items()})
    yield from (machine_from(as_table(machine) | {"mapping": one}) for one in MAPPINGS if one != machine.mapping.value)


def compared(found: Sequence[Machine], networks: Sequence[str] = NETWORKS) -> list[Ranked]:
    """Those machines alone."""
    runs = {}
    for name in networks:
        search = search_of(name)
        points = evaluate(search, Batch(0, tuple(range(len(found))), tuple(found)))
        runs[name] = [
            Candidate(machine, point, search.images)
            for machine, point in zip(found, points, strict=True)
            if not isinstance(point, str)
        ]
    return ranked(runs)


def markdown(found: Sequence[Ranked], shown: int = 10) -> str:
    """The first machines as a Markdown table: products over the default's, together and for each network by itself."""
    base = next(one for one in found if one.machine == DEFAULT_MACHINE)
    names = list(base.runs)

    def cells(one: Ranked) -> tuple[str, ...]:
        machine = one.machine
        lanes = machine.fxp_lanes, machine.dequantizer_lanes, machine.fp_mul_lanes, machine.banks
        each = (f"{one.runs[name].product / base.runs[name].product:.3f}" for name in names)
        return *(f"{many:,}" for many in lanes), machine.mapping.value, f"{one.product / base.product:.3f}", *each

    header = ("FXP", "deq", "FP", "banks", "mapping", "product", *names)
    return "\n".join(table(header, map(cells, found[:shown]))) + "\n"


if __name__ == "__main__":
    put([*markdown(searched()).splitlines(), ""])
    around = compared([DEFAULT_MACHINE, *neighbours(DEFAULT_MACHINE)])
    put(markdown(around, len(around)).splitlines())
