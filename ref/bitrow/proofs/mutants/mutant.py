"""What a mutant is: a fault as a record that says where the oracle's text changes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class Family(enum.Enum):
    """The part of the machine that a fault is in."""

    ROUNDING = "rounding"
    POINTS = "rounding points"
    SPECIAL = "special words"
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
    """`old` becomes `new`, once, in the text of `target`, a function "module:name" below `bitrow`."""

    target: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A deliberate fault: its name, what the faulty machine does in one line, the clause of SPEC.md that it breaks.

    `edits` are applied together by `apply.applied`; nothing in the shipped functions knows of them.
    """

    name: str
    does: str
    family: Family
    clause: str
    edits: tuple[Edit, ...]

    @property
    def datapath(self) -> bool:
        """It changes words that a vector set holds; a fault of the row pipeline changes when and where rows lie."""
        return self.family is not Family.ROWS
