"""A trace's statements as SystemVerilog that simulators and synthesis read alike: one operation a line.

Every word is an unsigned `logic` vector of its dtype's width, a bool one bit. Operands of an operation have its width,
what is signed says so where it matters, and nothing divides by zero, so that no word is ever unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bitrow.lower.merge import MergedFunction, Syntax, printed
from bitrow.lower.trace import COMPARED

_DECIMAL = "'d"


def width_of(dtype: np.dtype[Any]) -> int:
    """Bits of a dtype's words; 1 of a bool."""
    return 1 if dtype.kind == "b" else 8 * dtype.itemsize


def constant(value: int, dtype: np.dtype[Any]) -> str:
    """A number of its width; below zero it is the two's complement that a minus makes."""
    width = width_of(dtype)
    if value < 0:
        return f"-{width}'d{-value}"
    return f"{width}'h{value:x}" if value > 99 else f"{width}'d{value}"


class _SvOperand(NamedTuple):
    text: str
    dtype: np.dtype[Any]

    @property
    def bits(self) -> int:
        return width_of(self.dtype)

    @property
    def signed(self) -> bool:
        return self.dtype.kind == "i"

    @property
    def typed(self) -> str:
        """The operand as it is compared or divided."""
        return f"$signed({self.text})" if self.signed else self.text


def _infix(sign: str) -> Callable[..., str]:
    return lambda dtype, a, b: f"{a.text} {sign} {b.text}"


def _ordered(sign: str) -> Callable[..., str]:
    def text(dtype: np.dtype[Any], a: _SvOperand, b: _SvOperand) -> str:
        if not a.signed and b.text == constant(0, b.dtype) and sign in ("<", ">="):
            return "1'd0" if sign == "<" else "1'd1"  # of which linters warn
        return f"{a.typed} {sign} {b.typed}"

    return text


def _shift(sign: str) -> Callable[..., str]:
    """A shift, by the width or more it leaves nothing (of `>>>`, of a signed number, copies of the sign)."""
    return lambda dtype, a, b: f"{a.text} {sign} {b.text.removeprefix(f'{b.bits}{_DECIMAL}')}"


def _least(sign: str) -> Callable[..., str]:
    return lambda dtype, a, b: f"{a.typed} {sign} {b.typed} ? {a.text} : {b.text}"


def _clamp(dtype: np.dtype[Any], low: _SvOperand, a: _SvOperand, high: _SvOperand) -> str:
    within = f"{a.typed} > {high.typed} ? {high.text} : {a.text}"  # the upper end has the last word
    below = f"{low.typed} > {high.typed} ? {high.text} : {low.text}"
    return f"{a.typed} < {low.typed} ? ({below}) : ({within})"


def _divided(sign: str) -> Callable[..., str]:
    """Toward zero; x / 0 is all ones, x rem 0 is x, and the lowest number by -1 wraps."""

    def text(dtype: np.dtype[Any], a: _SvOperand, b: _SvOperand) -> str:
        zero, ones = constant(0, dtype), f"{{{a.bits}{{1'b1}}}}"
        by_zero = ones if sign == "/" else a.text
        if not a.signed:
            return f"{b.text} == {zero} ? {by_zero} : {a.text} {sign} {b.text}"
        by_minus_one = f"{zero} - {a.text}" if sign == "/" else zero
        inside = f"$unsigned({a.typed} {sign} {b.typed})"
        return f"{b.text} == {zero} ? {by_zero} : {b.text} == {ones} ? {by_minus_one} : {inside}"

    return text


def _select(dtype: np.dtype[Any], which: _SvOperand, *cases: _SvOperand) -> str:
    if which.dtype.kind == "b":
        return f"{which.text} ? {cases[1].text} : {cases[0].text}"
    chain = "".join(
        f"{which.typed} <= {_SvOperand(constant(place, which.dtype), which.dtype).typed} ? {case.text} : "
        for place, case in enumerate(cases[:-1])
    )
    return f"{chain}{cases[-1].text}"


def _absolute(dtype: np.dtype[Any], a: _SvOperand) -> str:
    zero = _SvOperand(constant(0, dtype), dtype)
    return f"{a.typed} < {zero.typed} ? {zero.text} - {a.text} : {a.text}" if a.signed else a.text


def _converted(dtype: np.dtype[Any], a: _SvOperand) -> str:
    """Numbers are folded in a trace and choices have names, so that what is cut is a name."""
    width = width_of(dtype)
    if dtype.kind == "b":
        return f"{a.text} != {constant(0, a.dtype)}"
    if width <= a.bits:
        return a.text if width == a.bits else f"{a.text}[{width - 1}:0]"
    more = width - a.bits
    return f"{{{{{more}{{{a.text}[{a.bits - 1}]}}}}, {a.text}}}" if a.signed else f"{{{more}'d0, {a.text}}}"


_EXPRESSIONS: dict[str, Callable[..., str]] = {
    **{name: (_infix if name in ("eq", "ne") else _ordered)(sign) for name, sign in COMPARED.items()},
    **{name: _infix(sign) for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"))},
    **{name: _infix(sign) for name, sign in (("and", "&"), ("or", "|"), ("xor", "^"))},
    "div": _divided("/"), "rem": _divided("%"),
    "not": lambda dtype, a: f"~{a.text}",
    "neg": lambda dtype, a: f"{constant(0, dtype)} - {a.text}",
    "abs": _absolute,
    "max": _least(">"), "min": _least("<"), "clamp": _clamp,
    "shift_left": _shift("<<"), "shift_right_logical": _shift(">>"),
    "shift_right_arithmetic": lambda dtype, a, b: f"$unsigned($signed({a.text}) >>> {b.text})",
    "clz": lambda dtype, a: f"bw_leading_zeros_{a.bits}({a.text})",
    "population_count": lambda dtype, a: f"bw_ones_{a.bits}({a.text})",
    "select_n": _select,
    "convert_element_type": _converted,
}  # fmt: skip


def expression(operation: str, dtype: np.dtype[Any], operands: Sequence[tuple[str, np.dtype[Any]]]) -> str:
    """The SystemVerilog text of an operation on operands, each a name or a number with its dtype.

    Raises:
        BitrowError: an operation, or words wider than 32 bits, that no statement is printed for.
    """
    return printed("SystemVerilog", _EXPRESSIONS, operation, dtype, [_SvOperand(*each) for each in operands])


def counting(width: int) -> dict[str, str]:
    """The functions that statements on words of `width` bits call, a power of two from 8 to 32, by name."""
    vector, digits = f"logic [{width - 1}:0]", width.bit_length() - 1
    rows = [f"        step = left[{width - 1}:{width - (1 << place)}] == {1 << place}'d0;\n"
            f"        found = found + (step ? {width}'d{1 << place} : {width}'d0);\n"
            f"        left = step ? left << {1 << place} : left;\n" for place in reversed(range(digits))]  # fmt: skip
    zeros = f"""    // The zeros above the leading one of x; all {width} of 0.
    function automatic {vector} bw_leading_zeros_{width}(input {vector} x);
        {vector} left, found;
        logic step;
        left = x;
        found = {width}'d0;
{"".join(rows)}        bw_leading_zeros_{width} = x == {width}'d0 ? {width}'d{width} : found;
    endfunction
"""
    bits = " + ".join(f"{{{width - 1}'d0, x[{place}]}}" for place in range(width))
    ones = f"""    // How many bits of x are set.
    function automatic {vector} bw_ones_{width}(input {vector} x);
        bw_ones_{width} = {bits};
    endfunction
"""
    return {f"bw_leading_zeros_{width}": zeros, f"bw_ones_{width}": ones}


class SvFunction(MergedFunction):
    """The body of a SystemVerilog function of a kernel; each of `parameters` begins a comparison: `p == 3'd`."""

    syntax = Syntax(constant, expression, lambda parameter, value: f"{parameter}{value}", names_choices=True)
