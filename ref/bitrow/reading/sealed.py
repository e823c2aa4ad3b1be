"""What a file that carries a checksum over all its other fields is read by. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bitrow.errors import BitrowError


def checksum(value: Mapping[str, Any]) -> str:
    """SHA-256 of every field but `checksum`, whatever their order."""
    others = {key: each for key, each in value.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(others, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def need(good: bool, what: str, found: Any, expected: str) -> None:
    """Refuse what is not `good`. Raises: BitrowError: naming `what`."""
    if not good:
        raise BitrowError(f"{what}: found {str(found)[:80]!r}, expected {expected}")
