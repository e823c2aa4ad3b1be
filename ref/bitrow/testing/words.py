"""Strategies of words: FP16 and FP32 bit patterns and integers, where arithmetic goes wrong (SPEC.md F).

A word is drawn as an int, an array of words as uint16, uint32 or int32; nothing is ever drawn as a float,
which would lose NaN payloads and signs of zero. All shrink towards +0.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bitrow.formats import FP16, FP32
from bitrow.vectors.stimulus import stream as stimulus
from bitrow.vectors.stimulus.stream import Stream

_SIGNS = st.sampled_from((0, FP16.sign_mask))
_MAGNITUDE = FP16.sign_mask - 1
_LARGEST, _INFINITY = FP16.max_finite_bits, FP16.infinity_bits
_NORMAL = 1 << FP16.fraction_bits  # the smallest normal number
_OFF = st.sampled_from((0, 0, 1, -1, 2, -2))
_MAX_PATCHES = 6
CORNERS = (0x0000, 0x8000, _LARGEST, _NORMAL, _INFINITY, _INFINITY | FP16.sign_mask, FP16.nan_bits)


def _value(word: int) -> float:
    return struct.unpack("<e", struct.pack("<H", word))[0]


def _word(value: float) -> int:
    """The FP16 word nearest to `value`, the largest finite number where it would overflow."""
    bounded = max(-65504.0, min(65504.0, value))
    return struct.unpack("<H", struct.pack("<e", bounded))[0]


def _beside(word: int, offset: int) -> int:
    """The word `offset` magnitudes further from zero."""
    return word & FP16.sign_mask | max(0, min(_MAGNITUDE, (word & _MAGNITUDE) + offset))


@functools.cache
def fp16_bits(finite: bool = False) -> SearchStrategy[int]:
    """FP16 words: zeros, subnormals and their edge, powers of two and the words beside them, short fractions
    (which make ties), the largest number, any word; unless `finite`, infinities and NaNs with payloads."""
    corners = st.sampled_from(CORNERS[:4] if finite else CORNERS)
    special = (stimulus.FINITE_WORDS if finite else stimulus.SPECIAL_WORDS).tolist()
    fields, off = st.integers(1, 30 if finite else 31), st.sampled_from((0, 1, -1))
    powers = st.builds(lambda field, off: (field << 10) + off, fields, off)
    short = st.builds(lambda field, head: field << 10 | head << 6, st.integers(1, 30), st.integers(0, 15))
    magnitudes = [st.integers(0, _NORMAL), powers, short, st.integers(0, _LARGEST if finite else _MAGNITUDE)]
    if not finite:
        magnitudes.append(st.integers(_INFINITY + 1, _MAGNITUDE))
    return corners | st.sampled_from(special) | st.builds(int.__or__, _SIGNS, st.one_of(magnitudes))


def _independent(draw: DrawFn) -> tuple[int, int]:
    return draw(fp16_bits()), draw(fp16_bits())


def _corners(draw: DrawFn) -> tuple[int, int]:
    """Infinity less infinity, 0 * infinity, 0 / 0 and their like."""
    return draw(st.sampled_from(CORNERS)), draw(st.sampled_from(CORNERS))


def _cancelling(draw: DrawFn) -> tuple[int, int]:
    """b is -a or a, or a few words from it."""
    a = draw(fp16_bits(finite=True))
    return a, _beside(a ^ draw(_SIGNS), draw(st.sampled_from((0, 0, 1, -1, 2, -3))))


def _sum_tie(draw: DrawFn) -> tuple[int, int]:
    """b is an odd number of half units of a, or a word beside that."""
    field = draw(st.integers(2, 30))
    a = field << 10 | draw(st.integers(0, 1023))
    b = _word((2 * draw(st.integers(0, 1023)) + 1) * 2.0 ** (field - 26))
    return a | draw(_SIGNS), _beside(b, draw(_OFF)) | draw(_SIGNS)


def _scaled(significand: int, exponent: int) -> int:
    """`significand`, of at most 11 bits, with its leading one at 2^exponent, as an FP16 word."""
    return _word(significand * 2.0 ** (exponent + 1 - significand.bit_length()))


def _product_tie(draw: DrawFn) -> tuple[int, int]:
    """Significands whose product has 12 bits, the last a one: half a unit; or a word beside that."""
    first = 2 * draw(st.integers(0, 1023)) + 1
    least = max(1, -(-2048 // first))
    second = draw(st.integers(least, max(least, min(2047, 4095 // first)))) | 1
    target = draw(st.integers(-27, 16))
    exponent = draw(st.integers(max(-14, target - 15), min(15, target + 14)))
    a, b = _scaled(first, exponent), _scaled(min(second, 2047), target - exponent)
    return a | draw(_SIGNS), _beside(b, draw(_OFF)) | draw(_SIGNS)


def _quotient_tie(draw: DrawFn) -> tuple[int, int]:
    """A quotient of an odd number of halves of the smallest subnormal, or a word beside that."""
    factor, exponent = draw(st.sampled_from((1, 3, 5, 7))), draw(st.integers(1, 12))
    most = 1023 // factor
    quotient = 2 * draw(st.integers(0, most) | st.just(most)) + 1
    a = _beside(_word(quotient * factor * 2.0 ** (exponent - 25)), draw(_OFF))
    return a | draw(_SIGNS), _word(factor * 2.0**exponent) | draw(_SIGNS)


# where FP16's range ends: the largest number, where rounding to infinity begins, 2^16; the smallest normal
# number, half a unit below it, the smallest subnormal, half of that
_ENDS = st.sampled_from((65504.0, 65520.0, 65536.0, 2.0**-14, 2.0**-14 - 2.0**-25, 2.0**-24, 2.0**-25))


def _range_end(draw: DrawFn) -> tuple[int, int]:
    """A product or quotient at an end of the range."""
    a = draw(fp16_bits(finite=True)) or _NORMAL
    value, end = _value(a), draw(_ENDS)
    kind = draw(st.sampled_from(("product", "divisor", "dividend")))
    other = {"product": end / value, "divisor": value / end, "dividend": value * end}[kind] if value else end
    b = _beside(_word(other), draw(_OFF)) ^ draw(_SIGNS)
    return (b, a) if kind == "dividend" else (a, b)


def _subnormal_edge(draw: DrawFn) -> tuple[int, int]:
    """A product or quotient of 2^-14 - 2^-25, the one tie that rounds up to a normal number, or a word beside that."""
    exponent = draw(st.integers(1, 14))
    edge, power = _beside(_word(2047 * 2.0 ** (exponent - 25)), draw(_OFF)), _word(2.0**-exponent)
    if draw(st.booleans()):
        return edge | draw(_SIGNS), power | draw(_SIGNS)
    return edge | draw(_SIGNS), _word(2.0**exponent) | draw(_SIGNS)


_PAIRS: tuple[Callable[[DrawFn], tuple[int, int]], ...] = (
    _independent, _corners, _cancelling, _sum_tie, _product_tie, _quotient_tie, _range_end, _subnormal_edge,
)  # fmt: skip


@functools.cache
@st.composite
def fp16_pairs(draw: DrawFn) -> tuple[int, int]:
    """Two FP16 words for +, -, *, /: unrelated; cancelling; sums and products half way between two numbers,
    or just above or below; products and quotients at the ends of the range."""
    return draw(st.sampled_from(_PAIRS))(draw)


def _product_cancels(draw: DrawFn) -> tuple[int, int, int]:
    """c is -(a*b), or a few words from it."""
    a, b = draw(fp16_bits(finite=True)), draw(fp16_bits(finite=True))
    return a, b, _beside(_word(-_value(a) * _value(b)), draw(st.integers(-3, 3)))


def _fma_tie(draw: DrawFn) -> tuple[int, int, int]:
    """a*b is half a unit of c or an odd number of them, or just above or below."""
    field = draw(st.integers(4, 30))
    first, second = (2 * draw(st.integers(0, 15)) + 1 for _ in range(2))
    low = field - 26
    left = draw(st.integers(max(-14, low - 10), min(10, low + 14)))
    a, b = _word(first * 2.0**left), _beside(_word(second * 2.0 ** (low - left)), draw(_OFF))
    return a | draw(_SIGNS), b | draw(_SIGNS), field << 10 | draw(st.integers(0, 1023)) | draw(_SIGNS)


def _range_end_alone(draw: DrawFn) -> tuple[int, int, int]:
    """a*b at an end of the range, and next to nothing added."""
    return *draw(st.sampled_from((_range_end, _subnormal_edge)))(draw), draw(st.sampled_from((0, 0x8000, 1, 0x8001)))


@functools.cache
@st.composite
def fp16_triples(draw: DrawFn) -> tuple[int, int, int]:
    """Three FP16 words for a*b + c: a pair and any word; c near -(a*b); a*b half a unit of c, or beside."""
    kind = draw(st.sampled_from((None, _product_cancels, _fma_tie, _range_end_alone)))
    return kind(draw) if kind else (*draw(fp16_pairs()), draw(fp16_bits()))


# where a conversion to FP16 or an FP32 operation changes behaviour: zeros, subnormals and their edge, 1,
# FP16's smallest and largest numbers with the ties beside them, the largest number, infinity, NaNs
_FP32_MAGNITUDES = (
    *(0, 1, 0x7FFFFF, 0x800000, 0x800001, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3F801000, 0x3F803000),
    *(0x33000000, 0x33000001, 0x33800000, 0x33C00000, 0x387FC000, 0x387FE000, 0x387FF000, 0x38800000),
    *(0x477FE000, 0x477FEFFF, 0x477FF000, 0x47800000, 0x7F7FFFFF, 0x7F800000),
    *(0x7FC00000, 0x7F800001, 0x7FFFFFFF),
)
# a tie of FP16, and what lies beside it
_TAILS = st.sampled_from((0, 0x1000, 0x1001, 0x0FFF, 0x1FFF, 0x0001))


@functools.cache
def fp32_bits() -> SearchStrategy[int]:
    """FP32 words: FP16's numbers with the ties between them, normal and subnormal, FP16's and FP32's ends,
    subnormals, NaNs with payloads, and any word."""
    signs = st.sampled_from((0, FP32.sign_mask))
    halves = st.builds(
        lambda field, head, tail: field << 23 | head << 13 | tail,
        st.integers(113, 142), st.integers(0, 1023), _TAILS,
    )  # fmt: skip
    # a subnormal FP16 number of `bits` bits: its last place, and half of it, in an FP32 fraction
    subnormal = st.builds(
        lambda bits, head, tie: (102 + bits) << 23 | head >> (24 - bits) << (24 - bits) | tie << (23 - bits),
        st.integers(1, 10), st.integers(0, (1 << 23) - 1), st.integers(0, 1),
    )  # fmt: skip
    magnitude = st.one_of(
        st.sampled_from(_FP32_MAGNITUDES), halves, subnormal,
        st.integers(0, 1 << 23), st.integers(0, 0x7FFFFFFF),
    )  # fmt: skip
    return st.builds(int.__or__, signs, magnitude)


@functools.cache
def int32s() -> SearchStrategy[int]:
    """int32 of every length: powers of two and the integers beside them, FP16's ties (an odd 12-bit number,
    shifted, or beside it) and where it overflows."""
    signs = st.sampled_from((1, -1))
    powers = st.builds(lambda k, off: (1 << k) + off, st.integers(0, 31), st.sampled_from((0, 1, -1)))
    ties = st.builds(
        lambda head, shift, off: ((2 * head + 1) << shift) + off,
        st.integers(1024, 2047), st.integers(0, 19), st.sampled_from((0, 1, -1)),
    )  # fmt: skip
    lengths = st.integers(0, 31).flatmap(lambda length: st.integers(0, (1 << length) - 1))
    ends = st.sampled_from((0, 65503, 65504, 65519, 65520, 65521, 65535))
    magnitude = ends | powers | ties | lengths
    return st.builds(lambda sign, m: max(-(1 << 31), min((1 << 31) - 1, sign * m)), signs, magnitude)


class Noise:
    """Arrays from one drawn seed, much faster than as many drawn words.

    An array is noise inside a window and zeros outside: a window that shrinks finds the elements that a
    failure needs. `head` and `tail` are its ends, each counted from the array's other end, of `WHOLE`.
    """

    WHOLE = 64

    def __init__(self, seed: int, head: int, tail: int) -> None:
        self.stream, self._head, self._tail = Stream("testing", seed), head, tail

    def __repr__(self) -> str:
        return f"Noise({self.stream.key}, {self._head}, {self._tail})"

    def _window(self, shape: tuple[int, ...]) -> np.ndarray:
        """Where an array is noise."""
        size = int(np.prod(shape))
        first, last = size - -(-size * self._tail // self.WHOLE), -(-size * self._head // self.WHOLE)
        place = np.arange(size).reshape(shape)
        return (place >= first) & (place < last)

    def calm(self, words: np.ndarray) -> np.ndarray:
        """`words` inside the window, zeros outside."""
        return np.where(self._window(words.shape), words, 0).astype(words.dtype)

    def any(self, shape: tuple[int, ...], bits: int = 16) -> np.ndarray:
        """Uniform words."""
        return self.calm(self.stream.words(bits, shape))

    def spread(self, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        """Finite FP16 words, exponents in [low, high] clipped to FP16's, a quarter with short fractions."""
        low, high = (max(-14, min(15, exponent)) for exponent in (low, high))
        return self.calm(stimulus.spread(self.stream, shape, low, high))

    def among(self, words: np.ndarray, pool: np.ndarray, one_in: int = 2) -> np.ndarray:
        """`words`, about one in `one_in` replaced from `pool`."""
        hit = (self.stream.below(one_in, words.shape) == 0) & self._window(words.shape)
        return np.where(hit, self.stream.choice(pool, words.shape), words).astype(words.dtype)

    def special(self, words: np.ndarray, one_in: int) -> np.ndarray:
        """FP16 `words`, about one in `one_in` a special one: a zero, an infinity, a NaN, an end of a range."""
        return self.among(words, stimulus.SPECIAL_WORDS, one_in)

    def below(self, limit: int, shape: tuple[int, ...]) -> np.ndarray:
        """int64 in [0, limit)."""
        return self.calm(self.stream.below(limit, shape))


@functools.cache
def noises() -> SearchStrategy[Noise]:
    """A source of arrays from one drawn seed."""
    # mostly the whole array; a wider range would be drawn mostly from its small numbers
    ends = st.integers(0, 1023).map(lambda end: min(end, Noise.WHOLE))
    return st.builds(Noise, st.integers(0, (1 << 32) - 1), ends, ends)


@st.composite
def patched(
    draw: DrawFn, words: np.ndarray, elements: SearchStrategy[int], most: int = _MAX_PATCHES
) -> np.ndarray:
    """`words` with up to `most` drawn from `elements`: a failing example names the few that matter."""
    flat = words.reshape(-1).copy()
    if flat.size:
        places = st.tuples(st.integers(0, flat.size - 1), elements)
        for place, word in draw(st.lists(places, max_size=most)):
            flat[place] = np.array(word).astype(flat.dtype)
    return flat.reshape(words.shape)


@st.composite
def fp16_arrays(
    draw: DrawFn,
    shape: int | tuple[int, ...],
    finite: bool = False,
    low: int | None = None,
    high: int | None = None,
) -> np.ndarray:
    """FP16 words as a uint16 array: noise from a drawn seed, with a few words of `fp16_bits` in drawn places.

    Args:
        shape: of the array.
        finite: no infinities, no NaNs.
        low: smallest exponent of the noise, -14 to 15, given with `high`; else any words, or a drawn range.
        high: largest exponent of the noise.
    """
    shape = (shape,) if isinstance(shape, int) else shape
    noise = draw(noises())
    if low is None or high is None:
        low = draw(st.integers(-14, 15))
        high = draw(st.integers(low, 15))
        kind = draw(st.sampled_from(("any", "range", "range", "zeros")))
        words = noise.spread(shape, low, high) if kind == "range" else noise.any(shape)
        words = words & FP16.sign_mask if kind == "zeros" else words
        one_in = draw(st.sampled_from((0, 8, 3)))
        words = noise.special(words, one_in) if one_in else words
        if finite:
            words = np.where((words & _INFINITY) == _INFINITY, words & np.uint16(0xBFFF), words)
    else:
        words = noise.spread(shape, low, high)
    return draw(patched(words, fp16_bits(finite)))
