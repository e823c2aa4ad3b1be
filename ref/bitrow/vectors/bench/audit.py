"""Is a bench awake? It is handed sets with one fault each, and must fail on every one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitrow import tools
from bitrow.errors import BitrowError
from bitrow.faults.mutant import FaultFamily
from bitrow.vectors.bench import planted
from bitrow.vectors.bench.planted import Planted
from bitrow.vectors.bench.runs import Bench, Ending, WorkingSet

FAMILIES = (*(f.value for f in FaultFamily if f is not FaultFamily.ROWS), planted.OUTPUTS, planted.TAPS)
GIVEN_FAMILIES = (planted.INPUTS, planted.PARAMETERS)
_SHOWN = 3


@dataclass(frozen=True)
class Heard:
    """A fault, the cases that held it, how the bench ended on it, and how long that took."""

    name: str
    does: str
    family: str
    clause: str
    cases: tuple[str, ...]
    outcome: Ending
    seconds: float

    def __str__(self) -> str:
        more = f" and {len(self.cases) - _SHOWN} more" if len(self.cases) > _SHOWN else ""
        verb = "let pass" if self.outcome is Ending.PASSES else "hangs on"
        return f"  {verb} {self.name} ({self.clause}): {self.does}; in {', '.join(self.cases[:_SHOWN])}{more}"

    def to_json(self) -> dict[str, Any]:
        """The fault as a JSON object."""
        caught = {Ending.FAILS: "caught", Ending.PASSES: "let pass", Ending.HANGS: "hangs"}[self.outcome]
        return {"name": self.name, "does": self.does, "family": self.family, "clause": self.clause,
                "cases": list(self.cases), "outcome": caught, "seconds": round(self.seconds, 3)}  # fmt: skip


@dataclass(frozen=True)
class Audit:
    """What a bench made of every fault."""

    heard: tuple[Heard, ...]

    @property
    def asleep(self) -> tuple[Heard, ...]:
        """The faults that the bench did not catch: it passed, or did not end."""
        return tuple(one for one in self.heard if one.outcome is not Ending.FAILS)

    def lines(self) -> Iterator[str]:
        """By family: how many faults were caught, and those that were not."""
        for family in dict.fromkeys(one.family for one in self.heard):
            mine = [one for one in self.heard if one.family == family]
            caught = sum(one.outcome is Ending.FAILS for one in mine)
            yield f"{family}: {caught} of {len(mine)} faults caught"
            yield from (str(one) for one in mine if one.outcome is not Ending.FAILS)

    def to_json(self) -> dict[str, Any]:
        """The audit as a JSON object."""
        return {"faults": len(self.heard), "caught": len(self.heard) - len(self.asleep),
                "heard": [one.to_json() for one in self.heard]}  # fmt: skip


def check_families(families: Collection[str], inputs: bool) -> None:
    """Refuse families that there are none of.

    Raises:
        BitrowError: naming the family.
    """
    known = GIVEN_FAMILIES if inputs else FAMILIES
    for family in families:
        if family not in known:
            raise BitrowError(f"family: found {family!r}, expected one of {', '.join(known)}")


def audit(
    folder: Path,
    bench: Bench,
    cases: Collection[str] = (),
    families: Collection[str] = (),
    inputs: bool = False,
    taps: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> Audit:
    """Hand a bench the set at `folder` with one fault at a time, in `cases` or all, of `families` or all.

    The faults are in the words that the set expects: outputs, and with `taps` taps too; with `inputs` in the words that
    it gives, whose effects it then expects nowhere. The bench must pass the set as it is.

    Raises:
        BitrowError: no set, a case or family that there is none of, a bench that fails or hangs on the set as it is or
            cannot be started, no fault that would change a word.
    """
    check_families(families, inputs)
    chosen = planted.subjects(folder, cases)
    faults = planted.given(chosen, families) if inputs else planted.expected(chosen, taps, families)
    heard = []
    with tools.scratch("bitrow-bench-") as room:
        working = WorkingSet(folder, room)
        sound = bench.run(working.folder)
        if sound is not Ending.PASSES:
            what = "fails" if sound is Ending.FAILS else f"takes more than {bench.seconds:g} s"
            raise BitrowError(f"command {bench.command[0]}: found that it {what} on {folder}, expected a pass first")
        for fault in faults:
            heard.append(_hear(fault, working, bench))
            progress(fault.name)
    if not heard:
        raise BitrowError(f"{folder}: found no word that such a fault changes, expected other cases or families")
    return Audit(tuple(heard))


def _hear(fault: Planted, working: WorkingSet, bench: Bench) -> Heard:
    with working.holding(fault.cases) as folder:
        start = time.monotonic()
        outcome = bench.run(folder)
        seconds = time.monotonic() - start
    names = tuple(case.name for case in fault.cases)
    return Heard(fault.name, fault.does, fault.family, fault.clause, names, outcome, seconds)
