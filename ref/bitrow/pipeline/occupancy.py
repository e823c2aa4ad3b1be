"""What lies in the buffers over time: lives of rows, peaks, curves. Standard library and numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bitrow.pipeline.rings import Ring
from bitrow.pipeline.schedule import Schedule, task_ids


class Lives(NamedTuple):
    """Cycles from which and to which each ring row has its slot, int64[images * rows] (end exclusive)."""

    born: np.ndarray
    dies: np.ndarray


def row_lives(found: Schedule, ring: Ring) -> Lives:
    """A row lives from its writer's start to its last reader's end (its writer's end where nothing reads it)."""
    total = np.arange(found.images * ring.rows)
    image, row = np.divmod(total, ring.rows)
    first = found.task_of[task_ids(found.grid, ring.writer, image, row * ring.per)]
    born, dies = found.start[first], rows_written(found, ring)
    for line in np.unique(ring.last_line[ring.last_line >= 0]):
        here = ring.last_line[row] == line
        last = task_ids(found.grid, int(line), image[here], ring.last_row[row[here]])
        dies[here] = found.end[found.task_of[last]]
    return Lives(born, dies)


def rows_written(found: Schedule, ring: Ring) -> np.ndarray:
    """Cycles at which each ring row is whole, int64[images * rows]: the end of the last task that writes it."""
    return found.end[last_writers(found, ring.writer, ring.rows, ring.per)]


def last_writers(found: Schedule, line: int, rows: int, per: int) -> np.ndarray:
    """The task that ends each row, int64[images * rows]: `per` tasks of the line write a row, `rows` an image."""
    image, row = np.divmod(np.arange(found.images * rows), rows)
    return found.task_of[task_ids(found.grid, line, image, row * per + per - 1)]


class OccupancyCurve(NamedTuple):
    """A count over time: `value[k]` from `time[k]` until `time[k + 1]`."""

    time: np.ndarray
    value: np.ndarray


def curve(born: np.ndarray, dies: np.ndarray, weight: np.ndarray | int = 1) -> OccupancyCurve:
    """How much lives at each time; what dies in a cycle makes room for what is born in it."""
    weight = np.broadcast_to(np.asarray(weight), born.shape)
    time = np.concatenate([dies, born])
    change = np.concatenate([-weight, weight])
    order = np.argsort(time, kind="stable")
    time, value = time[order], np.cumsum(change[order])
    last = np.append(time[1:] != time[:-1], True) if len(time) else np.zeros(0, bool)
    return OccupancyCurve(time[last], value[last])


def peak(born: np.ndarray, dies: np.ndarray, weight: np.ndarray | int = 1) -> int:
    """The most that lives at any one time."""
    return int(curve(born, dies, weight).value.max(initial=0))


def peak_rows(found: Schedule, ring: Ring) -> int:
    """The most rows that a ring held."""
    return peak(*row_lives(found, ring))
