"""What a suite is a list of: a case by name, and how its problem is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bitrow.formats import FlagMode, FloatMode, Overflow, Tininess
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


def mode_name(mode: FloatMode) -> str:
    """A mode as a suffix of names: "nearest_even", "up_saturate_flush", of flags "down_before"."""
    saturate = "_saturate" if mode.overflow is Overflow.SATURATE else ""
    before = "_before" if isinstance(mode, FlagMode) and mode.tininess is Tininess.BEFORE_ROUNDING else ""
    return f"{mode.rounding.value}{saturate}{'_flush' if mode.flush else ''}{before}"
