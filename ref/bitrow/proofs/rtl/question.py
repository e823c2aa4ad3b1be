"""A unit against its contract as questions in SMT-LIB: is there an input on which they differ?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import z3

from bitrow.contract.encoding import Kind
from bitrow.lower.smt import Smt
from bitrow.lower.target import Word
from bitrow.lower.walk import lower
from bitrow.proofs.rtl import btor, products, solvers
from bitrow.proofs.rtl.binding import Binding
from bitrow.proofs.rtl.terms import Term, Terms
from bitrow.proofs.rtl.trial import free_name
from bitrow.proofs.rtl.units import UnitPort
from bitrow.vectors.files.decode import float_of

_QUICK = 30.0  # seconds for a fact about factors
_EASY = 8  # bits of a factor whose products solvers decide as they are
_NARROW = 12  # bits of a factor that need no closer look


@dataclass(frozen=True)
class UnitTerms:
    """Both sides as terms: what every input fulfils, and of each result the unit's bits and the contract's word."""

    given: Sequence[Term]
    results: Mapping[str, tuple[Term, Term]]

    def differs(self, ports: Sequence[UnitPort], any_nan: bool) -> Term:
        """Some of these results differ; with `any_nan` not where both are NaN."""
        found = [_differs(port, *self.results[port.name], any_nan) for port in ports]
        return found[0] if len(found) == 1 else z3.Or(found)  # bitwuzla reads no `or` of one


def _differs(port: UnitPort, found: Term, expected: Term, any_nan: bool) -> Term:
    fmt, carried = float_of(port.encoding), _carried(port, found).term
    if not any_nan or fmt is None:
        return carried != expected
    nan = [z3.UGT(word & (fmt.sign_mask - 1), fmt.infinity_bits) for word in (carried, expected)]
    return z3.And(carried != expected, z3.Not(z3.And(nan)))


def _carried(port: UnitPort, term: Term) -> Word[Term]:
    """A word of the port as the kernel is given it."""
    if port.dtype.kind == "b":
        return Word(term == 1, port.dtype)
    extend = z3.SignExt if port.encoding.signed else z3.ZeroExt
    return Word(extend(32 - port.bits, term) if port.bits < 32 else term, port.dtype)


def _within(port: UnitPort, term: Term) -> list[Term]:
    """The domain of an input, where it is not every word."""
    if port.points == 1 << port.bits:
        return []
    below, above = (lambda a, b: a <= b, lambda a, b: a >= b) if port.encoding.signed else (z3.ULE, z3.UGE)
    return [above(term, z3.BitVecVal(port.low, port.bits)), below(term, z3.BitVecVal(port.high, port.bits))]


def _unit(binding: Binding, words: Mapping[str, Term], algebra: Terms) -> list[btor.Cycle[Term]]:
    def given(cycle: int, number: int, node: btor.CircuitNode) -> Term:
        fixed = binding.fixed(cycle, node)
        if isinstance(fixed, str):
            return words[fixed]
        return z3.BitVec(free_name(cycle, number), node.bits) if fixed is None else z3.BitVecVal(fixed, node.bits)

    return btor.run(binding.design.circuit, algebra, given, binding.timing.latency)


def _kernel(binding: Binding, words: Mapping[str, Term], algebra: Smt) -> dict[str, Word[Term]]:
    contract = binding.contract
    names = [port.name for port in contract.inputs]
    carried = [_carried(port, words[port.name]) for port in contract.inputs]
    return lower(lambda *given: contract.kernel(**dict(zip(names, given, strict=True))), algebra, *carried)


def _words(binding: Binding) -> dict[str, Term]:
    return {port.name: z3.BitVec(port.name, port.bits) for port in binding.contract.inputs}


def _built(binding: Binding, unit: Terms, kernel: Smt, words: Mapping[str, Term]) -> UnitTerms:
    outputs = binding.design.circuit.outputs
    cycles = _unit(binding, words, unit)
    made = _kernel(binding, words, kernel)
    given = [fact for port in binding.contract.inputs for fact in _within(port, words[port.name])]
    given += [words[name] == cycles[0].value(outputs[shown]) for name, shown in binding.observed.items()]
    results = {port.name: (cycles[-1].value(outputs[binding.compared[port.name]]), made[port.name].term)
               for port in binding.results}  # fmt: skip
    return UnitTerms(given, results)


def exact(binding: Binding) -> UnitTerms:
    """Both sides as they are."""
    return _built(binding, Terms(), Smt(), _words(binding))


def factors(binding: Binding) -> list[Term]:
    """What the contract multiplies, one product after another."""
    kernel = products.KernelProducts()
    _kernel(binding, _words(binding), kernel)
    return [factor for each in kernel.products.found for factor in (each.x, each.y)]


def commutes(binding: Binding, one: str, other: str) -> bool:
    """Whether it is seen at once that neither side cares which of two words is which, products being free."""
    unit, kernel, words = products.UnitProducts(), products.KernelProducts(), _words(binding)
    exchanged = {**words, one: words[other], other: words[one]}
    sides = [_built(binding, unit, kernel, each) for each in (words, exchanged)]
    pairs = [zip(*(side.results[port.name] for side in sides), strict=True) for port in binding.results]
    differing = [found != turned for each in pairs for found, turned in each]
    return solvers.decide(text([*sides[0].given, *sides[1].given, z3.Or(differing)]), _QUICK).verdict == "unsat"


def shared(binding: Binding, case: Sequence[Term] = ()) -> UnitTerms | None:
    """Both sides with their products free, as `products.known` has them, in a case or everywhere.

    None where the unit's are small, or the contract has none.
    """
    unit, kernel = products.UnitProducts(), products.KernelProducts()
    built = _built(binding, unit, kernel, _words(binding))
    hard = [each for each in unit.products.found if min(map(products.most_bits, map(z3.simplify, each[:2]))) > _EASY]
    if not hard or not kernel.products.found:
        return None

    def valid(formula: Term) -> bool:
        return solvers.decide(text([*built.given, *case, z3.Not(formula)]), _QUICK).verdict == "unsat"

    def bits(term: Term) -> int:
        least, most = 0, products.most_bits(z3.simplify(term))
        while least < most and most > _NARROW:
            middle = (least + most) // 2
            fits = valid(z3.LShR(term, middle) == 0)
            least, most = (least, middle) if fits else (middle + 1, most)
        return most

    facts, same = products.known(unit.products.found, kernel.products.found, bits, valid)
    results = {name: (z3.substitute(pair[0], *same), z3.substitute(pair[1], *same))
               for name, pair in built.results.items()}  # fmt: skip
    return UnitTerms([*built.given, *case, *(z3.substitute(fact, *same) for fact in facts)], results)


def without(terms: UnitTerms, proved: Sequence[UnitPort]) -> UnitTerms:
    """The rest of the results, those that are proved being one free word on both sides."""
    results, given = dict(terms.results), terms.given
    for port in proved:
        found, expected = results.pop(port.name)
        word = z3.BitVec(f"{port.name}.proved", port.bits)
        put = (found, word), (expected, _carried(port, word).term)
        results = {name: (z3.substitute(pair[0], *put), z3.substitute(pair[1], *put)) for name, pair in results.items()}
        given = [z3.substitute(fact, *put) for fact in given]
    return UnitTerms(given, results)


def pinned(terms: UnitTerms, proved: Sequence[UnitPort], model: Mapping[str, int]) -> list[Term]:
    """That these results of the contract are what a model of `without` says."""
    words = {port: z3.BitVecVal(model.get(f"{port.name}.proved", 0), port.bits) for port in proved}
    return [terms.results[port.name][1] == _carried(port, word).term for port, word in words.items()]


def text(formulas: Sequence[Term]) -> str:
    """Formulas as one SMT-LIB file, which ends in its question."""
    solver = z3.Solver()
    solver.add(*formulas)
    return f"(set-logic QF_BV)\n{solver.to_smt2()}"


def fp16_inputs(binding: Binding) -> list[Any]:
    """The FP16 words among the inputs, as terms."""
    return [z3.BitVec(port.name, port.bits) for port in binding.contract.inputs if port.encoding.kind is Kind.FP16]
