"""The machine's check: committed digests are the oracle's, and kernels that differ are refused (SPEC.md F2, V5)."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow import cli
from bitrow.errors import BitrowError
from bitrow.ops import fp16
from bitrow.proofs import certify
from bitrow.vectors import identity
from bitrow.vectors.identity_digests import DIGESTS
from bitrow.vectors.operations import Words
from bitrow.vectors.problems import Problem


def test_committed_digests_are_the_oracles() -> None:
    """SPEC.md V5: the oracle alone gives them."""
    assert {name: identity.oracle_digest(problem) for name, problem in identity.problems().items()} == DIGESTS


def test_a_backend_that_flushes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F5: one line with the problem and its first wrong word."""
    right = fp16.round_once
    monkeypatch.setattr(
        fp16, "round_once",
        lambda value, mode=fp16.RNE: jnp.where(jnp.abs(value) < 2.0**-14, jnp.float16(0), right(value, mode)),
    )  # fmt: skip
    identity.require.cache_clear()
    with pytest.raises(BitrowError, match=r"fp16_.*found 0x.*expected 0x.*see bitrow certify"):
        identity.require()
    identity.require.cache_clear()


def test_certificate_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2: one form here, one process on one processor; what ran, on what, with which digests, what did not."""
    short = {name: identity.problems()[name] for name in (*identity.SHORT, "lfsr", "conv_stochastic_backward")}
    monkeypatch.setattr(identity, "problems", lambda: short)
    monkeypatch.setattr(certify, "FORMS", {"split": certify.FORMS["split"]})
    monkeypatch.setattr(certify, "CPU_WAYS", {"one_thread": certify.CPU_WAYS["one_thread"]})
    file = tmp_path / "certificate.json"
    assert cli.run(["certify", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["passes"] and found["digests"] == DIGESTS and found["versions"]["jax"] == jax.__version__
    split, apart = found["checks"]
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


@pytest.mark.parametrize("form", ["eager", "vmap", "split", "sharded"])
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
    monkeypatch.setattr(certify, "run_way", lambda way: DIGESTS | {name: "0" * 64})
    with pytest.raises(SystemExit) as stop:
        cli.run(["certify"])
    assert stop.value.code == cli.DIFFERS and "not certified" in (out := capsys.readouterr().out) and name in out
    monkeypatch.undo()
    row = certify.check_way("broken", certify.Way("--xla_no_such_flag=1"))
    assert row["differ"] == sorted(DIGESTS) and "found a process that failed" in row["first"]
