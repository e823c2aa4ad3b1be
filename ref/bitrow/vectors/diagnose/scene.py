"""What a diagnosis works on: golden words, a design's words, and guesses at what the design does instead.

Standard library, numpy and the scalar oracle only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bitrow.contract import interpreter
from bitrow.contract.frame import Frame, Value, together
from bitrow.formats import FloatMode
from bitrow.oracle.arrays import Row, Words
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.files.dump import Dump
from bitrow.vectors.files.hexfile import file_words
from bitrow.vectors.network_pass import WholePass
from bitrow.vectors.operations import split

UNKNOWN = -1  # where a guess predicts nothing
_MISMATCHES = 4096
_MATCHES = 1024
_WHOLE_LIMIT = 20_000  # elements of an operation that the oracle can only compute whole
_ROW_ELEMENTS = 8_000
_ROW_PRODUCTS = 1_000_000
_FEW_ELEMENTS, _FEW_PRODUCTS = 600, 60_000  # what a guess is screened by


@dataclass(frozen=True)
class Guess:
    """A guess: its name, and the words that it predicts for the whole tap, `UNKNOWN` where it does not.

    `predict` returns int64 of the tap's shape, or None where the guess does not apply. `screen` predicts a few rows
    first, where that is much cheaper: a guess that fails there is not looked at further.
    """

    name: str
    predict: Callable[[], np.ndarray | None]
    screen: Callable[[], np.ndarray | None] | None = None


class Scene:
    """A case, the tap that differs, the design's words there, and the other dumped taps that agree."""

    def __init__(self, case: Case, tap: str, dump: Dump, agreed: Iterable[str] = ()) -> None:
        self.case = case
        self.config: Any = case.config
        self.operation = case.operation
        self.given, computed = split(case)
        self.golden: dict[str, np.ndarray] = {**self.given, **computed}
        self.tensor: Tensor = case.tensor(tap)
        self.tap = tap
        self.data = self.golden[tap]
        self.expected = file_words(self.data, self.tensor.encoding).astype(np.int64).reshape(-1)
        self.found = dump.words.astype(np.int64)
        self.driven = ~dump.undriven
        wrong = np.flatnonzero(self.driven & (self.found != self.expected))
        right = np.flatnonzero(self.driven & (self.found == self.expected))
        self.mismatches = int(wrong.size)
        step = max(1, right.size // _MATCHES)
        # what single-element guesses are evaluated at: differing words, and some that agree
        self.elements = np.concatenate([wrong[:_MISMATCHES], right[::step][:_MATCHES]])
        self._wrong = wrong
        self.agreed = frozenset(agreed) - {tap}
        self.rows = self._choose_rows(_ROW_ELEMENTS, _ROW_PRODUCTS)
        self.few = self._choose_rows(_FEW_ELEMENTS, _FEW_PRODUCTS)

    @property
    def first_wrong(self) -> int:
        """The first element that differs."""
        return int(self._wrong[0])

    def _choose_rows(self, elements: int, products: int) -> list[Row] | None:
        """The target rows whose recomputation is affordable, most mismatches first; None for all."""
        if not self.operation.by_rows or not self.mismatches:
            return None
        n, h = self.operation.rows(self.config, self.given)
        maps = [self.golden[name] for name in self.operation.outputs if name in self.golden]
        per_row = max(words.size for words in maps if words.shape[:2] == (n, h)) // (n * h)
        limit = elements // per_row
        if "weight_code" in self.given:
            width = max(words.shape[2] for words in maps if words.shape[:2] == (n, h))
            limit = min(limit, products // (width * self.given["weight_code"].size))
        limit = max(1, limit)
        if n * h <= limit:
            return None
        index = np.arange(self.data.size).reshape(self.data.shape)
        wrong = np.zeros(self.data.size, bool)
        wrong[self._wrong] = True
        counts = []
        for row in np.ndindex(n, h):
            cells = self.operation.sampled(self.config, self.given, self.tap, index, [(row[0], row[1])])
            counts.append((-int(wrong[cells.reshape(-1)].sum()), (row[0], row[1])))
        chosen = [row for _, row in sorted(counts)[:limit]]
        right = next((row for number, row in counts if not number), None)
        if right is not None and limit > 1 and elements == _FEW_ELEMENTS:
            chosen[-1] = right  # a row that agrees: what a guess would spoil
        return sorted(set(chosen))

    def affordable(self) -> bool:
        """Whether the oracle can recompute the case, or the chosen rows of it, in little time."""
        if self.operation.by_rows:
            return True
        if isinstance(self.operation, WholePass):
            return False  # a whole network: its layers' own cases tell more, in less time
        return sum(np.size(words) for words in self.given.values()) <= _WHOLE_LIMIT

    def words_of(self, data: np.ndarray) -> np.ndarray:
        """Integer bit views of the tap as words, int64."""
        return file_words(np.asarray(data), self.tensor.encoding).astype(np.int64)

    def recompute(self, config: Any, given: Words, rows: list[Row] | None) -> np.ndarray | None:
        """The tap by the oracle under another configuration or from other inputs, UNKNOWN outside `rows`.

        None where that configuration has no such tap, or one of other words.
        """
        return self.predicted(self.operation.oracle(config, given, rows), rows)

    def predicted(self, taps: Words, rows: list[Row] | None) -> np.ndarray | None:
        """The scene's tap among `taps` of some rows; None where it is not there or not of its kind, or where another
        tap contradicts a dump that agrees.
        """
        data = taps.get(self.tap)
        if data is None or data.dtype != self.data.dtype or self._contradicts(taps, rows):
            return None
        if rows is None:
            return self.words_of(data).reshape(self.data.shape) if data.size == self.data.size else None
        index = np.arange(self.data.size).reshape(self.data.shape)
        cells = self.operation.sampled(self.config, self.given, self.tap, index, rows)
        whole = np.full(self.data.size, UNKNOWN, np.int64)
        whole[cells.reshape(-1)] = self.words_of(data).reshape(-1)
        return whole.reshape(self.data.shape)

    def _contradicts(self, taps: Words, rows: list[Row] | None) -> bool:
        for name in self.agreed & taps.keys():
            golden = self.golden[name]
            if rows is not None:
                golden = self.operation.sampled(self.config, self.given, name, golden, rows)
            if taps[name].size == golden.size and (taps[name].reshape(-1) != golden.reshape(-1)).any():
                return True
        return False

    def resumed(self, told: Words, rows: list[Row] | None, seen: bool = True) -> np.ndarray | None:
        """The tap by the oracle where some lines' words are `told`, of the chosen rows, and lines before are golden.

        Not `seen`: only later lines read what is told, while its own tap is right.
        """
        frame = Frame(self.operation, self.config, dict(self.given))
        frame.place(rows)
        changed, taps = set(told), dict(told) if seen else {}
        for line in self.operation.active(self.config, self.given):
            if line.name in told:
                frame.known[line.name] = Value(told[line.name], together(line.axes), line.format)
            elif not changed & set(line.operands) and line.name in self.golden:
                frame.known[line.name] = frame.placed(line, self.golden[line.name])
            else:
                found, frame.known[line.name] = interpreter.computed(frame, line)
                if changed & set(line.operands):
                    changed.add(line.name)
                    taps |= found
        return self.predicted(taps, rows)


def mode_of(config: Any) -> FloatMode | None:
    """The FP16 parameters of a configuration, None where it has none."""
    if isinstance(config, FloatMode):
        return config
    return getattr(config, "mode", None)


def with_mode(config: Any, mode: FloatMode) -> Any:
    """`config` with other FP16 parameters."""
    return mode if isinstance(config, FloatMode) else replace(config, mode=mode)
