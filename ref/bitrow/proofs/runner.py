"""Chunks of claims, checked by a team, with what is done noted after each.

Each of the team stays with the claim whose kernels it has compiled until that claim has no chunk left.
"""

from __future__ import annotations

import functools
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from bitrow.executors.team import Team
from bitrow.proofs import registry
from bitrow.proofs.claim import Claim, Effort
from bitrow.proofs.results import Done, Job, Results

OnDone = Callable[[Job, Done, str], None]


def check(claims: Mapping[str, Claim], effort: Effort, job: Job) -> Done:
    """One chunk, timed."""
    start = time.perf_counter()
    outcome = claims[job.claim].check(effort, job.chunk)
    return Done(outcome, time.perf_counter() - start)


def _check_named(effort: Effort, job: Job) -> Done:
    """One chunk of a registered claim."""
    return check(registry.claims(), effort, job)


def run(
    claims: Mapping[str, Claim], results: Results, team: Team, on_done: Callable[[Job], None] = lambda job: None
) -> None:
    """Check what is left of `results`; `on_done` is called after each chunk, whose outcome is already in `results`.

    A claim with a counterexample is not checked further. In other processes claims are found by their registered names.

    Raises:
        BitrowError: a claim cannot be checked, or a process ended.
    """

    def note(job: Job, done: Done, machine: str) -> None:
        results.add(job, done, machine)
        on_done(job)

    run_jobs(claims, results.effort, results.left(), team, note)


def run_jobs(claims: Mapping[str, Claim], effort: Effort, jobs: Sequence[Job], team: Team, note: OnDone) -> None:
    """Check chunks; `note` is called after each with the machine's name, and what it raises ends them all.

    Raises:
        BitrowError: as `run`.
    """
    queue = _Queue(jobs)
    function = functools.partial(check, claims, effort) if team.here else functools.partial(_check_named, effort)
    for job, returned in team.as_done(team.errand(function, str), queue.take):
        note(job, returned.result, returned.machine)
        if returned.result.outcome.counterexample:
            queue.drop(job.claim)


class _Queue:
    """Chunks by claim; a worker keeps to its claim, else takes one that nobody works on, else the longest."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left: dict[str, deque[Job]] = {}
        for job in jobs:
            self._left.setdefault(job.claim, deque()).append(job)
        self._working: Counter[str] = Counter()

    def take(self, last: Job | None) -> Job | None:
        if last is not None:
            self._working[last.claim] -= 1
        claim = last.claim if last is not None and last.claim in self._left else self._free()
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
