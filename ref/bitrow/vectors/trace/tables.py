"""The tables of a row trace, as CSV: its tasks, their accesses to the banks, where every row lies (SPEC.md V6).

Standard library and numpy.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bitrow.pipeline.lifetimes import Packed
from bitrow.pipeline.ports import port_accesses
from bitrow.pipeline.row_file import COLUMNS, row_lines
from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.stages import Phase
from bitrow.vectors.trace.record import ACCESSES, ROWS, TASKS

TASK_COLUMNS = ("task", "start", "end", "unit", "stage", "kind", "image", "row")
ACCESS_COLUMNS = (
    "task", "access", "ring", "image", "row", "slot", "bank", "port", "address", "words", "start", "end"
)  # fmt: skip
_LINES = 1 << 12  # in a chunk


def table_chunks(found: Schedule, places: Packed) -> dict[str, Iterator[bytes]]:
    """Every table by its file's name, in pieces."""
    return {
        TASKS: _csv(TASK_COLUMNS, _tasks(found)),
        ACCESSES: _csv(ACCESS_COLUMNS, _accesses(found, places)),
        ROWS: _csv(COLUMNS, row_lines(found, places)),
    }


def _csv(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for number, line in enumerate(lines, 1):
        writer.writerow(line)
        if number % _LINES == 0:
            yield text.getvalue().encode("ascii")
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode("ascii")


def _tasks(found: Schedule) -> Iterator[Sequence[object]]:
    names = [stage.name for stage in found.flow.stages]
    columns = (found.start, found.end, found.unit, found.stage, found.phase, found.image, found.row)
    for task, (start, end, unit, stage, phase, *rest) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        yield task, start, end, found.units[unit], names[stage], Phase(phase).label, *rest


def _accesses(found: Schedule, places: Packed) -> Iterator[Sequence[object]]:
    rows = places.rows
    first = np.searchsorted(rows.ring, np.arange(len(found.rings))).tolist()  # rows lie by ring, and then by number
    slot, address, words = rows.slot.tolist(), places.address.tolist(), rows.words.tolist()
    for one in port_accesses(found):
        at = first[one.ring.index] + one.number
        what = "write" if one.write else "read"
        yield (
            one.task, what, one.ring.name, *divmod(one.number, one.ring.rows), slot[at], one.bank, one.port,
            address[at], words[at], one.start, one.end,
        )  # fmt: skip
