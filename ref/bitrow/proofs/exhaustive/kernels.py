"""The kernels under test, jitted: one program for the five rounding modes of each setting of overflow and flush."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import Array

from bitrow.formats import FloatMode, Overflow, Rounding
from bitrow.ops import fp16
from bitrow.vectors.operations import to_words

Modes = tuple[FloatMode, ...]


def modes_of(overflow: Overflow, flush: bool) -> Modes:
    """The five rounding modes under one setting of the other two parameters."""
    return tuple(FloatMode(rounding, overflow, flush) for rounding in Rounding)


GROUPS: tuple[Modes, ...] = tuple(modes_of(overflow, flush) for flush in (False, True) for overflow in Overflow)
MODES: Modes = tuple(mode for group in GROUPS for mode in group)  # all twenty


@functools.cache
def _program(kernel: Callable[..., Array], modes: Sequence[FloatMode]) -> Callable[..., list[Array]]:
    return jax.jit(lambda *operands: [kernel(*operands, mode) for mode in modes])


def run(name: str, modes: Modes, *operands: np.ndarray) -> list[np.ndarray]:
    """`bitrow.fp16.NAME` under each mode, jitted; float16, int32 or float32 operands, results as integer words."""
    return [to_words(result) for result in _program(getattr(fp16, name), modes)(*operands)]
