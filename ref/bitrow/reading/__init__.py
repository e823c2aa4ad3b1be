"""The one way in: every file that bitrow reads is a regular file within bounds (`tests/test_reading_rule.py`).

`BITROW_READ_LIMIT`, in bytes, raises the bound of every kind of file where it is larger. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

from bitrow.errors import BitrowError

VARIABLE = "BITROW_READ_LIMIT"
MIB = 1 << 20


class FileKind(NamedTuple):
    """A kind of file: what it is called where something else is found, and the most bytes of it."""

    expected: str
    most: int


MACHINE = FileKind("a TOML file", MIB // 16)
LAYER = FileKind("a layer in TOML", MIB // 16)
JSON = FileKind("a JSON file", 8 * MIB)
RECORDS = FileKind("a file of records", 8 * MIB)
STATE = FileKind("a result file of bitrow prove", 8 * MIB)
KEPT = FileKind("results that an unfinished run kept", 4096 * MIB)
SOURCE = FileKind("a source file", 8 * MIB)
SYSTEM = FileKind("a file of the system", 8 * MIB)
LISTING = FileKind("a listing of XLA", 256 * MIB)
CHECKPOINT = FileKind("a checkpoint's file", 256 * MIB)
MODEL = FileKind("a model file", 256 * MIB)
HEX = FileKind("a file of hex words", 64 * MIB)
IMAGE = FileKind("an image", 64 * MIB)
ARCHIVE = FileKind("a zip or npz file", 4096 * MIB)
IDX = FileKind("an IDX file", 4096 * MIB)
FOLDED = 256 * MIB  # what a compressed file may always unfold to
RATIO = 100  # times its own size that it may unfold to beyond that

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip


def allowed(most: int) -> int:
    """`most`, or what `BITROW_READ_LIMIT` raises it to.

    Raises:
        BitrowError: the variable is no number of bytes.
    """
    text = os.environ.get(VARIABLE, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BitrowError(f"{VARIABLE}: found {text[:40]!r}, expected a number of bytes")
    return max(most, int(text or 0))


def check_size(size: int, most: int, where: str, what: str = "bytes") -> None:
    """Refuse more bytes than `most`, or than `BITROW_READ_LIMIT` where it is larger.

    Raises:
        BitrowError: naming `where`, both numbers and the variable.
    """
    if size > most and size > allowed(most):
        raise BitrowError(
            f"{where}: found {size:,} {what}, expected at most {allowed(most):,} ({VARIABLE}=BYTES allows more)"
        )


def check_unfolded(size: int, stored: int, where: str) -> None:
    """Refuse a compressed file of `stored` bytes that unfolds to `size`, where it was made to fill memory.

    Raises:
        BitrowError: more than 256 MiB and more than a hundred times its own size.
    """
    check_size(size, max(FOLDED, RATIO * stored), where, f"bytes unfolded from {stored:,}")


@contextlib.contextmanager
def opened(
    path: str | Path, kind: FileKind, where: str | None = None, most: int | None = None
) -> Iterator[BufferedReader]:
    """A regular file of at most `most` bytes (by default the kind's), open to read; `where` names it in errors.

    Nothing is waited for: a pipe, a device, a folder is refused at once, also behind a link.

    Raises:
        BitrowError: naming `where`: no such file, no regular one, too large, or unreadable, also while it is open.
    """
    where = str(path) if where is None else where
    if "\0" in str(path):
        raise BitrowError(f"{where}: found a name with a NUL in it, expected {kind.expected}")
    try:
        _check_regular(os.stat(path), kind, where)  # before it is opened: to open a device may do something
        flags = (getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"))
        descriptor = os.open(path, os.O_RDONLY | sum(flags))
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            _check_regular(status, kind, where)
            check_size(status.st_size, kind.most if most is None else most, where)
            yield stream
    except FileNotFoundError:
        raise BitrowError(f"{where}: found no such file, expected {kind.expected}") from None
    except OSError as error:
        raise BitrowError(f"{where}: cannot be read: {error.strerror or error}") from None


def _check_regular(status: os.stat_result, kind: FileKind, where: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        found = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise BitrowError(f"{where}: found {found}, expected {kind.expected}")


def check_tree(folder: Path, kind: FileKind, most: int) -> None:
    """Refuse a folder for a library to read that holds other things than folders and regular files, or too much.

    Raises:
        BitrowError: naming the first such entry, or the folder whose files have more than `most` bytes.
    """
    total = 0
    for here, folders, files in os.walk(folder, onerror=lambda error: _raise(error)):
        for name in (*folders, *files):
            path = Path(here, name)
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                _check_regular(status, kind, str(path))
                total += status.st_size
    check_size(total, most, str(folder))


def _raise(error: OSError) -> NoReturn:
    raise BitrowError(f"{error.filename}: cannot be read: {error.strerror or error}") from None


def size_of(stream: IO[bytes]) -> int:
    """The size in bytes of an open file."""
    return os.fstat(stream.fileno()).st_size


def read_bytes(path: str | Path, kind: FileKind, where: str | None = None) -> bytes:
    """A whole file. Raises: BitrowError as `opened`."""
    with opened(path, kind, where) as stream:
        room = max(size_of(stream), MIB)  # what the system makes up as it is read has no size
        content = stream.read(room + 1)
        check_size(len(content), min(room, allowed(kind.most)), str(path) if where is None else where)
        return content


def read_text(path: str | Path, kind: FileKind, where: str | None = None) -> str:
    """A whole file of UTF-8 text, without the mark that some editors put before it.

    Raises:
        BitrowError: as `opened`; other bytes than UTF-8.
    """
    content = read_bytes(path, kind, where)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        name = str(path) if where is None else where
        raise BitrowError(f"{name}: found bytes at {error.start} that are no UTF-8, expected {kind.expected}") from None
