"""The catalogue: every deliberate fault, by name."""

from __future__ import annotations

from bitrow.errors import BitrowError
from bitrow.faults.arithmetic import ARITHMETIC
from bitrow.faults.blocks import BLOCKS
from bitrow.faults.convolution import CONVOLUTION
from bitrow.faults.fixed_point import FIXED_POINT
from bitrow.faults.flags import FLAGS
from bitrow.faults.geometry import GEOMETRY
from bitrow.faults.layers import LAYERS
from bitrow.faults.mutant import Mutant
from bitrow.faults.rounding_points import ROUNDING_POINTS
from bitrow.faults.rows import ROWS
from bitrow.faults.transposed import TRANSPOSED

MUTANTS: tuple[Mutant, ...] = (
    *ARITHMETIC, *FLAGS, *ROUNDING_POINTS, *FIXED_POINT, *CONVOLUTION, *GEOMETRY, *TRANSPOSED, *LAYERS, *BLOCKS, *ROWS,
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
