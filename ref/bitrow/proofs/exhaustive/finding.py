"""From a wrong word to a counterexample: the simplest one, decoded, and confirmed by the oracle."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from bitrow.contract.encoding import FP16_WORD, Encoding
from bitrow.formats import FP16, FloatMode
from bitrow.proofs.claim import Counterexample, Outcome
from bitrow.vectors.files.decode import value_text

SimplicityKey = tuple[int, ...]
Shown = tuple[tuple[str, str, str], ...]


@functools.cache
def simplicity(word: int) -> SimplicityKey:
    """Orders FP16 words: finite first, then few significant bits, small exponent, positive, small word."""
    magnitude = word & 0x7FFF
    field = magnitude >> FP16.fraction_bits
    if magnitude >= FP16.infinity_bits:
        return (1, 0, magnitude != FP16.infinity_bits, word >> 15, word)
    significand = (magnitude & 0x3FF) | (0x400 if field else 0)
    length = len(f"{significand:b}".rstrip("0"))
    return (0, length, abs(max(field, 1) - FP16.bias), word >> 15, word)


@functools.cache
def simplest_words() -> np.ndarray:
    """All 65,536 words, the simplest first, uint16."""
    return np.array(sorted(range(1 << 16), key=simplicity), np.uint16)


def tuple_key(words: Sequence[int]) -> SimplicityKey:
    """Orders operand tuples by the sums of what makes each word complicated, then by the first operand, and so on."""
    keys = [simplicity(word) for word in words]
    return (*(sum(key[i] for key in keys) for i in range(4)), *(part for key in keys for part in key))


def mode_text(mode: FloatMode) -> str:
    """A mode in one word, as in "up/saturate/flush"."""
    return "/".join([mode.rounding.value, mode.overflow.value, *(["flush"] if mode.flush else [])])


def shown(name: str, word: int, encoding: Encoding = FP16_WORD) -> tuple[str, str, str]:
    """An operand of a counterexample: its name, its word in hex, its value."""
    word &= (1 << 4 * encoding.hex_digits) - 1
    return name, f"0x{word:0{encoding.hex_digits}x}", value_text(word, encoding)


def result_text(word: int, encoding: Encoding = FP16_WORD) -> str:
    """A result as in "0x3c01 (1.0009765625)"."""
    _, text, value = shown("", word, encoding)
    return f"{text} ({value})"


def counterexample(
    operands: Shown,
    mode: FloatMode | None,
    found: int,
    expected: int,
    oracle: int,
    encoding: Encoding = FP16_WORD,
) -> Counterexample:
    """What the claim says against what was found; `oracle` is the oracle's word, which confirms or does not."""
    given = (*operands, *([("mode", mode_text(mode), "")] if mode else ()))
    mask = (1 << encoding.bits) - 1
    judge = "oracle" if (oracle ^ expected) & mask == 0 else (
        f"numpy; the oracle disagrees and says {result_text(oracle, encoding)}"
    )
    return Counterexample(given, result_text(found, encoding), result_text(expected, encoding), judge)


class Tally:
    """What a chunk's checks have covered so far: cases, a digest of all results, the first counterexample."""

    def __init__(self) -> None:
        self.cases = 0
        self.counterexample: Counterexample | None = None
        self._digest = hashlib.sha256()

    def compare(
        self,
        found: np.ndarray,
        expected: np.ndarray,
        explain: Callable[[np.ndarray], Counterexample],
        counted: bool = False,
    ) -> bool:
        """Count and hash `found` (unless `counted` before); `explain` is given flat indices of wrong elements.

        True if there are none.
        """
        if not counted:
            self.cases += found.size
            self._digest.update(np.ascontiguousarray(found, found.dtype.newbyteorder("<")).data)
        if np.array_equal(found, expected):
            return True
        if self.counterexample is None:
            self.counterexample = explain(np.flatnonzero(found != expected))
        return False

    def sample(self, found: int, expected: int, explain: Callable[[], Counterexample]) -> None:
        """One word of the oracle's against the kernels', already counted."""
        if found != expected and self.counterexample is None:
            self.counterexample = explain()

    def outcome(self) -> Outcome:
        return Outcome(self.cases, self.counterexample, self._digest.hexdigest())
