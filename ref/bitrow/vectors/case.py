"""A vector case in memory: typed tensors of integer bit views and what they exercise (SPEC.md V3).

Standard library and numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bitrow.config import LayerConfig
from bitrow.contract.encoding import (
    Encoding,
    Role,
)
from bitrow.contract.operation import Operation
from bitrow.formats import FloatMode, Fxp


@dataclass(frozen=True)
class Tensor:
    """One named array of a case, as integer bit views.

    `data` may be anything that `numpy.asarray` turns into the array, so that a large one can be made late.

    `data` is uint16 for FP16 and WORD, uint32 for FP32, int8 or uint8 for CODE, int32 for INTEGER, uint8 for
    MASK, INDEX and PACKED. `layout` names the axes in order, as in "n h w c"; "" for a scalar.
    """

    name: str
    role: Role
    encoding: Encoding
    layout: str
    data: np.ndarray


@dataclass(frozen=True)
class Case:
    """One operation with all its tensors: inputs, parameters, taps, outputs, in that order.

    `clauses` are SPEC.md's
    numbers; `bins` counts the stimulus bins that the inputs and results hit; `rows_checked` says how much of
    it the oracle recomputed: "all", or a sentence naming the sampled rows.
    """

    name: str
    operation: Operation
    config: LayerConfig | FloatMode | Fxp
    tensors: tuple[Tensor, ...]
    clauses: tuple[str, ...]
    bins: dict[str, int] = field(default_factory=dict)
    rows_checked: str = "all"

    def tensor(self, name: str) -> Tensor:
        """The tensor called `name`.

        Raises:
            KeyError: the case has none of that name.
        """
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(f"{self.name}: no tensor {name}; it has {', '.join(t.name for t in self.tensors)}")
