"""The declared sums over words of one format: pairwise trees and running sums (SPEC.md B2, A3, A4, T2)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bitrow.formats import FP16, Float, FloatMode
from bitrow.oracle import fp16, softfloat
from bitrow.oracle.arrays import map_words
from bitrow.oracle.softfloat import NEAREST, Number


@dataclass(frozen=True)
class Arithmetic:
    """Operations on words of one format: FP32 (F9: leave `mode` alone), or FP16 under a mode."""

    fmt: Float
    mode: FloatMode = NEAREST

    @property
    def dtype(self) -> type:
        """The numpy carrier of a word."""
        return np.uint16 if self.fmt == FP16 else np.uint32

    @functools.cached_property
    def one(self) -> int:
        """The word of 1."""
        return softfloat.round_number(self.fmt, softfloat.integer(1))

    def read(self, a: int) -> Number:
        """An operand, flushed where the mode says so (F5)."""
        return softfloat.unpack(self.fmt, a, self.mode.flush)

    def add(self, a: int, b: int) -> int:
        """`a + b` rounded once."""
        return softfloat.add(self.fmt, self.read(a), self.read(b), self.mode)

    def reciprocal(self, n: int, mode: FloatMode = NEAREST) -> int:
        """1 / n (B2's m), rounded once, to nearest even as a host value is."""
        return softfloat.from_fraction(self.fmt, Fraction(1, n), mode)

    def widen(self, words: np.ndarray, mode: FloatMode) -> np.ndarray:
        """FP16 words as words of this format: exact in FP32 (F9), themselves in FP16."""
        if self.fmt == FP16:
            return words
        return map_words(lambda a: fp16.to_float32(a, mode), np.uint32, words)


def tree(arithmetic: Arithmetic, words: np.ndarray, axis: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Pairwise tree along `axis`: adjacent pairs, padded with +0 to a power of two (B2).

    Returns:
        Every level after the leaves, `axis` halved each time and kept (T2), and the sums with `axis` gone. An
        axis of one has no level: its sum is the value itself.
    """
    size = 1 << (words.shape[axis] - 1).bit_length()
    shape = list(words.shape)
    shape[axis] = size - words.shape[axis]
    level = np.concatenate([words, np.zeros(shape, words.dtype)], axis=axis)
    levels = []
    while level.shape[axis] > 1:
        first = np.take(level, range(0, level.shape[axis], 2), axis=axis)
        second = np.take(level, range(1, level.shape[axis], 2), axis=axis)
        level = map_words(arithmetic.add, arithmetic.dtype, first, second)
        levels.append(level)
    return levels, np.take(level, 0, axis=axis)


def running(arithmetic: Arithmetic, words: np.ndarray) -> np.ndarray:
    """The sum over axis 0 after each term, in order, from +0 (B2, A3)."""
    total = np.zeros(words.shape[1:], words.dtype)
    totals = []
    for term in words:
        total = map_words(arithmetic.add, arithmetic.dtype, total, term)
        totals.append(total)
    return np.stack(totals)
