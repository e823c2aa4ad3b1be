"""One question to the solver: is there a word that violates this? And the answer as an outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import z3

from bitrow.errors import BitrowError
from bitrow.lower.target import Word
from bitrow.proofs.claim import Counterexample, Outcome

TIMEOUT_S = 300

QueryWords = Mapping[str, int]


@dataclass(frozen=True)
class Query:
    """A statement about all words that `given` admits: none satisfies `violation`.

    `words` are the free words by name, the most telling first; `points` how many tuples of them `given` admits;
    `explain` decodes a counterexample.
    """

    words: Mapping[str, Word]
    given: Sequence[Any]
    violation: Any
    points: int
    explain: Callable[[QueryWords], Counterexample]


def value_of(model: Any, word: Word) -> int:
    """What a free word is in a model; words that do not matter are 0."""
    found = model.eval(word.term, model_completion=True)
    return found.as_signed_long() if word.signed else found.as_long()


def computed(function: Callable[..., Any], *arguments: Any) -> int:
    """What the kernel itself computes, compiled by JAX; numpy scalars are its words."""
    parameters = [place for place, each in enumerate(arguments) if not isinstance(each, np.generic)]
    return int(jax.jit(lambda *given: function(*given), static_argnums=parameters)(*arguments))


def _solver(timeout_s: float) -> Any:
    solver = z3.Solver()
    solver.set("timeout", int(timeout_s * 1000))
    return solver


def find(formulas: Sequence[Any], timeout_s: float = TIMEOUT_S) -> Any | None:
    """A model of all the formulas, or None where there is none.

    Raises:
        BitrowError: the solver gives up, or takes longer than `timeout_s`.
    """
    solver = _solver(timeout_s)
    solver.add(*formulas)
    verdict = solver.check()
    if verdict == z3.sat:
        return solver.model()
    if verdict == z3.unsat:
        return None
    raise BitrowError(f"solver: found no verdict ({solver.reason_unknown()}), expected one within {timeout_s:g} s")


def smallest(formulas: Sequence[Any], words: Sequence[Word], timeout_s: float = TIMEOUT_S) -> Any | None:
    """The model whose words are smallest, the first above all: by bits, so a negative word counts as large."""
    model = find(formulas, timeout_s)
    if model is None:
        return None
    solver = _solver(timeout_s)
    solver.add(*formulas)
    for word in words:
        for place in reversed(range(word.bits)):
            bit = z3.Extract(place, place, word.term)
            if model.eval(bit, model_completion=True).as_long() == 1:
                solver.push()
                solver.add(bit == 0)
                if solver.check() == z3.sat:
                    model = solver.model()
                    continue
                solver.pop()
            solver.add(bit == model.eval(bit, model_completion=True))
    return model


def answer(query: Query, timeout_s: float = TIMEOUT_S) -> Outcome:
    """The outcome of a query; a counterexample is made as small as possible, and decoded.

    Raises:
        BitrowError: no verdict in time.
    """
    model = smallest([*query.given, query.violation], list(query.words.values()), timeout_s)
    if model is None:
        return Outcome(query.points)
    words = {name: value_of(model, word) for name, word in query.words.items()}
    return Outcome(query.points, query.explain(words))
