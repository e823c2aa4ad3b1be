"""What a run of claims has found so far, chunk by chunk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bitrow import processor
from bitrow.proofs.claim import Claim, Counterexample, Effort, Outcome
from bitrow.versions import versions


class Job(NamedTuple):
    """One chunk of one claim."""

    claim: str
    chunk: int

    def __str__(self) -> str:
        return f"{self.claim} chunk {self.chunk}"


class Done(NamedTuple):
    """A checked chunk and the seconds it took."""

    outcome: Outcome
    seconds: float


@dataclass
class Results:
    """The chunks of a run: what was asked for, and what is done. `chunks` is how many each claim has in all."""

    effort: Effort
    chunks: Mapping[str, int]
    versions: Mapping[str, str] = field(default_factory=versions)
    done: dict[str, dict[int, Done]] = field(default_factory=dict)
    machines: tuple[str, ...] = field(default_factory=lambda: (processor.describe(),))

    def add(self, job: Job, done: Done, machine: str | None = None) -> None:
        """Note a chunk that is done, on `machine`."""
        self.done.setdefault(job.claim, {})[job.chunk] = done
        if machine is not None and machine not in self.machines:
            self.machines = (*self.machines, machine)

    def counterexample(self, claim: str) -> Counterexample | None:
        """The first counterexample of a claim, None while there is none."""
        found = sorted((index, done.outcome.counterexample) for index, done in self.done.get(claim, {}).items()
                       if done.outcome.counterexample is not None)  # fmt: skip
        return found[0][1] if found else None

    def jobs(self) -> list[Job]:
        """All chunks, done or not."""
        return [Job(claim, index) for claim, count in self.chunks.items() for index in range(count)]

    def left(self) -> list[Job]:
        """The chunks that are still to check; a claim that is known to be false has none."""
        false = {claim for claim in self.done if self.counterexample(claim)}
        return [job for job in self.jobs() if job.claim not in false and job.chunk not in self.done.get(job.claim, {})]


def new(claims: Mapping[str, Claim], effort: Effort) -> Results:
    """Results of which nothing is done."""
    return Results(effort, {name: claim.chunks(effort) for name, claim in claims.items()})


def file_name(results: Results, every: bool) -> str:
    """As in `prove-full.json`; a choice of claims, not `every`, has a tag of its own."""
    tag = "" if every else "-" + hashlib.sha256(" ".join(results.chunks).encode()).hexdigest()[:8]
    return f"prove-{results.effort.value}{tag}.json"
