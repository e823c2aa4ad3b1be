"""What a layer says of its rows: the buffers that it fills and reads, in which kind of row task, and what that costs.

A row pipeline takes everything else from here: what a row waits for, rings and their banks, where rows lie when they
are emulated, what is kept for the backward pass, operations. Standard library only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple

from bitrow.config.windows import Window
from bitrow.formats import Fxp


class Phase(enum.IntEnum):
    """The four kinds of row tasks of a stage.

    FORWARD_HEAD: a convolution's output row; an *input* row added to an average pool's or batch norm's sums.
    FORWARD_CHAIN: an output row of the stage (heads without rows of their own are computed here, too).
    BACKWARD_CHAIN: output row's gradient summed over its readers (A5) and taken back through the chain.
    BACKWARD_HEAD: a row of the input's gradient, through the head.
    """

    FORWARD_HEAD = 0
    FORWARD_CHAIN = 1
    BACKWARD_CHAIN = 2
    BACKWARD_HEAD = 3

    @property
    def label(self) -> str:
        """The name in charts and traces."""
        return self.name.lower().replace("_", " ")

    @property
    def backward(self) -> bool:
        return self >= Phase.BACKWARD_CHAIN


class Take(enum.Enum):
    """Which rows of a buffer a row task reads.

    SAME: its own; WINDOW: the input rows under its window; MEETING: of an input row, the output rows whose windows
    hold it, in their order; POOLED: the same where windows do not overlap, at most one; RUNNING: the row that it adds
    to, zeros at first; LAST: the one row that there is, as the task before left it; ONLY: the one row of an image;
    BATCH: all rows of all images.
    """

    SAME = enum.auto()
    WINDOW = enum.auto()
    MEETING = enum.auto()
    POOLED = enum.auto()
    RUNNING = enum.auto()
    LAST = enum.auto()
    ONLY = enum.auto()
    BATCH = enum.auto()


class RingKind(enum.Enum):
    """What a ring of rows holds. Values are the names in reports."""

    INPUT = "input rows"
    SKIP = "skip rows"
    HANDOFF = "rows from head to chain"
    DY = "output gradient rows"
    GRADIENT = "input gradient rows"
    MASK = "quantizer masks"
    RELU = "ReLU masks"
    INDEX = "max pool winners"
    BATCH = "batch norm inputs"
    KEPT = "activation inputs"


SAVED = frozenset((RingKind.MASK, RingKind.RELU, RingKind.INDEX, RingKind.BATCH, RingKind.KEPT))


def row_bits(words: int, bits: int) -> int:
    """Bits of a row of `words` of `bits`, which starts on a byte (SPEC.md Q5)."""
    return -(-words * bits // 8) * 8


class RowWord(NamedTuple):
    """A word of a row: its `bits` in a machine's memory, its `dtype` in the emulator's; `code` of an FXP format."""

    bits: int
    dtype: str
    code: bool = False

    def word_bits(self, fxp: bool) -> int:
        """Bits of a word: without FXP multipliers FP16 takes the place of codes."""
        return self.bits if fxp or not self.code else HALF.bits

    def row_bits(self, words: int, fxp: bool) -> int:
        """Bits of a row of `words`."""
        return row_bits(words, self.word_bits(fxp))


HALF = RowWord(16, "float16")
SUM = RowWord(32, "uint32")  # the words of sums in an accumulator's format
FLAG = RowWord(1, "uint8")


def codes(fmt: Fxp) -> RowWord:
    """Codes of up to 4 bits share a byte, others have one (SPEC.md Q5)."""
    return RowWord(fmt.stored_bits, "int8" if fmt.signed else "uint8", True)


Margin = tuple[int, int]  # columns


@dataclass(frozen=True)
class Buffer:
    """Rows that tasks of phase `writer` fill, and what tasks of other phases take of them.

    `kind` None: registers beside the lanes and no ring of the machine. `words` and `rows`, where given, in place of
    those of the map that it belongs to; `per` rows of the writer make one of the buffer. `margin` columns of zeros
    lie before and behind it. `tap` names the layer's tap that whole tensors have of it.
    """

    name: str
    kind: RingKind | None
    encoding: RowWord
    writer: Phase
    reads: tuple[tuple[Phase, Take], ...]
    words: int | None = None
    rows: int | None = None
    per: int = 1
    margin: Margin = (0, 0)
    tap: str = ""

    def take(self, phase: Phase) -> Take | None:
        """What a task of this phase reads of it."""
        return dict(self.reads).get(phase)

    @property
    def trains(self) -> bool:
        """Only the backward pass writes or reads it."""
        return self.writer.backward or all(phase.backward for phase, _ in self.reads)


def input_rows(
    phase: Phase, take: Take, encoding: RowWord = HALF, margin: Margin = (0, 0), tap: str = ""
) -> Buffer:
    """The rows that feed a layer, one ring for each of its readers."""
    reads = ((phase, take),)
    return Buffer("x", RingKind.INPUT, encoding, Phase.FORWARD_CHAIN, reads, margin=margin, tap=tap)


def gradient_rows(take: Take, encoding: RowWord = HALF, margin: Margin = (0, 0), tap: str = "") -> Buffer:
    """The output gradient's rows on their way from the chain to the head."""
    reads = ((Phase.BACKWARD_HEAD, take),)
    return Buffer("dy", RingKind.DY, encoding, Phase.BACKWARD_CHAIN, reads, margin=margin, tap=tap)


def kept(name: str, kind: RingKind, encoding: RowWord) -> Buffer:
    """What an elementwise layer keeps of a row for the backward pass."""
    return Buffer(name, kind, encoding, Phase.FORWARD_CHAIN, ((Phase.BACKWARD_CHAIN, Take.SAME),))


class Ops(NamedTuple):
    """Operations of a row task.

    `macs`: products for `outputs` accumulators, `deq` of which are dequantized; `mul`, `add`: of the FP array;
    `quantize`: multiplications of quantizers, which only a machine with FXP multipliers has; `moved`: elements that
    only pass.
    """

    macs: Any = 0
    outputs: Any = 0
    deq: Any = 0
    mul: Any = 0
    add: Any = 0
    quantize: Any = 0
    moved: Any = 0


class Place(NamedTuple):
    """Where a layer stands: its size, and the shapes (h, w, c) of its inputs and of its result."""

    size: Any
    inputs: tuple[tuple[int, int, int], ...]
    out: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the first input."""
        return self.inputs[0]


@dataclass(frozen=True)
class RowPlan:
    """How a layer works by rows. Elementwise layers join a chain; a `head` begins a stage, alone on its input.

    `inputs`: what holds the rows of its input, which the stage before fills; `buffers`: its own. `rise`: rows of the
    result that a row of its input makes: `window` then says which rows of the result belong to one of the input.
    `takes`: what an elementwise layer takes of its operands, each SAME where nothing is said. `products`: phases
    that run on the array of multipliers, `coded` those of them whose operands are codes; `wide`: phases whose
    additions are FP32. `weights`: a word of its weights; `sums`: bits of the accumulators of its products of codes,
    `ordered` where their order may decide (SPEC.md M2); `groups` of channels that share no product.
    """

    head: bool = False
    window: Window = Window()
    rise: int = 1
    takes: tuple[Take, ...] = ()
    inputs: tuple[Buffer, ...] = (input_rows(Phase.FORWARD_CHAIN, Take.SAME),)
    buffers: tuple[Buffer, ...] = ()
    products: tuple[Phase, ...] = ()
    coded: tuple[Phase, ...] = ()
    wide: tuple[Phase, ...] = ()
    weights: RowWord = HALF
    sums: int = 0
    ordered: bool = False
    groups: int = 1


def raised(rise: int) -> RowPlan:
    """A head, computed in the chain's visit, that makes `rise` rows of each, and of their gradients one."""
    inputs, gradients = input_rows(Phase.FORWARD_CHAIN, Take.POOLED), gradient_rows(Take.WINDOW)
    return RowPlan(head=True, window=Window(rise, rise), rise=rise, inputs=(inputs,), buffers=(gradients,))


def elements(shape: tuple[int, int, int]) -> int:
    """Words of a row of a map (h, w, c)."""
    return shape[1] * shape[2]
