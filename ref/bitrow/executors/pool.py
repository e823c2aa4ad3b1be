"""Processes of this machine, one thread each, which end with the command however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import resource_tracker
from typing import Any

from bitrow import jax_switches, leave


class _Pool(ProcessPoolExecutor):
    """Processes are started as they are needed, under `_quiet_start`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with _quiet_start():
            return super().submit(fn, *args, **kwargs)

    def kill(self) -> None:
        """End its processes at once; from Python 3.14 on there is a `kill_workers`."""
        for process in list((self._processes or {}).values()):
            process.kill()


@contextlib.contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """An executor of so many spawned processes."""
    track_quietly()
    executor = _Pool(count, multiprocessing.get_context("spawn"), _begin)
    with leave.undoing(executor.kill):
        try:
            yield executor
        except BaseException:
            executor.kill()  # what they still compute is for nobody
            raise
        finally:
            executor.shutdown(cancel_futures=True)


def track_quietly() -> None:
    """Python's tracker of semaphores, which deletes those of a command that was ended: without its warning."""
    quiet = f"ignore::UserWarning:{resource_tracker.__name__}"
    sys.warnoptions.append(quiet)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)


def _begin() -> None:
    """A worker's first act."""
    with contextlib.suppress(OSError, AttributeError):  # a worker of a killed command computes no further
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    jax_switches.prepare()


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Processes started inside compute on one thread, leave a GPU's memory to the others, and see no signals."""
    before = {name: os.environ.get(name) for name in ("NPROC", "XLA_PYTHON_CLIENT_PREALLOCATE")}
    os.environ.update(NPROC="1", XLA_PYTHON_CLIENT_PREALLOCATE="false")
    try:
        with leave.held():
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
