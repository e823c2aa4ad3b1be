"""What `bitrow prove rtl` does, as functions of plain arguments; no command-line parsing here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bitrow import processor, progress, terminal
from bitrow.errors import BitrowError
from bitrow.files import check_outputs, write_report
from bitrow.proofs.rtl import binding, decide, units, verdict, yosys
from bitrow.proofs.rtl.binding import Binding, RtlTiming
from bitrow.proofs.rtl.decide import RtlLimits
from bitrow.proofs.rtl.units import UnitOptions
from bitrow.proofs.rtl.verdict import RtlVerdict
from bitrow.proofs.rtl.yosys import RtlSource
from bitrow.vectors import found


@dataclass(frozen=True)
class RtlProof:
    """What is to be shown: of which module, which operation it is, how its ports are called, how it runs."""

    source: RtlSource
    operation: str
    options: UnitOptions = UnitOptions()
    ports: Mapping[str, str] = field(default_factory=dict)
    ties: Mapping[str, int] = field(default_factory=dict)
    timing: RtlTiming = RtlTiming()


def bound(proof: RtlProof) -> Binding:
    """The module, read and held against the contract.

    Raises:
        BitrowError: as `units.build`, `yosys.read` and `binding.bind`.
    """
    contract = units.build(proof.operation, proof.options)
    return binding.bind(yosys.read(proof.source), contract, proof.ports, proof.ties, proof.timing)


def _quiet(text: str) -> None:
    """Nothing is told."""


def proved(proof: RtlProof, limits: RtlLimits = RtlLimits(), quiet: bool = True) -> tuple[Binding, RtlVerdict]:
    """Whether the unit is its contract for every input, and as what it was read.

    Raises:
        BitrowError: as `bound` and `decide.decide`.
    """
    start = time.monotonic()
    held = bound(proof)
    with progress.bar("prove rtl", None, quiet) as advance:
        result = decide.decide(held, limits, advance, _quiet if quiet else terminal.say)
    return held, replace(result, seconds=time.monotonic() - start)


def prove(
    proof: RtlProof,
    limits: RtlLimits = RtlLimits(),
    json_file: Path | None = None,
    record: Path | None = None,
    quiet: bool = False,
) -> bool:
    """Decide a unit, print the verdict, write what was found; whether it is proved.

    Raises:
        BitrowError: as `proved`; no verdict; a file that cannot be written.
    """
    check_outputs({"--json": json_file, "--record": record}, proof.source.files)
    held, result = proved(proof, limits, quiet)
    write_report(json_file, verdict.report(held, result, processor.describe()))
    lines = [_line(held, result)]
    if result.counterexample is not None:
        lines += verdict.counterexample_lines(held, result.counterexample)
        if record is not None:
            lines.append(_recorded(held, result, record))
    if str(json_file) != "-":
        terminal.put(lines)
    if result.verdict == verdict.UNDECIDED:
        raise BitrowError(f"{held.design.source.top}: undecided as {held.contract.name}: {result.why}, "
                          "expected an answer; --time-limit gives more time")  # fmt: skip
    return result.verdict == verdict.PROVED


def _line(held: Binding, result: RtlVerdict) -> str:
    how = f"{result.method}, {result.solver}" if result.solver else result.method
    return (f"{held.design.source.top} as {held.contract.name}: {result.verdict} "
            f"({how}; {verdict.domain(held)}; {result.seconds:.1f} s)")  # fmt: skip


def _recorded(held: Binding, result: RtlVerdict, path: Path) -> str:
    assert result.counterexample is not None
    line = verdict.record(held, result.counterexample)
    if line is None:
        return f"{held.contract.name}: not recorded: no operation of the vectors has such words"
    found.add([line], path)
    return f"{held.contract.name}: recorded in {path}"


def listed() -> list[Sequence[str]]:
    """Each operation that a unit can be: its name, inputs, outputs, optional outputs, options."""
    rows: list[Sequence[str]] = []
    for name in units.names():
        contract = units.build(name)
        taps = f" ({units.listed(contract.taps)})" if contract.taps else ""
        rows.append((name, units.listed(contract.inputs), units.listed(contract.outputs) + taps,
                     " ".join(contract.settings), " ".join(contract.clauses)))  # fmt: skip
    return rows
