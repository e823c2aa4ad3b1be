"""Result files that appear whole or not at all: written aside, put on disk, renamed."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitrow.errors import BitrowError
from bitrow.reading import JSON, values
from bitrow.terminal import put_json


@contextlib.contextmanager
def whole(path: str | Path, parents: bool = False) -> Iterator[Path]:
    """A path to write to, which becomes `path` when all went well; else an older file of the name stays as it is.

    `parents` makes the folders that are missing. A link is followed; what is no file, such as /dev/stdout, is
    written to as it is.

    Raises:
        BitrowError: naming the path; a folder that is missing or cannot be made, a disk that is full.
    """
    target = Path(os.path.realpath(path))
    aside = target
    try:
        if parents:
            target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() or not target.exists():
            aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        yield aside
        if aside != target:
            with open(aside, "rb") as file:
                os.fsync(file.fileno())
            os.replace(aside, target)
    except OSError as error:
        raise BitrowError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if aside != target:
            with contextlib.suppress(OSError):  # a folder that is a file has nothing to delete
                aside.unlink(missing_ok=True)


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
