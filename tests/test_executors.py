"""Work that splits: the same results and errors on each executor; what happens when a part of it is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bitrow
import executor_samples
import small_cli
from bitrow import cli, zoo
from bitrow.cli import needs
from bitrow.contract.operations import OPERATIONS
from bitrow.errors import BitrowError
from bitrow.executors.team import AHEAD, Team, Where, opened
from bitrow.vectors import catalog, generate, network_pass
from bitrow.vectors.files import store
from bitrow.vectors.problem import Problem
from result_files import contents, without_seconds

pytest.importorskip("distributed", reason="needs the extra cluster")
HERE, POOL = Where(jobs=1), Where(jobs=2)
EXECUTORS = ("here", "processes", "cluster")
CASES = ("fxp_pack_fxp4", "lfsr_words", "relu6_forward", "max_pool_3x3_forward")


def _in_turn(numbers: Any) -> Callable[[Any], Any]:
    left = iter(numbers)
    return lambda last: next(left, None)


def squares(team: Team, numbers: list[int]) -> list[tuple[int, int]]:
    errand = team.errand(executor_samples.square, executor_samples.named)
    return [(number, found.result) for number, found in team.as_done(errand, _in_turn(numbers))]


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Where]]:
    """Every executor by name; the cluster has two workers, and stands for all tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("cluster")
    with scheduler(folder) as (file, _), worker(file, folder), worker(file, folder):
        yield dict(zip(EXECUTORS, (HERE, POOL, Where(scheduler=file)), strict=True))


@pytest.mark.parametrize("where", EXECUTORS)
def test_the_same_on_each_executor(where: str, on: dict[str, Where]) -> None:
    """Each piece once; a piece that fails says so in one line, and ends the work."""
    expected = {number: (1000 // (number - 13) and number) ** 2 for number in range(13)}
    with opened(on[where], 20) as team:
        assert dict(squares(team, list(range(13)))) == expected
        assert dict(squares(team, [5, 3])) == {5: expected[5], 3: expected[3]}
        with pytest.raises(BitrowError, match=r"^number: found -3, expected none below 0$"):
            squares(team, [1, 2, -3, 4])
        with pytest.raises(RuntimeError, match=r"^square of 13: ZeroDivisionError: "):
            squares(team, [13])
        with pytest.raises(RuntimeError, match=r"^full: OSError: \[Errno 28\] No space left on device$"):
            list(team.as_done(team.errand(executor_samples.full, _full), _in_turn([1])))


def _full(number: int) -> str:
    return "full"


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_results_in_order(where: str, on: dict[str, Where]) -> None:
    """Whichever piece is done first; pieces are taken as they are needed, so many ahead of a slow one."""
    begun: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(60):
            begun.append(number)
            yield number

    with opened(on[where]) as team:
        errand = team.errand(executor_samples.first_is_slow, executor_samples.named)
        for place, found in enumerate(team.in_order(errand, numbers())):
            assert found == place and len(begun) <= place + AHEAD * team.slots + 1
        assert place == 59
        with pytest.raises(BitrowError, match=r"^number: found -3, expected none below 0$"):
            list(team.in_order(team.errand(executor_samples.square, executor_samples.named), [1, 1, -3, 1]))


def test_operations_travel_by_name() -> None:
    """SPEC.md V3: what comes back is the very operation; one that another process does not have is refused there."""
    for operation in [*OPERATIONS, network_pass.operation("network.resnet8_digits")]:
        assert pickle.loads(pickle.dumps(operation)) is operation
    other = dataclasses.replace(OPERATIONS[0], name="fp16.other")
    with pytest.raises(BitrowError, match=r"^operation fp16.other: found none of this name, expected it registered"):
        pickle.loads(pickle.dumps(other))


@pytest.mark.parametrize("where", [pytest.param("processes", marks=pytest.mark.slow), "cluster"])
def test_a_set_is_the_same_on_each_executor(where: str, on: dict[str, Where], tmp_path: Path) -> None:
    """SPEC.md V4: byte by byte; and every case is recomputed there as here."""
    for name in (where, "here"):
        generate.generate(tmp_path / name, catalog.problems(CASES, None, 1), 1, "some", where=on[name])
    assert contents(tmp_path / where) == contents(tmp_path / "here")
    cases = list(store.read_set(tmp_path / where))
    wrong = np.asarray(cases[2].tensors[-1].data).copy()
    wrong.flat[3] ^= 1
    last = dataclasses.replace(cases[2].tensors[-1], data=wrong)
    cases[2] = dataclasses.replace(cases[2], tensors=(*cases[2].tensors[:-1], last))
    with opened(on[where]) as team:
        found = list(team.in_order(team.errand(generate.recompute, attrgetter("name")), cases))
    assert [len(each) for each in found] == [0, 0, 1, 0] and found[2] == generate.recompute(cases[2])


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_a_case_that_is_refused(where: str, on: dict[str, Where], tmp_path: Path) -> None:
    """SPEC.md V5: one line, and nothing is left; what nobody foresaw names the case."""
    good, bad = (next(catalog.problems([name], None, 1)) for name in ("add", "fxp_pack_fxp4"))
    lacking = bad._replace(name="bad", given=None)
    with pytest.raises(RuntimeError, match=r"^bad: TypeError: ") as caught:
        generate.generate(tmp_path / "set", [good, lacking, good], 1, "some", where=on[where])
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_killed_process_is_told(tmp_path: Path) -> None:
    with opened(POOL, 2) as team, pytest.raises(BitrowError, match="dead: found a process that ended, expected an"):
        list(team.as_done(team.errand(executor_samples.dies_once, _dead), _in_turn([str(tmp_path / "one")])))


def _dead(place: str) -> str:
    return "dead"


@contextlib.contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler of its own process; the file in which it says where it is."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file)
    with _process("scheduler", *options) as process:
        limit = time.monotonic() + 60
        while not file.exists() or not file.read_text().strip():
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.05)
        yield str(file), process


@contextlib.contextmanager
def worker(file: str, folder: Path, path: Path | None = None, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """One worker, with the bitrow that lies in `path`, and `more` options."""
    options = ("--nthreads", "1", "--no-dashboard", "--local-directory", folder, "--death-timeout", "20", *more)
    with _process("worker", "--scheduler-file", file, *options, path=path) as process:
        yield process


@contextlib.contextmanager
def _process(*arguments: object, path: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    where = os.pathsep.join([str(path or Path(bitrow.__file__).parents[1]), str(Path(__file__).parent),
                             os.environ.get("PYTHONPATH", "")])  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, arguments)], env=os.environ | {"PYTHONPATH": where},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_workers_that_are_lost_and_workers_that_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A piece whose worker was killed is done by another; a worker with another source is named, and given none."""
    with scheduler(tmp_path) as (file, _), worker(file, tmp_path):
        with opened(Where(scheduler=file), 4) as team:
            errand = team.errand(executor_samples.dies_once, _dead)
            ((_, found),) = team.as_done(errand, _in_turn([str(tmp_path / "one")]))
            assert found.result != os.getpid()
        other = tmp_path / "other"
        shutil.copytree(Path(bitrow.__file__).parent, other / "bitrow", ignore=shutil.ignore_patterns("__pycache__"))
        with (other / "bitrow" / "zoo.py").open("a") as stream:
            stream.write("# changed\n")
        with worker(file, tmp_path, other), opened(Where(scheduler=file), 100) as team:
            limit = time.monotonic() + 60
            while team.slots < 2:
                assert time.monotonic() < limit
                time.sleep(0.1)
            errand = team.errand(executor_samples.slow, executor_samples.named)
            assert sorted(number for number, _ in team.as_done(errand, _in_turn(range(8)))) == list(range(8))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "is given no work: found source" in said[0] and "tcp://127.0.0.1" in said[0]


@pytest.mark.slow
def test_a_piece_that_ends_three_workers(tmp_path: Path) -> None:
    """One line, which names the last of them; the workers that are left are given no more of it."""
    with contextlib.ExitStack() as stack:
        file, _ = stack.enter_context(scheduler(tmp_path))
        workers = [stack.enter_context(worker(file, tmp_path, None, "--no-nanny")) for _ in range(5)]
        team = stack.enter_context(opened(Where(scheduler=file), 2))
        while team.slots < len(workers):
            time.sleep(0.1)
        said = rf"^scheduler {re.escape(file)}: found a piece that ended its worker each time, the last tcp://[\d.:]+$"
        with pytest.raises(BitrowError, match=said):
            list(team.as_done(team.errand(executor_samples.dies, _dead), _in_turn([str(tmp_path / "by")])))
        ended = [process.pid for process in workers if process.poll() is not None]
    assert sorted(int(path.name.removeprefix("by")) for path in tmp_path.glob("by*")) == sorted(ended)
    assert len(ended) == 4  # dask forgives three


@pytest.mark.slow
def test_a_worker_of_other_bits_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md F2: same source, same libraries, products truncated; the trial finds its words, and names it."""
    preload = ("--preload", "executor_samples")
    with (
        scheduler(tmp_path) as (file, _), worker(file, tmp_path, None, *preload),
        opened(Where(scheduler=file, trial=needs.trial), 4) as team,
    ):  # fmt: skip
        errand = team.errand(executor_samples.square, executor_samples.named)
        with pytest.raises(BitrowError, match=r"^scheduler .*: found no worker that is fit, expected one$"):
            list(team.as_done(errand, _in_turn([1, 2])))
    (said,) = capsys.readouterr().err.splitlines()
    assert re.search(r"tcp://127\.0\.0\.1:\d+ is given no work: .* fp16.* checks differ, see bitrow certify$", said)


@pytest.mark.slow
def test_a_scheduler_that_goes(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (file, process), worker(file, tmp_path), opened(Where(scheduler=file), 100) as team:
        errand = team.errand(executor_samples.slow, executor_samples.named)
        said = r"scheduler .*: found the connection lost, expected it to last"
        with pytest.raises(BitrowError, match=said) as caught:
            for number, _ in team.as_done(errand, _in_turn(range(100))):
                if number == 3:
                    os.killpg(process.pid, signal.SIGKILL)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("named", ["tcp://127.0.0.1:1", "none.json"])
def test_a_scheduler_that_is_not_there(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitrow.executors import cluster

    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    with pytest.raises(BitrowError, match=f"scheduler {named}: found ") as caught, opened(Where(scheduler=named), 2):
        pass
    assert "\n" not in str(caught.value)


def _bitrow(*arguments: object) -> str:
    """Seconds of a command that ends well: by the clock, and of processors."""
    def now() -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter(), used.ru_utime + used.ru_stime

    start = now()
    command = [sys.executable, "-m", "bitrow", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    assert not done.returncode, done.stderr
    clock, processors = np.subtract(now(), start)
    return f"{clock:.0f} s, {processors:.0f} s of processors"


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["smoke", "standard"])
def test_suites_on_each_executor(suite: str, tmp_path: Path) -> None:
    """SPEC.md V4: byte by byte. The seconds are docs/cluster.md's."""
    options = {"here": ("--jobs", 1), "processes": ("--jobs", 2), "cluster": ("--scheduler", "local", "--jobs", 2)}
    for name, where in options.items():
        spent = _bitrow("generate", "--suite", suite, "--out", tmp_path / name, "--quiet", *where)
        print(suite, name, spent, flush=True)
        assert contents(tmp_path / name) == contents(tmp_path / "here"), name
    print(suite, "verify", _bitrow("verify", tmp_path / "here", "--scheduler", "local", "--jobs", 2))


@pytest.mark.slow
def test_a_worker_is_killed_under_a_set(tmp_path: Path) -> None:
    """SPEC.md V4: its cases are computed by the other; the set is the same."""
    with scheduler(tmp_path) as (file, _), worker(file, tmp_path) as lost, worker(file, tmp_path):
        def problems() -> Iterator[Problem]:
            for number, problem in enumerate(catalog.problems(["smoke"], None, 1)):
                if number == 20:
                    os.killpg(lost.pid, signal.SIGKILL)
                if number == 40:
                    return
                yield problem

        generate.generate(tmp_path / "set", problems(), 1, "some", where=Where(scheduler=file))
    expected = itertools.islice(catalog.problems(["smoke"], None, 1), 40)
    generate.generate(tmp_path / "here", expected, 1, "some")
    assert contents(tmp_path / "set") == contents(tmp_path / "here")


@pytest.mark.slow
def test_transfer_on_a_cluster(on: dict[str, Where], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md E: the files of a grid that threads ran, but for the times; a run that is missing is trained again."""
    monkeypatch.setitem(zoo.NETWORKS, "small", small_cli.build)  # here alone: workers are given its layers

    def grid(name: str, *options: str) -> dict[str, bytes]:
        plan = ("--network", "small", "--seeds", "2", "--pretrain-epochs", "1", "--tune-epochs", "0", "--epochs", "2",
                "--policy", "bias", "--policy", "head", "--numerics", "bit_accurate", "--quiet")  # fmt: skip
        assert cli.run(["transfer", *plan, "--out", str(tmp_path / name), *options]) == 0
        return without_seconds(tmp_path / name)

    scheduler = ("--scheduler", str(on["cluster"].scheduler))
    expected = grid("threads", "--jobs", "1")
    assert grid("cluster", *scheduler) == expected
    kept = tmp_path / "cluster" / "runs" / "head" / "bit_accurate" / "seed0"
    before = (kept / "state.safetensors").stat().st_mtime_ns
    shutil.rmtree(kept.parent / "seed1")
    assert grid("cluster", "--resume", *scheduler) == expected
    assert (kept / "state.safetensors").stat().st_mtime_ns == before


CLAIMS = ("layer.relu", "fp16.to_float32", "fp16.sqrt", "fxp.quantize")


def _prove(folder: Path, *options: object, begun: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Status and standard error; `begun` is called when something is done."""
    arguments = "prove", "claims", *CLAIMS, "--state", folder, "--json", folder / "report.json", *options
    command = [sys.executable, "-m", "bitrow", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(folder.glob("*.partial.json")):
            time.sleep(0.02)
        begun()
        said = process.communicate()[1]
    return process.returncode, said


def _claims(folder: Path, *options: object, begun: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """The report's rows but for the seconds."""
    assert _prove(folder, *options, begun=begun) == (0, "")
    return [{**row, "seconds": 0} for row in json.loads((folder / "report.json").read_text())["claims"]]


@pytest.mark.slow
def test_claims_on_a_cluster(tmp_path: Path) -> None:
    """The report is that of one process: verdicts, cases, digests; with a worker that is killed on the way, too."""
    expected = _claims(tmp_path / "here", "--jobs", 1)
    with scheduler(tmp_path) as (file, _), worker(file, tmp_path) as lost, worker(file, tmp_path):
        assert _claims(tmp_path / "cluster", "--scheduler", file) == expected

        def kill() -> None:
            assert lost.poll() is None
            os.killpg(lost.pid, signal.SIGKILL)

        assert _claims(tmp_path / "killed", "--scheduler", file, begun=kill) == expected
    assert all(row["verdict"] == "holds" for row in expected)


@pytest.mark.slow
def test_claims_whose_scheduler_goes_and_comes_back(tmp_path: Path) -> None:
    """One line, and the same command takes up what is missing; meanwhile a second client is refused in one, too."""
    folder, second = tmp_path / "lost", []
    with scheduler(tmp_path) as (file, process), worker(file, tmp_path):
        def begun() -> None:
            second.append(_prove(folder, "--scheduler", file))
            os.killpg(process.pid, signal.SIGKILL)

        status, said = _prove(folder, "--scheduler", file, begun=begun)
    lost = rf"bitrow: scheduler {re.escape(file)}: found the connection lost, expected it to last; .*\n"
    assert status == 2 and re.fullmatch(lost, said)
    assert second[0][0] == 2 and re.fullmatch(r"bitrow: .*: found another run at work on this .*\n", second[0][1])
    (kept,) = folder.glob("*.partial.json")
    done = json.loads(kept.read_text())["done"]
    with scheduler(tmp_path) as (file, _), worker(file, tmp_path):
        found = _claims(folder, "--scheduler", file)
    (whole,) = folder.glob("prove-*.json")
    after = json.loads(whole.read_text())["done"]
    assert done and all(after[name][place] == each for name, chunks in done.items() for place, each in chunks.items())
    assert found == _claims(tmp_path / "here", "--jobs", 1)


SEARCH = ("explore", "resnet8")
TRAINING = ("transfer", "--network", "small", "--seeds", "1", "--pretrain-epochs", "1", "--tune-epochs", "0",
            "--epochs", "500", "--policy", "bias", "--numerics", "bit_accurate")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("command", "option", "begun", "said"), [
    (SEARCH, "--state", ".explore-*.lock", r"/explore-\w{16}\.kept: found another run at work on this search"),
    (TRAINING, "--out", "plan.json", ": found another run at work there"),
])  # fmt: skip
def test_a_second_command_on_a_folder_is_refused(
    on: dict[str, Where], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...], option: str, begun: str, said: str,
) -> None:  # fmt: skip
    """In one line, whatever its executor; the first goes on."""
    monkeypatch.setitem(zoo.NETWORKS, "small", small_cli.build)
    given = [*command, option, str(tmp_path / "first"), "--quiet"]
    program = [sys.executable, str(Path(__file__).parent / "small_cli.py"), *given]
    program += (scheduler := ["--scheduler", str(on["cluster"].scheduler)])
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as first:
        while not list((tmp_path / "first").glob(begun)):
            assert first.poll() is None
            time.sleep(0.02)
        for where in (scheduler, ["--jobs", "1"]):
            assert cli.run([*given, *where]) == 2
            line = rf"bitrow: {re.escape(str(tmp_path))}/first{said}, expected to be alone\n"
            assert re.fullmatch(line, capsys.readouterr().err)
        assert first.poll() is None
        first.terminate()
        assert first.communicate()[1] == "bitrow: ended by SIGTERM\n"
