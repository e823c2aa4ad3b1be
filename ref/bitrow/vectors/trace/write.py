"""Writing a row trace: a set of its own kind, whole or not at all (SPEC.md V6). Computing its words takes JAX."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.pipeline.lifetimes import Packed, placed
from bitrow.pipeline.occupancy import curve
from bitrow.pipeline.schedule import Schedule
from bitrow.reading import records
from bitrow.vectors.files import atomic, schema
from bitrow.vectors.files.hexfile import hex_chunks
from bitrow.vectors.files.store import SetFiles, check_target
from bitrow.vectors.trace.formats import ImageFormat, image_chunks
from bitrow.vectors.trace.memory import BankMemory, depth_of
from bitrow.vectors.trace.record import MODEL_FILE, TraceRecord, check_traceable, image_file, trace_record
from bitrow.vectors.trace.tables import table_chunks

if TYPE_CHECKING:
    from bitrow.model_file import Model

PEAK, ENDS = "peak", "ends"
MOST_IMAGES = 1 << 16  # files
DRAWN_BY = 1  # the seed of what `lookup.find_model` draws


@dataclass(frozen=True)
class TraceChoice:
    """Where a trace goes and which images of the banks it has.

    `at`: cycles, or "peak", the first at which the most bits live, or "ends", every one at which a task ends.

    Raises:
        BitrowError: `at` with another text.
    """

    folder: Path
    at: tuple[str, ...] = (PEAK,)
    image_format: ImageFormat = ImageFormat.READMEMH
    force: bool = False

    def __post_init__(self) -> None:
        for text in self.at:
            if text not in (PEAK, ENDS) and not (text.isascii() and text.isdigit() and len(text) < 19):
                raise BitrowError(f"at: found {text[:40]!r}, expected {PEAK}, {ENDS} or a cycle")


@dataclass(frozen=True)
class TraceSummary:
    """What `write_trace_set` wrote: files and bytes of them, rows and words of them, images of banks."""

    path: Path
    files: int
    bytes: int
    rows: int
    words: int
    images: int


def write_trace_set(
    found: Schedule, model: Model, choice: TraceChoice, ready: Callable[[], object] = lambda: None
) -> TraceSummary:
    """Compute every row of a run on the model's samples, one for each image, and write all of its trace.

    `ready` is asked before anything is computed, and may refuse the machine.

    Raises:
        BitrowError: a run that has no trace, a cycle outside the run, too many images; a folder that exists or cannot
            be written; a row that differs from the whole-tensor model.
    """
    from bitrow.vectors.trace.words import computed_words

    check_target(choice.folder, choice.force)
    run = laid_out(found, choice.at, choice.image_format)
    ready()
    return write_words(run, model, computed_words(found, model).words, choice)


class LaidOut(NamedTuple):
    """A run with the places of its rows and the record of its trace."""

    found: Schedule
    places: Packed
    record: TraceRecord


def laid_out(found: Schedule, at: Iterable[str], image_format: ImageFormat) -> LaidOut:
    """A run ready to be written, with images of its banks at the cycles that `TraceChoice.at` names.

    Raises:
        BitrowError: a run that has no trace; a cycle behind its last; banks that are not as deep as their rows ask for,
            or too large; too many images.
    """
    places = placed(check_traceable(found))
    cycles, depth = image_cycles(found, places, at), depth_of(found, places)
    return LaidOut(found, places, trace_record(found, depth, cycles, image_format))


def write_words(run: LaidOut, model: Model, words: Mapping[str, np.ndarray], choice: TraceChoice) -> TraceSummary:
    """Write the trace of a run whose rows have these words, by stream [images, rows, words].

    Raises:
        BitrowError: a folder that exists or cannot be written.
    """
    from bitrow.model_file import to_bytes
    from bitrow.vectors.generate import versions

    target, streams = check_target(choice.folder, choice.force), run.record.streams
    with atomic.new_folder(target, target.exists()) as folder, contextlib.closing(SetFiles(folder, target)) as files:
        files.write(MODEL_FILE, [to_bytes(model)])
        for name, chunks in derived_files(run, words):
            files.write(name, chunks)
        count, size = len(files.files), files.bytes
        none: dict[str, object] = {"coverage": {}, "certificates": {}, "cases": []}
        files.finish({"seed": DRAWN_BY, "versions": versions(), **none, "trace": True})
    rows, every = sum(one.images * one.rows for one in streams), sum(one.count for one in streams)
    return TraceSummary(target, count, size, rows, every, len(run.record.cycles) * run.found.layout.total)


def trace_network(
    found: Schedule, name: str, choice: TraceChoice, ready: Callable[[], object] = lambda: None,
    samples: Path | None = None,
) -> str:  # fmt: skip
    """As `write_trace_set`, of what `check.model_for` finds; says what was written.

    Raises:
        BitrowError: as `write_trace_set` and `check.model_for`.
    """
    from bitrow.pipeline.check import model_for

    wrote = write_trace_set(found, model_for(found, name, samples), choice, ready)
    return (
        f"{choice.folder}: {wrote.rows:,} rows of {wrote.words:,} words, {wrote.images:,} images of banks, "
        f"{wrote.files:,} files of {wrote.bytes:,} bytes"
    )


def derived_files(run: LaidOut, words: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Every file of a trace that follows from its run and its words, in pieces."""
    found, places, record = run
    yield schema.CASE_JSON, [schema.to_json(records.write(record))]
    yield from table_chunks(found, places).items()
    for stream in record.streams:
        yield stream.file, hex_chunks(words[stream.name], stream.words_as)
    banks = BankMemory(found, places, record.streams, words)
    for cycle in record.cycles:
        for bank, image in enumerate(banks.images(cycle)):
            yield image_file(record, cycle, bank), image_chunks(image, banks.width, record.image_format)


def image_cycles(found: Schedule, places: Packed, at: Iterable[str]) -> tuple[int, ...]:
    """The cycles that `TraceChoice.at` names, each once, in order.

    Raises:
        BitrowError: a cycle behind the run's last; more than 65,536 images.
    """
    cycles: set[int] = set()
    for text in at:
        if text == PEAK:
            living = curve(places.rows.written, places.rows.dies, places.rows.bits)
            cycles.add(int(living.time[living.value.argmax()]) if len(living.time) else 0)
        elif text == ENDS:
            cycles.update(found.end.tolist())
        else:
            cycles.add(int(text))
    if max(cycles, default=0) > found.cycles:
        raise BitrowError(f"at: found {max(cycles)}, expected a cycle from 0 to {found.cycles}, the run's last")
    images = len(cycles) * found.layout.total
    if images > MOST_IMAGES:
        raise BitrowError(f"at: found {images:,} images of banks, expected at most {MOST_IMAGES:,}; fewer cycles")
    return tuple(sorted(cycles))
