"""SplitMix64, the generator of everything that is drawn once and for all: the same on every machine. numpy only."""

from __future__ import annotations

import numpy as np

GOLDEN, MIX1, MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def outputs(state: int, places: np.ndarray) -> np.ndarray:
    """The outputs u64[n] at `places` (whole numbers from 0) of the sequence that `state` (0 to 2^64 - 1) starts."""
    z = np.uint64(state) + (np.asarray(places, np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX2)
    return z ^ (z >> np.uint64(31))
