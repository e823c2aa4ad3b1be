"""Faults of where windows lie are found by the suite `geometry`, and by what numpy makes of the layers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitrow.proofs.mutants import judge, properties
from bitrow.proofs.mutants.catalogue import MUTANTS
from bitrow.proofs.mutants.geometry import GEOMETRY
from bitrow.proofs.mutants.layer_properties import LAYER_PROPERTIES
from bitrow.vectors import catalog


def _judged(entry: catalog.Entry) -> judge.Judged:
    """A case of the suite, its words the sound oracle's."""
    problem = catalog.build(entry, 1)
    words = problem.operation.oracle(problem.config, problem.given)
    found = judge.Judged(problem.name, problem.operation, problem.config, problem.given, words, frozenset())
    return replace(found, parts=judge.parts_run_by(found.compute))


@pytest.fixture(scope="module")
def cases() -> list[judge.Judged]:
    return [_judged(entry) for entry in catalog.geometry()]


@pytest.fixture(scope="module")
def sound() -> list[properties.Sound]:
    return properties.control(LAYER_PROPERTIES)


@pytest.mark.parametrize("mutant", GEOMETRY, ids=[mutant.name for mutant in GEOMETRY])
def test_the_suite_and_the_properties_find_it(mutant, cases, sound) -> None:
    """SPEC.md C1, C2, A2, A3: by words, not by an error."""
    assert mutant.name not in {other.name for other in MUTANTS if other is not mutant}
    kills = judge.kills(mutant, cases)
    assert kills and not any(kill.raised for kill in kills)
    assert properties.broken(mutant, sound, first_only=True)
