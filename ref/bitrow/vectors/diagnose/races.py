"""Guesses that a row is read while it is written: some of a window's columns are right, some are of another row."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bitrow.formats import Gradient
from bitrow.oracle.arrays import Row, Words
from bitrow.vectors.diagnose.readings import WindowReads, reading_of, registered, sums_of
from bitrow.vectors.diagnose.scene import UNKNOWN, Guess, Scene

_LEAST = 8  # words that a race must explain: where it lies is read off them


def _cut(
    scene: Scene, reading: WindowReads, other: WindowReads, place: int, columns: slice, rows: list[Row] | None
) -> Words:
    """The sums where `columns` of the window's row `place` come from another reading."""
    rest, part = reading.kernel.copy(), np.zeros_like(reading.kernel)
    rest[:, place, columns] = 0
    part[:, place, columns] = reading.kernel[:, place, columns]
    right = sums_of(scene, replace(reading, kernel=rest), rows)
    wrong = sums_of(scene, replace(other, kernel=part), rows)
    return {name: registered(words.astype(np.int64) + wrong[name], scene).astype(np.int32)
            for name, words in right.items()}  # fmt: skip


def _predict(
    scene: Scene, reading: WindowReads, other: WindowReads, place: int, late: bool, rows: list[Row] | None
) -> np.ndarray | None:
    """The golden words, and at each pixel that differs those of the first cut that gives all its channels."""
    found, shape = scene.found.reshape(scene.data.shape), scene.data.shape
    words = np.full(shape, UNKNOWN, np.int64)
    left = np.zeros(shape[:-1], bool)
    for cut in range(reading.kernel.shape[2] + 1):
        columns = slice(cut, None) if late else slice(0, cut)
        told = scene.resumed(_cut(scene, reading, other, place, columns, rows), rows)
        if told is None:
            return None
        known = (told != UNKNOWN).all(-1)
        words[known & ~left & (words == UNKNOWN).all(-1)] = -2
        hit = known & ~left & (told == found).all(-1)
        words[hit] = told[hit]
        left |= hit
    return np.where(words == -2, scene.expected.reshape(shape), words)


def guesses(scene: Scene) -> Iterator[Guess]:
    """A ring whose rows are read too early or overwritten too early, by some columns (SPEC.md C1)."""
    reading = reading_of(scene)
    before = ("t", "x_code", "mask", "dy_folded", "dy_words", "dy_t", "dy_code")
    if reading is None or scene.tap in before or scene.data.ndim != 4 or scene.mismatches < _LEAST:
        return
    if scene.config.gradient is Gradient.FP16 or any(name.endswith("_running") for name in scene.golden):
        return
    window = reading.down.shape[1]
    if scene.data.shape[-1] < 2:
        return
    along = scene.config.windows(scene.given["weight_code"].shape)[0]
    for slots in range(along.extent, along.extent + along.stride + 2):
        for late, place, by, text in (
            (True, window - 1, -slots, "the last row of a window is read while it is written: some columns are stale"),
            (False, 0, slots, "the first row of a window is overwritten while it is read, in some columns"),
        ):
            down = reading.down.copy()
            down[:, place] += by
            other = replace(reading, down=down)
            predict = functools.partial(_predict, scene, reading, other, place, late)
            screen = None if scene.few == scene.rows else functools.partial(predict, scene.few)
            yield Guess(f"{text}, in a ring of {slots} rows", functools.partial(predict, scene.rows), screen)
