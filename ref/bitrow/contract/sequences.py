"""Words in an order that a clause declares: the LFSR's, codes in memory, channels joined (SPEC.md Q3, Q5, A7)."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitrow.contract.encoding import code_format
from bitrow.contract.frame import Axes, Frame, Result, Value, single
from bitrow.contract.program import Line
from bitrow.oracle import fxp, lfsr


def _stream(frame: Frame, line: Line, axes: Axes, seed: Value, start: Value, count: Value) -> Result:
    """`count` words from each of `start` (Q3)."""
    runs = [lfsr.words(int(seed.words), at, int(count.words)) for at in start.words.tolist()]
    words = np.array(runs, np.uint16)
    return single(line, axes, words)


def _draw(frame: Frame, line: Line, axes: Axes, seed: Value, source: Value) -> Result:
    """A word for each element of a map, in row-major order: the LFSR jumps to each row (Q3)."""
    _, w, c = source.words.shape
    rows = frame.rows[axes[0]]
    noise = [lfsr.words(int(seed.words), row_start(row, frame.counts[axes[0]][1], w, c), w * c) for row in rows]
    words = np.array(noise, np.uint16).reshape(len(rows), w, c)
    return single(line, axes, words)


def row_start(row: tuple[int, int], h: int, w: int, c: int) -> int:
    """The number of a row's first element in its tensor."""
    n, i = row
    return (n * h + i) * w * c


def _pack(frame: Frame, line: Line, axes: Axes, source: Value) -> Result:
    """The bytes of each row of codes (Q5)."""
    fmt = code_format(source.format, frame.config)
    rows = source.words.reshape(len(source.words), -1).tolist()
    words = np.array([fxp.pack(row, fmt) for row in rows], np.uint8)
    return single(line, axes, words)


def _join(frame: Frame, line: Line, axes: Axes, *maps: Value) -> Result:
    """The channels of the maps, one map's behind another's (A7)."""
    return single(line, axes, np.concatenate([value.words for value in maps], axis=-1))


SEQUENCES: dict[str, Any] = {"stream": _stream, "draw": _draw, "pack": _pack, "join": _join}
