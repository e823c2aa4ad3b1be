"""A dask cluster as an executor (extra `cluster`).

dask gives a piece whose worker was lost to another; a worker that is refused is asked no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from bitrow import terminal
from bitrow.errors import BitrowError
from bitrow.executors import pool
from bitrow.executors.pieces import Refused
from bitrow.extras import extra

LOCAL = "local"
PATIENCE = 30.0  # seconds for a scheduler to answer, and for its first worker
_LOOK = 2.0  # seconds between two looks at who works


class Cluster(Executor):
    """The workers of a scheduler, one piece at a time each."""

    def __init__(self, client: Any, named: str) -> None:
        self._client, self._named = client, named
        self._refused: set[str] = set()
        self._found: tuple[float, list[str]] = (-_LOOK, [])

    def workers(self) -> int:
        """How many are fit for work, as far as is known; at least one."""
        return max(len(self._fit()), 1)

    def _fit(self) -> list[str]:
        if time.monotonic() - self._found[0] > _LOOK:
            try:
                self._found = time.monotonic(), sorted(self._client.nthreads())
            except (TimeoutError, OSError, asyncio.CancelledError):
                raise self._gone() from None
        return [address for address in self._found[1] if address not in self._refused]

    def _gone(self) -> BitrowError:
        return BitrowError(f"scheduler {self._named}: found the connection lost, expected it to last; "
                           "what is done is kept where the command keeps it")  # fmt: skip

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        ours: Future[Any] = Future()
        self._give(ours, fn, *args)
        return ours

    def _give(self, ours: Future[Any], fn: Callable[..., Any], *args: Any) -> None:
        fit = self._fit()
        if self._refused and not fit:
            raise BitrowError(f"scheduler {self._named}: found no worker that is fit, expected one")
        theirs = self._client.submit(_there, fn, *args, workers=fit if self._refused else None, pure=False)
        theirs.add_done_callback(lambda _: self._take(ours, theirs, fn, *args))

    def _take(self, ours: Future[Any], theirs: Any, fn: Callable[..., Any], *args: Any) -> None:
        """A piece has come to an end somewhere; called in a thread of dask's."""
        try:
            found, worker = self._outcome(theirs)
            if isinstance(found, Refused):
                self._refuse(worker, found.reason)
                self._give(ours, fn, *args)
                return
        except BaseException as error:
            with contextlib.suppress(Exception):  # nobody waits any more
                ours.set_exception(error)
            return
        with contextlib.suppress(Exception):
            ours.set_result(found)

    def _outcome(self, theirs: Any) -> tuple[Any, str]:
        distributed = extra("cluster", "distributed", "distributed")
        try:
            return theirs.result()
        except distributed.KilledWorker as error:
            raise BitrowError(f"scheduler {self._named}: found a piece that ended its worker each time, the last "
                              f"{error.last_worker.address}") from None  # fmt: skip
        except (asyncio.CancelledError, distributed.CancelledError, OSError):
            raise self._gone() from None

    def _refuse(self, worker: str, reason: str) -> None:
        if worker not in self._refused:
            self._refused.add(worker)
            terminal.say(f"worker {worker} is given no work: {reason}")


def _there(fn: Callable[..., Any], *args: Any) -> tuple[Any, str]:
    """What a worker does, and its address."""
    return fn(*args), extra("cluster", "distributed", "distributed").get_worker().address


@contextlib.contextmanager
def connected(scheduler: str, jobs: int) -> Iterator[Cluster]:
    """The cluster of a scheduler's address or file, or one of this machine's own with so many workers.

    Raises:
        BitrowError: the extra is missing, nobody answers there, nobody works there.
    """
    distributed = extra("cluster", "distributed", "distributed")
    _quiet()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        try:
            client = stack.enter_context(_client(distributed, scheduler, jobs, stack))
            client.wait_for_workers(1, timeout=PATIENCE)
        except (TimeoutError, OSError, ValueError) as error:
            raise BitrowError(f"scheduler {scheduler}: found nobody at work there, expected a scheduler with workers "
                              f"({str(error)[:80] or type(error).__name__})") from None  # fmt: skip
        yield Cluster(client, scheduler)


def _quiet() -> None:
    """dask's lines are not the one line; several of its loggers have a level of their own."""
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _client(distributed: Any, scheduler: str, jobs: int, stack: contextlib.ExitStack) -> Any:
    if scheduler == LOCAL:
        pool.track_quietly()
        own = distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
        return distributed.Client(stack.enter_context(own))
    if "://" in scheduler or not os.path.exists(scheduler):
        return distributed.Client(scheduler, timeout=PATIENCE)
    return distributed.Client(scheduler_file=str(Path(scheduler)), timeout=PATIENCE)
