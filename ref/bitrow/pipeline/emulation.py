"""A schedule handed to the emulator: the order in which rows run, and the slots of every ring. Numpy only."""

from __future__ import annotations

import numpy as np

from bitrow.pipeline.memory import Key, Order
from bitrow.pipeline.rings import RingKind
from bitrow.pipeline.schedule import Schedule

_KEYS = {
    RingKind.INPUT: "edge",
    RingKind.SKIP: "edge",
    RingKind.BATCH: "edge",
    RingKind.GRADIENT: "gradient",
    RingKind.HANDOFF: "handoff",
    RingKind.DY: "dy",
}


def emulator_order(found: Schedule) -> Order:
    """Row tasks in the order of their starts: whatever a task reads was written by one before it."""
    return Order(*(np.asarray(column, np.int32) for column in (found.stage, found.phase, found.image, found.row)))


def emulator_slots(found: Schedule) -> dict[Key, int]:
    """Slots by what the emulator calls a ring; unbounded rings and what backward keeps are left out (every row)."""
    slots = {}
    for ring, many in zip(found.rings, found.slots, strict=True):
        kind = _KEYS.get(ring.kind)
        if kind and many:
            slots[kind, ring.edge if kind in ("edge", "gradient") else ring.stage] = many
    return slots
