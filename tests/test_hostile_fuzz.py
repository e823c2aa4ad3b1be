"""Fuzzers of each file format: sound files with bytes, values and entries changed are taken or refused in one line.

What they have found stays as an `@example`.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from bitrow import model_file, zoo
from bitrow.contract.encoding import FP16_WORD
from bitrow.errors import BitrowError
from bitrow.images import read_samples
from bitrow.images.decode import Decoder
from bitrow.importers.command import read_float
from bitrow.pipeline import explore, explore_state
from bitrow.pipeline.cost_tables import Range, load_costs
from bitrow.pipeline.machine import load_machine
from bitrow.proofs import saved
from bitrow.reading import records
from bitrow.transfer import data
from bitrow.vectors import found, layer_file, taken_up
from bitrow.vectors.files import check, dump, hexfile, store
from bitrow.vectors.files.inspect import file_lines
from bitrow.vectors.generate import JudgeMismatch
from bitrow.vectors.operations import split
from bitrow.vectors.problem import Problem
from bitrow.vectors.trace.formats import ImageFormat
from bitrow.vectors.trace.tables import table_chunks
from bitrow.vectors.trace.verify import check_trace
from bitrow.vectors.trace.write import laid_out
from draws import examples
from hostile_samples import (
    MACHINE,
    accepts_or_refuses,
    bounded,
    class_folders,
    model,
    npz,
    picture,
    result_file,
    vector_set,
)
from keras_samples import KerasModel, functional, layer
from onnx_samples import OnnxGraph
from row_trace_samples import run
from tflite_samples import TfliteGraph

fuzzed = examples(60)

TOKENS = [b"", b"\0", b"\xff", b"\n", b"/*", b"*/", b"//", b"@", b"_", b"x", b"\x1b[31m", b'"', b"{", b"}",
          b"[", b"]", b":", b",", b"1e999", b"NaN", b"-", b"9" * 50, b"9" * 5_000, b"\\ud800", b"\\u0000", b"true",
          b"null", b"1.0", b"[" * 999, b"\xef\xbb\xbf", b"PK\x03\x04", b"IHDR", b"IDAT", b"\x93NUMPY", "٣".encode(),
          b"=", b"a.a.a", b"'", b'"""', b"0x", b"inf", b"2024-01-01"]  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn, sound: bytes) -> bytes:
    """Sound bytes with a few places overwritten, cut out, doubled or filled with what parsers stumble over."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        size = draw(st.integers(0, 40))
        match draw(st.sampled_from(("write", "insert", "cut", "double", "end"))):
            case "write":
                content[at : at + size] = draw(st.binary(min_size=size, max_size=size))
            case "insert":
                content[at:at] = draw(st.sampled_from(TOKENS))
            case "cut":
                del content[at : at + size]
            case "double":
                content[at:at] = content[at : at + size]
            case "end":
                del content[at:]
    return bytes(content)


ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1.0, 1e308, 2**31, 2**63, 10**30, "", "\x1b[31m\n", "x" * 5_000, "../x",
                     "\0", [], {}, [[]], [None], {"": None}, {"type": "ConvConfig"}, "0" * 64, "٣", "1",
                     [1, 2, 3, 4] * 50]),
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8),
    st.lists(st.integers(-3, 3), max_size=4),
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(part, (*path, key))


@st.composite
def changed(draw: st.DrawFn, sound: Any) -> Any:
    """A JSON value with a few of its parts replaced, taken out, or named anew."""
    value = json.loads(json.dumps(sound))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_places(value))))
        if not path:
            continue
        owner = value
        for key in path[:-1]:
            owner = owner[key]
        match draw(st.sampled_from(("replace", "replace", "remove", "add"))):
            case "replace":
                owner[path[-1]] = copy.deepcopy(draw(ODD))
            case "remove":
                del owner[path[-1]]
            case "add" if isinstance(owner, dict):
                owner[draw(st.text(max_size=5))] = copy.deepcopy(draw(ODD))
            case "add":
                owner.insert(0, copy.deepcopy(draw(ODD)))
    return value


def either(sound: bytes) -> st.SearchStrategy[bytes]:
    """JSON with its text or its values spoiled."""
    return st.one_of(spoiled(sound), changed(json.loads(sound)).map(lambda value: json.dumps(value).encode()))


@contextlib.contextmanager
def placed(name: str, content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


def _sound() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        root = vector_set(Path(folder))
        return {name: (root / name).read_bytes() for name in ("manifest.json", "conv/case.json", "conv/case.npz",
                                                             "frozen/z.hex", "conv/conv.h")}  # fmt: skip


SOUND = _sound()


@pytest.fixture(scope="module")
def whole_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vector_set(tmp_path_factory.mktemp("fuzz"))


def _checked(root: Path, name: str, content: bytes) -> None:
    (root / name).write_bytes(content)
    try:
        with bounded(), contextlib.suppress(BitrowError):
            for finding in check.check(root):
                assert str(finding).isprintable() and len(str(finding)) < 1_200
    finally:
        (root / name).write_bytes(SOUND[name])


@pytest.mark.parametrize("name", ["manifest.json", "conv/case.json"])
def test_json_of_sets(whole_set: Path, name: str) -> None:
    @fuzzed
    @hypothesis.given(changed(json.loads(SOUND[name])))
    @hypothesis.example(json.loads(SOUND[name]) | {"certificates": {"conv": "\0", "\x1b[31m" * 200: None}})
    def values(value: Any) -> None:
        _checked(whole_set, name, json.dumps(value).encode())

    @fuzzed
    @hypothesis.given(spoiled(SOUND[name]))
    def texts(content: bytes) -> None:
        _checked(whole_set, name, content)

    values()
    texts()


@pytest.mark.parametrize("name", ["conv/case.npz", "frozen/z.hex", "conv/conv.h"])
def test_other_files_of_sets(whole_set: Path, name: str) -> None:
    @fuzzed
    @hypothesis.given(spoiled(SOUND[name]))
    def contents(content: bytes) -> None:
        _checked(whole_set, name, content)

    contents()


@fuzzed
@hypothesis.given(spoiled(b"// dump\n@0 3c00 3C_01\nxxxx zzzz /* two\nlines */ 7e00\r\n@5\nfc00\n"))
@hypothesis.example(b"/*/")
@hypothesis.example(b"@" + b"f" * 5_000 + b" 0")
@hypothesis.example(b"\xef\xbb\xbf")
def test_dumps(content: bytes) -> None:
    with placed("a.hex", content) as path:
        accepts_or_refuses(lambda: dump.read_dump(path, FP16_WORD, 6, "a.hex"))
        accepts_or_refuses(lambda: dump.read_memory(path, 16, 6, "a.hex"))
        accepts_or_refuses(lambda: hexfile.read_hex(path, FP16_WORD, 6, "a.hex"))
        accepts_or_refuses(lambda: list(file_lines(path)))
        accepts_or_refuses(lambda: list(file_lines(path, "fxp3")))


TRACED = laid_out(run(), ("peak",), ImageFormat.READMEMH)


@examples(20)
@hypothesis.given(changed(records.write(TRACED.record)))
def test_runs_of_traces(value: Any) -> None:
    """A record of a trace, whose tables are there, is the run's or is refused."""
    with placed("case.json", json.dumps(value).encode()) as path:
        (path.parent / "tasks.csv").write_bytes(b"".join(table_chunks(TRACED.found, TRACED.places)["tasks.csv"]))
        (path.parent / "manifest.json").write_bytes(SOUND["manifest.json"])
        accepts_or_refuses(lambda: check_trace(path.parent))


@fuzzed
@hypothesis.given(spoiled(MACHINE))
@hypothesis.example(b"a = " + b"[" * 900)
@hypothesis.example(b"fxp_lanes = 1" + b"0" * 900)
@hypothesis.example(b"a" + b".a" * 400 + b"=1")
def test_machines(content: bytes) -> None:
    with placed("a.toml", content) as path:
        accepts_or_refuses(lambda: load_machine(path))


@fuzzed
@hypothesis.given(spoiled(b'[energy_pj.fxp_mac]\nlow = 0.1\nhigh = 0.2\nsource = "mine"\n'))
@hypothesis.example(b"energy_pj = 1")
@hypothesis.example(b"[energy_pj]\nfxp_mac = 1")
def test_costs(content: bytes) -> None:
    with placed("a.toml", content) as path:
        accepts_or_refuses(lambda: load_costs(path))


def _zipped() -> bytes:
    stream = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        root = class_folders(Path(folder))
        for file in sorted(root.rglob("*.png")):
            archive.write(file, file.relative_to(root).as_posix())
    return stream.getvalue()


LAYER_FILE = b"""layer = "convolution"
inputs = [[1, 4, 5, 3]]
direction = "forward"
[config]
padding = 1
x_format = { bits = 6, signed = false }
[size]
kh = 3
kw = 3
c_out = 2
[scales]
x = 0.25
w = 0.0625
dy = 1.0
[stimulus]
kind = "random"
seed = 7
arrays = "given.npz"
"""


def _given_arrays() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.ones((1, 4, 5, 3), np.float16), weight_code=np.ones((3, 3, 3, 2), np.int8))
    return stream.getvalue()


@fuzzed
@hypothesis.given(spoiled(LAYER_FILE), st.just(_given_arrays()))
@hypothesis.example(LAYER_FILE, _given_arrays())
@hypothesis.example(LAYER_FILE.replace(b"4, 5", b"65536, 65536"), _given_arrays())
@hypothesis.example(LAYER_FILE.replace(b"0.0625", b"[[0.5], 1]"), _given_arrays())
def test_layer_files(content: bytes, arrays: bytes) -> None:
    with placed("a.toml", content) as path:
        path.with_name("given.npz").write_bytes(arrays)
        accepts_or_refuses(lambda: layer_file.load(path))


@fuzzed
@hypothesis.given(spoiled(_given_arrays()))
def test_arrays_of_layer_files(content: bytes) -> None:
    test_layer_files.hypothesis.inner_test(LAYER_FILE, content)


@fuzzed
@hypothesis.given(st.sampled_from(("a.npz", "a.png", "a.zip")).flatmap(
    lambda name: st.tuples(st.just(name), spoiled({"a.npz": npz(), "a.png": picture(), "a.zip": _zipped()}[name]))))
def test_samples_of_a_network(file: tuple[str, bytes]) -> None:
    with placed(*file) as path:
        accepts_or_refuses(lambda: read_samples(path, (4, 5, 3), 2))


def _header() -> dict[str, Any]:
    size = int.from_bytes(model()[:8], "little")
    return json.loads(model()[8 : 8 + size])


def _model(header: Any) -> bytes:
    text = json.dumps(header).encode()
    size = int.from_bytes(model()[:8], "little")
    return struct.pack("<Q", len(text)) + text + model()[8 + size :]


GRAPH = json.loads(_header()["__metadata__"]["bitrow"])
FIRST = GRAPH["network"]["nodes"][0]


@fuzzed
@hypothesis.given(st.one_of(spoiled(model()), changed(_header()).map(_model)))
@hypothesis.example(model()[:100])
@hypothesis.example(_model(_header() | {"__metadata__": None}))
@hypothesis.example(_model(_header() | {"__metadata__": {"bitrow": json.dumps(GRAPH)}, "input": None}))
def test_models(content: bytes) -> None:
    with placed("m.safetensors", content) as path:
        accepts_or_refuses(lambda: model_file.load(path))


@fuzzed
@hypothesis.given(changed(GRAPH))
@hypothesis.example(GRAPH | {"network": GRAPH["network"] | {"nodes": [FIRST | {"config": {"type": []}}]}})
def test_graphs(graph: Any) -> None:
    header = _header()
    header["__metadata__"]["bitrow"] = json.dumps(graph)
    test_models.hypothesis.inner_test(_model(header))


def _onnx() -> bytes:
    g = OnnxGraph()
    x = g.add("Conv", g.quant("x", 0.5, 4), g.normal(4, 3, 3, 3), g.normal(4), pads=[1, 1, 1, 1])
    x = g.add("Gemm", g.add("Flatten", g.add("Relu", g.norm(x, 4))), g.normal(2, 256), transB=1)
    return bytes(g.model(x).SerializeToString())


@fuzzed
@hypothesis.given(spoiled(_onnx()))
def test_onnx_files(content: bytes) -> None:
    with placed("net.onnx", content) as path:
        accepts_or_refuses(lambda: read_float(path))


def _keras() -> KerasModel:
    ones = np.ones((3, 3, 3, 2), np.float32)
    vectors = [np.ones(2, np.float32)] * 4
    return functional(False, [
        (layer("InputLayer", "in", batch_shape=[None, 6, 6, 3]), []),
        (layer("Conv2D", "conv", kernel_size=[3, 3], padding="same", use_bias=False, arrays=[ones]), [["in"]]),
        (layer("BatchNormalization", "norm", epsilon=0.001, arrays=vectors), [["conv"]]),
        (layer("Add", "add"), [["conv", "norm"]]), (layer("MaxPooling2D", "pool", pool_size=[2, 2]), [["add"]]),
    ], "in", "pool")  # fmt: skip


KERAS = _keras()


@fuzzed
@hypothesis.given(st.one_of(spoiled(KERAS.to_bytes()), spoiled(KERAS.arrays()).map(KERAS.to_bytes),
                            changed(KERAS.plain()).map(lambda config: KERAS.to_bytes(config=config))))
def test_keras_files(content: bytes) -> None:
    with placed("net.keras", content) as path:
        accepts_or_refuses(lambda: read_float(path))


def _tflite() -> bytes:
    g = TfliteGraph((1, 4, 4, 2))
    weight = g.add("DEQUANTIZE", [g.normal(3, 3, 3, 2, dtype="float16")], (3, 3, 3, 2))
    x = g.window("CONV_2D", [g.x, weight, g.normal(3)], (1, 2, 2, 3), StrideH=2, StrideW=2, FusedActivationFunction=1)
    x = g.add("RESHAPE", [x], (1, 12))
    g.add("FULLY_CONNECTED", [x, g.normal(5, 12)], (1, 5), "FullyConnectedOptions", FusedActivationFunction=0,
          WeightsFormat=0, KeepNumDims=0)  # fmt: skip
    return g.to_bytes()


@fuzzed
@hypothesis.given(spoiled(_tflite()))
def test_tflite_files(content: bytes) -> None:
    with placed("net.tflite", content) as path:
        accepts_or_refuses(lambda: read_float(path))


@fuzzed
@hypothesis.given(either(result_file()))
@hypothesis.example(b'{"schema": "bitrow-prove-3", "machines": [1, 1e400]}')
def test_results_of_prove(content: bytes) -> None:
    with placed("r.json", content) as path:
        accepts_or_refuses(lambda: saved.load(path))


SEARCH = explore.Search(zoo.build("resnet8"), (("banks", (8, 16)),))
BATCHES = explore.batches(list(explore.machines(SEARCH)))


def _search_file() -> bytes:
    """What `explore` writes of two machines, one of which cannot run."""
    point = explore.Point(9, 8, 7, Range(1.5, 2.5), Range(3.0, 4.0))
    with tempfile.TemporaryDirectory() as folder:
        explore_state.begin(Path(folder) / "s", SEARCH).add(BATCHES[0], [point, "found none"])
        return (Path(folder) / "s").read_bytes()


def _forged(value: object) -> bytes:
    """The file with another result of the batch, sealed as one who knows the form can."""
    head, line = _search_file().splitlines()
    rest = line.split()[1] + b" " + json.dumps(value).encode() + b"\n"
    return head + b"\n" + hashlib.sha256(rest).hexdigest().encode() + b" " + rest


@fuzzed
@hypothesis.given(st.one_of(spoiled(_search_file()), changed([[9, 8, 7, 1.5, 2.5, 3.0, 4.0], ""]).map(_forged)))
@hypothesis.example(_forged([[9, 8, 7, 1e400, 2.5, 3.0, 4.0], ""]))
@hypothesis.example(_forged([[True, 8, 7, 1.5, 2.5, 3.0, 4.0], ""]))
def test_states_of_explore(content: bytes) -> None:
    with placed("s", content) as path:
        accepts_or_refuses(lambda: explore_state.begin(path, SEARCH).get(BATCHES[0]))


KEPT_CASE = store.read_case(Path(__file__).parents[1] / "golden/v1", "relu6_backward")
PROBLEM = Problem(KEPT_CASE.name, KEPT_CASE.operation, KEPT_CASE.config, split(KEPT_CASE)[0])
FOUND = JudgeMismatch(KEPT_CASE.name, "dx", (0, 1), {"stored": "0000", "oracle": "8000"})


@fuzzed
@hypothesis.given(changed(taken_up._case_written((KEPT_CASE, 0.5))))
def test_cases_that_generate_kept(value: object) -> None:
    accepts_or_refuses(lambda: taken_up._case_read(PROBLEM, value))


@fuzzed
@hypothesis.given(changed(taken_up._mismatches_written([FOUND, FOUND])))
def test_what_verify_kept(value: object) -> None:
    accepts_or_refuses(lambda: taken_up._mismatches_read(KEPT_CASE, value))


RECORD = found.CORPUS.read_bytes().splitlines()[0]


@fuzzed
@hypothesis.given(either(RECORD))
@hypothesis.example(json.dumps(json.loads(RECORD) | {"operation": None}).encode())
@hypothesis.example(json.dumps(json.loads(RECORD) | {"config": {"type": []}}).encode())
def test_records_of_found_words(content: bytes) -> None:
    with placed("found.jsonl", content) as path:
        accepts_or_refuses(lambda: found.load(path))


@fuzzed
@hypothesis.given(spoiled(npz()))
def test_npz(content: bytes) -> None:
    with placed("a.npz", content) as path:
        accepts_or_refuses(lambda: data.load(path))


def _member(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("images.npy", content)
        archive.writestr("labels.npy", content)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@fuzzed
@hypothesis.given(spoiled(_npy(np.zeros((4, 2, 2), np.uint8))))
@hypothesis.example(_npy(np.zeros((0, 2, 2), np.uint8)))
@hypothesis.example(_npy(np.zeros((), np.uint8)))
def test_npy(content: bytes) -> None:
    with placed("a.npz", _member(content)) as path:
        accepts_or_refuses(lambda: data.load(path))


@fuzzed
@hypothesis.given(spoiled(picture()))
def test_pictures(content: bytes) -> None:
    accepts_or_refuses(lambda: Decoder("x", None, 1, len(content)).put(0, ("a.png",), content))


@fuzzed
@hypothesis.given(spoiled(_zipped()))
def test_zips(content: bytes) -> None:
    with placed("a.zip", content) as path:
        accepts_or_refuses(lambda: data.load(path))


IDX = b"\0\0\x08\x03" + struct.pack(">III", 8, 2, 2) + bytes(range(32))


@fuzzed
@hypothesis.given(spoiled(IDX), spoiled(b"\0\0\x08\x01" + struct.pack(">I", 8) + bytes(range(4)) * 2))
@hypothesis.example(IDX, b"\0\0\x0e\x01" + struct.pack(">I", 8) + bytes(64))
def test_idx(images: bytes, labels: bytes) -> None:
    with placed("train-images-idx3-ubyte", images) as path:
        path.with_name("train-labels-idx1-ubyte").write_bytes(labels)
        accepts_or_refuses(lambda: data.load(path))


