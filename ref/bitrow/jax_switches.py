"""JAX for the commands, whatever its environment variables say: values it cannot take are refused in one line.

Switches for debugging that change no bit of the contract but break it off, and 64-bit types, are turned off. What
asks for other bits (fast math, another platform) stays; whether they are the contract's is asked elsewhere.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys

from bitrow import compile_cache
from bitrow.errors import BitrowError
from bitrow.extras import extra

OFF = {"jax_enable_x64": False, "jax_debug_nans": False, "jax_debug_infs": False, "jax_disable_jit": False}
GUARDS = ("jax_transfer_guard", "jax_transfer_guard_host_to_device", "jax_transfer_guard_device_to_device",
          "jax_transfer_guard_device_to_host")  # fmt: skip
_PROBE = "import jax; jax.devices()"
_REFUSED = re.compile(
    r"(Unknown flag in XLA_FLAGS: .*|Couldn't interpret value .* for flag [^.]*|Could not open file \S*"
    r"|Unknown CPU ISA: .*)"
)
_PATIENCE = 120.0
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # of the lines that XLA writes; 3: before it ends the process


def prepare(kept: bool = True) -> None:
    """Load JAX with the switches that the commands need; `kept`: programs come from the cache and go there.

    Raises:
        BitrowError: JAX is not installed; naming the variable, a value that JAX or XLA cannot take.
    """
    if "jax" not in sys.modules:
        _check_count()
        _check_xla()
        _quiet()
    try:
        jax = extra("jax", "jax", "jax")
    except BitrowError:
        raise
    except Exception as error:
        raise BitrowError(f"environment: found what JAX cannot take: {_line(error)}") from None
    for name, value in OFF.items():
        if getattr(jax.config, name) != value:
            jax.config.update(name, value)
    collect_seldom()
    if kept:
        compile_cache.use(jax)
    for name in GUARDS:
        if getattr(jax.config, name) not in (None, "allow"):
            jax.config.update(name, "allow")


def collect_seldom() -> None:
    """Traced programs are millions of objects that live on: Python's usual collections take a tenth of `generate`."""
    gc.set_threshold(20_000, 20, 50)


def _quiet() -> None:
    """XLA's own lines, but the last before it ends the process, are not the one line.

    On some processors it says of every program from the cache that it must be compiled anew (jax issue 38445).
    """
    if not os.environ.get("BITROW_DEBUG"):
        os.environ.setdefault(_LEVEL, "3")


def find_devices() -> None:
    """Start JAX's backend.

    Raises:
        BitrowError: there is none of the platform asked for, or it does not start.
    """
    import jax

    try:
        jax.devices()
    except Exception as error:  # RuntimeError, or an assertion without words
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise BitrowError(
            f"JAX_PLATFORMS: found {asked[:40]!r}, expected a platform of this machine: {_line(error)}"
        ) from None


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[0].split())[:200]


def _check_count() -> None:
    count = os.environ.get("JAX_NUM_CPU_DEVICES")
    if count is not None and not re.fullmatch(r"0*[1-9][0-9]{0,3}", count):
        raise BitrowError(f"JAX_NUM_CPU_DEVICES: found {count[:40]!r}, expected a number of devices, 1 or more")


def _check_xla() -> None:
    """XLA ends the process over a flag it does not know: let it end another one."""
    flags = os.environ.get("XLA_FLAGS")
    if not flags:
        return
    environment = {**os.environ, _LEVEL: "0"}
    try:
        done = subprocess.run([sys.executable, "-c", _PROBE], env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=_PATIENCE, check=False)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return  # not known to be bad
    found = _REFUSED.search(done.stderr.decode(errors="replace"))
    if found:
        raise BitrowError(f"XLA_FLAGS: {found[1][:200]}, expected flags and values that this XLA knows")
