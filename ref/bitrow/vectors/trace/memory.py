"""What a run's banks hold at a cycle: the rows that are written and still to be read (SPEC.md V6).

A row is a number, its words one behind the other, the first lowest; word k of its bank words has the k-th bits.
Standard library and numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from bitrow.errors import BitrowError
from bitrow.pipeline.banks import check_depth
from bitrow.pipeline.lifetimes import Packed
from bitrow.pipeline.schedule import Schedule
from bitrow.vectors.trace.streams import StreamRecord

MOST_WORDS, MOST_BITS = 1 << 22, 1 << 30
BankImage = list[int | None]  # a word for each address; None: no living row is there


def row_values(stream: StreamRecord, words: np.ndarray) -> list[int]:
    """Each row of a stream as a number, by image and row."""
    rows = np.ascontiguousarray(words.reshape(-1, stream.words))
    if stream.bank_bits % 8:
        bits = (rows[:, :, None] >> np.arange(stream.bank_bits, dtype=rows.dtype)) & 1
        rows = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row.astype(row.dtype.newbyteorder("<"), copy=False).tobytes(), "little") for row in rows]


class BankMemory:
    """The banks of a run, `depth` words of `width` bits each, whose rows have `words` by stream."""

    def __init__(
        self, found: Schedule, places: Packed, listed: tuple[StreamRecord, ...], words: Mapping[str, np.ndarray]
    ) -> None:
        self.width, self.depth, self.places = found.machine.bank_width, depth_of(found, places), places
        self.banks = found.layout.total
        rings = {ring.name for ring in found.rings if ring.banked}
        self._values = [value for one in listed if one.name in rings for value in row_values(one, words[one.name])]

    def living(self, cycle: int) -> list[int]:
        """The rows, by their place in `places`, that are whole and not yet dead at a cycle."""
        rows = self.places.rows
        return [int(row) for row in np.flatnonzero((rows.written <= cycle) & (cycle < rows.dies))]

    def row(self, place: int) -> Iterator[tuple[int, int]]:
        """Addresses and words of a row, zeros above its last bit."""
        value, mask = self._values[place], (1 << self.width) - 1
        first = int(self.places.address[place])
        for word in range(int(self.places.rows.words[place])):
            yield first + word, value >> word * self.width & mask

    def images(self, cycle: int) -> list[BankImage]:
        """Every bank at a cycle."""
        found: list[BankImage] = [[None] * self.depth for _ in range(self.banks)]
        for place in self.living(cycle):
            bank = found[int(self.places.rows.bank[place])]
            for address, word in self.row(place):
                bank[address] = word
        return found


def depth_of(found: Schedule, places: Packed) -> int:
    """Words of each bank: the machine's, or as many as the fullest takes.

    Raises:
        BitrowError: banks that are not as deep, or more words or bits in all than images are written of.
    """
    check_depth(places.depth, found.machine)
    depth = found.machine.bank_depth or int(places.depth.max(initial=0))
    words = depth * found.layout.total
    if words > MOST_WORDS or words * found.machine.bank_width > MOST_BITS:
        raise BitrowError(
            f"machine {found.machine.name}: found {found.layout.total} banks of {depth:,} words of "
            f"{found.machine.bank_width:,} bits, expected at most {MOST_WORDS:,} words and {MOST_BITS:,} bits in all"
        )
    return depth
