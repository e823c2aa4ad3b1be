"""A circuit as yosys writes it in BTOR2: words of fixed widths, registers and what they are next.

Every bit that the source leaves undefined is an input without a name, so that what is shown holds whatever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from bitrow.errors import BitrowError

V = TypeVar("V")

_UNARY = ("not", "inc", "dec", "neg", "redand", "redor", "redxor")
_BINARY = (
    "iff", "implies", "eq", "neq", "sgt", "ugt", "sgte", "ugte", "slt", "ult", "slte", "ulte", "and", "nand", "nor",
    "or", "xnor", "xor", "rol", "ror", "sll", "sra", "srl", "add", "mul", "udiv", "sdiv", "smod", "urem", "srem", "sub",
    "concat",
)  # fmt: skip
_CONSTANTS = {"const": 2, "constd": 10, "consth": 16}
OPERATIONS = (*_UNARY, *_BINARY, "ite", "uext", "sext", "slice")


@dataclass(frozen=True)
class CircuitNode:
    """A word: its operation, bits, operands by their numbers, and what else the operation is given.

    `const` has its value in `numbers`, `slice` the upper and lower bit, `uext` and `sext` the added bits.
    """

    operation: str
    bits: int
    operands: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Circuit:
    """Nodes by number; outputs, and what registers are next, by the number of a node."""

    nodes: Mapping[int, CircuitNode]
    outputs: Mapping[str, int]
    next: Mapping[int, int] = field(default_factory=dict)

    def registers(self, roots: Sequence[int]) -> list[int]:
        """The registers that words come from, through other registers, too."""
        seen: set[int] = set()
        left = list(roots)
        while left:
            number = left.pop()
            if number not in seen:
                seen.add(number)
                left += self.nodes[number].operands
                left += [self.next[number]] if number in self.next else []
        return sorted(number for number in seen if self.nodes[number].operation == "state")


class Algebra(Protocol[V]):
    """What a circuit is computed in: numbers, or terms of a solver."""

    def const(self, value: int, bits: int) -> V: ...
    def apply(self, node: CircuitNode, operands: Sequence[V], of: Sequence[int]) -> V: ...
    def decided(self, condition: V) -> bool | None: ...  # what a bit is, where that is known


@dataclass
class Cycle(Generic[V]):
    """The words of one clock cycle: `given` has the inputs' and registers', by number."""

    circuit: Circuit
    algebra: Algebra[V]
    given: Callable[[int, CircuitNode], V]
    known: dict[int, V] = field(default_factory=dict)

    def value(self, root: int) -> V:
        """The word of a node; without recursion, since circuits are deep."""
        left = [root]
        while left:
            number = left[-1]
            node = self.circuit.nodes[number]
            missing = [each for each in self._read(node) if each not in self.known]
            if number in self.known or not missing:
                left.pop()
                self.known.setdefault(number, self._of(number, node))
            else:
                left += missing
        return self.known[root]

    def _read(self, node: CircuitNode) -> Sequence[int]:
        """The operands that count: of a choice, once its condition says which, no more than the chosen one."""
        if node.operation != "ite":
            return node.operands
        condition = node.operands[0]
        if condition not in self.known:
            return (condition,)
        decided = self.algebra.decided(self.known[condition])
        return node.operands if decided is None else (node.operands[1 if decided else 2],)

    def _of(self, number: int, node: CircuitNode) -> V:
        if number in self.known:
            return self.known[number]
        if node.operation in ("input", "state"):
            return self.given(number, node)
        if node.operation == "const":
            return self.algebra.const(node.numbers[0], node.bits)
        read = self._read(node)
        if node.operation == "ite" and len(read) == 1:
            return self.known[read[0]]
        operands = [self.known[each] for each in read]
        return self.algebra.apply(node, operands, [self.circuit.nodes[each].bits for each in node.operands])


def run(
    circuit: Circuit, algebra: Algebra[V], free: Callable[[int, int, CircuitNode], V], cycles: int
) -> list[Cycle[V]]:
    """`cycles` + 1 cycles, registers carried on; `free` has inputs of each cycle and registers of the first."""
    done: list[Cycle[V]] = []

    def given(cycle: int) -> Callable[[int, CircuitNode], V]:
        def of(number: int, node: CircuitNode) -> V:
            if node.operation == "state" and cycle and number in circuit.next:
                return done[cycle - 1].value(circuit.next[number])
            return free(0 if node.operation == "state" else cycle, number, node)

        return of

    for cycle in range(cycles + 1):
        done.append(Cycle(circuit, algebra, given(cycle)))
    return done


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _towards_zero(a: int, b: int) -> tuple[int, int]:
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return quotient, a - b * quotient


class CircuitNumbers:
    """A circuit in Python's integers, unsigned: how counterexamples are confirmed."""

    def const(self, value: int, bits: int) -> int:
        return value

    def decided(self, condition: int) -> bool | None:
        return bool(condition)

    def apply(self, node: CircuitNode, operands: Sequence[int], of: Sequence[int]) -> int:
        return self._apply(node, operands, of) & ((1 << node.bits) - 1)

    def _apply(self, node: CircuitNode, given: Sequence[int], of: Sequence[int]) -> int:
        name, a, n = node.operation, given[0], of[0]
        if name == "slice":
            return a >> node.numbers[1]
        if name in ("uext", "sext"):
            return a if name == "uext" else _signed(a, n)
        if name == "ite":
            return given[1] if a else given[2]
        if name in _UNARY:
            return {"not": ~a, "inc": a + 1, "dec": a - 1, "neg": -a, "redand": int(a == (1 << n) - 1),
                    "redor": int(a != 0), "redxor": a.bit_count() & 1}[name]  # fmt: skip
        return self._binary(name, a, given[1], n, of[1])

    def _binary(self, name: str, a: int, b: int, n: int, m: int) -> int:
        if name[1:] in ("gt", "gte", "lt", "lte") and name[0] in "su":
            x, y = (_signed(a, n), _signed(b, n)) if name[0] == "s" else (a, b)
            return int({"gt": x > y, "gte": x >= y, "lt": x < y, "lte": x <= y}[name[1:]])
        if name in ("udiv", "urem", "sdiv", "srem", "smod"):
            return self._divided(name, a, b, n)
        if name in ("sll", "srl", "sra"):
            b = min(b, n)
            return a << b if name == "sll" else (_signed(a, n) if name == "sra" else a) >> b
        if name in ("rol", "ror"):
            b %= n
            b = n - b if name == "ror" else b
            return a << b | a >> (n - b)
        return {"iff": int(a == b), "eq": int(a == b), "neq": int(a != b), "implies": int(not a or bool(b)),
                "and": a & b, "nand": ~(a & b), "or": a | b, "nor": ~(a | b), "xor": a ^ b, "xnor": ~(a ^ b),
                "add": a + b, "sub": a - b, "mul": a * b, "concat": a << m | b}[name]  # fmt: skip

    def _divided(self, name: str, a: int, b: int, n: int) -> int:
        if name in ("udiv", "urem"):
            return (a // b if name == "udiv" else a % b) if b else (-1 if name == "udiv" else a)
        x, y = _signed(a, n), _signed(b, n)
        if not y:
            return (1 if x < 0 else -1) if name == "sdiv" else x
        if name == "smod":
            return x % y
        return _towards_zero(x, y)[0 if name == "sdiv" else 1]


@dataclass
class _Reader:
    sorts: dict[int, int] = field(default_factory=dict)
    nodes: dict[int, CircuitNode] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    next: dict[int, int] = field(default_factory=dict)

    def line(self, words: Sequence[str]) -> None:
        number, operation, rest = int(words[0]), words[1], words[2:]
        if operation == "sort":
            if rest[0] != "bitvec":
                raise BitrowError(f"found a memory ({' '.join(words)}), expected registers")
            self.sorts[number] = int(rest[1])
        elif operation == "output":
            self.outputs[rest[1] if len(rest) > 1 else f"output{number}"] = self._operand(rest[0])
        elif operation == "next":
            self.next[int(rest[1])] = self._operand(rest[2])
        elif operation not in ("init", "bad", "constraint", "fair", "justice"):
            self.nodes[number] = self._node(operation, self.sorts[int(rest[0])], rest[1:])

    def _node(self, operation: str, bits: int, rest: Sequence[str]) -> CircuitNode:
        if operation in ("input", "state"):
            return CircuitNode(operation, bits, name=rest[0] if rest else "")
        if operation in ("zero", "one", "ones"):
            return CircuitNode("const", bits, numbers=({"zero": 0, "one": 1, "ones": (1 << bits) - 1}[operation],))
        if operation in _CONSTANTS:
            return CircuitNode("const", bits, numbers=(int(rest[0], _CONSTANTS[operation]) & ((1 << bits) - 1),))
        if operation not in OPERATIONS:
            raise BitrowError(f"found the operation {operation}, expected one of {', '.join(OPERATIONS)}")
        count = 3 if operation == "ite" else 2 if operation in _BINARY else 1
        numbers = [int(each) for each in rest[count:] if each.isdecimal()] if count == 1 else []
        numbers = numbers[: {"slice": 2, "uext": 1, "sext": 1}.get(operation, 0)]
        return CircuitNode(operation, bits, tuple(self._operand(each) for each in rest[:count]), tuple(numbers))

    def _operand(self, text: str) -> int:
        """A node's number; of a negative one, a node of its complement."""
        number = int(text)
        if number < 0:
            self.nodes.setdefault(number, CircuitNode("not", self.nodes[-number].bits, (-number,)))
        return number


def read(text: str) -> Circuit:
    """A circuit from BTOR2.

    Raises:
        BitrowError: a memory, or an operation that is not known here.
    """
    reader = _Reader()
    for line in text.splitlines():
        words: Any = line.partition(";")[0].split()
        if words:
            reader.line(words)
    return Circuit(reader.nodes, reader.outputs, reader.next)
