"""Vectors computed three ways, and exported only where all three agree (SPEC.md V5).

Judge one is the scalar oracle; judge two the kernels run operation by operation; judge three the same kernels
compiled whole. A disagreement stops the export with the first element that differs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bitrow.config.windows import both
from bitrow.errors import BitrowError
from bitrow.executors.team import Team, Where, opened
from bitrow.vectors.bit_views import to_words
from bitrow.vectors.case import Case
from bitrow.vectors.coverage import measure as coverage
from bitrow.vectors.files import store
from bitrow.vectors.judge import kernels, networks, stepwise
from bitrow.vectors.network_pass import WholePass
from bitrow.vectors.operations import Operation, Static, Words, split, split_static, tensors, to_arrays
from bitrow.vectors.problem import Problem

ORACLE_BUDGET = 3_000_000  # multiply-accumulates or elements that the oracle recomputes of one case
LEAST_ROWS = 3
HERE = Where(jobs=1)


@dataclass(frozen=True)
class SummaryRow:
    """A line of the summary: what one case holds and what it took."""

    case: str
    operation: str
    tensors: int
    words: int
    bins: int
    clauses: int
    rows_checked: str
    seconds: float


@dataclass(frozen=True)
class JudgeMismatch:
    """A word that a judge sees differently: `tap` of `case` at `element` (row-major index tuple)."""

    case: str
    tap: str
    element: tuple[int, ...]
    words: Mapping[str, str]

    def __str__(self) -> str:
        words = ", ".join(f"{name} {word}" for name, word in self.words.items())
        return f"{self.case} {self.tap}{list(self.element)}: found {words}, expected one word"


@dataclass(frozen=True)
class Generated:
    """What `generate` made: where, the summary's rows, the set's coverage, and what `store` wrote."""

    path: Path
    rows: tuple[SummaryRow, ...]
    coverage: Mapping[str, Any]
    summary: store.SetSummary


def _traced(operation: Operation, config: Any, static: Static, arrays: Any) -> Any:
    return kernels.compute(operation, config, arrays | dict(static))


_compiled = jax.jit(_traced, static_argnums=(0, 1, 2))


def run_kernel(operation: Operation, config: Any, given: Mapping[str, np.ndarray], compiled: bool) -> Words:
    """Every tap and output by the kernels as words: compiled whole, or operation by operation.

    Raises:
        BitrowError: what the kernel refuses.
    """
    static, dynamic = split_static(operation, given)
    arrays = to_arrays(operation, config, dynamic)
    if compiled and isinstance(operation, WholePass):
        taps = networks.kernel(operation.model, arrays, compiled=True)
    elif compiled:
        taps = _compiled(operation, config, static, arrays)
    else:
        taps = stepwise.run(functools.partial(_traced, operation, config, static), arrays)
    return {name: to_words(tap) for name, tap in taps.items()}


def run_problem(problem: Problem) -> Words:
    """Every tap and output of a problem by the compiled kernels."""
    return run_kernel(problem.operation, problem.config, problem.given, compiled=True)


def choose_rows(problem: Problem) -> list[tuple[int, int]] | None:
    """The rows that the oracle recomputes: None for all, or the first, the last and others spread between
    them.

    As many as `ORACLE_BUDGET` allows, one at least.
    """
    operation, config, given = problem.operation, problem.config, problem.given
    if problem.whole or not operation.by_rows:
        return None
    images, height = operation.rows(config, given)
    big = max(words.size for role_name, words in given.items() if role_name != "weight_code")
    cost = big // (images * height) + 1
    if "weight_code" in given:
        columns = given["mask"].shape[2] if "mask" in given else -(-given["x"].shape[2] // both(config.stride)[1])
        cost = columns * given["weight_code"].size + 1
    count = max(LEAST_ROWS, ORACLE_BUDGET // cost)
    total = images * height
    if count >= total:
        return None
    places = sorted({round(k * (total - 1) / (count - 1)) for k in range(count)})
    return [divmod(place, height) for place in places]


def describe_rows(rows: list[tuple[int, int]] | None) -> str:
    """`rows_checked` of a case, in words."""
    if rows is None:
        return "all"
    listed = ", ".join(f"({n}, {h})" for n, h in rows[:16])
    more = f" and {len(rows) - 16} more spread evenly" if len(rows) > 16 else ""
    return f"rows (n, h) {listed}{more} of the result, and what they read"


def first_difference(case: str, tap: str, judged: Mapping[str, np.ndarray], digits: int) -> JudgeMismatch | None:
    """The first element in row-major order on which the judges' words differ."""
    first = next(iter(judged.values()))
    for other in judged.values():
        if other.shape != first.shape or other.dtype != first.dtype:
            found = {name: f"{words.dtype}{list(words.shape)}" for name, words in judged.items()}
            return JudgeMismatch(case, tap, (), found)
    wrong = np.zeros(first.shape, bool)
    for other in judged.values():
        wrong |= other != first
    if not wrong.any():
        return None
    flat = int(np.argmax(wrong.reshape(-1)))
    element = np.unravel_index(flat, first.shape)
    mask = (1 << 4 * digits) - 1
    words = {name: f"{int(w.reshape(-1)[flat]) & mask:0{digits}x}" for name, w in judged.items()}
    return JudgeMismatch(case, tap, tuple(int(i) for i in element), words)


def _difference(
    problem: Problem, tap: str, oracle: np.ndarray, rows: list | None, whole: Mapping[str, np.ndarray]
) -> JudgeMismatch | None:
    """The first element of a tap on which the judges differ; the oracle has its rows only, if `rows`."""
    digits = problem.operation.encoding(tap, problem.config).hex_digits
    if rows is None:
        return first_difference(problem.name, tap, {"oracle": oracle, **whole}, digits)

    def sampled(words: np.ndarray) -> np.ndarray:
        return problem.operation.sampled(problem.config, problem.given, tap, words, rows)

    shape = next(iter(whole.values())).shape
    places = np.arange(int(np.prod(shape))).reshape(shape)
    parts = {"oracle": oracle, **{who: sampled(words) for who, words in whole.items()}}
    found = first_difference(problem.name, tap, parts, digits)
    if found is not None and found.element:
        flat = np.ravel_multi_index(found.element, oracle.shape)
        element = np.unravel_index(int(sampled(places).reshape(-1)[flat]), shape)
        return replace(found, element=tuple(int(i) for i in element))
    return found or first_difference(problem.name, tap, whole, digits)


def compare(problem: Problem, oracle: Words, rows: list | None, judged: Mapping[str, Words]) -> list[JudgeMismatch]:
    """Every tap on which the judges differ, its first element, in the order of the case's tensors.

    `oracle` holds the chosen rows where `rows` is not None; each of `judged` holds whole tensors.
    """
    found = []
    for tap in problem.operation.ordered(set(oracle).union(*judged.values())):
        missing = [who for who, words in {"oracle": oracle, **judged}.items() if tap not in words]
        if missing:
            found.append(JudgeMismatch(problem.name, tap, (), dict.fromkeys(missing, "no such tap")))
            continue
        whole = {who: words[tap] for who, words in judged.items()}
        difference = _difference(problem, tap, oracle[tap], rows, whole)
        if difference:
            found.append(difference)
    return found


def compute(problem: Problem) -> Case:
    """A case whose every word three judges agree on (SPEC.md V5), its bins measured.

    Raises:
        BitrowError: a judge refuses the problem, or they disagree: case, tap, element and each judge's word.
    """
    operation = problem.operation
    rows = choose_rows(problem)
    oracle = operation.oracle(problem.config, problem.given, rows)
    found = {
        "compiled kernel": run_kernel(operation, problem.config, problem.given, compiled=True),
        "eager kernel": run_kernel(operation, problem.config, problem.given, compiled=False),
    }
    mismatches = compare(problem, oracle, rows, found)
    if mismatches:
        more = f" (and {len(mismatches) - 1} more taps)" if len(mismatches) > 1 else ""
        raise BitrowError(f"{mismatches[0]}; nothing exported{more}")
    return case_of(problem, found["compiled kernel"])


def case_of(problem: Problem, computed: Words) -> Case:
    """The case of a problem whose taps and outputs the judges agree on, its bins measured."""
    operation, words = problem.operation, {**problem.given, **computed}
    return Case(
        name=problem.name,
        operation=operation,
        config=problem.config,
        tensors=tensors(operation, problem.config, words),
        clauses=tuple(dict.fromkeys(operation.clauses(problem.config))),
        bins=coverage.measure(operation, problem.config, words),
        rows_checked=describe_rows(choose_rows(problem)),
    )


def recompute(case: Case) -> list[JudgeMismatch]:
    """Recompute every tap and output of a loaded case by the oracle and by the compiled kernels.

    Returns:
        For each tensor that differs its first element, with the stored word and each judge's; empty when all
        agree. The oracle recomputes all of a small case and a sample of a large one's rows.

    Raises:
        BitrowError: the operation is unknown, or the case's inputs are refused.
    """
    operation = case.operation
    given, stored = split(case)
    problem = Problem(case.name, operation, case.config, given, whole=case.rows_checked == "all")
    rows = choose_rows(problem)
    oracle = operation.oracle(case.config, given, rows)
    found = {"stored": stored, "compiled kernel": run_kernel(operation, case.config, given, compiled=True)}
    return compare(problem, oracle, rows, found)


def versions() -> dict[str, str]:
    """The libraries that make a set (SPEC.md V4)."""
    return {name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")}


Progress = Callable[[SummaryRow], None]


def _ignore(row: SummaryRow) -> None:
    """The progress callback of a caller that wants none."""


def _timed(problem: Problem) -> tuple[Case, float]:
    start = time.perf_counter()
    return compute(problem), time.perf_counter() - start


def _computed(
    cases: Iterable[tuple[Case, float]], seen: coverage.SetCoverage, rows: list[SummaryRow], progress: Progress
) -> Iterator[Case]:
    for case, seconds in cases:
        seen.add(case)
        words = sum(np.asarray(tensor.data).size for tensor in case.tensors)
        row = SummaryRow(
            case.name, case.operation.name, len(case.tensors), words, len(case.bins), len(case.clauses),
            case.rows_checked, seconds,
        )  # fmt: skip
        rows.append(row)
        progress(row)
        yield case


def generate(
    out: Path,
    problems: Iterable[Problem],
    seed: int,
    suite: str,
    force: bool = False,
    progress: Progress = _ignore,
    where: Where = HERE,
) -> Generated:
    """Compute every problem three ways and write the set, whole or not at all (SPEC.md V1 to V5).

    `problems` is consumed here, one at a time, and each is computed by those that `where` says; the set is the same
    whoever they are. What their judges found is noted in `where.kept` (`taken_up.generating`), and what is there is
    asked of nobody. `progress` is called after each case. `where.trial` is asked here, too, once all that is cheap has
    been checked: it may refuse the machine.

    Raises:
        BitrowError: the judges disagree (nothing is written), or `out` cannot be written; as `opened` and
            `Team.in_order`.
    """
    seen = coverage.SetCoverage()
    rows: list[SummaryRow] = []
    extra: dict[str, Any] = {"suite": suite, "seed": seed, "versions": versions(), "coverage": {}}

    def cases(team: Team) -> Iterator[Case]:
        if where.trial is not None:
            where.trial()
        done = team.in_order(team.errand(_timed, attrgetter("name")), problems, where.kept)
        yield from _computed(done, seen, rows, progress)
        extra["coverage"] = seen.summary()

    with opened(where) as team:
        summary = store.write_set(Path(out), cases(team), extra, force)
    return Generated(summary.path, tuple(rows), extra["coverage"], summary)
