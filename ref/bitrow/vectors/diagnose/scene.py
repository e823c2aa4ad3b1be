"""What a diagnosis works on: golden words, a design's words, and guesses at what the design does instead.

Standard library, numpy and the scalar oracle only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bitrow.formats import FloatMode
from bitrow.oracle.arrays import Words
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



@dataclass(frozen=True)
class Guess:
    """A guess: its name, and the words that it predicts for the whole tap, `UNKNOWN` where it does not.

    `predict` returns int64 of the tap's shape, or None where the guess does not apply.
    """

    name: str
    predict: Callable[[], np.ndarray | None]


class Scene:
    """A case, the tap that differs, and the design's words there."""

    def __init__(self, case: Case, tap: str, dump: Dump) -> None:
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
        self.rows = self._choose_rows()

    def _choose_rows(self) -> list[tuple[int, int]] | None:
        """The target rows whose recomputation is affordable, most mismatches first; None for all."""
        if not self.operation.by_rows or not self.mismatches:
            return None
        n, h = self.operation.rows(self.config, self.given)
        maps = [self.golden[name] for name in self.operation.outputs if name in self.golden]
        per_row = max(words.size for words in maps if words.shape[:2] == (n, h)) // (n * h)
        limit = _ROW_ELEMENTS // per_row
        if "weight_code" in self.given:
            width = max(words.shape[2] for words in maps if words.shape[:2] == (n, h))
            limit = min(limit, _ROW_PRODUCTS // (width * self.given["weight_code"].size))
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
        return sorted(row for _, row in sorted(counts)[:limit])

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

    def recompute(self, config: Any, given: Words, rows: list[tuple[int, int]] | None) -> np.ndarray | None:
        """The tap by the oracle under another configuration or from other inputs, UNKNOWN outside `rows`.

        None where that configuration has no such tap, or one of other words.
        """
        data = self.operation.oracle(config, given, rows).get(self.tap)
        if data is None or data.dtype != self.data.dtype:
            return None
        if rows is None:
            return self.words_of(data)
        index = np.arange(self.data.size).reshape(self.data.shape)
        cells = self.operation.sampled(self.config, self.given, self.tap, index, rows)
        whole = np.full(self.data.size, UNKNOWN, np.int64)
        whole[cells.reshape(-1)] = self.words_of(data).reshape(-1)
        return whole.reshape(self.data.shape)


def mode_of(config: Any) -> FloatMode | None:
    """The FP16 parameters of a configuration, None where it has none."""
    if isinstance(config, FloatMode):
        return config
    return getattr(config, "mode", None)


def with_mode(config: Any, mode: FloatMode) -> Any:
    """`config` with other FP16 parameters."""
    return mode if isinstance(config, FloatMode) else replace(config, mode=mode)
