"""Words drawn by a hash of where they are used: numpy and JAX, also inside jit, have the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np

GOLDEN = 0x9E3779B9


def word(xp: Any, value: Any) -> Any:
    """Whole numbers as u32[n] or u32[1]: arrays, because numpy warns where a scalar wraps. `xp` is numpy or jnp."""
    if isinstance(value, int):
        value = value % (1 << 32)
    return xp.asarray(value).astype(np.uint32).reshape(-1)


def mix(z: Any) -> Any:
    """Wellons' lowbias32: a bijection of u32 that leaves no visible pattern of its input."""
    z = (z ^ (z >> np.uint32(16))) * np.uint32(0x7FEB352D)
    z = (z ^ (z >> np.uint32(15))) * np.uint32(0x846CA68B)
    return z ^ (z >> np.uint32(16))


def words(xp: Any, seed: Any, count: Any, place: int, size: int) -> Any:
    """u32[size] for an array's elements, from a seed, the count of the step and the array's place among others."""
    of_step = mix(word(xp, count) ^ mix(word(xp, seed) + np.uint32(place * GOLDEN % (1 << 32))))
    return mix(mix(xp.arange(size, dtype=np.uint32) * np.uint32(GOLDEN)) ^ of_step)
