"""Kernels as traces of statements, each an operation on integers of fixed width, for languages to print.

A trace is what a kernel does under one set of its own parameters. `lower.merge` makes one of several; `lower.c` and
`lower.systemverilog` have the text of a statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bitrow.lower.target import Word
from bitrow.lower.walk import lower


@dataclass(frozen=True)
class Literal:
    """A number in a trace; of a signed dtype it may be below zero. (Terms are no tuples, which would all be equal.)"""

    value: int


@dataclass(frozen=True)
class Argument:
    """An argument of the traced kernel, by its place."""

    place: int


@dataclass(frozen=True)
class Made:
    """What the statement of this number gives."""

    number: int


TraceTerm = Literal | Argument | Made


class Statement(NamedTuple):
    """One operation on terms, whose dtypes stand beside it."""

    operation: str
    dtype: np.dtype[Any]
    operands: tuple[TraceTerm, ...]
    of: tuple[np.dtype[Any], ...]


class Trace(NamedTuple):
    """A kernel's statements, in an order in which each reads earlier ones only, and its results."""

    given: tuple[np.dtype[Any], ...]
    statements: tuple[Statement, ...]
    results: tuple[Word[TraceTerm], ...]


_BOOL = np.dtype(bool)
COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
# What two constants make, so that a loop's counter leaves no statement.
_FOLDED: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "neg": np.negative,
}  # fmt: skip


@dataclass
class Recorder:
    """The target of `walk.lower` that records statements, equal ones once."""

    statements: list[Statement] = field(default_factory=list)
    _known: dict[Statement, Made] = field(default_factory=dict)

    def literal(self, value: int, dtype: np.dtype[Any]) -> TraceTerm:
        return Literal(value)

    def _record(self, operation: str, dtype: np.dtype[Any], *words: Word[TraceTerm]) -> TraceTerm:
        values = [word.term.value for word in words if isinstance(word.term, Literal)]
        if len(values) == len(words) and operation in _FOLDED:
            with np.errstate(over="ignore"):
                made = _FOLDED[operation](*(word.dtype.type(v) for word, v in zip(words, values, strict=True)))
            return Literal(int(made.astype(dtype)))
        statement = Statement(operation, dtype, tuple(word.term for word in words), tuple(word.dtype for word in words))
        if statement not in self._known:
            self._known[statement] = Made(len(self.statements))
            self.statements.append(statement)
        return self._known[statement]

    def select_n(self, which: Word[TraceTerm], *cases: Word[TraceTerm]) -> TraceTerm:
        if isinstance(which.term, Literal) and 0 <= which.term.value < len(cases):
            return cases[which.term.value].term
        return self._record("select_n", cases[0].dtype, which, *cases)

    def convert_element_type(self, a: Word[TraceTerm], dtype: np.dtype[Any]) -> TraceTerm:
        if a.dtype == dtype:
            return a.term
        if isinstance(a.term, Literal):
            return Literal(int(np.array(a.term.value, a.dtype).astype(dtype)))
        return self._record("convert_element_type", dtype, a)

    def bitcast_convert_type(self, a: Word[TraceTerm], dtype: np.dtype[Any]) -> TraceTerm:
        if isinstance(a.term, Literal):
            bits = a.term.value & ((1 << a.bits) - 1)
            return Literal(bits - (bits >> (a.bits - 1) << a.bits) if dtype.kind == "i" else bits)
        return self._record("convert_element_type", dtype, a)

    def __getattr__(self, name: str) -> Callable[..., TraceTerm]:
        """Any other primitive: a result of its first operand's dtype, or of a comparison a bool."""
        if name.startswith("_"):
            raise AttributeError(name)
        operation = name.rstrip("_")
        compares = operation in COMPARED
        return lambda *words: self._record(operation, _BOOL if compares else words[0].dtype, *words)


def trace(function: Callable[..., Any], dtypes: Sequence[Any], *parameters: Any) -> Trace:
    """What `function` does to scalars of these dtypes, its own parameters behind them.

    Raises:
        BitrowError: what `lower` refuses.
    """
    given = tuple(np.dtype(each) for each in dtypes)
    recorder = Recorder()
    words = [Word[TraceTerm](Argument(place), dtype) for place, dtype in enumerate(given)]
    results = lower(function, recorder, *words, *parameters)
    listed = (results,) if isinstance(results, Word) else tuple(results)
    return Trace(given, tuple(recorder.statements), listed)
