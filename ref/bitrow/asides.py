"""Names and locks of what is written beside its final place, and the removal of what killed runs left there.

A lock (flock) ends with its process, however that ends: what nobody holds is of a dead run.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitrow import leave
from bitrow.errors import BitrowError

fcntl: Any
try:
    import fcntl
except ImportError:  # no advisory locks on this system: leftovers then stay for the user to delete
    fcntl = None

_SHOWN = 48  # characters of the final name in the name aside, which has to fit, too
_DIGITS = 8
_NEW = "new"  # made, not yet locked
_MOMENT = 60.0  # seconds after which what is not yet locked is of a dead run


def prefix(name: str, kind: str = "partial") -> str:
    """What the name of something unfinished for `name` begins with."""
    return f".{name[:_SHOWN]}.bitrow-{kind}-"


def _seal(name: str, nonce: str) -> str:
    return hashlib.sha256(f"{nonce}/{name}".encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


def new_name(name: str, kind: str = "partial") -> str:
    """A name of its own for something unfinished; its last digits show that it was made here."""
    nonce = secrets.token_hex(_DIGITS // 2)
    return f"{prefix(name, kind)}{nonce}{_seal(name, nonce)}"


def is_own_name(found: str, name: str, kind: str = "partial") -> bool:
    """Whether `new_name` made it for `name`."""
    rest = found.removeprefix(prefix(name, kind))
    return rest != found and len(rest) == 2 * _DIGITS and _seal(name, rest[:_DIGITS]) == rest[_DIGITS:]


def lock(descriptor: int) -> bool | None:
    """Lock an open file or folder until it is closed; False where another has it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _stillborn(found: Path, name: str) -> None:
    """Delete what a run was killed over in the moment between making it and locking it; it is empty."""
    if is_own_name(found.name, name, _NEW) and time.time() - found.lstat().st_mtime > _MOMENT:
        if stat.S_ISDIR(found.lstat().st_mode):
            found.rmdir()
        elif not found.lstat().st_size:
            found.unlink()


def _dead(found: Path, name: str) -> None:
    """Delete the unfinished file of a run that is dead."""
    if not is_own_name(found.name, name):
        return
    descriptor = os.open(found, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and lock(descriptor):
            found.unlink()
    finally:
        os.close(descriptor)


def _clean(target: Path) -> None:
    """Delete the unfinished files for `target` of runs that are dead."""
    for found in os.listdir(target.parent):
        for remove in (_stillborn, _dead):
            with contextlib.suppress(OSError):
                remove(target.parent / found, target.name)


def new_file(target: Path, mode: int | None) -> tuple[Path, int]:
    """An empty locked file beside `target`, and its descriptor; of `mode`, or as the system makes new ones.

    It has its final name aside only when it is locked, so that no other run takes it for a dead one's.

    Raises:
        OSError: it cannot be made.
    """
    _clean(target)
    begun, aside = target.with_name(new_name(target.name, _NEW)), target.with_name(new_name(target.name))
    descriptor = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode & 0o700)
    try:
        lock(descriptor)
        if mode is not None:
            os.fchmod(descriptor, mode)
        os.rename(begun, aside)
    except OSError:
        os.close(descriptor)
        begun.unlink(missing_ok=True)
        raise
    return aside, descriptor


def lock_folder(folder: Path) -> int | None:
    """A descriptor that keeps `folder` locked until it is closed; None where another run has it, or no locks are.

    Raises:
        OSError: no folder of this name, or a link.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    if lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def new_folder(target: Path) -> tuple[Path, int | None]:
    """An empty locked folder beside `target`, and the descriptor that holds it; as `new_file`.

    Raises:
        OSError: it cannot be made.
    """
    for found in os.listdir(target.parent):
        with contextlib.suppress(OSError):
            _stillborn(target.parent / found, target.name)
    begun, aside = target.with_name(new_name(target.name, _NEW)), target.with_name(new_name(target.name))
    begun.mkdir()
    held = lock_folder(begun)
    os.rename(begun, aside)
    return aside, held


def out_of_reach(folder: Path, target: Path) -> Path:
    """`folder` under another name of its kind for `target`: threads that still write open nothing more in it.

    Raises:
        OSError: there is no such folder, or it cannot be renamed.
    """
    moved = target.with_name(new_name(target.name))
    os.rename(folder, moved)
    return moved


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
    remove = functools.partial(guard.unlink, missing_ok=True)
    try:
        with leave.undoing(remove):
            yield
    finally:
        with contextlib.suppress(OSError):
            remove()
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
