"""The rounding function, and the operations whose rounding it is, against z3's floating-point theory.

`round_pack` is the only place of the kernels that rounds (SPEC.md F2): what is proved of it here, for every
exponent and significand in every mode, holds wherever it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import z3

from bitrow.formats import FP16, Float, FloatMode
from bitrow.lower.smt import Smt, word
from bitrow.lower.target import Word
from bitrow.lower.walk import lower
from bitrow.ops import softfloat
from bitrow.oracle import softfloat as oracle
from bitrow.proofs.claim import Counterexample
from bitrow.proofs.solver import explain, ieee
from bitrow.proofs.solver.query import Query, QueryWords, computed

WIDE = 62  # bits of the exact significands whose tail a sticky bit stands for


def _sign_bit(sign: Word) -> Any:
    return z3.Extract(0, 0, sign.term)


def _explained(fmt: Float, mode: FloatMode, lead: int) -> Callable[[QueryWords], Counterexample]:
    """Decode (sign, exponent, significand) with the significand's leading one at bit `lead`."""

    def tell(words: QueryWords) -> Counterexample:
        sign, exponent, significand = words["sign"], words["exponent"], words["significand"]
        below = lead - softfloat.ROUND
        short = significand >> below | (significand & ((1 << below) - 1) != 0)
        given = np.uint32(sign), np.int32(exponent), np.uint32(short)
        found = computed(softfloat.round_pack, *given, fmt, mode)
        operands = (
            explain.integer("sign", sign, 1),
            explain.integer("exponent", exponent),
            ("significand", f"0x{significand:x}", f"{significand} * 2^{exponent - lead}"),
        )
        expected = oracle.round_to(fmt, sign, significand, exponent - lead, mode)
        return explain.confirmed(operands, found, expected, fmt)

    return tell


def round_pack(fmt: Float, mode: FloatMode) -> Query:
    """`softfloat.round_pack` of every sign, exponent and significand it is defined for (SPEC.md F2, F3, F5, F6)."""
    sign, exponent, significand = word("sign", np.uint32), word("exponent", np.int32), word("significand", np.uint32)
    found = lower(softfloat.round_pack, Smt(), sign, exponent, significand, fmt, mode)
    lead = z3.Extract(31, softfloat.ROUND, significand.term) == 1
    value = ieee.exact(_sign_bit(sign), significand.term, z3.SignExt(4, exponent.term) - softfloat.ROUND)
    return Query(
        words={"significand": significand, "sign": sign, "exponent": exponent},
        given=[z3.ULE(sign.term, 1), z3.Or(lead, significand.term == 0)],
        violation=found.term != ieee.rounded(value, fmt, mode),
        points=2 * 2**32 * (2**softfloat.ROUND + 1),
        explain=_explained(fmt, mode, softfloat.ROUND),
    )


def sticky(mode: FloatMode) -> Query:
    """One sticky bit is enough: an exact significand of 62 bits rounds as its top 31, the last or-ed with the rest."""
    sign, exponent = word("sign", np.uint32), word("exponent", np.int32)
    exact = Word(z3.ZeroExt(2, z3.BitVec("significand", WIDE)), np.dtype(np.uint64))
    below = WIDE - 1 - softfloat.ROUND
    top = z3.Extract(WIDE - 1, below, exact.term)
    rest = z3.If(z3.Extract(below - 1, 0, exact.term) != 0, z3.BitVecVal(1, 32), z3.BitVecVal(0, 32))
    short = Word(z3.ZeroExt(1, top) | rest, np.dtype(np.uint32))
    found = lower(softfloat.round_pack, Smt(), sign, exponent, short, FP16, mode)
    value = ieee.exact(_sign_bit(sign), exact.term, z3.SignExt(4, exponent.term) - (WIDE - 1))
    return Query(
        words={"significand": exact, "sign": sign, "exponent": exponent},
        given=[z3.ULE(sign.term, 1), z3.Extract(WIDE - 1, WIDE - 1, exact.term) == 1],
        violation=found.term != ieee.rounded(value, FP16, mode),
        points=2 * 2**32 * 2 ** (WIDE - 1),
        explain=_explained(FP16, mode, WIDE - 1),
    )


def shift() -> Query:
    """`shift_right_sticky` is the floor of value / 2^amount, its lowest bit set where the division leaves a rest."""
    value, amount = word("value", np.uint32), word("amount", np.uint32)
    found = lower(softfloat.shift_right_sticky, Smt(), value, amount)
    # By the definition: a wide value moved left first, so that the rest is there to be seen.
    near = z3.If(z3.UGT(amount.term, 63), z3.BitVecVal(63, 96), z3.ZeroExt(64, amount.term))
    moved = z3.LShR(z3.Concat(value.term, z3.BitVecVal(0, 64)), near)
    lost = z3.If(z3.Extract(63, 0, moved) != 0, z3.BitVecVal(1, 32), z3.BitVecVal(0, 32))

    def tell(words: QueryWords) -> Counterexample:
        result = computed(softfloat.shift_right_sticky, np.uint32(words["value"]), np.uint32(words["amount"]))
        whole, rest = divmod(words["value"], 1 << min(words["amount"], 64))
        operands = (explain.integer("value", words["value"]), explain.integer("amount", words["amount"]))
        return Counterexample(operands, hex(result), hex(whole | (rest != 0)), "integer division")

    return Query(
        words={"value": value, "amount": amount},
        given=[],
        violation=found.term != (z3.Extract(95, 64, moved) | lost),
        points=2**64,
        explain=tell,
    )


def convert(source: Float, target: Float, mode: FloatMode) -> Query:
    """`softfloat.convert` of every word (SPEC.md F10)."""
    given = word("word", np.uint32)
    found = lower(softfloat.convert, Smt(), given, source, target, mode)
    flush = mode.flush and source == FP16
    value = ieee.number(given.term, source, flush)

    def tell(words: QueryWords) -> Counterexample:
        result = computed(softfloat.convert, np.uint32(words["word"]), source, target, mode)
        expected = oracle.round_number(target, oracle.unpack(source, words["word"], flush), mode)
        return explain.confirmed((explain.operand("word", words["word"], source),), result, expected, target)

    return Query(
        words={"word": given},
        given=[z3.ULE(given.term, z3.BitVecVal((1 << source.bits) - 1, 32))],
        violation=found.term != ieee.rounded(value, target, mode),
        points=1 << source.bits,
        explain=tell,
    )


def from_int32(mode: FloatMode) -> Query:
    """`softfloat.from_int32` of every integer (SPEC.md F10)."""
    value = word("value", np.int32)
    found = lower(softfloat.from_int32, Smt(), value, FP16, mode)
    sign = z3.Extract(31, 31, value.term)
    magnitude = z3.If(sign == 1, -value.term, value.term)

    def tell(words: QueryWords) -> Counterexample:
        result = computed(softfloat.from_int32, np.int32(words["value"]), FP16, mode)
        expected = oracle.round_number(FP16, oracle.integer(words["value"]), mode)
        return explain.confirmed((explain.integer("value", words["value"]),), result, expected)

    return Query(
        words={"value": value},
        given=[],
        violation=found.term != ieee.rounded(ieee.exact(sign, magnitude, z3.BitVecVal(0, 36)), FP16, mode),
        points=2**32,
        explain=tell,
    )
