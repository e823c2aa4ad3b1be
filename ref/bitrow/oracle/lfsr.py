"""The 16-bit Galois LFSR that feeds stochastic rounding, by stepping (SPEC.md Q3)."""

from __future__ import annotations

import functools

from bitrow.errors import BitrowError
from bitrow.formats import LFSR_PERIOD, LFSR_TAPS


def step(state: int) -> int:
    """The state after one step (Q3)."""
    return (state >> 1) ^ (LFSR_TAPS if state & 1 else 0)


@functools.cache
def _orbit() -> tuple[list[int], dict[int, int]]:
    """All states in order from state 1, and each state's place: one cycle holds them all (Q3)."""
    states = [1]
    while (state := step(states[-1])) != 1:
        states.append(state)
    return states, {state: place for place, state in enumerate(states)}


def jump(state: int, steps: int) -> int:
    """The state after `steps` steps (Q3).

    Raises:
        BitrowError: a state outside 1..65535.
    """
    states, places = _orbit()
    if state not in places:
        raise BitrowError(f"LFSR state: found {state}, expected 1 to {LFSR_PERIOD}")
    return states[(places[state] + steps) % LFSR_PERIOD]


def words(seed: int, start: int, count: int) -> list[int]:
    """The words of `count` elements from number `start`: element i takes the state after i+1 steps (Q3)."""
    if count == 0:
        return []
    state = jump(seed, start + 1)
    result = [state]
    for _ in range(count - 1):
        state = step(state)
        result.append(state)
    return result
