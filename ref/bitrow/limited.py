"""A command under a limit of address space (`ulimit -v`): where a library gives up in C, one line says why.

Only under such a limit, a child runs the command and this process waits for it. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from bitrow import leave

resource: Any
try:
    import resource
except ImportError:  # a system without such limits
    resource = None

_ENDED = b"\0"  # the last byte of a child that Python has ended: no library did
_SHOWN = 1 << 20  # last bytes of standard error that are passed on


def run(command: Callable[[], NoReturn]) -> NoReturn:
    """Run `command`, which ends the process; under a limit of address space in a child that may fail by a signal."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] if resource else None
    if limit is None or limit == resource.RLIM_INFINITY:
        command()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 2)
        os.close(reader)
        try:
            command()
        finally:
            os.write(writer, _ENDED)
    os.close(writer)
    _wait(child, reader, limit)


def _own(told: bytes) -> bytes:
    """What is passed on: of a command without memory its own line, not what libraries said of it before."""
    lines = told.splitlines(keepends=True)
    own = [line for line in lines if line.startswith(b"bitrow: not enough memory")]
    return b"".join(own or lines)


def _wait(child: int, reader: int, limit: int) -> NoReturn:
    def end() -> None:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)

    with leave.undoing(end):
        leave.install()
        told = bytearray()
        while block := os.read(reader, 1 << 16):
            told = (told + block)[-_SHOWN:]
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    leave.said()
    if not told.endswith(_ENDED):
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        told = bytearray(f"bitrow: not enough memory: a library ended with {how} under a limit of {limit >> 20} MiB of "
                         "address space (ulimit -v)\n\0".encode())  # fmt: skip
        status = leave.BAD_INPUT
    with contextlib.suppress(OSError):
        os.write(2, _own(bytes(told[:-1])))
    sys.exit(status if status >= 0 else 128 - status)
