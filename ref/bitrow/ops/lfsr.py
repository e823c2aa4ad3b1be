"""The Galois LFSR of stochastic rounding, with jump-ahead (SPEC.md Q3).

One step is linear over GF(2), so any number of steps is a 16x16 bit matrix, held here as the images of
the 16 unit states.
"""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Integer, UInt16

from bitrow import typed
from bitrow.doors import guard
from bitrow.errors import BitrowError
from bitrow.formats import LFSR_PERIOD, LFSR_TAPS

Matrix = tuple[int, ...]


def _step(state: int) -> int:
    return (state >> 1) ^ (LFSR_TAPS if state & 1 else 0)


def _apply(matrix: Matrix, state: int) -> int:
    out = 0
    for bit, image in enumerate(matrix):
        if state >> bit & 1:
            out ^= image
    return out


@functools.cache
def _power(log2_steps: int) -> Matrix:
    """The matrix of 2^log2_steps steps."""
    if log2_steps == 0:
        return tuple(_step(1 << bit) for bit in range(16))
    half = _power(log2_steps - 1)
    return tuple(_apply(half, image) for image in half)


def images(log2_steps: int) -> Matrix:
    """What each unit state is after 2^log2_steps steps: all that a jump needs (SPEC.md Q3)."""
    return _power(log2_steps)


def _apply_array(matrix: Matrix, state: UInt16[Array, "*s"]) -> UInt16[Array, "*s"]:
    out = jnp.zeros_like(state)
    for bit, image in enumerate(matrix):
        chosen = jnp.uint16(0) - ((state >> jnp.uint16(bit)) & jnp.uint16(1))
        out = out ^ (chosen & jnp.uint16(image))
    return out


def check_seed(layer: str, seed: int) -> None:
    """Refuse a seed that the LFSR cannot leave or hold.

    Raises:
        BitrowError: naming `layer`; the seed is no int, 0 or does not fit 16 bits.
    """
    seed = typed.coerce(f"{layer} seed", int, seed)
    if not 1 <= seed <= 0xFFFF:
        raise BitrowError(f"{layer} seed: found {seed}, expected 1 to 65535")


def step(state: UInt16[Array, "*s"]) -> UInt16[Array, "*s"]:
    """One step of the LFSR."""
    taps = (jnp.uint16(0) - (state & jnp.uint16(1))) & jnp.uint16(LFSR_TAPS)
    return (state >> jnp.uint16(1)) ^ taps


def jump(state: UInt16[Array, "*s"], steps: int | Integer[Array, "..."]) -> UInt16[Array, "*s"]:
    """The state after `steps` steps, at most 2^32 - 1 if traced; 16 matrix products whatever `steps` is."""
    if isinstance(steps, int):
        steps %= LFSR_PERIOD
        matrix: Matrix = tuple(1 << bit for bit in range(16))
        for log2_steps in range(16):
            if steps >> log2_steps & 1:
                matrix = tuple(_apply(_power(log2_steps), image) for image in matrix)
        return _apply_array(matrix, state)
    left = jnp.asarray(steps, jnp.uint32) % jnp.uint32(LFSR_PERIOD)
    for log2_steps in range(16):
        taken = (left >> log2_steps) & jnp.uint32(1) == 1
        state = jnp.where(taken, _apply_array(_power(log2_steps), state), state)
    return state


def words(seed: UInt16[Array, ""], start: int | Integer[Array, ""], shape: tuple[int, ...]) -> UInt16[Array, "*shape"]:
    """Words of the elements start, start+1, ... in row-major `shape`: element i is the state after i+1 steps.

    Any split of a tensor into runs gives the same words.
    """
    count = math.prod(shape)
    block = step(jump(seed, start)).reshape(1)
    log2_size = 0
    while block.shape[0] < count:  # double: the second half is the first, 2^k steps on
        block = jnp.concatenate([block, _apply_array(_power(log2_size), block)])
        log2_size += 1
    return block[:count].reshape(shape)


guard(__name__)
