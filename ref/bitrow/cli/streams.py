"""Standard streams: there from a command's start, whatever its caller closed, and written out at its end."""

from __future__ import annotations

import contextlib
import os
import sys

from bitrow import leave, terminal


def say(line: str) -> None:
    """The command's last line; a standard error that cannot be written changes no status."""
    leave.said()
    with contextlib.suppress(OSError):
        terminal.say(line)


def open_closed() -> None:
    """Open those that are closed: what is written to standard output then fails, and no file takes its place."""
    for number, (name, flags, mode) in enumerate(
        [("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")]
    ):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def flush() -> None:
    """Write all that was printed; what cannot be is given up."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
