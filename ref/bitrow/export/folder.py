"""A folder of files that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bitrow import asides, leave
from bitrow.errors import BitrowError


def check_folder(out: Path) -> Path:
    """Where a new folder goes.

    Raises:
        BitrowError: something is there, or there is no folder to make it in.
    """
    target = Path(os.path.realpath(out))
    if os.path.lexists(target):
        raise BitrowError(f"{out}: found something of this name, expected none")
    if not target.name or not target.parent.is_dir():
        raise BitrowError(f"{out}: found no folder {target.parent}, expected an existing one to write in")
    return target


def write_folder(out: Path, texts: Mapping[str, str]) -> None:
    """Write files of text by name into a new folder, whole or not at all.

    Raises:
        BitrowError: as `check_folder`; a folder that cannot be written.
    """
    target = check_folder(out)
    try:
        _discard_dead(target)
        aside, held = asides.new_folder(target)
        try:
            with leave.undoing(lambda: _undo(aside, target)):
                for name, text in texts.items():
                    (aside / name).write_bytes(text.encode())
                os.rename(aside, target)
        finally:
            _undo(aside, target)
            if held is not None:
                os.close(held)
    except OSError as error:
        raise BitrowError(f"{out}: cannot be written: {error.strerror or error}") from None


def _undo(aside: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        moved = asides.out_of_reach(aside, target)
        for _ in range(20):  # a file that was being opened appears behind the deletion
            shutil.rmtree(moved, ignore_errors=True)


def _discard_dead(target: Path) -> None:
    """Delete what killed runs left for `target`: what has such a name and nobody holds."""
    for found in os.listdir(target.parent):
        leftover = target.parent / found
        if asides.is_own_name(found, target.name) and leftover.is_dir() and not leftover.is_symlink():
            held = asides.lock_folder(leftover)
            if held is not None:
                shutil.rmtree(leftover, ignore_errors=True)
                os.close(held)
