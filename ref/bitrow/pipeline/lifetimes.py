"""Where every row lies and for how long: rows of all rings share banks over time.

A row keeps the bank in which the schedule booked it, so no access meets another that it did not meet before. There it
has words from the start of its writing to the end of its last reading, and then they are another's: of another ring,
layer, image or pass. What lives at once is the bound; what the packing takes is reported beside it. Standard library
and numpy.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bitrow.pipeline.machine import Packing
from bitrow.pipeline.occupancy import peak, row_lives, rows_written
from bitrow.pipeline.rings import SAVED
from bitrow.pipeline.schedule import Schedule

_TOGETHER = 256  # rows that are looked at together, so that all pairs of many need no room
_MOST = 4096  # rows of a bank that are placed by length, in a time that grows with their square


class LivingRows(NamedTuple):
    """Rows that lie in banks, int64[rows] each, by ring and then in the order of writing.

    `ring`: its index; `number`: image times the rows of an image, plus row; `slot` in its ring; `bits`, and the `words`
    that they take of `bank`; `born`, `dies`: cycles from the start of its writing to the end of its last reading, end
    exclusive; `written`: the end of its writing.
    """

    ring: np.ndarray
    number: np.ndarray
    slot: np.ndarray
    bits: np.ndarray
    words: np.ndarray
    bank: np.ndarray
    born: np.ndarray
    dies: np.ndarray
    written: np.ndarray

    def of(self, found: Schedule, *, saved: bool) -> LivingRows:
        """Those that are kept for the backward pass, or the others."""
        kept = np.array([ring.kind in SAVED for ring in found.rings])
        return LivingRows(*(column[kept[self.ring] == saved] for column in self))

    @property
    def live(self) -> int:
        """The most bits that live at once."""
        return peak(self.born, self.dies, self.bits)


def living_rows(found: Schedule) -> LivingRows:
    """The rows of a run's banked rings; where it keeps whole maps, those between the arrays as well."""
    layout, parts = found.layout, []
    for ring, slots in zip(found.rings, found.slots, strict=True):
        if ring.banked or found.plan.whole_maps:
            place = ring.index
            born, dies = row_lives(found, ring)
            number = np.arange(len(born))
            slot = number % slots if slots else number
            bank = (layout.offset[place] + slot % layout.span[place]) % layout.banks
            words = -(-ring.row_bits // found.machine.bank_width)
            index, bits, many = (np.full(len(born), value) for value in (place, ring.row_bits, words))
            at = layout.home[place] + bank
            parts.append((index, number, slot, bits, many, at, born, dies, rows_written(found, ring)))
    return LivingRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Packed(NamedTuple):
    """`rows`, the first word of each in its bank (`address`, int64[rows]), and the words that each bank needs (`depth`,
    int64[banks]).
    """

    rows: LivingRows
    address: np.ndarray
    depth: np.ndarray


def pack(found: Schedule) -> Packed:
    """Places of all rows of a run; where it keeps whole maps, in one memory, a map's rows one after another."""
    rows = living_rows(found)
    return _pack_maps(found, rows) if found.plan.whole_maps else _pack_banks(rows, found.layout.total)


def placed(found: Schedule) -> Packed:
    """Places of all rows as the machine has them (`packing`): as `pack`, or in words that are their ring's alone."""
    if found.machine.packing is Packing.LIFETIMES or found.plan.whole_maps:
        return pack(found)
    rows = living_rows(found)
    address, depth = np.zeros(len(rows.bank), np.int64), np.zeros(found.layout.total, np.int64)
    for ring in np.unique(rows.ring):
        here = np.flatnonzero(rows.ring == ring)
        bank, words = rows.bank[here], rows.words[here]
        address[here] = depth[bank] + rows.slot[here] // found.layout.span[ring] * words
        np.maximum.at(depth, bank, address[here] + words)
    return Packed(rows, address, depth)


def _pack_maps(found: Schedule, rows: LivingRows) -> Packed:
    height = np.array([ring.rows for ring in found.rings])[rows.ring]
    starts = np.flatnonzero(rows.number % height == 0)  # of each map of each ring
    size = np.add.reduceat(rows.words, starts)
    address = place(np.minimum.reduceat(rows.born, starts), np.maximum.reduceat(rows.dies, starts), size)
    each = np.repeat(address, height[starts]) + rows.number % height * rows.words
    one = rows._replace(bank=np.zeros_like(rows.bank))
    return Packed(one, each, np.array([int((address + size).max(initial=0))]))


def _pack_banks(rows: LivingRows, banks: int) -> Packed:
    address, depth = np.zeros(len(rows.bank), np.int64), np.zeros(banks, np.int64)
    for bank in np.unique(rows.bank):
        here = np.flatnonzero(rows.bank == bank)
        address[here] = place(rows.born[here], rows.dies[here], rows.words[here])
        depth[bank] = (address[here] + rows.words[here]).max()
    return Packed(rows, address, depth)


def place(born: np.ndarray, dies: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Addresses, int64[n], at which blocks of `words` that live at the same time do not overlap.

    The longest block has its place first, each the lowest where none that lives with it lies; where there are many, the
    oldest first.
    """
    return _longest_first(born, dies, words) if len(born) <= _MOST else _oldest_first(born, dies, words)


def _longest_first(born: np.ndarray, dies: np.ndarray, words: np.ndarray) -> np.ndarray:
    order = np.lexsort((born, born - dies, -words))
    since, until, many = born[order], dies[order], words[order].tolist()
    first: list[int] = []
    behind: list[int] = []
    for length, beside in zip(many, _beside(since, until), strict=True):
        at = 0
        for other in sorted(beside, key=first.__getitem__):
            if first[other] - at >= length:
                break
            if behind[other] > at:
                at = behind[other]
        first.append(at)
        behind.append(at + length)
    address = np.empty(len(order), np.int64)
    address[order] = first
    return address


def _beside(since: np.ndarray, until: np.ndarray) -> Iterator[list[int]]:
    """Of each block those before it that live when it does: lists, as numpy's calls would take longer than the few."""
    for start in range(0, len(since), _TOGETHER):
        here = slice(start, start + _TOGETHER)
        meet = (since < until[here, None]) & (until > since[here, None])
        turns, others = np.nonzero(np.tril(meet, start - 1))
        bounds, found = np.searchsorted(turns, np.arange(len(meet) + 1)).tolist(), others.tolist()
        yield from (found[low:high] for low, high in pairwise(bounds))


def _oldest_first(born: np.ndarray, dies: np.ndarray, words: np.ndarray) -> np.ndarray:
    address = np.zeros(len(born), np.int64)
    living: list[tuple[int, int]] = []  # first word and the one behind the last, in order
    deaths: list[tuple[int, int, int]] = []
    since, until, many = born.tolist(), dies.tolist(), words.tolist()
    for block in np.argsort(born, kind="stable").tolist():
        while deaths and deaths[0][0] <= since[block]:
            _, first, behind = heappop(deaths)
            del living[bisect_left(living, (first, behind))]
        at = 0
        for first, behind in living:
            if first - at >= many[block]:
                break
            at = behind
        address[block] = at
        insort(living, (at, at + many[block]))
        heappush(deaths, (until[block], at, at + many[block]))
    return address
