"""What `generate` and `verify` keep of a set until it is done, beside it: of each case what its judges found.

A case is known by all that decides what they find: the versions of bitrow, of its source and of the libraries, the
operation, its configuration, and every word that is given.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bitrow import asides
from bitrow.contract.operation import Config, Operation
from bitrow.errors import BitrowError
from bitrow.executors.kept import Form, Kept
from bitrow.oracle.arrays import Words
from bitrow.reading import MODEL, read_bytes, records
from bitrow.reading.sealed import need
from bitrow.vectors import generate
from bitrow.vectors.case import Case
from bitrow.vectors.generate import JudgeMismatch
from bitrow.vectors.network_pass import WholePass
from bitrow.vectors.operations import split
from bitrow.vectors.problem import Problem
from bitrow.versions import versions


@contextlib.contextmanager
def generating(out: Path, fresh: bool = False) -> Iterator[Kept]:
    """What a `generate` of the set `out` that was stopped has left, if not `fresh`; nothing is left at a good end.

    Raises:
        BitrowError: another run is at work on it, its file is of other versions, or no file of this kind.
    """
    place = _place(out, "cases")
    with asides.alone(place, f"the set {out}"):
        yield from _until_done(place, Form(_problem_key, _case_written, _case_read), fresh)


@contextlib.contextmanager
def verifying(folder: Path, fresh: bool = False) -> Iterator[Kept | None]:
    """As `generating`, of a `verify`; None where nothing can be kept, or another run verifies the same set."""
    place = _place(folder, "verified")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(asides.alone(place, f"the set {folder}"))
        except BitrowError:
            yield None
            return
        yield from _until_done(place, Form(_stored_key, _mismatches_written, _mismatches_read), fresh)


def _place(folder: Path, kind: str) -> Path:
    target = Path(os.path.realpath(folder))
    whole_name = hashlib.sha256(os.fsencode(target.name)).hexdigest()
    return target.with_name(f"{asides.prefix(target.name, kind)}{whole_name[:8]}")


def _until_done(place: Path, form: Form, fresh: bool) -> Iterator[Kept]:
    yield Kept(place, _digest(sorted(versions().items())), form, fresh)
    place.unlink(missing_ok=True)


def _digest(value: Any, words: Words | None = None) -> str:
    found = hashlib.sha256(json.dumps(value).encode())
    for name, each in sorted((words or {}).items()):
        data = np.ascontiguousarray(each)
        found.update(f"\n{name} {data.dtype.str} {np.shape(each)}\n".encode() + data.tobytes())
    return found.hexdigest()


@functools.cache
def _model_digest(operation: WholePass) -> str:
    return hashlib.sha256(read_bytes(operation.file, MODEL)).hexdigest()


def _asked(name: str, operation: Operation, config: Config, whole: bool) -> list[Any]:
    """What is asked of the judges beside the words."""
    model = _model_digest(operation) if isinstance(operation, WholePass) else ""
    return [name, operation.name, operation.program.name, records.write(config), whole, model]


def _problem_key(problem: Problem) -> str:
    return _digest(_asked(problem.name, problem.operation, problem.config, problem.whole), problem.given)


def _case_written(result: tuple[Case, float]) -> dict[str, Any]:
    case, seconds = result
    _, computed = split(case)
    words = {name: [list(each.shape), base64.b64encode(each.tobytes()).decode()] for name, each in computed.items()}
    return {"seconds": round(seconds, 4), "words": words}


def _case_read(problem: Problem, value: Any) -> tuple[Case, float]:
    need(isinstance(value, dict) and set(value) == {"seconds", "words"}, problem.name, value, "seconds and words")
    seconds, words = value["seconds"], value["words"]
    good = type(seconds) in (int, float) and 0 <= seconds < math.inf
    need(good, f"{problem.name} seconds", seconds, "a time")
    need(isinstance(words, dict), problem.name, words, "words by tensor")
    found = {name: _words_read(problem, name, each) for name, each in words.items()}
    try:
        return generate.case_of(problem, found), float(seconds)
    except (LookupError, ValueError):
        raise BitrowError(f"{problem.name}: found words of other tensors, expected the case's") from None


def _words_read(problem: Problem, name: str, value: Any) -> np.ndarray:
    where, dtype = f"{problem.name} {name}", problem.operation.encoding(name, problem.config).dtype
    shaped = isinstance(value, list) and len(value) == 2 and isinstance(value[0], list) and isinstance(value[1], str)
    need(shaped and all(type(size) is int and size >= 0 for size in value[0]), where, value, "a shape and its words")
    try:
        return np.frombuffer(base64.b64decode(value[1], validate=True), dtype).reshape(value[0])
    except ValueError:
        raise BitrowError(f"{where}: found words of another number, expected shape {value[0]}") from None


def _stored_key(case: Case) -> str:
    words = {tensor.name: np.asarray(tensor.data) for tensor in case.tensors}
    return _digest(_asked(case.name, case.operation, case.config, case.rows_checked == "all"), words)


def _mismatches_written(found: list[JudgeMismatch]) -> list[Any]:
    return [[one.tap, list(one.element), dict(one.words)] for one in found]


def _mismatches_read(case: Case, value: Any) -> list[JudgeMismatch]:
    need(isinstance(value, list) and all(isinstance(one, list) and len(one) == 3 for one in value), case.name, value,
         "what differs")  # fmt: skip
    for tap, element, words in value:
        good = isinstance(tap, str) and isinstance(element, list) and isinstance(words, dict)
        need(good and all(type(part) is int for part in element), f"{case.name} {tap}", element, "a word of a tensor")
    return [JudgeMismatch(case.name, tap, tuple(element), words) for tap, element, words in value]
