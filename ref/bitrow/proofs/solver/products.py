"""Products taken apart: each multiplication of a kernel becomes a free word of which only proved facts are known.

Two circuits that multiply the same numbers in different pieces are what solvers are worst at, and rounding does not
depend on how the pieces were multiplied. So a query leaves every product free, but for facts of the kind "a shifted
by i times f is the one product a*f, shifted by i"; `facts` proves each of them apart. What holds for every
assignment of free words holds for the products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import z3

from bitrow.lower.smt import Smt
from bitrow.lower.target import Word
from bitrow.proofs.solver.query import find

SIGNIFICAND_BITS = 11  # of FP16, the hidden one included
PRODUCT_BITS = 2 * SIGNIFICAND_BITS
HALF_BITS = 16 + SIGNIFICAND_BITS  # a 16-bit half of an accumulator times a significand


class Products(Smt):
    """Terms whose products are free words; what is known of each of them is collected in `known`.

    `rules` are triples of terms (a, b, product): where the operands are a and b, the result is `product`. A
    factor of zero gives zero.
    """

    def __init__(self, rules: Sequence[tuple[Any, Any, Any]]) -> None:
        self.rules = rules
        self.known: list[Any] = []

    def mul(self, a: Word, b: Word) -> Any:
        found = z3.FreshConst(a.term.sort(), "product")
        self.known.append(z3.Implies(z3.Or(a.term == 0, b.term == 0), found == 0))
        for first, second, product in self.rules:
            self.known.append(z3.Implies(z3.And(a.term == first, b.term == second), found == product))
        return found


def widened(term: Any, bits: int, left: int = 0) -> Any:
    """A term zero-extended to `bits` and shifted left."""
    return z3.ZeroExt(bits - term.size(), term) << left


def product_range(product: Any, first: Any, second: Any) -> list[Any]:
    """What is known of the product of two 11-bit significands, each zero or with its leading one in place."""
    low, high = 1 << (PRODUCT_BITS - 2), ((1 << SIGNIFICAND_BITS) - 1) ** 2
    return [
        z3.If(z3.Or(first == 0, second == 0), product == 0, z3.And(z3.UGE(product, low), z3.ULE(product, high))),
    ]


def _shifted(left_first: int, left_second: int) -> Callable[[], Any]:
    """(a << i) * (b << j) = (a*b) << (i + j), in two steps, since solvers see polynomials but not shifts."""

    def violation() -> Any:
        a, b = (widened(x, 32) for x in z3.BitVecs("a b", SIGNIFICAND_BITS))
        first, second = 1 << left_first, 1 << left_second
        shifts = [x << left == x * (1 << left) for x, left in ((a, left_first), (b, left_second))]
        product = (a * first) * (b * second) == (a * b) * (first * second)
        left = left_first + left_second
        c = z3.BitVec("c", 32)
        return z3.Not(z3.And(*shifts, product, c << left == c * (1 << left)))

    return violation


def _range() -> Any:
    a, b = z3.BitVecs("a b", SIGNIFICAND_BITS)
    product = widened(a, PRODUCT_BITS) * widened(b, PRODUCT_BITS)
    leading = [z3.Or(x == 0, z3.Extract(SIGNIFICAND_BITS - 1, SIGNIFICAND_BITS - 1, x) == 1) for x in (a, b)]
    return z3.And(*leading, z3.Not(z3.And(*product_range(product, a, b))))


def half_ranges(moved: Any, high: Any, low: Any) -> list[Any]:
    """Of a magnitude whose leading one is at bit 31 (or zero), the halves' products with a significand's."""
    largest = 0xFFFF * ((1 << SIGNIFICAND_BITS) - 1)
    return [
        z3.If(moved == 0, high == 0, z3.UGE(high, 1 << (HALF_BITS - 2))),
        z3.Implies(z3.Extract(15, 0, moved) == 0, low == 0),
        z3.ULE(high, largest),
        z3.ULE(low, largest),
    ]


def _halves() -> Any:
    """(high * 2^16 + low) * f = high*f * 2^16 + low*f, each part as `half_ranges` has it and of 27 bits."""
    magnitude, factor = z3.BitVec("magnitude", 32), z3.BitVec("factor", SIGNIFICAND_BITS)
    leading = [
        z3.Or(magnitude == 0, z3.Extract(31, 31, magnitude) == 1),
        z3.Extract(SIGNIFICAND_BITS - 1, SIGNIFICAND_BITS - 1, factor) == 1,
    ]
    wide = widened(factor, 43)
    high, low = (widened(z3.Extract(top, top - 15, magnitude), 43) * wide for top in (31, 15))
    narrow = [z3.Extract(42, HALF_BITS, part) == 0 for part in (high, low)]
    ranges = half_ranges(magnitude, *(z3.Extract(HALF_BITS - 1, 0, part) for part in (high, low)))
    return z3.And(*leading, z3.Not(z3.And(*narrow, *ranges)))


def _distributes() -> Any:
    """(high * 2^16 + low) * f = high*f * 2^16 + low*f."""
    high, low, factor = z3.BitVecs("high low factor", 43)
    return (high * 65536 + low) * factor != high * factor * 65536 + low * factor


FACTS: dict[str, Callable[[], Any]] = {
    "the limbs of mul: 2a * 2b = 4ab": _shifted(1, 1),
    "the halves of mul_integer: 32a * b = 32ab": _shifted(5, 0),
    "the product of two significands has 21 or 22 bits": _range,
    "the halves' products have at most 27 bits": _halves,
    "the halves' products make the whole": _distributes,
}


def proved(name: str) -> bool:
    """Whether the fact of this name has no counterexample."""
    return find([FACTS[name]()]) is None
