"""Which images are held out, and which are kept when fewer are wanted: decided by hashes, not by a library's
random numbers, so that the choice never changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitrow import splitmix
from bitrow.errors import BitrowError


def hashed(seed: int, stream: int, index: np.ndarray) -> np.ndarray:
    """SplitMix64's output u64[n] at places `index` of the sequence that (seed, stream) starts."""
    return splitmix.outputs((seed * 0x100000001 + stream * splitmix.MIX1) % (1 << 64), index)


@dataclass(frozen=True)
class Choice:
    """How images are chosen, from their labels alone: `load`'s arguments of these names; for one task or two."""

    test_share: float
    seed: int
    limit: int | None
    tasks: int = 2

    def __call__(
        self, where: str, classes: tuple[str, ...], y: np.ndarray, test: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places i64[kept] of the images to keep, in order, and whether each is held out, bool[kept].

        Raises:
            BitrowError: as `hold_out`.
        """
        held = hold_out(where, classes, y, self.test_share, self.seed) if test is None else test
        keep = np.ones(len(y), bool) if self.limit is None else _first(y, held, self.limit)
        places = np.flatnonzero(keep)
        return places, held[places]


def hold_out(where: str, classes: tuple[str, ...], y: np.ndarray, share: float, seed: int) -> np.ndarray:
    """bool[n], True for `share` of each class, rounded, but at least one image, leaving at least one.

    Raises:
        BitrowError: a class of one image.
    """
    test = np.zeros(len(y), bool)
    for label, name in enumerate(classes):
        members = np.flatnonzero(y == label)
        if len(members) < 2:
            raise BitrowError(
                f"data {where}: found {len(members)} image in class {name!r}, "
                f"expected at least 2, one to learn from and one to test"
            )
        count = min(max(1, int(share * len(members) + 0.5)), len(members) - 1)
        order = np.argsort(hashed(seed, label, np.arange(len(members))), kind="stable")
        test[members[order[:count]]] = True
    return test


def _first(y: np.ndarray, test: np.ndarray, limit: int) -> np.ndarray:
    """bool[n], True for the first `limit` images of each class in each part."""
    keep = np.zeros(len(y), bool)
    for label in np.unique(y):
        for part in (test, ~test):
            keep[np.flatnonzero((y == label) & part)[:limit]] = True
    return keep


def source_count(classes: int, share: float) -> int:
    """About `share` of the classes, leaving two on either side."""
    return min(max(2, int(share * classes + 0.5)), classes - 2)
