"""The bins of the sigmoid's table, of clipping, and of what words do at other places (SPEC.md A8 to A13).

Standard library and numpy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bitrow.config import UpsampleConfig
from bitrow.formats import FP16
from bitrow.vectors.coverage import exact
from bitrow.vectors.coverage.bins import Masks

CLIP = frozenset(("clip_negative", "clip_inside", "clip_one", "clip_nan"))
TABLE = frozenset(("table_entry", "table_between", "table_end", "table_negative"))


def clip(words: np.ndarray) -> Masks:
    """Where a word lies against 0 and 1."""
    x = exact.decode(words, FP16)
    one = ~x.negative & ~x.nan & (words >= 0x3C00)
    return {
        "clip_negative": x.negative & ~x.nan & ~x.zero,
        "clip_inside": ~x.negative & ~x.nan & ~x.zero & ~one,
        "clip_one": one,
        "clip_nan": x.nan,
    }


def table(words: np.ndarray, bits: int) -> Masks:
    """Where a word lies against the sigmoid's table."""
    magnitude = (words & 0x7FFF).astype(np.int64)
    exponent, fraction = np.maximum(magnitude >> 10, 1), magnitude & 0x3FF
    significand = np.where(magnitude >> 10, fraction | 0x400, fraction)
    below = np.clip(28 - exponent - bits, 0, 62)  # places of it that lie within a segment
    on_entry = significand & ((np.int64(1) << below) - 1) == 0
    inside = magnitude < 0x4800
    return {
        "table_entry": inside & on_entry,
        "table_between": inside & ~on_entry,
        "table_end": ~inside & (magnitude <= 0x7C00),
        "table_negative": (words > 0x8000) & (magnitude <= 0x7C00),
    }


def repeated(config: UpsampleConfig, dy: np.ndarray) -> np.ndarray:
    """The words of each window of a gradient, in row-major order, on the first axis."""
    n, h, w, c = dy.shape
    apart = dy.reshape(n, h // config.rows, config.rows, w // config.columns, config.columns, c)
    terms: Any = apart.transpose(2, 4, 0, 1, 3, 5)
    return terms.reshape(-1, *terms.shape[2:])
