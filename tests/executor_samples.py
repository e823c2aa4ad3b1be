"""Pieces of work that other processes find by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from bitrow.errors import BitrowError


def square(number: int) -> int:
    if number < 0:
        raise BitrowError(f"number: found {number}, expected none below 0")
    return (1000 // (number - 13) and number) ** 2


def named(number: int) -> str:
    return f"square of {number}"


def full(number: int) -> int:
    with open("/dev/full", "w") as stream:  # a disk that the system says is full
        return stream.write(f"{number}\n")


def dies_once(place: str) -> int:
    """The process that does this first is killed over it."""
    first = not os.path.exists(place)
    Path(place).touch()
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def dies(place: str) -> None:
    """Whoever does this is killed over it; a file beside `place` says who."""
    Path(f"{place}{os.getpid()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def first_is_slow(number: int) -> int:
    """The first of ten takes longer than the others."""
    time.sleep(0.1 if number % 10 == 0 else 0)
    return number


def slow(number: int) -> int:
    time.sleep(0.2)
    return number


def dask_setup(worker: object) -> None:
    """What `dask worker --preload` calls: from here on this process, whose files are sound, truncates products."""
    from bitrow.formats import FloatMode, Rounding
    from bitrow.ops import fp16

    right = fp16.round_once
    fp16.round_once = lambda value, mode=FloatMode(): right(value, FloatMode(Rounding.TOWARD_ZERO))
