"""SplitMix64, the generator of everything that is drawn once and for all: the same on every machine. numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

GOLDEN, MIX1, MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def outputs(state: int, places: np.ndarray) -> np.ndarray:
    """The outputs u64[n] at `places` (whole numbers from 0) of the sequence that `state` (0 to 2^64 - 1) starts."""
    z = np.uint64(state) + (np.asarray(places, np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX2)
    return z ^ (z >> np.uint64(31))


@dataclass
class Draw:
    """Uniform integers from SplitMix64: the same for the same seed, everywhere."""

    state: int

    def words(self, count: int) -> np.ndarray:
        """The next `count` 64-bit words, uint64."""
        found = outputs(self.state, np.arange(count))
        self.state = (self.state + count * GOLDEN) % (1 << 64)
        return found

    def below(self, limit: int, shape: tuple[int, ...]) -> np.ndarray:
        """int64 of `shape` in 0..limit-1, `limit` up to 2^32."""
        high = self.words(math.prod(shape)) >> np.uint64(32)
        return ((high * np.uint64(limit)) >> np.uint64(32)).astype(np.int64).reshape(shape)

    def triangle(self, limit: int, shape: tuple[int, ...]) -> np.ndarray:
        """int64 of `shape` in -(limit-1)..limit-1, symmetric about 0, of variance (limit^2 - 1) / 6."""
        return self.below(limit, shape) - self.below(limit, shape)

    def about(self, middle: float, spread: float, shape: tuple[int, ...]) -> np.ndarray:
        """float64 of `shape`, uniform within `spread` of `middle` in 2^11 equal steps."""
        return middle + spread * (self.below(2049, shape) - 1024) / 1024
