"""FP16 products and the two dequantizers (SPEC.md F2, D1, D2), and where the two agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import z3
from jax import Array

from bitrow.exactness import FP16_INTEGERS, FP16_MAX
from bitrow.formats import FP16, Dequantize, FloatMode
from bitrow.lower.smt import Smt, word
from bitrow.lower.target import Word
from bitrow.lower.walk import lower
from bitrow.ops import softfloat
from bitrow.oracle import softfloat as oracle
from bitrow.proofs import scalar
from bitrow.proofs.claim import Counterexample, Outcome
from bitrow.proofs.solver import explain, ieee
from bitrow.proofs.solver.products import HALF_BITS, PRODUCT_BITS, Products, half_ranges, product_range, widened
from bitrow.proofs.solver.query import Query, QueryWords, answer, computed

NORMAL_SCALES = 30 << FP16.fraction_bits  # D3's: positive and normal


def _significand(unpacked: Any) -> Any:
    """The 11 bits of an unpacked FP16 significand; the 13 below are zeros."""
    return z3.Extract(softfloat.LEADING, softfloat.LEADING - FP16.fraction_bits, unpacked.significand.term)


def mul(mode: FloatMode) -> Query:
    """`softfloat.mul` of every pair of FP16 words is IEEE's rounding of the exact product."""
    a, b = word("a", np.uint32), word("b", np.uint32)
    x, y = (lower(softfloat.unpack, Smt(), value, FP16, mode.flush) for value in (a, b))
    m, f = _significand(x), _significand(y)
    product = z3.BitVec("significand_product", PRODUCT_BITS)
    parts = Products([(widened(m, 32, 1), widened(f, 32, 1), widened(product, 32, 2))])
    found = lower(softfloat.mul, parts, a, b, FP16, mode)
    first, second = (ieee.number(value.term, FP16, mode.flush) for value in (a, b))
    sign = z3.Extract(15, 15, a.term ^ b.term)
    # The significands have their leading ones at bit 10 of 11 bits: 2^(exponent - 10) is the unit.
    exponent = z3.SignExt(4, x.exponent.term) + z3.SignExt(4, y.exponent.term) - 2 * FP16.fraction_bits
    value = _special_product(first, second, ieee.exact(sign, product, exponent))

    def tell(words: QueryWords) -> Counterexample:
        result = computed(softfloat.mul, np.uint32(words["a"]), np.uint32(words["b"]), FP16, mode)
        numbers = [oracle.unpack(FP16, words[name], mode.flush) for name in ("a", "b")]
        operands = tuple(explain.operand(name, words[name]) for name in ("a", "b"))
        return explain.confirmed(operands, result, oracle.mul(FP16, numbers[0], numbers[1], mode))

    return Query(
        words={"a": a, "b": b},
        given=[z3.ULE(a.term, 0xFFFF), z3.ULE(b.term, 0xFFFF), *product_range(product, m, f), *parts.known],
        violation=found.term != ieee.rounded(value, FP16, mode),
        points=2**32,
        explain=tell,
    )


def _special_product(first: Any, second: Any, finite: Any) -> Any:
    """The exact product with IEEE's rules for NaN, infinities and zeros put before it."""
    wide = finite.sort()
    undefined = z3.Or(
        z3.fpIsNaN(first),
        z3.fpIsNaN(second),
        z3.And(z3.fpIsInf(first), z3.fpIsZero(second)),
        z3.And(z3.fpIsZero(first), z3.fpIsInf(second)),
    )
    negative = z3.Xor(z3.fpIsNegative(first), z3.fpIsNegative(second))
    infinite = z3.If(negative, z3.fpMinusInfinity(wide), z3.fpPlusInfinity(wide))
    some_infinite = z3.Or(z3.fpIsInf(first), z3.fpIsInf(second))
    return z3.If(undefined, z3.fpNaN(wide), z3.If(some_infinite, infinite, finite))


def _scale_is_normal(scale: Word) -> list[Any]:
    """D3: a positive normal FP16 number."""
    return [z3.UGE(scale.term, 1 << FP16.fraction_bits), z3.ULT(scale.term, FP16.infinity_bits)]


def _operands() -> tuple[Word, Word]:
    return word("acc", np.int32), word("scale", np.uint32)


def _normalised(acc: Word) -> tuple[Any, Any, Any]:
    """Sign, magnitude moved up until its leading one is at bit 31, and by how much."""
    sign = z3.Extract(31, 31, acc.term)
    magnitude = z3.If(sign == 1, -acc.term, acc.term)
    zeros = z3.BitVecVal(0, 32)
    for place in range(32):
        zeros = z3.If(z3.Extract(place, place, magnitude) == 1, z3.BitVecVal(31 - place, 32), zeros)
    return sign, magnitude << zeros, zeros


def _operand_texts(words: QueryWords) -> tuple[explain.OperandText, ...]:
    return explain.integer("acc", words["acc"]), explain.operand("scale", words["scale"])


def fused(mode: FloatMode) -> Query:
    """`softfloat.mul_integer` of every int32 and every scale is the exact product, rounded once (SPEC.md D1)."""
    acc, scale = _operands()
    sign, moved, zeros = _normalised(acc)
    y = lower(softfloat.unpack, Smt(), scale, FP16, mode.flush)
    f = widened(_significand(y), 32)
    high, low = z3.BitVecs("high_product low_product", HALF_BITS)
    parts = Products([(z3.LShR(moved, 16), f, widened(high, 32)), (moved & 0xFFFF, f, widened(low, 32))])
    found = lower(softfloat.mul_integer, parts, acc, scale, FP16, mode)
    whole = widened(high, 43, 16) + widened(low, 43)
    exponent = z3.SignExt(4, y.exponent.term) - FP16.fraction_bits - z3.ZeroExt(4, zeros)
    value = ieee.exact(sign, whole, exponent)

    def tell(words: QueryWords) -> Counterexample:
        result = computed(softfloat.mul_integer, np.int32(words["acc"]), np.uint32(words["scale"]), FP16, mode)
        expected = scalar.dequantized(words["acc"], words["scale"], Dequantize.FUSED, mode)
        return explain.confirmed(_operand_texts(words), result, expected)

    return Query(
        words={"acc": acc, "scale": scale},
        given=[*_scale_is_normal(scale), *half_ranges(moved, high, low), *parts.known],
        violation=found.term != ieee.rounded(value, FP16, mode),
        points=2**32 * NORMAL_SCALES,
        explain=tell,
    )


def _both(acc: Array, scale: Array, mode: FloatMode) -> tuple[Array, Array]:
    acc_fp16 = softfloat.from_int32(acc, FP16, mode)
    two_step = softfloat.mul(acc_fp16, scale, FP16, mode)
    return two_step, softfloat.mul_integer(acc, scale, FP16, mode)


def _agreement(acc: Word, scale: Word, mode: FloatMode, given: list[Any], points: int, parts: Smt) -> Query:
    two_step, one_step = lower(_both, parts, acc, scale, mode)

    def tell(words: QueryWords) -> Counterexample:
        two_step, fused = (
            scalar.dequantized(words["acc"], words["scale"], method, mode)
            for method in (Dequantize.TWO_STEP, Dequantize.FUSED)
        )
        return explain.confirmed(_operand_texts(words), two_step, fused)

    return Query(
        words={"acc": acc, "scale": scale},
        given=[*_scale_is_normal(scale), *given, *(parts.known if isinstance(parts, Products) else ())],
        violation=two_step.term != one_step.term,
        points=points,
        explain=tell,
    )


def _within(acc: Word, largest: int) -> list[Any]:
    return [acc.term <= largest, acc.term >= -largest]


def agree_on_short_sums(mode: FloatMode) -> Query:
    """D1 and D2 give one word for every |acc| <= 2^11 and every scale."""
    acc, scale = _operands()
    converted = lower(softfloat.from_int32, Smt(), acc, FP16, mode)
    m, f = (_significand(lower(softfloat.unpack, Smt(), x, FP16, mode.flush)) for x in (converted, scale))
    product = z3.BitVec("significand_product", PRODUCT_BITS)
    parts = Products(
        [
            (widened(m, 32, 1), widened(f, 32, 1), widened(product, 32, 2)),  # the high limbs of mul
            (widened(m, 32, 5), widened(f, 32), widened(product, 32, 5)),  # the high half of mul_integer
        ]
    )
    given = [*_within(acc, FP16_INTEGERS), *product_range(product, m, f)]
    return _agreement(acc, scale, mode, given, (2 * FP16_INTEGERS + 1) * NORMAL_SCALES, parts)


def agree_on_powers_of_two(mode: FloatMode, largest: int = FP16_MAX) -> Query:
    """D1 and D2 give one word for every |acc| <= `largest` where the scale is a power of two."""
    acc, scale = _operands()
    power = z3.Extract(FP16.fraction_bits - 1, 0, scale.term) == 0
    return _agreement(acc, scale, mode, [*_within(acc, largest), power], (2 * largest + 1) * 30, Smt())


def disagreement(powers_of_two: bool, mode: FloatMode = FloatMode()) -> Outcome:
    """The smallest accumulator, and scale, beyond the condition on which D1 and D2 differ: it has to exist."""
    acc, scale = _operands()
    power = z3.Extract(FP16.fraction_bits - 1, 0, scale.term) == 0
    least = (FP16_MAX if powers_of_two else FP16_INTEGERS) + 1
    given = [acc.term >= least, power if powers_of_two else z3.Not(power)]
    query = _agreement(acc, scale, mode, given, (2**31 - least) * NORMAL_SCALES, Smt())
    found = answer(query).counterexample
    if found is None:
        return Outcome(query.points, Counterexample((), "one word everywhere", "two words that differ", "solver"))
    (_, _, value), (_, _, factor) = found.operands
    kind = "a power of two" if powers_of_two else "any scale"
    note = f"{kind}: from |acc| = {value}, scale {factor}: two_step {found.found}, fused {found.expected}"
    return Outcome(query.points, note=note)
