"""Names and locks of what is written beside its final place, and the removal of what killed runs left there.

A lock (flock) ends with its process, however that ends: what nobody holds is of a dead run.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitrow.errors import BitrowError

fcntl: Any
try:
    import fcntl
except ImportError:  # no advisory locks on this system: leftovers then stay for the user to delete
    fcntl = None

_SHOWN = 48  # characters of the final name in the name aside, which has to fit, too
_DIGITS = 8


def prefix(name: str) -> str:
    """What the name of something unfinished for `name` begins with."""
    return f".{name[:_SHOWN]}.bitrow-partial-"


def _seal(name: str, nonce: str) -> str:
    return hashlib.sha256(f"{nonce}/{name}".encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


def new_name(name: str) -> str:
    """A name of its own for something unfinished; its last digits show that it was made here."""
    nonce = secrets.token_hex(_DIGITS // 2)
    return f"{prefix(name)}{nonce}{_seal(name, nonce)}"


def is_own_name(found: str, name: str) -> bool:
    """Whether `new_name(name)` made it."""
    rest = found.removeprefix(prefix(name))
    return len(rest) == 2 * _DIGITS and found.startswith(prefix(name)) and _seal(name, rest[:_DIGITS]) == rest[_DIGITS:]


def lock(descriptor: int, wait: bool = False) -> bool | None:
    """Lock an open file or folder until it is closed; False where another has it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """One run at a time looks for leftovers in `folder` and makes something new there.

    Raises:
        OSError: no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _clean(folder: Path, name: str) -> None:
    """Delete the unfinished files for `name` of runs that are dead."""
    for found in os.listdir(folder):
        if not is_own_name(found, name):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / found, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode) and lock(descriptor):
                    os.unlink(folder / found)
            finally:
                os.close(descriptor)


def new_file(target: Path, mode: int | None) -> tuple[Path, int]:
    """An empty locked file beside `target`, and its descriptor; of `mode`, or as the system makes new ones.

    Raises:
        OSError: it cannot be made.
    """
    with guarded(target.parent):
        _clean(target.parent, target.name)
        aside = target.with_name(new_name(target.name))
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode & 0o700)
        lock(descriptor)
    if mode is not None:
        os.fchmod(descriptor, mode)
    return aside, descriptor


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep a second run out of `folder`; nothing is written there.

    Raises:
        BitrowError: another run is at work in it; it cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BitrowError(f"{folder}: cannot be read: {error.strerror or error}") from None
    try:
        if lock(descriptor) is False:
            raise BitrowError(f"{folder}: found another run at work there, expected to be alone")
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Keep a second run away from `path`, by a file beside it that goes with the first one.

    Raises:
        BitrowError: another run is at it; the file cannot be made.
    """
    guard = path.with_name(f".{path.name}.lock")
    try:
        guard.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(guard)
    except OSError as error:
        raise BitrowError(f"{path}: cannot be written: {error.strerror or error}") from None
    if descriptor is None:
        raise BitrowError(f"{path}: found another run at work on {what}, expected to be alone")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            guard.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(guard: Path) -> int | None:
    """A lock on the file that now has the name: one that was waited for may have gone meanwhile."""
    while True:
        descriptor = os.open(guard, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        if lock(descriptor) is False:
            os.close(descriptor)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(guard)):
                return descriptor
        os.close(descriptor)
