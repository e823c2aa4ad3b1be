"""Vector sets on disk: hex files, arrays, JSON, one tensor at a time (SPEC.md V1 to V4)."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow.contract.encoding import (
    FP16_WORD,
    FP32_WORD,
    INDEX_WORD,
    LFSR_WORD,
    MASK_WORD,
    PACKED_BYTE,
    Encoding,
    Kind,
    Role,
    code_encoding,
    integer_encoding,
)
from bitrow.contract.units import UNITS
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Fxp
from bitrow.reading import records
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.files import hexfile, schema, store
from bitrow.vectors.files.check import check
from vectors_samples import EXTRA, batch_case, conv_backward_case, conv_case, frozen_case, write

ENCODINGS = [
    FP16_WORD,
    FP32_WORD,
    MASK_WORD,
    INDEX_WORD,
    LFSR_WORD,
    PACKED_BYTE,
    *(code_encoding(Fxp(bits, signed)) for bits in range(2, 9) for signed in (False, True)),
    *(integer_encoding(bits) for bits in (8, 9, 16, 22, 24, 31, 32)),
]


def limits(encoding: Encoding) -> tuple[int, int]:
    if encoding.signed:
        return -(1 << (encoding.bits - 1)), (1 << (encoding.bits - 1)) - 1
    return 0, (1 << encoding.bits) - 1


@given(st.data())
def test_every_encoding_survives_hex(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """SPEC.md V2: one lower-case word on a line, zero-padded, two's complement; reading gives it back."""
    encoding = data.draw(st.sampled_from(ENCODINGS))
    low, high = limits(encoding)
    values = np.array(data.draw(st.lists(st.integers(low, high), min_size=1, max_size=40)), encoding.dtype)
    text = b"".join(hexfile.hex_chunks(values, encoding))
    lines = text.decode("ascii").split("\n")
    assert lines[-1] == "" and len(lines) == values.size + 1
    width = 4 * -(-encoding.bits // 4) if encoding.kind is Kind.INTEGER else encoding.bits
    expected = [f"{int(v) % (1 << width):0{-(-encoding.bits // 4)}x}" for v in values.tolist()]
    assert lines[:-1] == expected
    path = tmp_path_factory.mktemp("hex") / "words.hex"
    path.write_bytes(text)
    words = hexfile.read_hex(path, encoding, values.size, "words.hex")
    np.testing.assert_array_equal(hexfile.from_file_words(words, encoding), values, strict=True)


def test_records_read_are_written_again_byte_by_byte() -> None:
    """SPEC.md V3, V4: the JSON of the committed set, by the fields of its records."""
    golden = Path(__file__).parents[1] / "golden" / "v1"
    manifest = schema.read_manifest(golden)
    assert schema.to_json(records.write(manifest)) == (golden / "manifest.json").read_bytes()
    for name in manifest.cases:
        text = (golden / name / "case.json").read_bytes()
        assert schema.to_json(schema.case_json(schema.read_case_json(golden, name))) == text


def test_hex_larger_than_a_chunk(tmp_path: Path) -> None:
    """SPEC.md V2: chunks join without a seam, and a wrong word in a late chunk is found on its line."""
    values = (np.arange(hexfile.CHUNK_WORDS * 2 + 3, dtype=np.uint32) * 2654435761 >> 16).astype(np.uint16)
    path = tmp_path / "big.hex"
    path.write_bytes(b"".join(hexfile.hex_chunks(values, FP16_WORD)))
    read = hexfile.read_hex(path, FP16_WORD, values.size, "big.hex")
    np.testing.assert_array_equal(read, values.astype(np.uint32))
    content = bytearray(path.read_bytes())
    line = hexfile.CHUNK_WORDS + 5
    content[5 * (line - 1)] = ord("g")
    path.write_bytes(content)
    with pytest.raises(BitrowError, match=rf"big\.hex line {line}: found the non-hex word"):
        hexfile.read_hex(path, FP16_WORD, values.size, "big.hex")


def test_files_of_a_set(tmp_path: Path) -> None:
    """SPEC.md V1, V3, V4: every file, its checksum, and a manifest that says where the set comes from."""
    folder = write(tmp_path / "set", conv_case(bias=True), frozen_case())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["schema"] == schema.SCHEMA and manifest["spec_version"] == schema.SPEC_VERSION
    assert manifest["seed"] == EXTRA["seed"] and manifest["versions"] == EXTRA["versions"]
    assert manifest["cases"] == ["conv", "frozen"]
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert present == {*manifest["files"], "manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    case = json.loads((folder / "conv" / "case.json").read_text())
    tensors = {tensor["name"]: tensor for tensor in case["tensors"]}
    assert case["operation"] == "conv.forward" and case["clauses"] == ["C1", "V3"]
    assert case["overflow"] == {"fp16": "infinity", "accumulator": "error"}
    assert tensors["x"] == {
        "name": "x", "role": "input", "file": "x.hex", "shape": [2, 5, 6, 3], "layout": "n h w c_in",
        "encoding": "fp16", "bits": 16, "word_bits": 16, "signed": False, "packing": "none",
    }  # fmt: skip
    assert tensors["y"]["role"] == "output" and tensors["acc"]["bits"] == 24


@pytest.mark.parametrize("case", [conv_case(bias=True), conv_backward_case(), frozen_case(), batch_case()])
def test_round_trip(tmp_path: Path, case: Case) -> None:
    """SPEC.md V1: hex, arrays and JSON give back the case that was written, and a check finds nothing."""
    folder = write(tmp_path / "set", case)
    assert check(folder) == []
    back = store.read_case(folder, case.name)
    assert (back.name, back.operation, back.config) == (case.name, case.operation, case.config)
    assert (back.clauses, back.bins, back.rows_checked) == (case.clauses, case.bins, case.rows_checked)
    for found, expected in zip(back.tensors, case.tensors, strict=True):
        assert (found.name, found.role, found.encoding) == (expected.name, expected.role, expected.encoding)
        assert found.layout == expected.layout
        np.testing.assert_array_equal(found.data, expected.data, strict=True)


def test_arrays_are_plain_npz(tmp_path: Path) -> None:
    """SPEC.md V1: numpy alone reads `case.npz`, as integer bit views."""
    case = frozen_case()
    folder = write(tmp_path / "set", case)
    with np.load(folder / "frozen" / "case.npz", allow_pickle=False) as found:
        assert found.files == [tensor.name for tensor in case.tensors]
        for tensor in case.tensors:
            np.testing.assert_array_equal(found[tensor.name], tensor.data, strict=True)
    with zipfile.ZipFile(folder / "frozen" / "case.npz") as members:
        assert {info.date_time for info in members.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in members.infolist()} == {zipfile.ZIP_STORED}


def test_bytes_are_fixed(tmp_path: Path) -> None:
    """SPEC.md V4: the same cases give the same bytes, wherever and whenever they are written."""
    first = write(tmp_path / "first", conv_case(), batch_case())
    second = write(tmp_path / "second", conv_case(), batch_case())
    names = sorted(p.relative_to(first).as_posix() for p in first.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(second).as_posix() for p in second.rglob("*") if p.is_file())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


class Late:
    """An array made when it is asked for."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.full((2, 3), self.value, np.uint16)


def test_tensors_may_come_late(tmp_path: Path) -> None:
    """SPEC.md V1: cases and tensors are consumed one at a time, so that a large set needs little memory."""
    taken: list[str] = []

    def tensors():
        for name in ("a", "b"):
            taken.append(name)
            data = Late(len(taken))
            yield Tensor(name, Role.INPUT, FP16_WORD, "n i", data)  # type: ignore[arg-type]
            assert (tmp_path / f".set.bitrow-partial-{token()}" / "late" / f"{name}.hex").stat().st_size == 30

    def token() -> str:
        (partial,) = tmp_path.glob(".set.bitrow-partial-*")
        return partial.name.rpartition("-")[2]

    case = Case("late", UNITS["add"], FloatMode(), tensors(), ())  # type: ignore[arg-type]
    summary = store.write_set(tmp_path / "set", [case], EXTRA)
    assert taken == ["a", "b"] and (summary.tensors, summary.words) == (2, 12)
    assert (tmp_path / "set" / "late" / "b.hex").read_text() == "0002\n" * 6


def test_coverage_may_be_filled_while_writing(tmp_path: Path) -> None:
    """SPEC.md V4: what the manifest says may grow with the cases."""
    extra = {"seed": 1, "versions": EXTRA["versions"], "coverage": {}}

    def cases():
        yield frozen_case()
        extra["coverage"] = {"tie_lower": 2}

    store.write_set(tmp_path / "set", cases(), extra)
    assert json.loads((tmp_path / "set" / "manifest.json").read_text())["coverage"] == {"tie_lower": 2}


def tensor(**changes: object) -> Tensor:
    plain = Tensor("a", Role.INPUT, FP16_WORD, "n", np.zeros(3, np.uint16))
    return replace(plain, **changes)  # type: ignore[arg-type]


CODE4 = code_encoding(Fxp(4))
REFUSED = {
    "upper case": (tensor(name="A"), "name: found 'A'"),
    "dot": (tensor(name="a.b"), "name: found 'a.b'"),
    "slash": (tensor(name="../a"), "name: found '../a'"),
    "double underscore": (tensor(name="a__b"), "name: found 'a__b'"),
    "long": (tensor(name="a" * 65), "expected up to 64"),
    "dtype": (tensor(data=np.zeros(3, np.float16)), "found float16, expected uint16"),
    "axes": (tensor(layout="n h"), "layout: found 'n h' for the shape [3]"),
    "axis twice": (tensor(layout="n n", data=np.zeros((1, 1), np.uint16)), "layout: found 'n n'"),
    "axis name": (tensor(layout="n-1"), "layout: found 'n-1'"),
    "empty": (tensor(data=np.zeros(0, np.uint16)), "shape: found [0]"),
    "code range": (tensor(encoding=CODE4, data=np.array([0, 8, 0], np.int8)), "element 1: found 8"),
    "mask": (tensor(encoding=MASK_WORD, data=np.array([0, 1, 2], np.uint8)), "element 2: found 2"),
    "bits": (tensor(encoding=Encoding(Kind.FP16, 15)), "bits: found 15"),
    "sign": (tensor(encoding=Encoding(Kind.INTEGER, 24)), "signed: found False"),
    "accumulator": (
        tensor(encoding=integer_encoding(9), data=np.array([0, 256, 0], np.int32)),
        "element 1: found 256, expected -256 to 255",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_malformed_tensors_are_refused(tmp_path: Path, kind: str) -> None:
    """SPEC.md V2, V5: a tensor that its words cannot hold is refused, and nothing is left."""
    bad, message = REFUSED[kind]
    case = Case("bad", UNITS["add"], FloatMode(), (bad,), ())
    with pytest.raises(BitrowError) as caught:
        store.write_set(tmp_path / "set", [frozen_case(), case], EXTRA)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_are_unique(tmp_path: Path) -> None:
    """SPEC.md V1: two cases, or two tensors of a case, never share a name."""
    with pytest.raises(BitrowError, match="two cases of this name"):
        write(tmp_path / "set", frozen_case(), frozen_case())
    twice = Case("twice", UNITS["add"], FloatMode(), (tensor(), tensor()), ())
    with pytest.raises(BitrowError, match="two tensors a"):
        write(tmp_path / "set", twice)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", [conv_case(), frozen_case(), batch_case()])
def test_configuration_survives_json(case: Case) -> None:
    """SPEC.md V3: the configuration is read back as the value that it was."""
    text = json.dumps(records.write(case.config))
    assert records.read(schema.OperationConfig, json.loads(text), "config") == case.config
