"""Every row of a run in a file: where it lies, and from when to when. Standard library and numpy."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from bitrow.pipeline.lifetimes import Packed, placed
from bitrow.pipeline.rings import SAVED
from bitrow.pipeline.schedule import Schedule

COLUMNS = (
    "ring", "kind", "saved", "image", "row", "slot", "bits", "bank", "address", "words", "born", "dies", "written"
)  # fmt: skip


def row_lines(found: Schedule, places: Packed) -> Iterator[Sequence[object]]:
    """A line for each row of each banked ring, by ring, image and row.

    `saved` is 1 for what is kept for the backward pass. The row has `words` from `address` on of its bank from cycle
    `born`, when its writing starts, to cycle `dies`, before which its last reading has ended; it is whole from cycle
    `written` on. Layer by layer, maps lie in one memory, bank 0.
    """
    rows = places.rows
    columns = (
        rows.ring, rows.number, rows.slot, rows.bits, rows.bank, places.address, rows.words, rows.born, rows.dies,
        rows.written,
    )  # fmt: skip
    for place, number, *rest in zip(*(column.tolist() for column in columns), strict=True):
        ring = found.rings[place]
        yield ring.name, ring.kind.value, int(ring.kind in SAVED), *divmod(number, ring.rows), *rest


def write_rows(found: Schedule, path: str | Path) -> int:
    """Write `row_lines` under their names; returns how many."""
    places = placed(found)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row_lines(found, places))
    return len(places.address)
