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
import stat
from collections.abc import Iterator
from pathlib import Path

from bitrow import asides, leave
from bitrow.errors import BitrowError
from bitrow.vectors.files import owned

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2


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


def _clean(target: Path) -> None:
    """Delete what killed runs left for `target`, and put back an old folder that one of them had moved away.

    Raises:
        BitrowError: a leftover holds what no run of ours wrote: it stays, and somebody has to look at it.
    """
    for entry in sorted(os.scandir(target.parent), key=lambda entry: entry.name):
        if not entry.name.startswith(asides.prefix(target.name)) or not entry.is_dir(follow_symlinks=False):
            continue
        leftover = Path(entry.path)
        held = asides.lock_folder(leftover)
        if held is not None:
            try:
                _discard(leftover, target)
            finally:
                os.close(held)
    previous = target.parent / previous_name(target.name)
    if os.path.lexists(previous):
        if os.path.lexists(target):
            _discard(previous, target)
        else:
            os.rename(previous, target)


def _discard(leftover: Path, target: Path) -> None:
    """Delete what a run of ours left at `leftover`."""
    try:
        known = owned.unfinished(leftover)
    except BitrowError as error:
        raise BitrowError(f"{target}: a killed run left {leftover}: {error}") from None
    if not owned.remove(leftover, known):
        raise BitrowError(f"{target}: a killed run left {leftover}, which cannot be deleted; move it away first")


def _changed(target: Path, error: BitrowError | None = None) -> BitrowError:
    why = error or "found it changed while the new set was written"
    return BitrowError(f"{target}: {why}; the new set is not in its place")


def _publish(partial: Path, target: Path, replace: bool) -> None:
    """Give the folder its final name; what had that name is deleted only if it is a vector set of ours."""
    if not replace or not os.path.lexists(target):
        _sync(partial)
        with leave.uncut():
            if not _system_rename(partial, target, _RENAME_NOREPLACE):
                if os.path.lexists(target):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
                os.rename(partial, target)
        _sync_name(target.parent)
        return
    try:
        old = owned.finished(target)
    except BitrowError as error:
        raise _changed(target, error) from None
    os.chmod(partial, stat.S_IMODE(target.lstat().st_mode))
    _sync(partial)
    aside = _swap(partial, target, old)
    _sync_name(target.parent)
    if not owned.remove(aside, old):
        raise BitrowError(f"{target}: is replaced, but what was put into the old set meanwhile stays in {aside}")


def _swap(partial: Path, target: Path, old: owned.Content) -> Path:
    """Exchange the two names, in one step where the system can; where the old folder is now.

    Raises:
        BitrowError: another folder than `old` had the name, and has it again.
    """
    with leave.uncut():
        if exchange(partial, target):
            if not owned.unchanged(partial, old):
                exchange(partial, target)
                raise _changed(target)
            return partial
        previous = target.parent / previous_name(target.name)
        os.rename(target, previous)
        if not owned.unchanged(previous, old):
            os.rename(previous, target)
            raise _changed(target)
        os.rename(partial, target)
        return previous


def _undo(partial: Path, target: Path) -> None:
    """Delete an unfinished folder for `target`, or the old one in its place, while other threads still write to it.

    What is open in it ends, and the journal goes last.
    """
    try:
        moved = asides.out_of_reach(partial, target)
    except OSError:
        return
    for _ in range(20):
        with contextlib.suppress(BitrowError, OSError):
            if owned.remove(moved, owned.unfinished(moved), growing=True):
                return
    with contextlib.suppress(OSError):
        os.rename(moved, partial)


@contextlib.contextmanager
def new_folder(target: Path, replace: bool) -> Iterator[Path]:
    """An empty folder to fill; on success it becomes `target`, on any exception it goes.

    `target`'s parent must exist. With `replace`, a vector set of ours at `target` gives way, whatever else is there
    does not. What is written is accounted for by an `owned.Journal` of the folder, or stays when the run is killed.

    Raises:
        BitrowError: the parent is missing or cannot be written, `target` has appeared or changed in between, or a
            killed run left what is not its own.
    """
    parent = target.parent
    if not parent.is_dir():
        raise BitrowError(f"{target}: found no folder {parent}, expected an existing one to write in")
    try:
        _clean(target)
        partial, held = asides.new_folder(target)
    except OSError as error:
        raise BitrowError(f"{target}: cannot be written: {error.strerror}") from error
    with leave.undoing(lambda: _undo(partial, target)):
        try:
            yield partial
            try:
                _publish(partial, target, replace)
            except FileExistsError:
                raise BitrowError(f"{target}: found a folder that appeared meanwhile, expected none") from None
            except OSError as error:
                raise BitrowError(f"{target}: cannot be written: {error.strerror}") from error
        finally:
            _undo(partial, target)
            if held is not None:
                os.close(held)
