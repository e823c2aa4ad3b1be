"""What is not so in a file of results does not pass: read strictly, and computed again in part (SPEC.md V4)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitrow import cli
from bitrow.errors import BitrowError
from bitrow.proofs import recheck, registry, saved
from bitrow.proofs.claim import Effort, Outcome
from bitrow.proofs.results import Done, Job, Results
from test_proofs_runner import CLAIMS, FALSE, checked, claim, finished, here, seal

Edit = Callable[[dict[str, Any]], object]
WRONG = {"operands": [["a", "0x0", "0"]], "found": "0x1", "expected": "0x2", "judge": "oracle"}


def chunk(**changes: object) -> Edit:
    return lambda value: value["done"]["one"]["0"].update(changes)


def put(*path: str, to: object) -> Edit:
    def edit(value: Any) -> None:
        for name in path[:-1]:
            value = value[name]
        value[path[-1]] = to

    return edit


SEALED: dict[str, tuple[Edit, str]] = {
    "cases below zero": (chunk(cases=-5), "cases: found '-5', expected an integer from 1"),
    "no cases": (chunk(cases=0), "cases: found '0'"),
    "float cases": (chunk(cases=1e30), "cases: found '1e[+]30'"),
    "truth for cases": (chunk(cases=True), "cases: found 'True'"),
    "text for cases": (chunk(cases="7"), "cases: found '7'"),
    "huge cases": (chunk(cases=10**39 - 1), "cases: found"),
    "time below zero": (chunk(seconds=-1), "seconds: found '-1', expected a number from 0"),
    "truth for seconds": (chunk(seconds=True), "seconds: found 'True'"),
    "digest": (chunk(digest="zz"), "digest: found 'zz', expected a SHA-256"),
    "note": (chunk(note=3), "note: found '3', expected text"),
    "counterexample of nothing": (chunk(counterexample={}), "counterexample: found '.*', expected the fields operands"),
    "operands": (chunk(counterexample=WRONG | {"operands": ["a"]}), "operands: found"),
    "another field": (chunk(more=1), "expected the fields cases"),
    "a zero before the number": (lambda v: v["done"]["one"].update({"00": v["done"]["one"]["0"]}), "one: found '00'"),
    "other digits": (lambda v: v["done"]["one"].update({"٣": v["done"]["one"]["0"]}), "expected chunks by their"),
    "a chunk too many": (lambda v: v["done"]["one"].update({"5": v["done"]["one"]["0"]}), "chunk 5, which is not of"),
    "a claim too many": (lambda v: v["done"].update({"new": v["done"]["one"]}), "new chunk 0, which is not of"),
    "no claims": (lambda v: v.update(chunks={}, done={}), "chunks: found '{}'"),
    "float chunks": (put("chunks", "one", to=5.0), "chunks one: found '5.0'"),
    "no chunks of a claim": (put("chunks", "one", to=0), "chunks one: found '0'"),
    "shard": (put("shard", to=[1, 1]), "expected the fields schema"),
    "effort": (put("effort", to="some"), "effort: found 'some', expected quick or full"),
    "machines": (put("machines", to="one"), "machines: found 'one'"),
    "versions": (put("versions", "jax", to=1), "versions jax: found '1', expected text"),
    "schema": (put("schema", to="bitrow-prove-1"), "schema: found 'bitrow-prove-1'"),
    "a field too many": (put("more", to=1), "expected the fields schema"),
}
RAW: dict[str, tuple[Callable[[str], str], str]] = {
    "a counterexample behind a second key": (
        lambda t: t.replace('"note":"",', f'"counterexample":{json.dumps(WRONG)},"note":"",', 1), "example' twice"),
    "seconds that are no number": (lambda t: t.replace('"seconds":0.0', '"seconds":NaN', 1), "found NaN"),
    "a digest changed": (lambda t: t.replace("0" * 63 + "1", "0" * 63 + "9", 1), "checksum: found"),
    "cases changed": (lambda t: t.replace('"cases":1,', '"cases":2,', 1), "checksum: found"),
    "no object": (lambda t: "[1]", "schema: found"),
    "deep": (lambda t: "[" * 5000, "nested more than 64 deep"),
    "half": (lambda t: t[: len(t) // 2], "found no JSON"),
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = finished(tmp_path)
    value = json.loads(path.read_text())
    for chunks in value["done"].values():
        for done in chunks.values():
            done["seconds"] = 0.0
    return seal(path, value)


@pytest.mark.parametrize("kind", SEALED)
def test_sealed_files_that_say_what_cannot_be(file: Path, kind: str) -> None:
    """SPEC.md V4: with a right checksum, too, every field has its type and range."""
    edit, text = SEALED[kind]
    value = json.loads(file.read_text())
    edit(value)
    seal(file, value)
    with pytest.raises(BitrowError, match=text) as caught:
        saved.load(file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", RAW)
def test_files_that_are_not_as_they_were_written(file: Path, kind: str) -> None:
    """SPEC.md V4: no key twice, no number that is none, no field changed."""
    edit, text = RAW[kind]
    before = file.read_text()
    file.write_text(edit(before))
    assert file.read_text() != before
    with pytest.raises(BitrowError, match=text) as caught:
        saved.load(file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """`bitrow prove claims` of `CLAIMS` in this process."""
    monkeypatch.setattr(registry, "claims", lambda: CLAIMS)

    def command(*arguments: object) -> tuple[int, str]:
        status = cli.run(["prove", *map(str, arguments), "--jobs", "1"])
        return status, capsys.readouterr().err

    return command


def forged(folder: Path, **changes: object) -> Path:
    """An unfinished run whose every verdict is made up, or changed as told, and sealed."""
    path = finished(folder)
    value = json.loads(path.read_text())
    for chunks in value["done"].values():
        for done in chunks.values():
            done.update(changes)
    path.unlink()
    return seal(path.with_suffix(".partial.json"), value)


@pytest.mark.parametrize("changes", [{"digest": "ab" * 32}, {"digest": ""}, {"cases": 77}, {"note": "fine"},
                                     {"counterexample": WRONG}])  # fmt: skip
def test_forged_verdicts_are_computed_again(run, tmp_path: Path, changes: dict[str, object]) -> None:
    """SPEC.md V4: a state in which all verdicts are forged neither holds nor is false: it is refused."""
    partial = forged(tmp_path, **changes)
    before = partial.read_bytes()
    status, error = run("claims", "--state", tmp_path)
    assert status == cli.BAD_INPUT and error.count("\n") == 1 and "recorded as" in error and "--fresh" in error
    assert partial.read_bytes() == before
    assert run("claims", "--state", tmp_path, "--fresh")[0] == 0


def test_a_hidden_counterexample_is_found() -> None:
    """A false claim recorded as one that holds: the chunk with the counterexample says so when it is drawn."""
    claims = {"wrong": claim("wrong", 1, lambda index: Outcome(1, FALSE))}
    results = checked(claims)
    with here() as team:
        recheck.recheck(claims, results, "file", team)
    results.add(Job("wrong", 0), Done(Outcome(1), 0.0))
    said = r"file: found wrong chunk 0 recorded as holds .*, expected false, found 0x"
    with here() as team, pytest.raises(BitrowError, match=said):
        recheck.recheck(claims, results, "file", team)


def test_a_run_of_another_installation_is_refused(run, tmp_path: Path) -> None:
    """SPEC.md V4: a run is of this source and these libraries."""
    for change in ({"source": "other"}, {"jax": "other"}, {"more": "1"}):
        path = finished(tmp_path).with_suffix(".partial.json")
        value = json.loads(path.with_name("prove-quick.json").read_text())
        value["versions"].update(change)
        status, error = run("claims", "--state", seal(path, value).parent)
        ((name, text),) = change.items()
        assert status == cli.BAD_INPUT and f"found {name} {text}" in error and "this installation" in error


def test_an_empty_report_does_not_hold() -> None:
    from bitrow.proofs.command import report

    assert report(CLAIMS, Results(Effort.QUICK, {}))["holds"] is False


def test_reports_do_not_overwrite_what_is_read(run, tmp_path: Path) -> None:
    """SPEC.md V5: --json on the run's own files."""
    path = finished(tmp_path)
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    os.link(path, tmp_path / "hard")
    for name in (path.name, "link", "hard"):
        for option in ("--json", "--markdown", "--record"):
            status, error = run("claims", "--state", tmp_path, option, tmp_path / name)
            assert status == cli.BAD_INPUT and error.count("\n") == 1 and f"{option}: found" in error
    both = "--json", tmp_path / "new", "--markdown", tmp_path / "new"
    status, error = run("claims", "--state", tmp_path, *both)
    assert status == cli.BAD_INPUT and "which --json names, too" in error
    assert path.read_bytes() == before and not (tmp_path / "new").exists()


def test_two_runs_of_one_choice(tmp_path: Path) -> None:
    """The second one refuses in one line, and leaves the first one's lock and files alone."""
    command = [sys.executable, "-m", "bitrow", "prove", "claims", "layer.relu", "--jobs", "1",
               "--state", str(tmp_path)]  # fmt: skip
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = sorted((process.wait(), process.communicate()[1]) for process in both)
    assert ends[0] == (0, "")
    if ends[1][0]:  # else one had ended before the other began
        assert ends[1][0] == cli.BAD_INPUT and ends[1][1].count("\n") == 1 and "found another run" in ends[1][1]
    assert len(list(tmp_path.iterdir())) == 1
