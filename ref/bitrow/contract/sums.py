"""The declared sums: pairwise trees, running sums, and what is read of them (SPEC.md B2, A3 to A5, T2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitrow.contract.arithmetic import rounder
from bitrow.contract.frame import Axes, Frame, Result, Value, single
from bitrow.contract.program import Line
from bitrow.formats import FP32
from bitrow.oracle.arrays import map_words
from bitrow.oracle.reduce import Arithmetic, running, tree
from bitrow.oracle.softfloat import NEAREST

LEVEL = "_level"


def _arithmetic(frame: Frame, line: Line) -> Arithmetic:
    to = rounder(line, frame.config)
    return Arithmetic(to.fmt, to.mode)


def _tree(frame: Frame, line: Line, axes: Axes, source: Value) -> Result:
    """Every level of the tree over the axis that `axes` halves; its value is the root, that axis gone (B2)."""
    arithmetic = _arithmetic(frame, line)
    at = next(at for at, axis in enumerate(axes) if axis.endswith(LEVEL))
    words = source.along(tuple(axis.removesuffix(LEVEL) for axis in axes))
    if source.format == "16" and arithmetic.fmt == FP32:
        words = arithmetic.widen(words, frame.config.mode)
    levels, sums = tree(arithmetic, words, at)
    taps = {f"{line.name}{i}": level for i, level in enumerate(levels, start=1)}
    return taps, Value(sums, (*axes[:at], *axes[at + 1 :]), line.format)


def _running(frame: Frame, line: Line, axes: Axes, source: Value) -> Result:
    """The sums over the first axis after each term, from +0 (B2, A3)."""
    words = running(_arithmetic(frame, line), source.along(axes))
    return single(line, axes, words)


def _partial_sums(frame: Frame, line: Line, axes: Axes, source: Value) -> Result:
    """The sums of the first axis' values in order, the first value passing as it is (A5)."""
    arithmetic = _arithmetic(frame, line)
    totals = [source.words[0]]
    for term in source.words[1:]:
        totals.append(map_words(arithmetic.add, arithmetic.dtype, totals[-1], term))
    taps = {f"{line.name}{k}": total for k, total in enumerate(totals) if k}
    return taps, Value(np.stack(totals), source.axes, line.format)


def _last(frame: Frame, line: Line, axes: Axes, source: Value) -> Result:
    """The last of running values."""
    words = source.words[-1]
    return single(line, axes, words)


def _root(frame: Frame, line: Line, axes: Axes, source: Value) -> Result:
    """The root of a tree."""
    return single(line, axes, source.words)


def _reciprocal(frame: Frame, line: Line, axes: Axes) -> Result:
    """1 / n of the operation's counts, rounded once to nearest even as a host value is (B2's m, A3's inv_n)."""
    arithmetic = _arithmetic(frame, line)
    counts = np.asarray(frame.operation.count(frame.config, frame.given))
    if axes:
        counts = counts[[row for _, row in frame.rows[axes[0]]]]
    mode = arithmetic.mode if line.rounding else NEAREST
    return single(line, axes, map_words(lambda n: arithmetic.reciprocal(n, mode), arithmetic.dtype, counts))


SUMS: dict[str, Any] = {
    "tree": _tree,
    "running": _running,
    "partial_sums": _partial_sums,
    "last": _last,
    "root": _root,
    "reciprocal": _reciprocal,
}
