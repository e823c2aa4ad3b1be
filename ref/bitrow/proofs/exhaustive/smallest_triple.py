"""The simplest three operands on which a kernel is wrong, in the order of `finding.tuple_key`.

That order asks first for finite words, then for few significant bits in all. So triples are tried by their sum of
significant bits, and the first sum with a wrong triple has the simplest of all 2^48, by exhaustion. Where that would
take too long, a wrong triple is made simpler: with one operand held, the other two are searched in the same way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from bitrow.formats import FloatMode
from bitrow.proofs.exhaustive import finding
from bitrow.proofs.judges import EVERY_WORD, INFINITY, SIGN

Triple = tuple[int, int, int]
Wrong = tuple[Triple, int, int]  # with the words found and expected
Evaluate = Callable[[np.ndarray, FloatMode], tuple[np.ndarray, np.ndarray]]  # triples [n, 3] to found, expected [n]

MOST_BITS = {3: 7, 2: 13, 1: 11}  # by how many operands are searched: some 50 million triples at most
WORD_BITS = 11
BLOCK = 1 << 18  # every call has this many triples: one program


@functools.cache
def finite_words() -> tuple[np.ndarray, ...]:
    """Finite words by their number of significant bits, 0 (the zeros) to 11, uint16."""
    words = EVERY_WORD[(EVERY_WORD & ~SIGN) < INFINITY]
    bits = np.array([finding.simplicity(word)[1] for word in words.tolist()])
    return tuple(words[bits == count] for count in range(WORD_BITS + 1))


def _splits(bits: int, places: int) -> Iterator[tuple[int, ...]]:
    """Ways to give `bits` significant bits to so many words."""
    if places == 1:
        yield from [(bits,)] if bits <= WORD_BITS else []
        return
    for first in range(min(bits, WORD_BITS) + 1):
        yield from ((first, *rest) for rest in _splits(bits - first, places - 1))


def _triples(bits: int, held: Mapping[int, int]) -> Iterator[np.ndarray]:
    """All finite triples with the words `held` by place and `bits` bits in the others, uint16 `[n, 3]`, in parts."""
    for split in _splits(bits, 3 - len(held)):
        left = iter(split)
        words = [np.array([held[k]], np.uint16) if k in held else finite_words()[next(left)] for k in range(3)]
        shape = tuple(map(len, words))
        size = int(np.prod(shape))
        for start in range(0, size, BLOCK):
            at = np.unravel_index(np.arange(start, min(start + BLOCK, size)), shape)
            yield np.stack([part[place] for part, place in zip(words, at, strict=True)], axis=1)


def _wrong(triples: np.ndarray, evaluate: Evaluate, mode: FloatMode) -> list[Wrong]:
    """Those of up to `BLOCK` triples that are wrong."""
    padded = np.zeros((BLOCK, 3), np.uint16)
    padded[: len(triples)] = triples
    found, expected = (words[: len(triples)] for words in evaluate(padded, mode))
    places = np.flatnonzero(found != expected)
    rows = zip(triples[places].tolist(), found[places].tolist(), expected[places].tolist(), strict=True)
    return [((a, b, c), result, right) for (a, b, c), result, right in rows]


def search(evaluate: Evaluate, mode: FloatMode, held: Mapping[int, int] | None = None) -> Wrong | None:
    """The simplest wrong triple with the words `held` by place, None where none has as few bits as are tried."""
    held = held or {}
    for bits in range(MOST_BITS[3 - len(held)] + 1):
        best: list[Wrong] = []
        for triples in _triples(bits, held):
            wrong = _wrong(triples, evaluate, mode)
            best = sorted([*best, *wrong], key=lambda each: finding.tuple_key(each[0]))[:1]
        if best:
            return best[0]
    return None


def descend(triple: Triple, evaluate: Evaluate, mode: FloatMode) -> Wrong:
    """From a wrong triple of finite words to one that no other words in any two places make simpler."""
    best = _wrong(np.array([triple], np.uint16), evaluate, mode)[0]
    tried: set[Triple] = set()
    while best[0] not in tried:
        tried.add(best[0])
        for places in ((0, 1), (0, 2), (1, 2), (0,), (1,), (2,)):
            simpler = search(evaluate, mode, {place: best[0][place] for place in places})
            best = min([best, *([simpler] if simpler else [])], key=lambda each: finding.tuple_key(each[0]))
    return best
