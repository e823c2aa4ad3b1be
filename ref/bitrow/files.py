"""Result files that appear whole or not at all: written aside, put on disk, renamed."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitrow import asides, leave
from bitrow.errors import BitrowError
from bitrow.reading import JSON, values
from bitrow.terminal import put_json


@contextlib.contextmanager
def whole(path: str | Path, parents: bool = False) -> Iterator[Path]:
    """A path to write to, which becomes `path` when all went well; else an older file of the name stays as it is.

    `parents` makes the folders that are missing. A link is followed; what is no file, such as /dev/stdout, is
    written to as it is. A replaced file keeps its mode and owner. What a killed run left aside goes.

    Raises:
        BitrowError: naming the path; a folder that is missing or cannot be made, a disk that is full.
    """
    try:
        if parents:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        before = _stat(path)
        if before is not None and not stat.S_ISREG(before.st_mode):
            yield Path(path)
            return
        with _aside(Path(os.path.realpath(path)), before) as aside:
            yield aside
    except OSError as error:
        raise BitrowError(f"{path}: cannot be written: {error.strerror or error}") from None


def _stat(path: str | Path) -> os.stat_result | None:
    """None where nothing is; a loop of links is an OSError."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _aside(target: Path, before: os.stat_result | None) -> Iterator[Path]:
    aside, descriptor = asides.new_file(target, None if before is None else stat.S_IMODE(before.st_mode))
    try:
        with leave.undoing(functools.partial(aside.unlink, missing_ok=True)):
            if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(OSError):  # only the superuser may
                    os.fchown(descriptor, before.st_uid, before.st_gid)
            yield aside
            os.fsync(descriptor)
            os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
        os.close(descriptor)


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuse files to write that are files to read, or lie in a folder to read, or are each other.

    `outputs` by the option that names them; None and `-` are no file.

    Raises:
        BitrowError: naming the option and the file.
    """
    given_inputs = [one for one in inputs if one is not None]
    for one in given_inputs:
        if "\0" in str(one):
            raise BitrowError(f"{one}: found a name with a NUL in it, expected a file")
    read = [Path(os.path.realpath(one)) for one in given_inputs]
    written: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None or str(path) == "-":
            continue
        target = Path(os.path.realpath(path))
        for given in read:
            if target == given or (given.is_dir() and given in target.parents) or _same(target, given):
                raise BitrowError(f"{option}: found {path}, which is read or part of {given}, expected another file")
        if target in written and (target.is_file() or not target.exists()):
            raise BitrowError(f"{option}: found {path}, which {written[target]} names, too, expected another file")
        written[target] = option


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one file."""
    try:
        return other.is_file() and os.path.samefile(one, other)
    except OSError:
        return False


def write_bytes(path: str | Path, data: bytes, parents: bool = False) -> None:
    """Write a file. Raises: BitrowError as `whole`."""
    with whole(path, parents) as aside:
        aside.write_bytes(data)


def write_text(path: str | Path, text: str, parents: bool = False) -> None:
    """Write a file of UTF-8 text with the line ends that it has. Raises: BitrowError as `whole`."""
    write_bytes(path, text.encode(), parents)


def write_json(path: str | Path, value: Any, parents: bool = False) -> None:
    """Write `value` as indented JSON. Raises: BitrowError as `whole`."""
    write_text(path, json.dumps(value, indent=1) + "\n", parents)


def write_report(target: Path | None, value: Any) -> None:
    """Write what `--json` asks for: nothing for None, to standard output for `-`. Raises: BitrowError as `whole`."""
    if str(target) == "-":
        put_json(json.dumps(value, indent=1))
    elif target is not None:
        write_json(target, value)


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]], parents: bool = False) -> None:
    """Write rows under the first one's keys. Raises: BitrowError as `whole`."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue(), parents)


def read_json(path: Path) -> Any:
    """The value in a file that `write_json` wrote.

    Raises:
        BitrowError: naming the path; a file that cannot be read or holds no JSON.
    """
    return values.read_json(path, kind=JSON._replace(expected="what bitrow wrote there"), constants=True)
