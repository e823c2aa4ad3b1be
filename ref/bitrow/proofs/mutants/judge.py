"""Which cases of a vector set find a mutant: each case computed again from its stored inputs by the faulty oracle.

A case whose computation runs no function and no line that the mutant changes cannot find it, and is not run: a profile
of the sound oracle says what each case runs. Passes of whole networks are left out, since their layers are judged
one by one, each from its own stored inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitrow.contract.operation import Operation
from bitrow.errors import BitrowError
from bitrow.faults import apply
from bitrow.faults.apply import Part
from bitrow.faults.mutant import Mutant
from bitrow.faults.reach import parts_run_by, raised_by
from bitrow.vectors.files import store
from bitrow.vectors.network_pass import WholePass
from bitrow.vectors.operations import split


class Kill(NamedTuple):
    """Where a case finds a mutant: the first tap that differs in the order of the case, its first differing element.

    `found` and `expected` are the element's words as integers. `raised` is the error where the faulty function
    or program raised one instead of giving words; the rest is then "" and -1. `element` is -1 for another shape, too.
    """

    case: str
    tap: str = ""
    element: int = -1
    found: int = 0
    expected: int = 0
    raised: str = ""


@dataclass(frozen=True)
class Judged:
    """A case of a set, ready to be computed again: what is given, what is expected, and what its computation runs."""

    name: str
    operation: Operation
    config: Any
    given: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]
    parts: frozenset[Part]

    @property
    def words(self) -> int:
        """Words that are compared."""
        return sum(data.size for data in self.expected.values())

    def compute(self) -> dict[str, np.ndarray]:
        """Every tap and output by the oracle as it now is."""
        return self.operation.oracle(self.config, self.given)


def first_difference(
    name: str, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> Kill | None:
    """The first word that differs, taps in the order of `expected`; None where all agree."""
    for tap, words in expected.items():
        if tap not in found or found[tap].shape != words.shape:
            return Kill(name, tap)
        wrong = np.flatnonzero(found[tap].reshape(-1) != words.reshape(-1))
        if wrong.size:
            at = int(wrong[0])
            return Kill(name, tap, at, int(found[tap].reshape(-1)[at]), int(words.reshape(-1)[at]))
    return None


def load(folder: Path) -> Iterator[Judged]:
    """The cases of a set in its order, each computed once by the sound oracle: the control run.

    Raises:
        BitrowError: the set cannot be read; or the control run differs from it, so that it could judge nothing.
    """
    for name in store.case_names(folder):
        case = store.read_case(folder, name)
        if isinstance(case.operation, WholePass):
            continue
        given, expected = split(case)
        sound = Judged(name, case.operation, case.config, given, expected, frozenset())
        results: list[dict[str, np.ndarray]] = []
        parts = parts_run_by(lambda: results.append(sound.compute()))  # noqa: B023 run at once
        wrong = first_difference(name, results[0], expected)
        if wrong is not None:
            raise BitrowError(
                f"{folder}/{name} {wrong.tap} element {wrong.element}: found {wrong.found:x} by the sound oracle, "
                f"expected {wrong.expected:x} of the set; run bitrow verify"
            )
        yield replace(sound, parts=parts)


def judge(case: Judged, faulty: apply.Fault) -> Kill | None:
    """Whether the case finds the fault that is applied now.

    An error counts where it passed through the faulty function or program: the operation itself failed. Any other is a
    defect of the judge, and goes on.
    """
    try:
        results = case.compute()
    except Exception as error:
        if not raised_by(error.__traceback__, faulty):
            raise
        return Kill(case.name, raised=" ".join(f"{type(error).__name__}: {error}".split()))
    return first_difference(case.name, results, case.expected)


def reachable(mutant: Mutant, cases: Iterable[Judged]) -> list[Judged]:
    """The cases whose computation runs a function or a line that the mutant changes."""
    changed = apply.changed(mutant)
    return [case for case in cases if case.parts & changed]


def kills(mutant: Mutant, cases: Iterable[Judged], first_only: bool = False) -> list[Kill]:
    """The cases that find a mutant, in their order; with `first_only`, the first of the smallest first."""
    run = reachable(mutant, cases)
    if first_only:
        run.sort(key=lambda case: case.words)
    found: list[Kill] = []
    with apply.applied(mutant) as faulty:
        for case in run:
            kill = judge(case, faulty)
            if kill is not None:
                found.append(kill)
                if first_only:
                    break
    return found
