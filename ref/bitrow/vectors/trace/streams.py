"""The rows of a run as streams of words: of every ring, of what the host gives and what it takes (SPEC.md V6).

Standard library and numpy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bitrow import typed
from bitrow.config.rows import FLAG, HALF, SUM, RowWord
from bitrow.contract.encoding import FP16_WORD, FP32_WORD, INDEX_WORD, MASK_WORD, PACKED_BYTE, Encoding, Kind
from bitrow.graph import INPUT, Shape, shapes
from bitrow.pipeline.buffers import Held
from bitrow.pipeline.rings import Ring
from bitrow.pipeline.schedule import Schedule
from bitrow.reading import records

IMAGES, DLOGITS = "host.images", "host.dlogits"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamRecord(records.Plain):
    """The rows of a ring, or of what the host gives or takes, in `case.json`.

    Its file has `rows` of each of `images`, `words` of `bits` each, read as `encoding`: its `elements`, columns by
    channels, packed codes two to a word. A word takes `bank_bits` of a row in a bank. `tap`: the tap of whole tensors
    with the same words. Of a ring: `slots` (0: unbounded); slot s of one in banks lies in
    `home + (offset + s mod span) mod banks` of the machine.
    """

    name: str
    holds: str
    layer: str
    images: int
    rows: int
    elements: int
    words: int
    encoding: Kind
    bits: int
    signed: bool
    bank_bits: int
    tap: str | None = None
    slots: int | None = None
    home: int | None = None
    offset: int | None = None
    span: int | None = None

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "stream")

    @property
    def file(self) -> str:
        """Its file in the trace."""
        return f"rows/{self.name}.hex"

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images, self.rows, self.words

    @property
    def count(self) -> int:
        return self.images * self.rows * self.words

    @property
    def words_as(self) -> Encoding:
        """How its words are read."""
        return Encoding(self.encoding, self.bits, self.signed)


def streams(found: Schedule) -> tuple[StreamRecord, ...]:
    """What the host gives, every ring, what the host takes."""
    return (*_given(found), *(_of_ring(found, ring) for ring in found.rings), *_ends(found))


def _given(found: Schedule) -> Iterator[StreamRecord]:
    network = found.flow.network
    yield _host(IMAGES, "images", INPUT, network.input_shape, found.images)
    if found.flow.training:
        sizes = shapes(network)
        for name in network.outputs:
            yield _host(f"{DLOGITS}.{name}", "gradients of outputs", name, sizes[name], found.images)


def _host(name: str, holds: str, layer: str, shape: Shape, images: int) -> StreamRecord:
    return StreamRecord(
        name=name, holds=holds, layer=layer, images=images, rows=shape[0], elements=shape[1] * shape[2],
        words=shape[1] * shape[2], encoding=FP16_WORD.kind, bits=FP16_WORD.bits, signed=False, bank_bits=HALF.bits,
    )  # fmt: skip


def _ends(found: Schedule) -> Iterator[StreamRecord]:
    for stage in found.flow.stages:
        for held in found.flow.buffers.ends[stage.index]:
            yield _held(found, held, "gradients of images" if held.buffer.writer.backward else "outputs")


def _of_ring(found: Schedule, ring: Ring) -> StreamRecord:
    plain, at, layout = _held(found, ring.held, ring.kind.value), ring.index, found.layout
    if not ring.banked:
        return dataclasses.replace(plain, slots=found.slots[at])
    return dataclasses.replace(
        plain, slots=found.slots[at], home=layout.home[at], offset=int(layout.offset[at]), span=layout.span[at]
    )


def _held(found: Schedule, held: Held, holds: str) -> StreamRecord:
    word = held.buffer.encoding
    encoding = row_encoding(word)
    packed = encoding.kind is Kind.PACKED
    return StreamRecord(
        name=held.key,
        holds=holds,
        layer=held.node,
        images=found.images,
        rows=held.rows,
        elements=held.words,
        words=-(-held.words // 2) if packed else held.words,
        encoding=encoding.kind,
        bits=encoding.bits,
        signed=encoding.signed,
        bank_bits=encoding.bits if packed else word.bits,
        tap=held.tap or None,
    )


def row_encoding(word: RowWord) -> Encoding:
    """How a file has the words of rows (SPEC.md V2): codes of up to 4 bits two to a byte (Q5)."""
    if word.code:
        return PACKED_BYTE if word.bits <= 4 else Encoding(Kind.CODE, word.bits, word.dtype == "int8")
    return {HALF: FP16_WORD, SUM: FP32_WORD, FLAG: MASK_WORD}.get(word, INDEX_WORD)
