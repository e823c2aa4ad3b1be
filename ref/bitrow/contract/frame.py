"""One run of a program: what is given, what is known, and which rows of each map are computed.

A map's rows, its axes `n h` or `n oh`, are one axis here, so that an operation can be asked for some rows only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bitrow.contract.program import Line, is_number
from bitrow.errors import BitrowError
from bitrow.oracle import gather
from bitrow.oracle.arrays import Row, Words, all_rows, chosen_rows

if TYPE_CHECKING:
    from bitrow.contract.operation import Operation

Axes = tuple[str, ...]
_PAIRS = {("n", "h"): "n h", ("n", "oh"): "n oh"}
ROW_AXES = tuple(_PAIRS.values())


def together(axes: Axes) -> Axes:
    """Axes with a map's rows as one: `n h w c` is "n h", w, c; `row` is the rows of `n h`."""
    found: list[str] = []
    for axis in axes:
        if found and (found[-1], axis) in _PAIRS:
            found[-1] = _PAIRS[found[-1], axis]
        else:
            found.append("n h" if axis == "row" else axis)
    return tuple(found)


@dataclass(frozen=True)
class Value:
    """Words, their axes (a map's rows being one), and the format that they are read by."""

    words: np.ndarray
    axes: Axes
    format: str

    def along(self, axes: Axes) -> np.ndarray:
        """The words with their axes where a result has them, size 1 where it has others.

        Raises:
            BitrowError: an axis of more than one element that the result has not.
        """
        sizes = dict(zip(self.axes, self.words.shape, strict=True))
        kept = [axis for axis in self.axes if axis in axes]
        for axis in self.axes:
            if axis not in axes and sizes[axis] != 1:
                raise BitrowError(f"contract: found {sizes[axis]} elements along {axis}, expected one, or {axis} in "
                                  f"the result's axes {' '.join(axes)}")  # fmt: skip
        words = self.words.reshape([sizes[axis] for axis in kept])
        order = sorted(range(len(kept)), key=lambda at: axes.index(kept[at]))
        return words.transpose(order).reshape([sizes.get(axis, 1) for axis in axes])


def constant(operand: str) -> Value:
    """The value of an operand that is a number."""
    if operand.startswith("0x"):
        return Value(np.array(int(operand, 16), np.uint16), (), "16")
    return Value(np.array(int(operand), np.int32), (), "int")


@dataclass
class Frame:
    """A run of `operation`: `rows` and `counts` (images and rows of the whole map) by row axis; what lines `shared`."""

    operation: Operation
    config: Any
    given: Words
    rows: dict[str, list[Row]] = field(default_factory=dict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    known: dict[str, Value] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def place(self, wanted: Iterable[Row] | None) -> None:
        """Find the maps' rows: all of them, or those wanted of the result and what they read of its source."""
        operation = self.operation
        for name, words in self.given.items():
            for at, axis in enumerate(together(operation.line(name).axes)):
                if axis in ROW_AXES:
                    self.counts[axis] = words.shape[at], words.shape[at + 1]
        if operation.by_rows:
            sources = operation.row_sources(self.config, self.given)
            images, height = self.counts[operation.source]
            if sources is not None:
                self.counts[operation.target] = images, len(sources)
            if wanted is not None:
                rows = chosen_rows(wanted, *self.counts[operation.target])
                if sources is not None:
                    self.rows[operation.source] = gather.touched(sources, (images, height), rows)
                self.rows[operation.target] = rows
        for axis in self.counts:
            self.rows.setdefault(axis, all_rows(*self.counts[axis]))

    def read(self, name: str) -> Value:
        """An operand: what a line gave, a number, or what is given, of the rows that are computed."""
        if name not in self.known:
            self.known[name] = constant(name) if is_number(name) else self._given(name)
        return self.known[name]

    def _given(self, name: str) -> Value:
        return self.placed(self.operation.line(name), self.given[name])

    def placed(self, line: Line, words: np.ndarray) -> Value:
        """Words of a whole tensor as a line's value, of the rows that are computed."""
        axes = together(line.axes) if words.ndim else ()
        for at, axis in enumerate(axes):
            if axis in ROW_AXES:
                words = words.reshape(*words.shape[:at], -1, *words.shape[at + 2 :])
                height = self.counts[axis][1]
                words = np.take(words, np.array([n * height + h for n, h in self.rows[axis]], np.intp), axis=at)
        return Value(words, axes, line.format)

    def apart(self, words: np.ndarray, axes: Axes) -> np.ndarray:
        """Words of all rows, in a line's axes: a map's rows are two axes again, `row` stays one."""
        for at, axis in enumerate(together(axes)):
            if axis in ROW_AXES and "row" not in axes:
                words = words.reshape(*words.shape[:at], *self.counts[axis], *words.shape[at + 1 :])
        return words


Result = tuple[Words, Value]  # the taps of a line, and the value that later lines read


def single(line: Line, axes: Axes, words: np.ndarray) -> Result:
    """The result of a line whose one tap is its value."""
    return {line.name: words}, Value(words, axes, line.format)
