"""Guesses about reading and writing: the right words in the wrong place or order (SPEC.md Q5, V2)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np

from bitrow.contract.encoding import Kind
from bitrow.vectors.diagnose.scene import UNKNOWN, Guess, Scene


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
