"""`bitrow transfer --resume` believes no figure that it can compute again; a refused start leaves nothing."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import small_cli
from bitrow import asides, cli, zoo
from bitrow.errors import BitrowError
from bitrow.transfer import checkpoint, data, experiment, kept, pretrain
from result_files import contents, without_seconds

PLAN = ("--network", "small", "--seeds", "2", "--pretrain-epochs", "0", "--tune-epochs", "0", "--epochs", "2",
        "--quiet", "--batch", "32", "--numerics", "float32", "--jobs", "1")  # fmt: skip
RUN = Path("runs", "head", "float32", "seed0")


@pytest.fixture(scope="module", autouse=True)
def small_in_zoo():
    """For this module alone: other tests go through the zoo."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "small", small_cli.build)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two seeds."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    assert cli.run(["transfer", *PLAN, "--policy", "head", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """`bitrow transfer` in this process: its exit status and the lines of its error."""

    def command(*arguments: object, policy: str = "head") -> tuple[int, list[str]]:
        capsys.readouterr()
        status = cli.run(["transfer", *PLAN, "--policy", policy, *map(str, arguments)])
        return status, capsys.readouterr().err.splitlines()

    return command


def assert_refused(result: tuple[int, list[str]], text: str) -> None:
    assert result[0] == 2 and len(result[1]) == 1 and text in result[1][0], result


def figures(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        file = out / RUN / kept.METRICS
        value = json.loads(file.read_text())
        edit(value)
        file.write_text(json.dumps(value, indent=1) + "\n")

    return change


def accuracy(value: dict[str, Any]) -> None:
    value["accuracy"] = value["rows"][-1]["test_accuracy"] = 1.0


def times(**changed: object) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        file = out / RUN / kept.TIMING
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    return change


def tensors(edit: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        held = load_file(out / RUN / kept.STATE)
        edit(held)
        save_file(held, out / RUN / kept.STATE)

    return change


def first(held: dict[str, np.ndarray]) -> str:
    return next(name for name in sorted(held) if name.startswith(".params") and held[name].size > 1)


def other_seed(out: Path) -> None:
    shutil.rmtree(out / RUN)
    shutil.copytree(out / RUN.parent / "seed1", out / RUN)


FORGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "accuracy": (figures(lambda v: v.update(accuracy=1.0)), "accuracy: found 1.0"),
    "accuracy, twice": (figures(accuracy), "accuracy: found 1.0, expected"),
    "digest": (figures(lambda v: v.update(digest="ab" * 32)), "digest: found abab"),
    "policy": (figures(lambda v: v.update(policy="full")), "policy: found full, expected head"),
    "numerics": (figures(lambda v: v.update(numerics="simulated")), "numerics: found simulated, expected float32"),
    "seed": (figures(lambda v: v.update(seed=1)), "seed: found 1, expected 0"),
    "seed that is a truth": (figures(lambda v: v.update(seed=False)), "seed: found False, expected 0"),
    "cost": (figures(lambda v: v["cost"].update(trainable=1)), "cost: found"),
    "times of more epochs": (times(epochs=3), "timing.json epochs: found 3, expected 0 to 2"),
    "times of a truth": (times(epochs=True), "timing.json epochs: found True"),
    "times below nothing": (times(seconds=-1), "timing.json seconds: found -1, expected a time"),
    "fewer epochs": (figures(lambda v: v["rows"].pop()), "rows: found 1, expected 2"),
    "epochs in disorder": (figures(lambda v: v["rows"].reverse()), "rows: found"),
    "share above one": (figures(lambda v: v["rows"][0].update(train_accuracy=2)), "found train_accuracy 2 of epoch 1"),
    "loss in words": (figures(lambda v: v["rows"][0].update(loss="low")), "found loss low of epoch 1"),
    "rows of text": (figures(lambda v: v.update(rows="ab")), "rows: found str"),
    "another seed's run": (other_seed, "seed: found 1, expected 0"),
    "another seed's state": (lambda out: shutil.copy(out / RUN.parent / "seed1" / kept.STATE, out / RUN),
                             "as state.safetensors has it"),
    "a bit of the state": (tensors(lambda t: t.update({first(t): t[first(t)] * np.float32(1.5)})), "expected"),
    "a longer training": (tensors(lambda t: t.update({n: np.asarray(t[n] + 1) for n in t if n.endswith(".count")})),
                          "steps, expected"),
    "an array less": (tensors(lambda t: t.pop(first(t))), "found no array of this name"),
    "no state": (lambda out: (out / RUN / kept.STATE).unlink(), "state.safetensors: found no such file"),
    "half a state": (lambda out: os.truncate(out / RUN / kept.STATE, 99), "state.safetensors: found no whole"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGED)
def test_forged_figures_do_not_get_into_the_table(run, out: Path, kind: str) -> None:
    """What a finished run says of itself is that of its state, its folder and the plan; else it is refused."""
    edit, text = FORGED[kind]
    edit(out)
    before = contents(out)
    assert_refused(run("--out", out, "--resume"), text)
    assert contents(out) == before


def test_finished_runs_are_verified_and_written_again(run, out: Path) -> None:
    """Killed in the moment after its last file, a run has its checkpoints still; they go."""
    before = contents(out)
    (out / RUN / "checkpoints" / "2").mkdir(parents=True)
    (out / RUN / "checkpoints" / "2" / "left").write_text("")
    (out / "results.json").write_text("forged")
    assert run("--out", out, "--resume")[0] == 0 and contents(out) == before


def test_seconds_of_a_cell_are_those_of_its_runs(finished: Path) -> None:
    """In `results.csv`, as `timings.csv` has them."""
    cells, runs = (
        list(csv.DictReader((finished / name).read_text().splitlines())) for name in ("results.csv", "timings.csv")
    )
    assert [row["seed"] for row in runs] == ["0", "1"] and all(float(row["seconds"]) > 0 for row in runs)
    assert [float(row["seconds"]) for row in cells] == [sum(float(row["seconds"]) for row in runs)]


PLANS: dict[str, str] = {
    "no object": "[1]",
    "a key less": '{"network": "small"}',
    "a truth for a number": "",
}


@pytest.mark.parametrize("kind", PLANS)
def test_plans_that_are_none(run, out: Path, kind: str) -> None:
    plan = json.loads((out / "plan.json").read_text())
    text = PLANS[kind] or json.dumps(plan | {"pretrain_epochs": False})
    (out / "plan.json").write_text(text)
    before = contents(out)
    assert_refused(run("--out", out, "--resume"), "plan.json: found")
    assert contents(out) == before


def small_trainer() -> tuple[experiment.ExperimentPlan, Any, Any]:
    plan = experiment.ExperimentPlan(("head",), ("float32",), 1, "small", epochs=3, pretrain_epochs=0, tune_epochs=0)
    loaded = data.load("digits")
    found = experiment.pretrained(plan, experiment.check(plan, loaded), loaded, 0, None)
    return plan, loaded, experiment.make_trainer(plan, loaded, found, "head", "float32", 0)


def test_forged_checkpoints_are_refused(tmp_path: Path) -> None:
    """The last accuracy and the number of epochs of a checkpoint are its state's."""
    _, loaded, trainer = small_trainer()
    saved = checkpoint.Checkpoints(tmp_path / "c", {"seed": 0})
    state, rows = experiment.train(trainer, loaded, saved, every=0)
    before = saved.latest(trainer.start())
    assert before is not None and before.epochs == 3 and before.rows == rows
    kept.check_checkpoint("here", before, state, trainer, loaded)
    saved.clear()
    better = [*rows[:-1], rows[-1] | {"test_accuracy": 1.0}]
    for epochs, forged, text in (
        (3, better, "found a checkpoint of accuracy 1.0"), (2, rows[:2], r"found a state after \d+ steps"),
        (3, rows[:2], "rows: found 2, expected 3"), (4, rows, "after 4 epochs, expected 1 to 3"),
        (0, [], "after 0 epochs"),
    ):  # fmt: skip
        with pytest.raises(BitrowError, match=text):
            kept.check_checkpoint("here", before._replace(epochs=epochs, rows=forged), state, trainer, loaded)
        saved.save(epochs, state, forged)
        with pytest.raises(BitrowError, match=text):
            experiment.train(trainer, loaded, saved)
        saved.clear()


def test_a_checkpoint_is_read_within_bounds(tmp_path: Path) -> None:
    """Nothing is waited for, and no file made to fill memory is read."""
    saved = checkpoint.Checkpoints(tmp_path / "c", {"seed": 0})
    like = small_trainer()[2].start()
    saved.save(1, like, [])
    assert saved.latest(like) is not None
    pipe, large = tmp_path / "c" / "1" / "pipe", tmp_path / "c" / "1" / "large"
    os.mkfifo(pipe)
    with pytest.raises(BitrowError, match="pipe: found a pipe, expected a checkpoint's file"):
        saved.latest(like)
    pipe.unlink()
    with large.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BitrowError, match=r"c: found 1,099,\d{3},\d{3},\d{3} bytes, expected at most 268,"):
        saved.latest(like)


LATE = {
    "batch": (("--batch", "3"), "batch: found 3, expected a power of two"),
    "large batch": (("--batch", "1024"), "expected at least a batch of 1024"),
    "policy": (("--policy", "last_999"), "policy last_999: found small with"),
    "policy twice": (("--policy", "head"), "policy: found head twice"),
    "numerics twice": (("--numerics", "float32"), "numerics: found float32 twice"),
    "network": (("--network", "lenet"), "network: found 'lenet'"),
    "width": (("--width", "0"), "width: found 0"),
    "model": (("--model", "nowhere.safetensors"), "nowhere.safetensors: found no readable"),
    "row scales": (("--numerics", "bit_accurate-fxp8-row"), "expected codes"),
}


@pytest.mark.parametrize("kind", LATE)
@pytest.mark.parametrize("compare", [False, True])
def test_plans_are_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, compare: bool
) -> None:
    """Before pretraining, and before any file is written: the same command, put right, is not in its own way."""
    arguments, text = LATE[kind]
    text = {"width": "found 0", "row scales": "gradient row scales"}.get(kind, text)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("pretrained")

    monkeypatch.setattr(pretrain, "pretrain", never)
    if kind == "width":
        monkeypatch.setitem(zoo.NETWORKS, "small", zoo.NETWORKS["resnet8"])
    more = ("--numerics", "simulated", "--compare") if compare else ()
    jobs = [*PLAN[:-2]] if compare else [*PLAN]
    command = ["transfer", *jobs, "--policy", "head", *arguments, *more, "--out", str(tmp_path / "out")]
    assert cli.run(command) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_start_that_wrote_its_plan_alone_is_not_in_the_way(run, tmp_path: Path, finished: Path) -> None:
    """Killed before its first run: another plan may begin there; one with runs may not."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.json").write_text("{")
    (out / asides.new_name("plan.json")).write_text("{")
    assert run("--out", out, policy="head")[0] == 0
    assert without_seconds(out) == without_seconds(finished)
    assert_refused(run("--out", out), "found results there, expected none; --resume continues them")
    (tmp_path / "file").write_text("")
    assert_refused(run("--out", tmp_path / "file"), "found something there")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("")
    assert_refused(run("--out", tmp_path / "mine"), "found something there")


def test_two_resumes_of_one_folder(run, out: Path) -> None:
    """One at work, the other is refused in one line and leaves no stray; then it may."""
    before = contents(out)
    with asides.alone_in(out):
        script = Path(small_cli.__file__)
        command = [sys.executable, str(script), "transfer", *PLAN, "--policy", "head", "--out", str(out), "--resume"]
        done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr == f"bitrow: {out}: found another run at work there, expected to be alone\n"
        assert_refused(run("--out", out, "--resume"), "found another run at work there")
    assert contents(out) == before
    assert run("--out", out, "--resume")[0] == 0 and contents(out) == before
