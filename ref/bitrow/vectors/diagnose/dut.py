"""A design's dumps against golden vectors: where they differ, and what the design seems to do instead.

Standard library, numpy and the scalar oracle only: no JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.contract.encoding import Kind
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.diagnose.diagnosis import Diagnosis, diagnose
from bitrow.vectors.files import schema, store
from bitrow.vectors.files.decode import float_of, ulps, word_text
from bitrow.vectors.files.dump import Dump, find_dumps, read_dump
from bitrow.vectors.files.hexfile import file_words

_AXES = {"w": "column", "ow": "column", "c": "channel", "c_in": "channel", "c_out": "channel"}
_SHOWN = 3
_NUMBERS = (Kind.FP16, Kind.FP32, Kind.CODE, Kind.INTEGER)  # words that lie at a distance from each other


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
    """A dumped tensor: how many of its words differ or are undriven, and the first few of them."""

    tap: str
    role: str
    words: int
    mismatches: int
    undriven: int
    first: tuple[Mismatch, ...]

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
            yield f"{self.case} {self.root}: {self.diagnosis}"


@dataclass(frozen=True)
class DutReport:
    """All cases that were dumped, and the names of those that were not."""

    cases: tuple[CaseReport, ...]
    missing: tuple[str, ...]

    @property
    def matches(self) -> bool:
        return all(case.matches for case in self.cases)

    def lines(self) -> Iterator[str]:
        """The report in words, one line each."""
        for case in self.cases:
            yield from case.lines()
        if self.missing:
            yield f"not dumped: {', '.join(self.missing)}"


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


def _mismatch(tensor: Tensor, golden: np.ndarray, dump: Dump, element: int) -> Mismatch:
    index = tuple(int(i) for i in np.unravel_index(element, golden.shape)) if golden.ndim else ()
    expected = int(golden.reshape(-1)[element])
    driven = not dump.undriven[element]
    found = int(dump.words[element]) if driven else None
    encoding = tensor.encoding
    return Mismatch(
        element=element,
        index=index,
        place=place_text(tensor.layout, index),
        found=found,
        expected=expected,
        found_text="an undriven word (x or z)" if found is None else word_text(found, encoding),
        expected_text=word_text(expected, encoding),
        ulps=None if found is None or encoding.kind not in _NUMBERS else ulps(found, expected, encoding),
        unit=" ulp" if float_of(encoding) is not None else "",
    )


def compare_tap(tensor: Tensor, dump: Dump) -> TapReport:
    """Compare one dumped tensor with its golden words."""
    golden = file_words(np.asarray(tensor.data), tensor.encoding)
    wrong = np.flatnonzero((dump.words != golden.reshape(-1)) | dump.undriven)
    first = tuple(_mismatch(tensor, golden, dump, int(element)) for element in wrong[:_SHOWN])
    undriven = int(dump.undriven.sum())
    return TapReport(tensor.name, tensor.role.value, golden.size, int(wrong.size), undriven, first)


def compare_case(case: Case, dumps: dict[str, Dump]) -> CaseReport:
    """Compare the dumps of one case, by tensor, and diagnose the first tensor that differs."""
    dumped = [tensor for tensor in case.tensors if tensor.name in dumps]
    taps = tuple(compare_tap(tensor, dumps[tensor.name]) for tensor in dumped)
    root = next((tap.tap for tap in taps if not tap.matches), None)
    agreed = [tap.tap for tap in taps if tap.matches]
    diagnosis = None if root is None else diagnose(case, root, dumps[root], agreed)
    return CaseReport(case.name, case.operation.name, taps, root, diagnosis)


def compare(
    vectors: Path, outputs: Path, progress: Callable[[str, int, int], None] | None = None
) -> DutReport:
    """Compare what a design dumped into `outputs` with the vector set at `vectors`.

    Dumps are CASE/TENSOR.hex or CASE.TENSOR.hex, of outputs or any tap. `progress` is called with a case's
    name, its number from 0, and the number of cases.

    Raises:
        BitrowError: no set, no dump, a dump of no tensor, a malformed or miscounted dump.
    """
    names = store.case_names(vectors)
    entries = {name: schema.read_case_json(vectors, name) for name in names}
    found = find_dumps(outputs, {name: [t.name for t in entry.tensors] for name, entry in entries.items()})
    reports = []
    dumped = [name for name in names if name in found]
    for number, name in enumerate(dumped):
        if progress is not None:
            progress(name, number, len(dumped))
        case = store.read_case(vectors, name)
        dumps = {tensor: _read(path, case.tensor(tensor)) for tensor, path in found[name].items()}
        reports.append(compare_case(case, dumps))
    return DutReport(tuple(reports), tuple(name for name in names if name not in found))


def _read(path: Path, tensor: Tensor) -> Dump:
    return read_dump(path, tensor.encoding, int(np.size(tensor.data)), str(path))


def to_json(report: DutReport) -> dict[str, Any]:
    """The report as a JSON object, words in hex."""
    return {
        "matches": report.matches,
        "missing": list(report.missing),
        "cases": [_case_json(case) for case in report.cases],
    }


def _case_json(case: CaseReport) -> dict[str, Any]:
    return {
        "case": case.case,
        "operation": case.operation,
        "matches": case.matches,
        "root": case.root,
        "diagnosis": None if case.diagnosis is None else case.diagnosis.to_json(),
        "taps": [
            {
                "tap": tap.tap,
                "role": tap.role,
                "words": tap.words,
                "mismatches": tap.mismatches,
                "undriven": tap.undriven,
                "first": [_mismatch_json(mismatch) for mismatch in tap.first],
            }
            for tap in case.taps
        ],
    }


def _mismatch_json(mismatch: Mismatch) -> dict[str, Any]:
    return {
        "element": mismatch.element,
        "index": list(mismatch.index),
        "place": mismatch.place,
        "found": None if mismatch.found is None else f"{mismatch.found:x}",
        "expected": f"{mismatch.expected:x}",
        "found_value": mismatch.found_text,
        "expected_value": mismatch.expected_text,
        "ulps": mismatch.ulps,
    }
