"""Kernels as z3 terms: a word is a bit-vector, a bool a formula. Needs z3 (the `proofs` extra)."""

from __future__ import annotations

from typing import Any

import numpy as np
import z3

from bitrow.lower.target import Word

Term = Any  # z3 has no types


def word(name: str, dtype: Any) -> Word[Term]:
    """A free word of an integer or floating-point dtype."""
    found = np.dtype(dtype)
    return Word(z3.BitVec(name, found.itemsize * 8), found)


def _pick(condition: Term, yes: Word[Term], no: Word[Term]) -> Term:
    return z3.If(condition, yes.term, no.term)


class Smt:
    """The target of `walk.lower` whose terms are z3's."""

    def literal(self, value: int, dtype: np.dtype[Any]) -> Term:
        return z3.BoolVal(bool(value)) if dtype.kind == "b" else z3.BitVecVal(value, dtype.itemsize * 8)

    def add(self, a: Word[Term], b: Word[Term]) -> Term:
        return a.term + b.term

    def sub(self, a: Word[Term], b: Word[Term]) -> Term:
        return a.term - b.term

    def mul(self, a: Word[Term], b: Word[Term]) -> Term:
        return a.term * b.term

    def div(self, a: Word[Term], b: Word[Term]) -> Term:
        if not a.signed:
            return z3.UDiv(a.term, b.term)
        return z3.If(b.term == 0, z3.BitVecVal(-1, a.bits), a.term / b.term)  # z3's x / 0 is 1 where x < 0

    def rem(self, a: Word[Term], b: Word[Term]) -> Term:
        return (z3.SRem if a.signed else z3.URem)(a.term, b.term)

    def neg(self, a: Word[Term]) -> Term:
        return -a.term

    def abs(self, a: Word[Term]) -> Term:
        return z3.If(a.term < 0, -a.term, a.term) if a.signed else a.term

    def max(self, a: Word[Term], b: Word[Term]) -> Term:
        return _pick(self.gt(a, b), a, b)

    def min(self, a: Word[Term], b: Word[Term]) -> Term:
        return _pick(self.lt(a, b), a, b)

    def clamp(self, low: Word[Term], a: Word[Term], high: Word[Term]) -> Term:
        return self.min(Word(self.max(low, a), a.dtype), high)

    def and_(self, a: Word[Term], b: Word[Term]) -> Term:
        return z3.And(a.term, b.term) if a.boolean else a.term & b.term

    def or_(self, a: Word[Term], b: Word[Term]) -> Term:
        return z3.Or(a.term, b.term) if a.boolean else a.term | b.term

    def xor(self, a: Word[Term], b: Word[Term]) -> Term:
        return z3.Xor(a.term, b.term) if a.boolean else a.term ^ b.term

    def not_(self, a: Word[Term]) -> Term:
        return z3.Not(a.term) if a.boolean else ~a.term

    def shift_left(self, a: Word[Term], amount: Word[Term]) -> Term:
        return a.term << amount.term

    def shift_right_logical(self, a: Word[Term], amount: Word[Term]) -> Term:
        return z3.LShR(a.term, amount.term)

    def shift_right_arithmetic(self, a: Word[Term], amount: Word[Term]) -> Term:
        return a.term >> amount.term

    def clz(self, a: Word[Term]) -> Term:
        found = z3.BitVecVal(a.bits, a.bits)
        for place in range(a.bits):
            found = z3.If(z3.Extract(place, place, a.term) == 1, z3.BitVecVal(a.bits - 1 - place, a.bits), found)
        return found

    def population_count(self, a: Word[Term]) -> Term:
        return z3.Sum([z3.ZeroExt(a.bits - 1, z3.Extract(place, place, a.term)) for place in range(a.bits)])

    def eq(self, a: Word[Term], b: Word[Term]) -> Term:
        return a.term == b.term

    def ne(self, a: Word[Term], b: Word[Term]) -> Term:
        return a.term != b.term

    def lt(self, a: Word[Term], b: Word[Term]) -> Term:
        return a.term < b.term if a.signed else z3.ULT(a.term, b.term)

    def le(self, a: Word[Term], b: Word[Term]) -> Term:
        return a.term <= b.term if a.signed else z3.ULE(a.term, b.term)

    def gt(self, a: Word[Term], b: Word[Term]) -> Term:
        return self.lt(b, a)

    def ge(self, a: Word[Term], b: Word[Term]) -> Term:
        return self.le(b, a)

    def select_n(self, which: Word[Term], *cases: Word[Term]) -> Term:
        """Past either end `which` takes the case there, as JAX compiles it."""
        if which.boolean:
            return _pick(which.term, cases[1], cases[0])
        found = cases[-1].term
        for place in reversed(range(len(cases) - 1)):
            found = z3.If(which.term <= place, cases[place].term, found)
        return found

    def convert_element_type(self, a: Word[Term], dtype: np.dtype[Any]) -> Term:
        width = dtype.itemsize * 8
        if dtype.kind == "b":
            return a.term if a.boolean else a.term != 0
        if a.boolean:
            return z3.If(a.term, z3.BitVecVal(1, width), z3.BitVecVal(0, width))
        if width <= a.bits:
            return z3.Extract(width - 1, 0, a.term)
        return (z3.SignExt if a.signed else z3.ZeroExt)(width - a.bits, a.term)

    def bitcast_convert_type(self, a: Word[Term], dtype: np.dtype[Any]) -> Term:
        return a.term
