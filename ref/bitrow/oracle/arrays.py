"""Arrays of integer words as containers: mapping, rows, shapes. No arithmetic on values happens here.

A *row* is one `(n, h)` of a map `[n, h, w, c]`. Where a layer function takes `rows`, it returns only
those rows, stacked on one leading axis in place of `n, h`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


def lead(rows: Sequence[Row] | None, n: int, h: int) -> tuple[int, ...]:
    """Leading shape of a result: `(n, h)` for a whole map, their number for chosen rows."""
    return (n, h) if rows is None else (len(rows),)


def take(words: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
    """`words[n, h]` of each row, stacked: `[len(rows), ...]`."""
    if not rows:
        return words.reshape(-1, *words.shape[2:])[:0]
    return words[[n for n, _ in rows], [h for _, h in rows]]


def sample(name: str, whole: np.ndarray, rows: Iterable[Row]) -> np.ndarray:
    """What a call with `rows` returns for the tap `name`, cut from the tap of the whole map.

    Taps of running values keep their running index first (SPEC.md T2).
    """
    chosen = list(rows)
    if not name.endswith("_running"):
        return take(whole, chosen)
    if not chosen:
        return whole.reshape(whole.shape[0], -1, *whole.shape[3:])[:, :0]
    return whole[:, [n for n, _ in chosen], [h for _, h in chosen]]


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
