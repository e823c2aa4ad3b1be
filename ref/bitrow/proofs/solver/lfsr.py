"""The stochastic rounder's generator: jumps equal steps, and the period is 65,535 from every state (SPEC.md Q3)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import z3

from bitrow.formats import LFSR_PERIOD, LFSR_TAPS
from bitrow.lower.smt import Smt, word
from bitrow.lower.target import Word
from bitrow.lower.walk import lower
from bitrow.ops import lfsr
from bitrow.oracle import lfsr as oracle
from bitrow.proofs.claim import Counterexample, Outcome
from bitrow.proofs.solver import explain
from bitrow.proofs.solver.query import Query, QueryWords, computed

STATES = 1 << 16
PRIMES = (3, 5, 17, 257)  # of 65,535: a shorter period divides 65,535 / p for one of them
JUMPS = tuple(range(16))


def _counterexample(state: int, steps: int, found: int) -> Counterexample:
    expected = oracle.jump(state, steps) if state else 0
    operands = explain.integer("state", state, 16), ("steps", str(steps), str(steps))
    return Counterexample(operands, f"0x{found:04x}", f"0x{expected:04x}", "oracle, by stepping")


def step(function: Callable[..., Any] = lfsr.step) -> Query:
    """`step` is Q3's shift and conditional exclusive-or."""
    state = word("state", np.uint16)
    odd = z3.Extract(0, 0, state.term) == 1
    stepped = z3.LShR(state.term, 1) ^ z3.If(odd, z3.BitVecVal(LFSR_TAPS, 16), z3.BitVecVal(0, 16))

    def tell(words: QueryWords) -> Counterexample:
        return _counterexample(words["state"], 1, computed(function, np.uint16(words["state"])))

    return Query({"state": state}, [], lower(function, Smt(), state).term != stepped, STATES, tell)


class _Remainders(Smt):
    """Terms in which a count below the period is seen to be its own remainder, without a division."""

    def rem(self, a: Word, b: Word) -> Any:
        return z3.If(z3.ULT(a.term, b.term), a.term, super().rem(a, b))


def jump() -> Query:
    """`jump` of a traced count applies the matrices of the count's bits, each once, for any state and count.

    What the matrices do is `powers`' claim, and which of them are applied is this one's.
    """
    state, steps = word("state", np.uint16), word("steps", np.uint32)
    found = lower(lfsr.jump, _Remainders(), state, steps)
    expected = state
    for k in JUMPS:
        applied = lower(functools.partial(lfsr._apply_array, lfsr._power(k)), Smt(), expected)
        taken = z3.Extract(k, k, steps.term) == 1
        expected = Word(z3.If(taken, applied.term, expected.term), state.dtype)

    def tell(words: QueryWords) -> Counterexample:
        found = computed(lfsr.jump, np.uint16(words["state"]), np.uint32(words["steps"]))
        return _counterexample(words["state"], words["steps"], found)

    return Query(
        {"state": state, "steps": steps},
        [z3.ULT(steps.term, LFSR_PERIOD)],
        found.term != expected.term,
        STATES * LFSR_PERIOD,
        tell,
    )


QUERIES: tuple[Callable[[], Query], ...] = (step, jump)


def powers(log2_steps: int) -> Outcome:
    """The matrix of 2^k steps, from every state, by the kernel: what 2^k steps of the oracle give."""
    every = jnp.arange(STATES, dtype=jnp.uint16)
    found = np.asarray(lfsr._apply_array(lfsr._power(log2_steps), every))
    expected = np.array([0, *(oracle.jump(state, 1 << log2_steps) for state in range(1, STATES))], np.uint16)
    wrong = np.flatnonzero(found != expected)
    if wrong.size:
        at = int(wrong[0])
        return Outcome(STATES, _counterexample(at, 1 << log2_steps, int(found[at])))
    return Outcome(STATES)


def _product(first: lfsr.Matrix, second: lfsr.Matrix) -> lfsr.Matrix:
    """The matrix of `second`, then `first`, as images of the unit states."""
    return tuple(lfsr._apply(first, image) for image in second)


def _of_steps(steps: int) -> lfsr.Matrix:
    found: lfsr.Matrix = tuple(1 << bit for bit in JUMPS)
    for k in JUMPS:
        if steps >> k & 1:
            found = _product(lfsr._power(k), found)
    return found


def rank(matrix: lfsr.Matrix) -> int:
    """The rank over GF(2) of a matrix given by its columns."""
    basis: dict[int, int] = {}
    for column in matrix:
        while column and column.bit_length() in basis:
            column ^= basis[column.bit_length()]
        if column:
            basis[column.bit_length()] = column
    return len(basis)


def period() -> Outcome:
    """Every nonzero state has the period 65,535, by linear algebra over GF(2).

    The matrix T of one step has T^65535 = I. For each prime p of 65,535, T^(65535/p) - I has full rank, so that it
    leads no nonzero state back to itself. A period divides 65,535 and none of these, so it is 65,535.
    """
    identity = _of_steps(0)
    whole = _of_steps(LFSR_PERIOD)
    if whole != identity:
        bit = next(bit for bit in JUMPS if whole[bit] != identity[bit])
        return Outcome(1, _counterexample(1 << bit, LFSR_PERIOD, whole[bit]))
    for prime in PRIMES:
        part = _of_steps(LFSR_PERIOD // prime)
        if rank(tuple(a ^ b for a, b in zip(part, identity, strict=True))) != len(JUMPS):
            state = next(s for s in range(1, STATES) if lfsr._apply(part, s) == s)
            return Outcome(1, _counterexample(state, LFSR_PERIOD // prime, state))
    return Outcome((1 + len(PRIMES)) * (STATES - 1))
