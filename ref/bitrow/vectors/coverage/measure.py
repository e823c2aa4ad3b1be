"""Which stimulus bins a case hits and what a set covers (SPEC.md V3, V4).

A bin is hit when the data proves it: see `bins`. Standard library and numpy only.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bitrow.contract.operation import Operation
from bitrow.contract.operations import OPERATIONS
from bitrow.reading import records
from bitrow.vectors.case import Case
from bitrow.vectors.coverage import line_bins
from bitrow.vectors.coverage.bins import BINS, TRANSPOSED_BINS, WINDOW_BINS


def measure(operation: Operation, config: Any, words: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How often each bin is hit by a case: `words` are those of all its tensors.

    A bin that the operation reports but that nothing hits is absent.
    """
    counts: Counter[str] = Counter()
    for masks in line_bins.masks(operation, config, words):
        for name, mask in masks.items():
            counts[name] += int(np.count_nonzero(mask))
    return {name: count for name, count in sorted(counts.items()) if count}


def reachable(name: str) -> frozenset[str]:
    """The bins that cases of the operations of one name can hit, over all their configurations."""
    named = [operation for operation in OPERATIONS if operation.name == name]
    return frozenset().union(*(line_bins.reachable(operation) for operation in named))


def _parameters(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    for field, part in records.written(value):
        name = f"{prefix}.{field}"
        if dataclasses.is_dataclass(part):
            yield from _parameters(name, part)
        else:
            yield name, str(part.value if isinstance(part, enum.Enum) else part)


class SetCoverage:
    """What the cases seen so far cover; `summary` is `coverage` in `manifest.json` (SPEC.md V4)."""

    def __init__(self) -> None:
        self._bins: dict[str, Counter[str]] = {}
        self._clauses: Counter[str] = Counter()
        self._parameters: dict[str, set[str]] = {}
        self._cases = 0

    def add(self, case: Case) -> None:
        """Count a case by its `operation`, `bins`, `clauses` and configuration."""
        self._cases += 1
        self._bins.setdefault(case.operation.name, Counter()).update(case.bins)
        self._clauses.update(case.clauses)
        for name, value in _parameters(type(case.config).__name__, case.config):
            self._parameters.setdefault(name, set()).add(value)

    def missed(self, operation: str) -> list[str]:
        """Bins that the operation could hit and no case did."""
        return sorted(self._wanted(operation) - set(self._bins.get(operation, ())))

    def _wanted(self, operation: str) -> frozenset[str]:
        """Bins that the operation could hit; those of where windows lie, and of C5, if some case hits one."""
        wanted = reachable(operation)
        for asked in (WINDOW_BINS, TRANSPOSED_BINS):
            if not asked & set(self._bins.get(operation, ())):
                wanted -= asked
        return wanted

    def summary(self) -> dict[str, Any]:
        """Bins hit and missed by operation and by clause, cases by clause, and the parameter values seen."""
        operations: dict[str, Any] = {}
        totals: Counter[str] = Counter()
        by_clause: dict[str, list[int]] = {}
        for operation, counts in sorted(self._bins.items()):
            wanted = self._wanted(operation) | set(counts)
            hit = {name for name in wanted if counts[name]}
            totals.update(hit=len(hit), total=len(wanted))
            operations[operation] = {
                "bins": dict(sorted(counts.items())), "missed": sorted(wanted - hit), "hit": len(hit),
                "total": len(wanted),
            }  # fmt: skip
            for name in wanted:
                for clause in BINS[name].clauses:
                    tally = by_clause.setdefault(clause, [0, 0])
                    tally[0] += name in hit
                    tally[1] += 1
        clauses = {}
        for clause in sorted({*self._clauses, *by_clause}, key=lambda c: (c[0], int(c[1:]))):
            hit_bins, all_bins = by_clause.get(clause, [0, 0])
            clauses[clause] = {"cases": self._clauses[clause], "bins_hit": hit_bins, "bins_total": all_bins}
        return {
            "cases": self._cases,
            "bins_hit": totals["hit"],
            "bins_total": totals["total"],
            "operations": operations,
            "clauses": clauses,
            "parameters": {name: sorted(values) for name, values in sorted(self._parameters.items())},
        }
