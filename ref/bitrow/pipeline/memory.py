"""The emulator's memory: rings of rows in four flat stores, and the table of what every task reads and writes.

A store is one array `[slots, lanes * words]` of one dtype, so that the scan carries four arrays whatever the
network is. Slot 0 of each store is never written and holds zeros (rows outside a map); slot 1 takes the writes
that a task does not have. Row r of image g of a region lies in slot `base + (g*rows + r) % slots`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.pipeline.stages import Phase

ZERO_SLOT, TRASH_SLOT = 0, 1


class Store(enum.IntEnum):
    """The four stores by what a word is."""

    CODE = 0  # int8 quantizer codes
    HALF = 1  # float16 rows
    BYTE = 2  # uint8 masks and indices
    WORD = 3  # uint32 sums and statistics


DTYPES = {Store.CODE: np.int8, Store.HALF: np.float16, Store.BYTE: np.uint8, Store.WORD: np.uint32}

Key = tuple[str, int]  # what a region holds, and the edge or stage it belongs to


class Order(NamedTuple):
    """Row tasks in the order in which they run: int32 `[tasks]` each; `phase` holds Phase values."""

    stage: np.ndarray
    phase: np.ndarray
    image: np.ndarray
    row: np.ndarray


@dataclass(frozen=True)
class Region:
    """A ring of `slots` rows of `words` words each, `rows` of them to an image."""

    store: Store
    base: int
    slots: int
    rows: int
    words: int

    def slot(self, image: int, row: int) -> int:
        return self.base + (image * self.rows + row) % self.slots


@dataclass
class Layout:
    """Regions by key, and the size of the stores. `slots` gives ring sizes; a region it lacks keeps every row."""

    images: int
    slots: Mapping[Key, int]
    regions: dict[Key, Region] = field(default_factory=dict)
    used: dict[Store, int] = field(default_factory=lambda: dict.fromkeys(Store, 2))
    width: dict[Store, int] = field(default_factory=lambda: dict.fromkeys(Store, 1))

    def add(self, key: Key, store: Store, rows: int, words: int) -> None:
        """A region of rows of `words` words.

        Raises:
            BitrowError: a ring of no slots.
        """
        slots = min(self.slots.get(key, rows * self.images), rows * self.images)
        if slots < 1:
            raise BitrowError(f"ring {key[0]} {key[1]}: found {slots} slots, expected 1 or more")
        self.regions[key] = Region(store, self.used[store], slots, rows, words)
        self.used[store] += slots
        self.width[store] = max(self.width[store], words)

    def bytes(self, lanes: int) -> int:
        """Size of all stores."""
        return sum(self.used[s] * self.width[s] * np.dtype(DTYPES[s]).itemsize for s in Store) * lanes


class Access(NamedTuple):
    """Rows that a task reads or writes: `region`, and the row of it, None for a row of zeros."""

    region: Key
    row: int | None


class Program(NamedTuple):
    """What one kind of task touches: `reads(row)` and `writes(row)` in the order in which its code takes them."""

    reads: tuple[tuple[Access, ...], ...]  # by row
    writes: tuple[tuple[Access, ...], ...]


class Tables(NamedTuple):
    """The scan's input: for each task its program, its place, and its slots, `[tasks, ...]` int32.

    numpy arrays here, one task's tracers inside the scan.
    """

    program: Any
    image: Any
    row: Any
    reads: Any
    present: Any
    writes: tuple[Any, ...]  # by store: [tasks, most writes of a task to this store]


def tables(layout: Layout, programs: Mapping[tuple[int, Phase], Program], order: Order) -> Tables:
    """Resolve every task's accesses to slots.

    Raises:
        BitrowError: the order holds a task that the network does not have.
    """
    numbers = {key: number for number, key in enumerate(programs)}
    most_reads = max(_longest(program.reads) for program in programs.values())
    most_writes = [max(_most_to(layout, p, store) for p in programs.values()) for store in Store]
    count = len(order.stage)
    reads = np.full((count, max(most_reads, 1)), ZERO_SLOT, np.int32)
    present = np.zeros((count, max(most_reads, 1)), bool)
    writes = tuple(np.full((count, most), TRASH_SLOT, np.int32) for most in most_writes)
    program = np.zeros(count, np.int32)
    for task, (stage, phase, image, row) in enumerate(zip(*order, strict=True)):
        key = (int(stage), Phase(int(phase)))
        if key not in numbers or row >= len(programs[key].reads):
            raise BitrowError(f"order task {task}: found {key[1].name} row {row} of stage {stage}, expected a task")
        program[task] = numbers[key]
        for place, access in enumerate(programs[key].reads[row]):
            if access.row is not None:
                reads[task, place] = layout.regions[access.region].slot(image, access.row)
                present[task, place] = True
        filled = [0] * len(Store)
        for access in programs[key].writes[row]:
            region = layout.regions[access.region]
            assert access.row is not None
            writes[region.store][task, filled[region.store]] = region.slot(image, access.row)
            filled[region.store] += 1
    return Tables(program, order.image.astype(np.int32), order.row.astype(np.int32), reads, present, writes)


def _longest(rows: Iterable[tuple[Access, ...]]) -> int:
    return max((len(accesses) for accesses in rows), default=0)


def _most_to(layout: Layout, program: Program, store: Store) -> int:
    return max(
        (sum(layout.regions[a.region].store is store for a in accesses) for accesses in program.writes), default=0
    )
