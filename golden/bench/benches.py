"""The benches of the sample design on a set: built, run, their dumps in a folder, compared."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cocotb_plan
import simulators
import top
from bitrow import tools
from bitrow.errors import BitrowError
from bitrow.vectors.diagnose import dut
from bitrow.vectors.diagnose.report import DutReport
from cover import Cover
from simulators import Simulator, Sources

HERE = Path(__file__).parent
BENCHES = ("sv", "cocotb")
_SWITCH = re.compile(r"`SWITCH\((\w+)\)\s*// (\w+): (.*)")
_CASE = re.compile(r"case (\w+): (\d+) words, (\d+) wrong(, not all there)?")


class Bug(NamedTuple):
    """A switch of bugs.sv."""

    name: str
    clause: str
    does: str


@dataclass(frozen=True)
class Options:
    """How benches are built and run."""

    simulator: Simulator
    out: Path
    bug: str = ""
    seed: int = 1
    stalls: int = 30
    rests: int = 0


def bugs() -> dict[str, Bug]:
    """The deliberate faults by name."""
    found = (Bug(*match) for match in _SWITCH.findall((HERE / "rtl" / "bugs.sv").read_text()))
    return {bug.name: bug for bug in found}


@dataclass(frozen=True)
class Outcome:
    """What a bench says of its cases: words compared, words wrong, whether all came; and where its dumps lie."""

    told: tuple[str, ...]
    cases: dict[str, tuple[int, int, bool]]
    dumps: Path

    @property
    def failing(self) -> list[str]:
        """The cases of the designs that are not right."""
        return [name for name, (_, wrong, whole) in self.cases.items() if wrong or not whole]

    @property
    def words(self) -> int:
        """How many words were compared."""
        return sum(count for count, _, _ in self.cases.values())


def run_sv(folder: Path, covered: Cover, options: Options, dumps: Path) -> Outcome:
    """The SystemVerilog bench on a set; its dumps go below `dumps`."""
    packages = tuple(folder / name / f"{name}_pkg.sv" for name in covered.cases)
    built_in = options.bug if options.simulator.kind == "icarus" else ""
    sources = Sources("bench", top.system_verilog(covered.plans), packages, built_in)
    built = simulators.build(options.simulator, sources, options.out / "build")
    text = simulators.run_bench(options.simulator, built, _plusargs(folder, options, dumps))
    return _outcome(text.splitlines(), covered, dumps)


def run_cocotb(folder: Path, covered: Cover, options: Options, dumps: Path) -> Outcome:
    """The cocotb bench on a set; its dumps go below `dumps`."""
    packages = tuple(folder / name / f"{name}_pkg.sv" for name in covered.cases)
    built_in = options.bug if options.simulator.kind == "icarus" else ""
    sources = Sources("cocotb_top", top.cocotb_top(covered.plans), packages, built_in)
    built = simulators.build(options.simulator, sources, options.out / "build")
    with tempfile.TemporaryDirectory(prefix="bitrow-cocotb-") as room:  # what the runner leaves
        plan, told = Path(room) / "plan.json", Path(room) / "told.txt"
        cocotb_plan.write(plan, covered.plans, folder, dumps)
        extra = {"BENCH_PLAN": str(plan), "BENCH_TOLD": str(told), "BENCH_SEED": str(options.seed),
                 "BENCH_STALLS": str(options.stalls), "BENCH_RESTS": str(options.rests)}  # fmt: skip
        log = Path(room) / "log.txt"
        simulators.run_cocotb(options.simulator, built, _plusargs(folder, options, dumps), extra, log)
        if log.exists():
            shutil.copy(log, dumps.parent / "cocotb.log")
        lines = told.read_text().splitlines() if told.exists() else []
    return _outcome(lines, covered, dumps)


def _plusargs(folder: Path, options: Options, dumps: Path) -> list[str]:
    bug = [f"+BUG_{options.bug}"] if options.bug else []
    pauses = [f"+SEED={options.seed}", f"+STALLS={options.stalls}", f"+RESTS={options.rests}"]
    return [f"+SET={folder}", f"+OUT={dumps}", *pauses, *bug]


def _outcome(lines: Sequence[str], covered: Cover, dumps: Path) -> Outcome:
    cases = {m[1]: (int(m[2]), int(m[3]), m[4] is None) for m in map(_CASE.fullmatch, lines) if m}
    missing = [plan.case for plan in covered.plans if plan.case not in cases]
    if missing:
        raise BitrowError(f"bench: found no word of {missing[0]}, expected a line for each case")
    told = tuple(line for line in lines if ": word " in line or (line.endswith(" words") and "expected" in line))
    return Outcome(told, cases, dumps)


_RUNNERS = {"sv": run_sv, "cocotb": run_cocotb}


def run(folder: Path, covered: Cover, bench: str, options: Options) -> Outcome:
    """A bench on a set; its dumps are at OUT/SET/BENCH when it has ended.

    Raises:
        BitrowError: the bench cannot be built or run.
    """
    target = options.out / folder.resolve().name / bench
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tools.scratch(".partial-", target.parent) as aside:
            for name in covered.cases:
                (aside / name).mkdir()
            found = _RUNNERS[bench](folder, covered, options, aside)
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
    finally:
        simulators.remove_empty(target.parent)
    return Outcome(found.told, found.cases, target)


def compare(folder: Path, found: Outcome) -> DutReport:
    """The dumps against the set, as `bitrow verify --dut` does."""
    return dut.compare(folder, found.dumps)
