"""`case.npz`: the tensors as integer bit views, in a zip whose bytes depend on them alone (SPEC.md V1, V4).

Members are stored uncompressed, in order, with a fixed date, so that no library's version shows. Standard
library and numpy only.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from bitrow.errors import BitrowError
from bitrow.reading import ARCHIVE, archives

_DATE = (1980, 1, 1, 0, 0, 0)
_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGN = 64
_CHUNK_BYTES = 1 << 22
_WORD_BYTES = 8  # of a word, with its share of the zip


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """The npy header, version 1.0, as the format's documentation states it."""
    text = f"{{'descr': '{dtype.newbyteorder('<').str}', 'fortran_order': False, 'shape': {shape!r}, }}"
    length = -(-(len(_MAGIC) + 2 + len(text) + 1) // _ALIGN) * _ALIGN - len(_MAGIC) - 2
    return _MAGIC + length.to_bytes(2, "little") + text.ljust(length - 1).encode("latin1") + b"\n"


class _Sink:
    """The stream below a zip, which can be let go: a zip writes its directory even after a failure."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def let_go(self) -> None:
        self._stream = io.BytesIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Writer:
    """Writes members to an open binary stream, one array at a time; a context manager."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._sink = _Sink(stream)
        self._zip = zipfile.ZipFile(cast(IO[bytes], self._sink), "w", zipfile.ZIP_STORED)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._sink.let_go()
        self._zip.close()

    def add(self, name: str, data: np.ndarray) -> None:
        """Append `data` as the member `name`, little-endian, row-major."""
        header = _header(data.dtype, data.shape)
        info = zipfile.ZipInfo(f"{name}.npy", _DATE)
        info.create_system = 3
        info.external_attr = 0o644 << 16
        info.file_size = len(header) + data.nbytes
        flat = data.astype(data.dtype.newbyteorder("<"), copy=False).reshape(-1)
        step = _CHUNK_BYTES // data.itemsize
        with self._zip.open(info, "w") as member:
            member.write(header)
            for start in range(0, flat.size, step):
                member.write(flat[start : start + step].tobytes())


class ArrayReader:
    """Reads members of a `case.npz` of `words` words, one array at a time; a context manager.

    Raises:
        BitrowError: naming `where`: the file is not a zip, far larger than its words, a member is missing or malformed.
    """

    def __init__(self, path: Path, where: str, words: int) -> None:
        self._where = where
        self._open = contextlib.ExitStack()
        most = ARCHIVE.most // 64 + _WORD_BYTES * words
        self._zip = self._open.enter_context(archives.opened_zip(path, ARCHIVE, where, "a zip of arrays", most))

    def __enter__(self) -> ArrayReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def names(self) -> list[str]:
        """The arrays, in order."""
        return [name.removesuffix(".npy") for name in self._zip.archive.namelist()]

    def read(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """The array `name`, of exactly `dtype` and `shape`."""
        where = f"{self._where} {name}"
        try:
            info = self._zip.archive.getinfo(f"{name}.npy")
        except KeyError:
            raise BitrowError(f"{where}: found no such array, expected {dtype} {list(shape)}") from None
        with self._zip.entry(info, where, "an npy array") as member:
            # the header is read first, so that a forged shape allocates nothing
            header = archives.npy_header(member, where)
            if header.version != (1, 0):
                raise BitrowError(f"{where}: found npy version {header.version}, expected version (1, 0)")
            if header.fortran or header.dtype != dtype or header.shape != shape:
                raise BitrowError(
                    f"{where}: found {header.dtype} {list(header.shape)}, expected {dtype} {list(shape)}"
                )
            return archives.read_npy(member, header, where).astype(dtype)
