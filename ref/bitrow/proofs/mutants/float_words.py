"""Words and numpy's floating point, and sums in loops written from the clauses (SPEC.md F1, A3, B3)."""

from __future__ import annotations

import numpy as np


def words(array: np.ndarray) -> np.ndarray:
    """The words of float16 or float32, every NaN the canonical one."""
    if array.dtype == np.float16:
        return np.where(np.isnan(array), np.uint16(0x7E00), array.view(np.uint16)).astype(np.uint16)
    return np.where(np.isnan(array), np.uint32(0x7FC00000), array.view(np.uint32)).astype(np.uint32)


def half(array: np.ndarray) -> np.ndarray:
    """FP16 words as float16."""
    return np.ascontiguousarray(array).view(np.float16)


def wide(array: np.ndarray) -> np.ndarray:
    """FP16 or FP32 words as float64."""
    return np.ascontiguousarray(array).view(np.float16 if array.dtype == np.uint16 else np.float32).astype(np.float64)


# Convolutions (SPEC.md Q, M, D, C)


def tree_levels(x: np.ndarray, axis: int) -> list[np.ndarray]:
    """x and every level above it of its pairwise tree along an axis."""
    x = np.moveaxis(x, axis, 0)
    many = 1
    while many < len(x):
        many *= 2
    x = np.concatenate([x, np.zeros((many - len(x), *x.shape[1:]), x.dtype)])
    found = [x]
    while len(x) > 1:
        x = np.stack([x[at] + x[at + 1] for at in range(0, len(x), 2)])
        found.append(x)
    return [np.moveaxis(level, 0, axis) for level in found]


def running_sums(terms: np.ndarray) -> np.ndarray:
    total, found = np.zeros_like(terms[0]), []
    for term in terms:
        total = total + term
        found.append(total)
    return np.stack(found)
