"""The MAC register: wrapping is order-free, saturating is not (SPEC.md M2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import z3
from jax import Array

from bitrow.formats import AccOverflow, Accumulator
from bitrow.lower.smt import Smt, word
from bitrow.lower.target import Word
from bitrow.lower.walk import lower
from bitrow.ops import mac
from bitrow.oracle import fxp as oracle
from bitrow.proofs.claim import Counterexample, Outcome
from bitrow.proofs.solver import explain
from bitrow.proofs.solver.query import Query, QueryWords, computed, smallest, value_of

LARGEST_PRODUCT = 255 * 128  # of two codes of at most 8 bits, one of them unsigned


def _terms() -> tuple[Word, Word, Word]:
    return word("a", np.int32), word("b", np.int32), word("c", np.int32)


def _is_wrapped(value: Any, wrapped: Any, bits: int) -> Any:
    """M2's words: `wrapped` fits two's complement of `bits`, and differs from `value` by a multiple of 2^bits."""
    fits = z3.SignExt(32 - bits, z3.Extract(bits - 1, 0, wrapped)) == wrapped
    return z3.And(fits, z3.Extract(bits - 1, 0, value) == z3.Extract(bits - 1, 0, wrapped))


def wrap(bits: int, reduce: Callable[..., Any] = mac.wrap) -> Query:
    """One wrap at the end equals a wrap after every product, in any order and grouping of three terms.

    With the value that M2 defines, so that by induction any tree over any number of terms gives it.
    """

    def at_the_end(a: Array, b: Array, c: Array) -> Array:
        return reduce(a + b + c, bits)

    def before(a: Array, b: Array, c: Array) -> tuple[Array, ...]:
        return (
            reduce(reduce(a + b, bits) + c, bits),
            reduce(a + reduce(b + c, bits), bits),
            reduce(reduce(c + a, bits) + b, bits),
            reduce(reduce(a, bits) + reduce(b + c, bits), bits),
        )

    a, b, c = _terms()
    whole, others = (lower(function, Smt(), a, b, c) for function in (at_the_end, before))
    same = z3.And(*(whole.term == other.term for other in others))
    total = a.term + b.term + c.term

    def tell(words: QueryWords) -> Counterexample:
        terms = [np.int32(words[name]) for name in ("a", "b", "c")]
        found, expected = computed(at_the_end, *terms), oracle.wrap(sum(map(int, terms)), bits)
        operands = tuple(explain.integer(name, words[name]) for name in ("a", "b", "c"))
        return Counterexample(operands, str(found), str(expected), "oracle")

    return Query(
        words={"a": a, "b": b, "c": c},
        given=[],
        violation=z3.Not(z3.And(_is_wrapped(total, whole.term, bits), same)),
        points=2**96,
        explain=tell,
    )


def _within(word: Word, low: int, high: int) -> list[Any]:
    return [word.term >= low, word.term <= high]


def _is_product(product: Word) -> list[Any]:
    return _within(product, -LARGEST_PRODUCT, LARGEST_PRODUCT)


def saturate(bits: int, add: Callable[..., Any] = mac.saturating_add) -> Query:
    """`saturating_add` is the exact sum, clamped, though it never leaves 32 bits."""
    accumulator = Accumulator(bits, AccOverflow.SATURATE)
    acc, product = word("acc", np.int32), word("product", np.int32)
    found = lower(add, Smt(), acc, product, accumulator)
    exact = z3.SignExt(32, acc.term) + z3.SignExt(32, product.term)
    low, high = z3.BitVecVal(accumulator.min, 64), z3.BitVecVal(accumulator.max, 64)
    clamped = z3.If(exact < low, low, z3.If(exact > high, high, exact))

    def tell(words: QueryWords) -> Counterexample:
        given = words["acc"], words["product"]
        result = computed(add, *map(np.int32, given), accumulator)
        expected = max(accumulator.min, min(accumulator.max, sum(given)))
        operands = explain.integer("acc", given[0]), explain.integer("product", given[1])
        return Counterexample(operands, str(result), str(expected), "exact integers")

    return Query(
        words={"acc": acc, "product": product},
        given=[*_within(acc, accumulator.min, accumulator.max), *_is_product(product)],
        violation=z3.SignExt(32, found.term) != clamped,
        points=2**bits * (2 * LARGEST_PRODUCT + 1),
        explain=tell,
    )


def saturate_needs_order(bits: int = 16) -> Outcome:
    """The smallest three products of FXP8 codes whose saturating sum depends on their order: it has to exist."""
    accumulator = Accumulator(bits, AccOverflow.SATURATE)
    products = list(_terms())

    def total(*products: Array) -> Array:
        register = jnp.int32(0)
        for product in products:
            register = mac.saturating_add(register, product, accumulator)
        return register

    one, other = (lower(total, Smt(), *(products[place] for place in order)) for order in ((0, 1, 2), (0, 2, 1)))
    given = [formula for product in products for formula in _is_product(product)]
    model = smallest([*given, one.term != other.term], products)
    if model is None:
        return Outcome(0, Counterexample((), "one sum in every order", "two sums that differ", "solver"))
    values = [value_of(model, product) for product in products]
    sums = [oracle.mac(order, (1, 1, 1), accumulator) for order in (values, [values[0], values[2], values[1]])]
    note = f"{bits} bits: {' + '.join(f'({v})' for v in values)} gives {sums[0]}, the last two swapped {sums[1]}"
    if sums[0] == sums[1]:
        return Outcome(2**48, Counterexample((), note, "two sums that differ", "oracle"))
    return Outcome(2**48, note=note)
