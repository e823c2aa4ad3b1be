"""Runs of claims: resumed, split over processes, and what is refused (SPEC.md V4)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bitrow.errors import BitrowError
from bitrow.executors.team import Team, Where, opened
from bitrow.proofs import results, runner, saved
from bitrow.proofs.claim import Claim, Counterexample, Effort, Method, Outcome
from bitrow.proofs.results import Done, Job, Results
from bitrow.reading.sealed import checksum

FALSE = Counterexample((("a", "0x3c00", "1"),), "0x0001 (x)", "0x0002 (y)", "oracle")


def claim(name: str, count: int, check: Callable[[int], Outcome] | None = None) -> Claim:
    """A claim of `count` chunks; chunk i covers i + 1 cases."""
    return Claim(
        name, f"{name} holds", ("F1",), Method.EXHAUSTIVE, lambda effort: f"{count} chunks", lambda effort: count,
        lambda effort, index: check(index) if check else Outcome(index + 1, digest=f"{index:064x}"),
    )  # fmt: skip


CLAIMS = {"one": claim("one", 5), "two": claim("two", 3)}


def here() -> contextlib.AbstractContextManager[Team]:
    """This process."""
    return opened(Where(jobs=1), 1)


def checked(claims: dict[str, Claim]) -> Results:
    """All chunks of claims, checked in this process."""
    made = results.new(claims, Effort.QUICK)
    with here() as team:
        runner.run(claims, made, team)
    return made


def finished(folder: Path) -> Path:
    """The result file of `CLAIMS`."""
    path = folder / "prove-quick.json"
    saved.save(checked(CLAIMS), path)
    return path


def seal(path: Path, value: dict) -> Path:
    """Write a result file whose checksum is right, whatever it says."""
    path.write_text(json.dumps(value | {"checksum": checksum(value)}, separators=(",", ":")))
    return path


def edit(path: Path, **changes: object) -> Path:
    return seal(path, json.loads(path.read_text()) | changes)


def test_results_survive_their_file(tmp_path: Path) -> None:
    made = results.new(CLAIMS, Effort.FULL)
    made.add(Job("one", 1), Done(Outcome(7, FALSE, "ab" * 32, "smallest K is 33"), 1.5), "another machine")
    saved.save(made, tmp_path / "file.json")
    assert saved.load(tmp_path / "file.json") == made and len(made.machines) == 2
    assert os.listdir(tmp_path) == ["file.json"]


def test_a_false_claim_stops_alone() -> None:
    """The chunks after a counterexample are not checked; other claims are."""
    indices: list[int] = []

    def check(index: int) -> Outcome:
        indices.append(index)
        return Outcome(1, FALSE if index == 2 else None)

    made = checked({"false": claim("false", 6, check), **CLAIMS})
    assert indices == [0, 1, 2] and made.counterexample("false") == FALSE and not made.left()


def test_a_run_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    """Stopped at its third chunk, it has lost that one only."""
    path = tmp_path / "state.json"
    calls: list[int] = []

    def check(index: int) -> Outcome:
        calls.append(index)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return Outcome(1)

    claims = {"slow": claim("slow", 5, check)}
    made = results.new(claims, Effort.QUICK)
    with pytest.raises(KeyboardInterrupt), here() as team:
        runner.run(claims, made, team, lambda job: saved.save(made, path))
    again = saved.resume(path, results.new(claims, Effort.QUICK))
    with here() as team:
        runner.run(claims, again, team)
    assert calls == [0, 1, 2, 2, 3, 4] and not again.left()


def test_state_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    made = results.new(CLAIMS, Effort.QUICK)
    for name in ("bitrow", "source", "jax"):
        saved.save(made, path)
        edit(path, versions={**made.versions, name: "other"})
        with pytest.raises(BitrowError, match=f"found {name} other, expected .*--fresh"):
            saved.resume(path, made)
    saved.save(results.new(CLAIMS, Effort.FULL), path)
    with pytest.raises(BitrowError, match="another choice of claims"):
        saved.resume(path, made)


def test_a_worker_keeps_to_its_claim() -> None:
    queue = runner._Queue([Job(name, index) for name in ("a", "b") for index in range(2)] + [Job("c", 0)])
    first, second = queue.take(None), queue.take(None)
    assert (first, second) == (Job("a", 0), Job("b", 0))
    assert queue.take(first) == Job("a", 1) and queue.take(Job("a", 1)) == Job("c", 0)
    assert queue.take(Job("c", 0)) == Job("b", 1)  # nothing else is left: it helps
    assert queue.take(Job("b", 1)) is None


@pytest.mark.slow
def test_killed_runs_in_processes_lose_one_chunk_each(tmp_path: Path) -> None:
    """SIGKILL while two processes work: what was saved is whole, and the same command ends the run."""
    command = [sys.executable, "-m", "bitrow", "prove", "claims", "fp16.to_float32", "layer.relu",
               "--jobs", "2", "--state", str(tmp_path)]  # fmt: skip
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not (partial := list(tmp_path.glob("prove-*.partial.json"))) and first.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    if partial:  # else it was quicker than the signal
        assert len(saved.load(partial[0]).left()) <= 1
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and again.stdout.count("holds") == 2, again.stderr
    (path,) = tmp_path.glob("prove-*.json")
    assert not saved.load(path).left()
