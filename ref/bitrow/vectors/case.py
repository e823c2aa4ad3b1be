"""A vector case in memory: typed tensors of integer bit views and what they exercise (SPEC.md V3).

Standard library and numpy only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np

from bitrow.config import LayerConfig
from bitrow.formats import FloatMode, Fxp


class Role(enum.Enum):
    """What a tensor is to the design under test."""

    INPUT = "input"
    PARAMETER = "parameter"
    TAP = "tap"
    OUTPUT = "output"


class Kind(enum.Enum):
    """How a word is read."""

    FP16 = "fp16"
    FP32 = "fp32"
    CODE = "code"
    INTEGER = "integer"
    MASK = "mask"
    INDEX = "index"
    WORD = "word"
    PACKED = "packed"


@dataclass(frozen=True)
class Encoding:
    """Width and meaning of a tensor's words (SPEC.md V2).

    `bits` is the word's width: 16 for FP16, 32 for FP32, the code's own bits for CODE, 1 for MASK, 8 for
    INDEX, 16 for WORD (LFSR), 8 for PACKED nibbles, `acc_bits` for INTEGER. `signed`: two's complement.
    """

    kind: Kind
    bits: int
    signed: bool = False

    @property
    def hex_digits(self) -> int:
        return -(-self.bits // 4)

    @property
    def word_bits(self) -> int:
        """Width of the word in a hex file: that of INTEGER is rounded up to a multiple of 4 (SPEC.md V2)."""
        return 4 * self.hex_digits if self.kind is Kind.INTEGER else self.bits

    @property
    def dtype(self) -> np.dtype:
        """The integer dtype that holds these words in a `Tensor`."""
        width = {Kind.FP16: 16, Kind.WORD: 16, Kind.FP32: 32, Kind.INTEGER: 32}.get(self.kind, 8)
        return np.dtype(f"{'i' if self.signed else 'u'}{width // 8}")


FP16_WORD = Encoding(Kind.FP16, 16)
FP32_WORD = Encoding(Kind.FP32, 32)
MASK_WORD = Encoding(Kind.MASK, 1)
INDEX_WORD = Encoding(Kind.INDEX, 8)
LFSR_WORD = Encoding(Kind.WORD, 16)
PACKED_BYTE = Encoding(Kind.PACKED, 8)


def code_encoding(fmt: Fxp) -> Encoding:
    """Encoding of codes of `fmt`."""
    return Encoding(Kind.CODE, fmt.bits, fmt.signed)


def integer_encoding(bits: int) -> Encoding:
    """Encoding of a two's complement integer of `bits`."""
    return Encoding(Kind.INTEGER, bits, signed=True)


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

    `operation` is a key of `bitrow.vectors.operations`, as in "conv.forward"; `clauses` are SPEC.md's
    numbers; `bins` counts the stimulus bins that the inputs and results hit; `rows_checked` says how much of
    it the oracle recomputed: "all", or a sentence naming the sampled rows.
    """

    name: str
    operation: str
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
