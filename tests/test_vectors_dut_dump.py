"""Dumps as simulators write them, and the report of where they differ (SPEC.md V2, T1)."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bitrow.contract.encoding import FP16_WORD, FP32_WORD, code_encoding, integer_encoding
from bitrow.errors import BitrowError
from bitrow.formats import Fxp
from bitrow.vectors.case import Case
from bitrow.vectors.diagnose import dut
from bitrow.vectors.diagnose.junit import junit
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
    "prefix": "0x3609\n0XB657\n0xabcd\n0x3509\n",
    "hash comments": "# from a script\n3609 # first\nb657\nabcd\n3509\n",
    "another base": "@1000\n3609\nb657\n@1002\nabcd\n3509\n",
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
    "too many": ("1 2 3 4 5", "found 5 words, expected 4"),
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
}
FILES = {
    "unknown case": (lambda out: dumped(out, "cnov/y.hex"), "cnov/y.hex: found a hex file of no case"),
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
    """SPEC.md V2: where nothing can be compared, one line says so."""
    make, message = FOLDERS[kind]
    vectors = write(tmp_path / "set", frozen_case())
    make(tmp_path / "out")
    with pytest.raises(BitrowError) as caught:
        dut.compare(vectors, tmp_path / "out")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_dump_hides_no_other(tmp_path: Path, kind: str) -> None:
    """SPEC.md V2: a misnamed, second or miscounted dump fails the comparison, and the other dumps are compared."""
    make, message = FILES[kind]
    conv = conv_case()
    vectors = write(tmp_path / "set", frozen_case(), conv)
    make(tmp_path / "out")
    export(tmp_path / "out", conv, "y", conv.tensor("y").data ^ 0x8000)
    report = dut.compare(vectors, tmp_path / "out")
    assert not report.matches and message in "\n".join(report.lines())
    assert report.differing == ("conv",) and report.cases[-1].diagnosis is not None
    unread = dut.to_json(report)["unread"]
    assert any(message in one["message"] for one in unread) and all(one["file"].endswith(".hex") for one in unread)


SLIPS = {
    "one is missing": (lambda w: np.delete(w, 37), "word 37 (row n=0 h=1, column 4, channel 1) is missing, the others"),
    "three are missing": (lambda w: np.delete(w, [37, 38, 39]), "3 words from word 37 (row n=0 h=1, column 4"),
    "the last is missing": (lambda w: w[:-1], "word 119 (row n=1 h=2, column 4, channel 3) is missing"),
    "one is doubled": (lambda w: np.insert(w, 51, w[50]), "word 51 (row n=0 h=2, column 2, channel 3) is inserted or"),
    "one comes from elsewhere": (lambda w: np.insert(w, 50, 1), "word 50 (row n=0 h=2, column 2, channel 2) is in"),
    "more is wrong": (lambda w: np.delete(w, 37) ^ (np.arange(119) == 80), "; the first that differs is word 37"),
}


@pytest.mark.parametrize("kind", SLIPS)
def test_a_dropped_or_doubled_word_is_located(tmp_path: Path, kind: str) -> None:
    """SPEC.md V2: a handshake that loses or repeats a word gives a dump of another count; the line says which."""
    change, message = SLIPS[kind]
    frozen = frozen_case()
    words = frozen.tensor("z").data.reshape(-1).copy()
    words[30:] = 0x3C00 + np.arange(90)  # no two alike
    case = replace(frozen, tensors=tuple(
        replace(t, data=words.reshape(t.data.shape)) if t.name == "z" else t for t in frozen.tensors
    ))  # fmt: skip
    export(tmp_path / "out", case, "z", change(words.astype(np.int64)))
    (unread,) = dut.compare(write(tmp_path / "set", case), tmp_path / "out").unread
    assert message in unread.message


def test_signs_above_words(tmp_path: Path) -> None:
    """SPEC.md V2: codes and sums with their sign extended, in their own width, or in the word's are the same."""
    code, narrow = code_encoding(Fxp(4)), integer_encoding(11)
    for text in ("d 8 7 0", "fd f8 07 00", "fffffffd fffffff8 00000007 0"):
        assert read(tmp_path, text, encoding=code).words.tolist() == [0xD, 8, 7, 0]
    for text in ("fff c00 3ff 000", "7ff 400 3ff 0", "ffffffff fffffc00 3ff 0", "0x7ff 0x400 0x3ff 0x0"):
        assert read(tmp_path, text, encoding=narrow).words.tolist() == [0xFFF, 0xC00, 0x3FF, 0]
    for text in ("1d 8 7 0", "ed 8 7 0", "f7 8 7 0", "f" * 40 + " 8 7 0"):
        with pytest.raises(BitrowError, match="at most 4 bits"):
            read(tmp_path, text, encoding=code)
    with pytest.raises(BitrowError, match="at most 16 bits"):
        read(tmp_path, "ffff8000 0 0 0")  # an FP16 word has no sign to extend


def test_an_x_after_a_zero_is_a_digit_unless_every_word_has_it(tmp_path: Path) -> None:
    """SPEC.md V2: 0x36 among plain words is a word with an undriven digit."""
    assert read(tmp_path, "0x36\n3609\n0x12\n3509\n").undriven.tolist() == [True, False, True, False]
    assert read(tmp_path, "0x36xx\n0x3609\n0xzzzz\n0x3509\n").undriven.tolist() == [True, False, True, False]


def test_old_dumps_and_required_cases(tmp_path: Path) -> None:
    """SPEC.md V1, T1: a dump older than the set is pointed out; a required case that is not dumped fails."""
    frozen, conv = frozen_case(), conv_case()
    vectors = write(tmp_path / "set", frozen, conv)
    path = export(tmp_path / "out", frozen, "z", frozen.tensor("z").data)
    assert dut.compare(vectors, tmp_path / "out").stale == ()
    os.utime(path, (1, 1))
    report = dut.compare(vectors, tmp_path / "out", require=["frozen"])
    assert report.stale == ("frozen z",) and report.matches and "older than the set: frozen z" in list(report.lines())
    assert dut.to_json(report)["cases"][0]["taps"][0]["stale"]
    for require in (["all"], ["conv"], ["frozen", "conv"]):
        report = dut.compare(vectors, tmp_path / "out", require=require)
        assert not report.matches and report.lacking == ("conv",)
        assert "required, but not dumped: conv" in list(report.lines())
    with pytest.raises(BitrowError, match="require: found 'cnov', expected all or a case of the set"):
        dut.compare(vectors, tmp_path / "out", require=["cnov"])


def test_distances_are_of_numbers(tmp_path: Path) -> None:
    """SPEC.md V2: ulp for floating-point words, whole numbers for codes and sums, none for masks."""
    case = conv_case()
    vectors = write(tmp_path / "set", case)
    for name, by in (("x_code", 1), ("mask", 1), ("acc", 1), ("y", 1)):
        data = case.tensor(name).data
        export(tmp_path / "out", case, name, data ^ np.asarray(by, data.dtype))
    (found,) = dut.compare(vectors, tmp_path / "out").cases
    taps = {tap.tap: str(tap.first[0]) for tap in found.taps}
    assert taps["y"].endswith(" ulp") and "ulp" not in taps["acc"] + taps["x_code"] + taps["mask"]
    assert taps["acc"][-3:] in (", +1"[-3:], ", -1"[-3:]) and taps["mask"].endswith(")")


def test_junit(tmp_path: Path) -> None:
    """SPEC.md T1: a test for each case, failed, passed or skipped, and an error for a file that is no dump."""
    frozen, conv, batch = frozen_case(), conv_case(), batch_case()
    vectors = write(tmp_path / "set", frozen, conv, batch)
    out = tmp_path / "out"
    export(out, frozen, "z", frozen.tensor("z").data)
    export(out, conv, "y", conv.tensor("y").data ^ 0x8000)
    dumped(out, "stray\x01.hex")
    suite = ElementTree.fromstring(junit(dut.compare(vectors, out), vectors))
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    tests = {test.get("name"): test for test in suite}
    assert len(tests["frozen"]) == 0 and tests["batch"][0].tag == "skipped"
    failure = tests["conv"][0]
    assert failure.tag == "failure" and "the sign of each word turned" in str(failure.get("message"))
    assert "conv y element 0" in str(failure.text)
    required = ElementTree.fromstring(junit(dut.compare(vectors, out, require=["batch"]), vectors))
    assert required.get("failures") == "2"
