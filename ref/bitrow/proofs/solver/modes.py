"""The modes of FP16 arithmetic that claims go through, one chunk each; no z3."""

from __future__ import annotations

from bitrow.formats import FloatMode, Overflow, Rounding
from bitrow.proofs.claim import Effort

ALL = tuple(
    FloatMode(rounding, overflow, flush) for rounding in Rounding for overflow in Overflow for flush in (False, True)
)
# Every rounding by itself, and with both of the other parameters changed.
SOME = tuple(
    FloatMode(rounding, overflow, flush)
    for rounding in Rounding
    for overflow, flush in ((Overflow.INFINITY, False), (Overflow.SATURATE, True))
)


def modes(effort: Effort) -> tuple[FloatMode, ...]:
    """The modes that a run covers."""
    return ALL if effort is Effort.FULL else SOME
