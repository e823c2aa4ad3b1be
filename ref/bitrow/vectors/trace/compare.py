"""A design's rows, or images of its banks, against a trace: which row of which ring is wrong, and since when.

Standard library and numpy only: no JAX.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.vectors.files.dump import Unread, read_dump, read_memory, unread_lines
from bitrow.vectors.files.hexfile import file_words
from bitrow.vectors.trace.memory import BankMemory
from bitrow.vectors.trace.streams import StreamRecord
from bitrow.vectors.trace.verify import ReadTrace
from bitrow.vectors.trace.writers import RowWriter, row_writers

_SHOWN = 8
_BANK = re.compile(r"banks\.([0-9]{1,18})\.bank_([0-9]{1,9})")


class WrongRow(NamedTuple):
    """A row that a dump has otherwise: its first wrong word (`found` None: not driven), how many words are wrong, which
    row of its stream it has instead, if any, and how it came to be; `bank`, `address` of a bank's image.
    """

    file: str
    stream: StreamRecord
    image: int
    row: int
    word: int
    found: int | None
    expected: int
    wrong: int
    instead: tuple[int, int] | None
    writer: RowWriter
    place: str

    @property
    def line(self) -> str:
        digits = self.stream.words_as.hex_digits
        found = "nothing driven" if self.found is None else f"{self.found:0{digits}x}"
        many = f" ({self.wrong} of {self.stream.words} words differ)" if self.stream.words > 1 else ""
        instead = "" if self.instead is None else "; it is image {} row {}, all of it".format(*self.instead)
        return (
            f"{self.file}: {self.stream.name}, {self.stream.holds} of {self.stream.layer}, image {self.image} "
            f"row {self.row}{self.place}: word {self.word}: found {found}, expected {self.expected:0{digits}x}{many}"
            f"{instead}; {self.writer}"
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, words in hex."""
        return {
            "file": self.file,
            "ring": self.stream.name,
            "layer": self.stream.layer,
            "image": self.image,
            "row": self.row,
            "word": self.word,
            "found": None if self.found is None else f"{self.found:x}",
            "expected": f"{self.expected:x}",
            "words": self.wrong,
            "instead": self.instead,
            "writer": self.writer._asdict(),
            "line": self.line,
        }


class TraceReport(NamedTuple):
    """What was compared, the rows that differ, the earliest written first, and what could not be compared."""

    files: int
    rows: int
    wrong: tuple[WrongRow, ...]
    unread: tuple[Unread, ...]
    lacking: tuple[str, ...]

    @property
    def matches(self) -> bool:
        return not (self.wrong or self.unread or self.lacking)

    def lines(self) -> Iterator[str]:
        """For people: the first rows that differ, and how many."""
        yield from (one.line for one in self.wrong[:_SHOWN])
        more = f", the first {_SHOWN} above" if len(self.wrong) > _SHOWN else ""
        yield f"{self.files} dumps, {self.rows} rows compared: {len(self.wrong) or 'none'} differ{more}"

    def failures(self) -> Iterator[str]:
        """What is wrong, the first of each kind and the count of the rest."""
        yield from unread_lines(self.unread)
        if self.wrong:
            yield f"{len(self.wrong)} of {self.rows} rows differ, the first: {self.wrong[0].line}"
        if self.lacking:
            more = f" and {len(self.lacking) - 1} more" if len(self.lacking) > 1 else ""
            yield f"required rows are not dumped: {self.lacking[0]}{more}"

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "matches": self.matches,
            "files": self.files,
            "rows": self.rows,
            "wrong": [one.to_json() for one in self.wrong],
            "unread": [{"file": str(one.path), "message": one.message} for one in self.unread],
            "lacking": list(self.lacking),
        }


def compare_trace(trace: ReadTrace, outputs: Path, require: Collection[str] = ()) -> TraceReport:
    """Compare what a design dumped into `outputs` with a sound trace.

    Dumps are rows/RING.hex, a stream's words as the trace has them, or banks/CYCLE/bank_N.hex, a bank as `$writememh`
    writes it, at any cycle; dots may stand for slashes. `require` names streams that must be dumped, or is "all".

    Raises:
        BitrowError: no folder, no hex file in it, a required stream that the trace has not.
    """
    if not outputs.is_dir():
        raise BitrowError(f"{outputs}: found {'a file' if outputs.exists() else 'nothing'}, expected a folder of dumps")
    required = _required(trace, require)
    comparer = _Comparer(trace)
    for path in sorted(outputs.rglob("*.hex")):
        comparer.compare(path, path.relative_to(outputs).with_suffix("").as_posix().replace("/", "."))
    if not comparer.seen and not comparer.unread:
        raise BitrowError(f"{outputs}: found no hex file, expected rows/RING.hex or banks/CYCLE/bank_N.hex")
    wrong = sorted(comparer.wrong, key=lambda one: (one.writer.written, comparer.order[one.stream.name]))
    lacking = tuple(name for name in required if name not in comparer.seen)
    return TraceReport(len(comparer.seen), comparer.rows, tuple(wrong), tuple(comparer.unread), lacking)


def _required(trace: ReadTrace, require: Collection[str]) -> list[str]:
    names = [stream.name for stream in trace.run.record.streams]
    for name in require:
        if name not in names and name != "all":
            raise BitrowError(f"require: found {name!r}, expected all or a ring of the trace")
    return names if "all" in require else list(require)


class _Comparer:
    """Dumps compared one after another: what was seen, what is wrong, what could not be read."""

    def __init__(self, trace: ReadTrace) -> None:
        self.run, self.words = trace
        found, places, record = trace.run
        self.streams = {stream.name: stream for stream in record.streams}
        self.order = {name: place for place, name in enumerate(self.streams)}
        self.writers = row_writers(found)
        self.banks = BankMemory(found, places, record.streams, trace.words)
        self.golden = {stream.name: file_words(self.words[stream.name], stream.words_as).reshape(-1, stream.words)
                       for stream in record.streams}  # fmt: skip
        self.seen: set[str] = set()
        self.wrong: list[WrongRow] = []
        self.unread: list[Unread] = []
        self.rows = 0

    def compare(self, path: Path, name: str) -> None:
        stream = self.streams.get(name.removeprefix("rows."))
        bank = _BANK.fullmatch(name)
        key = stream.name if stream else name
        try:
            if key in self.seen:
                raise BitrowError(f"{path}: found a second dump of {key}, expected one")
            if stream:
                self._stream(path, stream)
            elif bank and int(bank[2]) < self.banks.banks and int(bank[1]) <= self.run.found.cycles:
                self._bank(path, int(bank[1]), int(bank[2]))
            else:
                raise BitrowError(f"{path}: found a hex file of no ring, bank or cycle of the trace, "
                                  "expected rows/RING.hex or banks/CYCLE/bank_N.hex")  # fmt: skip
        except BitrowError as error:
            self.unread.append(Unread(path, str(error)))
        else:
            self.seen.add(key)

    def _stream(self, path: Path, stream: StreamRecord) -> None:
        dump = read_dump(path, stream.words_as, stream.count, str(path))
        golden = self.golden[stream.name]
        found, undriven = dump.words.reshape(golden.shape), dump.undriven.reshape(golden.shape)
        self.rows += len(golden)
        wrong = (found != golden) | undriven
        for number in np.flatnonzero(wrong.any(axis=1)).tolist():
            self._note(str(path), stream, number, np.where(undriven[number], -1, found[number].astype(np.int64)))

    def _bank(self, path: Path, cycle: int, bank: int) -> None:
        memory = read_memory(path, self.banks.width, self.banks.depth, str(path))
        rows = self.run.places.rows
        for place in self.banks.living(cycle):
            if rows.bank[place] == bank:
                self.rows += 1
                stream = self.streams[self.run.found.rings[int(rows.ring[place])].name]
                words = _row_words(self.banks, place, memory, stream)
                first, many = int(self.run.places.address[place]), int(rows.words[place])
                at = f", slot {rows.slot[place]}, bank {bank} from address {first:x} ({many} words), at cycle {cycle}"
                if not np.array_equal(words, self.golden[stream.name][rows.number[place]]):
                    self._note(str(path), stream, int(rows.number[place]), words, at)

    def _note(self, file: str, stream: StreamRecord, number: int, words: np.ndarray, place: str = "") -> None:
        """A row that differs: its words as a dump has them, int64[words], -1 where nothing drove one."""
        golden = self.golden[stream.name]
        wrong = np.flatnonzero(words != golden[number])
        first = int(wrong[0])
        same = np.flatnonzero((golden == words).all(axis=1))
        image, row = divmod(number, stream.rows)
        instead = divmod(int(same[0]), stream.rows) if len(same) else None
        found, expected = None if words[first] < 0 else int(words[first]), int(golden[number, first])
        writer = self.writers[stream.name][number]
        self.wrong.append(
            WrongRow(file, stream, image, row, first, found, expected, len(wrong), instead, writer, place)
        )


def _row_words(
    banks: BankMemory, place: int, memory: dict[int, tuple[int, int]], stream: StreamRecord
) -> np.ndarray:
    """A row's words as a bank's dump has them, int64[words]; -1 where any bit of one is not driven."""
    value = unknown = 0
    everything = (1 << banks.width) - 1
    for number, (address, _) in enumerate(banks.row(place)):
        word, undriven = memory.get(address, (0, everything))
        value |= word << number * banks.width
        unknown |= undriven << number * banks.width
    bits, mask = stream.bank_bits, (1 << stream.bank_bits) - 1
    words = [
        -1 if unknown >> at & mask else value >> at & mask for at in range(0, stream.words * bits, bits)
    ]
    return np.array(words, np.int64)
