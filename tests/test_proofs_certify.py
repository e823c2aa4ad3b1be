"""The machine's check: committed digests are the oracle's, and kernels that differ are refused (SPEC.md F2, V5)."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from bitrow.errors import BitrowError
from bitrow.ops import fp16
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
