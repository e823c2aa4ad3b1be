"""Every row of a run in a file: where it lies, and from when to when; and of the baselines. Standard library, numpy."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bitrow.pipeline.lifetimes import Packed, placed
from bitrow.pipeline.memory_size import FULL_MAPS, LAYERS, by_layers, full_maps
from bitrow.pipeline.rings import SAVED
from bitrow.pipeline.schedule import Schedule

COLUMNS = (
    "ring", "kind", "saved", "image", "row", "slot", "bits", "bank", "address", "words", "born", "dies", "written"
)  # fmt: skip


def row_lines(found: Schedule, places: Packed) -> Iterator[tuple[Any, ...]]:
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


BASELINE_COLUMNS = ("baseline", "name", "kind", "saved", "image", "row", "bits", "address", "size", "born", "dies")


def write_baselines(found: Schedule, path: str | Path) -> int:
    """Write what other ways of buffering hold on the run's machine, `memory_size.BASELINES`; returns how many lines.

    Layer by layer a line is a row, of full maps, which a forward pass alone has not, a map, without a row. It needs
    `bits` from cycle `born` to `dies`, and has the `size` bits from `address` on, of one memory.
    """
    run = by_layers(found)
    width = found.machine.bank_width
    lines: list[Sequence[object]] = []
    for name, kind, kept, image, row, _, bits, _, address, words, born, dies, _ in row_lines(run, placed(run)):
        lines.append((LAYERS, name, kind, kept, image, row, bits, address * width, words * width, born, dies))
    for one in full_maps(run) if run.flow.training else ():
        place = (one.bits, one.address, one.bits, one.born, one.dies)
        lines.append((FULL_MAPS, one.name, one.kind, int(one.saved), one.image, "", *place))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(BASELINE_COLUMNS)
        writer.writerows(lines)
    return len(lines)
