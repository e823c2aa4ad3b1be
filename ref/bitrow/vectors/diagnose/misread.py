"""Guesses about reading and writing: the right words in the wrong place or order (SPEC.md Q5, V2)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np

from bitrow.contract.encoding import Kind
from bitrow.vectors.diagnose.scene import UNKNOWN, Guess, Scene
from bitrow.vectors.files.decode import float_of


def swap_pairs(rows: np.ndarray) -> np.ndarray:
    """Rows `[rows, elements]` with the two nibbles of every byte exchanged; an odd row is padded with 0."""
    odd = rows.shape[1] % 2
    padded = np.pad(rows, ((0, 0), (0, odd)))
    swapped = padded.reshape(len(rows), -1, 2)[:, :, ::-1].reshape(padded.shape)
    return swapped[:, : rows.shape[1]]


def swap_nibbles(codes: np.ndarray) -> np.ndarray:
    """Codes of at most 4 bits as read from bytes with their nibbles exchanged (SPEC.md Q5).

    A row is what follows the first two axes of a map `[n, h, w, c]`, or the first of a kernel.
    """
    return swap_pairs(codes.reshape(codes.shape[0] * codes.shape[1], -1)).reshape(codes.shape)


def _shifted(words: np.ndarray, by: int) -> np.ndarray:
    flat = np.roll(words.reshape(-1), by)
    flat[slice(0, by) if by > 0 else slice(by, None)] = UNKNOWN
    return flat.reshape(words.shape)


def _reordered(words: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    return words.transpose(order).reshape(words.shape)


def _orders(scene: Scene, words: np.ndarray) -> Iterator[Guess]:
    axes = scene.tensor.layout.split()
    if not 2 <= words.ndim <= 4:
        return
    for order in itertools.permutations(range(words.ndim)):
        if order == tuple(range(words.ndim)):
            continue
        name = f"words in the order {' '.join(axes[i] for i in order)} instead of {' '.join(axes)}"
        yield Guess(name, functools.partial(_reordered, words, order))


def _moved(words: np.ndarray, axis: int, by: int) -> np.ndarray:
    """Each place along an axis has the words of its neighbour; the first or last one's are not known."""
    found = np.roll(words, by, axis)
    index: list[slice] = [slice(None)] * words.ndim
    index[axis] = slice(0, by) if by > 0 else slice(by, None)
    found[tuple(index)] = UNKNOWN
    return found


_NAMES = {"h": "row", "oh": "row", "w": "column", "ow": "column", "n": "image"}


def _neighbours(scene: Scene, words: np.ndarray) -> Iterator[Guess]:
    """Whole rows, columns or channels in a neighbour's place, or in reverse."""
    for axis, letter in enumerate(scene.tensor.layout.split()):
        name = _NAMES.get(letter, "channel" if letter.startswith("c") else "")
        if not name or words.shape[axis] < 2:
            continue
        for by, which in ((1, "before"), (-1, "after")):
            text = f"each {name} has the words of the {name} {which} it"
            yield Guess(text, functools.partial(_moved, words, axis, by))
            if words.shape[axis] > 2:
                yield Guess(f"{text}, around the end", functools.partial(np.roll, words, by, axis))
        yield Guess(f"{name}s in reverse order", functools.partial(np.flip, words, axis))


def _slipped(scene: Scene) -> Iterator[Guess]:
    """One word dropped or doubled: those behind it are a place early or late."""
    expected, first = scene.expected, scene.first_wrong
    for place in dict.fromkeys((first, _start_of_run(expected, first))):
        early = (expected[:place], expected[place + 1 :], np.array([UNKNOWN]))
        text = f"word {place} dropped: those behind it are one place early"
        yield Guess(text, functools.partial(np.concatenate, early))
    if first:
        late = np.concatenate([expected[:first], expected[first - 1 : -1]])
        yield Guess(f"word {first - 1} doubled: those behind it are one place late", lambda: late)


def _start_of_run(words: np.ndarray, at: int) -> int:
    while at and words[at - 1] == words[at]:
        at -= 1
    return at


def _stuck(scene: Scene, words: np.ndarray) -> Iterator[Guess]:
    """One word everywhere, or one bit."""
    found, bits = scene.found[scene.driven], scene.tensor.encoding.word_bits
    if found.size > 1 and (found == found[0]).all():
        text = f"stuck at {int(found[0])}" if bits == 1 else f"every word is {int(found[0]):#x}"
        yield Guess(text, lambda: np.full_like(words, found[0]))
    if bits == 1:
        yield Guess("each bit inverted", lambda: 1 - words)
        return
    for bit in range(bits):
        yield Guess(f"bit {bit} of each word stuck at 0", functools.partial(np.bitwise_and, words, ~(1 << bit)))
        yield Guess(f"bit {bit} of each word stuck at 1", functools.partial(np.bitwise_or, words, 1 << bit))


def _nans(scene: Scene, words: np.ndarray) -> Iterator[Guess]:
    """Other NaNs than the canonical one, one or several (F4)."""
    fmt = float_of(scene.tensor.encoding)
    if fmt is None:
        return
    magnitude = fmt.sign_mask - 1
    both = scene.driven & (scene.expected == fmt.nan_bits) & (scene.found & magnitude > fmt.infinity_bits)
    others = np.unique(scene.found[both & (scene.found != fmt.nan_bits)])
    if not others.size:
        return
    canonical = f"{fmt.nan_bits:#x}"
    one = f"NaN is {int(others[0]):#x} instead of the canonical {canonical}"
    text = one if others.size == 1 else f"NaNs are not the canonical {canonical}: payload or sign kept"
    yield Guess(text, lambda: np.where(both, scene.found, scene.expected).reshape(words.shape))


def guesses(scene: Scene) -> Iterator[Guess]:
    """The golden words of the tap itself, misplaced."""
    words = scene.expected.reshape(scene.data.shape)
    encoding = scene.tensor.encoding
    if encoding.kind is Kind.PACKED:
        yield Guess("swapped nibbles", lambda: (words >> 4) | (words & 15) << 4)
    if encoding.kind is Kind.CODE and encoding.bits <= 4 and words.ndim == 4:
        yield Guess("swapped nibbles", lambda: swap_nibbles(words))
    yield Guess("shifted by one word: each word one place late", lambda: _shifted(words, 1))
    yield Guess("shifted by one word: each word one place early", lambda: _shifted(words, -1))
    yield from _orders(scene, words)
    yield from _neighbours(scene, words)
    yield from _slipped(scene)
    yield Guess("words in reverse order", lambda: words.reshape(-1)[::-1].reshape(words.shape))
    if encoding.word_bits in (16, 32):
        bytes_ = encoding.word_bits // 8
        dtype = np.dtype(f"u{bytes_}")
        yield Guess(
            f"the {bytes_} bytes of each word in reverse",
            lambda: words.astype(dtype).byteswap().astype(np.int64),
        )
    if encoding.kind in (Kind.FP16, Kind.FP32):
        sign = 1 << (encoding.bits - 1)
        yield Guess("the sign of each word turned", lambda: words ^ sign)
    yield from _nans(scene, words)
    yield from _stuck(scene, words)
