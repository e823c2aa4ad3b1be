"""Every claim there is, by name; the modules that make them load when they are asked for."""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Sequence

from bitrow.errors import BitrowError
from bitrow.proofs.claim import Claim

MODULES = ("exhaustive", "solver", "theorems")


def claims() -> dict[str, Claim]:
    """All claims in the order of their modules.

    Raises:
        BitrowError: two claims of one name.
    """
    found: dict[str, Claim] = {}
    for name in MODULES:
        for claim in importlib.import_module(f"bitrow.proofs.{name}").CLAIMS:
            if claim.name in found:
                raise BitrowError(f"claims: found {claim.name} twice, expected one claim of a name")
            found[claim.name] = claim
    return found


def select(patterns: Sequence[str]) -> dict[str, Claim]:
    """The claims that some pattern names (`*` and `?` as in a shell), in their order; all where there is none.

    Raises:
        BitrowError: a pattern that names no claim.
    """
    every = claims()
    if not patterns:
        return every
    chosen: set[str] = set()
    for pattern in patterns:
        matches = fnmatch.filter(every, pattern)
        if not matches:
            raise BitrowError(f"claim: found {pattern!r}, expected one of {', '.join(every)}")
        chosen.update(matches)
    return {name: claim for name, claim in every.items() if name in chosen}
