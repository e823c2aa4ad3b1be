"""Chunks of claims, checked in this process or in several, with what is done saved after each.

Processes and not threads: z3 and a compiling XLA do not share one well, and each stays with the claim whose kernels
it has compiled until that claim has no chunk left.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from bitrow import jax_switches, leave
from bitrow.errors import BitrowError
from bitrow.proofs import registry
from bitrow.proofs.claim import Claim, Effort
from bitrow.proofs.results import Done, Job, Results

OnDone = Callable[[Job, Done], None]


def check(claims: Mapping[str, Claim], effort: Effort, job: Job) -> Done:
    """One chunk, timed."""
    start = time.perf_counter()
    outcome = claims[job.claim].check(effort, job.chunk)
    return Done(outcome, time.perf_counter() - start)


def run(claims: Mapping[str, Claim], results: Results, processes: int, on_done: OnDone) -> None:
    """Check what is left of `results`; `on_done` is called after each chunk, whose outcome is already in `results`.

    A claim with a counterexample is not checked further. One process means this one; more take claims by their
    registered names.

    Raises:
        BitrowError: a claim cannot be checked, or a process ended.
    """

    def note(job: Job, done: Done) -> None:
        results.add(job, done)
        on_done(job, done)

    run_jobs(claims, results.effort, results.left(), processes, note)


def run_jobs(
    claims: Mapping[str, Claim], effort: Effort, jobs: Sequence[Job], processes: int, note: OnDone
) -> None:
    """Check chunks, in this process or in more; `note` is called after each, and what it raises ends them all.

    Raises:
        BitrowError: a claim cannot be checked, or a process ended.
    """
    if processes > 1 and len(jobs) > 1:
        _in_processes(jobs, effort, min(processes, len(jobs)), note)
        return
    false: set[str] = set()
    for job in jobs:
        if job.claim not in false:
            done = check(claims, effort, job)
            note(job, done)
            if done.outcome.counterexample:
                false.add(job.claim)


class _Queue:
    """Chunks by claim; a worker keeps to its claim, else takes one that nobody works on, else the longest."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left: dict[str, deque[Job]] = {}
        for job in jobs:
            self._left.setdefault(job.claim, deque()).append(job)
        self._working: Counter[str] = Counter()

    def take(self, last: str | None) -> Job | None:
        if last is not None:
            self._working[last] -= 1
        claim = last if last in self._left else self._free()
        if claim is None:
            return None
        job = self._left[claim].popleft()
        if not self._left[claim]:
            del self._left[claim]
        self._working[claim] += 1
        return job

    def _free(self) -> str | None:
        idle = [claim for claim in self._left if not self._working[claim]]
        return idle[0] if idle else max(self._left, key=lambda claim: len(self._left[claim]), default=None)

    def drop(self, claim: str) -> None:
        self._left.pop(claim, None)


def _work(pipe: Connection) -> None:
    """A worker: chunks in, outcomes out, until the pipe closes."""
    _die_with_parent()
    jax_switches.prepare()
    claims = registry.claims()
    try:
        while True:
            effort, job = pipe.recv()
            try:
                answer: Any = check(claims, effort, job)
            except BitrowError as error:
                answer = error
            except Exception as error:
                answer = RuntimeError(f"{job.claim} chunk {job.chunk}: {type(error).__name__}: {error}")
            pipe.send(answer)
    except (EOFError, BrokenPipeError):
        return


def _die_with_parent() -> None:
    """Where the system can: a worker of a killed run computes no further. Signals but SIGKILL are held from it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside compute on one thread, and leave a GPU's memory to the others."""
    before = {name: os.environ.get(name) for name in ("NPROC", "XLA_PYTHON_CLIENT_PREALLOCATE")}
    os.environ.update(NPROC="1", XLA_PYTHON_CLIENT_PREALLOCATE="false")
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _in_processes(jobs: Sequence[Job], effort: Effort, count: int, note: OnDone) -> None:
    context = multiprocessing.get_context("spawn")
    queue = _Queue(jobs)
    workers: list[multiprocessing.context.SpawnProcess] = []
    under_way: dict[Connection, Job] = {}

    def kill() -> None:
        for worker in workers:
            worker.kill()

    try:
        with leave.undoing(kill), _one_thread_each(), leave.held():
            for _ in range(count):
                ours, theirs = context.Pipe()
                worker = context.Process(target=_work, args=(theirs,), daemon=True)
                worker.start()
                theirs.close()
                workers.append(worker)
                _give(ours, queue, effort, None, under_way)
        with leave.undoing(kill):
            _answers(queue, effort, under_way, note)
    finally:
        kill()
        for worker in workers:
            worker.join()


def _answers(queue: _Queue, effort: Effort, under_way: dict[Connection, Job], note: OnDone) -> None:
    """Take what the workers find, and give each of them the next chunk, until there is none."""
    while under_way:
        ready = set(wait(under_way))
        for pipe in [pipe for pipe in under_way if pipe in ready]:
            job = under_way.pop(pipe)
            done = _receive(pipe, job)
            note(job, done)
            if done.outcome.counterexample:
                queue.drop(job.claim)
            _give(pipe, queue, effort, job.claim, under_way)


def _give(
    pipe: Connection, queue: _Queue, effort: Effort, last: str | None, under_way: dict[Connection, Job]
) -> None:
    """The next chunk to a worker, if there is one."""
    job = queue.take(last)
    if job is not None:
        pipe.send((effort, job))
        under_way[pipe] = job


def _receive(pipe: Connection, job: Job) -> Done:
    try:
        answer = pipe.recv()
    except (EOFError, ConnectionError):
        raise BitrowError(f"{job.claim} chunk {job.chunk}: found a process that ended, expected an outcome") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
