"""The committed sets' words by the oracle and by the compiled kernels: a changed rounding is named within a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitrow.vectors.files import store
from bitrow.vectors.generate import run_kernel
from bitrow.vectors.network_pass import WholePass
from bitrow.vectors.operations import split
from bitrow.vectors.problem import Problem
from kernel_judges import expect, same

GOLDEN = Path(__file__).parents[1] / "golden"
SETS = sorted(path.name for path in GOLDEN.glob("v*"))
CASES = [(folder, name) for folder in SETS for name in store.case_names(GOLDEN / folder)]


@pytest.mark.parametrize(("folder", "name"), CASES, ids=[name for _, name in CASES])
def test_words(folder: str, name: str) -> None:
    """SPEC.md V4, V5: each tap of a case from its stored inputs; a failure names the tap and the clauses."""
    case = store.read_case(GOLDEN / folder, name)
    given, words = split(case)
    problem = Problem(name, case.operation, case.config, given)
    if not isinstance(case.operation, WholePass):  # whose layers are cases of their own
        same("oracle", problem, expect(problem), words)
    same("compiled", problem, run_kernel(case.operation, case.config, given, compiled=True), words)
