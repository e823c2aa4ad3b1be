"""The file of a run of claims, written whole and read strictly: every field, its type, its range, a checksum over all.

It is written aside and renamed after every chunk, so that a killed run loses only the chunks under way. The checksum
finds what a disk, a merge tool or an editor did. It is no signature: who writes a file can seal it, too. What a verdict
is worth is asked by `recheck`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bitrow.errors import BitrowError
from bitrow.files import write_text
from bitrow.proofs.claim import Counterexample, Effort, Outcome
from bitrow.proofs.results import Done, Job, Results
from bitrow.reading import STATE
from bitrow.reading.sealed import checksum, need
from bitrow.reading.values import read_json

SCHEMA = "bitrow-prove-3"
EXPECTED = "a result file of bitrow prove"
_CASES = 1 << 128
_SECONDS = 1e9
_FIELDS = ("schema", "effort", "versions", "machines", "chunks", "done", "checksum")
_CHUNK = ("cases", "counterexample", "digest", "note", "seconds")
_DIGEST = re.compile(r"([0-9a-f]{64})?")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


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
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "effort": results.effort.value,
        "versions": dict(results.versions),
        "machines": list(results.machines),
        "chunks": dict(results.chunks),
        "done": done,
    }
    value["checksum"] = checksum(value)
    write_text(path, json.dumps(value, separators=(",", ":")) + "\n", parents=True)


def _text(value: Any, what: str) -> str:
    need(isinstance(value, str), what, value, "text")
    return value


def _whole(value: Any, low: int, high: int, what: str) -> int:
    need(type(value) is int and low <= value <= high, what, value, f"an integer from {low} to {high:,}")
    return value


def _keys(value: Any, names: tuple[str, ...], what: str) -> None:
    good = isinstance(value, dict) and set(value) == set(names)
    need(good, what, sorted(value) if isinstance(value, dict) else value, f"the fields {', '.join(names)}")


def _mapping(value: Any, each: Callable[[Any, str], Any], what: str) -> dict[str, Any]:
    need(isinstance(value, dict) and bool(value), what, value, "an object that is not empty")
    return {name: each(one, f"{what} {name[:80]}") for name, one in value.items()}


def _counterexample(value: Any, what: str) -> Counterexample | None:
    if value is None:
        return None
    _keys(value, ("operands", "found", "expected", "judge"), what)
    operands = value["operands"]
    good = isinstance(operands, list) and all(isinstance(one, list) and len(one) == 3 for one in operands)
    need(good, f"{what} operands", operands, "lists of name, word and meaning")
    found, expected, judge = (_text(value[name], f"{what} {name}") for name in ("found", "expected", "judge"))
    words = [[_text(part, f"{what} operands") for part in one] for one in operands]
    return Counterexample(tuple((name, word, meaning) for name, word, meaning in words), found, expected, judge)


def _done(value: Any, what: str) -> Done:
    _keys(value, _CHUNK, what)
    false = _counterexample(value["counterexample"], f"{what} counterexample")
    cases = _whole(value["cases"], 1 if false is None else 0, _CASES, f"{what} cases")
    digest = _text(value["digest"], f"{what} digest")
    need(bool(_DIGEST.fullmatch(digest)), f"{what} digest", digest, "a SHA-256 or nothing")
    seconds = value["seconds"]
    good = type(seconds) in (int, float) and math.isfinite(seconds) and 0 <= seconds <= _SECONDS
    need(good, f"{what} seconds", seconds, f"a number from 0 to {_SECONDS:.0e}")
    return Done(Outcome(cases, false, digest, _text(value["note"], f"{what} note")), float(seconds))


def _chunks_done(value: Any, what: str) -> dict[int, Done]:
    found = _mapping(value, _done, what)
    for name in found:
        need(bool(_NUMBER.fullmatch(name)), what, name, "chunks by their number")
    return {int(name): done for name, done in found.items()}


def _results(value: Any) -> Results:
    need(isinstance(value, dict) and value.get("schema") == SCHEMA, "schema",
          value.get("schema") if isinstance(value, dict) else value, SCHEMA)  # fmt: skip
    _keys(value, _FIELDS, "file")
    need(value["checksum"] == checksum(value), "checksum", value["checksum"], "that of the other fields")
    names = [effort.value for effort in Effort]
    need(value["effort"] in names, "effort", value["effort"], " or ".join(names))
    versions = _mapping(value["versions"], _text, "versions")
    machines = value["machines"]
    need(isinstance(machines, list) and bool(machines), "machines", machines, "names of machines")
    chunks = _mapping(value["chunks"], lambda count, what: _whole(count, 1, 10**6, what), "chunks")
    done = _mapping(value["done"], _chunks_done, "done") if value["done"] != {} else {}
    results = Results(
        Effort(value["effort"]), chunks, versions, done, tuple(_text(name, "machines") for name in machines)
    )
    own = set(results.jobs())
    for job in (Job(claim, index) for claim, indices in done.items() for index in indices):
        if job not in own:
            raise BitrowError(f"found {job.claim[:80]} chunk {job.chunk}, which is not of this run")
    return results


def load(path: Path) -> Results:
    """The results that `save` wrote.

    Raises:
        BitrowError: naming the file and the field: it cannot be read, is something else, or not as it was written.
    """

    value = read_json(path, kind=STATE)
    try:
        return _results(value)
    except BitrowError as error:
        raise BitrowError(f"{path} {error} ({EXPECTED})") from None


def _same_versions(path: Path, found: Mapping[str, str], expected: Mapping[str, str], whose: str) -> None:
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
    _same_versions(path, left.versions, asked.versions, "this installation; --fresh starts over")
    if (left.effort, dict(left.chunks)) != (asked.effort, dict(asked.chunks)):
        raise BitrowError(f"{path}: found another choice of claims, expected the one to resume; --fresh starts over")
    left.machines = tuple(dict.fromkeys((*left.machines, *asked.machines)))
    return left
