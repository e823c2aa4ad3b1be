"""What a run of claims has found so far, as a file: to resume it, to report it, to put shards together.

A run works through the chunks of its claims; shard i of n takes every n-th chunk of them all, from the i-th. Its
file is written aside and renamed after every chunk, so that a killed run loses only the chunks under way.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import bitrow
from bitrow.errors import BitrowError
from bitrow.files import write_text
from bitrow.proofs import machine
from bitrow.proofs.claim import Claim, Counterexample, Effort, Outcome
from bitrow.reading import SOURCE, STATE, read_bytes
from bitrow.reading.values import read_json

SCHEMA = "bitrow-prove-1"
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
    machines: tuple[str, ...] = field(default_factory=lambda: (machine.describe(),))

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


def save(results: Results, path: Path) -> None:
    """Write the file whole, or leave the one that is there.

    Raises:
        BitrowError: it cannot be written.
    """
    done = {
        claim: {
            str(index): {**asdict(done.outcome), "seconds": round(done.seconds, 4)} for index, done in chunks.items()
        }
        for claim, chunks in results.done.items()
    }
    value = {
        "schema": SCHEMA,
        "effort": results.effort.value,
        "shard": list(results.shard),
        "versions": dict(results.versions),
        "machines": list(results.machines),
        "chunks": dict(results.chunks),
        "done": done,
    }
    write_text(path, json.dumps(value, separators=(",", ":")) + "\n", parents=True)


def _counterexample(value: Any) -> Counterexample | None:
    if value is None:
        return None
    return Counterexample(tuple(tuple(operand) for operand in value["operands"]), value["found"], value["expected"],
                          value["judge"])  # fmt: skip


def _done(value: Mapping[str, Any]) -> Done:
    outcome = Outcome(int(value["cases"]), _counterexample(value["counterexample"]), value["digest"], value["note"])
    return Done(outcome, float(value["seconds"]))


def load(path: Path) -> Results:
    """The results that `save` wrote.

    Raises:
        BitrowError: the file cannot be read, or is something else.
    """
    value = read_json(path, kind=STATE)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise BitrowError(f"{path}: found no schema {SCHEMA}, expected a result file of bitrow prove")
    try:
        number, of = value["shard"]
        done = {
            claim: {int(index): _done(chunk) for index, chunk in chunks.items()}
            for claim, chunks in value["done"].items()
        }
        return Results(Effort(value["effort"]), value["chunks"], (int(number), int(of)), value["versions"], done,
                       tuple(value.get("machines", ())))  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__} {error}"
        raise BitrowError(f"{path}: found {what}, expected a result file of bitrow prove") from None


def _same_versions(path: Path, found: Mapping[str, str], expected: Mapping[str, str], whose: str) -> None:
    for name in expected:
        if found.get(name) != expected[name]:
            had, has = (str(text)[:12] for text in (found.get(name), expected[name]))
            raise BitrowError(f"{path}: found {name} {had}, expected {has} as in {whose}")


def resume(path: Path, asked: Results) -> Results:
    """What an unfinished run left, for the claims that are asked for.

    Raises:
        BitrowError: it was made by another bitrow, other libraries or in another way of cutting chunks.
    """
    left = load(path)
    _same_versions(path, left.versions, asked.versions, "this installation; --fresh starts over")
    if (left.effort, left.shard, dict(left.chunks)) != (asked.effort, asked.shard, dict(asked.chunks)):
        raise BitrowError(f"{path}: found another choice of claims, expected the one to resume; --fresh starts over")
    left.machines = _united(left, asked)
    return left


def _united(*parts: Results) -> tuple[str, ...]:
    """The machines of runs, each once."""
    return tuple(dict.fromkeys(name for part in parts for name in part.machines))


def _check_together(paths: Sequence[Path], parts: Sequence[Results]) -> int:
    """One kind of run, by one version; how many shards it has."""
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        _same_versions(path, part.versions, first.versions, str(paths[0]))
        if part.effort is not first.effort:
            raise BitrowError(f"{path}: found --{part.effort.value}, expected --{first.effort.value} as in {paths[0]}")
        if part.shard[1] != first.shard[1]:
            of, expected = part.shard[1], first.shard[1]
            raise BitrowError(f"{path}: found a shard of {of}, expected one of {expected} as in {paths[0]}")
        if dict(part.chunks) != dict(first.chunks):
            names = sorted(set(part.chunks.items()) ^ set(first.chunks.items()))
            raise BitrowError(f"{path}: found another choice of claims than {paths[0]}: {names[0][0]}")
    return first.shard[1]


def merge(paths: Sequence[Path]) -> Results:
    """The whole run of its shards' files.

    Raises:
        BitrowError: a shard is missing, there twice, unfinished, holds a chunk that is not its own, or was made
            by another version; each with its number.
    """
    if not paths:
        raise BitrowError("merge: found no file, expected the result files of all shards")
    parts = [load(path) for path in paths]
    of = _check_together(paths, parts)
    by_number: dict[int, Path] = {}
    for path, part in zip(paths, parts, strict=True):
        number = part.shard[0]
        if number in by_number:
            raise BitrowError(f"shard {number} of {of}: found twice, in {by_number[number]} and {path}")
        by_number[number] = path
    missing = [str(number) for number in range(1, of + 1) if number not in by_number]
    if missing:
        raise BitrowError(f"shard {', '.join(missing)} of {of}: found no file, expected one for each shard")
    whole = Results(parts[0].effort, parts[0].chunks, WHOLE, parts[0].versions, machines=_united(*parts))
    for path, part in zip(paths, parts, strict=True):
        own = set(part.jobs())
        for job in (Job(claim, index) for claim, chunks in part.done.items() for index in chunks):
            if job not in own:
                whose = f"shard {part.shard[0]} of {of}"
                raise BitrowError(f"{path}: found {job.claim} chunk {job.chunk}, which is not of {whose}")
            whole.add(job, part.done[job.claim][job.chunk])
    for path, part in zip(paths, parts, strict=True):
        gaps = [job for job in part.left() if whole.counterexample(job.claim) is None]
        if gaps:
            raise BitrowError(
                f"{path}: shard {part.shard[0]} of {of} lacks {gaps[0].claim} chunk {gaps[0].chunk} "
                f"({len(gaps)} in all), expected a finished run"
            )
    return whole
