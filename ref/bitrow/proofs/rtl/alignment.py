"""A product and a sum rounded once (SPEC.md F2) in parts: by how far the product and the addend lie apart.

Both sides' product is a free word (`products`). What is left are exponents and shifts, which solvers decide where the
distance is a number. Special words and subnormal factors are parts of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import z3

from bitrow.contract.encoding import Kind
from bitrow.lower.smt import Term
from bitrow.proofs.rtl import question
from bitrow.proofs.rtl.binding import Binding
from bitrow.proofs.rtl.question import UnitTerms

_BIAS = 15
_SPECIAL = 31
_SUBNORMAL, _NORMAL = range(1), range(1, _SPECIAL)  # exponent fields
_NEAR, _NEAR_SUBNORMAL = range(-13, 14), range(-14, 25)  # distances that are a part each; those beyond are two
_TRIED = (0, 1, 6, 14, 28, 29)  # of a factor's fields, before all of them are
_ROUNDS = 8  # of folding, each on what the one before has simplified


class _Word(NamedTuple):
    """An FP16 input; its sign, exponent field and fraction as words of their own."""

    term: Term
    parts: tuple[Term, Term, Term]

    @property
    def field(self) -> Term:
        return z3.Extract(14, 10, self.term)

    @property
    def places(self) -> Term:
        """The exponent above the least one's, in 8 bits: 1 for subnormal words."""
        wide = z3.ZeroExt(3, self.field)
        return z3.If(wide == 0, z3.BitVecVal(1, 8), wide)

    def within(self, fields: range) -> list[Term]:
        return [z3.UGE(self.field, fields[0]), z3.ULE(self.field, fields[-1])]


def _word(name: str) -> _Word:
    sign, field, fraction = (z3.BitVec(f"{name}.{part}", bits) for part, bits in
                             (("sign", 1), ("field", 5), ("fraction", 10)))  # fmt: skip
    return _Word(z3.BitVec(name, 16), (sign, field, fraction))


def _named(term: Term, seen: dict[int, frozenset[str]]) -> frozenset[str]:
    """The free words of a term; those of all terms in it are noted in `seen`."""
    key = term.get_id()
    if key not in seen:
        own = [str(term)] if z3.is_const(term) and term.decl().kind() == z3.Z3_OP_UNINTERPRETED else []
        seen[key] = frozenset(own).union(*(_named(part, seen) for part in term.children()))
    return seen[key]


class ProofPart(NamedTuple):
    """A part of the domain: its name, what its inputs fulfil, and both sides there; the addend."""

    name: str
    case: Sequence[Term]
    terms: UnitTerms
    addend: _Word

    @property
    def by_addend(self) -> list[Term]:
        """Cases of it by the exponent of its addend."""
        return [self.addend.field == field for field in range(_SPECIAL + 1)]


class _Region(NamedTuple):
    """Factors whose exponent fields lie in these ranges, and what their sum is called."""

    words: tuple[_Word, _Word]
    fields: tuple[range, range]
    total: Term

    @property
    def formulas(self) -> list[Term]:
        within = [fact for word, fields in zip(self.words, self.fields, strict=True) for fact in word.within(fields)]
        places = [word.places for word in self.words]
        return [*within, self.total == places[0] + places[1]]

    def folded(self, term: Term) -> Term:
        """The term where those in it that hang on both exponents alone are a number, or their sum and a number."""
        split = [(word.term, z3.Concat(*word.parts)) for word in self.words]
        back = [(part, z3.Extract(high, low, word.term)) for word in self.words
                for part, (high, low) in zip(word.parts, ((15, 15), (14, 10), (9, 0)), strict=True)]  # fmt: skip
        found = z3.simplify(z3.substitute(term, *split))
        for _ in range(_ROUNDS):
            put = list(self._foldable(found, set(), {}))
            if not put:
                break
            found = z3.simplify(z3.substitute(found, *put))
        return z3.substitute(found, *back)

    def _foldable(self, term: Term, looked: set[int], seen: dict[int, frozenset[str]]) -> Iterator[tuple[Term, Term]]:
        if term.get_id() in looked:
            return
        looked.add(term.get_id())
        names, fields = _named(term, seen), {str(word.parts[1]) for word in self.words}
        if names and names <= fields and (z3.is_bool(term) or z3.is_bv(term)):
            known = self._known(term)
            if known is not None:
                yield term, known
                return
        for part in term.children():
            yield from self._foldable(part, looked, seen)

    def _known(self, term: Term) -> Term | None:
        """What the term is for every pair of fields: a number, or the sum and a number; None: neither."""
        few = [[fields[place] for place in _TRIED if place < len(fields)] for fields in self.fields]
        return None if self._fit(term, few) is None else self._fit(term, self.fields)

    def _fit(self, term: Term, fields: Sequence[Sequence[int]]) -> Term | None:
        bits = 1 if z3.is_bool(term) else term.size()
        numbers, offsets = set(), set()
        for pair in itertools.product(*fields):
            put = [(word.parts[1], z3.BitVecVal(value, 5)) for word, value in zip(self.words, pair, strict=True)]
            found = z3.simplify(z3.substitute(term, *put))
            number = int(z3.is_true(found)) if z3.is_bool(found) else found.as_long()
            numbers.add(number)
            offsets.add((number - sum(max(value, 1) for value in pair)) % (1 << bits))
            if len(numbers) > 1 and len(offsets) > 1:
                return None
        if len(numbers) == 1:
            return z3.BoolVal(bool(number)) if z3.is_bool(term) else z3.BitVecVal(number, bits)
        if z3.is_bool(term) or z3.is_const(term):
            return None
        total = z3.ZeroExt(bits - 8, self.total) if bits > 8 else z3.Extract(bits - 1, 0, self.total)
        return total + z3.BitVecVal(offsets.pop(), bits)


def _roles(binding: Binding) -> tuple[_Word, _Word, _Word] | None:
    """The two factors and the addend; None where the contract is no product and one more word."""
    inputs = binding.contract.inputs
    if len(inputs) != 3 or any(port.encoding.kind is not Kind.FP16 for port in inputs):
        return None
    names = {port.name for port in inputs}
    factors = [_named(factor, {}) & names for factor in question.factors(binding)]
    if len(factors) != 2 or any(len(each) != 1 for each in factors) or factors[0] == factors[1]:
        return None
    (first,), (second,) = factors
    (addend,) = names - {first, second}
    return _word(first), _word(second), _word(addend)


def parts(binding: Binding) -> Iterator[ProofPart]:
    """The parts, which make up the whole domain; none where the unit is not cut at one product."""
    roles = _roles(binding)
    if roles is None:
        return
    first, second, addend = roles
    special = z3.Or([word.field == _SPECIAL for word in roles])
    tiny = [*first.within(_SUBNORMAL), *second.within(_SUBNORMAL), z3.Not(special)]
    for name, formulas in (("special words", [special]), ("both factors subnormal", tiny)):
        terms = question.shared(binding, formulas)
        if terms is None:
            return
        yield ProofPart(name, formulas, terms, addend)

    def region(*fields: range) -> _Region:
        return _Region((first, second), (fields[0], fields[1]), z3.BitVec("total", 8))

    yield from _distances("normal factors", binding, region(_NORMAL, _NORMAL), addend, _NEAR)
    one = _distances(f"{first.term} subnormal", binding, region(_SUBNORMAL, _NORMAL), addend, _NEAR_SUBNORMAL)
    if question.commutes(binding, str(first.term), str(second.term)):
        turn = (first.term, second.term), (second.term, first.term)
        for part in one:
            whole = z3.And(*part.case)
            either = [z3.Or(whole, z3.substitute(whole, *turn))]
            yield part._replace(name=f"{part.name}, factors in either order", case=either)
        return
    yield from one
    yield from _distances(f"{second.term} subnormal", binding, region(_NORMAL, _SUBNORMAL), addend, _NEAR_SUBNORMAL)


def _distances(name: str, binding: Binding, region: _Region, addend: _Word, near: range) -> Iterator[ProofPart]:
    fixed = [*region.formulas, z3.ULT(addend.field, _SPECIAL)]
    terms = question.shared(binding, fixed)
    assert terms is not None
    given = [*map(region.folded, terms.given), *fixed]  # what a region says folds to nothing
    results = {name: (region.folded(pair[0]), region.folded(pair[1])) for name, pair in terms.results.items()}
    apart = region.total - _BIAS - addend.places
    cases = {"the addend far above": apart < near[0], "the product far above": apart > near[-1]}
    cases |= {f"exponents {distance} apart": apart == distance for distance in near}
    for text, case in cases.items():
        yield ProofPart(f"{name}, {text}", [*fixed, case], UnitTerms([*given, case], results), addend)
