"""What a run of claims has found so far, chunk by chunk.

A run works through the chunks of its claims; shard i of n takes every n-th chunk of them all, from the i-th.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import bitrow
from bitrow import processor
from bitrow.proofs.claim import Claim, Counterexample, Effort, Outcome
from bitrow.reading import SOURCE, read_bytes

LIBRARIES = ("jax", "jaxlib", "numpy", "z3-solver", "hypothesis")
WHOLE = (1, 1)


class Job(NamedTuple):
    """One chunk of one claim."""

    claim: str
    chunk: int


class Done(NamedTuple):
    """A checked chunk and the seconds it took."""

    outcome: Outcome
    seconds: float


@functools.cache
def source_digest() -> str:
    """SHA-256 over the package's Python files, which decide every verdict."""
    root = Path(bitrow.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + read_bytes(path, SOURCE))
    return digest.hexdigest()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"


def versions() -> dict[str, str]:
    """What a verdict depends on: bitrow, its source, the libraries."""
    return {
        "bitrow": bitrow.__version__, "source": source_digest(), **{name: _version(name) for name in LIBRARIES}
    }  # fmt: skip


@dataclass
class Results:
    """The chunks of a run: what was asked for, and what is done. `chunks` is how many each claim has in all."""

    effort: Effort
    chunks: Mapping[str, int]
    shard: tuple[int, int] = WHOLE
    versions: Mapping[str, str] = field(default_factory=versions)
    done: dict[str, dict[int, Done]] = field(default_factory=dict)
    machines: tuple[str, ...] = field(default_factory=lambda: (processor.describe(),))

    def add(self, job: Job, done: Done) -> None:
        self.done.setdefault(job.claim, {})[job.chunk] = done

    def counterexample(self, claim: str) -> Counterexample | None:
        """The first counterexample of a claim, None while there is none."""
        found = sorted((index, done.outcome.counterexample) for index, done in self.done.get(claim, {}).items()
                       if done.outcome.counterexample is not None)  # fmt: skip
        return found[0][1] if found else None

    def jobs(self) -> list[Job]:
        """This shard's chunks, done or not."""
        every = [Job(claim, index) for claim, count in self.chunks.items() for index in range(count)]
        number, of = self.shard
        return every[number - 1 :: of]

    def left(self) -> list[Job]:
        """This shard's chunks that are still to check; a claim that is known to be false has none."""
        false = {claim for claim in self.done if self.counterexample(claim)}
        return [job for job in self.jobs() if job.claim not in false and job.chunk not in self.done.get(job.claim, {})]


def new(claims: Mapping[str, Claim], effort: Effort, shard: tuple[int, int] = WHOLE) -> Results:
    """Results of which nothing is done."""
    return Results(effort, {name: claim.chunks(effort) for name, claim in claims.items()}, shard)


def file_name(results: Results, every: bool) -> str:
    """As in `prove-full.json`, `prove-full-2-of-4.json`; a choice of claims, not `every`, has a tag of its own."""
    number, of = results.shard
    tag = "" if every else "-" + hashlib.sha256(" ".join(results.chunks).encode()).hexdigest()[:8]
    part = "" if results.shard == WHOLE else f"-{number}-of-{of}"
    return f"prove-{results.effort.value}{tag}{part}.json"
