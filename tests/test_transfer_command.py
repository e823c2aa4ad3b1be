"""`bitrow transfer` as a command: killed and resumed, by several processes, and one line for all that can be wrong.

An earlier run's results lie in the folder that every refused command names, and must still be there, bit for bit.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import small_cli
from bitrow import cli, float_model, zoo
from bitrow.graph import Network
from bitrow.transfer import checkpoint
from network_samples import every_layer
from result_files import without_seconds

NAMED = ("--policy", "lite_residual", "--numerics", "bit_accurate")
UNTRAINED = ("--pretrain-epochs", "0", "--tune-epochs", "0")
PLAN = ("--network", "small", "--seeds", "1", *UNTRAINED, "--epochs", "12", "--quiet")
RUN = Path("runs", "lite_residual", "bit_accurate", "seed0")


@pytest.fixture(scope="module", autouse=True)
def small_in_zoo():
    """For this module alone: other tests go through the zoo."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "small", small_cli.build)
        yield


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
    """Every file's SHA-256, but for how long it took."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in without_seconds(folder).items()}


def assert_refused(result: tuple[int, str, list[str]], text: str) -> None:
    assert result[0] == 2, result
    assert len(result[2]) == 1 and result[2][0].startswith("bitrow: ") and text in result[2][0], result[2]
    assert "Traceback" not in result[1] + result[2][0]


def result(out: Path) -> dict:
    (found,) = json.loads((out / "results.json").read_text())["runs"]
    return found


def complete(out: Path) -> list[int]:
    """Epochs of the complete checkpoints there."""
    return [int(path.name) for path in (out / RUN / "checkpoints").glob("*") if path.name.isdigit()]


def begin(*arguments: object) -> subprocess.Popen[str]:
    """`bitrow transfer` in a process of its own."""
    script = Path(small_cli.__file__)
    command = [sys.executable, str(script), "transfer", *PLAN, *NAMED, *map(str, arguments)]
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=script.parent, env=environment, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves that was killed after its second checkpoint; it cleaned nothing up."""
    out = tmp_path_factory.mktemp("killed") / "out"
    with begin("--out", out, "--checkpoint-seconds", "0") as process:
        while process.poll() is None and max(complete(out), default=0) < 2:
            time.sleep(0.005)
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL and complete(out)
    assert not (out / RUN / "metrics.json").exists() and not (out / "results.json").exists()
    return out


def test_a_killed_run_resumes_to_the_same_bits(run, whole, killed, tmp_path):
    """SIGKILL between two epochs, then --resume: metrics, digest and pictures of a run that was never stopped."""
    out = shutil.copytree(killed, tmp_path / "out")
    assert run("--out", out, "--resume")[0] == 0
    assert files(out) == files(whole)
    assert result(out)["digest"] == result(whole)["digest"]
    resumed, at_once = (next(csv.DictReader((each / "timings.csv").read_text().splitlines())) for each in (out, whole))
    assert int(at_once["epochs"]) == 12 > int(resumed["epochs"]) > 0  # those of the call that ended the run
    assert 0 < float(at_once["seconds"]) < 600 and at_once["policy"] == "lite_residual"
    (row,) = csv.DictReader((whole / "results.csv").read_text().splitlines())
    assert row["seconds"] == at_once["seconds"] and row["network"] == "small" and int(row["images"]) > 0


def test_a_checkpoint_of_another_run(run, killed, tmp_path):
    """It lies where another policy's should, and stays there."""
    out = shutil.copytree(killed, tmp_path / "out")
    (out / "runs" / "lite_residual").rename(out / "runs" / "head")
    before = files(out)
    plan = (*PLAN, "--policy", "head", "--numerics", "bit_accurate")
    refused = run("--out", out, "--resume", plan=plan)
    assert_refused(refused, "found a checkpoint of policy lite_residual, expected head")
    assert files(out) == before


def _together(*arguments: object) -> list[tuple[int, str, list[str]]]:
    """The command in two processes at once, each with one device."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{server.getsockname()[1]}"
    meet = ("--coordinator", where, "--processes", "2", "--process")
    both = [begin(*arguments, *meet, index) for index in range(2)]
    try:
        told = [process.communicate(timeout=300) for process in both]
    finally:
        for process in both:
            process.kill()
    return [(process.returncode, out, err.splitlines()) for process, (out, err) in zip(both, told, strict=True)]


@pytest.mark.slow
def test_two_processes_end_with_the_bits_of_one(whole, killed, tmp_path):
    """SPEC.md A4, C4: jax.distributed on this machine takes up what one process left, and ends as one would.

    The batch is split over the two from the third epoch on. Then both refuse, in one line, to overwrite the results.
    """
    out = shutil.copytree(killed, tmp_path / "out")
    leader, other = _together("--out", out, "--resume", "--checkpoint-seconds", "0")
    assert (leader[0], other[0]) == (0, 0), (leader, other)
    assert "lite_residual" in leader[1] and "lite_residual" not in other[1]
    assert files(out) == files(whole)
    assert [each[0] for each in _together("--out", out, "--resume")] == [0, 0] and files(out) == files(whole)
    for refused in _together("--out", out):
        lines = [line for line in refused[2] if line.startswith("bitrow: ")]
        assert refused[0] == 2 and len(lines) == 1 and "found results there" in lines[0], refused
        assert not any("Traceback" in line for line in refused[2])
    assert files(out) == files(whole)


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


def test_any_head_and_every_option_of_training(run, tmp_path):
    """A model of 7 classes, all ten classes the target's, a combined policy, another optimizer; then the same again."""
    network = small_cli.build(num_classes=7)
    file = tmp_path / "seven.safetensors"
    checkpoint.save_float(file, network, float_model.initialize(network, 0))
    how = ("--optimizer", "momentum", "--learning-rate", "0.05", "--schedule", "warmup", "--accumulate", "2")
    data = ("--target-only", "--model", file, "--limit", "20")
    assert_refused(run(*data, *how, "--replay", "0.5"), "--replay: found a share of 0.5 and no source images")
    plan = ("--network", "small", "--seeds", "1", "--epochs", "2", "--batch", "16", "--quiet")
    plan += ("--policy", "bias+lite_residual", "--numerics", "bit_accurate")
    out = tmp_path / "out"
    status, printed, _ = run(*data, *how, "--plot", "png", "--plot", "pdf", "--out", out, plan=plan)
    assert status == 0 and "bias+lite_residual" in printed and "found 1 seeds, expected 10 or more" in printed
    wanted = {"accuracy_memory", "learning_curves"}
    assert {path.stem for path in out.glob("*.p[nd][gf]")} == wanted and not list(out.glob("*.svg"))
    assert "| `bias+lite_residual` |" in (out / "results.md").read_text()
    assert len(json.loads((out / "results.json").read_text())["runs"]) == 1
    assert run(*data, *how, "--out", out, "--resume", plan=plan)[0] == 0  # the kept state has its 12 updates
    other = (*how[:-1], "4")
    assert_refused(run(*data, *other, "--out", out, "--resume", plan=plan), "found accumulate 2, expected 4")


def _no_model(folder: Path) -> Path:
    (folder / "text.safetensors").write_text("no model")
    return folder / "text.safetensors"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (_other_model, "other.safetensors: found no tensor stem.weight, expected those of small"),
        (_no_model, "text.safetensors: found no whole safetensors file"),
        (lambda folder: folder / "nowhere", "nowhere: found no such file"),
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
        (("--resume", "--epochs", "3"), "found epochs 12, expected 3"),
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
        (("--target-only",), "--target-only: found no --model"),
        (("--plot", "gif"), "plots: found 'gif', expected svg, png, pdf"),
        (("--optimizer", "rms"), "optimizer: found 'rms'"),
        (("--network", "lenet"), "network: found 'lenet'"),
        (("--batch", "24"), "batch: found 24"),
        (("--replay", "0.01"), "replay: found 0.01 of a batch of 32, expected a share of at least one image"),
        (("--replay", "1"), "replay: found 1 of a batch of 32"),
        (("--batch", "1024"), "expected at least a batch of 1024"),
        (("--limit", "1"), "limit: found 1"),
        (("--input-size", "16"), "found images of (16, 16, 3)"),
        (("--compare", "--resume"), "--compare: found --resume"),
        (("--compare", "--scheduler", "local"), "--compare: found --scheduler"),
        (("--scheduler", "local", "--coordinator", "127.0.0.1:1"), "--scheduler: found --coordinator, too"),
        (("--processes", "2"), "found some of --coordinator, --processes and --process"),
        (("--coordinator", "127.0.0.1:1", "--processes", "2", "--process", "2"), "--process: found 2, expected 0 to 1"),
    ],
)
def test_arguments_that_cannot_be(run, arguments, text):
    assert_refused(run(*arguments), text)


def test_a_damaged_results_folder(run, whole, tmp_path):
    """A plan, or a run's metrics, that are no JSON or another's: one line, and nothing is overwritten."""
    metrics = RUN / "metrics.json"
    timing = RUN / "timing.json"
    for name, text in (("plan.json", "no JSON"), (metrics, "no JSON"), (metrics, "other keys"), (timing, "no JSON"),
                       (timing, "other keys")):  # fmt: skip
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
    assert status == 0 and "lite_residual" in output and files(whole) == before


@pytest.mark.slow
def test_replay_and_learned_scales_from_the_command(run, tmp_path):
    """Source accuracy is in results.csv, and a resumed run's is measured again."""
    plan = ("--network", "small", "--seeds", "1", "--epochs", "1", *UNTRAINED, "--quiet", "--limit", "20", "--replay",
            "0.5", "--policy", "bias+lsq", "--numerics", "bit_accurate", "--out", tmp_path / "out")  # fmt: skip
    assert run(plan=plan)[0] == 0
    (row,) = csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines())
    assert row["machine"] == "accelerator" and float(row["host_update_uj_low"]) > 0
    found = result(tmp_path / "out")
    assert float(row["source_accuracy"]) == found["source_accuracy"] and 0 < found["source_before"] < 1
    assert run("--resume", plan=plan)[0] == 0
    metrics = tmp_path / "out" / "runs" / "bias+lsq" / "bit_accurate" / "seed0" / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"source_accuracy": 0.999}))
    assert_refused(run("--resume", plan=plan), "source_accuracy: found 0.999, expected")
