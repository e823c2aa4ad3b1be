"""Operations on vectors of words, and the exceptions that each element raises (SPEC.md F11 to F14, Q6)."""

from __future__ import annotations

from bitrow.contract.operation import Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES
from bitrow.formats import FlagMode, Fxp

FLAG_CLAUSES = ("F11", "F12", "F13", "F14")


def _operation(name: str, op: str, given: str, result: str = "16", *own: str) -> Operation:
    """`given` says a format and a name of each operand, "par" before it where it is a parameter."""
    operands = [operand.split() for operand in given.split(", ")]
    lines = [f"{'par' if 'par' in parts else 'in'} {parts[-1]} : {parts[-2]}, element" for parts in operands]
    names = " ".join(parts[-1] for parts in operands)
    raising = {"quantize_drawn": "drawn"}.get(op, op)
    lines += [f"out y : {result}, element = {op} {names}", f"out flags : flags, element = {raising}_flags {names}"]
    program = Program(f"flags.{name}", "\n".join(lines))
    if result == "code":
        return Operation(program.name, program, Fxp, lambda fmt: ("F7", "F11", *own))
    return Operation(program.name, program, FlagMode, lambda mode: (*FP16_CLAUSES, *own, *FLAG_CLAUSES))


FLAGGED = {operation.name.removeprefix("flags."): operation for operation in (
    _operation("add", "add", "16 a, 16 b"),
    _operation("sub", "sub", "16 a, 16 b"),
    _operation("mul", "mul", "16 a, 16 b"),
    _operation("fma", "fma", "16 a, 16 b, 16 c"),
    _operation("div", "div", "16 a, 16 b"),
    _operation("sqrt", "sqrt", "16 a"),
    _operation("from_int32", "convert", "int i", "16", "F10"),
    _operation("from_float32", "convert", "32 x", "16", "F10"),
    _operation("to_float32", "widen", "16 a", "32", "F9", "F10"),
    _operation("add_fp32", "add", "32 a, 32 b", "16", "F9"),
    _operation("mul_fp32", "mul", "32 a, 32 b", "16", "F9"),
    _operation("dequantize", "mul", "int acc, par 16 scale", "16", "D1"),
    _operation("to_code", "quantize", "16 t", "code", "Q1", "Q2", "Q6"),
    _operation("to_drawn_code", "quantize_drawn", "16 t, lfsr word", "code", "Q2", "Q3", "Q6"),
)}  # fmt: skip
