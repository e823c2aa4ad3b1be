"""The processors of this machine, in words."""

from __future__ import annotations

import os
import platform
import re

from bitrow.errors import BitrowError
from bitrow.reading import SYSTEM, read_text


def available_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Of the names that Linux gives them: those that decide how float16 is computed, and how much of XLA's levels applies.
FEATURES = ("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8",
            "amx_bf16", "amx_fp16", "asimd", "fphp", "asimdhp", "sve", "sve2")  # fmt: skip


def _told(key: str) -> str:
    """What the system says of the first processor under a key; "" where it does not tell."""
    try:
        text = read_text("/proc/cpuinfo", SYSTEM)
    except BitrowError:
        return ""
    found = re.search(rf"^(?:{key})\s*: (.*)$", text, re.M)
    return found[1].strip() if found else ""


def flags() -> str:
    """All that the processor can do, as the system lists it; "" where it does not tell."""
    return _told("flags|Features")


def features() -> tuple[str, ...]:
    """Which of FEATURES the processor has; none where the system does not tell."""
    have = set(flags().split())
    return tuple(name for name in FEATURES if name in have)


def cpu_model() -> str:
    """The processor's name as the system tells it, with family and model: guests of many kinds have one name."""
    name = _told("model name")
    if not name:
        return platform.processor() or platform.machine()
    kind = ((word, _told(key)) for word, key in (("family", "cpu family"), ("model", "model")))
    told = ", ".join(f"{word} {number}" for word, number in kind if number)
    return f"{name} ({told})" if told else name


def describe() -> str:
    """As in "2 processors of AMD EPYC 7763, Linux"."""
    return f"{available_cpus()} processors of {cpu_model()}, {platform.system()}"
