"""Every file of every command: what is no regular file, too large, or made to fill memory is refused in one line."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bitrow import model_file
from bitrow.pipeline.machine import load_machine
from bitrow.transfer import data
from hostile_samples import (
    MACHINE,
    class_folders,
    clean,
    idx_files,
    model,
    model_with,
    npz,
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
    path = idx_files(folder)
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
