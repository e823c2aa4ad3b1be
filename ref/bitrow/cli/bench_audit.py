"""`bitrow bench-audit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitrow.cli import options
from bitrow.cli.arguments import FiniteNumber
from bitrow.cli.options import PLACE
from bitrow.cli.sections import OUTPUT, Command, option
from bitrow.cli.streams import say
from bitrow.errors import BitrowError
from bitrow.files import check_outputs, write_report
from bitrow.leave import DIFFERS
from bitrow.terminal import put

if TYPE_CHECKING:
    from bitrow.vectors.bench.runs import Bench

_FAULTS, _BENCH = "Faults", "Bench"
_SHOWN = 4  # names in the last line


@click.command("bench-audit", cls=Command)
@click.argument("folder", metavar="DIR", type=PLACE, help="A vector set, as generate writes it.")
@click.argument("command", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED,
                help="What runs the bench; it exits with 0 where the design passes.")  # fmt: skip
@option("--case", "cases", section=_FAULTS, multiple=True, metavar="NAME", show_default="all",
        help="Only faults in this case; repeatable.")  # fmt: skip
@option("--family", "families", section=_FAULTS, multiple=True, metavar="NAME", show_default="all",
        help="Only faults of this family, such as accumulator; repeatable.")  # fmt: skip
@option("--taps", section=_FAULTS, is_flag=True, help="Also faults in the words of taps.")
@option("--inputs", section=_FAULTS, is_flag=True, help="Faults in the given words instead of the expected ones.")
@option("--seconds", section=_BENCH, type=FiniteNumber(0.01, 86_400), default=600, show_default=True, metavar="S",
        help="The most time of one run.")  # fmt: skip
@option("--shrink", section=OUTPUT, type=PLACE, metavar="OUT",
        help="The bench fails: save the smallest case that does as a set.")  # fmt: skip
@options.json_file
@options.quiet
def bench_audit(
    folder: Path,
    command: Sequence[str],
    shrink: Path | None,
    json_file: Path | None,
    quiet: bool,
    seconds: float,
    **faults: Any,
) -> None:
    """Try a bench of yours: sets with one fault each.

    COMMAND runs the bench on the set that the environment variable BITROW_SET names, and that stands in COMMAND in
    place of {}. It must pass DIR as it is. Then a fault at a time is put into the words that the set expects, and
    COMMAND must fail: the faults that it lets pass are listed, by family. To shrink, it must fail on DIR, and is given
    ever smaller cases.
    """
    from bitrow.vectors.bench.runs import Bench
    from bitrow.vectors.files.check import check, told

    check_outputs({"--json": json_file, "--shrink": shrink}, [folder])
    bench = Bench(command, seconds)
    findings = check(folder)
    if findings:
        raise BitrowError(told(folder, findings))
    if shrink is None:
        _audit(folder, bench, json_file, quiet, faults)
    else:
        asked = [name for name in ("families", "taps", "inputs") if faults[name]]
        if asked:
            raise BitrowError(f"--shrink: found {asked[0]} beside it, expected no choice of faults")
        _shrink(folder, shrink, bench, json_file, quiet, faults["cases"])


def _audit(folder: Path, bench: Bench, json_file: Path | None, quiet: bool, faults: dict[str, Any]) -> None:
    from bitrow.progress import bar
    from bitrow.vectors.bench.audit import audit

    with bar("audit", None, quiet) as advance:
        found = audit(folder, bench, progress=advance, **faults)
    write_report(json_file, {"set": str(folder), "command": list(bench.command)} | found.to_json())
    if str(json_file) != "-":
        put(found.lines())
    if found.asleep:
        names = ", ".join(one.name for one in found.asleep[:_SHOWN])
        more = f" and {len(found.asleep) - _SHOWN} more" if len(found.asleep) > _SHOWN else ""
        say(f"{folder}: {len(found.asleep)} of {len(found.heard)} faults are not caught: {names}{more}")
        raise click.exceptions.Exit(DIFFERS)


def _shrink(folder: Path, out: Path, bench: Bench, json_file: Path | None, quiet: bool, cases: Sequence[str]) -> None:
    from bitrow.progress import bar
    from bitrow.vectors.bench.shrink import shrink

    with bar("shrink", None, quiet) as advance:
        found = shrink(folder, out, bench, cases, advance)
    lines = list(found.lines())
    report = {"set": str(folder), "command": list(bench.command), "case": found.case.name, "runs": found.runs}
    write_report(json_file, report | {"smallest": str(out), "tensors": lines})
    if str(json_file) != "-":
        put([*lines, f"{out}: the smallest case that fails, after {found.runs} runs"])
