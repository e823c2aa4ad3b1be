"""The emulator's memory: rings of rows in four flat stores, and what every task reads and writes.

A store is one array `[slots, lanes, words]` of one dtype, so that the scan carries four arrays whatever the network
is. Slot 0 of each store is never written and holds zeros (rows outside a map); slot 1 takes the writes that a task
does not have. Row r of image g of a region lies in slot `base + (g*rows + r) % slots`, columns and channels side by
side, with the zero columns of its reader's padding around it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.pipeline.buffers import Access, BufferKey, Buffers

ZERO_SLOT, TRASH_SLOT = 0, 1


class Store(enum.IntEnum):
    """The four stores by what a word is."""

    CODE = 0  # int8 codes
    HALF = 1  # float16 rows
    BYTE = 2  # uint8 masks, indices, unsigned codes
    WORD = 3  # uint32 sums and statistics


DTYPES = {Store.CODE: np.int8, Store.HALF: np.float16, Store.BYTE: np.uint8, Store.WORD: np.uint32}
_STORES = {np.dtype(dtype).name: store for store, dtype in DTYPES.items()}


class Order(NamedTuple):
    """Row tasks in the order in which they run: int32 `[tasks]` each; `phase` holds Phase values."""

    stage: np.ndarray
    phase: np.ndarray
    image: np.ndarray
    row: np.ndarray


@dataclass(frozen=True)
class Region:
    """A ring of `slots` rows of `words` words each, `rows` of them to an image.

    A row lies behind `lead` words of zeros and fills `span` words with the zeros behind it.
    """

    store: Store
    base: int
    slots: int
    rows: int
    words: int
    lead: int
    span: int

    def slot(self, image: int, row: int) -> int:
        return self.base + (image * self.rows + row) % self.slots


@dataclass
class Memory:
    """Regions by key, and the size of the stores. `slots` gives ring sizes; a region it lacks keeps every row."""

    images: int
    slots: Mapping[BufferKey, int]
    regions: dict[BufferKey, Region] = field(default_factory=dict)
    used: dict[Store, int] = field(default_factory=lambda: dict.fromkeys(Store, 2))
    width: dict[Store, int] = field(default_factory=lambda: dict.fromkeys(Store, 1))

    def add(self, key: BufferKey, store: Store, rows: int, words: int, margin: tuple[int, int] = (0, 0)) -> None:
        """A region of rows of `words` words, with a `margin` of words of zeros before and behind each.

        Raises:
            BitrowError: a ring of no slots.
        """
        slots = min(self.slots.get(key, rows * self.images), rows * self.images)
        if slots < 1:
            raise BitrowError(f"ring {key}: found {slots} slots, expected 1 or more")
        span = words + sum(margin)
        self.regions[key] = Region(store, self.used[store], slots, rows, words, margin[0], span)
        self.used[store] += slots
        self.width[store] = max(self.width[store], span)

    def bytes(self, lanes: int) -> int:
        """Size of all stores."""
        return sum(self.used[s] * self.width[s] * np.dtype(DTYPES[s]).itemsize for s in Store) * lanes


def make_memory(buffers: Buffers, images: int, slots: Mapping[BufferKey, int]) -> Memory:
    """A region for every buffer of a network; registers have the same for all images.

    Raises:
        BitrowError: a ring of no slots.
    """
    registers = {held.key: held.buffer.rows for held in buffers.all() if held.buffer.rows}
    memory = Memory(images, {**slots, **registers})
    for held in buffers.all():
        store = _STORES[held.buffer.encoding.dtype]
        memory.add(held.key, store, held.rows, held.words, held.margin)
    return memory


class TaskProgram(NamedTuple):
    """What one kind of task touches in each of its `rows`."""

    rows: int
    reads: tuple[Access, ...]
    writes: tuple[Access, ...]
