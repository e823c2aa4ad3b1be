"""Several processes that train together (jax.distributed): what one of them reads or writes, all of them know.

Process 0 alone touches the results. What it found is sent to the others as bytes, and so is its error, so that
every process goes on, or ends, in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from bitrow.errors import BitrowError
from bitrow.reading.values import parse_json


def join(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Join `count` processes as number `index`, by way of process 0 at `coordinator` (HOST:PORT); nothing for None.

    Before anything runs on a device. CPUs talk by gloo.

    Raises:
        BitrowError: some of the three without the others, an index out of range, processes that do not meet.
    """
    given = [value is not None for value in (coordinator, count, index)]
    if not any(given):
        return
    if not all(given) or count is None or index is None:
        raise BitrowError("processes: found some of --coordinator, --processes and --process, expected all three")
    if not 0 <= index < count:
        raise BitrowError(f"--process: found {index}, expected 0 to {count - 1}")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, count, index)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BitrowError(f"processes: found none to meet at {coordinator} ({reason:.120}), expected {count}") from None


def leads() -> bool:
    """Whether this process is the one that reads, writes and prints."""
    return jax.process_index() == 0


def agree(make: Callable[..., Any], *arguments: Any) -> Any:
    """In every process what `make(*arguments)` gives process 0, in JSON's values; it runs in no other.

    Raises:
        BitrowError: what it raises, in every process.
    """
    if jax.process_count() == 1:
        return make(*arguments)
    answer = b""
    if leads():
        try:
            answer = json.dumps({"found": make(*arguments)}).encode()
        except BitrowError as error:
            answer = json.dumps({"error": str(error)}).encode()
    told = parse_json(spread(answer), "process 0", constants=True)
    if "error" in told:
        raise BitrowError(told["error"])
    return told["found"]


def spread(data: bytes) -> bytes:
    """Process 0's bytes in every process; as integers, whose sums lose no zero's sign."""
    if jax.process_count() == 1:
        return data
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.int32(len(data))))
    held = np.frombuffer(data, np.uint8) if leads() else np.zeros(size, np.uint8)
    return np.asarray(broadcast_one_to_all(held)).astype(np.uint8).tobytes()
