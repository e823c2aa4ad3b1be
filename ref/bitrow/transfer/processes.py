"""Several processes that train together (jax.distributed): what one of them reads or writes, all of them know.

Process 0 alone touches the results. What it found is sent to the others as bytes, and so is its error, so that
every process goes on, or ends, in the same way.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from bitrow import jax_switches
from bitrow.errors import BitrowError
from bitrow.reading.values import parse_json

PATIENCE = 30.0  # seconds that a process waits for process 0 to listen
MEETING = 120  # seconds that they all wait for the last one


def join(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Join `count` processes as number `index`, by way of process 0 at `coordinator` (HOST:PORT); nothing for None.

    Before anything runs on a device. CPUs talk by gloo.

    Raises:
        BitrowError: some of the three without the others, an index out of range, an address that is none, or not
            process 0's own, processes that do not meet; no device to train on.
    """
    given = [value is not None for value in (coordinator, count, index)]
    if any(given):
        if coordinator is None or count is None or index is None:
            raise BitrowError("processes: found some of --coordinator, --processes and --process, expected all three")
        if not 0 <= index < count:
            raise BitrowError(f"--process: found {index}, expected 0 to {count - 1}")
        _meet(coordinator, count, index)
    jax_switches.find_devices()


def _meet(coordinator: str, count: int, index: int) -> None:
    address = _address(coordinator)
    if index == 0:
        _check_own(coordinator, address)
    else:
        _wait_for(coordinator, address)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM for its own
    try:
        jax.distributed.initialize(coordinator, count, index, initialization_timeout=MEETING)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BitrowError(f"processes: found none to meet at {coordinator} ({reason:.120}), expected {count}") from None


def _address(coordinator: str) -> tuple[str, int]:
    """HOST:PORT, [HOST]:PORT for IPv6, as host and port; the host has an address."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]\s]+)):([0-9]{1,5})", coordinator, re.ASCII)
    host, port = (found[1] or found[2], int(found[3])) if found else ("", 0)
    if not 1 <= port <= 65535:
        raise BitrowError(f"--coordinator: found {coordinator[:80]!r}, expected HOST:PORT with a port from 1 to 65535")
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BitrowError(f"--coordinator: found host {host[:80]!r} ({error}), expected one with an address") from None
    return host, port


def _check_own(coordinator: str, address: tuple[str, int]) -> None:
    """Process 0 listens there: refuse another machine's address and a port in use."""
    try:
        socket.create_server(address, family=_family(address), reuse_port=False).close()
    except OSError as error:
        reason = error.strerror or error
        raise BitrowError(f"--coordinator: found {coordinator}, where process 0 cannot listen ({reason}), expected "
                          "its own host and a free port") from None  # fmt: skip


def _wait_for(coordinator: str, address: tuple[str, int]) -> None:
    """The others wait for process 0, but not for long."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(address, timeout=PATIENCE / 4).close()
            return
        except OSError as error:
            reason = error.strerror or error
            if time.monotonic() > until:
                raise BitrowError(f"--coordinator: found nobody at {coordinator} ({reason}), expected process 0 "
                                  f"within {PATIENCE:.0f} s") from None  # fmt: skip
        time.sleep(0.2)


def _family(address: tuple[str, int]) -> socket.AddressFamily:
    return socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]


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
