"""Libraries of the extras, loaded where they are first needed. Standard library only."""

from __future__ import annotations

import importlib
from typing import Any

from bitrow.errors import BitrowError


def extra(group: str, module: str, package: str) -> Any:
    """A module of `package`, which the extra `group` installs.

    Raises:
        BitrowError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise BitrowError(
            f"{group}: found no {package}, expected it installed: pip install 'bitrow[{group}]'"
        ) from None
