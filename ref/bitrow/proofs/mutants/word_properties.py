"""Properties of floating-point words: the FP16 units and lines of FP32 (SPEC.md F).

Expected words come from Fractions and the sorted list of all FP16 numbers, or from numpy's float16 and float32.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from bitrow.contract.operation import Operation
from bitrow.contract.program import Program
from bitrow.contract.units import UNITS
from bitrow.formats import FP32, FloatMode, Overflow, Rounding
from bitrow.oracle import fp16, fp32
from bitrow.oracle.reduce import Arithmetic
from bitrow.proofs.mutants.runs import Call, Domain, Element, over, runs_of
from bitrow.vectors.stimulus import stream as stimulus
from bitrow.vectors.stimulus.stream import SPECIAL_WORDS, Stream

NAN, INFINITY, LARGEST, MINUS = 0x7E00, 0x7C00, 0x7BFF, 0x8000
MODES = tuple(FloatMode(*mode) for mode in itertools.product(Rounding, Overflow, (False, True)))
_DEFAULT = FloatMode()
_DRAWN = 20

# operands at the corners that random ones miss: zeros, ties, both ends of the range, a result that rounding lifts
_PAIRS = (
    (0x3C00, 0x1000), (0x3C01, 0x1000), (0xBC00, 0x9000), (0x3C01, 0x3E00), (0x7BFF, 0x7BFF), (0xFBFF, 0x7800),
    (0x7BFF, 0x3C01), (0x3C00, 0xBC00), (0x0000, 0x8000), (0x8000, 0x8000), (0x3BFF, 0x0400), (0xBBFF, 0x0400),
    (0x0001, 0x4000), (0x0003, 0x4000), (0x0001, 0x3C00), (0x83FF, 0x3C01), (0x3C00, 0x8001), (0xBC00, 0x0001),
    (0x7800, 0x3BFF), (0x0401, 0x8400), (0x7BFF, 0x4B00), (0xFBFF, 0xCB00), (0x7BFF, 0x3C00),
    (0x3C00, 0x1001), (0x3C00, 0x9001),
)  # fmt: skip


@functools.cache
def _numbers() -> tuple[Fraction, ...]:
    """Every finite non-negative FP16 number in order, and 2^16, where a further exponent would go on."""
    words = np.arange(INFINITY, dtype=np.uint16).view(np.float16)
    return (*(Fraction(float(value)) for value in words), Fraction(1 << 16))


def value(word: int, flush: bool = False) -> Fraction:
    """The number of a finite word; with `flush`, 0 for a subnormal one."""
    magnitude = word & 0x7FFF
    number = Fraction(0) if flush and magnitude < 0x400 else _numbers()[magnitude]
    return -number if word & MINUS else number


def rounded(exact: Fraction, mode: FloatMode = _DEFAULT, zero: int = 0) -> int:
    """The word of an exact result: one of its two neighbours, as F3, F5 and F6 say; `zero` where it is 0."""
    if not exact:
        return zero
    sign, size, numbers = (MINUS if exact < 0 else 0), abs(exact), _numbers()
    above = min(bisect.bisect_left(numbers, size), len(numbers) - 1)
    below = above if numbers[above] <= size else above - 1
    outward = (mode.rounding is Rounding.UP and not sign) or (mode.rounding is Rounding.DOWN and sign > 0)
    nearest = mode.rounding in (Rounding.NEAREST_EVEN, Rounding.NEAREST_AWAY)
    if nearest and above != below:
        middle = (numbers[above] + numbers[below]) / 2
        tie_up = mode.rounding is Rounding.NEAREST_AWAY or below % 2 == 1
        outward = size > middle or (size == middle and tie_up)
    place = above if outward else below
    if place > LARGEST:
        place = INFINITY if mode.overflow is Overflow.INFINITY and (nearest or outward) else LARGEST
    return sign | (0 if mode.flush and place < 0x400 else place)


def _sum_zero(first: int, second: int, mode: FloatMode) -> int:
    """The zero of an exact zero sum of operands of these signs."""
    if (first ^ second) & MINUS:
        return MINUS if mode.rounding is Rounding.DOWN else 0
    return first & MINUS


def _root(word: int, mode: FloatMode) -> Fraction:
    """A Fraction that rounds as the square root does: the root to 100 places, and a last one if it goes on."""
    scaled = value(word, mode.flush) * (1 << 200)
    root = math.isqrt(int(scaled))
    return Fraction(2 * root + (Fraction(root * root) != scaled), 1 << 101)


def _unit(name: str, operands: tuple[int, ...], expected: int, mode: FloatMode = _DEFAULT) -> Element:
    return Element(UNITS[name], mode, operands, {"y": expected})


def _finite(mode: FloatMode, pairs: list[tuple[int, int]], triples: list[tuple[int, ...]]) -> Iterator[Element]:
    read = functools.partial(value, flush=mode.flush)
    for a, b in pairs:
        sign = (a ^ b) & MINUS
        yield _unit("add", (a, b), rounded(read(a) + read(b), mode, _sum_zero(a, b, mode)), mode)
        yield _unit("sub", (a, b), rounded(read(a) - read(b), mode, _sum_zero(a, b ^ MINUS, mode)), mode)
        yield _unit("mul", (a, b), rounded(read(a) * read(b), mode, sign), mode)
        if read(b):
            yield _unit("div", (a, b), rounded(read(a) / read(b), mode, sign), mode)
        if not a & MINUS:
            yield _unit("sqrt", (a,), rounded(_root(a, mode), mode), mode)
    for a, b, c in triples:
        product = read(a) * read(b)
        zero = _sum_zero(a ^ b, c, mode)
        yield _unit("fma", (a, b, c), rounded(product + read(c), mode, zero), mode)


@functools.cache
def _finite_domain() -> Domain:
    elements: list[Element] = []
    for place, mode in enumerate(MODES):
        stream = Stream("property", "finite", place)
        drawn = zip(*(words.tolist() for words in stimulus.pairs(stream, _DRAWN)), strict=True)
        pairs = [*_PAIRS, *drawn]
        pairs = [pair for pair in pairs if all(word & 0x7FFF < INFINITY for word in pair)]
        words = stimulus.triples(stream, 3 * _DRAWN)
        triples = [triple for triple in zip(*(w.tolist() for w in words), strict=True)]  # noqa: C416 tuples
        triples = [t for t in triples if all(word & 0x7FFF < INFINITY for word in t)]
        elements += _finite(mode, pairs, [*triples, (0x3BFF, 0x0400, 0), (0x3C01, 0x3C01, 0xBC02)])
    return Domain(runs_of(elements), [])


def _canonical(words: np.ndarray) -> list[int]:
    """Words of an array, every NaN the canonical one of its width."""
    if words.dtype == np.float16:
        return np.where(np.isnan(words), np.uint16(NAN), words.view(np.uint16)).tolist()
    return np.where(np.isnan(words), np.uint32(0x7FC00000), words.view(np.uint32)).tolist()


_NUMPY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


@functools.cache
def _special_domain() -> Domain:
    """Pairs of special words in the default mode by numpy; those with an infinite result of no overflow in every
    overflow setting."""
    elements: list[Element] = []
    first, second = (words.view(np.float16) for words in stimulus.special_pairs())
    thin = slice(None, None, 3)
    for name, function in _NUMPY.items():
        with np.errstate(all="ignore"):
            expected = _canonical(function(first, second))
        triples = zip(first.view(np.uint16).tolist(), second.view(np.uint16).tolist(), expected, strict=True)
        elements += [_unit(name, (a, b), word) for a, b, word in list(triples)[thin]]
    with np.errstate(all="ignore"):
        roots = _canonical(np.sqrt(SPECIAL_WORDS.view(np.float16)))
    elements += [_unit("sqrt", (a,), word) for a, word in zip(SPECIAL_WORDS.tolist(), roots, strict=True)]
    for mode in MODES:
        for a, sign in itertools.product((0x3C00, 0xC500), (0, MINUS)):
            elements.append(_unit("mul", (a, INFINITY | sign), INFINITY | ((a ^ sign) & MINUS), mode))
            elements.append(_unit("add", (a, INFINITY | sign), INFINITY | sign, mode))
            elements.append(_unit("div", (a, sign), INFINITY | ((a ^ sign) & MINUS), mode))
    words = SPECIAL_WORDS.tolist()
    return Domain(
        runs_of(elements), [(fp16.canonical, (word,), NAN if word & 0x7FFF > INFINITY else word) for word in words]
    )


def _fp32_line(op: str, *operands: str) -> Operation:
    """An operation of one FP32 line, as those of batch norm and of the head are."""
    lines = [*(f"in {name} : 32, element" for name in operands), f"out y : 32, element = {op} {' '.join(operands)}"]
    return Operation(f"fp32.{op}", Program("F9", "\n".join(lines)), FloatMode, lambda mode: ("F9",))


@functools.cache
def _fp32_domain() -> Domain:
    stream, arithmetic = Stream("property", "fp32"), Arithmetic(FP32)
    a, b = stimulus.float32s(stream, 240), stimulus.float32s(stream, 240)
    a[:4], b[:4] = (0x00400001, 0x00000001, 0x80000003, 0x3F800000), (0x3F000000, 0x3F800000, 0x3F800000, 0x00800000)
    elements: list[Element] = []
    calls: list[Call] = []
    for name, function in _NUMPY.items():
        with np.errstate(all="ignore"):
            expected = _canonical(function(a.view(np.float32), b.view(np.float32)))
        line = _fp32_line(name, "a", "b")
        for x, y, word in zip(a.tolist(), b.tolist(), expected, strict=True):
            elements.append(Element(line, _DEFAULT, (x, y), {"y": word}))
            calls.append((getattr(fp32, name), (x, y), word))
            if name == "add":  # trees and running sums
                calls.append((arithmetic.add, (x, y), word))
    with np.errstate(all="ignore"):
        roots = _canonical(np.sqrt(a.view(np.float32)))
    line = _fp32_line("sqrt", "a")
    elements += [Element(line, _DEFAULT, (x,), {"y": word}) for x, word in zip(a.tolist(), roots, strict=True)]
    calls += [(fp32.sqrt, (x,), word) for x, word in zip(a.tolist(), roots, strict=True)]
    return Domain(runs_of(elements), calls)


@functools.cache
def _conversion_domain() -> Domain:
    stream = Stream("property", "conversions")
    elements: list[Element] = []
    integers = stimulus.int32s(stream, 160).tolist()
    singles = stimulus.float32s(stream, 160)
    numbers = [Fraction(float(x)) if np.isfinite(x) else None for x in singles.view(np.float32)]
    for mode in MODES:
        elements += [_unit("from_int32", (i,), rounded(Fraction(i), mode), mode) for i in integers]
        for word, exact in zip(singles.tolist(), numbers, strict=True):
            if exact is not None:
                elements.append(_unit("from_float32", (word,), rounded(exact, mode, word >> 16 & MINUS), mode))
    words = np.concatenate([SPECIAL_WORDS, stream.words(16, 64)])
    wide = _canonical(words.view(np.float16).astype(np.float32))
    pairs = list(zip(words.tolist(), wide, strict=True))
    elements += [_unit("to_float32", (word,), expected) for word, expected in pairs]
    return Domain(runs_of(elements), [(fp16.to_float32, (word,), expected) for word, expected in pairs])  # trees


WORD_PROPERTIES = (
    over(
        "finite_results_rounded_once", "units of finite operands give the exact result, rounded once, in all modes",
        "F2", _finite_domain,
    ),
    over(
        "special_words_as_numpy_float16", "units of zeros, infinities, NaN and subnormals equal numpy's float16", "F4",
        _special_domain,
    ),
    over("fp32_as_numpy_float32", "FP32 operations equal numpy's float32", "F9", _fp32_domain),
    over("conversions_rounded_once", "conversions round the exact value once, in all modes", "F10",
              _conversion_domain),
)  # fmt: skip
