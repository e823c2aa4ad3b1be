"""Builds and runs the sample design and its benches on vector sets, and verifies what they dump: see docs/benches.md."""

from __future__ import annotations

import functools
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click

import simulators
import top
from bitrow import leave
from bitrow.errors import BitrowError
from bitrow.leave import BAD_INPUT, DIFFERS
from bitrow.terminal import put, say
from bitrow.vectors.diagnose import dut
from bitrow.vectors.diagnose.report import DutReport
from cover import Cover, cover
from simulators import Simulator, Sources

HERE = Path(__file__).parent
GOLDEN = HERE.parent
BENCHES = ("sv", "cocotb")
_SWITCH = re.compile(r"`SWITCH\((\w+)\)\s*// (\w+): (.*)")
_CASE = re.compile(r"case (\w+): (\d+) words, (\d+) wrong(, not all there)?")
_SHOWN = 3


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
    import cocotb_plan

    packages = tuple(folder / name / f"{name}_pkg.sv" for name in covered.cases)
    built_in = options.bug if options.simulator.kind == "icarus" else ""
    sources = Sources("cocotb_top", top.cocotb_top(covered.plans), packages, built_in)
    built = simulators.build(options.simulator, sources, options.out / "build")
    with tempfile.TemporaryDirectory(prefix="bitrow-cocotb-") as room:  # what the runner leaves
        plan, told = Path(room) / "plan.json", Path(room) / "told.txt"
        cocotb_plan.write(plan, covered.plans, folder, dumps)
        extra = {"BENCH_PLAN": str(plan), "BENCH_TOLD": str(told), "BENCH_SEED": str(options.seed),
                 "BENCH_STALLS": str(options.stalls)}  # fmt: skip
        log = Path(room) / "log.txt"
        simulators.run_cocotb(options.simulator, built, _plusargs(folder, options, dumps), extra, log)
        if log.exists():
            shutil.copy(log, dumps.parent / "cocotb.log")
        lines = told.read_text().splitlines() if told.exists() else []
    return _outcome(lines, covered, dumps)


def _plusargs(folder: Path, options: Options, dumps: Path) -> list[str]:
    bug = [f"+BUG_{options.bug}"] if options.bug else []
    return [f"+SET={folder}", f"+OUT={dumps}", f"+SEED={options.seed}", f"+STALLS={options.stalls}", *bug]


def _outcome(lines: Sequence[str], covered: Cover, dumps: Path) -> Outcome:
    cases = {m[1]: (int(m[2]), int(m[3]), m[4] is None) for m in map(_CASE.fullmatch, lines) if m}
    missing = [plan.case for plan in covered.plans if plan.case not in cases]
    if missing:
        raise BitrowError(f"bench: found no word of {missing[0]}, expected a line for each case")
    told = tuple(line for line in lines if ": word " in line or line.endswith(" words") and "expected" in line)
    return Outcome(told, cases, dumps)


_RUNNERS = {"sv": run_sv, "cocotb": run_cocotb}


def run(folder: Path, covered: Cover, bench: str, options: Options) -> Outcome:
    """A bench on a set; its dumps are at OUT/SET/BENCH when it has ended.

    Raises:
        BitrowError: the bench cannot be built or run.
    """
    target = options.out / folder.resolve().name / bench
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    clean = functools.partial(shutil.rmtree, aside, ignore_errors=True)
    with leave.undoing(clean):
        try:
            for name in covered.cases:
                (aside / name).mkdir()
            found = _RUNNERS[bench](folder, covered, options, aside)
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
        finally:
            clean()
    return Outcome(found.told, found.cases, target)


def said(folder: Path, covered: Cover) -> list[str]:
    """What of a set is run, and what not, by name and count."""
    rest = sum(map(len, covered.uncovered.values()))
    lines = [f"{folder}: {len(covered.cases)} of {len(covered.cases) + rest} cases are run"]
    lines += [f"  not covered, {why}: {', '.join(names)}" for why, names in covered.uncovered.items()]
    if covered.untapped:
        lines.append(f"  not dumped: {', '.join(covered.untapped)}")
    return lines


def verdict(folder: Path, bench: str, found: Outcome, compared: DutReport) -> list[str]:
    """What a bench found, and what `bitrow verify --dut` says of its dumps."""
    lines = [f"{folder} {bench}: {len(found.cases)} designs, {found.words:,} words compared, "
             f"{len(found.failing)} designs fail"]  # fmt: skip
    lines += [f"  {line}" for line in found.told[:_SHOWN]]
    if len(found.told) > _SHOWN:
        lines.append(f"  and {len(found.told) - _SHOWN} more tensors")
    lines.append(f"{found.dumps}: bitrow verify {folder} --dut: {len(compared.cases)} cases, {len(compared.differing)} differ")
    return lines


def diagnosed(compared: DutReport) -> list[str]:
    """The diagnosis of each case that differs."""
    return [f"  {case.case} {case.root}: {case.diagnosis}" for case in compared.cases if case.diagnosis is not None]


def compare(folder: Path, found: Outcome) -> DutReport:
    """The dumps against the set, as `bitrow verify --dut` does."""
    return dut.compare(folder, found.dumps)


@click.command()
@click.argument("sets", nargs=-1, type=click.Path(path_type=Path), metavar="[SET]...")
@click.option("--bench", type=click.Choice([*BENCHES, "both"]), default="both", show_default=True, help="Which bench.")
@click.option("--simulator", metavar="NAME", help="verilator or icarus; otherwise the first that is found.")
@click.option("--case", "cases", multiple=True, metavar="NAME", help="Only this case; repeatable.")
@click.option("--bug", default="", metavar="NAME", help="Switch a deliberate fault of the design on.")
@click.option("--bugs", "listed", is_flag=True, help="List the deliberate faults and end.")
@click.option("--seed", type=click.IntRange(0, 1_000_000), default=1, show_default=True, help="Of the pauses.")
@click.option("--stalls", type=click.IntRange(0, 90), default=30, show_default=True, help="How often, in percent.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/bench"), show_default=True,
              help="Builds and dumps.")  # fmt: skip
def main(sets: tuple[Path, ...], bench: str, cases: tuple[str, ...], listed: bool, **given: object) -> None:
    """Run the sample design on vector SETs, by default on those in golden/, and verify what it dumps.

    Exit status: 0 all words agree, 1 words differ, 2 bad input.
    """
    if listed:
        put(f"{bug.name:24} {bug.clause:4} {bug.does}" for bug in bugs().values())
        return
    options, benches = _options(bench, **given), BENCHES if bench == "both" else (bench,)  # type: ignore[arg-type]
    plans = {folder: cover(folder, cases) for folder in sets or sorted(GOLDEN.glob("v*"))}
    known = {name for found in plans.values() for name in [*found.cases, *sum(found.uncovered.values(), [])]}
    for name in cases:
        if name not in known:
            raise BitrowError(f"--case: found {name!r}, expected a case of {', '.join(map(str, plans))}")
    failed = [_all_of(folder, found, benches, options) for folder, found in plans.items()]
    if any(failed):
        raise click.exceptions.Exit(DIFFERS)


def _options(bench: str, simulator: str | None, out: Path, bug: str, seed: int, stalls: int) -> Options:
    known = bugs()
    if bug and bug not in known:
        raise BitrowError(f"--bug: found {bug!r}, expected one of those that --bugs lists")
    found = simulators.find(simulator)
    if bench != "sv":
        simulators.need_cocotb()
    return Options(found, out.absolute(), bug, seed, stalls)


def _all_of(folder: Path, covered: Cover, benches: Sequence[str], options: Options) -> bool:
    """Whether any bench fails on the set, or its dumps differ."""
    put(said(folder, covered))
    failed = False
    for bench in benches if covered.plans else ():
        found = run(folder.absolute(), covered, bench, options)
        compared = compare(folder, found)
        put(verdict(folder, bench, found, compared))
        put(diagnosed(compared))
        if bool(found.failing) != bool(compared.differing):
            raise BitrowError(f"{folder}: found that bench and verify disagree, expected one verdict")
        failed = failed or bool(found.failing)
    return failed


def _guarded() -> int:
    try:
        return main(standalone_mode=False) or 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        say(f"{error.format_message()} (see run.py --help)")
    except BitrowError as error:
        say(str(error))
    except OSError as error:
        say(f"{error.filename or 'run.py'}: {error.strerror or error}")
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return leave.INTERRUPTED
    return BAD_INPUT


if __name__ == "__main__":
    leave.install()
    sys.exit(_guarded())
