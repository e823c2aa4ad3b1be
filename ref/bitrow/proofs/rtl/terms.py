"""A circuit as z3's terms."""

from __future__ import annotations

from collections.abc import Sequence

import z3

from bitrow.lower.smt import Term
from bitrow.proofs.rtl.btor import CircuitNode


def _bit(formula: Term) -> Term:
    return z3.If(formula, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1))


_COMPARED = {
    "sgt": lambda a, b: a > b, "sgte": lambda a, b: a >= b, "slt": lambda a, b: a < b, "slte": lambda a, b: a <= b,
    "ugt": z3.UGT, "ugte": z3.UGE, "ult": z3.ULT, "ulte": z3.ULE,
    "eq": lambda a, b: a == b, "iff": lambda a, b: a == b, "neq": lambda a, b: a != b,
}  # fmt: skip
_WORDS = {
    "and": lambda a, b: a & b, "nand": lambda a, b: ~(a & b), "or": lambda a, b: a | b, "nor": lambda a, b: ~(a | b),
    "xor": lambda a, b: a ^ b, "xnor": lambda a, b: ~(a ^ b), "implies": lambda a, b: ~a | b,
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "sll": lambda a, b: a << b, "srl": z3.LShR, "sra": lambda a, b: a >> b, "rol": z3.RotateLeft, "ror": z3.RotateRight,
    "udiv": z3.UDiv, "urem": z3.URem, "sdiv": lambda a, b: a / b, "srem": z3.SRem, "smod": lambda a, b: a % b,
    "concat": z3.Concat,
}  # fmt: skip


class Terms:
    """The algebra of a circuit whose words are bit-vectors."""

    def const(self, value: int, bits: int) -> Term:
        return z3.BitVecVal(value, bits)

    def decided(self, condition: Term) -> bool | None:
        return bool(condition.as_long()) if z3.is_bv_value(condition) else None

    def apply(self, node: CircuitNode, operands: Sequence[Term], of: Sequence[int]) -> Term:
        name, first = node.operation, operands[0]
        if name == "slice":
            return z3.Extract(*node.numbers, first)
        if name in ("uext", "sext"):
            return (z3.ZeroExt if name == "uext" else z3.SignExt)(node.numbers[0], first)
        if name == "ite":
            return z3.If(first == 1, operands[1], operands[2])
        if name in _COMPARED:
            return _bit(_COMPARED[name](*operands))
        return _WORDS[name](*operands) if name in _WORDS else self._unary(name, first, of[0])

    def _unary(self, name: str, a: Term, bits: int) -> Term:
        if name == "not":
            return ~a
        if name == "neg":
            return -a
        if name in ("inc", "dec"):
            return a + (1 if name == "inc" else -1)
        if name == "redand":
            return _bit(a == z3.BitVecVal(-1, bits))
        if name == "redor":
            return _bit(a != 0)
        found = z3.Extract(0, 0, a)
        for place in range(1, bits):
            found = found ^ z3.Extract(place, place, a)
        return found
