"""Bad vector sets: each kind is found and told in one line (SPEC.md V1 to V4, F8, D3, M2, C1)."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    ConvConfig,
    DepthToSpaceConfig,
    LinearConfig,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
    SiluConfig,
    UpsampleConfig,
)
from bitrow.errors import BitrowError
from bitrow.formats import AccOverflow, Accumulator, FloatMode, Fxp
from bitrow.vectors.files import arrays, store
from bitrow.vectors.files.check import check
from vectors_samples import EXTRA, batch_case, build, conv_backward_case, conv_case, fp16, frozen_case, write

Edit = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound set: a convolution with bias and narrow weights, and a frozen batch norm."""
    config = ConvConfig(padding=1, weight_format=Fxp(4, narrow=True))
    return write(tmp_path_factory.mktemp("sound") / "set", conv_case(config=config, bias=True), frozen_case())


def seal(folder: Path) -> None:
    """Make the manifest agree with the files, so that only what they say is wrong."""
    manifest = json.loads((folder / "manifest.json").read_text())
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    digests = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    manifest["files"] = dict(sorted(digests.items()))
    (folder / "manifest.json").write_text(json.dumps(manifest))


def lines(name: str, change: Callable[[list[str]], None]) -> Edit:
    """An edit of the lines of a file of the set."""

    def edit(folder: Path) -> None:
        content = (folder / name).read_text().split("\n")
        change(content)
        (folder / name).write_text("\n".join(content))

    return edit


def line(name: str, number: int, text: str) -> Edit:
    return lines(name, lambda content: content.__setitem__(number - 1, text))


def words(name: str, tensor: str, element: int, word: int) -> Edit:
    """Change one word in the hex file and in the arrays alike."""

    def edit(folder: Path) -> None:
        case = store.read_case(folder, name)
        changed = case.tensor(tensor)
        flat = changed.data.reshape(-1)
        flat[element] = np.array(word).astype(flat.dtype)
        digits = changed.encoding.hex_digits
        line(f"{name}/{tensor}.hex", element + 1, f"{word & ((1 << 4 * digits) - 1):0{digits}x}")(folder)
        with (folder / name / "case.npz").open("wb") as stream, arrays.Writer(stream) as members:
            for entry in case.tensors:
                members.add(entry.name, np.asarray(entry.data))

    return edit


def field(path: str, value: object) -> Edit:
    """Change one field of `conv/case.json`, or of the manifest: `FILE:key.key`."""

    def edit(folder: Path) -> None:
        file, _, keys = path.partition(":")
        content = json.loads((folder / file).read_text())
        target = content
        *outer, last = keys.split(".")
        for key in outer:
            target = target[int(key) if key.isdigit() else key]
        if value is None:
            del target[last]
        else:
            target[last] = value
        (folder / file).write_text(json.dumps(content))

    return edit


def problem(folder: Path) -> str:
    """The first thing wrong with a set, in the line that a user would see."""
    try:
        found = check(folder)
    except BitrowError as error:
        return str(error)
    assert found, "the set was found sound"
    assert all("\n" not in str(finding) for finding in found)
    return str(found[0])


CONV, JSON, MANIFEST = "conv/x.hex", "conv/case.json", "manifest.json"
SEALED: dict[str, tuple[Edit, str]] = {
    "non-hex word": (line(CONV, 3, "3g01"), "conv/x.hex line 3: found the non-hex word '3g01'"),
    "upper case": (line(CONV, 3, "3C01"), "conv/x.hex line 3: found the non-hex word '3C01'"),
    "over-wide word": (line(CONV, 4, "03c01"), "conv/x.hex line 4: found the over-wide word '03c01'"),
    "short word": (line(CONV, 5, "c01"), "conv/x.hex line 5: found the short word 'c01'"),
    "empty line": (line(CONV, 6, ""), "conv/x.hex line 6: found an empty line"),
    "carriage return": (line(CONV, 1, "3c01\r"), "conv/x.hex line 1: found the non-hex word"),
    "truncated in a word": (
        lambda folder: (folder / CONV).write_bytes((folder / CONV).read_bytes()[:-3]),
        "conv/x.hex line 180: found a file truncated after",
    ),
    "truncated after a line": (lines(CONV, lambda content: content.pop(0)), "found 179 words, expected 180"),
    "too many words": (
        lines(CONV, lambda content: content.insert(0, "0000")),
        "found 181 words, expected 180",
    ),
    "empty file": (lambda folder: (folder / CONV).write_bytes(b""), "found 0 words, expected 180"),
    "mask beyond one bit": (line("conv/mask.hex", 2, "2"), "conv/mask.hex line 2: found 2, expected 1 bits"),
    "hex and arrays differ": (line(CONV, 7, "3c01"), "conv/case.npz x: found"),
    "narrow code": (
        words("conv", "weight_code", 8, -8),
        "weight_code.hex line 9: found the code -8, expected -7 to 7",
    ),
    "arrays truncated": (
        lambda folder: (folder / "conv/case.npz").write_bytes((folder / "conv/case.npz").read_bytes()[:500]),
        "conv/case.npz: found a corrupt or unreadable file (File is not a zip file), expected a zip of arrays",
    ),
    "extra file": (
        lambda folder: (folder / "conv/note.txt").write_text("x"),
        "conv/note.txt: found an entry of no case",
    ),
    "foreign case": (
        lambda folder: (folder / "note.txt").write_text("x"),
        "note.txt: found an entry of no case",
    ),
    "header changed": (
        line("conv/conv.h", 4, "#define CONV_SCHEMA 9u"),
        "conv/conv.h line 4: found '#define",
    ),
    "package changed": (
        line("conv/conv_pkg.sv", 5, "x"),
        "conv/conv_pkg.sv line 5: found 'x', expected '  localparam int SPEC",
    ),
    "case schema": (field(f"{JSON}:schema", 2), "conv/case.json schema: found version 2, expected version 1"),
    "case name": (field(f"{JSON}:name", "other"), "conv/case.json name: found 'other', expected 'conv'"),
    "no operation": (field(f"{JSON}:operation", None), "found no field 'operation'"),
    "unknown operation": (field(f"{JSON}:operation", "conv.sideways"), "found 'conv.sideways'"),
    "other operation": (field(f"{JSON}:operation", "relu.forward"), "conv/case.json"),
    "unknown config": (field(f"{JSON}:config.type", "Conv"), "config: found"),
    "config field": (field(f"{JSON}:config.stride", None), "conv/case.json config: found"),
    "config type": (field(f"{JSON}:config.stride", "1"), "config: convolution stride: found '1', expected an int"),
    "config enum": (field(f"{JSON}:config.dequantize", "thrice"), "config.dequantize: found 'thrice'"),
    "config value": (field(f"{JSON}:config.stride", 0), "config: convolution stride: found 0"),
    "format bits": (field(f"{JSON}:config.x_format.bits", 9), "config.x_format: Fxp bits: found 9"),
    "accumulator bits": (field(f"{JSON}:config.accumulator.bits", 7), "accumulator bits: found 7"),
    "accumulator too small": (
        field(f"{JSON}:config.accumulator.bits", 10),
        "conv/acc: found signed integer words of 24 bits, expected signed integer words of 10 bits",
    ),
    "overflow": (field(f"{JSON}:overflow.fp16", "saturate"), "overflow: found"),
    "order": (field(f"{JSON}:order", "as you like"), "order: found 'as you like'"),
    "clauses": (field(f"{JSON}:clauses", ["see chapter 3"]), "clauses: found"),
    "bins": (field(f"{JSON}:bins", {"tie_lower": -1}), "bins: found"),
    "role": (field(f"{JSON}:tensors.0.role", "output"), "conv/x role: found output, expected input"),
    "layout": (field(f"{JSON}:tensors.0.layout", "n c h w"), "conv/x layout: found 'n c h w'"),
    "negative size": (field(f"{JSON}:tensors.0.shape", [2, 5, -6, 3]), "shape: found [2, 5, -6, 3]"),
    "size": (field(f"{JSON}:tensors.0.shape", [2, 5, 6.5, 3]), "shape: found [2, 5, 6.5, 3]"),
    "huge size": (field(f"{JSON}:tensors.0.shape", [1 << 20, 1 << 20, 6, 3]), "under 2^31"),
    "shape that does not fit": (field(f"{JSON}:tensors.0.shape", [2, 6, 5, 3]), "found shape [2, 5, 6, 3]"),
    "file name": (field(f"{JSON}:tensors.0.file", "../../etc/passwd"), "file: found '../../etc/passwd'"),
    "tensor name": (field(f"{JSON}:tensors.0.name", "../x"), "name: found '../x'"),
    "bits": (field(f"{JSON}:tensors.0.bits", 15), "x bits: found 15"),
    "word bits": (field(f"{JSON}:tensors.0.word_bits", 20), "word_bits: found 20, expected 16"),
    "encoding": (field(f"{JSON}:tensors.0.encoding", "fp8"), "encoding: found 'fp8'"),
    "packing": (field(f"{JSON}:tensors.0.packing", "tight"), "x packing: found 'tight', expected 'none'"),
    "bits in text": (field(f"{JSON}:tensors.0.bits", "16"), "tensors[0]: tensor bits: found '16', expected an int"),
    "unknown field": (field(f"{JSON}:turbo", 1), "conv/case.json: found field 'turbo', expected one of schema"),
    "unknown field of a tensor": (field(f"{JSON}:tensors.0.turbo", 1), "tensors[0]: found field 'turbo'"),
    "not JSON": (
        lambda folder: (folder / JSON).write_text("{"),
        "conv/case.json: found no JSON",
    ),
    "not an object": (
        lambda folder: (folder / JSON).write_text("[]"),
        "found a list, expected a JSON object",
    ),
    "not UTF-8": (lambda folder: (folder / JSON).write_bytes(b"\xff\xfe{"), "found no JSON"),
    "deep JSON": (lambda folder: (folder / JSON).write_text("[" * 100_000), "found values nested more than 64 deep"),
}

UNSEALED: dict[str, tuple[Edit, str]] = {
    "changed word": (line(CONV, 3, "3c01"), "conv/case.npz x: found"),
    "changed word everywhere": (words("frozen", "b", 0, 0x3C01), "frozen/b.hex: found SHA-256"),
    "missing hex": (lambda folder: (folder / CONV).unlink(), "conv/x.hex: found no such file"),
    "missing arrays": (
        lambda folder: (folder / "conv/case.npz").unlink(),
        "conv/case.npz: found no such file",
    ),
    "missing case": (lambda folder: shutil.rmtree(folder / "conv"), "conv/acc.hex: found no such file"),
    "missing manifest": (
        lambda folder: (folder / MANIFEST).unlink(),
        "found no such file, expected a JSON file",
    ),
    "extra file": (
        lambda folder: (folder / "x.bin").write_bytes(b""),
        "x.bin: found a file that manifest.json does",
    ),
    "manifest schema": (field(f"{MANIFEST}:schema", 99), "schema: found version 99, expected version 1"),
    "manifest spec": (
        field(f"{MANIFEST}:spec_version", 2),
        "spec_version: found version 2, expected version 1",
    ),
    "no versions": (field(f"{MANIFEST}:versions.jax", None), "versions: found no field 'jax'"),
    "no seed": (field(f"{MANIFEST}:seed", None), "found no field 'seed'"),
    "seed that is none": (field(f"{MANIFEST}:seed", 1.5), "manifest.json: manifest seed: found 1.5, expected an int"),
    "coverage that is none": (field(f"{MANIFEST}:coverage", [1]), "json coverage: found [1], expected an object"),
    "cases that are none": (field(f"{MANIFEST}:cases", "conv"), "manifest.json cases: found conv, expected a list"),
    "unknown field": (field(f"{MANIFEST}:turbo", 1), "manifest.json: found field 'turbo', expected one of schema"),
    "bad case name": (field(f"{MANIFEST}:cases", ["../conv"]), "case name: found '../conv'"),
    "case twice": (field(f"{MANIFEST}:cases", ["conv", "conv"]), "cases: found a name twice"),
    "bad digest": (field(f"{MANIFEST}:files", {CONV: "12"}), "found '12', expected a SHA-256"),
    "path outside": (field(f"{MANIFEST}:files", {"../../etc/passwd": "0" * 64}), "found no such file"),
    "no certificates": (field(f"{MANIFEST}:certificates", None), "found no field 'certificates', expected one"),
    "missing certificate": (
        field(f"{MANIFEST}:certificates.conv", None),
        "manifest.json: certificate of conv: found none, expected {'terms': 27",
    ),
    "other certificate": (
        field(f"{MANIFEST}:certificates.conv.holds", "E1 E2"),
        "manifest.json: certificate of conv: found {'terms': 27",
    ),
    "certificate of no convolution": (
        field(f"{MANIFEST}:certificates.frozen", {"terms": 1}),
        "manifest.json: certificate of frozen: found {'terms': 1}, expected none",
    ),
    "certificate of no case": (
        field(f"{MANIFEST}:certificates.other", {"terms": 1}),
        "manifest.json: certificate of other: found one, expected one of a case only",
    ),
    "manifest is a list": (lambda folder: (folder / MANIFEST).write_text("[1]"), "expected a JSON object"),
    "header checksum": (lines("conv/conv.h", lambda content: content.append("")), "conv/conv.h: found"),
}


@pytest.mark.parametrize("kind", SEALED)
def test_wrong_contents_with_right_checksums(sound: Path, tmp_path: Path, kind: str) -> None:
    """SPEC.md V1 to V3: what a checksum cannot tell, because it was computed after the mistake."""
    edit, message = SEALED[kind]
    folder = Path(shutil.copytree(sound, tmp_path / "set"))
    edit(folder)
    seal(folder)
    assert message in problem(folder)


@pytest.mark.parametrize("kind", UNSEALED)
def test_files_that_are_not_those_of_the_manifest(sound: Path, tmp_path: Path, kind: str) -> None:
    """SPEC.md V4: missing, extra and changed files, and manifests that are none."""
    edit, message = UNSEALED[kind]
    folder = Path(shutil.copytree(sound, tmp_path / "set"))
    edit(folder)
    assert message in problem(folder)


SCALES = {
    "zero": (0x0000, "zero scale 0x0000 (0)"),
    "negative zero": (0x8000, "zero scale 0x8000 (-0)"),
    "negative": (0xBC00, "negative scale 0xbc00 (-1)"),
    "subnormal": (0x03FF, "subnormal scale 0x03ff"),
    "infinite": (0x7C00, "infinity scale 0x7c00 (inf)"),
    "NaN": (0x7E00, "NaN scale 0x7e00 (NaN)"),
    "too large": (0x7401, "normal scale 0x7401 (16400)"),
}


# D3 bounds a product of scales by FP16 alone
LIMITED = [(kind, "x_inv_scale") for kind in SCALES] + [
    (kind, "scale") for kind in SCALES if kind != "too large"
]


@pytest.mark.parametrize(("kind", "tensor"), LIMITED)
def test_scales_that_are_none(sound: Path, tmp_path: Path, kind: str, tensor: str) -> None:
    """SPEC.md F8, D3: zero, negative, subnormal, infinite and NaN scales are refused, the tensor named."""
    word, message = SCALES[kind]
    folder = Path(shutil.copytree(sound, tmp_path / "set"))
    words("conv", tensor, 0, word)(folder)
    seal(folder)
    clause = "D3" if tensor == "scale" else "F8"
    found = problem(folder)
    assert f"conv/{tensor}.hex line 1: found the {message}" in found and f"(SPEC.md {clause})" in found


def test_an_accumulator_that_cannot_hold_the_layer(tmp_path: Path) -> None:
    """SPEC.md M2: under `error`, a set whose layer's worst case does not fit the register is refused."""
    wide = conv_case(config=ConvConfig(padding=1, accumulator=Accumulator(10, AccOverflow.WRAP)))
    folder = write(tmp_path / "set", wide)
    field(f"{JSON}:config.accumulator.overflow", "error")(folder)
    field(f"{JSON}:overflow.accumulator", "error")(folder)
    seal(folder)
    found = problem(folder)
    assert "accumulator of 10 bits holds 511" in found and "worst case 2304" in found


def all_operations() -> list:
    """A case of each layer, so that the shape rules of each are met by what the oracle computes."""
    rng = np.random.default_rng(5)
    x = fp16(rng.normal(0, 1, (1, 5, 6, 2)))
    dy = fp16(rng.normal(0, 1, (1, 2, 3, 2)))
    size = np.array([5, 6], np.int32)
    return [
        conv_case("conv", bias=True),
        conv_backward_case("conv_back"),
        frozen_case("frozen"),
        batch_case("batch"),
        build("relu", "relu.forward", ReluConfig(), {"x": x}),
        build("relu_back", "relu.backward", ReluConfig(), {"x": x, "dy": x[:, ::-1]}),
        build("residual", "add.forward", AddConfig(), {"x": x, "shortcut": x[:, ::-1]}),
        build("consumers", "gradient.accumulate", FloatMode(), {"dys": np.stack([x, x, x])}),
        build("max_pool", "max_pool.forward", MaxPoolConfig(), {"x": x}),
        build(
            "max_back", "max_pool.backward", MaxPoolConfig(),
            {"dy": dy, "index": np.zeros((1, 2, 3, 2), np.uint8), "input_hw": size},
        ),
        build("avg_pool", "avg_pool.forward", AvgPoolConfig(2), {"x": x}),
        build("avg_back", "avg_pool.backward", AvgPoolConfig(2), {"dy": dy, "input_hw": size}),
        build(
            "head", "linear.forward", LinearConfig(),
            {"x": fp16(rng.normal(0, 1, (2, 5))), "weight": fp16(rng.normal(0, 1, (5, 3))),
             "bias": np.zeros(3, np.uint32)},
        ),
        build(
            "head_back", "linear.backward", LinearConfig(),
            {"dy": fp16(rng.normal(0, 1, (2, 3))), "weight": fp16(rng.normal(0, 1, (5, 3)))},
        ),
        build("product", "multiply.forward", MultiplyConfig(), {"x": x, "other": x}),
        build("product_back", "multiply.backward", MultiplyConfig(), {"x": x, "other": x, "dy": x}),
        build("gated", "multiply.forward", MultiplyConfig(gate=True), {"x": x, "gate": x[:, :1, :1]}),
        build("gate_back", "multiply.backward", MultiplyConfig(gate=True), {"x": x, "gate": x[:, :1, :1], "dy": x}),
        build("silu_back", "silu.backward", SiluConfig(), {"x": x, "dy": x}),
        build("larger", "upsample.forward", UpsampleConfig(), {"x": x}),
        build("larger_back", "upsample.backward", UpsampleConfig(1, 3), {"dy": dy}),
        build("apart", "depth_to_space.forward", DepthToSpaceConfig(1), {"x": x}),
        build("apart_back", "depth_to_space.backward", DepthToSpaceConfig(), {"dy": dy[:, :, :2]}),
        build("sum", "fp16.add", FloatMode(), {"a": x.reshape(-1), "b": x.reshape(-1)}),
        build("codes", "fxp.quantize", ConvConfig(), {"x": x, "x_inv_scale": fp16(2.0)}),
        build("packed", "fxp.pack", Fxp(4), {"code": rng.integers(-8, 8, (1, 2, 3, 5)).astype(np.int8)}),
        build(
            "noise", "lfsr.words", FloatMode(),
            {"start": np.array([0, 9], np.int32), "seed": np.uint16(1), "count": np.int32(4)},
        ),
    ]  # fmt: skip


def test_sound_sets_of_every_operation_pass(tmp_path: Path) -> None:
    """SPEC.md V1: a sound case of each operation gives no finding."""
    folder = tmp_path / "set"
    store.write_set(folder, all_operations(), EXTRA)
    assert check(folder) == []


@pytest.mark.parametrize("case", all_operations()[:-1], ids=lambda case: case.name)
def test_an_axis_too_long_is_found_in_every_operation(tmp_path: Path, case) -> None:
    """SPEC.md C1, B2, A2 to A4, A8, A12, A13: an output of a shape that the operation does not give is refused."""
    output = next(t for t in reversed(case.tensors) if t.role.value == "output")
    grown = np.concatenate([output.data, output.data[..., -1:]], axis=-1)
    tensors = tuple(
        type(t)(t.name, t.role, t.encoding, t.layout, grown) if t is output else t for t in case.tensors
    )
    folder = write(
        tmp_path / "set", type(case)(case.name, case.operation, case.config, tensors, case.clauses)
    )
    assert f"{case.name}/" in problem(folder) and "found shape" in problem(folder)


def test_several_findings_one_for_each_file(sound: Path, tmp_path: Path) -> None:
    """SPEC.md V4: every broken file is told once."""
    folder = Path(shutil.copytree(sound, tmp_path / "set"))
    line(CONV, 1, "zzzz")(folder)
    line("frozen/y.hex", 1, "zzzz")(folder)
    (folder / "conv/acc.hex").unlink()
    files = [finding.file for finding in check(folder)]
    assert sorted(files) == ["conv/acc.hex", "conv/x.hex", "frozen/y.hex"]


BLOCKED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "rich", "click", "flax", "optax"):
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Refuse())
from pathlib import Path
from bitrow.vectors.files.check import check
from bitrow.vectors import case
from bitrow.vectors.diagnose import dut
from bitrow.vectors.files import decode, dump, hexfile, inspect, store
assert check(Path(sys.argv[1])) == []
print(dut.compare(Path(sys.argv[1]), Path(sys.argv[1])).matches, *inspect.word_lines("3c01"))
"""


def test_checking_needs_no_jax(sound: Path) -> None:
    """SPEC.md V1: reading, checking, comparing and decoding import the standard library and numpy alone."""
    run = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(sound)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "") and run.stdout.startswith("True 0x3c01 as FP16")
