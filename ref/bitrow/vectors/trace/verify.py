"""Is a folder a sound row trace? Its files by themselves, and its words computed again (SPEC.md V6).

Checking the files takes numpy alone: the run is scheduled again, and tables and images follow from it and the words.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.pipeline.flow import dataflow
from bitrow.reading import ARCHIVE, opened, size_of
from bitrow.vectors.files.check import Finding, SetChecker
from bitrow.vectors.files.hexfile import from_file_words, read_hex
from bitrow.vectors.files.schema import CASE_JSON
from bitrow.vectors.files.store import check_values
from bitrow.vectors.trace.record import MODEL_FILE, TASKS, TraceRecord, read_trace_record, scheduled, trace_files
from bitrow.vectors.trace.streams import StreamRecord
from bitrow.vectors.trace.write import LaidOut, derived_files, laid_out

_LEAST = 16  # bytes of a task's line


class ReadTrace(NamedTuple):
    """A sound trace: its run scheduled again, and the words of every stream."""

    run: LaidOut
    words: dict[str, np.ndarray]


def check_trace(folder: Path) -> tuple[ReadTrace | None, list[Finding]]:
    """Check record, files, checksums, words, tables and images of the trace at `folder`.

    Returns:
        The trace where it is sound, and what is wrong, at most one finding for each file.

    Raises:
        BitrowError: there is no set, or none of a schema that this program knows.
    """
    checker = SetChecker(folder)
    checker.check_presence()
    read: list[ReadTrace] = []
    if checker.trial(CASE_JSON, lambda: read.append(_rescheduled(folder))):
        run, words = read[0]
        checker.expected.update(trace_files(run.record, run.found.layout.total))
        for file in sorted(checker.expected - checker.manifest.files.keys()):
            checker.note(file, "found no entry in manifest.json, expected one for every file")
        for file in sorted(checker.manifest.files.keys() - checker.expected):
            checker.note(file, f"found an entry in manifest.json, expected only files that {CASE_JSON} implies")
        for stream in run.record.streams:
            checker.trial(stream.file, functools.partial(_read, folder, stream, words))
    checker.check_checksums()
    if read and not checker.findings:
        for file, found in _derived_digests(read[0]).items():
            if found != checker.manifest.files[file]:
                checker.note(file, "found other content than the run and its words give")
    findings = list(checker.findings.values())
    return (None if findings else read[0]), findings


def _rescheduled(folder: Path) -> ReadTrace:
    record = read_trace_record(folder)
    _check_tasks(folder, record)
    run = laid_out(scheduled(record), tuple(map(str, record.cycles)), record.image_format)
    for field in dataclasses.fields(record):
        if getattr(record, field.name) != getattr(run.record, field.name):
            raise BitrowError(f"{CASE_JSON} {field.name}: found other values than the run has, expected its own")
    return ReadTrace(run, {})


def _check_tasks(folder: Path, record: TraceRecord) -> None:
    """Before a run is scheduled, that its tasks may be there: a record alone cannot ask for hours."""
    tasks = dataflow(record.network, record.training).rows * record.images
    with opened(folder / TASKS, ARCHIVE, TASKS) as stream:
        size = size_of(stream)
    if size < _LEAST * tasks:
        raise BitrowError(f"{CASE_JSON}: found {tasks:,} row tasks, expected no more than {TASKS} has lines")


def _read(folder: Path, stream: StreamRecord, words: dict[str, np.ndarray]) -> None:
    encoding = stream.words_as
    values = from_file_words(read_hex(folder / stream.file, encoding, stream.count, stream.file), encoding)
    check_values(values, encoding, stream.file)
    words[stream.name] = values.reshape(stream.shape)


def _derived_digests(trace: ReadTrace) -> dict[str, str]:
    digests = {}
    for name, chunks in derived_files(trace.run, trace.words):
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
        digests[name] = digest.hexdigest()
    return digests


def recompute_trace(folder: Path, trace: ReadTrace) -> list[str]:
    """Compute a sound trace's words again, of its model, by rows and by whole tensors. Imports JAX.

    Returns:
        For each stream that differs a line with its first word that does; empty where all agree.

    Raises:
        BitrowError: a model that is not the run's; rows that differ from whole tensors.
    """
    from bitrow import model_file
    from bitrow.vectors.trace.words import computed_words

    words = computed_words(trace.run.found, model_file.load(folder / MODEL_FILE)).words
    lines = []
    for stream in trace.run.record.streams:
        stored, computed = trace.words[stream.name], words[stream.name]
        wrong = np.argwhere(stored != computed)
        if len(wrong):
            image, row, word = (int(at) for at in wrong[0])
            found, expected = (int(one[image, row, word]) for one in (stored, computed))
            lines.append(
                f"{stream.file} {stream.name}: image {image} row {row} word {word}: found {found:#x}, "
                f"expected {expected:#x} ({len(wrong)} words differ)"
            )
    return lines
