"""What a suite is a list of: a case by name, and how its problem is built; the modes that suites go through."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from bitrow.formats import FlagMode, FloatMode, Overflow, Rounding, Tininess
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus.stream import Stream

Build = Callable[[Stream, str], Problem]


class Entry(NamedTuple):
    """A case by name, and how to build its problem from a stream of its own."""

    name: str
    build: Build


def entry(name: str, function: Callable[..., Problem], *arguments: Any, **sizes: Any) -> Entry:
    """An entry whose problem is `function(stream, name, *arguments, **sizes)`."""
    return Entry(name, lambda stream, case: function(stream, case, *arguments, **sizes))


FLUSH = FloatMode(flush=True)
SATURATE = FloatMode(overflow=Overflow.SATURATE)
HARD = FloatMode(Rounding.TOWARD_ZERO, Overflow.SATURATE, flush=True)
MODES = tuple(
    FloatMode(rounding, overflow, flush)
    for rounding, overflow, flush in itertools.product(Rounding, Overflow, (False, True))
)
# every value of every mode parameter, for what is too slow to compile in all twenty modes
LAYER_MODES = (
    *(FLUSH, SATURATE, HARD),
    FloatMode(Rounding.UP, flush=True),
    FloatMode(Rounding.DOWN, Overflow.SATURATE),
    FloatMode(Rounding.NEAREST_AWAY),
)


def mode_name(mode: FloatMode) -> str:
    """A mode as a suffix of names: "nearest_even", "up_saturate_flush", of flags "down_before"."""
    saturate = "_saturate" if mode.overflow is Overflow.SATURATE else ""
    before = "_before" if isinstance(mode, FlagMode) and mode.tininess is Tininess.BEFORE_ROUNDING else ""
    return f"{mode.rounding.value}{saturate}{'_flush' if mode.flush else ''}{before}"
