"""Plans as JSON, for the cocotb bench: files and places in them, no bitrow needed to read it."""

from __future__ import annotations

import json
from pathlib import Path

from cover import BESIDE, Part, Plan


def _file(folder: Path, part: Part) -> str:
    return str(folder / part.case / f"{part.tensor}.hex")


def write(target: Path, plans: list[Plan], folder: Path, dumps: Path) -> None:
    """What the bench gives each design and expects of it, and where its dumps go."""
    records = [
        {
            "case": plan.case,
            "row": plan.row,
            "loads": [[kind, _file(folder, part)] for kind, part in plan.loads],
            "operands": [_file(folder, part) for part in plan.operands],
            "taps": [
                {"tensor": f"{tap.part.case} {tap.part.tensor}", "beside": tap.side == BESIDE, "slot": tap.slot,
                 "bits": tap.part.bits, "golden": _file(folder, tap.part),
                 "dump": _file(dumps, tap.part) if tap.dumped else ""}
                for tap in plan.taps
            ],
        }
        for plan in plans
    ]  # fmt: skip
    target.write_text(json.dumps(records))
