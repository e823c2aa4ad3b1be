"""Build and run the sample design and its benches on vector sets, and verify what they dump: docs/benches.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

import languages
import matrix
import simulators
from benches import BENCHES, Options, Outcome, bugs, compare, run
from bitrow import leave
from bitrow.errors import BitrowError
from bitrow.leave import BAD_INPUT, DIFFERS
from bitrow.terminal import put, say
from bitrow.vectors.diagnose.report import DutReport
from cover import Cover, cover

GOLDEN = Path(__file__).parents[1]
ALL = "all"
_SHOWN = 3


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
    differing = f"{len(compared.cases)} cases, {len(compared.differing)} differ"
    lines.append(f"bitrow verify {folder} --dut {os.path.relpath(found.dumps)}: {differing}")
    lines += [f"  {one.message}" for one in compared.unread]
    return lines


def diagnosed(compared: DutReport) -> list[str]:
    """The diagnosis of each case that differs."""
    return [f"  {case.case} {case.root}: {case.diagnosis}" for case in compared.cases if case.diagnosis is not None]


@click.command()
@click.argument("sets", nargs=-1, type=click.Path(path_type=Path), metavar="[SET]...")
@click.option("--bench", type=click.Choice([*BENCHES, "both"]), default="both", show_default=True, help="Which bench.")
@click.option("--simulator", metavar="NAME", help="verilator or icarus; otherwise the first that is found.")
@click.option("--case", "cases", multiple=True, metavar="NAME", help="Only this case; repeatable.")
@click.option("--bug", default="", metavar="NAME", help="Switch a fault of the design on; all: each in turn.")
@click.option("--bugs", "listed", is_flag=True, help="List the deliberate faults and end.")
@click.option("--seed", type=click.IntRange(0, 1_000_000), default=1, show_default=True, help="Of the pauses.")
@click.option("--stalls", type=click.IntRange(0, 90), default=30, show_default=True, help="How often, in percent.")
@click.option("--rests", type=click.IntRange(0, 10_000), default=0, show_default=True,
              help="Cycles that a source rests behind each row.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/bench"), show_default=True,
              help="Builds and dumps.")  # fmt: skip
def main(sets: tuple[Path, ...], bench: str, cases: tuple[str, ...], listed: bool, **given: object) -> None:
    """Run the sample design on vector SETs, by default on those in golden/, and verify what it dumps.

    Then iverilog and ghdl, where they are, read the sets' constants in Verilog-2001 and VHDL; not with --case or --bug.
    Exit status: 0 all words agree, 1 words differ, 2 bad input.
    """
    if listed:
        put(f"{bug.name:24} {bug.clause:4} {bug.does}" for bug in bugs().values())
        return
    options, benches = _options(bench, **given), BENCHES if bench == "both" else (bench,)  # type: ignore[arg-type]
    plans = {folder: cover(folder, cases) for folder in sets or sorted(GOLDEN.glob("v*"))}
    known = {name for found in plans.values() for names in (found.cases, *found.uncovered.values()) for name in names}
    for name in cases:
        if name not in known:
            raise BitrowError(f"--case: found {name!r}, expected a case of {', '.join(map(str, plans))}")
    if options.bug == ALL:
        _try_all(plans, options)
        return
    failed = [_all_of(folder, found, benches, options) for folder, found in plans.items()]
    for folder in plans if not cases and not options.bug else ():
        put(languages.compiled(folder))
    if any(failed):
        raise click.exceptions.Exit(DIFFERS)


def _options(bench: str, simulator: str | None, out: Path, bug: str, **pauses: int) -> Options:
    known = bugs()
    if bug and bug not in (ALL, *known):
        raise BitrowError(f"--bug: found {bug!r}, expected {ALL} or one of those that --bugs lists")
    found = simulators.find(simulator)
    if bench != "sv" and bug != ALL:
        simulators.need_cocotb()
    return Options(found, out.absolute(), bug, **pauses)


def _try_all(plans: dict[Path, Cover], options: Options) -> None:
    """The table of all faults; it fails where one is let pass or named wrongly."""
    for folder, covered in plans.items():
        if covered.plans:
            found = []
            for row in matrix.rows(folder.absolute(), covered, options):
                found.append(row)
                put(row.lines())
            put(matrix.markdown(found))
            bad = [row.bug.name for row in found if not row.failing or row.wrong]
            if bad and len(plans) == 1:
                names = ", ".join(bad)
                raise BitrowError(f"{folder}: found {names} let pass or named wrongly, expected a right name or none")


def _all_of(folder: Path, covered: Cover, benches: Sequence[str], options: Options) -> bool:
    """Whether any bench fails on the set, or its dumps differ."""
    put(said(folder, covered))
    failed = False
    for bench in benches if covered.plans else ():
        found = run(folder.absolute(), covered, bench, options)
        compared = compare(folder, found)
        put(verdict(folder, bench, found, compared))
        put(diagnosed(compared))
        if bool(found.failing) == compared.matches:
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
