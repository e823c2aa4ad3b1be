"""What a search keeps: the figures of all machines of each batch, read strictly.

Its file is found again by what was asked and by the versions of all that answers, so another question has another file.
Standard library only.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple
from pathlib import Path
from typing import Any

from bitrow.executors.kept import Form, Kept
from bitrow.pipeline.cost_tables import Range
from bitrow.pipeline.explore import Batch, Point, Search, machines
from bitrow.reading.sealed import need
from bitrow.versions import versions

_LARGEST = 1 << 80


def digest(search: Search) -> str:
    """SHA-256 of what is asked and of who answers."""
    costs = [sorted(table.items()) for table in (search.costs.energy, search.costs.area)]
    first = astuple(next(machines(search)))  # what the axes set in `base` is asked of no machine
    asked = (search.network, search.axes, first, search.policy, search.images, search.trained, costs)
    return hashlib.sha256(repr((asked, sorted(versions().items()))).encode()).hexdigest()


def place(folder: Path, search: Search) -> Path:
    """Where a search has its file."""
    return folder / f"explore-{digest(search)[:16]}.kept"


def begin(path: Path, search: Search, fresh: bool = False) -> Kept:
    """The batches that were kept for this search; none if `fresh`. Raises: BitrowError as `Kept`."""
    return Kept(path, digest(search), Form(lambda batch: str(batch.number), _written, _read), fresh)


def _written(points: list[Point | str]) -> Any:
    return [point if isinstance(point, str) else [*point[:3], *point.energy, *point.area] for point in points]


def _read(batch: Batch, points: Any) -> list[Point | str]:
    many = len(batch.machines)
    need(isinstance(points, list) and len(points) == many, str(batch), points, f"{many} machines")
    return [_point(str(batch), point) for point in points]


def _point(where: str, value: Any) -> Point | str:
    if isinstance(value, str):
        return value
    need(isinstance(value, list) and len(value) == 7, where, value, "the seven figures of a machine")
    for figure, kinds in zip(value, [(int,)] * 3 + [(int, float)] * 4, strict=True):
        need(type(figure) in kinds and 0 < figure < _LARGEST, where, figure, "a positive number")
    cycles, flops, memory, *ends = value
    return Point(cycles, flops, memory, Range(*map(float, ends[:2])), Range(*map(float, ends[2:])))
