"""`bitrow transfer` as a command: killed and resumed, and one line for everything that can be wrong.

An earlier run's results lie in the folder that every refused command names, and must still be there, bit for bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import small_cli
from bitrow import cli, float_model
from bitrow.graph import Network
from bitrow.transfer import checkpoint
from network_samples import every_layer

NAMED = ("--policy", "bias", "--numerics", "bit_accurate")
UNTRAINED = ("--pretrain-epochs", "0", "--tune-epochs", "0")
PLAN = ("--network", "small", "--seeds", "1", *UNTRAINED, "--epochs", "25", "--quiet")
RUN = Path("runs", "bias", "bit_accurate", "seed0")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """`bitrow transfer` in this process: its exit status, what it printed, the lines of its error."""

    def command(*arguments: object, plan: tuple[str, ...] = (*PLAN, *NAMED)) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        status = cli.run(["transfer", *plan, *map(str, arguments)])
        done = capsys.readouterr()
        return status, done.out, done.err.splitlines()

    return command


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert cli.run(["transfer", *PLAN, *NAMED, "--out", str(out)]) == 0
    return out


def files(folder: Path) -> dict[str, str]:
    """Every file's SHA-256."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def assert_refused(result: tuple[int, str, list[str]], text: str) -> None:
    assert result[0] == 2, result
    assert len(result[2]) == 1 and result[2][0].startswith("bitrow: ") and text in result[2][0], result[2]
    assert "Traceback" not in result[1] + result[2][0]


def result(out: Path) -> dict:
    (found,) = json.loads((out / "results.json").read_text())["runs"]
    return found


def killed(out: Path) -> None:
    """A run in a process of its own, killed after its second checkpoint; it cleans nothing up."""
    script = Path(small_cli.__file__)
    command = [sys.executable, str(script), "transfer", *PLAN, *NAMED, "--out", str(out), "--checkpoint-seconds", "0"]
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(command, cwd=script.parent, env=environment, stderr=subprocess.PIPE) as process:
        while process.poll() is None and max(complete(out), default=0) < 2:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL, process.stderr and process.stderr.read()
    assert complete(out)


def complete(out: Path) -> list[int]:
    """Epochs of the complete checkpoints there."""
    return [int(path.name) for path in (out / RUN / "checkpoints").glob("*") if path.name.isdigit()]


def test_a_killed_run_resumes_to_the_same_bits(run, whole, tmp_path):
    """SIGKILL between two epochs, then --resume: metrics, digest and pictures of a run that was never stopped."""
    out = tmp_path / "out"
    killed(out)
    assert not (out / RUN / "metrics.json").exists() and not (out / "results.json").exists()
    other = tmp_path / "other"  # the same checkpoint where another policy's run belongs
    shutil.copytree(out, other)
    (other / "runs" / "bias").rename(other / "runs" / "head")

    assert run("--out", out, "--resume")[0] == 0
    assert files(out) == files(whole)
    assert result(out)["digest"] == result(whole)["digest"]

    before = files(other)
    plan = (*PLAN, "--policy", "head", "--numerics", "bit_accurate")
    refused = run("--out", other, "--resume", plan=plan)
    assert_refused(refused, "found a checkpoint of policy bias, expected head")
    assert files(other) == before


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes: a write fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("size", "text"),
    [(100, "plan.json: cannot be written"), (700, "checkpoint cannot be written"), (9000, ".svg: cannot be written")],
    ids=["plan", "checkpoint", "plots"],
)
def test_a_full_disk_loses_nothing(run, whole, tmp_path, size, text):
    """A file that cannot be written: one line, nothing half written, and --resume goes on once there is room."""
    out = tmp_path / "out"
    seconds = "0" if "checkpoint" in text else "1000"
    with largest_file(size):
        refused = run("--out", out, "--checkpoint-seconds", seconds)
    assert_refused(refused, text)
    there = files(out)
    assert all(there[name] == value for name, value in files(whole).items() if name in there)
    assert not [name for name in there if name not in files(whole) and "checkpoints" not in name]
    assert run("--out", out, "--resume")[0] == 0
    assert files(out) == files(whole)


def _picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


def _folder(folder: Path, classes: int, images: int = 4) -> Path:
    for label in range(classes):
        for number in range(images):
            _picture(folder / f"class{label}" / f"{number}.png", 50 * label + number)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _corrupt(folder: Path) -> Path:
    (_folder(folder, 4) / "class1" / "2.png").write_bytes(b"\x89PNG and no more")
    return folder


def _empty(folder: Path) -> Path:
    (_folder(folder, 4) / "class4").mkdir()
    return folder


DATA = {
    "no folder": (lambda folder: folder / "nowhere", "nowhere: found nothing there"),
    "corrupt image": (_corrupt, "2.png"),
    "one class": (lambda folder: _folder(folder, 1), "found 1"),
    "no image": (lambda folder: _folder(folder, 4, 0), "found"),
    "a class without images": (_empty, "class4"),
    "an unknown file": (lambda folder: Path(__file__), "found a file of an unknown kind"),
}


@pytest.mark.parametrize("what", DATA)
def test_data_that_cannot_be_read(run, whole, tmp_path, what):
    """One line that names the file; the results of an earlier run stay as they are."""
    make, text = DATA[what]
    before = files(whole)
    assert_refused(run("--data", make(tmp_path / "data"), "--out", whole, "--resume"), text)
    assert files(whole) == before


def _other_model(folder: Path) -> Path:
    network: Network = every_layer()
    checkpoint.save_float(folder / "other.safetensors", network, float_model.initialize(network, 0))
    return folder / "other.safetensors"


def _no_model(folder: Path) -> Path:
    (folder / "text.safetensors").write_text("no model")
    return folder / "text.safetensors"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (_other_model, "other.safetensors: found no tensor stem.weight, expected those of small"),
        (_no_model, "text.safetensors: found no readable safetensors file"),
        (lambda folder: folder / "nowhere", "nowhere: found no readable safetensors file"),
    ],
    ids=["another network", "no model", "no file"],
)
def test_a_model_that_is_not_this_networks(run, tmp_path, make, text):
    out = tmp_path / "out"
    assert_refused(run("--model", make(tmp_path), "--out", out), text)
    assert set(files(out)) <= {"plan.json"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "found results there, expected none; --resume continues them"),
        (("--resume", "--epochs", "3"), "found epochs 25, expected 3"),
        (("--resume", "--power-of-two"), "found power_of_two False, expected True"),
        (("--resume", "--limit", "9"), "found data"),
    ],
    ids=["in the way", "epochs", "scales", "data"],
)
def test_results_of_another_plan_stay(run, whole, arguments, text):
    before = files(whole)
    assert_refused(run("--out", whole, *arguments), text)
    assert files(whole) == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--resume",), "--resume: found no --out"),
        (("--policy", "tail"), "policy: found 'tail'"),
        (("--numerics", "int8"), "numerics: found 'int8'"),
        (("--network", "lenet"), "network: found 'lenet'"),
        (("--batch", "24"), "batch: found 24"),
        (("--batch", "1024"), "expected at least a batch of 1024"),
        (("--limit", "1"), "limit: found 1"),
        (("--input-size", "16"), "found images of (16, 16, 3)"),
        (("--compare", "--resume"), "--compare: found --resume"),
    ],
)
def test_arguments_that_cannot_be(run, arguments, text):
    assert_refused(run(*arguments), text)


def test_a_damaged_results_folder(run, whole, tmp_path):
    """A plan, or a run's metrics, that are no JSON or another's: one line, and nothing is overwritten."""
    metrics = RUN / "metrics.json"
    for name, text in (("plan.json", "no JSON"), (metrics, "no JSON"), (metrics, "other keys")):
        out = tmp_path / text / Path(name).name
        shutil.copytree(whole, out)
        (out / name).write_text("[1]" if text == "other keys" else "{")
        before = files(out)
        assert_refused(run("--out", out, "--resume"), f"{Path(name).name}: found {text}")
        assert files(out) == before


def test_results_that_are_complete_are_taken_as_they_are(run, whole):
    """--resume of a finished plan trains nothing, and writes the same files again."""
    before = files(whole)
    status, output, _ = run("--out", whole, "--resume")
    assert status == 0 and "bias" in output and files(whole) == before
