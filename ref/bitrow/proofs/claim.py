"""What a claim is: a statement with a domain, cut into chunks that are checked one by one, and a verdict."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass


class Method(enum.Enum):
    """How a claim is checked."""

    EXHAUSTIVE = "exhaustive"  # every point of the stated domain, on the jitted kernels, against another judge
    SOLVER = "solver"  # z3 finds no counterexample among all bit patterns
    RATIONAL = "rational"  # exact arithmetic over Fractions, on stated or drawn points
    PROPERTY = "property"  # on drawn codes and scales; the tests draw them by Hypothesis, too
    SEARCH = "search"  # looks for the smallest counterexample, which has to exist


class Effort(enum.Enum):
    """How much of a claim's domain a run covers."""

    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True)
class Counterexample:
    """Where a claim is false: each operand as (name, word, meaning), what was found and what was expected."""

    operands: tuple[tuple[str, str, str], ...]
    found: str
    expected: str
    judge: str  # who says so, e.g. "oracle"


@dataclass(frozen=True)
class Outcome:
    """One chunk, checked. `cases` counts the points it covered; `digest` is a SHA-256 over its results, or ""."""

    cases: int
    counterexample: Counterexample | None = None
    digest: str = ""
    note: str = ""  # what was found, for a search: shown beside the verdict


@dataclass(frozen=True)
class Claim:
    """A claim that anybody can check again.

    `chunks(effort)` is how many chunks its domain is cut into; `check(effort, index)` checks one of them and must
    depend on nothing else. `domain(effort)` says in words what is covered.
    """

    name: str
    statement: str
    clauses: tuple[str, ...]
    method: Method
    domain: Callable[[Effort], str]
    chunks: Callable[[Effort], int]
    check: Callable[[Effort, int], Outcome]
