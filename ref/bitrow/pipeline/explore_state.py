"""The file of a search: the figures of all machines that are done, written whole after each batch and read strictly.

It is found again by what was asked and by the versions of all that answers, so another question has another file.
Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from bitrow.errors import BitrowError
from bitrow.files import write_text
from bitrow.pipeline.cost_tables import Range
from bitrow.pipeline.explore import Batch, Point, Search, machines
from bitrow.reading import SEARCH
from bitrow.reading.sealed import checksum, need
from bitrow.reading.values import read_json
from bitrow.versions import versions

SCHEMA = "bitrow-explore-1"
_LARGEST = 1 << 80
SearchDone = dict[int, list[Point | str]]


def digest(search: Search) -> str:
    """SHA-256 of what is asked and of who answers."""
    costs = [sorted(table.items()) for table in (search.costs.energy, search.costs.area)]
    first = astuple(next(machines(search)))  # what the axes set in `base` is asked of no machine
    asked = (search.network, search.axes, first, search.policy, search.images, search.trained, costs)
    return hashlib.sha256(repr((asked, sorted(versions().items()))).encode()).hexdigest()


def place(folder: Path, search: Search) -> Path:
    """Where a search has its file."""
    return folder / f"explore-{digest(search)[:16]}.json"


def save(path: Path, search: Search, done: SearchDone) -> None:
    """Write the file whole, or leave the one that is there.

    Raises:
        BitrowError: it cannot be written.
    """
    value: dict[str, Any] = {"schema": SCHEMA, "search": digest(search)}
    value["done"] = {str(number): [_written(point) for point in points] for number, points in done.items()}
    write_text(path, json.dumps(value | {"checksum": checksum(value)}, separators=(",", ":")) + "\n", parents=True)


def _written(point: Point | str) -> Any:
    return point if isinstance(point, str) else [*point[:3], *point.energy, *point.area]


def load(path: Path, search: Search, batches: Sequence[Batch]) -> SearchDone:
    """The batches that `save` wrote for this search.

    Raises:
        BitrowError: naming the file and the field: it cannot be read, is of another search, or not as it was written.
    """
    value = read_json(path, kind=SEARCH)
    try:
        need(isinstance(value, dict), "file", value, "an object")
        need(sorted(value) == ["checksum", "done", "schema", "search"], "fields", sorted(value), "those of a search")
        need(value["schema"] == SCHEMA, "schema", value["schema"], SCHEMA)
        need(value["checksum"] == checksum(value), "checksum", value["checksum"], "that of the other fields")
        need(value["search"] == digest(search), "search", value["search"], "the one that is asked for")
        sizes = {str(batch.number): len(batch.machines) for batch in batches}
        need(isinstance(value["done"], dict), "done", value["done"], "an object")
        return {int(name): _points(name, points, sizes) for name, points in value["done"].items()}
    except BitrowError as error:
        raise BitrowError(f"{path}: {error} ({SEARCH.expected}; --fresh starts over)") from None


def _points(name: str, points: Any, sizes: Mapping[str, int]) -> list[Point | str]:
    need(name in sizes, "done", name, "batches of the search")
    need(isinstance(points, list) and len(points) == sizes[name], f"batch {name}", points, f"{sizes[name]} machines")
    return [_point(f"batch {name}", point) for point in points]


def _point(where: str, value: Any) -> Point | str:
    if isinstance(value, str):
        return value
    need(isinstance(value, list) and len(value) == 7, where, value, "the seven figures of a machine")
    for figure, kinds in zip(value, [(int,)] * 3 + [(int, float)] * 4, strict=True):
        need(type(figure) in kinds and 0 < figure < _LARGEST, where, figure, "a positive number")
    cycles, flops, memory, *ends = value
    return Point(cycles, flops, memory, Range(*map(float, ends[:2])), Range(*map(float, ends[2:])))
