"""The machine's check: committed digests are the oracle's, and programs that differ are refused (SPEC.md F2, V5)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import program_judge
from bitrow import cli, processor
from bitrow.backend import certify, program_digests, programs, require
from bitrow.errors import BitrowError
from bitrow.ops import fp16, half_casts
from bitrow.vectors.judge import identity
from bitrow.vectors.judge.identity_digests import DIGESTS
from bitrow.vectors.operations import Words
from bitrow.vectors.problem import Problem


def test_committed_digests_are_the_oracles() -> None:
    """SPEC.md V5: the oracle alone gives them."""
    assert {name: identity.oracle_digest(problem) for name, problem in identity.problems().items()} == DIGESTS


def test_every_program_has_a_digest() -> None:
    assert set(program_digests.DIGESTS) == set(programs.programs())


# Of each kind of program one in every run, and all by `bitrow certify`; the others compile what these hold.
RUN = {"forward frozen", "rows forward", "rows frozen", "training batch", "step lite_residual bit_accurate"}


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name in RUN else [pytest.mark.slow]) for name in sorted(programs.programs())
])  # fmt: skip
def test_a_program_gives_the_judges_words_by_code_that_cannot_give_others(name: str) -> None:
    """SPEC.md A4, A5, B1 to B4, C1 to C4: whole networks, rows and training steps, jitted without taps: word by word.

    The oracle walks the networks, numpy adds the host's gradients; the committed digests are theirs. The code is read.
    """
    (found, violations), expected = programs.run_and_read(programs.programs()[name]), program_judge.expected(name)
    assert program_digests.DIGESTS[name] == identity.digest(expected)
    assert sorted(found) == sorted(expected)
    for tensor, words in expected.items():
        np.testing.assert_array_equal(found[tensor], words, err_msg=f"{name} {tensor}")
    assert not violations, str(violations[0])


@pytest.fixture
def asked_anew():
    """A machine that is asked again, and again after the test; what the test had traced is forgotten."""
    require.require.cache_clear()
    yield
    require.require.cache_clear()
    jax.clear_caches()


@pytest.mark.usefixtures("asked_anew")
def test_a_backend_that_flushes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F5: one line with the problem and its first wrong word."""
    right = fp16.round_once
    monkeypatch.setattr(
        fp16, "round_once",
        lambda value, mode=fp16.RNE: jnp.where(jnp.abs(value) < 2.0**-14, jnp.float16(0), right(value, mode)),
    )  # fmt: skip
    with pytest.raises(BitrowError, match=r"fp16_.*found 0x.*expected 0x.*see bitrow certify"):
        require.require("generate")


@pytest.fixture
def fused() -> Iterator[None]:
    """Kernels whose products meet their sums unrounded, as a processor with FP16 arithmetic once made them; what was
    traced of them is forgotten, or programs of later tests hold them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(half_casts, "narrow_term", lambda value: value)
        patch.setattr(half_casts, "widen", lambda x: x.astype(jnp.float32))
        jax.clear_caches()
        yield
    jax.clear_caches()


@pytest.mark.usefixtures("asked_anew", "fused")
@pytest.mark.parametrize("command", [
    ["generate", "--out", "set", "--suite", "smoke"],
    ["pipeline", "resnet8", "--input-size", "8", "--check", "--json", "report.json"],
    ["transfer", "--out", "runs", "--seeds", "1", "--policy", "head", "--numerics", "bit_accurate", "--quiet"],
])  # fmt: skip
def test_a_machine_that_fails_neither_trains_nor_exports(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SPEC.md B1: every command that promises bits asks first; it names the program and leaves nothing."""
    monkeypatch.chdir(tmp_path)
    assert cli.run(command) == cli.BAD_INPUT
    line = capsys.readouterr().err
    assert line.startswith(f"bitrow: {command[0]} on backend cpu") and "batch_norm_frozen" in line
    assert line.count("\n") == 1 and "see bitrow certify" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [
    ["generate", "--out", "set", "--suite", "smoke"],
    pytest.param(["transfer", "--out", "runs", "--seeds", "1", "--policy", "head", "--numerics", "bit_accurate",
                  "--quiet"], marks=pytest.mark.slow),
])  # fmt: skip
def test_fast_math_is_refused(command: list[str], tmp_path: Path) -> None:
    """SPEC.md F2: whatever the words happen to be, code that may be reordered is not run."""
    environment = {**os.environ, "XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}
    done = subprocess.run(
        [sys.executable, "-m", "bitrow", *command], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == cli.BAD_INPUT and done.stderr.count("\n") == 1, done.stderr
    assert f"bitrow: {command[0]} on backend cpu" in done.stderr and "see bitrow certify" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("fused")
def test_programs_that_differ_are_in_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md B1: an unrounded product shows in the whole programs, and in the kernel without taps alone."""
    short = {name: programs.programs()[name] for name in ("forward frozen",)}
    monkeypatch.setattr(programs, "programs", lambda: short)
    monkeypatch.setattr(certify, "read_alone", lambda: iter(()))
    assert [row["differ"] for row in certify.check_programs()] == [["forward frozen"]] * 2
    assert list(identity.differing(["batch_norm_frozen"])) == ["batch_norm_frozen"]
    assert not identity.differing(["batch_norm_frozen"], certify.FORMS["tapped"])


def test_certificate_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2: one form here, one process on one processor; what ran, on what, with which digests, what did not."""
    names = ("fp16_add_default", "batch_norm_frozen", "batch_norm_batch_fp32", "lfsr", "conv_stochastic_backward")
    short = {name: identity.problems()[name] for name in names}
    monkeypatch.setattr(identity, "problems", lambda: short)
    monkeypatch.setattr(certify, "FORMS", {"split": certify.FORMS["split"]})
    monkeypatch.setattr(certify, "CPU_WAYS", {"one_thread": certify.CPU_WAYS["one_thread"]})
    monkeypatch.setattr(certify, "levels", lambda: {})
    small = {name: programs.programs()[name] for name in ("forward frozen",)}
    monkeypatch.setattr(programs, "programs", lambda: small)
    monkeypatch.setattr(programs, "EPOCHS", ())
    file = tmp_path / "certificate.json"
    assert cli.run(["certify", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["passes"] and found["digests"] == DIGESTS | program_digests.DIGESTS
    assert found["versions"]["jax"] == jax.__version__ and found["features"] == list(processor.features())
    split, whole, read, apart = found["checks"]
    assert (whole["check"], whole["differ"], whole["problems"]) == ("programs", [], 1)
    assert (read["check"], read["differ"], read["problems"]) == ("compiled code", [], len(short) + 1)
    assert (split["check"], split["differ"], split["problems"]) == ("split", [], len(short) - 2)
    assert set(split["not_applicable"]) == {"batch_norm_batch_fp32", "conv_stochastic_backward"}
    assert "whole batch" in split["not_applicable"]["batch_norm_batch_fp32"]
    assert (apart["check"], apart["differ"], apart["problems"]) == ("flags: one_thread", [], len(short))


def test_forms_cover_every_problem_but_those_that_need_the_whole_batch() -> None:
    """SPEC.md B2, Q3: batch statistics and drawn words of a gradient are not cut; all else is, in every form."""
    for form in certify.FORMS:
        names, others = certify.applicable(form)
        assert sorted([*names, *others]) == sorted(DIGESTS)
        cut = {"batch_norm_batch_fp32", "batch_norm_batch_fp16", "conv_stochastic_backward"}
        assert set(others) == (cut if form in ("vmap", "split") else set())


@pytest.mark.parametrize("form", [
    "eager", "split", pytest.param("vmap", marks=pytest.mark.slow), pytest.param("sharded", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_form_that_differs_is_seen(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2: each form's own words are held against the oracle's, not those of another form."""
    short = {name: identity.problems()[name] for name in ("fp16_add_default", "relu6", "lfsr")}
    monkeypatch.setattr(identity, "problems", lambda: short)
    assert certify.check_form(form)["differ"] == []
    right = certify.FORMS[form]

    def wrong(problem: Problem) -> Words:
        words = right(problem)
        if problem.name == "relu6":
            words["y"] = words["y"] ^ np.uint16(1)
        return words

    monkeypatch.setitem(certify.FORMS, form, wrong)
    row = certify.check_form(form)
    assert row["differ"] == ["relu6"] and row["first"].startswith("relu6 y[0, 0, 0, 0]: found 0x")


def test_a_process_that_differs_or_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md F2: the problem is named, and the exit status is 1."""
    name = next(iter(DIGESTS))
    monkeypatch.setattr(certify, "FORMS", {})
    monkeypatch.setattr(certify, "CPU_WAYS", {"default": certify.Way()})
    monkeypatch.setattr(certify, "levels", lambda: {})
    monkeypatch.setattr(programs, "programs", lambda: {})
    monkeypatch.setattr(programs, "EPOCHS", ())
    monkeypatch.setattr(identity, "problems", lambda: {})
    monkeypatch.setattr(certify, "applicable", lambda form: (list(DIGESTS), {}))
    monkeypatch.setattr(certify, "run_way", lambda way, names: DIGESTS | {name: "0" * 64})
    assert cli.run(["certify"]) == cli.DIFFERS
    assert "not certified" in (out := capsys.readouterr().out) and name in out
    monkeypatch.undo()
    row = certify.check_way("broken", certify.Way("--xla_no_such_flag=1"))
    assert row["differ"] == sorted([*DIGESTS, *certify.EVERYWHERE]) and "found a process that failed" in row["first"]


def test_levels_are_those_that_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2: the highest, too, and none that XLA would refuse."""
    monkeypatch.setattr(processor, "features", lambda: ("sse4_2", "avx2", "avx512_fp16"))
    assert list(certify.levels()) == ["sse4_2", "avx2"]
    monkeypatch.undo()
    for way in certify.levels().values():
        assert way.flags.startswith("--xla_cpu_max_isa=")
