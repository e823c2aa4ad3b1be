"""FP16 arithmetic on vectors of words (SPEC.md F)."""

from __future__ import annotations

from bitrow.contract.operation import Operation
from bitrow.contract.program import Program
from bitrow.formats import FloatMode

FP16_CLAUSES = ("F1", "F2", "F3", "F4", "F5", "F6")


def _unit(name: str, op: str, operands: str, fmt: str = "16", result: str = "16", *own: str) -> Operation:
    names = operands.split()
    lines = [f"in {operand} : {fmt}, element" for operand in names]
    lines.append(f"out y : {result}, element = {op} {operands}")
    program = Program(f"fp16.{name}", "\n".join(lines))
    return Operation(program.name, program, FloatMode, lambda config: (*FP16_CLAUSES, *own))


UNITS = {operation.name.removeprefix("fp16."): operation for operation in (
    _unit("add", "add", "a b"),
    _unit("sub", "sub", "a b"),
    _unit("mul", "mul", "a b"),
    _unit("fma", "fma", "a b c"),
    _unit("div", "div", "a b"),
    _unit("sqrt", "sqrt", "a"),
    _unit("from_int32", "convert", "i", "int", "16", "F10"),
    _unit("from_float32", "convert", "x", "32", "16", "F10"),
    _unit("to_float32", "widen", "a", "16", "32", "F9", "F10"),
)}  # fmt: skip
