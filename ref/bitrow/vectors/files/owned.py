"""What of a folder bitrow wrote, told by checksums, and its removal file by file (SPEC.md V4, V5).

A finished set's manifest has the checksums; an unfinished folder has them in a journal, which goes when the folder is
complete. What neither accounts for is somebody else's and stays. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bitrow.errors import BitrowError
from bitrow.reading import ARCHIVE, JSON, RECORDS, opened, read_bytes, records
from bitrow.vectors.files import schema

JOURNAL = ".bitrow-journal"
_BEGUN = "-" * 64
_LINE = re.compile(r"([0-9a-f]{64}|-{64})  ([^\0\n]+)")


class Journal:
    """What is written into an unfinished folder: a line when a file is begun, one with its SHA-256 when it is done."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._stream = self._path.open("ab", buffering=0)
        self.begun(JOURNAL)  # a disk that takes nothing says so before anything is computed

    def begun(self, name: str) -> None:
        self._add(f"{_BEGUN}  {name}\n".encode())

    def done(self, name: str, digest: str) -> None:
        self._add(f"{digest}  {name}\n".encode())

    def _add(self, line: bytes) -> None:
        while line:  # half a line is written where the disk is full; the next write says so
            line = line[self._stream.write(line) :]

    def complete(self) -> None:
        """The folder is: its manifest says the same as this journal, which goes."""
        self._path.unlink()

    def close(self) -> None:
        self._stream.close()


Mark = tuple[int, ...]


class Content(NamedTuple):
    """Everything below a folder: regular files with marks that change when they do, and folders."""

    files: dict[str, Mark]
    folders: tuple[str, ...]


def _mark(path: Path) -> Mark:
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def content(folder: Path) -> Content:
    """Every file and folder below `folder`, relative to it.

    Raises:
        BitrowError: a link or a device, which no run of ours makes; a folder that cannot be read.
    """
    files: dict[str, Mark] = {}
    folders: list[str] = []
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / inside), key=lambda entry: entry.name)
            for entry in entries:
                name = f"{inside}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                    waiting.append(f"{name}/")
                elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    files[name] = _mark(folder / name)
                else:
                    raise _foreign(name)
        except OSError as error:
            raise BitrowError(f"found {inside or 'a folder'} that cannot be read ({error.strerror}), "
                              "expected the files of a vector set") from None  # fmt: skip
    return Content(files, tuple(folders))


def _foreign(name: str) -> BitrowError:
    return BitrowError(f"found {name}, which is no part of the vector set; move it away first")


def _checksums(folder: Path) -> dict[str, str | None]:
    """SHA-256 of each file that a manifest of ours lists.

    Raises:
        BitrowError: no manifest, or one that bitrow did not write.
    """
    manifest = schema.read_manifest(folder)
    if read_bytes(folder / schema.MANIFEST, JSON, schema.MANIFEST) != schema.to_json(records.write(manifest)):
        raise BitrowError(f"{schema.MANIFEST}: found other text than bitrow writes")
    for name in manifest.files:
        if not manifest.owns(name):
            raise BitrowError(f"{schema.MANIFEST}: found {name[:80]!r}, which is no file of a vector set")
    return dict(manifest.files)


def _journalled(folder: Path) -> dict[str, str | None]:
    """SHA-256 of each file that the journal says is done, None of one that was begun."""
    found: dict[str, str | None] = {JOURNAL: None}
    if not os.path.lexists(folder / JOURNAL):
        return found
    for line in read_bytes(folder / JOURNAL, RECORDS, JOURNAL).decode(errors="replace").split("\n"):
        match = _LINE.fullmatch(line)
        if match:
            found[match[2]] = None if match[1] == _BEGUN else match[1]
    return found


def _check(folder: Path, found: Content, expected: Mapping[str, str | None], folders: set[str]) -> None:
    for name in found.folders:
        if name not in folders:
            raise _foreign(f"{name}/")
    for name in found.files:
        if name not in expected:
            raise _foreign(name)
    for name in found.files:
        digest = expected[name]
        if digest is not None and _sha256(folder / name) != digest:
            raise BitrowError(f"found {name} changed since the vector set was written; move it away first")


def _sha256(path: Path) -> str:
    try:
        with opened(path, ARCHIVE, path.name) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except BitrowError as error:
        raise BitrowError(f"found {error}, expected a file of the vector set") from None


def finished(folder: Path) -> Content:
    """What is in a folder, where it is a vector set as bitrow wrote it, or less; or empty.

    Raises:
        BitrowError: what is in it beside that, without the folder's name.
    """
    found = content(folder)
    if not found.files and not found.folders:
        return found
    try:
        expected = _checksums(folder)
    except (BitrowError, OSError):
        raise BitrowError("found a folder that is not a vector set; --force replaces only vector sets") from None
    _check(folder, found, {schema.MANIFEST: None, **expected}, _above(expected))
    return found


def unfinished(folder: Path) -> Content:
    """What is in a folder, where it is what a run left: begun, complete, or the old set on its way out.

    Raises:
        BitrowError: what is in it beside that, without the folder's name.
    """
    found = content(folder)
    if not found.files:
        return found
    if JOURNAL not in found.files:
        if schema.MANIFEST not in found.files:
            raise _foreign(min(found.files))
        return finished(folder)
    expected = _journalled(folder)
    begun = {name.partition("/")[0] for name in found.folders}  # a folder comes before what is begun in it
    _check(folder, found, expected, begun | _above(expected))
    return found


def _above(files: Iterable[str]) -> set[str]:
    """The folders that files lie in."""
    return {str(folder) for name in files for folder in PurePosixPath(name).parents} - {"."}


def unchanged(folder: Path, before: Content) -> bool:
    """Whether a folder, perhaps under another name, still holds the very files of `before`."""
    try:
        return content(folder) == before
    except BitrowError:
        return False


def remove(folder: Path, known: Content, growing: bool = False) -> bool:
    """Delete the files of `known` and the folders that this empties; whether nothing is left of `folder`.

    A file that has changed since stays, unless it is still `growing`: being written by this very process.
    """
    marks = slice(2 if growing else None)
    last = [name for name in (schema.MANIFEST, JOURNAL) if name in known.files]  # they account for the others

    def unlink(name: str) -> None:
        with contextlib.suppress(OSError):
            if _mark(folder / name)[marks] == known.files[name][marks]:
                (folder / name).unlink()

    for name in known.files:
        if name not in last:
            unlink(name)
    for name in sorted(known.folders, reverse=True):
        with contextlib.suppress(OSError):
            (folder / name).rmdir()
    if growing and set(os.listdir(folder)) > set(last):
        return False
    for name in last:
        unlink(name)
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not os.path.lexists(folder)
