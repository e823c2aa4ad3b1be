"""A folder that appears whole or not at all (SPEC.md V5).

The folder is made beside its final place under a recognisable name and renamed when it is complete. A
replacement exchanges the two names in one step where the system can, so that a kill at any moment leaves
either the old folder or the new one, complete, under the final name. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitrow.errors import BitrowError

fcntl: Any
try:
    import fcntl
except ImportError:  # no advisory locks on this system: leftovers then stay for the user to delete
    fcntl = None

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2


def partial_prefix(name: str) -> str:
    """What the name of an unfinished folder for `name` begins with."""
    return f".{name}.bitrow-partial-"


def previous_name(name: str) -> str:
    """Where an old folder waits while the system cannot exchange names in one step."""
    return f".{name}.bitrow-previous"


def _system_rename(source: Path, target: Path, flags: int) -> bool:
    """Linux renameat2; False where the system or the file system has none.

    Raises:
        OSError: it has, and the rename failed.
    """
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(target))


def exchange(source: Path, target: Path) -> bool:
    """Swap two names in one step; False where the system cannot."""
    return _system_rename(source, target, _RENAME_EXCHANGE)


def _sync(folder: Path) -> None:
    """Put every file of the folder's file system on disk before the rename names it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            done = ctypes.CDLL(None, use_errno=True).syncfs(descriptor) == 0
        except (OSError, AttributeError, TypeError):
            done = False
            os.sync()
        else:
            if not done:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)


def _sync_name(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(folder: Path, wait: bool = False) -> int | None:
    """A descriptor that keeps `folder` locked until it or its process ends; None where another has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    if fcntl is None:
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _clean(parent: Path, name: str) -> None:
    """Delete what killed runs left for `name`, and put back an old folder that one of them had moved away."""
    for leftover in parent.glob(f"{partial_prefix(name)}*"):
        held = _lock(leftover) if leftover.is_dir() and not leftover.is_symlink() and fcntl else None
        if held is not None:
            shutil.rmtree(leftover, ignore_errors=True)
            os.close(held)
    previous, target = parent / previous_name(name), parent / name
    if previous.is_dir():
        if target.exists():
            shutil.rmtree(previous, ignore_errors=True)
        else:
            os.rename(previous, target)


def _start(parent: Path, name: str) -> tuple[Path, int | None]:
    """Clean, then make and lock an unfinished folder; meanwhile the parent is locked against a second run."""
    guard = _lock(parent, wait=True)
    try:
        _clean(parent, name)
        partial = parent / f"{partial_prefix(name)}{secrets.token_hex(4)}"
        partial.mkdir()
        return partial, _lock(partial)
    finally:
        if guard is not None:
            os.close(guard)


def _publish(partial: Path, target: Path, replace: bool) -> None:
    _sync(partial)
    if not replace:
        if not _system_rename(partial, target, _RENAME_NOREPLACE):
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            os.rename(partial, target)
    elif not exchange(partial, target):
        previous = target.parent / previous_name(target.name)
        os.rename(target, previous)
        os.rename(partial, target)
        shutil.rmtree(previous, ignore_errors=True)
    _sync_name(target.parent)


@contextlib.contextmanager
def new_folder(target: Path, replace: bool) -> Iterator[Path]:
    """An empty folder to fill; on success it becomes `target`, on any exception it goes.

    `target`'s parent must exist. With `replace`, `target` is a folder whose content the caller gives up.

    Raises:
        BitrowError: the parent is missing or cannot be written, or `target` has appeared in between.
    """
    parent = target.parent
    if not parent.is_dir():
        raise BitrowError(f"{target}: found no folder {parent}, expected an existing one to write in")
    try:
        partial, held = _start(parent, target.name)
    except OSError as error:
        raise BitrowError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        yield partial
        try:
            _publish(partial, target, replace)
        except FileExistsError:
            raise BitrowError(f"{target}: found a folder that appeared meanwhile, expected none") from None
        except OSError as error:
            raise BitrowError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        # after an exchange this holds the old folder
        shutil.rmtree(partial, ignore_errors=True)
        if held is not None:
            os.close(held)
