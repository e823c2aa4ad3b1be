"""On-chip memory of a run against what other ways of buffering would take. Standard library and numpy."""

from __future__ import annotations

from typing import NamedTuple

from bitrow.graph import shapes
from bitrow.pipeline import banks as banking
from bitrow.pipeline.rings import SAVED, Ring, RingKind
from bitrow.pipeline.schedule import Schedule

PER_LAYER = "per-layer ping-pong"
ONE_PAIR = "one shared ping-pong pair"
FULL_MAPS = "full maps kept for training"
BASELINES = {
    PER_LAYER: "two whole maps for every value between stages, forward and backward",
    ONE_PAIR: "two buffers of the largest map, and whole maps for skips while they are needed",
    FULL_MAPS: "the FP16 output of every layer kept for the backward pass, with one pair for what is in work",
}


class MemorySize(NamedTuple):
    """Bits on chip, weights apart.

    `rows`: rings of rows and the queue (layer by layer: one ping-pong pair of maps and the skips); `saved`: what is
    kept for the backward pass; `built`: what equal banks must offer for it all (0 with unbounded rings). `baselines`:
    (rows, saved) of each other way, for one image.
    """

    rows: int
    saved: int
    built: int
    baselines: dict[str, tuple[int, int]]

    @property
    def total(self) -> int:
        return self.rows + self.saved


def memory_size(found: Schedule) -> MemorySize:
    """Bits of a run's buffers: slots times rows; unbounded rings count their peak elsewhere, here nothing."""
    rows = saved = 0
    for ring, slots in zip(found.rings, found.slots, strict=True):
        bits = ring.row_bits * slots
        if ring.kind in SAVED:
            saved += bits
        elif not (found.plan.one_queue and ring.queued):
            rows += bits
    rows += queue_bits(found)
    if (
        found.plan.whole_maps
    ):  # layer by layer, maps take turns in one pair: of the whole batch behind a barrier
        rows = _baselines(found)[ONE_PAIR][0] * (found.images if found.flow.barrier else 1)
    words = banking.bank_words(found.rings, found.slots, found.layout, found.machine)
    if found.plan.whole_maps:
        built = rows + saved
    elif found.machine.shared:
        built = int(words.max()) * found.machine.bank_width * found.machine.banks
    else:
        built = int(words.sum()) * found.machine.bank_width
    return MemorySize(rows, saved, built, _baselines(found))


def queue_bits(found: Schedule) -> int:
    """Bits of the one queue from FXP to FP array: its rows, each as long as the longest."""
    if not found.plan.one_queue:
        return 0
    longest = max((ring.row_bits for ring in found.rings if ring.queued), default=0)
    return longest * found.machine.handoff_rows


def _baselines(found: Schedule) -> dict[str, tuple[int, int]]:
    maps = [ring for ring in found.rings if ring.kind not in SAVED and ring.kind is not RingKind.SKIP]
    skips = [ring for ring in found.rings if ring.kind is RingKind.SKIP]
    saved = sum(ring.row_bits * ring.rows for ring in found.rings if ring.kind in SAVED)
    whole = [ring.row_bits * ring.rows for ring in maps]
    skip_maps = sum(ring.row_bits * ring.rows for ring in skips)
    alive = _most_alive(found, skips)
    pair = 2 * max(whole, default=0) + alive
    outputs = sum(h * w * c for h, w, c in shapes(found.flow.network).values()) * 16
    return {
        PER_LAYER: (2 * sum(whole) + 2 * skip_maps, saved),
        ONE_PAIR: (pair, saved),
        FULL_MAPS: (2 * max(whole, default=0), outputs),
    }


def _most_alive(found: Schedule, skips: list[Ring]) -> int:
    """The most bits of skip maps that are needed at once when stages run one after another."""
    edges = {edge.index: edge for stage in found.flow.stages for edge in stage.edges}
    totals = [0] * (len(found.flow.stages) + 1)
    for ring in skips:
        edge = edges[ring.edge]
        for stage in range(edge.producer, edge.consumer + 1):
            totals[stage] += ring.row_bits * ring.rows
    return max(totals)
