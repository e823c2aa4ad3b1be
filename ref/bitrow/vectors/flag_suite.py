"""The suite `flags`: every operation that reports its exceptions, and each parameter (SPEC.md F11 to F14, Q6)."""

from __future__ import annotations

from bitrow.contract.exceptions import FLAGGED
from bitrow.formats import FXP4, UFXP4, FlagMode, Fxp, Overflow, Rounding, Tininess
from bitrow.vectors.entries import Entry, entry, mode_name
from bitrow.vectors.stimulus import flag_problems

_BEFORE = Tininess.BEFORE_ROUNDING
# Overflow, flush and tininess once more, where operands meet its corners.
_MODES = (
    ("add", FlagMode(Rounding.DOWN, flush=True)),
    ("mul", FlagMode(tininess=_BEFORE)),
    ("fma", FlagMode(Rounding.UP, Overflow.SATURATE, flush=True)),
)
# Every mode that flags depend on, and both overflows.
ALL_MODES = tuple(
    FlagMode(rounding, list(Overflow)[(at + flush) % 2], flush, tininess)
    for at, rounding in enumerate(Rounding) for flush in (False, True) for tininess in Tininess
)  # fmt: skip


def _one(kind: str, mode: FlagMode, count: int = 64, per_bin: int = 2) -> Entry:
    return entry(f"flags_{kind}_{mode_name(mode)}", flag_problems.flagged, kind, mode, count, per_bin)


def _code(kind: str, fmt: Fxp) -> Entry:
    return entry(f"flags_{kind}_{'' if fmt.signed else 'u'}fxp{fmt.bits}", flag_problems.flagged, kind, fmt, 48)


_CODES = tuple(kind for kind, operation in FLAGGED.items() if operation.configured_by is Fxp)
_MODED = tuple(kind for kind in FLAGGED if kind not in _CODES)


def flags() -> list[Entry]:
    """Few and small, as the golden set of them is committed."""
    entries = [_one(kind, FlagMode()) for kind in _MODED]
    entries += [_one(kind, mode) for kind, mode in _MODES]
    return [*entries, *(_code(kind, FXP4) for kind in _CODES)]


def every_mode() -> list[Entry]:
    """More of them, for the suite `standard`: every mode, and other codes."""
    entries = [_one(kind, mode, 256, 4) for kind in _MODED for mode in ALL_MODES]
    return [*entries, *(_code(kind, fmt) for kind in _CODES for fmt in (UFXP4, Fxp(2), Fxp(8)))]
