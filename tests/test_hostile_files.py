"""Every file of every command: what is no regular file, too large, or made to fill memory is refused in one line."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import socket
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitrow import model_file
from bitrow.pipeline.machine import load_machine
from bitrow.transfer import data
from hostile_samples import (
    MACHINE,
    class_folders,
    clean,
    model,
    model_with,
    npz,
    png,
    refused,
    refuses,
    result_file,
    run,
    vector_set,
)
from onnx_samples import OnnxGraph

Place = Callable[[Path], tuple[Path, tuple[object, ...]]]


def _in_set(name: str, *options: str) -> Place:
    def make(folder: Path) -> tuple[Path, tuple[object, ...]]:
        return vector_set(folder / "set") / name, ("verify", folder / "set", *options)

    return make


def _dump(folder: Path) -> tuple[Path, tuple[object, ...]]:
    (folder / "out").mkdir()
    return folder / "out" / "frozen.z.hex", ("verify", vector_set(folder / "set"), "--dut", folder / "out")


def _image(folder: Path) -> tuple[Path, tuple[object, ...]]:
    return class_folders(folder / "data") / "a" / "1.png", ("transfer", "--data", folder / "data")


def _idx(folder: Path) -> tuple[Path, tuple[object, ...]]:
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 4) + bytes(range(4)))
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\x03" + struct.pack(">III", 4, 2, 2) + bytes(16))
    return path, ("transfer", "--data", path)


def _file(name: str, *arguments: str) -> Place:
    def make(folder: Path) -> tuple[Path, tuple[object, ...]]:
        return folder / name, tuple(folder / name if part == "FILE" else part for part in arguments)

    return make


LAYER = b'layer = "ReLU"\ninputs = [[1, 2, 2, 1]]\n[stimulus]\narrays = "given.npz"\n'


def _arrays_of_a_layer(folder: Path) -> tuple[Path, tuple[object, ...]]:
    (folder / "layer.toml").write_bytes(LAYER)
    return folder / "given.npz", ("generate", "--layer-file", folder / "layer.toml", "--list")


def _samples(name: str) -> Place:
    def make(folder: Path) -> tuple[Path, tuple[object, ...]]:
        pass_of = ("generate", "--network", "resnet8_digits", "--out", folder / "out", "--images")
        return folder / name, (*pass_of, folder / name)

    return make


def _import_images(folder: Path) -> tuple[Path, tuple[object, ...]]:
    g = OnnxGraph((1, 1, 2, 2))
    path = g.save(folder, g.add("Relu", "x"))
    return folder / "data.npz", ("import", path, "--images", folder / "data.npz", "--out", folder / "none.safetensors")


def _results(folder: Path) -> tuple[Path, tuple[object, ...]]:
    from bitrow.proofs import registry, results
    from bitrow.proofs.claim import Effort

    name = results.file_name(results.new(registry.select(["fp16.add"]), Effort.QUICK), every=False)
    unfinished = (folder / name).with_suffix(".partial.json")
    return unfinished, ("prove", "claims", "fp16.add", "--jobs", "1", "--state", folder)


def _search(folder: Path) -> tuple[Path, tuple[object, ...]]:
    from bitrow.pipeline import explore_command, explore_state

    search = explore_command.search_of(explore_command.ExploreRun("resnet8"))
    return explore_state.place(folder, search), ("explore", "resnet8", "--jobs", "1", "--state", folder)


def _kept(kind: str, *arguments: str) -> Place:
    def make(folder: Path) -> tuple[Path, tuple[object, ...]]:
        from bitrow.vectors import taken_up

        out = vector_set(folder / "set") if kind == "verified" else folder / "set"
        return taken_up._place(out, kind), (*arguments, out)

    return make


FILES: dict[str, Place] = {
    "manifest": _in_set("manifest.json"),
    "case": _in_set("conv/case.json"),
    "arrays": _in_set("conv/case.npz"),
    "hex": _in_set("conv/x.hex"),
    "package": _in_set("conv/conv_pkg.sv", "--no-recompute"),
    "header": _in_set("conv/conv.h"),
    "dump": _dump,
    "inspect": _file("words.hex", "inspect", "FILE"),
    "machine": _file("machine.toml", "pipeline", "resnet8", "--machine", "FILE"),
    "ablate": _file("machine.toml", "ablate", "--machine", "FILE"),
    "costs": _file("costs.toml", "pipeline", "resnet8", "--costs", "FILE"),
    "model": _file("model.safetensors", "pipeline", "FILE"),
    "pass": _file("model.safetensors", "generate", "--network", "FILE", "--list"),
    "trained": _file("model.safetensors", "transfer", "--network", "FILE", "--limit", "20"),
    "layer": _file("layer.toml", "generate", "--layer-file", "FILE", "--list"),
    "arrays of a layer": _arrays_of_a_layer,
    "samples": _samples("samples.npz"),
    "pictures": _samples("pictures.zip"),
    "a picture": _samples("picture.png"),
    "certificates": _file("model.safetensors", "prove", "certificates", "FILE"),
    "float model": _file("model.safetensors", "transfer", "--network", "resnet8", "--model", "FILE", "--limit", "20"),
    "onnx": _file("net.onnx", "import", "FILE", "--out", "none.safetensors"),
    "keras": _file("net.keras", "import", "FILE", "--out", "none.safetensors"),
    "tflite": _file("net.tflite", "import", "FILE", "--out", "none.safetensors"),
    "images of an import": _import_images,
    "state dict": _file("net.safetensors", "import", "FILE", "--out", "none.safetensors"),
    "results": _results,
    "search": _search,
    "cases of a run": _kept("cases", "generate", "--suite", "fxp_pack_fxp4", "--out"),
    "what was verified": _kept("verified", "verify"),
    "npz": _file("data.npz", "transfer", "--data", "FILE"),
    "zip": _file("data.zip", "transfer", "--data", "FILE"),
    "image": _image,
    "idx": _idx,
}


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(6 << 30)


def _pipe_behind_a_link(path: Path) -> None:
    pipe = Path(tempfile.mkdtemp()) / "pipe"
    os.mkfifo(pipe)
    path.symlink_to(pipe)


ODD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "pipe behind a link": _pipe_behind_a_link,
    "zeros without end": _zero,
    "socket": _socket,
    "folder": Path.mkdir,
    "sparse file": _sparse,
    "loop of links": lambda path: path.symlink_to(path),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_sound_file_is_refused_at_once(tmp_path: Path, file: str, odd: str) -> None:
    if odd == "empty" and file in ("machine", "ablate", "costs"):
        return  # the default machine and its costs
    path, arguments = FILES[file](tmp_path)
    path.unlink(missing_ok=True)
    ODD[odd](path)
    line = refused(*arguments)
    assert path.name in line or odd in ("loop of links", "link to nothing", "folder") or file == "idx", line


def test_the_limit_is_raised_by_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "machine.toml"
    path.write_text("# xxxxxx\n" * 7_777 + "fxp_lanes = 64\n")
    refuses(lambda: load_machine(path), "found 70,008 bytes, expected at most 65,536 (BITROW_READ_LIMIT=BYTES")
    monkeypatch.setenv("BITROW_READ_LIMIT", "100000")
    assert load_machine(path).fxp_lanes == 64
    for bad in ("-1", "1e9", "٣", "9" * 30):
        monkeypatch.setenv("BITROW_READ_LIMIT", bad)
        refuses(lambda: load_machine(path), "BITROW_READ_LIMIT: found")


JSON_TEXTS = {
    "key twice": ('{"schema": 1, "schema": 1}', "the key 'schema' twice"),
    "deep": ("[" * 1_000 + "]" * 1_000, "nested more than 64 deep"),
    "deeper": ("[" * 200_000, "nested more than 64 deep"),
    "long number": ('{"schema": ' + "1" * 5_000 + "}", "a number of 5,000 digits"),
    "NaN": ('{"schema": NaN}', "found NaN"),
    "infinity": ('{"schema": -Infinity}', "found -Infinity"),
    "overflow": ('{"schema": 1e999}', "the number 1e999"),
    "half a pair": ('{"schema": "\\ud800"}', "half a surrogate pair"),
    "UTF-16": ('{"schema": 1}'.encode("utf-16"), "no JSON"),
    "escape codes": ('{"\x1b[31m": 1}', "no JSON"),
    "list": ("[]", "list"),
    "not UTF-8": (b"\xff", "no JSON"),
}


@pytest.mark.parametrize("text", JSON_TEXTS)
@pytest.mark.parametrize("file", ["manifest", "case", "results"])
def test_json_is_read_strictly(tmp_path: Path, file: str, text: str) -> None:
    path, arguments = FILES[file](tmp_path)
    content, words = JSON_TEXTS[text]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(*arguments, words="" if text == "list" else words)


@pytest.mark.parametrize("name", ["schema", "spec_version"])
@pytest.mark.parametrize("value", [1.0, True, "1", None, [1], 10**30])
def test_versions_are_whole_numbers(tmp_path: Path, name: str, value: object) -> None:
    path = vector_set(tmp_path / "set") / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    refused("verify", tmp_path / "set", words=f"{name}: found version {value}")


@pytest.mark.parametrize("value", [1.0, True, "1"])
def test_the_version_of_a_model_is_a_whole_number(tmp_path: Path, value: object) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_with(lambda header: header.update(version=value)))
    refuses(lambda: model_file.load(path), "version")


TOML_TEXTS = {
    "deep": ("name = " + "[\n" * 1_000 + "]\n" * 1_000, "deep"),
    "fairly deep": ("name = " + "[" * 100 + "]" * 100, "deep"),
    "long number": ("fxp_lanes = " + "1" * 5_000, "found a line of 5,012 characters"),
    "number": ("fxp_lanes = " + "1" * 900, "fxp_lanes: found"),
    "dotted": ("a." * 20_000 + "b = 1", "found a line of 40,005 characters"),
    "many dotted": (("a." * 490 + "b = 1\n[x]\n") * 60, "found"),
    "key twice": ("banks = 1\nbanks = 2", "no valid TOML"),
    "banks": ("banks = 1000000000", "banks: found 1000000000, expected a whole number from 1 to 512"),
    "Unicode digits": ("banks = ٣", "no valid TOML"),
    "escape codes": ('name = "\\u001b[31mred\\u0000"\nmac = "none"', "mac"),
    "not UTF-8": (b"\xff\xfe", "no UTF-8"),
    "long text": ('mac = "' + "x" * 990 + '"', "mac: found"),
}


@pytest.mark.parametrize("text", TOML_TEXTS)
def test_toml_is_read_strictly(tmp_path: Path, text: str) -> None:
    content, words = TOML_TEXTS[text]
    path = tmp_path / "a.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused("pipeline", "resnet8", "--machine", path, words=words)


def test_the_mark_of_utf_8_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf" + MACHINE)
    assert load_machine(tmp_path / "a.toml").fxp_lanes == 64
    (tmp_path / "a.hex").write_bytes(b"\xef\xbb\xbf3c00\n3c01\n")
    assert run("inspect", tmp_path / "a.hex").printed.startswith(f"{tmp_path}/a.hex: 2 words")
    folder = vector_set(tmp_path / "set")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "frozen.z.hex").write_bytes(b"\xef\xbb\xbf" + (folder / "frozen" / "z.hex").read_bytes())
    assert run("verify", folder, "--dut", tmp_path / "out").status == 0


def test_what_desktops_leave_is_no_part_of_a_set(tmp_path: Path) -> None:
    folder = vector_set(tmp_path / "set")
    for name in (".DS_Store", "conv/.DS_Store", "frozen/Thumbs.db"):
        (folder / name).write_bytes(b"junk")
    assert run("verify", folder, "--no-recompute").status == 0
    (folder / "conv" / "notes.txt").write_bytes(b"junk")
    refused("verify", folder, "--no-recompute", words="conv/notes.txt: found a file that manifest.json does not list")


DUMPS = {
    "comments that do not end": b"/* " * 700_000,
    "comments": b"/*/ " * 500_000,
    "addresses": b"@" + b"f" * 5_000 + b" 0",
    "long word": b"0" * 100_000,
    "long wide word": b"f" * 2_000_000,
    "address beyond": b"@ffffffffffffffff 0",
    "escape codes": b"\x1b[31m",
    "zeros": bytes(100),
    "marks": b"_" * 2_000_000,
}


@pytest.mark.parametrize("text", DUMPS)
def test_dumps_are_read_in_linear_time(tmp_path: Path, text: str) -> None:
    path, arguments = _dump(tmp_path)
    path.write_bytes(DUMPS[text])
    refused(*arguments, words="frozen.z.hex")
    if text not in ("addresses", "address beyond"):
        refused("inspect", path, words="frozen.z.hex")


def test_comments_of_dumps_still_end_where_they_did(tmp_path: Path) -> None:
    (tmp_path / "a.hex").write_bytes(b"/* a */ 3c00 // b /* c\n/**/3c01/*\n/ // */ 3c02 // end")
    assert ": 3 words" in run("inspect", tmp_path / "a.hex").printed
    (tmp_path / "a.hex").write_bytes(b"3c00 /*/ 3c01")
    refused("inspect", tmp_path / "a.hex", words="a comment that does not end")


def _npy(header: bytes, body: bytes = b"", version: int = 1) -> bytes:
    size = struct.pack("<H", len(header)) if version == 1 else struct.pack("<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + body


def _header(descr: str, shape: str, order: str = "False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


NPYS = {
    "unclosed": _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, "),
    "unhashable": _npy(b"{[]: 1}\n"),
    "Python 2": _npy(_header("'|u1'", "(4L, 2L, 2L)"), bytes(16)),
    "no dictionary": _npy(b"[1]\n"),
    "no literal": _npy(b"{'descr': open('x'), 'fortran_order': False, 'shape': ()}\n"),
    "deep": _npy(b"(" * 5_000 + b")" * 5_000),
    "void": _npy(_header("'|V0'", "(4,)")),
    "empty strings": _npy(_header("'|S0'", "(4,)")),
    "empty texts": _npy(_header("'<U0'", "(4,)")),
    "records": _npy(_header("[('a', '|u1')]", "(4,)"), bytes(4)),
    "objects": _npy(_header("'|O'", "(4,)"), bytes(32)),
    "dates": _npy(_header("'<M8[s]'", "(4,)"), bytes(32)),
    "complex": _npy(_header("'<c8'", "(4,2,2)"), bytes(128)),
    "negative": _npy(_header("'|u1'", "(-1, 2, 2)"), bytes(4)),
    "bool size": _npy(_header("'|u1'", "(True, 2, 2)"), bytes(4)),
    "huge": _npy(_header("'|u1'", "(1099511627776, 2, 2)"), bytes(4)),
    "overflowing": _npy(_header("'<f8'", "(4611686018427387904, 4, 4)"), bytes(4)),
    "many digits": _npy(_header("'|u1'", f"({'9' * 5000}, 2, 2)"), bytes(4)),
    "long header": _npy(b" " * 200_000 + _header("'|u1'", "(4, 2, 2)"), bytes(16), 2),
    "another version": _npy(_header("'|u1'", "(4, 2, 2)"), bytes(16), 9),
    "NUL": _npy(b"\0" * 60),
    "escape codes": _npy(_header("'\\x1b[31m'", "(4,)")),
    "nothing": b"",
}


def _zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("header", NPYS)
def test_npy_headers_are_one_line(tmp_path: Path, header: str) -> None:
    path = _zip(tmp_path / "a.npz", {"images.npy": NPYS[header], "labels.npy": NPYS[header]})
    refuses(lambda: data.load(path), "a.npz images.npy: found")
    folder = vector_set(tmp_path / "set")
    with zipfile.ZipFile(folder / "conv" / "case.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    _zip(folder / "conv" / "case.npz", members | {"x.npy": NPYS[header]})
    refused("verify", folder, words="conv/case.npz x: found")


def _bomb(members: int = 1, size: int = 1 << 29) -> dict[str, bytes]:
    body = _npy(_header("'|u1'", f"({size >> 20}, 1024, 1024)"), bytes(size))
    return dict.fromkeys(("images.npy", "labels.npy")[:members], body)


def test_npz_bombs_are_not_unfolded(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.npz", _bomb(2, 1 << 28), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    refuses(lambda: data.load(path), "bytes unfolded from")
    content = bytearray(path.read_bytes())  # the directory says that they are small
    place = content.find(b"PK\x01\x02")
    while place >= 0:
        content[place + 24 : place + 28] = struct.pack("<I", 1000)
        place = content.find(b"PK\x01\x02", place + 1)
    path.write_bytes(content)
    refuses(lambda: data.load(path), "a.npz images.npy: found")


def test_entries_that_zipfile_unfolds_without_a_bound_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        _zip(path, {"images.npy": b"x", "labels.npy": b"x"}, method)
        refuses(lambda: data.load(path), "found an entry packed by method")


def test_a_directory_of_millions_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 200 << 20, 0, 0)
    path.write_bytes(bytes(200 << 20) + end)
    refuses(lambda: data.load(path), "a directory of 209,715,200 bytes")


@pytest.mark.parametrize("where", range(0, 60, 3))
def test_broken_streams_are_one_line(tmp_path: Path, where: int) -> None:
    content = bytearray(npz())
    place = content.find(b"PK\x03\x04") + 60 + where
    content[place] ^= 0x5A
    (tmp_path / "a.npz").write_bytes(content)
    refuses(lambda: data.load(tmp_path / "a.npz"), "a.npz")


def test_gzip_bombs_are_not_unfolded(tmp_path: Path) -> None:
    path, _ = _idx(tmp_path)
    body = b"\0\0\x08\x03" + struct.pack(">III", 1 << 9, 1 << 10, 1 << 10)
    path.write_bytes(gzip.compress(body + bytes(1 << 20)))  # how much follows is not looked at
    refuses(lambda: data.load(path), "bytes unfolded from")
    path.write_bytes(gzip.compress(body[:4] + struct.pack(">III", 4, 2, 2) + bytes(1 << 26)))
    refuses(lambda: data.load(path), "found more than 16 bytes of data")


def _channels_first(path: Path) -> None:
    np.savez(path, images=np.zeros((40, 3, 32, 32), np.uint8), labels=np.arange(40) % 4)


def _far(value: float, dtype: type) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        x = np.random.default_rng(0).normal(size=(40, 4, 4)).astype(dtype)
        x[-1] = value
        np.savez(path, images=x, labels=np.repeat(np.arange(4), 10))

    return make


def _labels(labels: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, images=np.zeros((len(labels), 4, 4), np.uint8), labels=labels)


NPZS: dict[str, tuple[Callable[[Path], None], str]] = {
    "channels first": (_channels_first, "which looks like [n, c, h, w]"),
    "beyond float32": (_far(1e300, np.float64), "found 1e+300, expected numbers within float32"),
    "beyond FP16": (_far(1e30, np.float64), "too far from the mean for FP16"),
    "NaN": (_far(float("nan"), np.float32), "infinities or NaNs"),
    "negative label": (_labels(np.array([0, 1, 2, 3, -1] * 4)), "found label -1, expected labels from 0"),
    "label beyond 63 bits": (_labels(np.array([0, 1, 2, 2**63] * 4, np.uint64)), "expected labels below 2^63"),
    "float labels": (_labels(np.array([0.0, 1, 2, 3] * 4)), "expected integers or strings"),
    "bool labels": (_labels(np.array([True, False] * 8)), "expected integers or strings"),
    "byte labels": (_labels(np.array([b"a", b"b"] * 8)), "found an array of |S1"),
}


@pytest.mark.parametrize("kind", NPZS)
def test_arrays_that_would_be_changed_are_refused(tmp_path: Path, kind: str) -> None:
    make, words = NPZS[kind]
    make(tmp_path / "a.npz")
    refuses(lambda: data.load(tmp_path / "a.npz"), words)


def test_labels_of_both_signs_stay_integers(tmp_path: Path) -> None:
    x = np.zeros((16, 4, 4), np.uint8)
    y = np.arange(16) % 4
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y.astype(np.int64), x_test=x, y_test=y.astype(np.uint64))
    found = data.load(tmp_path / "a.npz")
    assert found.source.classes + found.target.classes == ("0", "1", "2", "3")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "PPM", "TIFF", "WEBP"])
def test_no_cut_image_is_whole(tmp_path: Path, form: str) -> None:
    from PIL import Image

    from bitrow.images.decode import Decoder

    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)).save(stream, form)
    whole = stream.getvalue()
    Decoder("x", None, 1, 1).put(0, ("a",), whole)
    for size in range(len(whole)):
        refuses(lambda size=size: Decoder("x", None, 1, 1).put(0, ("a",), whole[:size]), "x/a: found")


def _chunk(kind: bytes, body: bytes) -> bytes:
    import zlib

    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _deep_png(colour: int, channels: int) -> bytes:
    import zlib

    rows = b"".join(b"\0" + bytes(range(10 * channels)) for _ in range(4))
    head = struct.pack(">IIBBBBB", 5, 4, 16, colour, 0, 0, 0)
    parts = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


DEEP = {
    "PNG RGB": _deep_png(2, 3),
    "PNG RGBA": _deep_png(6, 4),
    "PNG grey and alpha": _deep_png(4, 2),
    "PNG grey": _deep_png(0, 1),
    "PPM": b"P6 5 4 65535\n" + bytes(range(120)),
    "PGM": b"P5 5 4 65535\n" + bytes(range(40)),
}


@pytest.mark.parametrize("kind", DEEP)
def test_channels_of_16_bits_are_refused_not_cut(tmp_path: Path, kind: str) -> None:
    refuses(lambda: data.load(class_folders(tmp_path, DEEP[kind])), "expected 8 bits for a channel")


def test_images_that_unfold_to_gigabytes_are_refused(tmp_path: Path) -> None:
    flat = png(np.zeros((4096, 4096, 3), np.uint8))
    for place in range(8):
        for label in "abcd":
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{place}.png").write_bytes(flat)
    refuses(lambda: data.load(tmp_path), "bytes unfolded from")


def _tensors(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


_ENTRY = {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}
SAFETENSORS = {
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "long header": _tensors(b"{" + b" " * (9 << 20) + b"}"),
    "header of another kind": _tensors([]),
    "deep header": _tensors(b"[" * 1_000 + b"]" * 1_000),
    "name twice": _tensors(b'{"a": %s, "a": %s}' % ((json.dumps(_ENTRY).encode(),) * 2), bytes(2)),
    "long number": _tensors(b'{"a": ' + b"1" * 5_000 + b"}"),
    "huge shape": _tensors({"a": _ENTRY | {"shape": [1 << 40, 1 << 40]}}, bytes(2)),
    "gap": _tensors({"a": _ENTRY | {"data_offsets": [2, 4]}}, bytes(4)),
    "escape codes": _tensors({"\x1b[31m\0": _ENTRY}, bytes(2)),
    "strange dtype": _tensors({"a": _ENTRY | {"dtype": "BF16"}}, bytes(2)),
    "short": b"\0" * 7,
    "cut": model()[:-1],
    "longer": model() + b"\0",
    "no graph": _tensors({"__metadata__": {"bitrow": "[" * 1_000}}),
    "graph twice": _tensors({"__metadata__": {"bitrow": '{"version": 1, "version": 1}'}}),
}


@pytest.mark.parametrize("kind", SAFETENSORS)
def test_safetensors_are_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(SAFETENSORS[kind])
    refused("pipeline", path, words="m.safetensors")
    if kind != "no graph":
        from bitrow import zoo
        from bitrow.transfer.checkpoint import load_float

        refuses(lambda: load_float(path, zoo.resnet8((8, 8, 1), 5, 0.1)), "m.safetensors")


def _chain(many: int) -> Callable[[dict], object]:
    def edit(header: dict) -> None:
        node = {"type": "Node", "config": {"type": "ReluConfig", "six": False}, "size": None}
        names = ["input", *(f"r{place}" for place in range(many))]
        header["network"] |= {
            "nodes": [node | {"name": name, "inputs": [before]} for before, name in itertools.pairwise(names)],
            "output": names[-1],
        }

    return edit


def _first(field: str, value: int) -> Callable[[dict], object]:
    def edit(header: dict) -> None:
        node = header["network"]["nodes"][0]
        (node["config"] if field in node["config"] else node["size"])[field] = value

    return edit


GRAPHS: dict[str, tuple[Callable[[dict], object], str]] = {
    "a hundred thousand layers": (_chain(100_000), "bytes, more than 8,388,608"),
    "twenty thousand layers": (_chain(20_000), "found 20,000 items, expected at most 2,048"),
    "padding": (_first("padding", 10**9), "padding: found 1000000000, expected at most 65,536"),
    "padding of 65,536": (_first("padding", 65_536), "found a map of"),
    "stride": (_first("stride", 2**62), "stride: found 4611686018427387904, expected at most 65,536"),
    "groups": (_first("groups", 2**62), "expected a multiple of"),
    "kernel": (_first("kh", 2**40), "found weights of 1099511627776x3"),
    "channels": (_first("c_out", 10**9), "found weights of"),
    "input": (lambda h: h["network"].update(input_shape=[100_000, 100_000, 3]), "found a map of 100000x100000x3"),
    "long input": (lambda h: h["network"].update(input_shape=[10**30, 1, 1]), "found a map of"),
    "name": (lambda h: h["network"].update(name="x" * 200_000), "m.safetensors"),
    "names of nodes": (lambda h: h["network"]["nodes"][0].update(name="\x1b[31m\n"), "m.safetensors"),
    "bool for a number": (_first("padding", True), "padding: found True, expected an int"),  # type: ignore[arg-type]
    "float for a number": (_first("padding", 1.0), "padding: found 1.0, expected an int"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs_out_of_all_bounds_are_refused(tmp_path: Path, kind: str) -> None:
    edit, words = GRAPHS[kind]
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_with(edit))
    refused("pipeline", path, words=words)


def test_the_longest_chain_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_with(_chain(2_048)))
    refused("pipeline", path, words="samples.images: found no such tensor")


@pytest.mark.parametrize("label", [-1, 99, 2**31 - 1])
def test_labels_of_samples_are_classes(tmp_path: Path, label: int) -> None:
    from safetensors.numpy import load

    path = tmp_path / "m.safetensors"
    arrays = load(model())
    arrays["samples.labels"] = np.full_like(arrays["samples.labels"], label)
    path.write_bytes(model_with(lambda header: None, arrays))
    refuses(lambda: model_file.load(path), f"samples.labels: found {label}, expected 0 to")


def test_a_sound_file_of_each_kind_is_taken(tmp_path: Path) -> None:
    """The samples that the other tests spoil are sound."""
    assert clean(run("verify", vector_set(tmp_path / "set"), "--no-recompute")).status == 0
    (tmp_path / "m.safetensors").write_bytes(model())
    (tmp_path / "m.toml").write_bytes(MACHINE)
    assert clean(run("pipeline", tmp_path / "m.safetensors", "--machine", tmp_path / "m.toml")).status == 0
    (tmp_path / "a.npz").write_bytes(npz())
    for sound in (tmp_path / "a.npz", class_folders(tmp_path / "c")):
        assert len(data.load(sound).source.train.y)
    from bitrow.proofs import saved

    (tmp_path / "r.json").write_bytes(result_file())
    assert saved.load(tmp_path / "r.json").done
