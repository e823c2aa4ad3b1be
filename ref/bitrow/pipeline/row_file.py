"""Every row of a run in a file: where it lies, and from when to when. Standard library and numpy."""

from __future__ import annotations

import csv
from pathlib import Path

from bitrow.pipeline.lifetimes import placed
from bitrow.pipeline.rings import SAVED
from bitrow.pipeline.schedule import Schedule

COLUMNS = ("ring", "kind", "saved", "image", "row", "slot", "bits", "bank", "address", "words", "born", "dies")


def write_rows(found: Schedule, path: str | Path) -> int:
    """Write a line for each row of each banked ring, by ring, image and row; returns how many.

    `saved` is 1 for what is kept for the backward pass. The row has `words` from `address` on of its bank from cycle
    `born`, when its writing starts, to cycle `dies`, before which its last reading has ended. Layer by layer, maps lie
    in one memory, bank 0.
    """
    rows, address, _ = placed(found)
    columns = (rows.ring, rows.number, rows.slot, rows.bits, rows.bank, address, rows.words, rows.born, rows.dies)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for place, number, *rest in zip(*(column.tolist() for column in columns), strict=True):
            ring = found.rings[place]
            kept = int(ring.kind in SAVED)
            writer.writerow((ring.name, ring.kind.value, kept, *divmod(number, ring.rows), *rest))
    return len(address)
