"""A trace's statements as C99: assignments of fixed-width integers, none of which can be undefined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bitrow.lower.merge import MergedFunction, Syntax, printed
from bitrow.lower.trace import COMPARED


def type_of(dtype: np.dtype[Any]) -> str:
    """The C type of a dtype's words: of a floating-point one its bits', of a bool bool."""
    if dtype.kind == "b":
        return "bool"
    return f"{'' if dtype.kind == 'i' else 'u'}int{8 * dtype.itemsize}_t"


def constant(value: int, dtype: np.dtype[Any]) -> str:
    """A number as C text, of its type where 32 bits need one."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind == "i":
        return "INT32_MIN" if value == -(1 << 31) else f"({value})" if value < 0 else str(value)
    return f"{value:#x}u" if value > 9 else f"{value}u"


class _Operand(NamedTuple):
    text: str
    dtype: np.dtype[Any]

    @property
    def bits(self) -> int:
        return 8 * self.dtype.itemsize

    @property
    def wide(self) -> str:
        """The operand as uint32_t or wider, in which arithmetic wraps."""
        return self.text if type_of(self.dtype) == "uint32_t" else f"(uint{max(32, self.bits)}_t){self.text}"


def _cast(dtype: np.dtype[Any], text: str) -> str:
    return text if type_of(dtype) in ("uint32_t", "bool") else f"({type_of(dtype)})({text})"


def _wrapping(sign: str) -> Callable[..., str]:
    return lambda dtype, a, b: _cast(dtype, f"{a.wide} {sign} {b.wide}")


def _bitwise(sign: str) -> Callable[..., str]:
    return lambda dtype, a, b: _cast(dtype, f"{a.text} {sign} {b.text}")


def _compared(sign: str) -> Callable[..., str]:
    return lambda dtype, a, b: f"{a.text} {sign} {b.text}"


def _clamp(dtype: np.dtype[Any], low: _Operand, a: _Operand, high: _Operand) -> str:
    return f"({a.text} < {low.text} ? {low.text} : {a.text}) > {high.text} ? {high.text} : " \
           f"({a.text} < {low.text} ? {low.text} : {a.text})"  # fmt: skip


def _shift(sign: str) -> Callable[..., str]:
    """A shift; by the width or more it leaves nothing."""

    def text(dtype: np.dtype[Any], a: _Operand, amount: _Operand) -> str:
        unsigned = a.wide if a.dtype.kind == "u" or a.bits >= 32 else f"(uint32_t)(uint{a.bits}_t){a.text}"
        number = amount.text.rstrip("u")
        if number[0].isdigit():
            return _cast(dtype, f"{unsigned} {sign} {amount.text}" if int(number, 0) < a.bits else "0u")
        by = amount.wide
        return _cast(dtype, f"{by} < {a.bits}u ? {unsigned} {sign} ({by} & {a.bits - 1}u) : 0u")

    return text


def _divided(sign: str) -> Callable[..., str]:
    """Toward zero; nothing is undefined: x / 0 is all ones, x rem 0 is x, and the lowest number by -1 wraps."""

    def text(dtype: np.dtype[Any], a: _Operand, b: _Operand) -> str:
        by_zero = ("-1" if a.dtype.kind == "i" else _cast(dtype, "~0u")) if sign == "/" else a.text
        if a.dtype.kind == "u":
            return f"{b.text} ? {_cast(dtype, f'{a.text} {sign} {b.text}')} : {by_zero}"
        by_minus_one = _cast(dtype, f"0u - {a.wide}") if sign == "/" else "0"
        return (
            f"{b.text} == 0 ? {by_zero} : {b.text} == -1 ? {by_minus_one} : {_cast(dtype, f'{a.text} {sign} {b.text}')}"
        )

    return text


def _select(dtype: np.dtype[Any], which: _Operand, *cases: _Operand) -> str:
    if which.dtype.kind == "b" and dtype.kind == "b":  # which compilers vectorize, a choice of two bools not
        return f"({which.text} & {cases[1].text}) | (!{which.text} & {cases[0].text})"
    if which.dtype.kind == "b":
        return f"{which.text} ? {cases[1].text} : {cases[0].text}"
    chain = "".join(f"{which.text} <= {place} ? {case.text} : " for place, case in enumerate(cases[:-1]))
    return f"{chain}{cases[-1].text}"


def _absolute(dtype: np.dtype[Any], a: _Operand) -> str:
    return a.text if a.dtype.kind == "u" else f"{a.text} < 0 ? {_cast(dtype, f'0u - {a.wide}')} : {a.text}"


def _converted(dtype: np.dtype[Any], a: _Operand) -> str:
    if a.dtype.kind == "b":
        return f"{a.text} ? {constant(1, dtype)} : {constant(0, dtype)}"
    return f"{a.text} != 0" if dtype.kind == "b" else f"({type_of(dtype)}){a.text}"


EXPRESSIONS: dict[str, Callable[..., str]] = {
    **{name: _compared(sign) for name, sign in COMPARED.items()},
    "add": _wrapping("+"), "sub": _wrapping("-"), "mul": _wrapping("*"), "div": _divided("/"), "rem": _divided("%"),
    "and": _bitwise("&"), "or": _bitwise("|"), "xor": _bitwise("^"),
    "not": lambda dtype, a: f"!{a.text}" if a.dtype.kind == "b" else _cast(dtype, f"~{a.text}"),
    "neg": lambda dtype, a: _cast(dtype, f"0u - {a.wide}"),
    "abs": _absolute,
    "max": lambda dtype, a, b: f"{a.text} > {b.text} ? {a.text} : {b.text}",
    "min": lambda dtype, a, b: f"{a.text} < {b.text} ? {a.text} : {b.text}",
    "clamp": _clamp,
    "shift_left": _shift("<<"), "shift_right_logical": _shift(">>"),
    "shift_right_arithmetic": lambda dtype, a, b: _cast(
        dtype, f"bw_shift_arithmetic((int{a.bits}_t){a.text}, {b.wide})"),
    "clz": lambda dtype, a: _cast(dtype, f"bw_leading_zeros((uint{a.bits}_t){a.text})" + (
        f" - {32 - a.bits}u" if a.bits < 32 else "")),
    "population_count": lambda dtype, a: _cast(dtype, f"bw_ones((uint{a.bits}_t){a.text})"),
    "select_n": _select,
    "convert_element_type": _converted,
}  # fmt: skip


def expression(operation: str, dtype: np.dtype[Any], operands: Sequence[tuple[str, np.dtype[Any]]]) -> str:
    """The C text of an operation on operands, each a name or a number with its dtype.

    Raises:
        BitrowError: an operation, or words wider than 32 bits, that no statement is printed for.
    """
    return printed("C", EXPRESSIONS, operation, dtype, [_Operand(*each) for each in operands])


class Function(MergedFunction):
    """A C function of a kernel; `parameters` name C expressions."""

    syntax = Syntax(constant, expression, lambda parameter, value: f"{parameter} == {value}u")

    def lines(self) -> list[str]:
        """The body: statements, and `return` of one result or one store for each of several."""
        body = self.body()
        found = [f"const {type_of(dtype)} {name} = {text};" for name, dtype, text in body.assignments]
        if len(body.results) == 1:
            return [*found, f"return {body.results[0][0]};"]
        return [*found, *(f"*r{place} = {text};" for place, (text, _) in enumerate(body.results))]
