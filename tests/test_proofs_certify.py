"""The machine's check: committed digests are the oracle's, and kernels that differ are refused (SPEC.md F2, V5)."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from bitrow import cli
from bitrow.errors import BitrowError
from bitrow.ops import fp16
from bitrow.proofs import certify
from bitrow.vectors import identity
from bitrow.vectors.identity_digests import DIGESTS


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
    """SPEC.md F2: one form here and one process apart; the certificate says what ran, on what, with which digests."""
    monkeypatch.setattr(certify, "FORMS", {"split": certify.FORMS["split"]})
    monkeypatch.setattr(certify, "CPU_WAYS", {"default": ""})
    file = tmp_path / "certificate.json"
    assert cli.run(["certify", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["passes"] and found["digests"] == DIGESTS and found["versions"]["jax"] == jax.__version__
    assert [(row["check"], row["differ"]) for row in found["checks"]] == [("split", []), ("flags: default", [])]
    assert found["checks"][1]["problems"] == len(DIGESTS) and found["checks"][0]["problems"] > 0


def test_a_process_that_differs_or_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md F2: the problem is named, and the exit status is 1."""
    name = next(iter(DIGESTS))
    monkeypatch.setattr(certify, "FORMS", {})
    monkeypatch.setattr(certify, "CPU_WAYS", {"default": ""})
    monkeypatch.setattr(certify, "run_way", lambda flags: {"digests": DIGESTS | {name: "0" * 64}})
    with pytest.raises(SystemExit) as stop:
        cli.run(["certify"])
    assert stop.value.code == cli.DIFFERS and "not certified" in (out := capsys.readouterr().out) and name in out
    monkeypatch.undo()
    row = certify.check_way("broken", "--xla_no_such_flag=1")
    assert row["differ"] == sorted(DIGESTS) and "found a process that failed" in row["first"]
