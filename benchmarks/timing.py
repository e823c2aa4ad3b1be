"""Side-by-side timing: the contenders take turns in one process, so that a drifting machine hits both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class Timing:
    """Medians of one contender, in milliseconds; compiling is apart from running."""

    name: str
    compile_ms: float
    run_ms: float
    runs: tuple[float, ...]
    temporary_bytes: int = 0  # what the compiled program needs beside its arguments and results


def _milliseconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return (time.perf_counter() - start) * 1e3


def race(
    contenders: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]],
    rounds: int = 41,
    ready: dict[str, Callable[[], Any]] | None = None,
    warm: bool = False,
) -> dict[str, Timing]:
    """Compile each contender, then run them in turn `rounds` times after three unmeasured rounds.

    One that is jitted already keeps its compiler's options.
    `ready`: contenders of another library, called as they are. `warm`: each runs unmeasured just before it is
    measured, so that its neighbour's caches and idle threads are not in its time.
    """
    compiled: dict[str, Callable[[], Any]] = dict(ready or {})
    compile_ms, temporary = dict.fromkeys(compiled, 0.0), dict.fromkeys(compiled, 0)
    for name, (function, arguments) in contenders.items():
        start = time.perf_counter()
        jitted: Any = function if hasattr(function, "lower") else jax.jit(function)
        program = jitted.lower(*arguments).compile()
        compile_ms[name] = (time.perf_counter() - start) * 1e3
        temporary[name] = program.memory_analysis().temp_size_in_bytes
        compiled[name] = lambda program=program, arguments=arguments: program(*arguments)
    runs: dict[str, list[float]] = {name: [] for name in compiled}
    for turn in range(rounds + 3):
        for name, call in compiled.items():
            if warm:
                _milliseconds(call)
            elapsed = _milliseconds(call)
            if turn >= 3:
                runs[name].append(elapsed)
    return {
        name: Timing(name, compile_ms[name], statistics.median(times), tuple(times), temporary[name])
        for name, times in runs.items()
    }


def ratio(a: Timing, b: Timing) -> float:
    """Median of a/b over the rounds, pair by pair."""
    return statistics.median(x / y for x, y in zip(a.runs, b.runs, strict=True))


def spread(a: Timing, b: Timing, parts: int = 5) -> tuple[float, ...]:
    """Medians of a/b in `parts` stretches of the sitting, one after another."""
    pairs = [x / y for x, y in zip(a.runs, b.runs, strict=True)]
    each = len(pairs) // parts
    return tuple(statistics.median(pairs[part * each : (part + 1) * each]) for part in range(parts))
