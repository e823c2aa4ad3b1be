"""Products of a unit and of the contract as free words of which only facts are known (as `proofs.solver.products`).

Two multipliers are what solvers are worst at, and rounding does not depend on how a product was made. A fact here is
true of every product, so what has no counterexample with free words has none with the products. One that is found may
be none: the caller tries it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import z3

from bitrow.lower.smt import Smt
from bitrow.lower.target import Word
from bitrow.proofs.rtl.btor import CircuitNode
from bitrow.proofs.rtl.terms import Term, Terms

WIDE = 128  # bits of the widest multiplication that is set free
_HALF = 16  # bits of the parts in which kernels multiply a longer word


class FreeProduct(NamedTuple):
    """x * y modulo its width, as a free word."""

    x: Term
    y: Term
    product: Term


@dataclass
class _Products:
    """Products by their factors, each once."""

    found: list[FreeProduct] = field(default_factory=list)

    def of(self, x: Term, y: Term) -> Term:
        for each in self.found:
            if (each.x.eq(x) and each.y.eq(y)) or (each.x.eq(y) and each.y.eq(x)):
                return each.product
        made = z3.FreshConst(x.sort(), "product")
        self.found.append(FreeProduct(x, y, made))
        return made


def _plain(*terms: Term) -> bool:
    """Whether one of them is a number, so that the product is a sum of shifts."""
    return any(z3.is_bv_value(z3.simplify(term)) for term in terms)


class UnitProducts(Terms):
    """A circuit's terms with its products free."""

    def __init__(self) -> None:
        self.products = _Products()

    def apply(self, node: CircuitNode, operands: Sequence[Term], of: Sequence[int]) -> Term:
        if node.operation == "mul" and node.bits <= WIDE and not _plain(*operands):
            return self.products.of(*operands)
        return super().apply(node, operands, of)


class KernelProducts(Smt):
    """A kernel's terms with its products free."""

    def __init__(self) -> None:
        self.products = _Products()

    def mul(self, a: Word[Any], b: Word[Any]) -> Term:
        return super().mul(a, b) if _plain(a.term, b.term) else self.products.of(a.term, b.term)


@dataclass(frozen=True)
class _Narrow:
    """A product that its width holds: factors of as few bits as can be set, and the product of as many."""

    x: Term
    y: Term
    product: Term


def _cut(term: Term, bits: int) -> Term:
    """A word of which no more than `bits` can be set, in so many; or in more."""
    if bits <= term.size():
        return term if bits == term.size() else z3.Extract(bits - 1, 0, term)
    return z3.ZeroExt(bits - term.size(), term)


def _narrow(each: FreeProduct, bits: Callable[[Term], int]) -> _Narrow | None:
    n, m = (max(1, bits(term)) for term in (each.x, each.y))
    if n + m > each.product.size():
        return None
    return _Narrow(_cut(each.x, n), _cut(each.y, m), _cut(each.product, n + m))


def _zeros(term: Term, bits: int) -> Term:
    """The zeros above a word's leading one, as a word of `bits`; of zero, all of them."""
    found = z3.BitVecVal(term.size(), bits)
    for place in range(term.size()):
        found = z3.If(z3.Extract(place, place, term) == 1, z3.BitVecVal(term.size() - 1 - place, bits), found)
    return found


def _facts(each: FreeProduct, narrow: _Narrow | None) -> list[Term]:
    """Zero if a factor is; else with its leading one where those of the factors put it."""
    if narrow is None:
        return [z3.Implies(z3.Or(each.x == 0, each.y == 0), each.product == 0)]
    size = narrow.product.size()
    above = _zeros(narrow.x, size) + _zeros(narrow.y, size)
    moved = narrow.product << above
    leads = z3.And(z3.Extract(size - 1, size - 2, moved) != 0, z3.LShR(moved, above) == narrow.product)
    zero = z3.Or(narrow.x == 0, narrow.y == 0)
    return [z3.If(zero, narrow.product == 0, leads), each.product == _cut(narrow.product, each.product.size())]


def _same(one: FreeProduct, other: FreeProduct) -> Term:
    bits = max(one.x.size(), other.x.size())
    x, y, p, q = (_cut(term, bits) for term in (one.x, one.y, other.x, other.y))
    return z3.Or(z3.And(x == p, y == q), z3.And(x == q, y == p))


def _moved(one: _Narrow, other: _Narrow) -> Term:
    """Where the factors are alike but for shifts, so are the products."""
    wide = max(term.size() for each in (one, other) for term in (each.x, each.y))
    tops = []
    for term in (one.x, one.y, other.x, other.y):
        moved = _cut(term, wide)
        tops.append((moved << _zeros(moved, wide), _cut(_zeros(moved, 8), 2 * wide)))
    (x, i), (y, j), (p, k), (q, n) = tops
    alike = z3.And(z3.Or(z3.And(x == p, y == q), z3.And(x == q, y == p)), one.x != 0, one.y != 0)
    return z3.Implies(alike, _cut(one.product, 2 * wide) << i + j == _cut(other.product, 2 * wide) << k + n)


def _halves(unit: _Narrow, high: _Narrow, low: _Narrow) -> list[Term]:
    """Of (h * 2^16 + l) * f = h*f * 2^16 + l*f, the factor x * 2^s = h * 2^16 + l being the unit's, y = f."""
    found = []
    for x, y in ((unit.x, unit.y), (unit.y, unit.x)):
        for (h, f), (part, g) in itertools.product(
            ((high.x, high.y), (high.y, high.x)), ((low.x, low.y), (low.y, low.x))
        ):
            if not f.eq(g) or part.size() > _HALF or h.size() > _HALF or x.size() > 2 * _HALF:
                continue
            lead = _cut(x, 2 * _HALF)
            top, size = _zeros(lead, 2 * _HALF), 2 * _HALF + max(y.size(), f.size())
            whole, factors = z3.Concat(_cut(h, _HALF), _cut(part, _HALF)), max(y.size(), f.size())
            alike = z3.And(x != 0, lead << top == whole, _cut(y, factors) == _cut(f, factors))
            product = (_cut(high.product, size) << _HALF) + _cut(low.product, size)
            found.append(z3.Implies(alike, _cut(unit.product, size) << _cut(top, size) == product))
    return found


def _is_least(term: Term) -> bool:
    """Whether a choice is that of the lesser of its two words."""
    condition, yes, no = term.children()
    if condition.decl().kind() not in (z3.Z3_OP_ULT, z3.Z3_OP_ULEQ):
        return False
    a, b = condition.children()
    return a.eq(yes) and b.eq(no)


def most_bits(term: Term) -> int:
    """A bound of the bits of a word that can be set, read off its operations."""
    kind, parts, size = term.decl().kind(), term.children(), term.size()
    if z3.is_bv_value(term):
        return term.as_long().bit_length()
    if kind == z3.Z3_OP_ZERO_EXT:
        return most_bits(parts[0])
    if kind == z3.Z3_OP_BAND:
        return min(map(most_bits, parts))
    if kind == z3.Z3_OP_BOR:
        return max(map(most_bits, parts))
    if kind == z3.Z3_OP_ITE:
        return (min if _is_least(term) else max)(map(most_bits, parts[1:]))
    if kind == z3.Z3_OP_EXTRACT:
        high, low = term.params()
        return max(0, min(high + 1, most_bits(parts[0])) - low)
    if kind in (z3.Z3_OP_BSHL, z3.Z3_OP_BLSHR) and z3.is_bv_value(parts[1]):
        by, before = parts[1].as_long(), most_bits(parts[0])
        return min(size, before + by) if kind == z3.Z3_OP_BSHL else max(0, before - by)
    if kind == z3.Z3_OP_CONCAT:
        below = sum(part.size() for part in parts[1:])
        above = most_bits(parts[0])
        return below + above if above else most_bits(z3.Concat(*parts[1:]) if len(parts) > 2 else parts[1])
    return size


def known(
    units: Sequence[FreeProduct],
    kernels: Sequence[FreeProduct],
    bits: Callable[[Term], int],
    valid: Callable[[Term], bool],
) -> tuple[list[Term], list[tuple[Term, Term]]]:
    """Facts about the products of both sides, and which products of the unit are the contract's, to be put in place.

    `bits` says how many bits of a factor can be set, `valid` whether a formula holds for every input.
    """
    facts: list[Term] = []
    same: list[tuple[Term, Term]] = []
    kept = {each.product.hash(): _narrow(each, bits) for each in kernels}
    for each in kernels:
        facts += _facts(each, kept[each.product.hash()])
    for unit in units:
        narrow = _narrow(unit, bits)
        twin = next((each for each in kernels if valid(_same(unit, each))), None)
        if twin is not None and (kept[twin.product.hash()] is not None or unit.product.size() <= twin.product.size()):
            same.append((unit.product, _cut(twin.product, unit.product.size())))
            continue
        facts += _facts(unit, narrow)
        facts += [fact for each in kernels for fact in _shared(unit, narrow, each, kept[each.product.hash()])]
        for high, low in itertools.permutations(kept.values(), 2):
            if narrow is not None and high is not None and low is not None:
                facts += _halves(narrow, high, low)
    return facts, same


def _shared(unit: FreeProduct, narrow: _Narrow | None, each: FreeProduct, other: _Narrow | None) -> list[Term]:
    """What a product of the unit's and one of the contract's have in common."""
    bits = min(unit.product.size(), each.product.size())
    found = [z3.Implies(_same(unit, each), _cut(unit.product, bits) == _cut(each.product, bits))]
    return found if narrow is None or other is None else [*found, _moved(narrow, other)]
