"""What a search found: figures of each machine, the Pareto front, machines that stand out.

Standard library and numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.pipeline.cost_tables import Range
from bitrow.pipeline.explore import Point, Search, machines
from bitrow.pipeline.machine import Machine


class Candidate(NamedTuple):
    """A machine with its figures; `images` ran."""

    machine: Machine
    point: Point
    images: int

    @property
    def seconds(self) -> float:
        """Of an image."""
        return self.point.cycles / self.images / (self.machine.clock_mhz * 1e6)

    @property
    def frames_per_second(self) -> float:
        return self.machine.clock_mhz * 1e6 / (self.point.cycles / self.images)

    @property
    def microjoules(self) -> Range:
        """Of an image."""
        return self.point.energy.times(1e-6 / self.images)

    @property
    def mm2(self) -> Range:
        return self.point.area.times(1e-6)

    @property
    def gflops_per_mm2(self) -> Range:
        rate = self.point.flops / self.images / self.seconds * 1e-9
        return Range(rate / self.mm2.high, rate / self.mm2.low)

    @property
    def tflops_per_watt(self) -> Range:
        return Range(self.point.flops / self.point.energy.high, self.point.flops / self.point.energy.low)

    @property
    def goals(self) -> tuple[float, float, float, float]:
        """What is to be small: time, energy and area (the middle of each range), memory."""
        return self.seconds, middle(self.microjoules), middle(self.mm2), self.point.memory

    @property
    def product(self) -> float:
        """Time x energy x area of an image."""
        return math.prod(self.goals[:3])


def middle(bounds: Range) -> float:
    return (bounds.low + bounds.high) / 2


def front(found: Sequence[Candidate]) -> list[Candidate]:
    """The candidates to which none is equal or better in every goal, the fastest first; of equals the first."""
    goals = np.array([one.goals for one in found]).reshape(len(found), 4)
    kept: list[int] = []
    best = np.zeros((0, 4))
    for place in np.lexsort((*goals.T[:0:-1], goals[:, 0])).tolist():
        if not (best <= goals[place]).all(axis=1).any():
            kept.append(place)
            best = goals[kept]
    return [found[place] for place in kept]


def choices(
    found: Sequence[Candidate], fps: float | None = None, given: Candidate | None = None
) -> dict[str, Candidate]:
    """Machines that stand out, by why; ranges by their middle.

    `given`: also the fastest that is in no goal worse than that one.

    Raises:
        BitrowError: no machine makes `fps` frames a second.
    """
    chosen: dict[str, Candidate] = {}
    if fps is not None:
        enough = [one for one in found if one.frames_per_second >= fps]
        if not enough:
            most = max((one.frames_per_second for one in found), default=0)
            raise BitrowError(f"--fps: found {fps:g}, expected at most {most:,.1f}, what the fastest machine makes")
        chosen[f"smallest for {fps:g} frames/s"] = min(enough, key=lambda one: (one.goals[2], one.goals))
    if given is not None:
        as_good = [one for one in found if all(a <= b for a, b in zip(one.goals, given.goals, strict=True))]
        chosen[f"fastest, in nothing worse than {given.machine.name}"] = min(as_good, key=lambda one: one.goals)
    chosen["balanced: least time x energy x area"] = min(found, key=lambda one: (one.product, one.goals))
    chosen["densest, GFLOPS/mm2"] = min(found, key=lambda one: (-middle(one.gflops_per_mm2), one.goals))
    chosen["fastest"] = min(found, key=lambda one: one.goals)
    chosen["smallest"] = min(found, key=lambda one: (one.goals[2], one.goals))
    chosen["least energy"] = min(found, key=lambda one: (one.goals[1], one.goals))
    return chosen


def candidates(search: Search, points: Mapping[int, Point | str]) -> tuple[list[Candidate], dict[str, int]]:
    """Those that run, in order, and why the others do not, with how many of each reason."""
    runs, refused = [], dict[str, int]()
    for place, machine in enumerate(machines(search)):
        point = points[place]
        if isinstance(point, str):
            refused[point] = refused.get(point, 0) + 1
        else:
            runs.append(Candidate(machine, point, search.images))
    return runs, refused
