"""Words put in other places of a map, and a configuration's own (SPEC.md A8, A9, A12, A13)."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitrow.config import DepthOrder
from bitrow.contract.frame import Axes, Frame, Result, Value, single
from bitrow.contract.program import Line
from bitrow.oracle.arrays import Row


def _places(frame: Frame, source: Value) -> dict[Row, int]:
    """Where each row of a value lies among its words."""
    return {row: at for at, row in enumerate(frame.rows[source.axes[0]])}


def _configured(frame: Frame, line: Line, axes: Axes) -> Result:
    """The word that the configuration holds under the line's name (A9)."""
    return single(line, axes, np.array(getattr(frame.config, line.name), np.uint16))


def _over(frame: Frame, line: Line, axes: Axes, gate: Value) -> Result:
    """A gate's word of a channel at every place of its image's map (A8)."""
    place = _places(frame, gate)
    words = gate.words[[place[n, 0] for n, _ in frame.rows[axes[0]]]]
    return single(line, axes, words)


def _repeat(frame: Frame, line: Line, axes: Axes, x: Value) -> Result:
    """Each word at every place of its window (A12)."""
    place, config = _places(frame, x), frame.config
    rows = [place[n, i // config.rows] for n, i in frame.rows[axes[0]]]
    return single(line, axes, x.words[rows].repeat(config.columns, axis=1))


def _repeats(frame: Frame, line: Line, axes: Axes, dy: Value) -> Result:
    """What lies at the places of each window, in row-major order, on the first axis (A12)."""
    place, config, rows = _places(frame, dy), frame.config, frame.rows[axes[1]]
    terms = []
    for k in range(config.rows):
        lines = dy.words[[place[n, h * config.rows + k] for n, h in rows]]
        terms += [lines[:, at :: config.columns] for at in range(config.columns)]
    return single(line, axes, np.stack(terms))


# A row [w, channels] as [w, the block's rows, its columns, the result's channels], by the order of channels.
def _apart(row: np.ndarray, block: int, order: DepthOrder) -> np.ndarray:
    if order is DepthOrder.DCR:
        return row.reshape(len(row), block, block, -1)
    return row.reshape(len(row), -1, block, block).transpose(0, 2, 3, 1)


def _blocks(frame: Frame, line: Line, axes: Axes, x: Value) -> Result:
    """A pixel's channels as a block of pixels (A13)."""
    place, block, order = _places(frame, x), frame.config.block, frame.config.order
    found = []
    for n, i in frame.rows[axes[0]]:
        row = _apart(x.words[place[n, i // block]], block, order)[:, i % block]
        found.append(row.reshape(-1, row.shape[2]))
    return single(line, axes, np.stack(found))


def _channels(frame: Frame, line: Line, axes: Axes, dy: Value) -> Result:
    """A block of pixels as a pixel's channels (A13)."""
    place, block, order = _places(frame, dy), frame.config.block, frame.config.order
    found = []
    for n, h in frame.rows[axes[0]]:
        rows = dy.words[[place[n, h * block + k] for k in range(block)]]
        pixels = rows.reshape(block, -1, block, rows.shape[2]).transpose(1, 0, 2, 3)  # w, rows, columns, channels
        if order is DepthOrder.CRD:
            pixels = pixels.transpose(0, 3, 1, 2)
        found.append(pixels.reshape(len(pixels), -1))
    return single(line, axes, np.stack(found))


PLACEMENT: dict[str, Any] = {
    "configured": _configured,
    "over": _over,
    "repeat": _repeat,
    "repeats": _repeats,
    "blocks": _blocks,
    "channels": _channels,
}
