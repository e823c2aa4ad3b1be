"""What a comparison of dumps found, as values and in words: a word, a tensor, a case, all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitrow.vectors.diagnose.diagnosis import Diagnosis
from bitrow.vectors.files.dump import Unread

_AXES = {"w": "column", "ow": "column", "c": "channel", "c_in": "channel", "c_out": "channel"}


@dataclass(frozen=True)
class Mismatch:
    """One word that differs: where it is, both words, and their signed distance `found - expected`.

    `ulps` counts units in the last place of floating-point words, and whole numbers of codes and sums; other words
    have no distance.
    """

    element: int
    index: tuple[int, ...]
    place: str
    found: int | None
    expected: int
    found_text: str
    expected_text: str
    ulps: int | None
    unit: str = ""

    def __str__(self) -> str:
        both = f"element {self.element} ({self.place}): found {self.found_text}, expected {self.expected_text}"
        return both if self.ulps is None else f"{both}, {self.ulps:+d}{self.unit}"


@dataclass(frozen=True)
class TapReport:
    """A dumped tensor: how many of its words differ or are undriven, and the first few of them.

    `stale`: its file is older than the set, and so of another set or of an earlier run.
    """

    tap: str
    role: str
    words: int
    mismatches: int
    undriven: int
    first: tuple[Mismatch, ...]
    stale: bool = False

    @property
    def matches(self) -> bool:
        return self.mismatches == 0


@dataclass(frozen=True)
class CaseReport:
    """A case: its dumped tensors in dataflow order, the first that differs, and the diagnosis there."""

    case: str
    operation: str
    taps: tuple[TapReport, ...]
    root: str | None
    diagnosis: Diagnosis | None

    @property
    def matches(self) -> bool:
        return self.root is None

    def lines(self) -> Iterator[str]:
        """The report in words, one line each."""
        if self.root is None:
            yield f"{self.case}: {len(self.taps)} tensors, {sum(tap.words for tap in self.taps)} words match"
            return
        for tap in self.taps:
            if tap.matches:
                yield f"{self.case} {tap.tap}: {tap.words} words match"
                continue
            undriven = f", {tap.undriven} of them undriven" if tap.undriven else ""
            yield f"{self.case} {tap.tap}: {tap.mismatches} of {tap.words} words differ{undriven}"
            for mismatch in tap.first:
                yield f"  {self.case} {tap.tap} {mismatch}"
        later = [tap.tap for tap in self.taps if not tap.matches and tap.tap != self.root]
        follows = f"; {', '.join(later)} may only follow from it" if later else ""
        yield f"{self.case}: {self.root} is the first in dataflow order that differs{follows}"
        if self.diagnosis is not None:
            for sentence in self.diagnosis.where:
                yield f"{self.case} {self.root}: differs {sentence}"
            yield f"{self.case} {self.root}: {self.diagnosis}"


@dataclass(frozen=True)
class DutReport:
    """All cases that were dumped, the names of those that were not, and the files that could not be compared.

    `required` names the cases that had to be dumped.
    """

    cases: tuple[CaseReport, ...]
    missing: tuple[str, ...]
    unread: tuple[Unread, ...] = ()
    required: frozenset[str] = frozenset()

    @property
    def differing(self) -> tuple[str, ...]:
        """The cases whose words differ."""
        return tuple(case.case for case in self.cases if not case.matches)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The required cases that were not dumped."""
        return tuple(name for name in self.missing if name in self.required)

    @property
    def stale(self) -> tuple[str, ...]:
        """The dumps that are older than the set, CASE TENSOR."""
        return tuple(f"{case.case} {tap.tap}" for case in self.cases for tap in case.taps if tap.stale)

    @property
    def matches(self) -> bool:
        """Every dumped word agrees, every file could be compared, and every required case is there."""
        return not (self.differing or self.unread or self.lacking)

    def lines(self) -> Iterator[str]:
        """The report in words, one line each."""
        for case in self.cases:
            yield from case.lines()
        yield from (one.message for one in self.unread)
        if self.stale:
            yield f"older than the set: {', '.join(self.stale)}"
        if self.lacking:
            yield f"required, but not dumped: {', '.join(self.lacking)}"
        others = [name for name in self.missing if name not in self.required]
        if others:
            yield f"not dumped: {', '.join(others)}"


def place_text(layout: str, index: tuple[int, ...]) -> str:
    """Where an element is, as in "row n=0 h=3, column 5, channel 2"."""
    parts: list[str] = []
    axes = layout.split()
    for axis, at in zip(axes, index, strict=True):
        if axis in ("n", "h", "oh"):
            row = f"{axis}={at}"
            if parts and parts[-1].startswith("row "):
                parts[-1] += f" {row}"
            else:
                parts.append(f"row {row}" if "h" in axes or "oh" in axes else row)
        elif axis in _AXES:
            parts.append(f"{_AXES[axis]} {at}")
        else:
            parts.append(f"{axis} {at}")
    return ", ".join(parts) or "the only one"
