"""Stimulus aimed at faults that random words hardly ever meet (SPEC.md F2, Q3, B2).

Everything is found by exact integers, and so is the same with every library version. Standard library and numpy
only.
"""

from __future__ import annotations

import numpy as np


def _nearest(value: np.ndarray, keep: int) -> np.ndarray:
    """Positive int64 rounded to `keep` leading bits, ties to even."""
    length = np.frexp(value.astype(np.float64))[1]
    length = np.where(value >> np.clip(length - 1, 0, 62) == 0, length - 1, length)  # rounded up to a power of two
    shift = np.maximum(length - keep, 0).astype(np.int64)
    kept = value >> shift
    rest, half = value - (kept << shift), (np.int64(1) << shift) >> 1
    up = (rest > half) | ((rest == half) & (half > 0) & (kept & 1 == 1))
    return (kept + up) << shift


def rounds_twice(product: np.ndarray) -> np.ndarray:
    """Where positive int64 below 2^62 differ when rounded to FP32's 24 bits and then to FP16's 11, or at once."""
    return _nearest(_nearest(product, 24), 11) != _nearest(product, 11)


def accumulators(significand: int, largest: int, count: int) -> np.ndarray:
    """Up to `count` accumulators of at most `largest` whose product with an FP16 significand rounds otherwise
    through FP32 (SPEC.md D1), int64."""
    acc = np.arange(max(largest - (1 << 18), 1), largest + 1, dtype=np.int64)
    return acc[rounds_twice(acc * significand)][:count]


def significand(word: int) -> tuple[int, int]:
    """A finite positive FP16 word as significand and exponent of its last place."""
    field, fraction = word >> 10, word & 0x3FF
    return (fraction | 0x400, field - 25) if field else (fraction, -24)


def carries(t: np.ndarray) -> np.ndarray:
    """For each t (float64) the LFSR word with which t + word/65536 just reaches an integer; 0 where none does."""
    finite = np.isfinite(t)
    scaled = np.where(finite, t, 0.0) * 65536.0
    return np.where(finite & (scaled == np.floor(scaled)), np.mod(-scaled, 65536.0), 0.0).astype(np.uint16)
