"""The machine that a verdict or a time was found on, in words."""

from __future__ import annotations

import contextlib
import os
import platform

from bitrow.errors import BitrowError
from bitrow.reading import SYSTEM, read_text


def available_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    with contextlib.suppress(BitrowError):
        for line in read_text("/proc/cpuinfo", SYSTEM).splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe() -> str:
    """As in "2 processors of AMD EPYC 7763, Linux"."""
    return f"{available_cpus()} processors of {cpu_model()}, {platform.system()}"
