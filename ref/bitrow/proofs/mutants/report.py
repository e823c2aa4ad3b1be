"""What the judges found, and what each case and property alone finds; as JSON and as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bitrow.faults.mutant import FaultFamily, Mutant
from bitrow.markdown import section
from bitrow.proofs.mutants import all_properties, judge, properties
from bitrow.proofs.mutants.judge import Judged, Kill
from bitrow.proofs.mutants.properties import Broken, Property

SCHEMA = "bitrow-mutants-report-1"


class MutantResult(NamedTuple):
    """One mutant: the cases that find it, in the set's order, of how many that could, and the properties it breaks."""

    mutant: Mutant
    kills: tuple[Kill, ...]
    reached: int
    broken: tuple[Broken, ...]

    @property
    def found(self) -> bool:
        """Found by what must find it: a fault of the datapath by a case, one of the row pipeline by a property."""
        return bool(self.kills) if self.mutant.datapath else bool(self.broken)


@dataclass(frozen=True)
class MutantReport:
    """A run of the catalogue over a set, and over all properties."""

    sets: str
    cases: tuple[Judged, ...]
    properties: tuple[Property, ...]
    findings: tuple[MutantResult, ...]

    @property
    def survivors(self) -> list[str]:
        """Mutants that are not found, in the order of the catalogue."""
        return [finding.mutant.name for finding in self.findings if not finding.found]

    def found_by(self, case: str) -> list[str]:
        """The mutants that a case finds."""
        return [f.mutant.name for f in self.findings if any(kill.case == case for kill in f.kills)]

    def alone(self, case: str) -> list[str]:
        """The mutants that a case finds and no other case."""
        return [f.mutant.name for f in self.findings if [kill.case for kill in f.kills] == [case]]

    def breaking(self, name: str) -> list[str]:
        """The mutants that break a property."""
        return [f.mutant.name for f in self.findings if any(broken.property == name for broken in f.broken)]


def run(
    folders: Sequence[Path],
    mutants: Sequence[Mutant],
    advance: Callable[[str], object] = lambda name: None,
) -> MutantReport:
    """Judge mutants by every case of the sets and every property; `advance` is called with each mutant's name.

    Raises:
        BitrowError: a set cannot be read, or the sound oracle differs from it.
    """
    cases = tuple(case for folder in folders for case in judge.load(folder))
    sound = all_properties.sound()
    findings = []
    for mutant in mutants:
        kills = tuple(judge.kills(mutant, cases))
        broken = tuple(properties.broken(mutant, sound))
        findings.append(MutantResult(mutant, kills, len(judge.reachable(mutant, cases)), broken))
        advance(mutant.name)
    return MutantReport(", ".join(map(str, folders)), cases, tuple(one.property for one in sound), tuple(findings))


def word(value: int) -> str:
    """A word as the tables show it: hex, or decimal where it is negative."""
    return f"{value:#x}" if value >= 0 else str(value)


def where(kill: Kill) -> str:
    """A kill in a few words."""
    if kill.raised:
        return f"{kill.case}: raised {kill.raised}"
    if kill.element < 0:
        return f"{kill.case} {kill.tap}: another shape"
    return f"{kill.case} {kill.tap}[{kill.element}]: {word(kill.found)}, not {word(kill.expected)}"


def _finding_json(finding: MutantResult) -> dict[str, Any]:
    mutant = finding.mutant
    return {
        "name": mutant.name,
        "does": mutant.does,
        "family": mutant.family.value,
        "clause": mutant.clause,
        "edits": [edit._asdict() for edit in mutant.edits],
        "datapath": mutant.datapath,
        "found": finding.found,
        "cases_that_could": finding.reached,
        "cases": [kill._asdict() for kill in finding.kills],
        "properties": [broken._asdict() for broken in finding.broken],
    }


def to_json(report: MutantReport) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "schema": SCHEMA,
        "set": report.sets,
        "survivors": report.survivors,
        "mutants": [_finding_json(finding) for finding in report.findings],
        "cases": [
            {"case": case.name, "finds": len(report.found_by(case.name)), "alone": report.alone(case.name)}
            for case in report.cases
        ],
        "properties": [
            {"name": one.name, "says": one.says, "clause": one.clause, "finds": len(report.breaking(one.name))}
            for one in report.properties
        ],
    }


def summary(report: MutantReport) -> str:
    """One line: how many were found, and by what."""
    datapath = [finding for finding in report.findings if finding.mutant.datapath]
    by_set = sum(bool(finding.kills) for finding in datapath)
    by_property = sum(bool(finding.broken) for finding in report.findings)
    return (
        f"{len(report.findings)} mutants: {by_set} of {len(datapath)} of the datapath found by {report.sets}, "
        f"{by_property} of {len(report.findings)} by properties"
    )


def _families(report: MutantReport) -> Iterator[tuple[str, ...]]:
    for family in FaultFamily:
        mine = [finding for finding in report.findings if finding.mutant.family is family]
        if mine:
            by_set = sum(bool(f.kills) for f in mine) if mine[0].mutant.datapath else "-"
            yield family.value, str(len(mine)), str(by_set), str(sum(bool(f.broken) for f in mine))


def _mutants(report: MutantReport) -> Iterator[tuple[str, ...]]:
    for finding in report.findings:
        mutant, kills = finding.mutant, finding.kills
        if mutant.datapath:
            first = where(kills[0]) if kills else "SURVIVES"
            cases = f"{len(kills)}/{finding.reached}"
        else:
            first, cases = ("-" if finding.broken else "SURVIVES"), "-"
        more = f" and {len(finding.broken) - 1} more" if len(finding.broken) > 1 else ""
        breaks = f"{finding.broken[0].property}{more}" if finding.broken else "-"
        yield mutant.name, mutant.clause, mutant.does, cases, first, breaks


def _cases(report: MutantReport) -> Iterator[tuple[str, ...]]:
    for case in report.cases:
        yield case.name, str(len(report.found_by(case.name))), ", ".join(report.alone(case.name))


def _properties(report: MutantReport) -> Iterator[tuple[str, ...]]:
    for one in report.properties:
        yield one.name, one.clause, one.says, str(len(report.breaking(one.name)))


TABLES: tuple[tuple[str, tuple[str, ...], Callable[[MutantReport], Iterable[tuple[str, ...]]]], ...] = (
    ("Families", ("family", "mutants", "found by the sets", "by properties"), _families),
    ("Mutants", ("mutant", "clause", "the faulty machine", "cases", "first find", "property"), _mutants),
    ("Cases", ("case", "finds", "what it alone finds"), _cases),
    ("Properties", ("property", "clause", "says", "finds"), _properties),
)


_PAGE = """# Mutants

Deliberate faults, put one at a time into the contract's programs, the scalar oracle, or the row pipeline:
{summary}. `{command}` makes this page again.

A mutant is another line in the program of an operation, or an edit of the text of a function that lines call, compiled
in its place for a while; the shipped programs and functions hold no switch for it. Every line that rounds has a mutant
that truncates there, but for a unit's one line, which is the arithmetic itself. Each case of the sets is computed again
from its stored inputs and compared word by word, in the order of its taps; the first word that differs is shown. Under
"cases" stands how many find the mutant, of those whose computation runs what it changes; the others cannot. An error
counts as a find only where it passed through the faulty function, or through a run of the faulty program. Passes of
whole networks are left out: their layers are judged one by one.

Properties are judged apart from any set, by Fractions, numpy and plain counting; the first that breaks is shown. The
unchanged functions pass every case and every property first. Faults of the row pipeline change no word of a set: its
properties must find them.
"""


def markdown(report: MutantReport, command: str) -> str:
    """The report as a page for the docs, with the command that makes it."""
    lines = [_PAGE.format(summary=summary(report), command=command)]
    for title, header, rows in TABLES:
        lines += section(title, header, rows(report))
    return "\n".join(lines)
