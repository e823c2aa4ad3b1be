"""Operations of one operand over every word: square root, conversions, relu (SPEC.md F, A1).

`from_float32` and `from_int32` have 2^32 operands; whole stretches of them are alike (nothing but overflow from
2^16 on, nothing but a remainder below 2^-26), and there the judge fills in one bracket.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import jax
import numpy as np

from bitrow.config import ReluConfig
from bitrow.contract import arithmetic
from bitrow.contract.encoding import FP16_WORD, FP32_WORD, MASK_WORD, Encoding, integer_encoding
from bitrow.errors import BitrowError
from bitrow.formats import FP32, FloatMode
from bitrow.layers import activation
from bitrow.oracle import fp16 as oracle
from bitrow.proofs import judges
from bitrow.proofs.claim import Claim, Counterexample, Effort, Method, Outcome
from bitrow.proofs.exhaustive import finding, kernels
from bitrow.proofs.judges import INFINITY, NAN, SIGN, Bracket
from bitrow.vectors.operations import to_words

PER_CHUNK = 1 << 22
PER_BLOCK = 1 << 17
SAMPLE = 4  # words of a block that the oracle computes in each mode

Expected = Callable[[FloatMode], np.ndarray]


@dataclass(frozen=True)
class Unary:
    """An operation `bitrow.fp16.NAME` of one operand; `judge` gives its expected words.

    `key` orders operands; a counterexample is looked for in `simple` first, array after array.
    """

    name: str
    dtype: type
    operand: Encoding
    judge: Callable[[np.ndarray], Expected]
    key: Callable[[int], finding.SimplicityKey]
    simple: Callable[[], Iterable[np.ndarray]]
    result: Encoding = FP16_WORD

    def check(self, words: np.ndarray, groups: tuple[kernels.Modes, ...], tally: finding.Tally) -> None:
        """Every operand of `words` (integers as the operand's words) in the modes of `groups`."""
        for start in range(0, words.size, PER_BLOCK):
            self._check_block(words[start : start + PER_BLOCK], groups, tally)

    def _check_block(self, words: np.ndarray, groups: tuple[kernels.Modes, ...], tally: finding.Tally) -> None:
        expected = self.judge(words)
        draw = np.random.default_rng(int(words[-1]) & 0xFFFF)
        sample = draw.integers(0, words.size, SAMPLE)
        for group in groups:
            for mode, found in zip(group, kernels.run(self.name, group, words.view(self.dtype)), strict=True):
                tally.compare(found, expected(mode), functools.partial(self._explain, words, mode))
                for place in sample.tolist():
                    word, result = int(words[place]), int(found[place])
                    asked = getattr(oracle, self.name)(word, mode)
                    tally.sample(result, asked, functools.partial(self._shown, word, mode, result, asked))

    def _explain(self, words: np.ndarray, mode: FloatMode, wrong: np.ndarray) -> Counterexample:
        for chosen in (*self.simple(), words):
            (found,), expected = kernels.run(self.name, (mode,), chosen.view(self.dtype)), self.judge(chosen)(mode)
            places = np.flatnonzero(found != expected)
            if places.size:
                place = min(places.tolist(), key=lambda at: self.key(int(chosen[at])))
                return self._shown(int(chosen[place]), mode, int(found[place]), int(expected[place]))
        raise BitrowError(f"fp16.{self.name}: found a word that is wrong only among others, expected one that stays")

    def _shown(self, word: int, mode: FloatMode, found: int, expected: int) -> Counterexample:
        confirmed = getattr(oracle, self.name)(word, mode)
        operand = finding.shown("x", word, self.operand)
        return finding.counterexample((operand,), mode, found, expected, confirmed, self.result)


def _root(words: np.ndarray) -> Expected:
    positive = (words > 0) & (words < INFINITY)
    itself = (words & ~SIGN == 0) | (words == INFINITY)
    inside = judges.signed(np.sqrt(np.where(positive, judges.VALUES[words], 0.0)))

    def expected(mode: FloatMode) -> np.ndarray:
        if mode.flush:
            return _root(judges.flushed(words))(FloatMode(mode.rounding, mode.overflow))
        return np.where(positive, inside.rounded(mode), np.where(itself, words, np.uint16(NAN)))

    return expected


def _alike(negative: np.ndarray, low: int, rest: int) -> judges.Signed:
    """Numbers of one and the same bracket."""
    one = Bracket(np.array([low], np.uint16), np.array([rest], np.uint16))
    return judges.Signed(negative, one)


def _from_int(words: np.ndarray) -> Expected:
    if np.abs(words[[0, -1]].astype(np.int64)).min() >= 1 << 16 and (words[0] < 0) == (words[-1] < 0):
        return _alike(words < 0, judges.LARGEST, judges.ABOVE_HALF).rounded
    return judges.signed(words.astype(np.float64)).rounded


def _from_float(words: np.ndarray) -> Expected:
    """`words` keep to one exponent."""
    magnitudes = words & np.uint32(0x7FFFFFFF)
    negative = words >> np.uint32(31) == 1
    field = int(magnitudes[0]) >> FP32.fraction_bits
    if field == 255:
        infinite = np.where(negative, INFINITY | int(SIGN), INFINITY)
        specials = np.where(magnitudes == FP32.infinity_bits, infinite, NAN).astype(np.uint16)
        return lambda mode: specials
    if field >= 127 + 16:
        return _alike(negative, judges.LARGEST, judges.ABOVE_HALF).rounded
    if 0 < field < 127 - 26:
        return _alike(negative, 0, judges.BELOW_HALF).rounded
    if field == 0:
        rest = np.where(magnitudes == 0, judges.EXACT, judges.BELOW_HALF).astype(np.uint16)
        return judges.Signed(negative, Bracket(np.zeros_like(rest), rest)).rounded
    return judges.signed(words.view(np.float32).astype(np.float64)).rounded


def _to_float(words: np.ndarray) -> Expected:
    def expected(mode: FloatMode) -> np.ndarray:
        wide = (judges.flushed(words) if mode.flush else words).view(np.float16).astype(np.float32)
        return np.where((words & ~SIGN) > INFINITY, np.uint32(FP32.nan_bits), wide.view(np.uint32))

    return expected


def _float_key(word: int) -> finding.SimplicityKey:
    """Orders FP32 words as `finding.simplicity` does FP16's."""
    magnitude = word & 0x7FFFFFFF
    length = len(f"{magnitude & 0x7FFFFF | 0x800000:b}".rstrip("0"))
    return (magnitude >= FP32.infinity_bits, length, abs((magnitude >> 23) - 127), word >> 31, word)


def _simple_floats() -> list[np.ndarray]:
    return sorted(structured_float32(), key=lambda words: _float_key(int(words[0]))[2:])


SQRT = Unary("sqrt", np.float16, FP16_WORD, _root, finding.simplicity, list)
FROM_INT32 = Unary("from_int32", np.int32, integer_encoding(32), _from_int, lambda word: (abs(word), word < 0),
                   lambda: [np.arange(-(1 << 16), 1 << 16, dtype=np.int32)])
FROM_FLOAT32 = Unary("from_float32", np.float32, FP32_WORD, _from_float, _float_key, _simple_floats)
TO_FLOAT32 = Unary("to_float32", np.float16, FP16_WORD, _to_float, finding.simplicity, list, FP32_WORD)


def _check_every(operation: Unary, groups: tuple[kernels.Modes, ...], effort: Effort, index: int) -> Outcome:
    """All 65,536 words of FP16."""
    tally = finding.Tally()
    operation.check(judges.EVERY_WORD, groups, tally)
    return tally.outcome()


def structured_int32() -> np.ndarray:
    """Integers of magnitude up to 2^17, and beside every sum and difference of two powers of two."""
    powers = 1 << np.arange(32, dtype=np.int64)
    pairs = np.concatenate([np.add.outer(powers, powers), np.subtract.outer(powers, powers)]).reshape(-1)
    near = np.add.outer(pairs, np.arange(-2, 3)).reshape(-1)
    values = np.concatenate([near, -near, np.arange(-(1 << 17), (1 << 17) + 1), [-(1 << 31), (1 << 31) - 1]])
    return np.unique(values[(values >= -(1 << 31)) & (values < 1 << 31)]).astype(np.int32)


def _check_int32(effort: Effort, index: int) -> Outcome:
    """Chunk 0: structured integers, in all modes. The others: 2^22 consecutive ones, in the default modes."""
    tally = finding.Tally()
    if index == 0:
        FROM_INT32.check(structured_int32(), kernels.GROUPS, tally)
    else:
        first = (index - 1) * PER_CHUNK - (1 << 31)
        words = np.arange(first, first + PER_CHUNK, dtype=np.int64).astype(np.int32)
        FROM_INT32.check(words, kernels.GROUPS[:1], tally)
    return tally.outcome()


def structured_float32() -> list[np.ndarray]:
    """For each sign and exponent: significands beside every FP16 number, every midpoint, and short ones."""
    places = np.arange(1 << 11, dtype=np.int64) << 12  # every FP16 number and every midpoint
    bits = 1 << np.arange(24, dtype=np.int64)
    near = np.concatenate([np.add.outer(places, np.arange(-2, 3)).reshape(-1), bits, (1 << 23) - bits])
    fractions = np.unique(near[(near >= 0) & (near < 1 << 23)])
    return [(fractions | top << 23).astype(np.uint32) for top in range(512)]


def _check_float32(effort: Effort, index: int) -> Outcome:
    """Chunks 0 to 15: structured words of 32 exponents each, in all modes. The others: 2^22 consecutive words."""
    tally = finding.Tally()
    if index < 16:
        for words in structured_float32()[index * 32 : (index + 1) * 32]:
            FROM_FLOAT32.check(words, kernels.GROUPS, tally)
    else:
        first = (index - 16) * PER_CHUNK
        FROM_FLOAT32.check(np.arange(first, first + PER_CHUNK, dtype=np.uint32), kernels.GROUPS[:1], tally)
    return tally.outcome()


@functools.cache
def _relu_program(config: ReluConfig) -> Callable[..., tuple]:
    def every(x: jax.Array, dy: jax.Array) -> tuple:
        mask = activation.passes(config, x)
        return activation.forward(config, x), mask, activation.backward(config, mask, dy)

    return jax.jit(every)


def _check_relu(effort: Effort, index: int) -> Outcome:
    """Forward, mask and backward, plain and with the limit of six; dy runs over every word, too, in another order."""
    tally = finding.Tally()
    words, dy = judges.EVERY_WORD, judges.EVERY_WORD[::-1] ^ np.uint16(0x1234)
    value, nan = judges.VALUES, np.isnan(judges.VALUES)
    gradient = judges.canonical(dy.copy())
    for six in (False, True):
        limit = 6.0 if six else np.inf
        y = np.where(value > 0, np.minimum(value, limit), 0.0).astype(np.float16).view(np.uint16)
        passes = (value > 0) & (value < limit if six else True)
        expected = (np.where(nan, np.uint16(NAN), y), passes.astype(np.uint8), np.where(passes, gradient, np.uint16(0)))
        found = _relu_program(ReluConfig(six))(words.view(np.float16), dy.view(np.float16))
        asked = (
            [arithmetic.relu(word, six) for word in words.tolist()],
            [arithmetic.relu_passes(word, six) for word in words.tolist()],
            [arithmetic.select(g, passes) for passes, g in zip(expected[1].tolist(), dy.tolist(), strict=True)],
        )
        for result, right, oracles in zip(map(to_words, found), expected, asked, strict=True):
            explain = functools.partial(_explain_relu, six, dy, result, right, oracles)
            if tally.compare(result, right, explain):
                tally.compare(result, np.array(oracles, result.dtype), explain, counted=True)
    return tally.outcome()


def _explain_relu(
    six: bool, dy: np.ndarray, found: np.ndarray, expected: np.ndarray, asked: list[int], wrong: np.ndarray
) -> Counterexample:
    word = min(wrong.tolist(), key=finding.simplicity)
    encoding = FP16_WORD if found.dtype == np.uint16 else MASK_WORD
    operands = (finding.shown("x", word), finding.shown("dy", int(dy[word])), ("six", str(int(six)), ""))
    return finding.counterexample(operands, None, int(found[word]), int(expected[word]), asked[word], encoding)


def _claim(
    name: str,
    statement: str,
    clauses: tuple[str, ...],
    domains: tuple[str, str],
    chunks: tuple[int, int],
    check: Callable[[Effort, int], Outcome],
) -> Claim:
    """A claim whose domain and chunks are given as (quick, full)."""
    return Claim(
        name=name,
        statement=statement,
        clauses=clauses,
        method=Method.EXHAUSTIVE,
        domain=lambda effort: domains[effort is Effort.FULL],
        chunks=lambda effort: chunks[effort is Effort.FULL],
        check=check,
    )


_EVERY = "all 65,536 words in all 20 modes"
_INTEGERS = "magnitudes up to 2^17, and within 2 of 2^i + 2^j and 2^i - 2^j, in all 20 modes"
_FLOATS = "both signs, every exponent, within 2 units of every FP16 number and midpoint; all 20 modes"
CLAIMS = (
    _claim("fp16.sqrt", "the square root of the kernels is the exact one, rounded once", ("F2", "F3", "F4", "F5"),
           (_EVERY, _EVERY), (1, 1), functools.partial(_check_every, SQRT, kernels.GROUPS)),
    _claim("fp16.to_float32", "conversion to FP32 is exact, subnormals flushed where the mode says so", ("F5", "F10"),
           ("all 65,536 words, with and without flush",) * 2, (1, 1),
           functools.partial(_check_every, TO_FLOAT32, ((FloatMode(), FloatMode(flush=True)),))),
    _claim("fp16.from_int32", "integers are rounded once to FP16", ("F3", "F6", "F10"),
           (_INTEGERS, f"all 2^32 integers in the 5 rounding modes; {_INTEGERS}"), (1, 1025), _check_int32),
    _claim("fp16.from_float32", "FP32 numbers are rounded once to FP16", ("F3", "F4", "F5", "F6", "F10"),
           (_FLOATS, f"all 2^32 words in the 5 rounding modes; {_FLOATS}"), (16, 16 + 1024), _check_float32),
    _claim("layer.relu", "relu and relu6, their masks and gradients are what A1 says", ("A1", "F4"),
           ("all 65,536 words",) * 2, (1, 1), _check_relu),
)  # fmt: skip
