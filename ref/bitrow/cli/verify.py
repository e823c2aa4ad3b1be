"""`bitrow verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bitrow.cli import needs, options
from bitrow.cli.options import PLACE
from bitrow.cli.sections import OUTPUT, Command, option
from bitrow.cli.streams import say
from bitrow.errors import BitrowError
from bitrow.files import check_outputs, write_report, write_text
from bitrow.leave import BAD_INPUT, DIFFERS
from bitrow.terminal import put

if TYPE_CHECKING:
    from bitrow.executors.kept import Kept
    from bitrow.executors.team import Where
    from bitrow.vectors.case import Case
    from bitrow.vectors.diagnose.report import DutReport
    from bitrow.vectors.files.check import Finding
    from bitrow.vectors.generate import JudgeMismatch
    from bitrow.vectors.trace.verify import ReadTrace

_CHECKS = "Checks"
_SHOWN = 4  # names in the last line


@click.command(cls=Command)
@click.argument("folder", metavar="DIR", type=PLACE, help="A vector set, as generate writes it.")
@option("--no-recompute", section=_CHECKS, is_flag=True, help="Check the files only; needs no JAX.")
@option("--model", section=_CHECKS, type=click.Choice(["c"]), help="Recompute by the C model; needs a C compiler.")
@option("--dut", "outputs", section=_CHECKS, type=PLACE, metavar="OUTPUTS", help="Compare a design's dumps, see above.")
@option("--require", section=_CHECKS, multiple=True, metavar="CASE",
        help="With --dut: must be dumped; all for each case.")  # fmt: skip
@options.case_jobs
@options.scheduler
@options.fresh
@options.json_file
@option("--junit", section=OUTPUT, type=PLACE, metavar="FILE", help="With --dut: the report as JUnit's XML.")
@options.quiet
def verify(
    folder: Path,
    no_recompute: bool,
    model: str | None,
    outputs: Path | None,
    require: Sequence[str],
    quiet: bool,
    **given: Any,
) -> None:
    """Check a vector set, or a design's dumps against it.

    Files first, then every value by oracle and kernels; a run that was stopped is taken up by the same command. With
    --dut, compare instead what a design dumped into OUTPUTS, as CASE/TENSOR.hex or CASE.TENSOR.hex, of outputs or any
    tap: where it differs, by how much, and what the design seems to do instead; against a trace of the row pipeline, as
    rows/RING.hex or banks/CYCLE/bank_N.hex. A dump that cannot be compared hides no other; the exit status is then 2,
    else 1 where words differ or a required case is not dumped.
    """
    from bitrow.vectors.files.check import check, told
    from bitrow.vectors.files.schema import read_manifest

    json_file, junit, fresh = given.pop("json_file"), given.pop("junit"), given.pop("fresh")
    if sum((no_recompute, model is not None, outputs is not None)) > 1:
        raise BitrowError("verify: found several ways to check, expected one of --model, --dut, --no-recompute")
    dumps = [outputs] if outputs is not None and json_file is not None and json_file.suffix == ".hex" else []
    check_outputs({"--json": json_file, "--junit": junit}, [folder, *dumps])
    if outputs is None and (require or junit is not None):
        raise BitrowError(f"{'--require' if require else '--junit'}: found no --dut, expected the folder of dumps, too")
    if no_recompute or model is not None or outputs is not None:
        _alone(given)
    trace = None
    if read_manifest(folder).trace:
        one = {f"--{name}": value for name, value in given.items()}
        trace, found = _checked_trace(folder, {"--model": model, "--junit": junit, **one})
    else:
        found = check(folder)
    result: dict[str, Any] = {"set": str(folder), "findings": [str(finding) for finding in found]}
    if found:
        write_report(json_file, result)
        raise BitrowError(told(folder, found))
    if trace is not None and outputs is not None:
        _compare_rows(trace, outputs, require, json_file, result)
    elif outputs is not None:
        _compare(folder, outputs, require, {"json": json_file, "junit": junit}, result, quiet)
    elif no_recompute:
        write_report(json_file, result)
        put([f"{folder}: files, checksums and words are sound; not recomputed"])
    elif trace is not None:
        _recompute_rows(folder, trace, json_file, result)
    else:
        _recompute(folder, _judge(model, given, fresh), json_file, result, quiet)


def _alone(spread: Mapping[str, Any]) -> None:
    """Refuse what is said of several processes where there is one."""
    for name, value in spread.items():
        if value is not None:
            raise BitrowError(f"--{name}: found it with --model, --dut or --no-recompute, expected it without")


def _checked_trace(folder: Path, others: Mapping[str, object]) -> tuple[ReadTrace | None, list[Finding]]:
    from bitrow.vectors.trace.verify import check_trace

    for name, value in others.items():
        if value is not None:
            raise BitrowError(f"{name}: found {folder}, a trace of rows, expected a vector set of cases")
    return check_trace(folder)


def _compare_rows(
    trace: ReadTrace, outputs: Path, require: Sequence[str], report: Path | None, result: dict[str, Any]
) -> None:
    from bitrow.vectors.trace.compare import compare_trace

    compared = compare_trace(trace, outputs, require)
    write_report(report, result | {"dut": compared.to_json()})
    if str(report) != "-":
        put(list(compared.lines()))
    if compared.matches:
        return
    say(f"{outputs}: {'; '.join(compared.failures())}")
    raise click.exceptions.Exit(BAD_INPUT if compared.unread else DIFFERS)


def _recompute_rows(folder: Path, trace: ReadTrace, report: Path | None, result: dict[str, Any]) -> None:
    needs.jax()
    from bitrow.vectors.trace.verify import recompute_trace

    mismatches = recompute_trace(folder, trace)
    _tell(folder, report, result | {"recomputed": len(trace.words)}, mismatches, f"{len(trace.words)} rings and ends")


def _compare(
    folder: Path,
    outputs: Path,
    require: Sequence[str],
    files: Mapping[str, Path | None],
    result: dict[str, Any],
    quiet: bool,
) -> None:
    from bitrow.progress import bar
    from bitrow.vectors.diagnose import dut
    from bitrow.vectors.diagnose.junit import junit

    with bar("compare", None, quiet) as advance:
        compared = dut.compare(folder, outputs, lambda case, number, total: advance(case, total), require)
    write_report(files["json"], result | {"dut": dut.to_json(compared)})
    if files["junit"] is not None:
        write_text(files["junit"], junit(compared, folder))
    if str(files["json"]) != "-" and compared.cases:  # else the last line says all
        put(compared.lines())
    if compared.matches:
        return
    say(f"{outputs}: {'; '.join(_failures(compared, folder))}")
    raise click.exceptions.Exit(BAD_INPUT if compared.unread else DIFFERS)


def _failures(report: DutReport, folder: Path) -> Iterator[str]:
    """What is wrong, the first names of each kind and the count of the rest."""
    from bitrow.vectors.files.dump import unread_lines

    yield from unread_lines(report.unread)
    if report.differing:
        yield f"{len(report.differing)} of {len(report.cases)} cases differ from {folder}: {_named(report.differing)}"
    if report.lacking:
        yield f"{len(report.lacking)} required cases are not dumped: {_named(report.lacking)}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


class _Judge(NamedTuple):
    """What recomputes a case, where, its place to keep, its name: oracle and kernels, or the C model, compiled here."""

    judge: Callable[[Case], list[JudgeMismatch]]
    where: Where
    keeping: Callable[[Path], AbstractContextManager[Kept | None]]
    called: str = ""


def _judge(model: str | None, spread: Mapping[str, Any], fresh: bool) -> _Judge:
    needs.jax()
    from bitrow.executors.team import Where

    if model is None:
        from bitrow.vectors import taken_up
        from bitrow.vectors.generate import recompute

        return _Judge(recompute, Where(**spread, trial=needs.trial), partial(taken_up.verifying, fresh=fresh))
    from bitrow.export.c_model import CModel
    from bitrow.export.recompute import recompute as by_model

    return _Judge(partial(by_model, CModel.build()), Where(jobs=1), lambda _: nullcontext(), " by the C model")


def _recompute(folder: Path, how: _Judge, report: Path | None, result: dict[str, Any], quiet: bool) -> None:
    from bitrow.executors.team import opened
    from bitrow.progress import bar
    from bitrow.vectors.files import store

    names = store.case_names(folder)
    mismatches = []
    with (
        how.keeping(folder) as kept, bar("recompute", len(names), quiet) as advance,
        opened(how.where.small(len(names))) as team,
    ):  # fmt: skip
        cases = (store.read_case(folder, name) for name in names)
        errand = team.errand(how.judge, attrgetter("name"))
        for name, found in zip(names, team.in_order(errand, cases, kept), strict=True):
            mismatches += [str(mismatch) for mismatch in found]
            advance(name)
    said = f"{len(names)} cases"
    _tell(folder, report, result | {"recomputed": len(names)}, mismatches, said, how.called)


def _tell(
    folder: Path, report: Path | None, result: dict[str, Any], mismatches: Sequence[str], what: str, by: str = ""
) -> None:
    """The end of a recomputation: report, lines, exit status."""
    write_report(report, result | {"mismatches": list(mismatches)})
    if str(report) != "-":
        put(mismatches or [f"{folder}: {what}, every value recomputed{by} and the same"])
    if mismatches:
        say(f"{folder}: {len(mismatches)} tensors differ from their recomputation, the first: {mismatches[0]}")
        raise click.exceptions.Exit(DIFFERS)
