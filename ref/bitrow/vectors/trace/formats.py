"""Images of a bank as memories are loaded: `$readmemh`, Intel HEX, MIF, COE (SPEC.md V6). Standard library only."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from itertools import islice

_LINES = 1 << 10  # in a chunk
_POISON = 0xDEAD
_RECORD = 32  # bytes


class ImageFormat(enum.Enum):
    """How a bank's image is written."""

    READMEMH = "readmemh"
    INTEL_HEX = "intel-hex"
    MIF = "mif"
    COE = "coe"

    @property
    def suffix(self) -> str:
        """The end of its file's name."""
        return {ImageFormat.READMEMH: "hex", ImageFormat.INTEL_HEX: "ihex"}.get(self, self.value)


def poison(width: int) -> int:
    """What stands for a word that nothing has written, where a format has no x: dead, repeated, cut to `width` bits."""
    repeated = int.from_bytes(_POISON.to_bytes(2, "big") * (width // 16 + 1), "big")
    return repeated & ((1 << width) - 1)


def image_chunks(words: Sequence[int | None], width: int, image_format: ImageFormat) -> Iterator[bytes]:
    """A bank of words of `width` bits, by address from 0, in pieces; None is a word that nothing has written."""
    lines = _WRITERS[image_format](words, width)
    while piece := "".join(islice(lines, _LINES)):
        yield piece.encode("ascii")


def _readmemh(words: Sequence[int | None], width: int) -> Iterator[str]:
    digits = -(-width // 4)
    yield "@0\n"
    for word in words:
        yield "x" * digits + "\n" if word is None else f"{word:0{digits}x}\n"


def _driven(words: Sequence[int | None], width: int) -> Iterator[int]:
    return (poison(width) if word is None else word for word in words)


def _mif(words: Sequence[int | None], width: int) -> Iterator[str]:
    digits = -(-width // 4)
    yield f"DEPTH = {len(words)};\nWIDTH = {width};\nADDRESS_RADIX = HEX;\nDATA_RADIX = HEX;\nCONTENT BEGIN\n"
    for address, word in enumerate(_driven(words, width)):
        yield f"{address:x} : {word:0{digits}X};\n"
    yield "END;\n"


def _coe(words: Sequence[int | None], width: int) -> Iterator[str]:
    digits = -(-width // 4)
    yield "memory_initialization_radix=16;\nmemory_initialization_vector=\n"
    for address, word in enumerate(_driven(words, width)):
        yield f"{word:0{digits}x}{';' if address == len(words) - 1 else ','}\n"


def _intel_hex(words: Sequence[int | None], width: int) -> Iterator[str]:
    """By bytes, the lowest of each word first; a word takes whole bytes."""
    size = -(-width // 8)
    content = b"".join(word.to_bytes(size, "little") for word in _driven(words, width))
    for address in range(0, len(content), _RECORD):
        if address and not address & 0xFFFF:
            yield _record(0, 4, (address >> 16).to_bytes(2, "big"))
        yield _record(address & 0xFFFF, 0, content[address : address + _RECORD])
    yield _record(0, 1, b"")


def _record(address: int, kind: int, content: bytes) -> str:
    body = bytes([len(content), address >> 8, address & 0xFF, kind]) + content
    return f":{body.hex().upper()}{-sum(body) & 0xFF:02X}\n"


_WRITERS = {
    ImageFormat.READMEMH: _readmemh,
    ImageFormat.INTEL_HEX: _intel_hex,
    ImageFormat.MIF: _mif,
    ImageFormat.COE: _coe,
}
