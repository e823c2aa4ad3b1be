"""Oracle = kernels operation by operation = kernels compiled = kernels under vmap, for the property tests."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np

from bitrow.contract.operation import Operation
from bitrow.testing import problems_for
from bitrow.vectors import found as found_words
from bitrow.vectors.generate import run_kernel
from bitrow.vectors.judge import identity, kernels, stepwise
from bitrow.vectors.operations import Static, Words, split_static, to_arrays, to_words
from bitrow.vectors.problem import Problem
from recording import Differs


def drawn(name: str, count: int, config: Any = None, **options: Any) -> st.SearchStrategy[list[Problem]]:
    """`problems_for` without the simplest example, all zeros: it would cost a program and prove little."""
    other = st.integers(0, 255).filter(bool)
    return other.flatmap(lambda _: problems_for(name, count, config, **options))


def first_difference(found: Words, expected: Words) -> str | None:
    """Where two sets of taps first differ, in words; None where they agree, shapes and dtypes too."""
    if set(found) != set(expected):
        return f"found taps {sorted(found)}, expected {sorted(expected)}"
    for name, words in expected.items():
        if found[name].shape != words.shape or found[name].dtype != words.dtype:
            return f"{name}: found {found[name].dtype} {found[name].shape}, expected {words.dtype} {words.shape}"
        wrong = np.argwhere(found[name] != words)
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            return f"{name}{list(at)}: found {hex(found[name][at])}, expected {hex(words[at])} ({len(wrong)} differ)"
    return None


def _record(problem: Problem, found: Words, expected: Words, why: str) -> str:
    """The problem as a line of the corpus; of an operation on numbers the first that differs alone."""
    given = problem.given
    if problem.operation.name.startswith("fp16.") and found.get("y", expected["y"]).shape == expected["y"].shape:
        at = int(np.argmax(found["y"] != expected["y"]))
        given = {name: words[at : at + 1] for name, words in given.items()}
    name = f"{problem.operation.name.replace('.', '_')}_{identity.digest(given)[:8]}"
    return found_words.line(problem._replace(name=name, given=given), "a property test of the kernels", why)


def same(who: str, problem: Problem, found: Words, expected: Words) -> None:
    """Equal taps, or a failure that names the clauses."""
    difference = first_difference(found, expected)
    if difference:
        operation = problem.operation
        clauses = ", ".join(operation.clauses(problem.config))
        record = _record(problem, found, expected, f"{who}: {difference}")
        raise Differs(
            f"{who}: {problem.operation.name} {difference}; {problem.config}; SPEC.md {clauses}\n"
            f"name it, say why, and add it to ref/bitrow/vectors/found.jsonl:\n{record}",
            record,
        )


def mapped(operation: Operation, config: Any, static: Static, arrays: Any) -> Any:
    """The kernel under vmap over the first axis of every array."""
    return jax.vmap(lambda one: kernels.compute(operation, config, one | dict(static)))(arrays)


_compiled = jax.jit(mapped, static_argnums=(0, 1, 2))


def run_mapped(problems: Sequence[Problem], compiled: bool) -> list[Words]:
    """Taps of problems that stack, by one kernel under vmap: compiled whole, or operation by operation."""
    operation, config = problems[0].operation, problems[0].config
    static, _ = split_static(operation, problems[0].given)
    givens = [split_static(operation, problem.given)[1] for problem in problems]
    stacked = {key: np.stack([given[key] for given in givens]) for key in givens[0]}
    arrays = to_arrays(operation, config, stacked)
    if compiled:
        taps = _compiled(operation, config, static, arrays)
    else:
        taps = stepwise.run(functools.partial(mapped, operation, config, static), arrays)
    words = {tap: to_words(array) for tap, array in taps.items()}
    return [{tap: array[i] for tap, array in words.items()} for i in range(len(problems))]


def expect(problem: Problem) -> Words:
    """Every tap and output by the scalar oracle."""
    return problem.operation.oracle(problem.config, problem.given)


def judge(problems: Sequence[Problem], compiled: bool, vmap: bool) -> None:
    """The oracle's words from the kernel: on each problem (eager: on the first), or on all at once under vmap."""
    who = f"{'compiled' if compiled else 'eager'}{' vmap' if vmap else ''}"
    if vmap:
        runs = zip(problems, run_mapped(problems, compiled), strict=True)
    else:
        operation = problems[0].operation
        chosen = problems if compiled else problems[:1]
        runs = ((p, run_kernel(operation, p.config, p.given, compiled)) for p in chosen)
    for problem, found in runs:
        same(who, problem, found, expect(problem))
