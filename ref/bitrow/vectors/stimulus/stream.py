"""Directed and random stimulus from a seed, the same with every library version (SPEC.md V4).

The generator is SHA-256 in counter mode: block i of a stream is the digest of `SEED/NAME/.../i` in ASCII,
read as little-endian words. A "word" is an integer bit pattern; nothing here computes in floating point.
Standard library and numpy only.
"""

from __future__ import annotations

import hashlib

import numpy as np

from bitrow.formats import FP16, Fxp
from bitrow.vectors.coverage import exact

# magnitudes at which FP16 units change behaviour: zero, subnormals and their edge, one and its neighbours,
# the last integers held exactly, the largest finite number, infinity, NaNs: canonical, with payload,
# signalling
MAGNITUDES = (
    *(0x0000, 0x0001, 0x0002, 0x03FE, 0x03FF, 0x0400, 0x0401, 0x07FF, 0x0800, 0x1000, 0x1400, 0x3800),
    *(0x3BFF, 0x3C00, 0x3C01, 0x3E00, 0x4000, 0x4600, 0x4601, 0x4800, 0x6800, 0x6801, 0x7800, 0x7BFE, 0x7BFF),
    *(0x7C00, 0x7E00, 0x7C01, 0x7D55, 0x7FFF),
)
SPECIAL_WORDS = np.array([sign | m for m in MAGNITUDES for sign in (0, 0x8000)], np.uint16)
FINITE_WORDS = SPECIAL_WORDS[(SPECIAL_WORDS & 0x7C00) != 0x7C00]


class Stream:
    """A stream of words named by its key; two streams of different keys are independent."""

    def __init__(self, *key: object) -> None:
        self.key = "/".join(str(part) for part in key)
        self._block = 0

    def child(self, *key: object) -> Stream:
        """The stream of a longer key, unaffected by what was drawn here."""
        return Stream(self.key, *key)

    def _bytes(self, count: int) -> bytes:
        blocks = -(-count // 32)
        prefix = hashlib.sha256(self.key.encode() + b"/")
        parts = []
        for i in range(self._block, self._block + blocks):
            digest = prefix.copy()
            digest.update(str(i).encode())
            parts.append(digest.digest())
        self._block += blocks
        return b"".join(parts)[:count]

    def words(self, bits: int, shape: int | tuple[int, ...] = ()) -> np.ndarray:
        """Uniform words of 8, 16, 32 or 64 bits, unsigned."""
        size = int(np.prod(shape))
        raw = np.frombuffer(self._bytes(size * bits // 8), f"<u{bits // 8}")
        return raw.astype(f"u{bits // 8}").reshape(shape)

    def below(self, limit: int, shape: int | tuple[int, ...] = ()) -> np.ndarray:
        """int64 in [0, limit) for a limit up to 2^32, the 64-bit word modulo the limit."""
        return (self.words(64, shape) % np.uint64(limit)).astype(np.int64)

    def between(self, low: int, high: int, shape: int | tuple[int, ...] = ()) -> np.ndarray:
        """int64 in [low, high], both ends included."""
        return low + self.below(high - low + 1, shape)

    def choice(self, pool: np.ndarray, shape: int | tuple[int, ...] = ()) -> np.ndarray:
        """Elements of a one-dimensional pool."""
        return np.asarray(pool)[self.below(len(pool), shape)]


def spread(stream: Stream, shape: tuple[int, ...], low: int = -4, high: int = 2) -> np.ndarray:
    """Finite FP16 words (uint16) with exponents in [low, high]; a quarter have short fractions, which make
    ties."""
    exponent = stream.between(low, high, shape) + FP16.bias
    fraction = stream.below(1 << 10, shape)
    short = stream.below(4, shape) == 0
    fraction = np.where(short, fraction & 0x3C0, fraction)
    return (stream.below(2, shape) << 15 | exponent << 10 | fraction).astype(np.uint16)


def sprinkle(stream: Stream, words: np.ndarray, pool: np.ndarray, one_in: int = 8) -> np.ndarray:
    """`words` with about one element in `one_in` replaced from `pool`, then each of the pool put in at least
    once.

    Of a pool that would fill more than half, every second, third ... word is put in.
    """
    flat = words.reshape(-1).copy()
    hit = stream.below(one_in, flat.shape) == 0
    flat = np.where(hit, stream.choice(pool, flat.shape), flat).astype(words.dtype)
    kept = pool[:: -(-2 * len(pool) // flat.size)] if flat.size > 1 else pool[:1]
    # spread evenly, so that no corner of the map is all special
    flat[np.arange(len(kept)) * flat.size // len(kept)] = kept
    return flat.reshape(words.shape)


def pairs(stream: Stream, count: int) -> tuple[np.ndarray, np.ndarray]:
    """FP16 operand pairs (uint16): arbitrary, near cancellation, exponents apart, short fractions, and
    products and quotients at both ends of the range."""
    a = stream.words(16, count)
    kind = stream.below(6, count)
    noise = stream.words(16, count)
    cancel = a ^ 0x8000 ^ (noise & (0x7FF >> stream.below(11, count)).astype(np.uint16))
    field = (a >> 10 & 31).astype(np.int64)
    apart = np.clip(field + stream.between(-13, 13, count), 0, 30)
    short = (noise & 0x83FF) & np.uint16(0x83C0)
    mirrored = np.clip(stream.choice(np.array([2, 3, 4, 5, 44, 45, 46]), count) - field, 0, 30)
    quotient = np.clip(field - stream.choice(np.array([-16, -15, -14, -13, 15, 16, 17]), count), 0, 30)
    b = np.select(
        [kind == 1, kind == 2, kind == 3, kind == 4, kind == 5],
        [
            cancel,
            (noise & 0x83FF) | (apart << 10).astype(np.uint16),
            short | (apart << 10).astype(np.uint16),
            (noise & 0x83FF) | (mirrored << 10).astype(np.uint16),
            (noise & 0x83FF) | (quotient << 10).astype(np.uint16),
        ],
        noise,
    ).astype(np.uint16)
    trim = stream.below(4, count) == 0
    return np.where(trim, a & 0xFFC0, a).astype(np.uint16), b


def special_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Every pair of special words."""
    a, b = np.meshgrid(SPECIAL_WORDS, SPECIAL_WORDS, indexing="ij")
    return a.reshape(-1), b.reshape(-1)


def triples(stream: Stream, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FP16 operands of a*b+c (uint16): c arbitrary, special, or near -(a*b) in exponent or in value."""
    a, b = pairs(stream, count)
    special = stream.below(6, count) == 0
    a = np.where(special, stream.choice(SPECIAL_WORDS, count), a)
    b = np.where(stream.below(6, count) == 0, stream.choice(SPECIAL_WORDS, count), b)
    product = exact.mul(exact.decode(a, FP16), exact.decode(b, FP16))
    top = np.where(product.sig > 0, product.top, 0)
    kept = np.where(top > 9, product.sig >> np.clip(exact.bit_length(product.sig) - 11, 0, 62), product.sig)
    near = np.clip(top + FP16.bias, 0, 30) << 10 | (kept & 0x3FF)
    near = near | np.where(product.negative, 0, 0x8000)
    gap = np.clip(top + FP16.bias + stream.between(-12, 13, count), 0, 30) << 10
    noise = stream.words(16, count).astype(np.int64)
    kind = stream.below(4, count)
    c = np.select(
        [kind == 0, kind == 1, kind == 2], [near, near ^ (noise & 3), gap | (noise & 0x83FF)], noise
    )
    c = np.where(stream.below(8, count) == 0, stream.choice(SPECIAL_WORDS, count), c)
    corners = stream.choice(SPECIAL_WORDS, (3, count // 4))
    a, b, c = (
        np.concatenate([words[count // 4 :], corner])
        for words, corner in zip((a, b, c), corners, strict=True)
    )
    return a.astype(np.uint16), b.astype(np.uint16), c.astype(np.uint16)


def int32s(stream: Stream, count: int) -> np.ndarray:
    """int32 of every length, with the powers of two and their neighbours, and FP16's ties and overflow among
    them."""
    powers = [1 << k for k in range(32)]
    ties = [0, 2047, 2049, 2051, 4098, 4102, 65503, 65504, 65519, 65520, 65521, 65535, 65536, (1 << 31) - 1]
    fixed = np.array(ties + powers + [p - 1 for p in powers] + [p + 1 for p in powers], np.int64)
    fixed = np.concatenate([fixed, -fixed])
    fixed = fixed[(fixed >= -(1 << 31)) & (fixed < 1 << 31)]
    length = stream.below(32, count)
    values = stream.below(1 << 32, count) & ((np.int64(1) << length) - 1)
    values = np.where(stream.below(2, count) == 0, values, -values)
    return np.concatenate([fixed, values])[:count].astype(np.int32)


def float32s(stream: Stream, count: int) -> np.ndarray:
    """FP32 words (uint32): FP16's numbers, its ties and their neighbours, its two ends, and arbitrary
    words."""
    half = stream.words(16, count).astype(np.int64)
    wide = half & 0x8000
    field = np.clip(half >> 10 & 31, 1, 30) + 112
    base = wide << 16 | field << 23 | (half & 0x3FF) << 13
    tail = stream.choice(np.array([0, 0x0FFF, 0x1000, 0x1001, 0x1FFF, 0x0001]), count)
    low = wide << 16 | stream.between(100, 113, count) << 23 | stream.below(1 << 23, count)
    # below FP16's normal numbers a tie sits higher up in the fraction
    low = np.where(stream.below(2, count) == 0, low & ~np.int64(0xFFFFF), low)
    # the last step below the largest number, and the last below the smallest normal one
    edge = (
        wide << 16 | stream.choice(np.array([0x477FE000, 0x387FE000]), count) | stream.below(1 << 13, count)
    )
    noise = stream.words(32, count).astype(np.int64)
    special = stream.choice(
        np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 1]), count
    )
    kind = stream.below(8, count)
    chosen = np.select([kind < 4, kind == 4, kind == 5, kind == 6], [base | tail, low, edge, special], noise)
    return chosen.astype(np.uint32)


def quantizer_words(x_inv_scale: int, fmt: Fxp, per_kind: int = 2) -> np.ndarray:
    """FP16 words (uint16) whose `t` lies on each edge of a quantizer: every tie between two codes and outside
    the range, the words beside it, both clips, zeros, infinities and NaN (SPEC.md Q1, Q2, Q4).

    Found by computing t exactly for every word; an edge that no word reaches is left out.
    """
    words = np.arange(1 << 16, dtype=np.int64).astype(np.uint16)
    t = exact.mul(exact.decode(words, FP16), exact.decode(np.array(x_inv_scale, np.uint16), FP16))
    # in half units; a word whose t is not a multiple of one half lies between two of them
    shift = np.clip(-t.exp - 1, 0, 62)
    left = np.clip(t.exp + 1, 0, 18)
    halves = np.where(t.exp < -1, t.sig >> shift, t.sig << left)
    whole = (t.exp >= -1) | (halves << shift == t.sig)
    halves = np.where(t.negative, -halves, halves)
    found = [SPECIAL_WORDS[(SPECIAL_WORDS & 0x7FFF) >= 0x7BFF], np.array([0, 0x8000], np.uint16)]
    live = t.finite & (t.sig > 0)
    for edge in range(2 * fmt.min - 3, 2 * fmt.max + 4):
        found.append(words[live & whole & (halves == edge)][:per_kind])
        found.append(words[live & ~whole & (halves == edge)][-1:])
    return np.unique(np.concatenate(found))


def codes(stream: Stream, shape: tuple[int, ...], fmt: Fxp) -> np.ndarray:
    """Codes of `fmt`, uniform with one in eight at an end of the range; int8, or uint8 for an unsigned
    format."""
    values = stream.between(fmt.min, fmt.max, shape)
    ends = stream.choice(np.array([fmt.min, fmt.max]), shape)
    values = np.where(stream.below(8, shape) == 0, ends, values)
    return values.astype(np.int8 if fmt.signed else np.uint8)


def select(masks: dict[str, np.ndarray], count: int, per_bin: int) -> np.ndarray:
    """Indices of `count` candidates: the first `per_bin` of every bin, then the first of the rest, in order.

    `masks` says for each bin which candidates hit it.
    """
    chosen = np.zeros(next(iter(masks.values())).shape, bool)
    for mask in masks.values():
        chosen[np.flatnonzero(mask)[:per_bin]] = True
    rest = np.flatnonzero(~chosen)[: max(0, count - int(chosen.sum()))]
    chosen[rest] = True
    return np.flatnonzero(chosen)[:count]
