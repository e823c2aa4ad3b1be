"""Runs of claims: resumed, split over processes and machines, put together again, and what is refused (SPEC.md V4)."""

from __future__ import annotations

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
from bitrow.proofs import runner, saved, shards
from bitrow.proofs.claim import Claim, Counterexample, Effort, Method, Outcome
from bitrow.proofs.shards import Done, Job

FALSE = Counterexample((("a", "0x3c00", "1"),), "0x0001 (x)", "0x0002 (y)", "oracle")


def claim(name: str, count: int, check: Callable[[int], Outcome] | None = None) -> Claim:
    """A claim of `count` chunks; chunk i covers i + 1 cases."""
    return Claim(
        name, f"{name} holds", ("F1",), Method.EXHAUSTIVE, lambda effort: f"{count} chunks", lambda effort: count,
        lambda effort, index: check(index) if check else Outcome(index + 1, digest=f"{index:064x}"),
    )  # fmt: skip


CLAIMS = {"one": claim("one", 5), "two": claim("two", 3)}


def finished(folder: Path, number: int, of: int, claims: dict[str, Claim] = CLAIMS) -> Path:
    """The result file of one shard, run in this process."""
    results = shards.new(claims, Effort.QUICK, (number, of))
    runner.run(claims, results, 1, lambda job, done: None)
    path = folder / shards.file_name(results, True)
    shards.save(results, path)
    return path


def seal(path: Path, value: dict) -> Path:
    """Write a result file whose checksum is right, whatever it says."""
    path.write_text(json.dumps(value | {"checksum": saved._checksum(value)}, separators=(",", ":")))
    return path


def edit(path: Path, **changes: object) -> Path:
    return seal(path, json.loads(path.read_text()) | changes)


def test_results_survive_their_file(tmp_path: Path) -> None:
    results = shards.new(CLAIMS, Effort.FULL, (2, 3))
    results.add(Job("one", 1), Done(Outcome(7, FALSE, "ab" * 32, "smallest K is 33"), 1.5))
    shards.save(results, tmp_path / "file.json")
    assert shards.load(tmp_path / "file.json") == results
    assert os.listdir(tmp_path) == ["file.json"]


@pytest.mark.parametrize("of", [1, 2, 3, 8, 9])
def test_shards_cover_every_chunk_once(tmp_path: Path, of: int) -> None:
    whole = shards.merge([finished(tmp_path, number, of) for number in range(1, of + 1)])
    assert not whole.left() and whole.shard == shards.WHOLE
    cases = sum(done.outcome.cases for chunks in whole.done.values() for done in chunks.values())
    assert cases == 1 + 2 + 3 + 4 + 5 + 1 + 2 + 3


def refused(paths: list[Path], text: str) -> None:
    with pytest.raises(BitrowError, match=text) as caught:
        shards.merge(paths)
    assert "\n" not in str(caught.value)


def test_missing_doubled_and_foreign_shards_are_refused(tmp_path: Path) -> None:
    one, two, three = (finished(tmp_path, number, 3) for number in (1, 2, 3))
    refused([one, three], "shard 2 of 3: found no file")
    refused([two], "shard 1, 3 of 3: found no file")
    refused([one, two, three, two], "shard 2 of 3: found twice")
    (tmp_path / "other").mkdir()
    refused([one, two, finished(tmp_path / "other", 3, 4)], "found a shard of 4, expected one of 3")
    fewer = {"one": CLAIMS["one"]}
    refused([one, two, finished(tmp_path / "other", 3, 3, fewer)], "another choice of claims than .*: two")


def test_gaps_overlaps_and_versions_are_refused(tmp_path: Path) -> None:
    one, two = (finished(tmp_path, number, 2) for number in (1, 2))
    text = two.read_text()
    done = json.loads(text)["done"]
    lost = {**done, "one": {index: chunk for index, chunk in done["one"].items() if index != "3"}}
    refused([one, edit(two, done=lost)], "shard 2 of 2 lacks one chunk 3")
    more = {**done, "one": {**done["one"], "2": done["one"]["1"]}}
    refused([one, edit(two, done=more)], "one chunk 2, which is not of shard 2 of 2")
    two.write_text(text)
    refused([one, edit(two, versions={**shards.versions(), "jax": "0.1"})], "found jax 0.1, expected ")
    two.write_text(text)
    refused([one, edit(two, effort="full")], "found --full, expected --quick")
    refused([one, edit(two, schema="other")], "a result file of bitrow prove")
    two.write_text("{")
    refused([one, two], "found no JSON")
    refused([one, tmp_path / "absent.json"], "found no such file")


def test_a_false_claim_stops_alone(tmp_path: Path) -> None:
    """The chunks after a counterexample are not checked; other claims are; a merge asks for no more."""
    checked: list[int] = []

    def check(index: int) -> Outcome:
        checked.append(index)
        return Outcome(1, FALSE if index == 2 else None)

    claims = {"false": claim("false", 6, check), **CLAIMS}
    results = shards.new(claims, Effort.QUICK)
    runner.run(claims, results, 1, lambda job, done: None)
    assert checked == [0, 1, 2] and results.counterexample("false") == FALSE and not results.left()
    paths = [finished(tmp_path, number, 2, claims) for number in (1, 2)]
    assert shards.merge(paths).counterexample("false") == FALSE


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
    results = shards.new(claims, Effort.QUICK)
    with pytest.raises(KeyboardInterrupt):
        runner.run(claims, results, 1, lambda job, done: shards.save(results, path))
    again = shards.resume(path, shards.new(claims, Effort.QUICK))
    runner.run(claims, again, 1, lambda job, done: None)
    assert calls == [0, 1, 2, 2, 3, 4] and not again.left()


def test_state_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    results = shards.new(CLAIMS, Effort.QUICK)
    for name in ("bitrow", "source", "jax"):
        shards.save(results, path)
        edit(path, versions={**results.versions, name: "other"})
        with pytest.raises(BitrowError, match=f"found {name} other, expected .*--fresh"):
            shards.resume(path, results)
    shards.save(shards.new(CLAIMS, Effort.FULL), path)
    with pytest.raises(BitrowError, match="another choice of claims"):
        shards.resume(path, results)


def test_a_worker_keeps_to_its_claim() -> None:
    queue = runner._Queue([Job(name, index) for name in ("a", "b") for index in range(2)] + [Job("c", 0)])
    first, second = queue.take(None), queue.take(None)
    assert (first, second) == (Job("a", 0), Job("b", 0))
    assert queue.take("a") == Job("a", 1) and queue.take("a") == Job("c", 0)
    assert queue.take("c") == Job("b", 1)  # nothing else is left: it helps
    assert queue.take("b") is None


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
        assert len(shards.load(partial[0]).left()) <= 1
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and again.stdout.count("holds") == 2, again.stderr
    (path,) = tmp_path.glob("prove-*.json")
    assert not shards.load(path).left()
