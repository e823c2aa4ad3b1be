"""Properties of flags (SPEC.md F11 to F14, Q6).

What a rounding raises comes from Fractions and the sorted list of all FP16 numbers: with exponents without end a number
is rounded as its like between 1 and 2. What operands raise is listed, as IEEE 754 lists it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from bitrow.contract.exceptions import FLAGGED
from bitrow.formats import FlagMode, FloatMode, Fxp, Rounding, Tininess
from bitrow.proofs.mutants.runs import Domain, Element, over, runs_of
from bitrow.proofs.mutants.word_properties import INFINITY, MINUS, MODES, rounded, value
from bitrow.vectors.stimulus import corner_problems, flag_problems
from bitrow.vectors.stimulus.stream import Stream

INEXACT, UNDERFLOW, OVERFLOW, BY_ZERO, INVALID = (1 << bit for bit in range(5))
_FLAG_MODES = tuple(
    FlagMode(mode.rounding, mode.overflow, mode.flush, list(Tininess)[place % 2])
    for place, mode in enumerate((*MODES, *MODES[:1], *MODES[1:2]))
)  # fmt: skip
_DRAWN = 24


def _endless(exact: Fraction, rounding: Rounding) -> Fraction:
    """A number of 11 bits and any exponent."""
    power = Fraction(2) ** (exact.numerator.bit_length() - exact.denominator.bit_length())
    power /= 2 if abs(exact) < power else 1
    return value(rounded(exact / power, FloatMode(rounding))) * power


def raised(exact: Fraction, mode: FlagMode) -> int:
    """What an exact result raises by being rounded."""
    if not exact:
        return 0
    word, endless = rounded(exact, mode), _endless(exact, mode.rounding)
    too_large = abs(endless) > 65504
    if not too_large and word & 0x7FFF < INFINITY and value(word) == exact:
        return 0
    judged = exact if mode.tininess is Tininess.BEFORE_ROUNDING else endless
    return INEXACT | (OVERFLOW if too_large else 0) | (UNDERFLOW if abs(judged) < Fraction(1, 1 << 14) else 0)


def _element(kind: str, operands: tuple[int, ...], flags: int, mode: FlagMode) -> Element:
    return Element(FLAGGED[kind], mode, operands, {"flags": flags})


def _finite(words: tuple[int, ...]) -> bool:
    return all(word & 0x7FFF < INFINITY for word in words)


def _of_halves(mode: FlagMode, stream: Stream) -> Iterator[Element]:
    def read(word: int) -> Fraction:
        return value(word, mode.flush)

    for kind in ("add", "sub", "mul", "div", "fma"):
        drawn = flag_problems.candidates(stream.child(kind), kind, mode)
        rows = np.stack([*drawn.values()], axis=1)
        for row in (*rows[:_DRAWN], *rows[:: len(rows) // _DRAWN]):
            words = tuple(row.tolist())
            if not _finite(words) or (kind == "div" and not read(words[1])):
                continue
            a, b = read(words[0]), read(words[1])
            exact = {"add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b, "div": lambda: a / b,  # noqa: B023
                     "fma": lambda: a * b + read(words[-1])}[kind]()  # noqa: B023  # fmt: skip
            yield _element(kind, words, raised(exact, mode), mode)
    for word in (0x3C00, 0x3C01, 0x4400, 0x4401, 0x0001, 0x0004, 0x0003, 0x7BFF, 0x3800):
        number = read(word)
        square = math.isqrt(number.numerator) ** 2 == number.numerator
        whole = square and math.isqrt(number.denominator) ** 2 == number.denominator
        yield _element("sqrt", (word,), 0 if whole else INEXACT, mode)


def _single(word: int) -> Fraction | None:
    number = float(np.array(word, np.uint32).view(np.float32))
    return Fraction(number) if math.isfinite(number) else None


def _of_others(mode: FlagMode, stream: Stream) -> Iterator[Element]:
    for i in (0, 1, -2049, 2048, 4098, 65504, 65519, 65520, 65536, -(1 << 31), (1 << 31) - 1, 1 << 20):
        yield _element("from_int32", (i,), raised(Fraction(i), mode), mode)
    for kind in ("from_float32", "add_fp32", "mul_fp32"):
        drawn = flag_problems.candidates(stream.child(kind), kind, mode)
        rows = np.stack([*drawn.values()], axis=1)
        for row in rows[:: len(rows) // _DRAWN]:
            numbers = [_single(word) for word in row.tolist()]
            if None in numbers:
                continue
            exact = math.prod(numbers) if kind == "mul_fp32" else sum(numbers)  # type: ignore[arg-type]
            yield _element(kind, tuple(row.tolist()), raised(Fraction(exact), mode), mode)


@functools.cache
def _rounding_domain() -> Domain:
    elements: list[Element] = []
    for place, mode in enumerate(_FLAG_MODES):
        stream = Stream("property", "flags", place)
        elements += [*_of_halves(mode, stream), *_of_others(mode, stream)]
    for mode, scale in itertools.product(_FLAG_MODES[::5], (0x2C96, 0x3C00, 0x7000)):
        for acc in (0, 1, -3, 2049, 65520, -(1 << 31)):
            element = _element("dequantize", (acc,), raised(acc * value(scale), mode), mode)
            elements.append(element._replace(parameters=(("scale", scale),)))
    return Domain(runs_of(elements), [])


_QUIET, _SIGNALS, _ONE, _TINY = 0x7E00, 0x7D55, 0x3C00, 0x0001
# What operands raise in every mode: those of each operation, and the flags.
_SPECIAL: dict[str, tuple[tuple[tuple[int, ...], int], ...]] = {
    "add": (((INFINITY, INFINITY | MINUS), INVALID), ((INFINITY, INFINITY), 0), ((INFINITY, _ONE), 0),
            ((_QUIET, _ONE), 0), ((_ONE, _SIGNALS), INVALID), ((_SIGNALS, _QUIET), INVALID)),
    "sub": (((INFINITY, INFINITY), INVALID), ((INFINITY, INFINITY | MINUS), 0), ((_ONE, _SIGNALS | MINUS), INVALID)),
    "mul": (((INFINITY, 0), INVALID), ((MINUS, INFINITY), INVALID), ((INFINITY, _ONE), 0), ((_QUIET, 0), 0),
            ((INFINITY, _QUIET), 0), ((0x7C01, 0), INVALID)),
    "div": (((_ONE, 0), BY_ZERO), ((0xC500, MINUS), BY_ZERO), ((0, 0), INVALID), ((INFINITY, INFINITY), INVALID),
            ((INFINITY, 0), 0), ((0, INFINITY), 0), ((_ONE, INFINITY), 0), ((_QUIET, 0), 0), ((_SIGNALS, 0), INVALID)),
    "fma": (((INFINITY, 0, _ONE), INVALID), ((INFINITY, 0, _QUIET), INVALID), ((0, INFINITY, 0xFE01), INVALID),
            ((INFINITY, _ONE, INFINITY | MINUS), INVALID), ((INFINITY, _ONE, INFINITY), 0), ((_QUIET, INFINITY, 0), 0),
            ((_QUIET, 0, INFINITY), 0), ((_ONE, _ONE, _SIGNALS), INVALID), ((_ONE, _ONE, _QUIET), 0)),
    "sqrt": (((MINUS,), 0), ((0xBC00,), INVALID), ((INFINITY | MINUS,), INVALID), ((INFINITY,), 0), ((_QUIET,), 0),
             ((0xFE00,), 0), ((0xFD00,), INVALID)),
    "to_float32": (((_SIGNALS,), INVALID), ((_QUIET,), 0), ((_TINY,), 0), ((INFINITY,), 0)),
    "from_float32": (((0x7F800001,), INVALID), ((0xFFC00000,), 0), ((0x7F800000,), 0)),
    "add_fp32": (((0x7F800000, 0xFF800000), INVALID), ((0x7FA00000, 0), INVALID), ((0x7FC00000, 0), 0)),
    "mul_fp32": (((0x7F800000, 0), INVALID), ((0x7F800000, 0x3F800000), 0)),
}  # fmt: skip
# What becomes of a subnormal operand that is flushed, and of one that is kept.
_FLUSHED = (("div", (_ONE, _TINY), BY_ZERO), ("mul", (INFINITY, _TINY), INVALID), ("add", (_ONE, _TINY), 0),
            ("sqrt", (_TINY | MINUS,), 0), ("mul", (_TINY, _ONE), 0), ("div", (_TINY, _ONE), 0))  # fmt: skip
_KEPT = (("div", (_TINY, _TINY), 0), ("mul", (INFINITY, _TINY), 0), ("sqrt", (_TINY | MINUS,), INVALID))


@functools.cache
def _special_domain() -> Domain:
    elements = [_element(kind, words, flags, mode) for kind, rows in _SPECIAL.items() for words, flags in rows
                for mode in _FLAG_MODES]  # fmt: skip
    for mode in _FLAG_MODES:
        elements += [_element(kind, words, flags, mode) for kind, words, flags in (_FLUSHED if mode.flush else _KEPT)]
    return Domain(runs_of(elements), [])


@functools.cache
def _code_domain() -> Domain:
    elements: list[Element] = []
    for fmt in (Fxp(4), Fxp(3, narrow=True), Fxp(8, signed=False)):
        drawn = flag_problems.candidates(Stream("property", "codes", fmt.bits), "to_drawn_code", fmt)
        aimed = corner_problems.low_bit_words(Stream("property", "last bit", fmt.bits), 6)
        for t, word in [*zip(*aimed, strict=True), *zip(drawn["t"], drawn["word"], strict=True)][::2]:
            number = value(int(t)) if t & 0x7FFF < INFINITY else None
            for kind, words in (("to_code", (int(t),)), ("to_drawn_code", (int(t), int(word)))):
                if number is None:
                    flags = INVALID
                else:
                    code = round(number) if len(words) == 1 else math.floor(number + Fraction(int(word), 1 << 16))
                    flags = INVALID if not fmt.min <= code <= fmt.max else INEXACT if number.denominator > 1 else 0
                elements.append(Element(FLAGGED[kind], fmt, words, {"flags": flags}))
    return Domain(runs_of(elements), [])


FLAG_PROPERTIES = (
    over("flags_by_fractions", "results raise inexact, underflow and overflow as their exact values do, in all modes",
         "F13", _rounding_domain),
    over("flags_of_special_words", "operands raise invalid and divide by zero as IEEE 754 lists them", "F12",
         _special_domain),
    over("flags_of_codes", "codes outside the range raise invalid, others inexact where t has a fraction", "Q6",
         _code_domain),
)  # fmt: skip
