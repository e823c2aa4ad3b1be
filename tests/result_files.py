"""Files of a folder, and those of a transfer but for how long it took."""

from __future__ import annotations

import csv
import io
from pathlib import Path

TIMES = ("timing.json", "timings.csv")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def without_seconds(folder: Path) -> dict[str, bytes]:
    """The same without files of times, and without the column `seconds` of `results.csv`, which must be there."""
    found = {name: data for name, data in contents(folder).items() if Path(name).name not in TIMES}
    if "results.csv" in found:
        found["results.csv"] = _without(found["results.csv"].decode(), "seconds").encode()
    return found


def _without(text: str, column: str) -> str:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    place = rows[0].index(column)
    assert all(float(row[place]) >= 0 for row in rows[1:])
    kept = io.StringIO(newline="")
    csv.writer(kept).writerows([*row[:place], *row[place + 1 :]] for row in rows)
    return kept.getvalue()
