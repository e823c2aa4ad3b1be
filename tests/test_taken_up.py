"""`generate` and `verify` that were stopped: what their judges found is taken up, nothing else is (SPEC.md V4, V5)."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitrow import cli, versions
from bitrow.asides import alone
from bitrow.errors import BitrowError
from bitrow.executors.team import Where, opened
from bitrow.formats import FloatMode, Rounding
from bitrow.vectors import catalog, generate, taken_up
from bitrow.vectors.files import store
from bitrow.vectors.network_pass import WholePass, operation
from bitrow.vectors.problem import Problem

CASES = ("fxp_pack_fxp4", "lfsr_words", "relu6_forward", "max_pool_3x3_forward", "relu_forward", "relu_backward")
SUITE = tuple(itertools.chain.from_iterable(("--suite", name) for name in CASES))
HERE = Where(jobs=1)
FOUND: dict[tuple[Any, str], Any] = {}


def problems() -> list[Problem]:
    return list(catalog.problems(CASES, None, 0))


def contents(folder: Path) -> dict[str, bytes]:
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set as a run makes it that nobody stops and that keeps nothing."""
    out = tmp_path_factory.mktemp("whole") / "set"
    generate.generate(out, problems(), 0, " ".join(CASES))
    return out


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases that are judged in this process, as they come; one that was judged before is quick to judge again."""
    names: list[str] = []

    def noted(function: Callable[[Any], Any], key: Callable[[Any], str]) -> Callable[[Any], Any]:
        def judge(each: Any) -> Any:
            names.append(each.name)
            if (function, key(each)) not in FOUND:
                FOUND[function, key(each)] = function(each)
            return FOUND[function, key(each)]

        return judge

    for name, key in (("compute", taken_up._problem_key), ("recompute", taken_up._stored_key)):
        monkeypatch.setattr(generate, name, noted(getattr(generate, name), key))
    return names


def stop_after(number: int) -> Callable[[Any], None]:
    left = itertools.count(1)

    def progress(row: Any) -> None:
        if next(left) == number:
            raise KeyboardInterrupt

    return progress


def begin(out: Path, stop: int = 0, fresh: bool = False) -> None:
    with taken_up.generating(out, fresh) as kept:
        generate.generate(out, problems(), 0, " ".join(CASES), progress=stop_after(stop),
                          where=dataclasses.replace(HERE, kept=kept))  # fmt: skip


def stopped(out: Path, number: int = 4) -> Path:
    """The file of a run that was stopped when it had so many cases."""
    with pytest.raises(KeyboardInterrupt):
        begin(out, number)
    (file,) = out.parent.iterdir()
    return file


def test_what_was_judged_is_taken_up(whole: Path, tmp_path: Path, judged: list[str]) -> None:
    """Each case is judged once; the set is that of a run that nobody stopped; nothing stays beside it."""
    file = stopped(tmp_path / "set")
    assert len(file.read_bytes().splitlines()) == 1 + 4
    begin(tmp_path / "set")
    assert judged == list(CASES)
    assert [path.name for path in tmp_path.iterdir()] == ["set"] and contents(tmp_path / "set") == contents(whole)


def spoiled(line: bytes) -> bytes:
    """One letter of a case's words is another."""
    at = line.index(b',"') + 4
    return line[:at] + (b"B" if line[at : at + 1] != b"B" else b"C") + line[at + 1 :]


DAMAGE: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a letter": lambda lines: [lines[0], spoiled(lines[1]), *lines[2:]],
    "the end is cut off": lambda lines: [*lines[:-1], lines[-1][:-9]],
    "the first line alone, cut": lambda lines: [lines[0][:70]],
    "another's checksum": lambda lines: [lines[0], lines[1].split()[0] + b" " + lines[2].split(b" ", 1)[1]],
    "a line twice": lambda lines: [*lines, lines[2]],
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_judged_anew(whole: Path, tmp_path: Path, judged: list[str], damage: str) -> None:
    file = stopped(tmp_path / "set", 3)
    head, *lines = file.read_bytes().splitlines(keepends=True)
    after = DAMAGE[damage](lines)
    file.write_bytes(head + b"".join(after))
    judged.clear()
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "set", 5)  # what follows a line that was cut off is sound
    sound = [name for name, line in zip(CASES, lines, strict=False) if line in after]
    assert judged == [name for name in CASES[:5] if name not in sound]
    begin(tmp_path / "set")
    assert judged == [*(name for name in CASES[:5] if name not in sound), CASES[5]]
    assert contents(tmp_path / "set") == contents(whole)


@pytest.mark.usefixtures("judged")
def test_what_other_versions_left_is_refused(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md V4: in one line, and what is there stays; --fresh starts over."""
    file = stopped(tmp_path / "set")
    before = file.read_bytes()
    real = versions.versions()
    for changed in ({"source": "0" * 64}, {"jax": "9"}):
        monkeypatch.setattr(taken_up, "versions", lambda changed=changed: real | changed)
        with pytest.raises(BitrowError, match=r"^.*: found another file, or what other versions .*; --fresh starts"):
            begin(tmp_path / "set")
        assert file.read_bytes() == before
    begin(tmp_path / "set", fresh=True)
    assert contents(tmp_path / "set") == contents(whole)


def test_a_second_run_of_a_set_is_refused(tmp_path: Path) -> None:
    """A set that is verified twice at once is none of a run's: the second keeps nothing."""
    out = tmp_path / "set"
    with taken_up.generating(out), pytest.raises(BitrowError, match=r"another run at work on the set .*/set, expected"):
        begin(out)
    with taken_up.verifying(out) as first, taken_up.verifying(out) as second:
        assert first is not None and second is None
    tmp_path.chmod(0o500)
    try:
        with taken_up.verifying(out) as kept:
            assert kept is None or os.geteuid() == 0  # whom no mode keeps out
    finally:
        tmp_path.chmod(0o700)


def test_a_problem_is_known_by_all_that_decides_it() -> None:
    """SPEC.md V4: another name, configuration, word, order of words, share of rows, model: another key."""
    problem = next(catalog.problems(["fp16_add_nearest_even"], None, 0))
    given = {name: words.copy() for name, words in problem.given.items()}
    first = next(iter(given))
    others = [
        problem._replace(name="other"), problem._replace(config=FloatMode(Rounding.DOWN)),
        problem._replace(whole=not problem.whole), problem._replace(given=given | {first: given[first][::-1]}),
        problem._replace(given=given | {first: given[first].reshape(-1, 1)}),
        problem._replace(given=given | {first: given[first].astype(np.int32)}),
        problem._replace(operation=next(catalog.problems(["fp16_mul_nearest_even"], None, 0)).operation),
    ]  # fmt: skip
    for place in (0, -1):
        words = given[first].copy()
        words.flat[place] ^= 1
        others.append(problem._replace(given=given | {first: words}))
    keys = {taken_up._problem_key(each) for each in (problem, *others)}
    assert len(keys) == 1 + len(others) and taken_up._problem_key(problem._replace(given=given)) in keys


def test_a_pass_is_known_by_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's parameters are no given words of its pass, and no source."""
    problem = Problem("pass", operation("network.resnet8_digits"), FloatMode(), {})
    before, file = taken_up._problem_key(problem), tmp_path / "other.safetensors"
    file.write_bytes(b"other")
    monkeypatch.setattr(WholePass, "file", property(lambda self: file))
    taken_up._model_digest.cache_clear()
    try:
        assert taken_up._problem_key(problem) != before
    finally:
        taken_up._model_digest.cache_clear()


def test_cases_that_were_verified_are_taken_up(whole: Path, tmp_path: Path, judged: list[str]) -> None:
    """What differs is told again; a word that has changed since makes it another case."""
    def differing(case: Any) -> Any:
        last = case.tensors[-1]
        return dataclasses.replace(case, tensors=(*case.tensors[:-1], dataclasses.replace(last, data=last.data ^ 1)))

    cases = [differing(case) if place == 1 else case for place, case in enumerate(store.read_set(whole))]
    (tmp_path / "set").mkdir()

    def verify(until: int, given: list[Any]) -> list[Any]:
        found = []
        with taken_up.verifying(tmp_path / "set") as kept, opened(HERE) as team:
            errand = team.errand(generate.recompute, str)
            for each in team.in_order(errand, given, kept):
                found.append(each)
                if len(found) == until:
                    raise KeyboardInterrupt
        return found

    with pytest.raises(KeyboardInterrupt):
        verify(3, cases)
    cases[0] = differing(cases[0])
    found = verify(0, cases)
    assert judged == [*CASES[:3], CASES[0], *CASES[3:]]
    assert [len(each) for each in found] == [1, 1, 0, 0, 0, 0] and found[1] == generate.recompute(cases[1])
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "where"), [
    (command, where) for where in (("--jobs", "2"), ("--scheduler", "local", "--jobs", "2"))
    for command in ("generate", "verify")
])  # fmt: skip
def test_a_killed_command_is_taken_up_elsewhere(
    whole: Path, tmp_path: Path, judged: list[str], command: str, where: tuple[str, ...]
) -> None:
    """SIGKILL in mid-run; the same command on another executor judges what is missing, and its set is the same."""
    out = tmp_path / "set"
    if command == "verify":
        generate.generate(out, problems(), 0, " ".join(CASES))
        arguments = ["verify", str(out), "--quiet"]
    else:
        arguments = ["generate", *SUITE, "--out", str(out), "--quiet"]
    judged.clear()
    process = subprocess.Popen([sys.executable, "-m", "bitrow", *arguments, *where], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    lines: list[bytes] = []
    while process.poll() is None and len(lines) < 2:
        lines = [line for file in tmp_path.glob(".set.bitrow-*") if file.is_file()
                 for line in file.read_bytes().splitlines()[1:]]  # fmt: skip
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    _, said = process.communicate()
    assert (process.returncode, said) == (-signal.SIGKILL, "")
    (file,) = (path for path in tmp_path.glob(".set.bitrow-*") if path.is_file())
    done = len(file.read_bytes().splitlines()) - 1
    assert 2 <= done < len(CASES)
    assert cli.run([*arguments, "--jobs", "1"]) == 0
    assert len(judged) == len(CASES) - done and contents(out) == contents(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_file_of_a_run_is_not_shared_with_others(tmp_path: Path) -> None:
    """Sets whose long names begin alike, and what verifies beside what generates, have files of their own."""
    long = "a" * 60
    places = {taken_up._place(tmp_path / name, kind) for name in (long, f"{long}b") for kind in ("cases", "verified")}
    assert len(places) == 4 and all(len(place.name) < 100 for place in places)
    with alone(places.pop(), "one"), alone(places.pop(), "another"):
        pass
