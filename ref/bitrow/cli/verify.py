"""`bitrow verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bitrow.cli import needs, options
from bitrow.cli.options import PLACE
from bitrow.cli.sections import Command, option
from bitrow.cli.streams import say
from bitrow.errors import BitrowError
from bitrow.files import check_outputs, write_report
from bitrow.leave import DIFFERS
from bitrow.terminal import put

_CHECKS = "Checks"


@click.command(cls=Command)
@click.argument("folder", metavar="DIR", type=PLACE, help="A vector set, as generate writes it.")
@option("--no-recompute", section=_CHECKS, is_flag=True, help="Check the files only; needs no JAX.")
@option("--dut", "outputs", section=_CHECKS, type=PLACE, metavar="OUTPUTS", help="Compare a design's dumps, see above.")
@options.json_file
@options.quiet
def verify(folder: Path, no_recompute: bool, outputs: Path | None, json_file: Path | None, quiet: bool) -> None:
    """Check a vector set, or a design's dumps against it.

    Files first, then every value by oracle and kernels. With --dut, compare instead what a design dumped into
    OUTPUTS, as CASE/TENSOR.hex or CASE.TENSOR.hex, of outputs or any tap: where it differs, by how much, and what
    the design seems to do instead.
    """
    from bitrow.vectors.files.check import check

    dumps = [outputs] if outputs is not None and json_file is not None and json_file.suffix == ".hex" else []
    check_outputs({"--json": json_file}, [folder, *dumps])
    found = check(folder)
    result: dict[str, Any] = {"set": str(folder), "findings": [str(finding) for finding in found]}
    if found:
        write_report(json_file, result)
        more = f" (and {len(found) - 1} more findings)" if len(found) > 1 else ""
        raise BitrowError(f"{folder}/{found[0]}{more}")
    if outputs is not None:
        _compare(folder, outputs, json_file, result, quiet)
    elif no_recompute:
        write_report(json_file, result)
        put([f"{folder}: files, checksums and words are sound; not recomputed"])
    else:
        _recompute(folder, json_file, result, quiet)


def _compare(folder: Path, outputs: Path, report: Path | None, result: dict[str, Any], quiet: bool) -> None:
    from bitrow.progress import bar
    from bitrow.vectors.diagnose import dut

    with bar("compare", None, quiet) as advance:
        compared = dut.compare(folder, outputs, lambda case, number, total: advance(case, total))
    write_report(report, result | {"dut": dut.to_json(compared)})
    if str(report) != "-":
        put(compared.lines())
    wrong = [case.case for case in compared.cases if not case.matches]
    if wrong:
        share = f"{len(wrong)} of {len(compared.cases)} cases"
        say(f"{outputs}: {share} differ from {folder}: {', '.join(wrong[:4])}")
        raise click.exceptions.Exit(DIFFERS)


def _recompute(folder: Path, report: Path | None, result: dict[str, Any], quiet: bool) -> None:
    needs.jax()
    from bitrow.progress import bar
    from bitrow.vectors.files import store
    from bitrow.vectors.generate import recompute

    names = store.case_names(folder)
    mismatches = []
    with bar("recompute", len(names), quiet) as advance:
        for name in names:
            mismatches += [str(mismatch) for mismatch in recompute(store.read_case(folder, name))]
            advance(name)
    write_report(report, result | {"recomputed": len(names), "mismatches": mismatches})
    if str(report) != "-":
        put(mismatches or [f"{folder}: {len(names)} cases, every value recomputed and the same"])
    if mismatches:
        say(f"{folder}: {len(mismatches)} tensors differ from their recomputation, the first: {mismatches[0]}")
        raise click.exceptions.Exit(DIFFERS)
