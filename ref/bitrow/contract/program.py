"""What a line of the contract is: a named intermediate, its format and axes, and the one operation that gives it.

    in  y       : acc, n h w c
        var_eps : acc, c = add var eps
    out z       : 16, n h w c = add ay b16 if not fma

`in` and `par` declare inputs and parameters, `kept` inputs that the forward pass saved, `out` marks what leaves the
operation, a line without a word is a tap (SPEC.md T1), and `let` names what no tensor holds. Formats are those of
`encoding.FORMATS`. `NAME_level` are the levels of a pairwise tree, whose root is what other lines read; `NAME_` are
numbered sums (A5). A line after `if` is there under its conditions only. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bitrow.contract.encoding import FORMATS, Role
from bitrow.errors import BitrowError

_LINE = re.compile(
    r"(?:(?P<word>in|kept|par|out|let) +)?(?P<name>\w+) *: *(?P<format>\w+)(?:, *(?P<axes>[a-z_ ]+?))?"
    r"(?: *= *(?P<op>\w+)(?P<operands>(?: +\w+)*?))?(?: +rounding +(?P<rounding>\w+))?(?: +if +(?P<guard>[\w ]+))?"
)
_ROLES = {"in": Role.INPUT, "kept": Role.INPUT, "par": Role.PARAMETER, "out": Role.OUTPUT, "let": None, None: Role.TAP}


_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]{4}")


def is_number(operand: str) -> bool:
    """An operand that stands for itself: an integer, or in hex an FP16 word."""
    return _NUMBER.fullmatch(operand) is not None


@dataclass(frozen=True)
class Line:
    """A named intermediate; `role` None is a `let`.

    `guard` is a tuple of conditions, each a name and whether it must hold. `rounding` is a fault: a line rounded
    otherwise than the mode says. `saved` inputs are what the forward pass kept.
    """

    name: str
    role: Role | None
    format: str
    axes: tuple[str, ...]
    op: str = ""
    operands: tuple[str, ...] = ()
    guard: tuple[tuple[str, bool], ...] = ()
    rounding: str = ""
    saved: bool = False

    @property
    def layout(self) -> str:
        """The axes as a tensor's layout has them."""
        return " ".join(self.axes)

    @property
    def given(self) -> bool:
        """It is no result, but comes from outside."""
        return not self.op

    def holds(self, conditions: Mapping[str, bool]) -> bool:
        return all(conditions[name] is wanted for name, wanted in self.guard)


def parse_line(text: str) -> Line:
    """One line of a program.

    Raises:
        BitrowError: text that is no line, an unknown format.
    """
    match = _LINE.fullmatch(text.strip())
    if match is None:
        raise BitrowError(f"contract line: found {text.strip()!r}, expected NAME : FORMAT, AXES = OPERATION OPERANDS")
    if match["format"] not in FORMATS:
        raise BitrowError(f"contract line {match['name']}: found the format {match['format']!r}, "
                          f"expected one of {', '.join(FORMATS)}")  # fmt: skip
    parts = (match["guard"] or "").split(" and ") if match["guard"] else ()
    guard = tuple((part.removeprefix("not ").strip(), not part.startswith("not ")) for part in parts)
    axes, operands = (tuple((match[part] or "").split()) for part in ("axes", "operands"))
    role, op, rounding = _ROLES[match["word"]], match["op"] or "", match["rounding"] or ""
    return Line(match["name"], role, match["format"], axes, op, operands, guard, rounding, match["word"] == "kept")


@dataclass
class Program:
    """The lines of one operation, in order. A deliberate fault takes others for a while, nothing else does."""

    name: str
    text: str
    lines: tuple[Line, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.rewrite(self.text)

    def rewrite(self, text: str) -> None:
        """Take other lines.

        Raises:
            BitrowError: text that is no line, an operand that no earlier line names.
        """
        rows = [row.strip() for row in text.strip().splitlines()]
        lines = tuple(parse_line(row) for row in rows if row)
        known: set[str] = set()
        for line in lines:
            missing = [name for name in line.operands if name not in known and not is_number(name)]
            if missing:
                raise BitrowError(f"contract {self.name} {line.name}: found the operand {missing[0]!r}, "
                                  "expected a name of an earlier line")  # fmt: skip
            known.add(line.name)
        self.text, self.lines = text, lines

    def active(self, conditions: Mapping[str, bool]) -> tuple[Line, ...]:
        """The lines that are there under `conditions`, given ones left out."""
        return tuple(line for line in self.lines if line.op and line.holds(conditions))

    def declared(self, role: Role) -> dict[str, Line]:
        """The first line of each name of a role: what its tensor is."""
        found: dict[str, Line] = {}
        for line in self.lines:
            if line.role is role:
                found.setdefault(line.name, line)
        return found

    def named(self, name: str) -> Line:
        """The first line of a name, a `let` among them."""
        return next(line for line in self.lines if line.name == name)

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset(name for line in self.lines for name, _ in line.guard)
