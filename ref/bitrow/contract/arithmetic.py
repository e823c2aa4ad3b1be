"""The operations of single words: exact on numbers, rounded once to the line's format (SPEC.md F2).

Every function here works on Python ints that hold bit patterns, codes or integers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bitrow.contract.encoding import code_format, float_format
from bitrow.contract.program import Line
from bitrow.formats import FP16, FP32, Float, FloatMode, Rounding
from bitrow.oracle import flags, fp16, fp32, fxp, sigmoid, softfloat
from bitrow.oracle.softfloat import NEAREST, Number, NumberKind

Scalar = Callable[..., int]


@dataclass(frozen=True)
class Rounder:
    """Where a line's exact result goes: a format, and the mode that rounds to it (F3, F9)."""

    fmt: Float
    mode: FloatMode

    def add(self, a: Number, b: Number) -> int:
        return softfloat.add(self.fmt, a, b, self.mode)

    def sub(self, a: Number, b: Number) -> int:
        return softfloat.add(self.fmt, a, negated(b), self.mode)

    def mul(self, a: Number, b: Number) -> int:
        return softfloat.mul(self.fmt, a, b, self.mode)

    def negmul(self, a: Number, b: Number) -> int:
        return softfloat.mul(self.fmt, negated(a), b, self.mode)

    def div(self, a: Number, b: Number) -> int:
        return softfloat.div(self.fmt, a, b, self.mode)

    def sqrt(self, a: Number) -> int:
        return softfloat.sqrt(self.fmt, a, self.mode)

    def fma(self, a: Number, b: Number, c: Number) -> int:
        return softfloat.fma(self.fmt, a, b, c, self.mode)

    def convert(self, a: Number) -> int:
        return softfloat.round_number(self.fmt, a, self.mode)


# Each rounds once, and so is a rounding point; `product` and `widen` are exact in FP32 (F9, A4).
ROUNDED = ("add", "sub", "mul", "negmul", "div", "sqrt", "fma", "convert")
EXACT = {"product": "mul", "widen": "convert"}


def negated(x: Number) -> Number:
    return x._replace(sign=1 - x.sign) if x.kind is not NumberKind.NAN else x


def mode_of(config: Any) -> FloatMode:
    """The FP16 parameters of a configuration; to nearest even where it has none."""
    return config if isinstance(config, FloatMode) else getattr(config, "mode", NEAREST)


def rounder(line: Line, config: Any) -> Rounder:
    """How the result of a line that rounds is rounded: FP16 under the mode, FP32 to nearest even (F9)."""
    fmt = float_format(line.format, config)
    assert fmt is not None, line
    mode = mode_of(config) if fmt == FP16 else NEAREST
    return Rounder(fmt, replace(mode, rounding=Rounding(line.rounding)) if line.rounding else mode)


def reader(name: str, result: Float, config: Any) -> Callable[[int], Number]:
    """What an operand of the format `name` stands for in a line whose result is `result` (F5, F9)."""
    mode = mode_of(config)
    if name == "host":
        return lambda word: _host(word, result, mode.flush)
    fmt = float_format(name, config)
    if fmt is None:
        return softfloat.integer
    return functools.partial(fp16.read, mode=mode) if fmt == FP16 else fp32.read


@functools.lru_cache(maxsize=1 << 12)
def _host(word: int, result: Float, flush: bool) -> Number:
    """A host value, rounded once to the accumulator's format, to nearest even whatever the mode (B2)."""
    rounded = softfloat.round_number(result, softfloat.unpack(FP32, word), FloatMode())
    return softfloat.unpack(result, rounded, flush and result == FP16)


def rounded(line: Line, formats: list[str], config: Any) -> Scalar:
    """The line's operation on words of operands in `formats`."""
    to = rounder(line, config)
    operation = getattr(to, EXACT.get(line.op, line.op))
    reads = [reader(name, to.fmt, config) for name in formats]
    if len(reads) == 1:
        (first,) = reads
        return lambda a: operation(first(a))
    if len(reads) == 2:
        first, second = reads
        return lambda a, b: operation(first(a), second(b))
    return lambda *words: operation(*(read(word) for read, word in zip(reads, words, strict=True)))


def positive_part(fmt: Float, word: int) -> int:
    """`word` if greater than 0, NaN if NaN, else +0; no flush (B2's var)."""
    number = softfloat.unpack(fmt, word)
    if number.kind is NumberKind.NAN:
        return fmt.nan_bits
    if number.sign or (number.kind is NumberKind.FINITE and not number.significand):
        return 0
    return word


def select(word: int, passes: int) -> int:
    """A gradient where the mask passes it, +0 elsewhere; no flush (Q4, A1)."""
    return fp16.canonical(word) if passes else 0


_SIX = softfloat.round_number(FP16, softfloat.integer(6))


def relu(x: int, six: bool = False) -> int:
    """A1 on one FP16 word. Positive words order as integers, so 6 needs no arithmetic."""
    if fp16.is_nan(x):
        return FP16.nan_bits
    if not fp16.is_positive(x):
        return 0
    return min(x, _SIX) if six else x


def relu_passes(x: int, six: bool = False) -> int:
    """Whether A1's backward passes the gradient at x: 1 or 0."""
    return int(fp16.is_positive(x) and not (six and x >= _SIX))


_THREE, _ONE = (softfloat.round_number(FP16, softfloat.integer(value)) for value in (3, 1))


def ramp(slope: int, x: int) -> int:
    """A6's derivative at x: `slope` where -3 < x < 3, 0 below, 1 above, NaN for NaN."""
    if fp16.is_nan(x):
        return FP16.nan_bits
    if x & ~FP16.sign_mask < _THREE:
        return slope
    return 0 if x & FP16.sign_mask else _ONE


def clipped(x: int) -> int:
    """A9 on one FP16 word: x between 0 and 1."""
    y = relu(x)
    return y if fp16.is_nan(y) else min(y, _ONE)


def clip_passes(y: int) -> int:
    """Whether A9's backward passes the gradient where the result is y: 1 between 0 and 1, else 0."""
    return int(fp16.is_positive(y) and y < _ONE)


# What raises flags, and the operation of the same operands that does (F11, Q6); a quantizer's is of the code format.
FLAGGED = {
    **{f"{op}_flags": op for op in flags.OF}, "widen_flags": "convert",
    "quantize_flags": "quantize", "drawn_flags": "quantize_drawn",
}  # fmt: skip


def flagged(line: Line, formats: list[str], config: Any) -> Scalar:
    """The word of flags that the operation of a line's operands in `formats` raises."""
    if line.op in ("quantize_flags", "drawn_flags"):
        function = flags.to_code if line.op == "quantize_flags" else flags.to_drawn_code
        return functools.partial(function, fmt=code_format("code", config))
    result = FP32 if line.op == "widen_flags" else FP16
    sources, mode = [float_format(name, config) for name in formats], mode_of(config)
    return lambda *words: flags.raised(FLAGGED[line.op], result, list(zip(words, sources, strict=True)), mode)


# Of A10: the table's words by x, and the halves of its mirror.
_TABLE: dict[str, Scalar] = {"table_base": sigmoid.base, "table_rise": sigmoid.rise, "table_part": sigmoid.part}
_MIRROR: dict[str, Scalar] = {"rising": sigmoid.rising, "falling": sigmoid.falling}


def settled(line: Line, config: Any) -> Scalar:
    """An operation of words that rounds nothing: it selects, or makes codes."""
    match line.op:
        case "copy":
            return lambda word: word
        case "select":
            return select
        case "positive":
            fmt = float_format(line.format, config)
            assert fmt is not None, line
            return functools.partial(positive_part, fmt)
        case "relu" | "relu6":
            return functools.partial(relu, six=line.op == "relu6")
        case "passes" | "passes6":
            return functools.partial(relu_passes, six=line.op == "passes6")
        case "ramp":
            return ramp
        case "clip1":
            return clipped
        case "passes1":
            return clip_passes
        case "rising" | "falling":
            return _MIRROR[line.op]
        case "table_base" | "table_rise" | "table_part":
            return functools.partial(_TABLE[line.op], bits=config.table_bits)
        case "quantize" | "quantize_drawn" | "inside":
            function = getattr(fxp, {"quantize": "code", "quantize_drawn": "drawn_code", "inside": "mask"}[line.op])
            return functools.partial(function, fmt=code_format(_quantizer(line), config))
    raise AssertionError(line)


SETTLED = ("copy", "select", "positive", "relu", "relu6", "passes", "passes6", "ramp", "clip1", "passes1", *_TABLE,
           *_MIRROR, "quantize", "quantize_drawn", "inside")  # fmt: skip


def _quantizer(line: Line) -> str:
    """The format that a quantizer's line clips to: its own; a mask's is that of the input codes (Q4)."""
    return "x" if line.op == "inside" else line.format
