"""Which task writes each row of each stream, and when. Standard library and numpy."""

from __future__ import annotations

from typing import NamedTuple

from bitrow.pipeline.buffers import Held
from bitrow.pipeline.occupancy import last_writers
from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.stages import Phase
from bitrow.vectors.trace.streams import streams


class RowWriter(NamedTuple):
    """The last task that writes a row, -1 where it is the host: its stage and kind, the cycles from which and to which
    it runs.
    """

    task: int
    stage: str
    kind: str
    start: int
    written: int

    def __str__(self) -> str:
        if self.task < 0:
            return "given by the host"
        return f"written by task {self.task}, {self.kind} of {self.stage}, in cycles {self.start} to {self.written}"


HOST = RowWriter(-1, "", "", 0, 0)


def row_writers(found: Schedule) -> dict[str, list[RowWriter]]:
    """By stream, the writer of each row, by image and row."""
    held = {ring.name: ring.held for ring in found.rings}
    held |= {end.key: end for ends in found.flow.buffers.ends.values() for end in ends}
    return {
        stream.name: _writers(found, held[stream.name], stream.rows)
        if stream.name in held
        else [HOST] * (stream.images * stream.rows)
        for stream in streams(found)
    }


def _writers(found: Schedule, held: Held, rows: int) -> list[RowWriter]:
    stage, phase = held.writer
    tasks = last_writers(found, found.flow.line(stage, phase), rows, held.buffer.per)
    name, kind = found.flow.stages[stage].name, Phase(phase).label
    columns = (tasks.tolist(), found.start[tasks].tolist(), found.end[tasks].tolist())
    return [RowWriter(task, name, kind, start, end) for task, start, end in zip(*columns, strict=True)]
