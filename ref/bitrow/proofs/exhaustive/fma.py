"""FP16 fma over all exponents of its three operands, with structured significands (SPEC.md F2 to F6).

A product of two of these words takes every exponent from -48 to 31, and meets addends of every exponent, so that each
difference of exponents occurs, with both signs of the product and of the addend. The judge adds product and addend in
float64 and keeps the error of that sum.
"""

from __future__ import annotations

import functools
from itertools import product

import numpy as np

from bitrow.formats import FloatMode, Rounding
from bitrow.oracle import fp16 as oracle
from bitrow.proofs import judges
from bitrow.proofs.claim import Claim, Counterexample, Effort, Method, Outcome
from bitrow.proofs.exhaustive import finding, kernels, smallest_triple
from bitrow.proofs.exhaustive.smallest_triple import Triple
from bitrow.proofs.judges import SIGN

FRACTIONS = {
    Effort.QUICK: (0x000, 0x001, 0x155, 0x200, 0x3FF),
    Effort.FULL: (0x000, 0x001, 0x002, 0x003, 0x04B, 0x0AA, 0x0FF, 0x100, 0x155, 0x1B7, 0x1FF, 0x200, 0x201, 0x2AB,
                  0x333, 0x369, 0x3E0, 0x3FD, 0x3FE, 0x3FF),
}  # fmt: skip
EXPONENTS = 31
PER_CHUNK = {Effort.QUICK: 31, Effort.FULL: 4}  # first operands, each with every other two
SAMPLE = 4
SPECIAL = np.array(
    [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0xBC01, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFD55], np.uint16
)


def structured(effort: Effort) -> np.ndarray:
    """Every exponent, zero's and the subnormals' included, with each of the effort's fractions."""
    fields = np.arange(EXPONENTS, dtype=np.uint16)[:, None] << np.uint16(10)
    return (fields | np.array(FRACTIONS[effort], np.uint16)).reshape(-1)


def _modes(effort: Effort) -> tuple[kernels.Modes, ...]:
    return kernels.GROUPS if effort is Effort.QUICK else kernels.GROUPS[:1]


class FmaJudge:
    """Expected words of finite `a * b + c`, all three broadcast."""

    def __init__(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
        first, addend = judges.VALUES[a] * judges.VALUES[b], judges.VALUES[c]
        self._opposite = np.signbit(first) != np.signbit(addend)
        total, error = judges.two_sum(first, addend)
        self._zero = (total == 0) & self._opposite
        self._inside = judges.signed(total, error)

    def expected(self, mode: FloatMode) -> np.ndarray:
        """Words under a mode; with `flush`, of operands that have been flushed."""
        out = self._inside.rounded(mode)
        return np.where(self._zero, SIGN, out) if mode.rounding is Rounding.DOWN else out


def _check_block(a: int, words: np.ndarray, groups: tuple[kernels.Modes, ...], tally: finding.Tally) -> None:
    """One first operand with every second and third one, these of both signs."""
    given = np.array([[a]], np.uint16), words[:, None], np.concatenate([words, words | SIGN])[None, :]
    draw = np.random.default_rng(a)
    rows, columns = draw.integers(0, given[1].size, SAMPLE), draw.integers(0, given[2].size, SAMPLE)
    judge: dict[bool, FmaJudge] = {}
    for group in groups:
        flush = group[0].flush
        if flush not in judge:
            judge[flush] = FmaJudge(*(judges.flushed(word) if flush else word for word in given))
        results = kernels.run("fma", group, *(word.view(np.float16) for word in given))
        for mode, found in zip(group, results, strict=True):
            expected = judge[flush].expected(mode)
            tally.compare(found, expected, functools.partial(_explain, given, mode))
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                b, c, result = int(given[1][row, 0]), int(given[2][0, column]), int(found[row, column])
                asked = oracle.fma(a, b, c, mode)
                tally.sample(result, asked, functools.partial(_shown, (a, b, c), mode, result, asked))


def _explain(given: tuple[np.ndarray, ...], mode: FloatMode, wrong: np.ndarray) -> Counterexample:
    """The simplest wrong triple of all; else the simplest of the block, with each operand made simpler by itself."""
    triple, result, right = smallest_triple.search(_evaluated, mode) or _simpler(given, mode, wrong)
    return _shown(triple, mode, result, right)


def _evaluated(triples: np.ndarray, mode: FloatMode) -> tuple[np.ndarray, np.ndarray]:
    """Words of the kernel and of the judge for finite triples, uint16 `[n, 3]`."""
    operands = [triples[:, place].copy() for place in range(3)]
    (found,) = kernels.run("fma", (mode,), *(word.view(np.float16) for word in operands))
    return found, FmaJudge(*(judges.flushed(word) if mode.flush else word for word in operands)).expected(mode)


def _simpler(given: tuple[np.ndarray, ...], mode: FloatMode, wrong: np.ndarray) -> tuple[Triple, int, int]:
    """From the block's simplest wrong triple: the simplest word in each place, until none is simpler."""
    rows, columns = np.divmod(wrong, given[2].size)
    a = int(given[0][0, 0])
    pairs = zip(given[1][rows, 0].tolist(), given[2][0, columns].tolist(), strict=True)
    return smallest_triple.descend(min(((a, b, c) for b, c in pairs), key=finding.tuple_key), _evaluated, mode)


def _shown(words: tuple[int, int, int], mode: FloatMode, found: int, expected: int) -> Counterexample:
    operands = tuple(finding.shown(name, word) for name, word in zip("abc", words, strict=True))
    return finding.counterexample(operands, mode, found, expected, oracle.fma(*words, mode))


def _check_special(tally: finding.Tally) -> None:
    """Zeros, infinities, NaNs and their like, all triples, by the oracle."""
    triples = np.array(list(product(SPECIAL.tolist(), repeat=3)), np.uint16)
    operands = [triples[:, i].copy().view(np.float16) for i in range(3)]
    for group in kernels.GROUPS:
        for mode, found in zip(group, kernels.run("fma", group, *operands), strict=True):
            expected = np.array([oracle.fma(a, b, c, mode) for a, b, c in triples.tolist()], np.uint16)

            def explain(
                wrong: np.ndarray, mode: FloatMode = mode, found: np.ndarray = found, expected: np.ndarray = expected
            ) -> Counterexample:
                place = min(wrong.tolist(), key=lambda at: finding.tuple_key(triples[at].tolist()))
                a, b, c = (int(word) for word in triples[place])
                return _shown((a, b, c), mode, int(found[place]), int(expected[place]))

            tally.compare(found, expected, explain)


def check(effort: Effort, index: int) -> Outcome:
    """Chunk 0 the special triples; the others some first operands of both signs with every other two."""
    tally = finding.Tally()
    if index == 0:
        _check_special(tally)
        return tally.outcome()
    words, size = structured(effort), PER_CHUNK[effort]
    for a in words[(index - 1) * size : index * size].tolist():
        for sign in (0, int(SIGN)):
            _check_block(a | sign, words, _modes(effort), tally)
            if tally.counterexample:
                return tally.outcome()
    return tally.outcome()


def _domain(effort: Effort) -> str:
    modes = "20 modes" if effort is Effort.QUICK else "5 rounding modes"
    count, special = len(FRACTIONS[effort]), len(SPECIAL)
    return f"all exponents of a, b, c with {count} fractions each, both signs, {modes}; {special}^3 special triples"


CLAIMS = (
    Claim(
        name="fp16.fma",
        statement="fma of the kernels is a * b + c, rounded once",
        clauses=("F2", "F3", "F4", "F5", "F6"),
        method=Method.EXHAUSTIVE,
        domain=_domain,
        chunks=lambda effort: 1 + EXPONENTS * len(FRACTIONS[effort]) // PER_CHUNK[effort],
        check=check,
    ),
)
