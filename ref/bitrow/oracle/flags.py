"""The exceptions that an operation raises, one scalar at a time, from exact rationals (SPEC.md F11 to F14, Q6).

Every function takes what an operation reads (`Number`, exact) and returns a word of `Flag` bits. An exact result is a
Fraction; of a root, which may have none, its square is. Whether a result is tiny or too large is asked of the number
rounded with exponents without end, as IEEE 754 defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from bitrow.formats import FP16, FP32, Flag, Float, FloatMode, Fxp, Tininess
from bitrow.oracle import fp16, fxp, softfloat
from bitrow.oracle.softfloat import Number, NumberKind

_EXPONENT_BITS = 16  # of a format whose exponents no result here leaves
ExactResult = Fraction | None  # an exact result; None where it is no finite number


def tininess_of(mode: FloatMode) -> Tininess:
    """When a result is tiny under a mode; after rounding where it does not say."""
    return getattr(mode, "tininess", Tininess.AFTER_ROUNDING)


def signalling(fmt: Float, word: int) -> bool:
    """Whether a word is a NaN whose first fraction bit is 0."""
    magnitude = word & (fmt.sign_mask - 1)
    return fmt.infinity_bits < magnitude < fmt.nan_bits


def _unlimited(fmt: Float) -> Float:
    return Float(_EXPONENT_BITS, fmt.fraction_bits)


def _value(fmt: Float, word: int) -> ExactResult:
    number = softfloat.unpack(fmt, word)
    return softfloat.exact(number) if number.kind is NumberKind.FINITE else None


def _least(fmt: Float) -> Fraction:
    return Fraction(2) ** fmt.min_exponent


def rounding(fmt: Float, exact: Fraction, delivered: ExactResult, unlimited: ExactResult, mode: FloatMode) -> int:
    """What an exact finite result raises by being rounded (F13, F14).

    `delivered` is the result's value (None: infinite), `unlimited` that of the same rounding with endless exponents.
    """
    largest = (2 - Fraction(2) ** -fmt.fraction_bits) * Fraction(2) ** fmt.max_exponent
    found = Flag.OVERFLOW if unlimited is None or abs(unlimited) > largest else Flag(0)
    if found or delivered != exact:
        found |= Flag.INEXACT
    judged = exact if tininess_of(mode) is Tininess.BEFORE_ROUNDING else unlimited
    if Flag.INEXACT in found and judged is not None and 0 < abs(judged) < _least(fmt):
        found |= Flag.UNDERFLOW
    return int(found)


def of_result(fmt: Float, exact: Fraction, mode: FloatMode) -> int:
    """What a rational raises by being rounded once to `fmt`."""
    endless = _unlimited(fmt)
    unlimited = _value(endless, softfloat.from_fraction(endless, exact, FloatMode(mode.rounding)))
    return rounding(fmt, exact, _value(fmt, softfloat.from_fraction(fmt, exact, mode)), unlimited, mode)


def _finite(*numbers: Number) -> bool:
    return all(number.kind is NumberKind.FINITE for number in numbers)


def _nan(*numbers: Number) -> bool:
    return any(number.kind is NumberKind.NAN for number in numbers)


def _opposed(x: Number, y: Number) -> bool:
    """Infinities of opposite signs."""
    return x.kind is y.kind is NumberKind.INFINITE and x.sign != y.sign


def _endless_times_zero(x: Number, y: Number) -> bool:
    return any(
        a.kind is NumberKind.INFINITE and b.kind is NumberKind.FINITE and not b.significand for a, b in ((x, y), (y, x))
    )


def add(fmt: Float, x: Number, y: Number, mode: FloatMode) -> int:
    """`x + y`: invalid for infinities of opposite signs."""
    if _finite(x, y):
        return of_result(fmt, softfloat.exact(x) + softfloat.exact(y), mode)
    return int(Flag.INVALID) if _opposed(x, y) else 0


def mul(fmt: Float, x: Number, y: Number, mode: FloatMode) -> int:
    """`x * y`: invalid for infinity times zero."""
    if _finite(x, y):
        return of_result(fmt, softfloat.exact(x) * softfloat.exact(y), mode)
    return int(Flag.INVALID) if _endless_times_zero(x, y) else 0


def fma(fmt: Float, x: Number, y: Number, z: Number, mode: FloatMode) -> int:
    """`x * y + z`: invalid for infinity times zero, whatever z is, and for infinities of opposite signs."""
    if _finite(x, y, z):
        return of_result(fmt, softfloat.exact(x) * softfloat.exact(y) + softfloat.exact(z), mode)
    if _endless_times_zero(x, y):
        return int(Flag.INVALID)
    return int(Flag.INVALID) if not _nan(x, y) and _opposed(softfloat.exact_product(x, y), z) else 0


def div(fmt: Float, x: Number, y: Number, mode: FloatMode) -> int:
    """`x / y`: invalid for 0/0 and infinity/infinity; a finite number other than 0 divided by zero."""
    if not _finite(x, y):
        return int(Flag.INVALID) if x.kind is y.kind is NumberKind.INFINITE else 0
    if not y.significand:
        return int(Flag.DIVIDE_BY_ZERO if x.significand else Flag.INVALID)
    return of_result(fmt, Fraction(softfloat.exact(x), softfloat.exact(y)), mode)


def sqrt(fmt: Float, x: Number, mode: FloatMode) -> int:
    """The root of `x`: invalid below zero. A root is never tiny nor too large in a format that has x."""
    if x.kind is NumberKind.NAN or (x.kind is NumberKind.FINITE and not x.significand):
        return 0
    if x.sign:
        return int(Flag.INVALID)
    if x.kind is NumberKind.INFINITE:
        return 0
    root = _value(fmt, softfloat.sqrt(fmt, x, mode))
    return 0 if root is not None and root * root == softfloat.exact(x) else int(Flag.INEXACT)


def convert(fmt: Float, x: Number, mode: FloatMode) -> int:
    """`x` rounded to `fmt`."""
    return of_result(fmt, softfloat.exact(x), mode) if _finite(x) else 0


OF: dict[str, Callable[..., int]] = {
    "add": add,
    "sub": lambda fmt, x, y, mode: add(fmt, x, y._replace(sign=1 - y.sign), mode),
    "mul": mul, "div": div, "sqrt": sqrt, "fma": fma, "convert": convert,
}  # fmt: skip


def raised(op: str, fmt: Float, operands: Sequence[tuple[int, Float | None]], mode: FloatMode) -> int:
    """What an operation of `OF` raises whose result is `fmt`; operands are words and formats, None an integer's."""
    if any(source is not None and signalling(source, word) for word, source in operands):
        return int(Flag.INVALID)
    return OF[op](fmt, *(_read(word, source, mode) for word, source in operands), mode)


def _read(word: int, source: Float | None, mode: FloatMode) -> Number:
    """An operand as the operation reads it (F5, F9)."""
    if source is None:
        return softfloat.integer(word)
    return fp16.read(word, mode) if source == FP16 else softfloat.unpack(FP32, word)


def to_code(t: int, fmt: Fxp) -> int:
    """What the code of FP16 `t` raises (Q6): invalid where there is none inside the range."""
    number = fp16.read(t)
    if number.kind is not NumberKind.FINITE or not fxp.mask(t, fmt):
        return int(Flag.INVALID)
    return 0 if softfloat.exact(number).denominator == 1 else int(Flag.INEXACT)


def to_drawn_code(t: int, word: int, fmt: Fxp) -> int:
    """What the code of FP16 `t` and a word of the LFSR raises (Q6)."""
    number = fp16.read(t)
    if number.kind is not NumberKind.FINITE:
        return int(Flag.INVALID)
    value = softfloat.exact(number)
    if not fmt.min <= (value + Fraction(word, 1 << 16)).__floor__() <= fmt.max:
        return int(Flag.INVALID)
    return 0 if value.denominator == 1 else int(Flag.INEXACT)
