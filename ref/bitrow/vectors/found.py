"""Words on which something was once wrong, kept as directed vectors (SPEC.md V4): `found.jsonl`, one record a line.

A record is a problem, the oracle's outputs, who found it and why it matters. `bitrow prove claims --record FILE`
appends one for a false claim, and a failing test of the kernels prints one; a line added to `found.jsonl` is a case of
the suite `standard`, and the tests replay it. Standard library and numpy only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitrow import typed
from bitrow.contract.encoding import Encoding
from bitrow.errors import BitrowError
from bitrow.files import write_text
from bitrow.reading import RECORDS, read_text, records
from bitrow.reading.records import Plain
from bitrow.reading.values import parse_json
from bitrow.vectors import operations
from bitrow.vectors.files.schema import OperationConfig, check_name
from bitrow.vectors.operations import Operation, Words
from bitrow.vectors.problem import Problem

CORPUS = Path(__file__).with_suffix(".jsonl")
PREFIX = "found_"


class Found(NamedTuple):
    """A record: the problem, named `found_NAME`, its expected outputs, what found it, and why it is kept."""

    problem: Problem
    expected: Words
    by: str
    why: str


@dataclass(frozen=True)
class FoundRecord(Plain):
    """A line of the corpus; words by tensor, each its shape and hex digits."""

    name: str
    operation: str
    config: OperationConfig
    given: dict[str, Any]
    expected: dict[str, Any]
    by: str
    why: str

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "record")


def _encode(words: np.ndarray, encoding: Encoding) -> list[Any]:
    mask = (1 << 4 * encoding.hex_digits) - 1
    flat = " ".join(f"{word & mask:0{encoding.hex_digits}x}" for word in words.reshape(-1).tolist())
    return [list(words.shape), flat]


def _decode(value: list[Any], encoding: Encoding) -> np.ndarray:
    shape, flat = value
    words = [int(text, 16) for text in flat.split()]
    if encoding.signed:
        half = 1 << (4 * encoding.hex_digits - 1)
        words = [word - 2 * half if word >= half else word for word in words]
    return np.array(words, encoding.dtype).reshape([int(size) for size in shape])


def _texts(operation: Operation, config: Any, words: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    return {name: _encode(words[name], operation.encoding(name, config)) for name in operation.ordered(words)}


def outputs(problem: Problem) -> Words:
    """The oracle's outputs, without its taps."""
    words = problem.operation.oracle(problem.config, problem.given)
    return {name: words[name] for name in problem.operation.outputs}


def line(problem: Problem, by: str, why: str) -> str:
    """A problem as a line of the corpus, its outputs computed by the oracle.

    Raises:
        BitrowError: the oracle refuses the problem.
    """
    operation, config = problem.operation, problem.config
    given, expected = (_texts(operation, config, words) for words in (problem.given, outputs(problem)))
    record = FoundRecord(problem.name.removeprefix(PREFIX), operation.name, config, given, expected, by, why)
    return json.dumps(records.write(record))


def _record(text: str, where: str) -> Found:
    record: FoundRecord = records.read(FoundRecord, parse_json(text, where, "a record"), where)
    operation, config = operations.find(record.operation, record.config), record.config
    try:
        given, expected = (
            {name: _decode(words, operation.encoding(name, config)) for name, words in role.items()}
            for role in (record.given, record.expected)
        )
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise BitrowError(f"{where}: found words that cannot be read: {error}") from None
    name = check_name(f"{PREFIX}{record.name}", where)
    return Found(Problem(name, operation, config, given), expected, record.by, record.why)


def add(lines: Sequence[str], path: Path) -> None:
    """Append lines to a file of records, made if it is not there; those that it has are not added again.

    Raises:
        BitrowError: the file cannot be read or written.
    """
    before = read_text(path, RECORDS) if path.exists() else ""
    new = [text for text in dict.fromkeys(lines) if text not in before.splitlines()]
    write_text(path, before + "".join(f"{text}\n" for text in new))


def load(path: Path = CORPUS) -> tuple[Found, ...]:
    """The records of a corpus, in order.

    Raises:
        BitrowError: naming file and line: it cannot be read, holds no record, or a name twice.
    """
    lines = read_text(path, RECORDS).splitlines()
    found: dict[str, Found] = {}
    for number, text in enumerate(lines, 1):
        record = _record(text, f"{path} line {number}")
        if record.problem.name in found:
            raise BitrowError(f"{path} line {number}: found {record.problem.name} again, expected another name")
        found[record.problem.name] = record
    return tuple(found.values())
