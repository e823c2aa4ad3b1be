"""Zips and the npy arrays in them, unfolded within bounds. Standard library and numpy only."""

from __future__ import annotations

import contextlib
import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast

import numpy as np

from bitrow.errors import BitrowError
from bitrow.reading import ARCHIVE, MIB, FileKind, allowed, check_size, check_unfolded, opened, size_of

# whatever zipfile raises on bad bytes
BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, OverflowError)
_DIRECTORY = 16 * MIB  # of a zip: some hundred thousand entries
_STEP = MIB
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unfolds the others without a bound
_NUMBERS = "biufU"  # kinds of dtype that hold numbers or strings
_VERSIONS = ((1, 0), (2, 0))


class _Bounded:
    """A stream whose reads are bounded: zipfile reads a directory of any size at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if size > allowed(_DIRECTORY):
            raise zipfile.BadZipFile(f"a directory of {size:,} bytes, more than {allowed(_DIRECTORY):,}")
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def reason(error: BaseException) -> str:
    """What an error of `BROKEN` says, short."""
    return str(error)[:80] or type(error).__name__


class Zip(NamedTuple):
    """An open zip: its file's name in errors, its size in bytes, the library's reader, its entries."""

    where: str
    size: int
    archive: zipfile.ZipFile
    entries: list[zipfile.ZipInfo]

    def check_unfolded(self, entries: list[zipfile.ZipInfo]) -> None:
        """Refuse entries that say to unfold to more than the whole file may. Raises: BitrowError."""
        check_unfolded(sum(info.file_size for info in entries), self.size, self.where)

    @contextlib.contextmanager
    def entry(self, info: zipfile.ZipInfo, where: str, expected: str) -> Iterator[IO[bytes]]:
        """An entry, open to read in steps. Raises: BitrowError: naming `where`; a corrupt or encrypted entry."""
        if info.compress_type not in _METHODS:
            method = info.compress_type
            raise BitrowError(f"{where}: found an entry packed by method {method}, expected stored or deflated (0, 8)")
        check_unfolded(info.file_size, self.size, where)
        try:
            with self.archive.open(info) as stream:
                yield stream
        except BitrowError:
            raise
        except BROKEN as error:
            raise BitrowError(f"{where}: found a corrupt entry ({reason(error)}), expected {expected}") from None

    def read(self, info: zipfile.ZipInfo, where: str, expected: str) -> bytearray:
        """A whole entry. Raises: BitrowError as `entry`."""
        with self.entry(info, where, expected) as stream:
            return take(stream, info.file_size + 1)  # the library checks size and sum at the end


@contextlib.contextmanager
def opened_zip(path: Path, kind: FileKind, where: str, expected: str, most: int | None = None) -> Iterator[Zip]:
    """A zip. Raises: BitrowError as `opened`; not a zip, or a directory of more than 16 MiB."""
    with opened(path, kind, where, most) as stream:
        try:
            archive = zipfile.ZipFile(cast(IO[bytes], _Bounded(stream)))
        except BROKEN as error:
            found = f"a corrupt or unreadable file ({reason(error)})"
            raise BitrowError(f"{where}: found {found}, expected {expected}") from None
        with archive:
            yield Zip(where, size_of(stream), archive, archive.infolist())


def take(stream: IO[bytes], count: int) -> bytearray:
    """Up to `count` bytes in steps, so that what is not there takes no memory; fewer where a gzip stream is cut."""
    held = bytearray()
    while len(held) < count:
        try:
            part = stream.read(min(count - len(held), _STEP))
        except EOFError:
            break
        if not part:
            break
        held += part
    return held


def read_npz(path: Path, where: str, most: int, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz file, read-only, or those of some `names`; others are not read.

    Headers are held against sizes before memory is taken; no pickles.

    Raises:
        BitrowError: beginning with `where`: no npz, corrupt or truncated, two arrays of one name, other things than
            numbers and strings, more than `most` bytes of arrays, or more than a hundred times what is stored.
    """
    with opened_zip(path, ARCHIVE, where, "npz") as archive:
        members = {info: info.filename.removesuffix(".npy") for info in archive.entries}
        members = {info: name for info, name in members.items() if names is None or name in names}
        check_size(sum(info.file_size for info in members), most, where, "bytes of arrays")
        archive.check_unfolded(list(members))
        arrays: dict[str, np.ndarray] = {}
        for info, name in members.items():
            if name in arrays:
                raise BitrowError(f"{where}: found two arrays {name[:80]!r}, expected one")
            inside = f"{where} {info.filename}"
            with archive.entry(info, inside, "an npy array") as stream:
                arrays[name] = read_npy(stream, npy_header(stream, inside), inside)
        return arrays


class Header(NamedTuple):
    """What an npy header says."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    version: tuple[int, int]


def npy_header(stream: IO[bytes], where: str) -> Header:
    """The header of an npy stream.

    Raises:
        BitrowError: naming `where`: no header, or an array of other things than numbers and strings.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns of headers that Python 2 wrote
            version = np.lib.format.read_magic(stream)
            if version not in _VERSIONS:
                raise ValueError(f"npy version {version}")
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream)
    except Exception as error:  # numpy parses it as Python: it raises what the parser raises
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BitrowError(f"{where}: found no npy header ({text[:80]}), expected an npy array") from None
    if dtype.kind not in _NUMBERS or not dtype.itemsize or dtype.fields or dtype.subdtype:
        found = "pickled objects" if dtype.hasobject else f"an array of {dtype}"
        raise BitrowError(f"{where}: found {found}, expected numbers or strings")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise BitrowError(f"{where}: found the shape {shape}, expected sizes from 0")
    return Header(shape, fortran, dtype, version)


def read_npy(stream: IO[bytes], header: Header, where: str) -> np.ndarray:
    """The array behind a header, read-only.

    Raises:
        BitrowError: naming `where`: more or fewer bytes than the header says.
    """
    expected = math.prod(header.shape) * header.dtype.itemsize
    content = take(stream, expected + 1)
    if len(content) != expected:
        found = f"more than {expected:,}" if len(content) > expected else f"{len(content):,}"
        of = f"{header.dtype}{list(header.shape)}"
        raise BitrowError(f"{where}: found {found} bytes of data, expected {expected:,} for {of}")
    return np.frombuffer(content, header.dtype).reshape(header.shape, order="F" if header.fortran else "C")
