"""Runs of claims over several files: an unfinished one taken up, the shards of one put together.

A run's file is written aside and renamed after every chunk, so that a killed run loses only the chunks under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bitrow.errors import BitrowError
from bitrow.proofs.results import WHOLE, Done, Job, Results, file_name, new, source_digest, versions
from bitrow.proofs.saved import load, save

__all__ = ["WHOLE", "Done", "Job", "Results", "file_name", "load", "merge", "new", "resume", "save", "source_digest",
           "versions"]  # fmt: skip


def same_versions(path: Path, found: Mapping[str, str], expected: Mapping[str, str], whose: str) -> None:
    """Refuse a file of other versions than `expected`. Raises: BitrowError."""
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            had, has = (str(text)[:12] for text in (found.get(name), expected.get(name)))
            raise BitrowError(f"{path}: found {name} {had}, expected {has} as in {whose}")


def resume(path: Path, asked: Results) -> Results:
    """What an unfinished run left, for the claims that are asked for.

    Raises:
        BitrowError: it was made by another bitrow, other libraries or in another way of cutting chunks.
    """
    left = load(path)
    same_versions(path, left.versions, asked.versions, "this installation; --fresh starts over")
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
        same_versions(path, part.versions, first.versions, str(paths[0]))
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
    for part in parts:
        for claim, chunks in part.done.items():
            for index, done in chunks.items():
                whole.add(Job(claim, index), done)
    for path, part in zip(paths, parts, strict=True):
        gaps = [job for job in part.left() if whole.counterexample(job.claim) is None]
        if gaps:
            raise BitrowError(
                f"{path}: shard {part.shard[0]} of {of} lacks {gaps[0].claim} chunk {gaps[0].chunk} "
                f"({len(gaps)} in all), expected a finished run"
            )
    return whole
