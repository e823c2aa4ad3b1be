"""The MAC register: wrapping is order-free, saturating is not (SPEC.md M2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import z3

from bitrow.formats import AccOverflow, Accumulator
from bitrow.ops import mac
from bitrow.oracle import fxp as oracle
from bitrow.proofs.claim import Counterexample, Outcome
from bitrow.proofs.solver import explain
from bitrow.proofs.solver.query import Query, Words, evaluate, smallest, value_of
from bitrow.proofs.solver.symbols import Symbol, symbolic, word

LARGEST_PRODUCT = 255 * 128  # of two codes of at most 8 bits, one of them unsigned


def _terms() -> tuple[Symbol, Symbol, Symbol]:
    return word("a", np.int32), word("b", np.int32), word("c", np.int32)


def _is_wrapped(value: Any, wrapped: Any, bits: int) -> Any:
    """M2's words: `wrapped` fits two's complement of `bits`, and differs from `value` by a multiple of 2^bits."""
    fits = z3.SignExt(32 - bits, z3.Extract(bits - 1, 0, wrapped)) == wrapped
    return z3.And(fits, z3.Extract(bits - 1, 0, value) == z3.Extract(bits - 1, 0, wrapped))


def wrap(bits: int, function: Any = None) -> Query:
    """One wrap at the end equals a wrap after every product, in any order and grouping of three terms.

    With the value that M2 defines, so that by induction any tree over any number of terms gives it.
    """
    reduce = function or symbolic(mac.wrap)
    a, b, c = _terms()
    whole = reduce(a + b + c, bits)
    others = (
        reduce(reduce(a + b, bits) + c, bits),
        reduce(a + reduce(b + c, bits), bits),
        reduce(reduce(c + a, bits) + b, bits),
        reduce(reduce(a, bits) + reduce(b + c, bits), bits),
    )
    same = z3.And(*(whole.term == other.term for other in others))
    total = a.term + b.term + c.term

    def tell(words: Words) -> Counterexample:
        terms = [np.int32(words[name]) for name in ("a", "b", "c")]
        found = evaluate(lambda *xs: reduce(xs[0] + xs[1] + xs[2], bits), *terms)
        expected = oracle.wrap(sum(map(int, terms)), bits)
        signed = found - (1 << 32) if found >> 31 else found
        operands = tuple(explain.integer(name, words[name]) for name in ("a", "b", "c"))
        return Counterexample(operands, str(signed), str(expected), "oracle")

    return Query(
        words={"a": a, "b": b, "c": c},
        given=[],
        violation=z3.Not(z3.And(_is_wrapped(total, whole.term, bits), same)),
        points=2**96,
        explain=tell,
    )


def _ranges(register: Symbol, products: list[Symbol], accumulator: Accumulator) -> list[Any]:
    found = [register.term >= accumulator.min, register.term <= accumulator.max]
    for product in products:
        found += [product.term >= -LARGEST_PRODUCT, product.term <= LARGEST_PRODUCT]
    return found


def saturate(bits: int, function: Any = None) -> Query:
    """`saturating_add` is the exact sum, clamped, though it never leaves 32 bits."""
    add = function or symbolic(mac.saturating_add)
    accumulator = Accumulator(bits, AccOverflow.SATURATE)
    acc, product = word("acc", np.int32), word("product", np.int32)
    found = add(acc, product, accumulator)
    exact = z3.SignExt(32, acc.term) + z3.SignExt(32, product.term)
    low, high = z3.BitVecVal(accumulator.min, 64), z3.BitVecVal(accumulator.max, 64)
    clamped = z3.If(exact < low, low, z3.If(exact > high, high, exact))

    def tell(words: Words) -> Counterexample:
        given = words["acc"], words["product"]
        result = evaluate(lambda a, p: add(a, p, accumulator), *map(np.int32, given))
        expected = max(accumulator.min, min(accumulator.max, sum(given)))
        operands = explain.integer("acc", given[0]), explain.integer("product", given[1])
        signed = result - (1 << 32) if result >> 31 else result
        return Counterexample(operands, str(signed), str(expected), "exact integers")

    return Query(
        words={"acc": acc, "product": product},
        given=_ranges(acc, [product], accumulator),
        violation=z3.SignExt(32, found.term) != clamped,
        points=2**bits * (2 * LARGEST_PRODUCT + 1),
        explain=tell,
    )


def saturate_needs_order(bits: int = 16) -> Outcome:
    """The smallest three products of FXP8 codes whose saturating sum depends on their order: it has to exist."""
    accumulator = Accumulator(bits, AccOverflow.SATURATE)
    add = symbolic(mac.saturating_add)
    products = list(_terms())
    zero = Symbol(z3.BitVecVal(0, 32), np.int32)

    def total(order: tuple[int, int, int]) -> Symbol:
        register = zero
        for place in order:
            register = add(register, products[place], accumulator)
        return register

    given = _ranges(zero, products, accumulator)
    model = smallest([*given, total((0, 1, 2)).term != total((0, 2, 1)).term], products)
    if model is None:
        return Outcome(0, Counterexample((), "one sum in every order", "two sums that differ", "solver"))
    values = [value_of(model, product) for product in products]
    sums = [oracle.mac(order, (1, 1, 1), accumulator) for order in (values, [values[0], values[2], values[1]])]
    note = f"{bits} bits: {' + '.join(f'({v})' for v in values)} gives {sums[0]}, the last two swapped {sums[1]}"
    if sums[0] == sums[1]:
        return Outcome(2**48, Counterexample((), note, "two sums that differ", "oracle"))
    return Outcome(2**48, note=note)
