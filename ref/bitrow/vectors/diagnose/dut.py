"""A design's dumps against golden vectors: where they differ, and what the design seems to do instead.

Standard library, numpy and the scalar oracle only: no JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.contract.encoding import Kind
from bitrow.errors import BitrowError
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.diagnose.diagnosis import diagnose
from bitrow.vectors.diagnose.report import CaseReport, DutReport, Mismatch, TapReport, place_text
from bitrow.vectors.files import schema, store
from bitrow.vectors.files.decode import float_of, ulps, word_text
from bitrow.vectors.files.dump import Dump, Miscounted, Unread, find_dumps, read_dump
from bitrow.vectors.files.hexfile import file_words

_SHOWN = 3
_NUMBERS = (Kind.FP16, Kind.FP32, Kind.CODE, Kind.INTEGER)  # words that lie at a distance from each other


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


def compare_tap(tensor: Tensor, dump: Dump, stale: bool = False) -> TapReport:
    """Compare one dumped tensor with its golden words."""
    golden = file_words(np.asarray(tensor.data), tensor.encoding)
    wrong = np.flatnonzero((dump.words != golden.reshape(-1)) | dump.undriven)
    first = tuple(_mismatch(tensor, golden, dump, int(element)) for element in wrong[:_SHOWN])
    undriven = int(dump.undriven.sum())
    return TapReport(tensor.name, tensor.role.value, golden.size, int(wrong.size), undriven, first, stale)


def compare_case(case: Case, dumps: dict[str, Dump], stale: Collection[str] = ()) -> CaseReport:
    """Compare the dumps of one case, by tensor, and diagnose the first tensor that differs; `stale` names old ones."""
    dumped = [tensor for tensor in case.tensors if tensor.name in dumps]
    taps = tuple(compare_tap(tensor, dumps[tensor.name], tensor.name in stale) for tensor in dumped)
    root = next((tap.tap for tap in taps if not tap.matches), None)
    agreed = [tap.tap for tap in taps if tap.matches]
    diagnosis = None if root is None else diagnose(case, root, dumps[root], agreed)
    return CaseReport(case.name, case.operation.name, taps, root, diagnosis)


def compare(
    vectors: Path,
    outputs: Path,
    progress: Callable[[str, int, int], None] | None = None,
    require: Collection[str] = (),
) -> DutReport:
    """Compare what a design dumped into `outputs` with the vector set at `vectors`.

    Dumps are CASE/TENSOR.hex or CASE.TENSOR.hex, of outputs or any tap. A file that cannot be compared hides no other:
    it is in the report. `progress` is called with a case's name, its number from 0, and the number of cases.
    `require` names cases that must be dumped, or is "all" of them.

    Raises:
        BitrowError: no set, no folder, no hex file in it, a required case that the set has not.
    """
    names = store.case_names(vectors)
    required = _required(names, require)
    entries = {name: schema.read_case_json(vectors, name) for name in names}
    found, unread = find_dumps(outputs, {name: [t.name for t in entry.tensors] for name, entry in entries.items()})
    made = (vectors / schema.MANIFEST).stat().st_mtime
    reports = []
    dumped = [name for name in names if name in found]
    for number, name in enumerate(dumped):
        if progress is not None:
            progress(name, number, len(dumped))
        case = store.read_case(vectors, name)
        dumps, old = {}, set()
        for tensor, path in found[name].items():
            try:
                dumps[tensor] = _read(path, case.tensor(tensor))
            except BitrowError as error:
                unread.append(Unread(path, str(error)))
                continue
            if path.stat().st_mtime < made:
                old.add(tensor)
        if dumps:
            reports.append(compare_case(case, dumps, old))
    return DutReport(tuple(reports), tuple(name for name in names if name not in found), tuple(unread), required)


def _required(names: Collection[str], require: Collection[str]) -> frozenset[str]:
    for name in require:
        if name not in names and name != "all":
            raise BitrowError(f"require: found {name!r}, expected all or a case of the set")
    return frozenset(names if "all" in require else require)


def _read(path: Path, tensor: Tensor) -> Dump:
    """A dump; where its count is wrong, the error says which words are missing or too many.

    Raises:
        BitrowError: as `read_dump`.
    """
    try:
        return read_dump(path, tensor.encoding, int(np.size(tensor.data)), str(path))
    except Miscounted as error:
        golden = file_words(np.asarray(tensor.data), tensor.encoding)
        raise BitrowError(f"{error}{_slip(golden, error.words, tensor.layout)}") from None


def _slip(golden: np.ndarray, found: np.ndarray, layout: str) -> str:
    """Where a dump of the wrong count slips: words that are missing, or come twice or from elsewhere."""
    expected = golden.reshape(-1).astype(np.int64)
    short = expected.size - found.size
    if abs(short) > expected.size or found.size < 2:
        return ""
    most = min(expected.size, found.size)
    wrong = np.flatnonzero(expected[:most] != found[:most])
    first = int(wrong[0]) if wrong.size else most
    kept, rest = (expected[first + short :], found[first:]) if short > 0 else (expected[first:], found[first - short :])
    if not np.array_equal(kept, rest):
        return f"; the first that differs is word {first}" if first < most else ""
    place = np.unravel_index(min(first, expected.size - 1), golden.shape)
    where = f"word {first} ({place_text(layout, tuple(int(i) for i in place))})"
    number = "" if abs(short) == 1 else f"{abs(short)} words from "
    if short > 0:
        return f"; {number}{where} {'is' if short == 1 else 'are'} missing, the others are right"
    return f"; {number}{where} {'is' if short == -1 else 'are'} inserted or doubled, the others are right"


def to_json(report: DutReport) -> dict[str, Any]:
    """The report as a JSON object, words in hex."""
    return {
        "matches": report.matches,
        "missing": list(report.missing),
        "lacking": list(report.lacking),
        "unread": [{"file": str(one.path), "message": one.message} for one in report.unread],
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
                "stale": tap.stale,
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
