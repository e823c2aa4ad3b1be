"""Which images are held out, and which are kept when fewer are wanted: decided by hashes, not by a library's
random numbers, so that the choice never changes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bitrow.errors import BitrowError
from bitrow.transfer.data_raw import Raw

_GOLDEN, _MIX1, _MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def hashed(seed: int, stream: int, index: np.ndarray) -> np.ndarray:
    """SplitMix64's output u64[n] at places `index` of the sequence that (seed, stream) starts."""
    start = (seed * 0x100000001 + stream * _MIX1) % (1 << 64)
    with np.errstate(over="ignore"):
        z = np.uint64(start) + (np.asarray(index, np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(_MIX1)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_MIX2)
    return z ^ (z >> np.uint64(31))


def hold_out(where: str, raw: Raw, share: float, seed: int) -> Raw:
    """Hold out `share` of each class, rounded, but at least one image, and leave at least one.

    Raises:
        BitrowError: a class of one image.
    """
    test = np.zeros(len(raw.y), bool)
    for label, name in enumerate(raw.classes):
        members = np.flatnonzero(raw.y == label)
        if len(members) < 2:
            raise BitrowError(
                f"data {where}: found {len(members)} image in class {name!r}, "
                f"expected at least 2, one to learn from and one to test"
            )
        count = min(max(1, int(share * len(members) + 0.5)), len(members) - 1)
        order = np.argsort(hashed(seed, label, np.arange(len(members))), kind="stable")
        test[members[order[:count]]] = True
    return replace(raw, test=test)


def limited(raw: Raw, limit: int | None) -> Raw:
    """The first `limit` images of each class in each part."""
    if limit is None:
        return raw
    assert raw.test is not None
    keep = np.zeros(len(raw.y), bool)
    for label in range(len(raw.classes)):
        for part in (raw.test, ~raw.test):
            keep[np.flatnonzero((raw.y == label) & part)[:limit]] = True
    return Raw(raw.classes, raw.x[keep], raw.y[keep], raw.test[keep])


def source_count(classes: int, share: float) -> int:
    """About `share` of the classes, leaving two on either side."""
    return min(max(2, int(share * classes + 0.5)), classes - 2)
