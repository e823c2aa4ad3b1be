"""Work that splits: the same results and errors on each executor; what happens when a part of it is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bitrow
import executor_samples
from bitrow.errors import BitrowError
from bitrow.executors.team import Team, Where, opened

pytest.importorskip("distributed", reason="needs the extra cluster")
HERE, POOL, CLUSTER = Where(jobs=1), Where(jobs=2), Where(jobs=2, scheduler="local")
ON = {"here": HERE, "processes": POOL, "cluster": CLUSTER}


def _in_turn(numbers: Any) -> Callable[[Any], Any]:
    left = iter(numbers)
    return lambda last: next(left, None)


def squares(team: Team, numbers: list[int]) -> list[tuple[int, int]]:
    errand = team.errand(executor_samples.square, executor_samples.named)
    return [(number, found.result) for number, found in team.as_done(errand, _in_turn(numbers))]


@pytest.mark.parametrize("where", ON)
def test_the_same_on_each_executor(where: str) -> None:
    """Each piece once; a piece that fails says so in one line, and ends the work."""
    expected = {number: (1000 // (number - 13) and number) ** 2 for number in range(13)}
    with opened(ON[where], 20) as team:
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
def worker(file: str, folder: Path, path: Path | None = None) -> Iterator[None]:
    """One worker, with the bitrow that lies in `path`."""
    options = ("--nthreads", "1", "--no-dashboard", "--local-directory", folder, "--death-timeout", "20")
    with _process("worker", "--scheduler-file", file, *options, path=path):
        yield


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


@pytest.mark.slow
def test_claims_on_a_cluster(tmp_path: Path) -> None:
    """The report is that of one process: verdicts, cases, digests."""

    def rows(name: str, *options: str) -> list[dict[str, Any]]:
        report = tmp_path / f"{name}.json"
        claims = "layer.relu", "fp16.to_float32", "--state", tmp_path / name, "--json", report
        subprocess.run([sys.executable, "-m", "bitrow", "prove", "claims", *claims, *options], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        return [{**row, "seconds": 0} for row in json.loads(report.read_text())["claims"]]

    assert rows("cluster", "--scheduler", "local", "--jobs", "2") == rows("here", "--jobs", "1")
