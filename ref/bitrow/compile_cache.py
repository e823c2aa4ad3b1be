"""Compiled programs kept between commands, so that the next one starts at once.

`BITROW_CACHE` names the folder, by default `bitrow` where the system keeps caches; `off` keeps nothing. A folder below
it holds what one processor and one jaxlib compiled; JAX's key has the rest, flags and the program itself. Where XLA
takes its own programs for another processor's (openxla issue 44565), each is compiled anew. What checks how this
machine compiles (`certify`, the trial before bits are promised) compiles anew, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from bitrow import processor

VARIABLE = "BITROW_CACHE"
OFF = "off"
SECONDS = 0.05  # programs that compile faster are not worth a file


def folder(jaxlib: str) -> Path | None:
    """Where this processor's programs lie, None where nothing is kept."""
    named = os.environ.get(VARIABLE, "")
    if named == OFF:
        return None
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    root = Path(named) if named else Path(home) / "bitrow"
    machine = f"{processor.cpu_model()} {processor.flags()}"
    return root.absolute() / f"jaxlib-{jaxlib}-{hashlib.sha256(machine.encode()).hexdigest()[:12]}"


def use(jax: Any) -> None:
    """Keep programs from now on, unless JAX was told a folder of its own, or this one cannot be written."""
    if jax.config.jax_compilation_cache_dir is not None:
        return
    path = folder(jax.lib.__version__)
    if path is None:
        return
    with contextlib.suppress(OSError):  # a home that cannot be written: every command compiles for itself
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(path, os.W_OK | os.X_OK):
            jax.config.update("jax_compilation_cache_dir", str(path))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
