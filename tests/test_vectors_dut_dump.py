"""Dumps as simulators write them, and the report of where they differ (SPEC.md V2, T1)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bitrow.contract.encoding import FP16_WORD, FP32_WORD, code_encoding, integer_encoding
from bitrow.errors import BitrowError
from bitrow.formats import Fxp
from bitrow.vectors.case import Case
from bitrow.vectors.diagnose import dut
from bitrow.vectors.files import hexfile
from bitrow.vectors.files.decode import ulps
from bitrow.vectors.files.dump import read_dump
from vectors_samples import batch_case, conv_case, frozen_case, write

ICARUS = """// 0x00000000
3609
b657
xxxx
// 0x00000003
3509
"""


def read(tmp_path: Path, text: str, count: int = 4, encoding=FP16_WORD):
    path = tmp_path / "dump.hex"
    path.write_bytes(text.encode())
    return read_dump(path, encoding, count, "dump.hex")


SAME = {
    "plain": "3609\nb657\nABCD\n3509\n",
    "one line": "3609 b657 abcd 3509",
    "upper case": "3609\nB657\nABCD\n3509\n",
    "blank lines": "\n3609\n\nb657\nabcd\n\n3509\n\n",
    "carriage returns": "3609\r\nb657\r\nabcd\r\n3509\r\n",
    "comments": "// from h3\n3609 // first\nb657\n/* 1234\n5678 */ abcd\n3509\n",
    "addresses": "@00000000\n3609\nb657\n@2\nabcd\n@3\n3509\n",
    "out of order": "@2\nabcd\n3509\n@0\n3609\nb657\n",
    "short digits": "3609\nb657\nabcd\n3509",
    "wide digits": "00003609\n0000b657\n0000abcd\n00003509\n",
    "underscores": "36_09\nb6_57\nab_cd\n35_09\n",
}


@pytest.mark.parametrize("kind", SAME)
def test_dump_formats(tmp_path: Path, kind: str) -> None:
    """SPEC.md V2: what benches and `$writememh` write, whatever the case, comments and addresses."""
    dump = read(tmp_path, SAME[kind])
    assert dump.words.tolist() == [0x3609, 0xB657, 0xABCD, 0x3509] and not dump.undriven.any()


def test_undriven_words(tmp_path: Path) -> None:
    """SPEC.md V2: a word with any x or z digit, and an address that is skipped, is undriven."""
    assert read(tmp_path, ICARUS).undriven.tolist() == [False, False, True, False]
    assert read(tmp_path, "3xxx\nZZZZ\n36?9\n3509\n").undriven.tolist() == [True, True, True, False]
    skipped = read(tmp_path, "@1\n3609\n@3\n0001\n")
    assert skipped.undriven.tolist() == [True, False, True, False] and skipped.words.tolist() == [
        0,
        0x3609,
        0,
        1,
    ]


WRONG = {
    "too few": ("3609\n", "found 1 words, expected 4"),
    "none": ("// nothing\n", "found 0 words, expected 4"),
    "too many": ("1 2 3 4 5", "found a word at address 4, expected 4 words"),
    "address": ("@10\n3609\n", "found a word at address 16, expected 4 words"),
    "non-hex": ("3609\nhello\n0000\n0000", "dump.hex word 1: found the non-hex word 'hello'"),
    "over-wide": ("3609\n13609\n0000\n0000", "dump.hex word 1: found '13609', expected at most 16 bits"),
    "binary": ("\x00\x01\x02", "non-hex word"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_malformed_dumps(tmp_path: Path, kind: str) -> None:
    """SPEC.md V2: a dump that cannot be one is told in one line, with the word's number."""
    text, message = WRONG[kind]
    with pytest.raises(BitrowError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_narrow_words(tmp_path: Path) -> None:
    """SPEC.md V2: a code dumped wider than it is must have only zeros above."""
    assert read(tmp_path, "07\n0f\n1\n8\n", encoding=code_encoding(Fxp(4))).words.tolist() == [7, 15, 1, 8]
    with pytest.raises(BitrowError, match="at most 3 bits"):
        read(tmp_path, "7\n8\n1\n2\n", encoding=code_encoding(Fxp(3)))


def test_distances() -> None:
    """SPEC.md F1: neighbours are one ulp apart across zero and binades; a NaN has no distance."""
    assert ulps(0x3C01, 0x3C00, FP16_WORD) == 1 and ulps(0x8001, 0x0001, FP16_WORD) == -2
    assert ulps(0x7C00, 0x7BFF, FP16_WORD) == 1 and ulps(0x8000, 0x0000, FP16_WORD) == 0
    assert ulps(0x0400, 0x03FF, FP16_WORD) == 1 and ulps(0x7E00, 0x3C00, FP16_WORD) is None
    assert ulps(0xBF800001, 0xBF800000, FP32_WORD) == -1
    assert ulps(0xF, 0x1, code_encoding(Fxp(4))) == -2 and ulps(0xFFF, 1, integer_encoding(10)) == -2


def export(folder: Path, case: Case, name: str, words: np.ndarray, flat: bool = False) -> Path:
    """Dump `words` of a tensor as a design would."""
    encoding = case.tensor(name).encoding
    path = folder / f"{case.name}.{name}.hex" if flat else folder / case.name / f"{name}.hex"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(hexfile.hex_chunks(np.asarray(words), encoding)))
    return path


def test_report_of_a_mismatch(tmp_path: Path) -> None:
    """SPEC.md T1: case, tap, row, column, channel, element, both words decoded, and the distance in ulp."""
    conv, frozen, batch = conv_case(bias=True), frozen_case(), batch_case()
    vectors = write(tmp_path / "set", conv, frozen, batch)
    outputs = tmp_path / "out"
    for tensor in conv.tensors:
        export(outputs, conv, tensor.name, tensor.data)
    deq, y = conv.tensor("deq").data.copy(), conv.tensor("y").data.copy()
    deq[1, 2, 3, 1] += 1
    y[1, 2, 3, 1] ^= 0x8000
    export(outputs, conv, "deq", deq)
    export(outputs, conv, "y", y)
    export(outputs, frozen, "z", frozen.tensor("z").data, flat=True)
    report = dut.compare(vectors, outputs)
    assert not report.matches and report.missing == ("batch",)
    first, second = report.cases
    assert (first.case, first.root, first.matches) == ("conv", "deq", False)
    assert (second.case, second.root, second.matches) == ("frozen", None, True)
    taps = {tap.tap: tap for tap in first.taps}
    assert {name for name, tap in taps.items() if not tap.matches} == {"deq", "y"}
    (mismatch,) = taps["deq"].first
    element = int(np.ravel_multi_index((1, 2, 3, 1), deq.shape))
    golden = int(conv.tensor("deq").data[1, 2, 3, 1])
    assert (mismatch.element, mismatch.index) == (element, (1, 2, 3, 1))
    assert mismatch.place == "row n=1 oh=2, column 3, channel 1"
    assert (mismatch.found, mismatch.expected) == (golden + 1, golden) and abs(mismatch.ulps or 0) == 1
    lines = "\n".join(report.lines())
    assert (
        f"conv deq element {element} (row n=1 oh=2, column 3, channel 1): found 0x{golden + 1:04x}" in lines
    )
    assert "conv: deq is the first in dataflow order that differs; y may only follow from it" in lines
    assert "conv y: 1 of 240 words differ" in lines and "frozen: 1 tensors, 120 words match" in lines
    assert "not dumped: batch" in lines
    as_json = json.loads(json.dumps(dut.to_json(report)))
    assert as_json["cases"][0]["root"] == "deq" and as_json["missing"] == ["batch"]
    assert as_json["cases"][0]["taps"][-1]["first"][0]["index"] == [1, 2, 3, 1]


def test_undriven_words_are_told_apart(tmp_path: Path) -> None:
    """SPEC.md T1: a design that drives nothing is not diagnosed, and is not taken for one that differs."""
    frozen = frozen_case()
    vectors = write(tmp_path / "set", frozen)
    path = export(tmp_path / "out", frozen, "z", frozen.tensor("z").data)
    text = path.read_text().split("\n")
    path.write_text("\n".join(["xxxx", *text[1:]]))
    (case,) = dut.compare(vectors, tmp_path / "out").cases
    assert (case.taps[0].mismatches, case.taps[0].undriven) == (1, 1)
    assert "found an undriven word (x or z)" in "\n".join(case.lines())
    assert "every differing word is undriven" in str(case.diagnosis)


FOLDERS = {
    "nothing there": (lambda out: None, "found nothing, expected the folder of a design's dumps"),
    "a file": (lambda out: out.write_text(""), "found a file, expected the folder"),
    "empty": (lambda out: out.mkdir(), "found no hex file"),
    "unknown case": (lambda out: dumped(out, "cnov/y.hex"), "found a hex file of no case"),
    "unknown tensor": (
        lambda out: dumped(out, "frozen/zz.hex"),
        "found no tensor 'zz' in frozen, expected y, a, b",
    ),
    "too deep": (lambda out: dumped(out, "run/frozen/z.hex"), "found a hex file of no case"),
    "twice": (lambda out: (dumped(out, "frozen/z.hex"), dumped(out, "frozen.z.hex")), "found a second dump"),
    "wrong count": (lambda out: dumped(out, "frozen/z.hex"), "frozen/z.hex: found 1 words, expected 120"),
}


def dumped(out: Path, name: str) -> None:
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("0000\n")


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_of_dumps_that_are_none(tmp_path: Path, kind: str) -> None:
    """SPEC.md V2: a misnamed or missing dump is refused, lest it be thought to have passed."""
    make, message = FOLDERS[kind]
    vectors = write(tmp_path / "set", frozen_case())
    make(tmp_path / "out")
    with pytest.raises(BitrowError) as caught:
        dut.compare(vectors, tmp_path / "out")
    assert message in str(caught.value) and "\n" not in str(caught.value)
