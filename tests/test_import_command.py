"""`bitrow import`: the model file, the report, the check, the images; what is refused, and then writes nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra import")
pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra dev")

from bitrow import cli, model_file
from bitrow.errors import BitrowError
from bitrow.importers import images
from bitrow.importers.command import ImportOptions, import_network
from hostile_samples import png
from onnx_samples import OnnxGraph


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """A command in this process: its exit status, the lines that it printed, those of its error."""

    def command(*arguments: object) -> tuple[int, list[str], list[str]]:
        status = cli.run([str(one) for one in arguments])
        done = capsys.readouterr()
        return status, done.out.splitlines(), done.err.splitlines()

    return command


def _network(folder: Path) -> Path:
    g = OnnxGraph((1, 3, 8, 8))
    x = g.add("Relu", g.norm(g.add("Conv", "x", g.normal(4, 3, 3, 3, scale=0.3), strides=[2, 2]), 4))
    x = g.add("Flatten", g.add("GlobalAveragePool", x))
    return g.save(folder, g.add("Softmax", g.add("Gemm", x, g.normal(5, 4), g.normal(5), transB=1)))


def test_a_file_becomes_a_model_that_the_row_pipeline_checks(
    tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC.md C1, B1, A1, A3, A4: the model's words by rows and whole tensors; the original beside the float twin."""
    asked: list[str] = []
    monkeypatch.setattr("bitrow.backend.require.require", asked.append)  # has tests of its own
    out, report = tmp_path / "net.safetensors", tmp_path / "report.json"
    options = ["--limit-images", 2, "--bits", "8,8,4", "--check", "--report", report]
    status, printed, errors = run("import", _network(tmp_path), "--out", out, *options)
    assert (status, errors) == (0, []), errors
    assert printed[0].startswith("/net.0/Conv (Conv): net_0_conv (conv)")
    assert any(line.startswith("float twin beside the original: largest difference") for line in printed)
    model = model_file.load(out)
    assert [node.name for node in model.network.nodes] == [
        "net_0_conv", "net_1_batchnormalization", "net_2_relu", "net_3_globalaveragepool", "net_5_gemm",
    ]  # fmt: skip
    assert model.samples is not None and model.samples.images.shape == (2, 8, 8, 3)
    found = json.loads(report.read_text())
    assert found["schema"] == "bitrow-import-1" and found["refused"] == [] and len(found["nodes"]) == 7
    check = found["check"]
    assert check["twin"]["largest"] <= 1e-5 * check["twin"]["magnitude"]
    assert check["original"]["within"] == check["codes"]["within"] == check["original"]["convolutions"] == 1
    assert 0 < check["bits"]["largest"] < 0.1 * check["bits"]["magnitude"]  # 8 bits are near, 4 would not be
    assert run("pipeline", out, "--check")[::2] == (0, []) and asked == ["import", "pipeline"]


def test_what_is_refused_is_listed_and_nothing_is_written(tmp_path: Path, run) -> None:
    g = OnnxGraph()
    path = g.save(tmp_path, g.add("Erf", g.add("LRN", "x", size=3)))
    out, report = tmp_path / "net.safetensors", tmp_path / "report.json"
    status, printed, errors = run("import", path, "--out", out, "--report", report)
    assert status == 2 and len(errors) == 1 and not out.exists()
    assert printed == ["/net.0/LRN (LRN): an unknown operator", "/net.1/Erf (Erf): an unknown operator"]
    assert errors[0] == f"bitrow: {path}: {printed[0]} (and 1 more refused)"
    assert [one["node"] for one in json.loads(report.read_text())["refused"]] == ["/net.0/LRN", "/net.1/Erf"]


@pytest.mark.parametrize(("options", "words"), [
    (["--bits", "9"], "is not one number from 2 to 8"),
    (["--bits", "4,4"], "is not one number from 2 to 8"),
    (["--mean", "a"], "is not finite numbers"),
    (["--mean", "0,0", "--images", "PICTURE"], "images mean: found [0.0, 0.0], expected one number or 3"),
    (["--std", "0", "--images", "PICTURE"], "std above 0"),
    (["--input-size", "0x4"], "found 8 rows, expected 0"),
    (["--limit-images", "0"], "limit-images"),
    (["--images", "none.png"], "found no such file"),
    (["--report", "ITSELF"], "which is read"),
])  # fmt: skip
def test_options_that_cannot_be(tmp_path: Path, run, options: list[str], words: str) -> None:
    path = _network(tmp_path)
    (tmp_path / "a.png").write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    places = {"PICTURE": tmp_path / "a.png", "ITSELF": path}
    given = [places.get(one, one) for one in options]
    status, printed, errors = run("import", path, "--out", tmp_path / "net.safetensors", *given)
    assert (status, printed, len(errors)) == (2, [], 1) and words in errors[0], errors
    assert not (tmp_path / "net.safetensors").exists()


def test_a_model_that_is_there_stays_unless_forced(tmp_path: Path, run) -> None:
    out = tmp_path / "net.safetensors"
    out.write_bytes(b"before")
    path = _network(tmp_path)
    status, _, errors = run("import", path, "--out", out)
    assert status == 2 and "--force replaces it" in errors[0] and out.read_bytes() == b"before"
    assert run("import", path, "--out", out, "--force", "--quiet", "--limit-images", 1) == (0, [], [])
    assert model_file.load(out).notes["calibrated_on"] == "1 drawn images"


def test_images_of_all_kinds_are_the_same_ones(tmp_path: Path) -> None:
    """SPEC.md F10: every value an FP16 number; pictures by mean and deviation, floats as they are."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    folder = tmp_path / "pictures" / "deep"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for place, one in enumerate(pixels):
            (folder / f"{place}.png").write_bytes(png(one))
            archive.writestr(f"deep/{place}.png", png(one))
    np.savez(tmp_path / "bytes.npz", images=pixels, labels=np.zeros(3))
    scaling = images.PixelScaling((0.5, 0.25, 0.0), (0.5,))
    expected = ((pixels[:2] - 255 * np.array(scaling.mean)) / (255 * 0.5)).astype(np.float16).astype(np.float32)
    np.savez(tmp_path / "floats.npz", x=expected)
    for name in ("pictures", "pictures.zip", "bytes.npz", "floats.npz"):
        found = images.load(tmp_path / name, (4, 5, 3), 2, scaling)
        assert np.array_equal(found, expected), name
    assert np.array_equal(images.load(folder / "0.png", (4, 5, 3), 9, scaling), expected[:1])
    assert images.load(folder / "0.png", (8, 8, 1), 9).shape == (1, 8, 8, 1)


def test_images_that_cannot_be(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez(tmp_path / "b.npz", other=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez(tmp_path / "c.npz", images=np.full((2, 4, 4, 3), 1e9, np.float32))
    (tmp_path / "empty").mkdir()
    for name, words in (("a.npz", "expected [5, 4, 3]"), ("b.npz", "found none of its arrays"),
                        ("empty", "found no images"), ("none", "found no such file")):  # fmt: skip
        with pytest.raises(BitrowError, match=words.replace("[", r"\[")):
            images.load(tmp_path / name, (5, 4, 3), 2)
    with pytest.raises(BitrowError, match="for FP16"):
        images.load(tmp_path / "c.npz", (4, 4, 3), 2)


def test_equal_files_make_equal_models(tmp_path: Path) -> None:
    made = [import_network(_network(tmp_path), ImportOptions(count=1)).imported for _ in range(2)]
    assert made[0] is not None and made[1] is not None
    assert model_file.to_bytes(made[0].model) == model_file.to_bytes(made[1].model)
