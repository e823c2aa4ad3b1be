"""Guesses about the LFSR's words and what is done with them (SPEC.md Q3)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np

from bitrow.contract import conv
from bitrow.formats import LFSR_TAPS
from bitrow.oracle.arrays import Row, Words, all_rows
from bitrow.vectors.diagnose.geometry import told
from bitrow.vectors.diagnose.scene import Guess, Scene

# Other polynomials of the full period, the taps mirrored, and each tap of the contract's moved by one or left out.
_TAPS = (0xD008, 0xB402, 0xA801, 0xB401, 0x002D, 0xB400 << 1 & 0xFFFF, 0xB400 >> 1, 0xB000, 0x9400, 0x3400, 0xA400,
         0xB800, 0xD400, 0xB200)  # fmt: skip
_LONGEST = 200_000  # words that are stepped through


def _stepped(seed: int, count: int, taps: int, skip: int = 1) -> np.ndarray:
    """`count` words from the state after `skip` steps, with other taps."""
    state, found = seed, []
    for number in range(count + skip):
        if number >= skip:
            found.append(state)
        state = (state >> 1) ^ (taps if state & 1 else 0)
    return np.array(found, np.uint16)


def _seen_taps(words: np.ndarray) -> int | None:
    """The taps of a register whose successive states are `words`; None where they are not such."""
    states = words.astype(np.int64)
    now, then = states[..., :-1].reshape(-1), states[..., 1:].reshape(-1)
    changes = np.where(now & 1, then ^ (now >> 1), 0)[now & 1 == 1]
    even = now & 1 == 0
    if not changes.size or (changes != changes[0]).any() or (then[even] != now[even] >> 1).any():
        return None
    return int(changes[0])


def _word_guesses(scene: Scene) -> Iterator[Guess]:
    """The dumped words of an LFSR: their taps are what they show, if anything."""
    found = scene.found.reshape(scene.data.shape)
    taps = _seen_taps(np.atleast_1d(found))
    if taps is not None and taps != LFSR_TAPS:
        name = f"LFSR taps of 0x{taps:04x} instead of 0x{LFSR_TAPS:04x}"
        yield Guess(name, lambda: found)


def _of_gradient(scene: Scene) -> Iterator[Guess]:
    """The words that a convolution's gradient draws, replaced."""
    shape, seed = scene.golden["dy_words"].shape, int(scene.given["seed"])
    count = int(np.prod(shape))
    if count > _LONGEST:
        return

    def words(make: Callable[[], np.ndarray]) -> Callable[[list[Row] | None], Words]:
        def part(rows: list[Row] | None) -> Words:
            whole = make().reshape(shape)
            return {"dy_words": _sources(scene, whole, rows)}

        return part

    for taps in _TAPS:
        text = f"LFSR taps of 0x{taps:04x} instead of 0x{LFSR_TAPS:04x}"
        yield told(scene, text, words(functools.partial(_stepped, seed, count, taps)))
    for skip in (2, 0):
        text = f"the LFSR is one step {'ahead' if skip else 'behind'}"
        yield told(scene, text, words(functools.partial(_stepped, seed, count, LFSR_TAPS, skip)))
    yield told(scene, "each element of dy takes the seed itself: the LFSR does not step",
               words(lambda: np.full(count, seed, np.uint16)))  # fmt: skip


def _sources(scene: Scene, whole: np.ndarray, rows: list[Row] | None) -> np.ndarray:
    """Of a map that the result is made from, the rows that the chosen rows of the result read."""
    chosen = all_rows(*scene.operation.rows(scene.config, scene.given)) if rows is None else rows
    return scene.operation.sampled(scene.config, scene.given, "dy_words", whole, chosen)


def guesses(scene: Scene) -> Iterator[Guess]:
    """Guesses about drawn words; none for a case that draws none."""
    if scene.tensor.encoding.kind.value == "word":
        yield from _word_guesses(scene)
    if scene.operation is conv.BACKWARD and "dy_words" in scene.golden and scene.tap not in ("dy_folded", "dy_t"):
        yield from _of_gradient(scene)
