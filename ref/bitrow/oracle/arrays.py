"""Arrays of integer words as containers: mapping, rows, shapes. No arithmetic on values happens here.

A *row* is one `(n, h)` of a map `[n, h, w, c]`. Where a layer function takes `rows`, it returns only
those rows, stacked on one leading axis in place of `n, h`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

import numpy as np

from bitrow.errors import BitrowError

Row = tuple[int, int]
Words = dict[str, np.ndarray]


def all_rows(n: int, h: int) -> list[Row]:
    """Every row of a map, n outer and h inner."""
    return list(product(range(n), range(h)))


def chosen_rows(rows: Iterable[Row] | None, n: int, h: int) -> list[Row]:
    """`rows` as a list, or every row where it is None.

    Raises:
        BitrowError: a row outside the map.
    """
    chosen = all_rows(n, h) if rows is None else [(int(a), int(b)) for a, b in rows]
    for row in chosen:
        if not (0 <= row[0] < n and 0 <= row[1] < h):
            raise BitrowError(f"rows: found {row}, expected (n, h) below ({n}, {h})")
    return chosen


def map_words(function: Callable[..., int], dtype: type, *arrays: np.ndarray) -> np.ndarray:
    """`function` of every element, the arrays broadcast against each other."""
    wide = np.broadcast_arrays(*arrays)
    lists = [array.ravel().tolist() for array in wide]
    return np.array(list(map(function, *lists)), dtype=dtype).reshape(wide[0].shape)


def need(inputs: Words, *names: str) -> tuple[np.ndarray, ...]:
    """The named inputs, in order.

    Raises:
        BitrowError: one is missing, or holds no integers.
    """
    for name in names:
        if name not in inputs:
            raise BitrowError(f"oracle inputs: found {', '.join(sorted(inputs))}, expected {name}")
    found = tuple(np.asarray(inputs[name]) for name in names)
    for name, array in zip(names, found, strict=True):
        if array.dtype.kind not in "iub":
            raise BitrowError(f"oracle inputs {name}: found {array.dtype}, expected integers: words, codes or masks")
    return found
