"""All properties, of words, of codes, of layers and of the row pipeline, and their control run."""

from __future__ import annotations

import functools

from bitrow.proofs.mutants.block_properties import BLOCK_PROPERTIES
from bitrow.proofs.mutants.code_properties import CODE_PROPERTIES
from bitrow.proofs.mutants.flag_properties import FLAG_PROPERTIES
from bitrow.proofs.mutants.layer_properties import LAYER_PROPERTIES
from bitrow.proofs.mutants.properties import Sound, control
from bitrow.proofs.mutants.row_properties import ROW_PROPERTIES
from bitrow.proofs.mutants.sum_properties import SUM_PROPERTIES
from bitrow.proofs.mutants.transposed import TRANSPOSED_PROPERTIES
from bitrow.proofs.mutants.word_properties import WORD_PROPERTIES

PROPERTIES = (
    *WORD_PROPERTIES, *FLAG_PROPERTIES, *CODE_PROPERTIES, *LAYER_PROPERTIES, *TRANSPOSED_PROPERTIES, *BLOCK_PROPERTIES,
    *SUM_PROPERTIES, *ROW_PROPERTIES,
)  # fmt: skip


@functools.cache
def sound() -> tuple[Sound, ...]:
    """The control run of all properties, once in a process.

    Raises:
        BitrowError: see `properties.control`.
    """
    return tuple(control(PROPERTIES))
