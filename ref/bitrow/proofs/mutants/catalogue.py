"""The catalogue: every deliberate fault, by name."""

from __future__ import annotations

from bitrow.errors import BitrowError
from bitrow.proofs.mutants.arithmetic import ARITHMETIC
from bitrow.proofs.mutants.blocks import BLOCKS
from bitrow.proofs.mutants.convolution import CONVOLUTION
from bitrow.proofs.mutants.fixed_point import FIXED_POINT
from bitrow.proofs.mutants.geometry import GEOMETRY
from bitrow.proofs.mutants.layers import LAYERS
from bitrow.proofs.mutants.mutant import Mutant
from bitrow.proofs.mutants.rounding_points import ROUNDING_POINTS
from bitrow.proofs.mutants.rows import ROWS

MUTANTS: tuple[Mutant, ...] = (
    *ARITHMETIC, *ROUNDING_POINTS, *FIXED_POINT, *CONVOLUTION, *GEOMETRY, *LAYERS, *BLOCKS, *ROWS,
)  # fmt: skip


def find(name: str) -> Mutant:
    """The mutant called `name`.

    Raises:
        BitrowError: the catalogue has none.
    """
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise BitrowError(f"mutant: found {name!r}, expected a name of the catalogue such as {MUTANTS[0].name}")
