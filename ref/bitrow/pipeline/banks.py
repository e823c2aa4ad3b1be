"""Rows in banks: where a ring's slots lie, which ports a task needs, and a proof that a mapping has no conflicts.

Slot s of a ring lies in bank `(offset + s) mod B`, so neighbouring rows lie in neighbouring banks. A task reads its
window and writes its row in the same cycles: with one port to a bank, K rows being read and S being written are in
different banks if and only if B >= K + S, away from the ring's wrap (docs/proofs.md). Standard library and numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.pipeline.buffers import Access
from bitrow.pipeline.flow import Flow, LineRows
from bitrow.pipeline.machine import Machine
from bitrow.pipeline.rings import SAVED, Ring

SAVED_SPAN = 4
BALANCE = 0.02


class RingClash(NamedTuple):
    """Two rows of one ring that a single bank must serve in the same cycles: when, and which bank."""

    bank: int
    output_row: int
    rows: tuple[int, ...]


def window_clashes(kernel: int, stride: int, slots: int, banks: int, ports: int = 1) -> tuple[RingClash, ...]:
    """Clashes of a ring while output row i is made from rows iS to iS+K-1 and the S rows after them arrive.

    Empty is a proof: the mapping repeats after `slots` output rows, and all of them are looked at. `slots` 0 is an
    unbounded ring, whose rows lie in bank `row mod B`.
    """
    period = banks if slots == 0 else slots
    found = []
    for i in range(period):
        live = np.arange(i * stride, i * stride + kernel + stride)
        # Rows further apart than the ring is long never meet: the later one waits for the slot.
        live = live[: slots or None]
        where = (live % period if slots else live) % banks
        for bank in np.unique(where):
            rows = live[where == bank]
            if len(rows) > ports:
                found.append(RingClash(int(bank), i, tuple(rows.tolist())))
    return tuple(found)


@functools.lru_cache(maxsize=64)
def accesses(flow: Flow, rings: tuple[Ring, ...]) -> list[list[Access]]:
    """By line, the rows of banked rings that its tasks read and write."""
    banked = {ring.name: ring for ring in rings if ring.banked}
    found = []
    for line in flow.lines:
        touched = flow.buffers.accesses(flow.stages[line.stage], line.phase)
        here = [one._replace(ring=banked[one.ring.key]) for one in touched if one.ring.key in banked]
        found.append(sorted(here, key=lambda one: one.ring.index))
    return found


class Layout(NamedTuple):
    """Where slots lie: slot s of a ring in bank `home + (offset + s mod span) mod banks`, by ring.

    `home` is 0 where all rings share one memory; with own units every ring has `banks` of its own. `total` counts all
    banks.
    """

    home: tuple[int, ...]
    offset: tuple[int, ...]
    span: tuple[int, ...]
    banks: int
    total: int


def make_layout(
    rings: tuple[Ring, ...], slots: Sequence[int], machine: Machine, *, whole_maps: bool = False
) -> Layout:
    """A layout with every ring placed behind the one before it.

    A ring spans as many banks as it has slots (a whole map as many as its window and the rows that arrive take); what
    is kept for the backward pass spans at most `SAVED_SPAN`.
    """
    banks, own = machine.banks, not machine.shared

    def most(ring: Ring) -> int:
        if own:
            return banks
        if ring.kind in SAVED:
            return SAVED_SPAN
        return ring.kernel + ring.stride if whole_maps else banks

    span = [min(slots[ring.index] or banks, most(ring), banks) for ring in rings]
    offset = (np.cumsum(span) - span) % banks
    home = tuple(ring.index * banks if own else 0 for ring in rings)
    at = (0,) * len(rings) if own else tuple(int(place) for place in offset)
    return Layout(home, at, tuple(span), banks, banks * len(rings) if own else banks)


def touched_rows(line_accesses: list[Access], images: int) -> np.ndarray:
    """Ring rows that each task of a line touches, int64[images * rows, accesses]; -1 fills up short windows.

    Row r of image g has the number g times the ring's rows of an image, plus r.
    """
    image = np.arange(images)[:, None]
    columns = [
        np.where(row >= 0, image * access.ring.rows + row, -1).reshape(-1)
        for access in line_accesses
        for row in access.rows.T
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0), np.int64)


def touched_banks(
    line_accesses: list[Access], slots: Sequence[int], layout: Layout, images: int
) -> np.ndarray:
    """Banks that each task of a line touches, int64[images * rows, accesses]; -1 fills up short windows."""
    touched = touched_rows(line_accesses, images)
    ring = [access.ring.index for access in line_accesses for _ in access.rows.T]
    many, home, offset, span = (
        np.array([values[place] for place in ring], np.int64)
        for values in (slots, layout.home, layout.offset, layout.span)
    )
    slot = np.where(many > 0, touched % np.maximum(many, 1), touched)
    return np.where(touched >= 0, home + (offset + slot % np.maximum(span, 1)) % layout.banks, -1)


def most_on_a_bank(touched: np.ndarray) -> LineRows:
    """The largest number of a task's accesses that fall on one bank, at least 1."""
    if touched.shape[1] < 2:
        return np.ones(len(touched), np.int64)
    same = (touched[:, :, None] == touched[:, None, :]) & (touched >= 0)[:, :, None]
    return np.maximum(same.sum(axis=2).max(axis=1), 1)


def bank_words(rings: tuple[Ring, ...], slots: Sequence[int], layout: Layout, machine: Machine) -> np.ndarray:
    """Words that each bank must have for its slots, int64[total]; unbounded rings need none."""
    words = np.zeros(layout.total, np.int64)
    for ring in rings:
        if ring.banked:
            place = ring.index
            row_words = -(-ring.row_bits // machine.bank_width)
            here = np.arange(slots[place]) % layout.span[place]
            banks = layout.home[place] + (layout.offset[place] + here) % layout.banks
            np.add.at(words, banks, row_words)
    return words


def check_depth(words: np.ndarray, machine: Machine) -> None:
    """Refuse a network whose slots do not fit the banks.

    Raises:
        BitrowError: naming the fullest bank and the words that are missing.
    """
    if not machine.bank_depth:
        return
    bank = int(words.argmax())
    missing = int(words[bank]) - machine.bank_depth
    if missing > 0:
        raise BitrowError(
            f"machine {machine.name} bank_depth: found {machine.bank_depth} words, "
            f"expected {words[bank]} for bank {bank} ({missing} words short)"
        )


def best_offsets(
    rings: tuple[Ring, ...],
    slots: Sequence[int],
    together: np.ndarray,
    layout: Layout,
    cycles: int,
    sweeps: int = 4,
) -> tuple[int, ...]:
    """Offsets that keep rings in use at the same time in different banks, where there are enough.

    `together[a, b]` are the cycles in which a task touches ring a while one, perhaps the same, touches ring b. Rings
    are placed one after another, the most used first, each where it meets least, and moved again in further sweeps.
    Banks filled unevenly cost, too: as much as `BALANCE` of the run's `cycles` for a bank that is twice as full as
    the mean.
    """
    banks = layout.banks
    presence, bits = np.zeros((len(rings), banks)), np.zeros((len(rings), banks))
    for ring in rings:
        here = np.arange(layout.span[ring.index])
        presence[ring.index, here % banks] += ring.kernel / layout.span[ring.index]
        many = slots[ring.index] or layout.span[ring.index]
        bits[ring.index, np.arange(many) % layout.span[ring.index] % banks] = ring.row_bits * -(
            -many // layout.span[ring.index]
        )
    presence = np.minimum(presence, 1.0)
    bits *= np.array([ring.banked for ring in rings])[:, None]
    bits /= max(1.0, bits.sum() / banks)
    offset = np.zeros(len(rings), np.int64)
    placed, full = np.zeros((len(rings), banks)), np.zeros((len(rings), banks))
    together = together * (1 - np.eye(len(rings)))
    turns = np.arange(banks)
    rolled = (turns[:, None] + turns[None, :]) % banks
    for _ in range(sweeps):
        for place in np.argsort(-together.sum(axis=1), kind="stable"):
            field = together[place] @ placed
            full[place] = 0
            load = full.sum(axis=0)
            cost = field[rolled] @ presence[place] + BALANCE * cycles * (load[rolled] @ bits[place])
            offset[place] = int(cost.argmin())
            turned = rolled[-offset[place]]
            placed[place], full[place] = presence[place, turned], bits[place, turned]
    return tuple(offset.tolist())


def used_together(
    line: np.ndarray, unit: np.ndarray, start: np.ndarray, end: np.ndarray, lines: int
) -> np.ndarray:
    """Cycles in which tasks of two lines run at once, float64[lines, lines]; a task with itself counts double.

    A clash within a task doubles its time, a clash between tasks makes one wait for what is left of the other. Tasks
    are sorted by start.
    """
    found = np.zeros((lines, lines))
    np.add.at(found, (line, line), 2.0 * (end - start))
    for one in np.unique(unit):
        here = unit == one
        for other in np.unique(unit[unit > one]):
            there = np.flatnonzero(unit == other)
            low = np.searchsorted(end[there], start[here], side="right")
            high = np.searchsorted(start[there], end[here], side="left")
            many = np.maximum(high - low, 0)
            mine = np.repeat(np.flatnonzero(here), many)
            step = np.arange(len(mine)) - np.repeat(np.cumsum(many) - many, many)
            theirs = there[np.repeat(low, many) + step]
            shared = np.minimum(end[mine], end[theirs]) - np.maximum(start[mine], start[theirs])
            np.add.at(found, (line[mine], line[theirs]), shared)
    return found + found.T - np.diag(np.diag(found))
