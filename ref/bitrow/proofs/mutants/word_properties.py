"""Properties of single words: the FP16 and FP32 units, quantizers, the LFSR, packing, accumulators, dequantizers.

Expected words come from Fractions and the sorted list of all FP16 numbers, or from numpy's float16 and float32.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from bitrow.formats import (
    FP32,
    FXP4,
    FXP8,
    UFXP4,
    AccOverflow,
    Accumulator,
    Dequantize,
    FloatMode,
    Fxp,
    Overflow,
    Rounding,
)
from bitrow.oracle import fp16, fp32, fxp, lfsr
from bitrow.oracle.reduce import Arithmetic
from bitrow.proofs.mutants.properties import Property
from bitrow.vectors import aim, stimulus
from bitrow.vectors.stimulus import SPECIAL_WORDS, Stream

Call = tuple[Callable[..., object], tuple, object]  # a function, its arguments, what it must return

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
)  # fmt: skip


def run(calls: list[Call]) -> str | None:
    """The first call that does not return what it must, in words."""
    for function, arguments, expected in calls:
        found = function(*arguments)
        if found != expected:
            shown = ", ".join(_shown(argument) for argument in arguments)
            return f"{function.__name__}({shown}): found {_shown(found)}, expected {_shown(expected)}"
    return None


def _shown(value: object) -> str:
    if isinstance(value, FloatMode):
        return f"{value.rounding.value} {value.overflow.value}{' flush' if value.flush else ''}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:#x}" if value >= 0 else str(value)
    return str(value)


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


def _finite(words: np.ndarray) -> list[int]:
    return [word for word in words.tolist() if word & 0x7FFF < INFINITY]


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


def _finite_calls(mode: FloatMode, pairs: list[tuple[int, int]], triples: list[tuple[int, ...]]) -> Iterator[Call]:
    read = functools.partial(value, flush=mode.flush)
    for a, b in pairs:
        sign = (a ^ b) & MINUS
        yield fp16.add, (a, b, mode), rounded(read(a) + read(b), mode, _sum_zero(a, b, mode))
        yield fp16.sub, (a, b, mode), rounded(read(a) - read(b), mode, _sum_zero(a, b ^ MINUS, mode))
        yield fp16.mul, (a, b, mode), rounded(read(a) * read(b), mode, sign)
        if read(b):
            yield fp16.div, (a, b, mode), rounded(read(a) / read(b), mode, sign)
        if not a & MINUS:
            yield fp16.sqrt, (a, mode), rounded(_root(a, mode), mode)
    for a, b, c in triples:
        product = read(a) * read(b)
        zero = _sum_zero(a ^ b, c, mode)
        yield fp16.fma, (a, b, c, mode), rounded(product + read(c), mode, zero)


@functools.cache
def _finite_domain() -> list[Call]:
    calls: list[Call] = []
    for place, mode in enumerate(MODES):
        stream = Stream("property", "finite", place)
        drawn = zip(*(words.tolist() for words in stimulus.pairs(stream, _DRAWN)), strict=True)
        pairs = [*_PAIRS, *drawn]
        pairs = [pair for pair in pairs if all(word & 0x7FFF < INFINITY for word in pair)]
        words = stimulus.triples(stream, 3 * _DRAWN)
        triples = [triple for triple in zip(*(w.tolist() for w in words), strict=True)]  # noqa: C416 tuples
        triples = [t for t in triples if all(word & 0x7FFF < INFINITY for word in t)]
        calls += _finite_calls(mode, pairs, [*triples, (0x3BFF, 0x0400, 0), (0x3C01, 0x3C01, 0xBC02)])
    return calls


def _canonical(words: np.ndarray) -> list[int]:
    """Words of an array, every NaN the canonical one of its width."""
    if words.dtype == np.float16:
        return np.where(np.isnan(words), np.uint16(NAN), words.view(np.uint16)).tolist()
    return np.where(np.isnan(words), np.uint32(0x7FC00000), words.view(np.uint32)).tolist()


_NUMPY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


@functools.cache
def _special_domain() -> list[Call]:
    """Pairs of special words in the default mode by numpy; those with an infinite result of no overflow in every
    overflow setting."""
    calls: list[Call] = []
    first, second = (words.view(np.float16) for words in stimulus.special_pairs())
    thin = slice(None, None, 3)
    for name, function in _NUMPY.items():
        with np.errstate(all="ignore"):
            expected = _canonical(function(first, second))
        triples = zip(first.view(np.uint16).tolist(), second.view(np.uint16).tolist(), expected, strict=True)
        unit = getattr(fp16, name)
        calls += [(unit, (a, b), word) for a, b, word in list(triples)[thin]]
    with np.errstate(all="ignore"):
        roots = _canonical(np.sqrt(SPECIAL_WORDS.view(np.float16)))
    calls += [(fp16.sqrt, (a,), word) for a, word in zip(SPECIAL_WORDS.tolist(), roots, strict=True)]
    for mode in MODES:
        for a, sign in itertools.product((0x3C00, 0xC500), (0, MINUS)):
            calls.append((fp16.mul, (a, INFINITY | sign, mode), INFINITY | ((a ^ sign) & MINUS)))
            calls.append((fp16.add, (a, INFINITY | sign, mode), INFINITY | sign))
            calls.append((fp16.div, (a, sign, mode), INFINITY | ((a ^ sign) & MINUS)))
    calls += [(fp16.canonical, (word,), NAN if word & 0x7FFF > INFINITY else word) for word in SPECIAL_WORDS.tolist()]
    return calls


@functools.cache
def _fp32_domain() -> list[Call]:
    stream, arithmetic = Stream("property", "fp32"), Arithmetic(FP32)
    a, b = stimulus.float32s(stream, 240), stimulus.float32s(stream, 240)
    a[:4], b[:4] = (0x00400001, 0x00000001, 0x80000003, 0x3F800000), (0x3F000000, 0x3F800000, 0x3F800000, 0x00800000)
    calls: list[Call] = []
    for name, function in _NUMPY.items():
        with np.errstate(all="ignore"):
            expected = _canonical(function(a.view(np.float32), b.view(np.float32)))
        for x, y, word in zip(a.tolist(), b.tolist(), expected, strict=True):
            calls.append((getattr(fp32, name), (x, y), word))
            calls.append((getattr(arithmetic, name), (x, y), word))
    with np.errstate(all="ignore"):
        roots = _canonical(np.sqrt(a.view(np.float32)))
    calls += [(fp32.sqrt, (x,), word) for x, word in zip(a.tolist(), roots, strict=True)]
    return calls


@functools.cache
def _conversion_domain() -> list[Call]:
    stream = Stream("property", "conversions")
    calls: list[Call] = []
    integers = stimulus.int32s(stream, 160).tolist()
    singles = stimulus.float32s(stream, 160)
    numbers = [Fraction(float(x)) if np.isfinite(x) else None for x in singles.view(np.float32)]
    for mode in MODES:
        calls += [(fp16.from_int32, (i, mode), rounded(Fraction(i), mode)) for i in integers]
        for word, exact in zip(singles.tolist(), numbers, strict=True):
            if exact is not None:
                calls.append((fp16.from_float32, (word, mode), rounded(exact, mode, word >> 16 & MINUS)))
    words = np.concatenate([SPECIAL_WORDS, stream.words(16, 64)])
    wide = _canonical(words.view(np.float16).astype(np.float32))
    calls += [(fp16.to_float32, (word,), expected) for word, expected in zip(words.tolist(), wide, strict=True)]
    return calls


_FORMATS = (FXP4, Fxp(4, narrow=True), UFXP4, Fxp(2), FXP8)
_INVERSES = (0x3C00, 0x4400, 0x449F, 0x2E3D)  # 1, 4, and two that are no powers of two


def _t(word: int, inverse: int) -> int | None:
    """t of Q1 where word and t are finite, else None."""
    if word & 0x7FFF >= INFINITY:
        return None
    t = rounded(value(word) * value(inverse), zero=(word ^ inverse) & MINUS)
    return None if t & 0x7FFF >= INFINITY else t


def _ranges(fmt: Fxp) -> tuple[int, int]:
    top = 2 ** (fmt.bits - fmt.signed)
    return (-top + fmt.narrow if fmt.signed else 0), top - 1


def _quantizer_words(inverse: int, fmt: Fxp) -> list[int]:
    edges = stimulus.quantizer_words(inverse, fmt).tolist()
    return edges[:: -(-len(edges) // 160)] + Stream("property", inverse).words(16, 20).tolist()


@functools.cache
def _quantizer_domain() -> list[Call]:
    calls: list[Call] = []
    for fmt, inverse in itertools.product(_FORMATS, _INVERSES):
        low, high = _ranges(fmt)
        for word in _quantizer_words(inverse, fmt):
            t = _t(word, inverse)
            if t is None:
                infinite = word & 0x7FFF <= INFINITY
                t = INFINITY | word & MINUS if infinite else NAN
                code = (low if word & MINUS else high) if infinite else 0
                calls.append((fxp.quantize, (word, inverse, fmt), (t, code, 0)))
                continue
            nearest = round(value(t))
            expected = (t, max(low, min(nearest, high)), low <= nearest <= high)
            calls.append((fxp.quantize, (word, inverse, fmt), expected))
    # words whose exact product lies on the other side of a tie than t
    for word in range(0x3000, 0x4C00, 7):
        t, exact = _t(word, 0x449F), value(word) * value(0x449F)
        if t is not None and round(value(t)) != round(exact):
            code = round(value(t))
            calls.append((fxp.quantize, (word, 0x449F, FXP8), (t, min(code, 127), code <= 127)))
    return calls


@functools.cache
def _stochastic_domain() -> list[Call]:
    calls: list[Call] = []
    stream = Stream("property", "stochastic")
    for fmt, inverse in itertools.product(_FORMATS, _INVERSES):
        low, high = _ranges(fmt)
        for word in _quantizer_words(inverse, fmt):
            t = _t(word, inverse)
            if t is None:
                continue
            left = -value(t) * 65536 % 65536
            carry = int(left) if left.denominator == 1 else 0
            for noise in (*stream.words(16, 2).tolist(), carry, carry - 1):
                if noise < 1:
                    continue
                code = math.floor(value(t) + Fraction(noise, 1 << 16))
                expected = (t, max(low, min(code, high)), low <= round(value(t)) <= high)
                calls.append((fxp.quantize_stochastic, (word, inverse, noise, fmt), expected))
    return calls


@functools.cache
def lfsr_sequence(seed: int, count: int) -> list[int]:
    """Words of x^16 + x^14 + x^13 + x^11 + 1 from a seed, bit by bit."""
    bits = [(seed >> place) & 1 for place in range(16)]
    found = []
    for _ in range(count):
        out = bits.pop(0)
        bits.append(out)
        for tap in (10, 12, 13):
            bits[tap] ^= out
        found.append(sum(bit << place for place, bit in enumerate(bits)))
    return found


@functools.cache
def _lfsr_domain() -> list[Call]:
    expected = lfsr_sequence(0xACE1, 65535)
    assert expected[-1] == 0xACE1 and len(set(expected)) == 65535
    return [
        (lfsr.words, (0xACE1, start, 8), [expected[(start + i) % 65535] for i in range(8)])
        for start in (0, 1, 2, 1000, 65530, 65535, 200_003)
    ]


@functools.cache
def _packing_domain() -> list[Call]:
    calls: list[Call] = []
    for fmt, length in itertools.product((*_FORMATS, Fxp(3)), (1, 2, 5, 8)):
        low, high = _ranges(fmt)
        codes = Stream("property", fmt.bits, fmt.signed, length).between(low, high, (length,)).tolist()
        codes[-1] = low
        if fmt.bits > 4:
            packed = [code % 256 for code in codes]
        else:
            digits = [f"{code % 16:x}" for code in codes] + ["0"] * (length % 2)
            packed = [int(second + first, 16) for first, second in zip(digits[::2], digits[1::2], strict=True)]
        calls += [(fxp.pack, (codes, fmt), packed), (fxp.unpack, (packed, fmt, length), codes)]
    return calls


def registers(products: list[int], register: Accumulator) -> list[int]:
    """A register's values after each product, as its bits."""
    low, high = -(2 ** (register.bits - 1)), 2 ** (register.bits - 1) - 1
    values, total = [], 0
    for product in products:
        total += product
        if register.overflow is AccOverflow.SATURATE:
            total = min(high, max(low, total))
        else:
            pattern = total & (2**register.bits - 1)
            total = pattern - 2**register.bits if pattern >> (register.bits - 1) else pattern
        values.append(total)
    return values


@functools.cache
def _accumulator_domain() -> list[Call]:
    calls: list[Call] = []
    for bits, seed in itertools.product((8, 9, 12), range(6)):
        stream = Stream("property", "acc", bits, seed)
        x, w = (stimulus.codes(stream, (24,), FXP4).astype(int) for _ in range(2))
        if seed < 2:  # one sign first, then the other: a register that clamps does not come back
            w = np.where(np.arange(24) < 14, np.abs(w), -np.abs(w)) * (-1) ** seed * np.where(x < 0, -1, 1)
        products = list(map(operator.mul, x.tolist(), w.tolist()))
        for overflow in (AccOverflow.WRAP, AccOverflow.SATURATE):
            register = Accumulator(bits, overflow)
            values = registers(products, register)
            calls.append((fxp.mac, (x.tolist(), w.tolist(), register), values[-1]))
            if overflow is AccOverflow.SATURATE:
                calls.append((fxp.mac_running, (x.tolist(), w.tolist(), register), values))
    return calls


@functools.cache
def _dequantizer_domain() -> list[Call]:
    stream = Stream("property", "dequantize")
    calls: list[Call] = []
    scales = (0x2C96, 0x3C00, 0x2400, 0x3600, 0x0800)
    for mode, scale in itertools.product((_DEFAULT, *MODES[3::7]), scales):
        significand = aim.significand(scale)[0]
        largest = min(int(65000 / value(scale)), (1 << 23) - 1)
        values = [0, 1, -1, 2049, -4099, 65520, -65519, *aim.accumulators(significand, largest, 4).tolist()]
        values += stimulus.int32s(stream, 400).tolist()[-60:]
        for acc in values:
            fused = rounded(acc * value(scale), mode)
            calls.append((fxp.dequantize, (acc, scale, Dequantize.FUSED, mode), (None, fused)))
            first = rounded(Fraction(acc), mode)
            if first & 0x7FFF < INFINITY:
                deq = rounded(value(first) * value(scale), mode)
                calls.append((fxp.dequantize, (acc, scale, Dequantize.TWO_STEP, mode), (first, deq)))
    return calls


def _property(name: str, says: str, clause: str, domain: Callable[[], list[Call]]) -> Property:
    return Property(name, says, clause, lambda: run(domain()))


WORD_PROPERTIES = (
    _property(
        "finite_results_rounded_once", "units of finite operands give the exact result, rounded once, in all modes",
        "F2", _finite_domain,
    ),
    _property(
        "special_words_as_numpy_float16", "units of zeros, infinities, NaN and subnormals equal numpy's float16", "F4",
        _special_domain,
    ),
    _property("fp32_as_numpy_float32", "FP32 operations equal numpy's float32", "F9", _fp32_domain),
    _property("conversions_rounded_once", "conversions round the exact value once, in all modes", "F10",
              _conversion_domain),
    _property("codes_nearest_and_clipped", "codes and masks are those of rint(t), clipped", "Q1", _quantizer_domain),
    _property("drawn_codes_floored", "drawn codes are floor(t + word/65536), clipped", "Q3", _stochastic_domain),
    _property("lfsr_sequence", "words are the polynomial's sequence of period 65,535, jumps into it included", "Q3",
              _lfsr_domain),
    _property("packed_rows_read_back", "a packed row is its hex digits, and reads back", "Q5", _packing_domain),
    _property("registers_of_their_width", "sums wrap and clamp as a register of their width", "M2",
              _accumulator_domain),
    _property("dequantized_once_or_twice", "fused rounds acc * scale once, two_step acc and then the product", "D1",
              _dequantizer_domain),
)  # fmt: skip
