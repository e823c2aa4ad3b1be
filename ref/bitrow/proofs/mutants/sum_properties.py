"""Properties of sums whose order decides (SPEC.md A3, A4): numpy's float32 adds adjacent pairs of terms that cancel."""

from __future__ import annotations

import functools

import numpy as np

from bitrow.contract.operation import Operation
from bitrow.proofs.mutants.runs import Domain, OperationRun, over
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus import corner_problems
from bitrow.vectors.stimulus.stream import Stream


def _tree(terms: np.ndarray) -> np.ndarray:
    """float32 sums over the last axis, padded with +0 to eight terms."""
    level = np.concatenate([terms, np.zeros((*terms.shape[:-1], 8 - terms.shape[-1]), np.float32)], axis=-1)
    while level.shape[-1] > 1:
        level = level[..., ::2] + level[..., 1::2]
    return level[..., 0]


def _run(problem: Problem, name: str, values: np.ndarray) -> OperationRun:
    operation: Operation = problem.operation
    return Problem(name, operation, problem.config, problem.given), {operation.result: values.view(np.uint16)}


@functools.cache
def _domain() -> Domain:
    stream, runs = Stream("property", "sums"), []
    for backward in (False, True):
        problem = corner_problems.head(stream.child(backward), "head", backward)
        weight = problem.given["weight"].view(np.float16)
        terms = problem.given["dy" if backward else "x"].view(np.float16).astype(np.float32)
        products = terms[:, None, :] * (weight if backward else weight.T).astype(np.float32)
        runs.append(_run(problem, "head", _tree(products).astype(np.float16)))
    problem = corner_problems.average(stream, "average")
    sums = _tree(problem.given["x"].view(np.float16).astype(np.float32).transpose(0, 1, 3, 2))
    means = (sums.astype(np.float64) * np.float64(np.float32(1) / np.float32(6))).astype(np.float16)  # exact, then once
    runs.append(_run(problem, "average", means[:, :, None, :]))
    return Domain(runs, [])


SUM_PROPERTIES = (
    over("cancelling_sums_by_numpy", "heads and averages of terms that cancel are those of the tree", "A4", _domain),
)
