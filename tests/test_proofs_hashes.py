"""The published hashes of whole FP16 operations: what `make exhaustive` prints first (SPEC.md F2)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from bitrow.export.c_model import CModel
from bitrow.ops import fp16
from bitrow.proofs import fp16_hashes
from c_library import needs_compiler

GUIDE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def test_square_roots_of_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md F2, F4: all 65,536 words; the hash is numpy's, and the one that the guide states."""
    with np.errstate(all="ignore"):
        words = np.sqrt(np.arange(1 << 16, dtype=np.uint16).view(np.float16)).view(np.uint16)
    expected = hashlib.sha256(np.where((words & 0x7FFF) > 0x7C00, 0x7E00, words).astype("<u2").tobytes()).hexdigest()
    assert fp16_hashes.main(["sqrt"]) == 0
    assert f"sqrt: 65536 results equal numpy's float16; sha256 {expected}" in capsys.readouterr().out
    assert f"`{expected}`" in GUIDE.read_text()


@needs_compiler
def test_the_c_model_has_the_same_hash(capsys: pytest.CaptureFixture[str], c_model: CModel, monkeypatch) -> None:
    """SPEC.md F2: what `make exhaustive` runs of the C model, here on its roots."""
    monkeypatch.setattr(CModel, "build", lambda flags: c_model)
    assert fp16_hashes.main(["c.sqrt"]) == 0
    digest = capsys.readouterr().out.split()[-1]
    assert f"`{digest}`" in GUIDE.read_text()
    monkeypatch.setattr(CModel, "array", lambda self, name, mode, a: a.copy())
    assert fp16_hashes.main(["c.sqrt"]) == 1
    assert "sqrt(0x" in capsys.readouterr().err


def test_a_wrong_result_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md F2: one line with the operand, what was found and what was expected; exit status 1."""
    monkeypatch.setitem(fp16_hashes.KERNELS, "sqrt", lambda a: fp16.mul(a, a))
    assert fp16_hashes.main(["sqrt"]) == 1
    assert "sqrt(0x" in capsys.readouterr().err
    assert fp16_hashes.main(["cbrt"]) == 2
