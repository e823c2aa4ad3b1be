"""Result files that appear whole or not at all: written aside, put on disk, renamed."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bitrow.errors import BitrowError


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file; an older one of the name stays as it is until the new one is complete.

    Raises:
        BitrowError: naming the path; a folder that cannot be made, a disk that is full.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise BitrowError(f"{path}: cannot be written: {error.strerror or error}") from None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON.

    Raises:
        BitrowError: as `write_bytes`.
    """
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the first one's keys.

    Raises:
        BitrowError: as `write_bytes`.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def read_json(path: Path) -> Any:
    """The value in a file that `write_json` wrote.

    Raises:
        BitrowError: naming the path; a file that cannot be read or holds no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BitrowError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise BitrowError(f"{path}: found no JSON, expected what bitrow wrote there") from None
