"""Results of pieces as they come, in a file beside the work: a run that was stopped is taken up from there.

Each result is a line that carries the SHA-256 of the rest of it. A line that was cut off or changed is as if it had
never been written, and its piece is done again. It is no signature: who writes a file can seal it, too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bitrow.errors import BitrowError
from bitrow.files import write_bytes
from bitrow.reading import KEPT, opened
from bitrow.reading.values import parse_json

SCHEMA = "bitrow-kept-1"


class Form(NamedTuple):
    """How pieces and their results stand in a line.

    `key`: a word for a piece, different for pieces that differ in anything their result depends on beside the file's
    `of`. `written`: a result as JSON has it. `read`: the result of a piece as it was; a BitrowError where it is none.
    """

    key: Callable[[Any], str]
    written: Callable[[Any], Any]
    read: Callable[[Any, Any], Any]


class Kept:
    """The results in the file `path`, which the first one makes; `fresh` forgets what is there.

    `of`: 64 digits in hex for what all pieces have in common, their versions among it. The caller keeps others away
    (`asides.alone`).

    Raises:
        BitrowError: the file is something else or `of` others, or cannot be read.
    """

    def __init__(self, path: Path, of: str, form: Form, fresh: bool = False) -> None:
        self.path, self._form = path, form
        self._head = f"{SCHEMA} {of}\n".encode()
        self._places: dict[str, int] = {}
        if fresh:
            path.unlink(missing_ok=True)
        elif os.path.lexists(path):
            self._look()

    def _look(self) -> None:
        """Note where sound lines begin."""
        line = b""
        with opened(self.path, KEPT) as stream:
            if stream.readline(len(self._head)) != self._head:
                raise BitrowError(f"{self.path}: found another file, or what other versions or another question left, "
                                  f"expected {KEPT.expected} to take up; --fresh starts over")  # fmt: skip
            place = stream.tell()
            for line in stream:
                rest = _rest(line)
                if line == _sealed(rest):
                    self._places[rest.partition(b" ")[0].decode("ascii", "replace")] = place
                place += len(line)
        if line and not line.endswith(b"\n"):
            self._append(b"\n")  # the next line is none of the one that was cut off

    def get(self, piece: Any) -> Any:
        """The result of a piece, None where there is none. Raises: BitrowError: a sealed line that holds no such."""
        place = self._places.get(self._form.key(piece))
        if place is None:
            return None
        with opened(self.path, KEPT) as stream:
            stream.seek(place)
            line = stream.readline()
        try:
            return self._form.read(piece, parse_json(_rest(_rest(line)), "result"))
        except BitrowError as error:
            raise BitrowError(f"{self.path}: {error} ({KEPT.expected}; --fresh starts over)") from None

    def add(self, piece: Any, result: Any) -> None:
        """Keep the result of a piece, unless it is there. Raises: BitrowError: it cannot be written."""
        key = self._form.key(piece)
        if key not in self._places:
            rest = f"{key} {json.dumps(self._form.written(result), separators=(',', ':'))}\n".encode()
            self._append(_sealed(rest))

    def _append(self, line: bytes) -> None:
        if not os.path.lexists(self.path):
            write_bytes(self.path, self._head, parents=True)
        try:
            with self.path.open("ab") as stream:
                stream.write(line)
        except OSError as error:
            raise BitrowError(f"{self.path}: cannot be written: {error.strerror or error}") from None


def _sealed(rest: bytes) -> bytes:
    return hashlib.sha256(rest).hexdigest().encode() + b" " + rest


def _rest(line: bytes) -> bytes:
    return line.partition(b" ")[2]
