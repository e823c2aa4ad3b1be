"""`make nightly`: new examples, ten times as many, and what they find is kept (SPEC.md V4)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from bitrow.vectors import found
from draws import examples

TESTS = Path(__file__).parent
# A kernel that loses the sign of zero, on words that the oracle alone computes: no program is compiled.
PLANTED = """
import numpy as np
from hypothesis import given, settings
from bitrow.formats import FloatMode
from bitrow.testing import problem_for
from draws import examples
from kernel_judges import expect, same

def test_settings():
    profile = settings.default
    assert not profile.derandomize and examples(7).max_examples == 70
    assert examples(7, shrink=False).phases == profile.phases

@examples(50, shrink=False)
@given(problem_for("fp16.mul", FloatMode(), size=4))
def test_planted(problem):
    expected = expect(problem)
    same("planted", problem, {"y": np.where(expected["y"] == 0x8000, np.uint16(0), expected["y"])}, expected)
"""


@pytest.mark.slow
def test_the_night_draws_more_and_records_what_it_finds(tmp_path: Path) -> None:
    """The planted difference is found, and its one word is one more record of the file; all else there stays."""
    (tmp_path / "test_planted.py").write_text(PLANTED)
    file = tmp_path / "found.jsonl"
    file.write_text(found.CORPUS.read_text())
    command = ["-q", "-n", "1", "-p", "conftest", "--hypothesis-profile", "nightly", "--record", str(file), "."]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    *before, new = found.load(file)
    assert [one.problem.name for one in before] == [one.problem.name for one in found.load()]
    assert new.problem.operation.name == "fp16.mul" and new.expected["y"].tolist() == [0x8000]
    name = new.problem.name.removeprefix(found.PREFIX)
    assert f"test_planted.py::test_planted: recorded in {file} as {name}" in done.stdout


def test_a_day_draws_the_same() -> None:
    """Without the profile: as many examples as a test says, always the same, and none is kept."""
    assert settings.default.derandomize and examples(7).max_examples == 7
    with pytest.raises(AssertionError):
        assert examples(7, shrink=False).phases == settings.default.phases
