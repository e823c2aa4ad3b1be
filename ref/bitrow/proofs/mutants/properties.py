"""Properties apart from any vector set: what must hold of the oracle and the pipeline, by judges of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from bitrow.errors import BitrowError
from bitrow.faults import apply
from bitrow.faults.mutant import Mutant
from bitrow.proofs.mutants import judge


@dataclass(frozen=True)
class Property:
    """A statement about the contract, the oracle or the pipeline, with the clause that it comes from.

    `check` looks at its whole stated domain and returns the first counterexample in words, or None. What it expects
    comes from judges that share no code with the functions: Fractions, numpy's float16 and float32, plain counting.
    """

    name: str
    says: str
    clause: str
    check: Callable[[], str | None]


class Sound(NamedTuple):
    """A property that holds of the sound functions, and what its check runs."""

    property: Property
    parts: frozenset[apply.Part]


class Broken(NamedTuple):
    """A property that a mutant breaks, and its counterexample; `raised` where the faulty part raised an error."""

    property: str
    counterexample: str
    raised: bool = False


def control(properties: Iterable[Property]) -> list[Sound]:
    """Each property checked once of the sound functions, which makes and keeps what it expects.

    Raises:
        BitrowError: a property does not hold of them, so that it could judge nothing.
    """
    found = []
    for one in properties:
        one.check()  # makes what it expects, so that the profile below sees the check alone
        results: list[str | None] = []
        parts = judge.parts_run_by(lambda one=one, results=results: results.append(one.check()))  # type: ignore[misc]
        if results[0] is not None:
            raise BitrowError(f"property {one.name}: found {results[0]} without a mutant, expected it to hold")
        found.append(Sound(one, parts))
    return found


def broken(mutant: Mutant, properties: Iterable[Sound], first_only: bool = False) -> list[Broken]:
    """The properties that a mutant breaks; one whose check runs nothing that it changes cannot be broken."""
    changed = apply.changed(mutant)
    run = [sound.property for sound in properties if sound.parts & changed]
    found: list[Broken] = []
    with apply.applied(mutant) as faulty:
        for one in run:
            try:
                counterexample, raised = one.check(), False
            except Exception as error:
                if not judge.raised_by(error.__traceback__, faulty):
                    raise
                counterexample, raised = " ".join(f"{type(error).__name__}: {error}".split()), True
            if counterexample is not None:
                found.append(Broken(one.name, counterexample, raised))
                if first_only:
                    break
    return found
