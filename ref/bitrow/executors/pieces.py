"""One piece of work where it is done, and what comes back from there: a result, what went wrong, or a refusal.

A worker of a cluster is asked first whether it is the same bitrow on the same libraries, and gives the contract's bits.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bitrow import jax_switches, processor, versions
from bitrow.errors import BitrowError

_one_at_a_time = threading.Lock()  # z3, and XLA as it compiles, do not share a process well


class Errand(NamedTuple):
    """What every piece of a run has in common. `function` and `trial` are found by name in another process.

    `versions`: what a worker has to have, None where it is this very process or one that it started. `trial`: asked
    once in each worker of a cluster; it may refuse the machine.
    """

    function: Callable[[Any], Any]
    label: Callable[[Any], str]
    versions: Mapping[str, str] | None = None
    trial: Callable[[], object] | None = None


class Placed(NamedTuple):
    """A piece and its place among the others."""

    place: int
    piece: Any


def of_placed(function: Callable[[Any], Any], placed: Placed) -> Any:
    """What a function of a piece says of a placed one."""
    return function(placed.piece)


class Returned(NamedTuple):
    """A piece's result, and the machine it was computed on."""

    result: Any
    machine: str


class Refused(NamedTuple):
    """Why a worker is given no work; its piece is for another."""

    reason: str


def do(errand: Errand, piece: Any) -> Returned | Refused:
    """One piece, in the process that computes it.

    Raises:
        BitrowError: the piece's own.
        RuntimeError: naming the piece; anything else that it raised, which may not travel between processes.
    """
    with _one_at_a_time:
        if errand.versions is not None:
            reason = _unfit(tuple(sorted(errand.versions.items())), errand.trial)
            if reason:
                return Refused(reason)
        try:
            return Returned(errand.function(piece), processor.describe())
        except BitrowError:
            raise
        except Exception as error:
            raise RuntimeError(f"{errand.label(piece)}: {type(error).__name__}: {error}") from None


@functools.cache
def _unfit(expected: tuple[tuple[str, str], ...], trial: Callable[[], object] | None) -> str:
    """Why this process may not work for one of such versions; "" where it may. Asked once."""
    found = versions.versions()
    for name, version in expected:
        if found.get(name) != version:
            return f"found {name} {found.get(name, 'absent')[:12]}, expected {version[:12]}"
    try:
        jax_switches.prepare()
        if trial is not None:
            trial()
    except BitrowError as error:
        return str(error)
    return ""
