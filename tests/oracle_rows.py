"""Rows of a whole tap, cut apart from the contract's own way of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def sample(name: str, whole: np.ndarray, rows: Iterable[tuple[int, int]]) -> np.ndarray:
    """`whole[n, h]` of each row, stacked; taps of running values keep their running index first (SPEC.md T2)."""
    chosen = list(rows)
    lead = whole.shape[:1] if name.endswith("_running") else ()
    parts = [whole[:, n, h] if lead else whole[n, h] for n, h in chosen]
    if parts:
        return np.stack(parts, axis=len(lead))
    return np.zeros((*lead, 0, *whole.shape[len(lead) + 2 :]), whole.dtype)
