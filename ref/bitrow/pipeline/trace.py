"""A run as a trace that Perfetto and chrome://tracing open: lanes of units and banks, occupancy of every ring.

Events are written one after another, so a trace of any length takes little memory. Times are microseconds at the
machine's clock, each a whole number of nanoseconds. Standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bitrow.pipeline.occupancy import curve, row_lives
from bitrow.pipeline.ports import port_accesses
from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.stages import Phase

_UNITS, _BANKS, _RINGS = 1, 2, 3  # process numbers: Perfetto groups lanes by process
_FIRST_THREAD = {_UNITS: 1_000, _BANKS: 100_000}  # Perfetto looks names of threads up by number alone


def write_trace(found: Schedule, path: str | Path) -> int:
    """Write the whole run as Chrome trace events in JSON; returns how many."""
    with open(path, "w", encoding="utf-8") as file:
        return _write(events(found), file)


def _write(stream: Iterator[dict[str, object]], file: IO[str]) -> int:
    file.write('{"displayTimeUnit": "ns", "traceEvents": [\n')
    count = 0
    for event in stream:
        file.write((",\n" if count else "") + json.dumps(event, separators=(",", ":")))
        count += 1
    file.write("\n]}\n")
    return count


def events(found: Schedule) -> Iterator[dict[str, object]]:
    """All events: names of lanes, tasks on units, accesses on bank ports, rows in rings."""
    yield from _names(found)
    yield from _tasks(found)
    yield from _accesses(found)
    yield from _rings(found)


def _names(found: Schedule) -> Iterator[dict[str, object]]:
    for process, name in ((_UNITS, "units"), (_BANKS, "bank ports"), (_RINGS, "rows in rings")):
        yield {"ph": "M", "name": "process_name", "pid": process, "args": {"name": name}}
    for unit, name in enumerate(found.units):
        yield _thread(_UNITS, unit, name)
    for bank in range(found.layout.total):
        for port in range(found.machine.ports):
            name = f"bank {bank}" + (f" port {port}" if found.machine.ports > 1 else "")
            yield _thread(_BANKS, bank * found.machine.ports + port, name)


def _thread(process: int, thread: int, name: str) -> dict[str, object]:
    tid = _FIRST_THREAD[process] + thread
    return {"ph": "M", "name": "thread_name", "pid": process, "tid": tid, "args": {"name": name}}


def _nanoseconds(found: Schedule, cycle: int) -> int:
    return round(cycle * 1000 / found.machine.clock_mhz)


def _microseconds(nanoseconds: int) -> float:
    """The least number that viewers turn back into these nanoseconds: they multiply by 1000 and cut off the rest."""
    found = nanoseconds / 1000
    while int(found * 1000) < nanoseconds:
        found = math.nextafter(found, math.inf)
    return found


def _lane(found: Schedule, process: int, thread: int, start: int, end: int) -> dict[str, object]:
    """Where and when a task or access is drawn; lanes do not overlap by a nanosecond, or Perfetto drops events."""
    since, until = _nanoseconds(found, start), _nanoseconds(found, end)
    return {
        "pid": process,
        "tid": _FIRST_THREAD[process] + thread,
        "ts": _microseconds(since),
        "dur": _microseconds(until - since),
    }


def _tasks(found: Schedule) -> Iterator[dict[str, object]]:
    names = [stage.name for stage in found.flow.stages]
    columns = (found.unit, found.stage, found.phase, found.image, found.row, found.start, found.end)
    for unit, stage, phase, image, row, start, end in zip(*(c.tolist() for c in columns), strict=True):
        kind = Phase(phase).label
        yield {
            "ph": "X",
            "name": f"{names[stage]} {row}",
            "cat": kind,
            **_lane(found, _UNITS, unit, start, end),
            "args": {"task": kind, "image": image, "row": row, "cycle": start, "cycles": end - start},
        }


def _accesses(found: Schedule) -> Iterator[dict[str, object]]:
    ports = found.machine.ports
    for one in port_accesses(found):
        yield {
            "ph": "X",
            "name": f"{'write' if one.write else 'read'} {one.ring.name}",
            "cat": one.ring.kind.value,
            **_lane(found, _BANKS, one.bank * ports + one.port, one.start, one.end),
        }


def _rings(found: Schedule) -> Iterator[dict[str, object]]:
    for ring in found.rings:
        line = curve(*row_lives(found, ring))
        for time, value in zip(line.time.tolist(), line.value.tolist(), strict=True):
            yield {
                "ph": "C",
                "name": f"{ring.name} ({ring.kind.value})",
                "pid": _RINGS,
                "ts": _microseconds(_nanoseconds(found, time)),
                "args": {"rows": value},
            }
