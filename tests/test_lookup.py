"""One way to a network for every command, and its training pass by layer, size and images (SPEC.md V4)."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitrow import cli, lookup, model_file, models, zoo
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode
from bitrow.images import read_samples
from bitrow.lookup import find_model, find_network
from bitrow.model_file import Model
from bitrow.pipeline import check
from bitrow.synthetic import synthetic
from bitrow.transfer import experiment, grid_files
from bitrow.vectors import catalog, passes
from bitrow.vectors.files import store
from bitrow.vectors.judge import networks
from bitrow.vectors.passes import PassChoice, PassPart
from bitrow.vectors.trace import write
from transfer_samples import digits, small

MODEL = synthetic(small(), 3)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of one's own, in a file."""
    path = tmp_path_factory.mktemp("model") / "mine.safetensors"
    model_file.save(path, MODEL)
    return str(path)


def _same(one: Model, other: Model) -> bool:
    return model_file.to_bytes(one) == model_file.to_bytes(other)


def test_a_name_a_shipped_model_or_a_file(file: str) -> None:
    """SPEC.md V4: the same model, whoever asks for it."""
    assert find_network("resnet8") == zoo.build("resnet8")
    assert _same(find_model("resnet8"), synthetic(zoo.build("resnet8")))
    assert _same(find_model("resnet8_digits"), models.load("resnet8_digits"))
    assert find_network("resnet8_digits") == models.load("resnet8_digits").network
    assert _same(find_model(file), MODEL) and find_network(file) == small() and lookup.is_file(file)


def test_another_input_size_where_the_layers_allow_it(file: str) -> None:
    """SPEC.md V4: rows and columns of the input; samples of another size are drawn anew."""
    assert find_network("resnet8", (16, 24)).input_shape == (16, 24, 3)
    found = find_model(file, (12, 10), count=2)
    assert found.network.input_shape == (12, 10, 1) and found.samples is not None
    assert found.samples.images.shape == (2, 12, 10, 1)
    assert all(np.array_equal(a, b) for name in MODEL.params
               for a, b in zip(found.params[name], MODEL.params[name], strict=True) if b is not None)  # fmt: skip


def test_sizes_and_names_that_do_not_fit(file: str) -> None:
    """SPEC.md V5: one line with the file's name."""
    for call, words in (
        (lambda: find_network("resnet99"), "network: found 'resnet99', expected one of resnet8, "),
        (lambda: find_network("resnet8", (0, 8)), "input size: found 0x8, expected rows and columns from 1"),
        (lambda: find_network(file, (2, 2)), "mine.safetensors at an input of 2x2: small pool: found a 2x2 window"),
        (lambda: find_model("none.safetensors"), "none.safetensors: found no such file"),
    ):
        with pytest.raises(BitrowError) as error:
            call()
        assert words in str(error.value) and "\n" not in str(error.value)


def test_cases_of_some_layers_alone(file: str) -> None:
    """SPEC.md V4: names without computing; a layer's problems are those of the whole pass."""
    every = passes.case_names(PassChoice(file))
    assert every == networks.case_names(small(), "small")
    chosen = PassChoice(file, layers=("stem", "pool"))
    names = passes.case_names(chosen)
    assert names == ["small_stem_forward", "small_pool_forward", "small_pool_fan_out", "small_pool_backward",
                     "small_stem_backward"]  # fmt: skip
    with pytest.raises(BitrowError, match="small: found no layer 'nope'"):
        passes.case_names(PassChoice(file, layers=("nope",)))
    first = next(passes.problems(PassChoice(file, layers=("stem",)), 1))
    assert first.name == "small_stem_forward" and MODEL.samples is not None
    assert np.array_equal(first.given["x"], MODEL.samples.images.view(np.uint16))


def test_the_whole_network_is_a_case_of_shipped_models(file: str) -> None:
    """SPEC.md V4: a set holds no parameters of another network."""
    whole = PassChoice(passes.MODEL, part=PassPart.WHOLE, limit_images=2)
    assert passes.case_names(whole) == ["digit0_whole"]
    (problem,) = passes.problems(whole, 1)
    assert len(problem.given["x"]) == len(problem.given["dlogits"]) == 2
    assert "digit0_whole" not in passes.case_names(PassChoice(passes.MODEL, part=PassPart.LAYERS))
    assert "digit0_whole" not in passes.case_names(PassChoice(passes.MODEL, (16, 16)))
    for name, layers in ((file, ()), (passes.MODEL, ("pool",))):
        with pytest.raises(BitrowError, match="found whole, expected it of a shipped model"):
            catalog.names((), PassChoice(name, part=PassPart.WHOLE, layers=layers))


def test_a_pass_of_a_model_file_on_images(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V1, V5: from the command line, and recomputed."""
    x = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", images=x)
    arguments = ["generate", "--network", file, "--images", str(tmp_path / "x.npz"), "--limit-images", "2",
                 "--layer", "head", "--layer", "stem_relu"]  # fmt: skip
    assert cli.run([*arguments, "--list"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert cli.run([*arguments, "--out", str(tmp_path / "set"), "--quiet"]) == 0
    assert store.case_names(tmp_path / "set") == names and len(names) == 4
    assert store.read_case(tmp_path / "set", "small_stem_relu_forward").tensor("x").data.shape == (2, 4, 4, 4)
    assert cli.run(["verify", str(tmp_path / "set"), "--quiet"]) == 0
    assert cli.run(["generate", "--layer", "stem", "--out", str(tmp_path / "other")]) == 2
    assert cli.run(["generate", "--network", file]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors == ["bitrow: --layer: found no --network, expected one",
                      "bitrow: Missing option '--out'. (see bitrow generate --help)"]  # fmt: skip


def test_the_rows_of_images_of_ones_own(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC.md V6: those of --samples, again from the first, are what --check and --vectors compute."""
    seen: list[np.ndarray] = []
    monkeypatch.setattr("bitrow.backend.require.require", str)  # has tests of its own
    monkeypatch.setattr(check, "check", lambda found, params, x, dlogits: seen.append(x) or check.Checked(1, 1))
    monkeypatch.setattr(write, "write_trace_set", lambda found, model, choice, ready: seen.append(model.samples.images)
                        or write.TraceSummary(tmp_path, 0, 0, 0, 0, 0))  # fmt: skip
    x = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float16)
    np.savez(tmp_path / "x.npz", images=x)
    arguments = ["pipeline", file, "--images", "3", "--forward-only", "--samples", str(tmp_path / "x.npz")]
    assert cli.run([*arguments, "--check", "--vectors", str(tmp_path / "trace")]) == 0
    assert len(seen) == 2 and all(np.array_equal(images[..., 0], x[[0, 1, 0]]) for images in seen)
    capsys.readouterr()
    assert cli.run(arguments) == 2
    assert cli.run([*arguments[:-1], str(tmp_path / "none"), "--check"]) == 2
    spare, missing = capsys.readouterr().err.splitlines()
    assert spare == "bitrow: --samples: found neither --check nor --vectors, expected one, which computes them"
    assert missing.startswith(f"bitrow: data {tmp_path / 'none'}: found nothing there")


def test_other_commands_take_the_file(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V4: the pipeline at another size, and certificates."""
    assert cli.run(["pipeline", file, "--input-size", "6x8", "--forward-only"]) == 0
    assert cli.run(["prove", "certificates", file]) == 0
    printed = capsys.readouterr().out
    assert "small 6x8" in printed and "c1" in printed


def test_the_layers_of_a_model_are_trained(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its graph with a new head for the data's classes; its run is known by the layers, not by the file's name."""
    plan = experiment.ExperimentPlan(("head",), ("float32",), 1, file)
    assert experiment.network_of(plan, digits()) == small(5) == experiment.check(plan, digits(), 1)
    flushing = replace(small(), mode=FloatMode(flush=True))
    for name, network, same in (("moved", small(), True), ("other", flushing, False)):
        path = tmp_path / f"{name}.safetensors"
        model_file.save(path, synthetic(network))
        other = grid_files.identity_of(replace(plan, network=str(path)), digits())
        assert (other == grid_files.identity_of(plan, digits())) is same
    assert cli.run(["transfer", "--network", file, "--input-size", "2x2", "--limit", "20"]) == 2
    assert "mine.safetensors on images of 2x2x3: small pool: found a 2x2 window" in capsys.readouterr().err


# Images


def _pictures(folder: Path) -> list[np.ndarray]:
    """Two grey pictures, below other folders."""
    found = []
    for number, name in enumerate(("b/2.png", "a/deep/1.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(pixels).save(folder / name)
        found.append(pixels)
    return found[::-1]  # in the order of their paths


def test_samples_of_pictures(tmp_path: Path) -> None:
    """SPEC.md F10: a folder, a zip and one picture, normalised over what is taken and rounded once."""
    pixels = np.stack(_pictures(tmp_path / "in"))[..., None].astype(np.float64)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in sorted((tmp_path / "in").rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path).as_posix())
    for taken in (1, 2):
        part = pixels[:taken]
        expected = ((part - part.mean()) / part.std()).astype(np.float16)
        for place in (tmp_path / "in", tmp_path / "in.zip", *([tmp_path / "in/a/deep/1.png"] if taken == 1 else [])):
            found = read_samples(place, (8, 8, 1), taken)
            assert found.dtype == np.float16 and np.array_equal(found, expected)
    assert read_samples(tmp_path / "in", (4, 6, 3), 9).shape == (2, 4, 6, 3)


def test_samples_of_arrays(tmp_path: Path) -> None:
    """SPEC.md F10: floats stay as they are, rounded once; no labels are needed, channels may be many."""
    x = np.random.default_rng(0).normal(size=(3, 8, 5, 7))
    np.savez(tmp_path / "a.npz", x=x, other=np.zeros(1))
    assert np.array_equal(read_samples(tmp_path / "a.npz", (8, 5, 7), 2), x[:2].astype(np.float32).astype(np.float16))


def test_samples_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """SPEC.md V5: one line with the path."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 5, 5, 7), np.float32))
    np.savez(tmp_path / "none.npz", y=np.zeros(1))
    np.savez(tmp_path / "far.npz", x=np.full((1, 4, 4), 1e6))
    for name, words in (
        ("missing", "found nothing there"), ("empty", "found no images"), ("a.txt", "a file of an unknown kind"),
        ("a.npz", "found images of 7 channels, expected 1 or 3"), ("none.npz", "found none of its arrays"),
        ("far.npz", "for FP16"),
    ):  # fmt: skip
        with pytest.raises(BitrowError) as error:
            read_samples(tmp_path / name, (4, 4, 1) if name == "far.npz" else (8, 8, 1), 1)
        assert name in str(error.value) and words in str(error.value) and "\n" not in str(error.value)
