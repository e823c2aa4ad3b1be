"""Faults of the row pipeline: which row a reader finds, when a slot is free, in which bank a row lies (SPEC.md C1).

They change no formula of the datapath, so no vector of it can find them: the pipeline's properties must.
"""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant

_MEMORY, _RINGS, _BANKS = "pipeline.memory:", "pipeline.rings:", "pipeline.banks:"
_STEPS = "pipeline.steps:"


def _row(name: str, does: str, clause: str, target: str, old: str, new: str) -> Mutant:
    return Mutant(name, does, FaultFamily.ROWS, clause, (Edit(target, old, new),))


ROWS = (
    _row("stale_ring_row", "a reader takes the row that lies before its own in the ring", "C1",
         f"{_STEPS}_resolve", "(region.store, region.slot(image, at)) for at in rows[row]]\n        writes",
         "(region.store, region.slot(image, max(at - 1, 0))) for at in rows[row]]\n        writes"),
    _row("padding_reads_a_slot", "rows outside the map read the first slot of a ring", "M1",
         f"{_STEPS}make_steps", "table[:, reads] = ZERO_SLOT", "table[:, reads] = TRASH_SLOT + 1"),
    _row("overwritten_before_its_reader", "a row may be written before the last reader of its slot has run", "C1",
         f"{_STEPS}_before", "may_share.update(readers.get(slot, ()))", "pass"),
    _row("window_one_row_more", "a window still takes the row before its first", "C1",
         "pipeline.takes:window_rows", "_inside(first, first + window.extent - 1",
         "_inside(first - 1, first + window.extent - 1"),
    _row("ring_one_slot_short", "a ring wraps one slot early", "C1",
         f"{_MEMORY}Region.slot", "% self.slots", "% max(self.slots - 1, 1)"),
    _row("image_forgotten", "every image starts at slot 0 of a ring", "C1",
         f"{_MEMORY}Region.slot", "image * self.rows + row", "row"),
    _row("slot_freed_early", "a slot is free one task of its last reader too early", "C1",
         f"{_RINGS}_last_readers", "row[first:] = task", "row[first:] = max(task - 1, 0)"),
    _row("window_starts_early", "a window does not wait for its last row", "C1",
         "pipeline.flow:_columns", "last = np.array([row.last for row in column], np.int64)",
         "last = np.array([max(row.last - 1, row.first) for row in column], np.int64)"),
    _row("ring_formula_one_short", "a ring is built with K+S-1 slots", "C1",
         f"{_RINGS}slots", "full = ring.kernel + ring.stride", "full = ring.kernel + ring.stride - 1"),
    _row("skip_lag_one_short", "a skip ring holds one row less of what is under way", "A2",
         f"{_RINGS}lag", "return -(-max(0, beats.offset[reader.line] - soonest) // beat)",
         "return max(0, -(-(beats.offset[reader.line] - soonest) // beat) - 1)"),
    _row("bank_off_by_one", "the words of a slot are counted in the next bank", "C1",
         f"{_BANKS}bank_words", "here = np.arange(slots[place])", "here = (np.arange(slots[place]) + 1)"),
    _row("neighbours_share_a_bank", "two neighbouring rows lie in one bank", "C1",
         f"{_BANKS}touched_banks", "slot % np.maximum(span, 1)", "slot // 2 % np.maximum(span, 1)"),
    _row("arriving_row_unbooked", "the bank proof overlooks the last of the rows that arrive", "C1",
         f"{_BANKS}window_clashes", "i * stride + kernel + stride)", "i * stride + kernel + stride - 1)"),
)  # fmt: skip
