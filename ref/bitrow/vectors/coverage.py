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

from bitrow.vectors import bins, layer_plans, plans
from bitrow.vectors.bins import BINS, REACHABLE
from bitrow.vectors.case import Case
from bitrow.vectors.plans import LAYER_BINS, Plan

_INPUT = frozenset(name for name in BINS if name.startswith("input_"))
_FP = LAYER_BINS
_QUANTIZER = frozenset(
    (
        "quantize_tie_lower",
        "quantize_tie_upper",
        "clip_low",
        "clip_high",
        "code_min",
        "code_max",
        "mask_edge_inside",
        "mask_edge_outside",
        "quantize_nan",
        "quantize_infinity",
    )
)
_NOISE = frozenset(name for name in BINS if name.startswith("stochastic_"))
_SUMS = frozenset(name for name in BINS if name.startswith("acc_"))
_TREE = frozenset(("tree_padded", "tree_single"))
_RELU = frozenset(name for name in BINS if name.startswith("relu_"))
# t = x * x_inv_scale and deq = acc * scale are products; acc is finite, and so is a scale
# a mean never exceeds what it is the mean of
_MEAN = _FP - {"overflow_infinity", "overflow_largest"}
_SCALED = _FP - {"nan_operand", "infinite_operand", "flushed_operand"}


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How an operation's bins are found, and those that it can reach."""

    plan: Plan
    bins: frozenset[str]


def _unit(kind: str, names: str, reach: str | None = None) -> Coverage:
    inputs = frozenset() if kind.startswith("from_") else _INPUT
    return Coverage(plans.fp16_unit(kind, *names.split()), REACHABLE[reach or kind] | inputs)


PLANS: dict[str, Coverage] = {
    "fp16.add": _unit("add", "a b"),
    "fp16.sub": _unit("sub", "a b", "add"),
    "fp16.mul": _unit("mul", "a b"),
    "fp16.fma": _unit("fma", "a b c"),
    "fp16.div": _unit("div", "a b"),
    "fp16.sqrt": _unit("sqrt", "a"),
    "fp16.from_int32": _unit("from_int32", "i"),
    "fp16.from_float32": _unit("from_float32", "x"),
    "fp16.to_float32": _unit("to_float32", "a"),
    "fxp.quantize": Coverage(plans.quantize, _INPUT | _FP | _QUANTIZER),
    "fxp.quantize_stochastic": Coverage(
        plans.quantize_stochastic,
        _INPUT | _FP | _NOISE | {"mask_edge_inside", "mask_edge_outside", "quantize_nan", "quantize_infinity"},
    ),
    "fxp.dequantize": Coverage(
        plans.dequantize,
        # a scale is at least 2^-14, so no product falls below the normal range
        _SCALED - {"flushed_result", "subnormal_result"} | {"acc_zero", "wide_product", "acc_fp16_infinite"},
    ),
    "fxp.pack": Coverage(plans.pack, frozenset(("pack_even_row", "pack_odd_row", "pack_negative", "pack_wide"))),
    "lfsr.words": Coverage(plans.lfsr, frozenset(("lfsr_first", "lfsr_jump", "lfsr_period"))),
    "conv.forward": Coverage(plans.conv_forward, _INPUT | _FP | _QUANTIZER | _SUMS | {"wide_product", "padding"}),
    "conv.backward": Coverage(
        plans.conv_backward, _INPUT | _FP | _QUANTIZER | _NOISE | _SUMS | {"wide_product", "padding"}
    ),
    "batch_norm.forward": Coverage(layer_plans.batch_norm_forward, _INPUT | _FP | _TREE),
    "batch_norm.backward": Coverage(layer_plans.batch_norm_backward, _INPUT | _FP | _TREE),
    "relu.forward": Coverage(layer_plans.relu_forward, _INPUT | _RELU),
    "relu.backward": Coverage(layer_plans.relu_backward, _INPUT | _RELU),
    "add.forward": Coverage(layer_plans.add_forward, _INPUT | _FP),
    "gradient.accumulate": Coverage(layer_plans.accumulate, _INPUT | _FP),
    "max_pool.forward": Coverage(
        layer_plans.max_pool_forward, _INPUT | {"pool_tie", "pool_zero_tie", "pool_nan", "padding"}
    ),
    "max_pool.backward": Coverage(layer_plans.max_pool_backward, _INPUT | _FP | {"pool_shared_winner"}),
    "avg_pool.forward": Coverage(layer_plans.avg_pool_forward, _INPUT | _MEAN | _TREE | {"left_out"}),
    "avg_pool.backward": Coverage(layer_plans.avg_pool_backward, _INPUT | _MEAN | {"left_out"}),
    "linear.forward": Coverage(layer_plans.linear_forward, _INPUT | _FP | _TREE),
    "linear.backward": Coverage(layer_plans.linear_backward, _INPUT | _FP | _TREE),
}


def _network_plan(config: Any, words: Mapping[str, np.ndarray]) -> Iterable[plans.Masks]:
    yield bins.input_bins(words["x"])
    yield bins.input_bins(words["dlogits"])


def _coverage(operation: str) -> Coverage:
    # a network's own stimulus is real data: it has no corners to reach
    return Coverage(_network_plan, frozenset()) if operation.startswith("network.") else PLANS[operation]


def measure(operation: str, config: Any, words: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How often each bin is hit by a case: `words` are those of all its tensors.

    A bin that the operation reports but that nothing hits is absent.
    """
    counts: Counter[str] = Counter()
    for masks in _coverage(operation).plan(config, words):
        for name, mask in masks.items():
            counts[name] += int(np.count_nonzero(mask))
    return {name: count for name, count in sorted(counts.items()) if count}


def measure_case(case: Case) -> dict[str, int]:
    """`measure` of a case's tensors."""
    return measure(case.operation, case.config, {t.name: np.asarray(t.data) for t in case.tensors})


def reachable(operation: str) -> frozenset[str]:
    """The bins that cases of an operation can hit, over all its configurations."""
    return _coverage(operation).bins


def _parameters(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    for field in dataclasses.fields(value):
        part, name = getattr(value, field.name), f"{prefix}.{field.name}"
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
        self._bins.setdefault(case.operation, Counter()).update(case.bins)
        self._clauses.update(case.clauses)
        for name, value in _parameters(type(case.config).__name__, case.config):
            self._parameters.setdefault(name, set()).add(value)

    def missed(self, operation: str) -> list[str]:
        """Bins that the operation could hit and no case did."""
        return sorted(reachable(operation) - set(self._bins.get(operation, ())))

    def summary(self) -> dict[str, Any]:
        """Bins hit and missed by operation and by clause, cases by clause, and the parameter values seen."""
        operations: dict[str, Any] = {}
        totals: Counter[str] = Counter()
        by_clause: dict[str, list[int]] = {}
        for operation, counts in sorted(self._bins.items()):
            wanted = reachable(operation) | set(counts)
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
