"""What a mutant is: a fault as a record that says where the text of the oracle or of a program changes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class FaultFamily(enum.Enum):
    """The part of the machine that a fault is in."""

    ROUNDING = "rounding"
    POINTS = "rounding points"
    SPECIAL = "special words"
    FLAGS = "flags"
    QUANTIZER = "quantizer"
    STOCHASTIC = "stochastic rounding"
    MEMORY = "packing"
    ACCUMULATOR = "accumulator"
    DEQUANTIZER = "dequantizer"
    CONVOLUTION = "convolution"
    GRADIENT = "input gradient"
    REDUCTION = "reduction order"
    BATCH_NORM = "batch norm"
    LAYERS = "other layers"
    ROWS = "row pipeline"


class Edit(NamedTuple):
    """`old` becomes `new`, once, in what `target` names, "module:name" below `bitrow`.

    A function: a part of its text. An operation: one line of its program, by one or more lines.
    """

    target: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A deliberate fault: its name, what the faulty machine does in one line, the clause of SPEC.md that it breaks.

    `edits` are applied together by `apply.applied`; nothing in the shipped functions and programs knows of them.
    """

    name: str
    does: str
    family: FaultFamily
    clause: str
    edits: tuple[Edit, ...]

    @property
    def datapath(self) -> bool:
        """It changes words that a vector set holds; a fault of the row pipeline changes when and where rows lie."""
        return self.family is not FaultFamily.ROWS


def neighbours(program: str, tensor: str) -> Edit:
    """Each place of a program's input or parameter reads the one before it along the first axis."""
    asked = f'(self.operation.program.name, name) == ("{program}", "{tensor}")'
    rolled = "np.roll(self.given[name], 1, axis=0 if self.given[name].ndim else None)"
    return Edit("contract.frame:Frame._given", "self.given[name]", f"{rolled} if {asked} else self.given[name]")
