"""The oracle's FP16 arithmetic, judged by numpy's float16 and by rounding written apart from it."""

from __future__ import annotations

import bisect
import itertools
import random
from fractions import Fraction

import numpy as np
import pytest

from bitrow.formats import FloatMode, Overflow, Rounding
from bitrow.oracle import fp16, fp32

WORDS = np.arange(1 << 16, dtype=np.uint16)
NAN, INF, MAX, NEG = 0x7E00, 0x7C00, 0x7BFF, 0x8000
MODES = [FloatMode(r, o, f) for r in Rounding for o in Overflow for f in (False, True)]
SPECIALS = [
    0,
    1,
    2,
    3,
    0x3FF,
    0x400,
    0x401,
    0x1400,
    0x3800,
    0x3BFF,
    0x3C00,
    0x3C01,
    0x3FFF,
    0x4000,
    0x4248,
    0x63FF,
    0x6400,
    0x7800,
    0x7BFE,
    MAX,
    INF,
    NAN,
    0x7C01,
    0x7FFF,
]
SPECIALS += [word | NEG for word in SPECIALS]

# A judge of its own: every non-negative finite FP16 number in order, with 2^16, where a further exponent
# would go on.
GRID = [Fraction(float(v)) for v in WORDS[:INF].view(np.float16).astype(np.float64)] + [Fraction(65536)]


def judge(value: Fraction, mode: FloatMode, zero: int = 0) -> int:
    """FP16 word of an exact value, chosen from its two neighbours by the definitions of F3, F5, F6."""
    if value == 0:
        return zero
    sign, size = (NEG, -value) if value < 0 else (0, value)
    above = bisect.bisect_left(GRID, size)
    if above < len(GRID) and GRID[above] == size:
        place = above
    elif above == len(GRID):
        place = len(GRID)
    else:
        low, high = above - 1, above
        middle = (GRID[low] + GRID[high]) / 2
        place = {
            Rounding.TOWARD_ZERO: low,
            Rounding.UP: low if sign else high,
            Rounding.DOWN: high if sign else low,
            Rounding.NEAREST_AWAY: high if size >= middle else low,
            Rounding.NEAREST_EVEN: low if size < middle or (size == middle and low % 2 == 0) else high,
        }[mode.rounding]
    if place >= INF:
        inward = {Rounding.TOWARD_ZERO: True, Rounding.UP: bool(sign), Rounding.DOWN: not sign}
        place = MAX if mode.overflow is Overflow.SATURATE or inward.get(mode.rounding, False) else INF
    if mode.flush and place < 0x400:
        place = 0
    return sign | place


def exact(word: int, flush: bool) -> Fraction:
    magnitude = word & 0x7FFF
    value = Fraction(0) if flush and magnitude < 0x400 else GRID[magnitude]
    return -value if word & NEG else value


def is_finite(*words: int) -> bool:
    return all(word & 0x7FFF < INF for word in words)


def canonical(result: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(result), np.uint16(NAN), result.view(np.uint16))


def pairs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    directed = np.array(list(itertools.product(SPECIALS, SPECIALS)), np.uint16)
    near = rng.integers(0, 1 << 16, count // 2, dtype=np.uint16)
    a = np.concatenate([directed[:, 0], rng.integers(0, 1 << 16, count, dtype=np.uint16), near])
    offset = rng.integers(-3, 4, count // 2).astype(np.int64)
    close = ((near.astype(np.int64) + offset) & 0xFFFF).astype(np.uint16) ^ np.uint16(NEG)
    return a, np.concatenate([directed[:, 1], rng.integers(0, 1 << 16, count, dtype=np.uint16), close])


@pytest.mark.parametrize(
    ("ours", "judged"),
    [(fp16.add, np.add), (fp16.sub, np.subtract), (fp16.mul, np.multiply), (fp16.div, np.divide)],
    ids=["add", "sub", "mul", "div"],
)
def test_operations_are_numpy_float16(ours, judged):
    """SPEC.md F1, F2, F4: each operation rounds its exact result once, NaN canonical."""
    a, b = pairs(30_000, seed=1)
    with np.errstate(all="ignore"):
        expected = canonical(judged(a.view(np.float16), b.view(np.float16)))
    found = np.array([ours(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)], np.uint16)
    differ = np.flatnonzero(found != expected)
    assert differ.size == 0, [(hex(a[i]), hex(b[i]), hex(found[i]), hex(expected[i])) for i in differ[:5]]


def test_sqrt_of_every_word():
    """SPEC.md F4: sqrt over all 65,536 words; sqrt(-0) is -0."""
    with np.errstate(all="ignore"):
        expected = canonical(np.sqrt(WORDS.view(np.float16)))
    assert [fp16.sqrt(a) for a in range(1 << 16)] == expected.tolist()
    assert fp16.sqrt(NEG) == NEG


def test_to_float32_of_every_word_and_back():
    """SPEC.md F10: widening is exact, and narrowing returns the word; payloads are dropped (F4)."""
    wide = [fp16.to_float32(a) for a in range(1 << 16)]
    values = WORDS.view(np.float16).astype(np.float32)
    expected = np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32))
    assert wide == expected.tolist()
    back = np.array([fp16.from_float32(x) for x in wide], np.uint16)
    assert np.array_equal(back, canonical(WORDS.view(np.float16)))


def test_from_float32_is_numpy_cast():
    """SPEC.md F10: FP32 to FP16 rounds once, at ties, at the subnormal edge and at overflow."""
    rng = np.random.default_rng(2)
    middles = (np.arange(1 << 16, dtype=np.uint32) << 13) + rng.choice([0xFFF, 0x1000, 0x1001], 1 << 16)
    values = WORDS[:INF].view(np.float16).astype(np.float64)
    halves = (values[:-1] + values[1:]) / 2
    x = np.concatenate(
        [
            rng.integers(0, 1 << 32, 30_000, dtype=np.uint32),
            middles.astype(np.uint32),
            halves.astype(np.float32).view(np.uint32),
            np.array([65504, 65519.996, 65520, 2**-25, 2.0**-25 * 1.0001, -(2**-25)], np.float32).view(
                np.uint32
            ),
        ]
    )
    with np.errstate(all="ignore"):
        expected = canonical(x.view(np.float32).astype(np.float16))
    assert [fp16.from_float32(v) for v in x.tolist()] == expected.tolist()


def test_from_int32():
    """SPEC.md F10 and D2: integers round once; 65520 is where infinity starts, and 0 is +0."""
    rng = random.Random(3)
    values = [0, 1, -1, 2048, 2049, 2050, 2051, -2049, 65504, 65519, 65520, -65520, 2**31 - 1, -(2**31)]
    values += [rng.randrange(-(1 << rng.randrange(1, 32)), 1 << rng.randrange(1, 32)) for _ in range(4000)]
    for mode in MODES:
        for value in values[:600]:
            assert fp16.from_int32(value, mode) == judge(Fraction(value), mode), (value, mode)
    for value in values:
        assert fp16.from_int32(value) == judge(Fraction(value), FloatMode()), value
    assert fp16.from_int32(65519) == MAX
    assert fp16.from_int32(65520) == INF


def operands(seed: int, count: int, arity: int) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    drawn = []
    for _ in range(count):
        words = [rng.choice(SPECIALS) if rng.random() < 0.3 else rng.randrange(1 << 16) for _ in range(arity)]
        if rng.random() < 0.3:  # exponents close to one another, so that sums cancel and ties happen
            words = [word & 0x83FF | (rng.randrange(14, 18) << 10) for word in words]
        drawn.append(tuple(words))
    return [words for words in drawn if is_finite(*words)]


def sum_zero(terms: list[tuple[Fraction, int]], mode: FloatMode) -> int:
    """Word of a zero sum of terms with the given sign bits (F3)."""
    signs = {sign for _, sign in terms}
    if all(value == 0 for value, _ in terms) and len(signs) == 1:
        return signs.pop()
    return NEG if mode.rounding is Rounding.DOWN else 0


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_mode_by_bracketing(mode):
    """SPEC.md F3, F5, F6: add, sub, mul, div and fma choose the right neighbour of the exact result."""
    for a, b, c in operands(seed=4, count=700, arity=3):
        x, y, z = (exact(word, mode.flush) for word in (a, b, c))
        zero = sum_zero([(x, a & NEG), (y, b & NEG)], mode)
        assert fp16.add(a, b, mode) == judge(x + y, mode, zero), (hex(a), hex(b))
        zero = sum_zero([(x, a & NEG), (y, ~b & NEG)], mode)
        assert fp16.sub(a, b, mode) == judge(x - y, mode, zero), (hex(a), hex(b))
        sign = (a ^ b) & NEG
        assert fp16.mul(a, b, mode) == judge(x * y, mode, sign), (hex(a), hex(b))
        if y:
            assert fp16.div(a, b, mode) == judge(x / y, mode, sign), (hex(a), hex(b))
        else:
            assert fp16.div(a, b, mode) == (sign | INF if x else NAN), (hex(a), hex(b))
        zero = sum_zero([(x * y, sign), (z, c & NEG)], mode)
        assert fp16.fma(a, b, c, mode) == judge(x * y + z, mode, zero), (hex(a), hex(b), hex(c))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_sqrt_every_mode(mode):
    """SPEC.md F3: the root lies on the right side of each mode's boundary, decided on squares."""
    rng = random.Random(5)
    for word in [0, 1, 2, 0x3FF, 0x400, 0x3C00, MAX] + [rng.randrange(INF) for _ in range(1500)]:
        value = exact(word, mode.flush)
        low = bisect.bisect_right(GRID, value, key=lambda g: g * g) - 1
        middle = (GRID[low] + GRID[low + 1]) / 2
        up = {
            Rounding.TOWARD_ZERO: False,
            Rounding.DOWN: False,
            Rounding.UP: GRID[low] ** 2 != value,
            Rounding.NEAREST_AWAY: middle**2 <= value,
            Rounding.NEAREST_EVEN: middle**2 < value,  # the middle itself is no FP16 number's root
        }[mode.rounding]
        assert fp16.sqrt(word, mode) == low + up, hex(word)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_from_float32_every_mode(mode):
    """SPEC.md F10, F5: from_float32 rounds under the mode; an FP32 operand itself is not flushed."""
    rng = np.random.default_rng(6)
    fields = rng.integers(100, 145, 1500, dtype=np.uint32) << 23
    x = (
        rng.integers(0, 2, 1500, dtype=np.uint32) << 31
        | fields
        | rng.integers(0, 1 << 23, 1500, dtype=np.uint32)
    )
    x = np.concatenate([x, np.array([1, 0x80000001, 0x007FFFFF, 0, 0x80000000], np.uint32)])
    for word, value in zip(x.tolist(), x.view(np.float32).astype(np.float64).tolist(), strict=True):
        zero = NEG if word >> 31 else 0
        assert fp16.from_float32(word, mode) == judge(Fraction(value), mode, zero), hex(word)


def test_fma_rounds_once_where_two_roundings_differ():
    """SPEC.md F2: fma is one rounding; the product's low bits decide a tie that mul then add loses."""
    a, b, c = 0x3C01, 0x3C01, 0x9000  # (1 + 2^-10)^2 - 2^-11
    assert fp16.fma(a, b, c) == judge(exact(a, False) * exact(b, False) + exact(c, False), FloatMode())
    differ = [
        words
        for words in operands(seed=7, count=4000, arity=3)
        if fp16.fma(*words) != fp16.add(fp16.mul(words[0], words[1]), words[2])
    ]
    assert differ


def test_nan_and_infinity_rules():
    """SPEC.md F4, F6: NaN canonical, invalid operations NaN, infinities propagate under saturate too."""
    for mode in MODES:
        for nan in (0x7C01, 0x7E00, 0xFFFF):
            results = [fp16.add(nan, 0, mode), fp16.sub(INF, nan, mode), fp16.mul(0, nan, mode)]
            results += [fp16.div(nan, nan, mode), fp16.fma(INF, 0, nan, mode), fp16.sqrt(nan, mode)]
            assert results == [NAN] * 6
        invalid = [fp16.add(INF, INF | NEG, mode), fp16.sub(INF, INF, mode), fp16.mul(0, INF, mode)]
        invalid += [fp16.div(0, NEG, mode), fp16.div(INF, INF, mode), fp16.sqrt(0xBC00, mode)]
        invalid += [fp16.fma(NEG, INF, 0x3C00, mode), fp16.fma(INF, 0x3C00, INF | NEG, mode)]
        assert invalid == [NAN] * 8
        assert fp16.add(INF, MAX | NEG, mode) == INF
        assert fp16.mul(INF | NEG, 0x3C00, mode) == INF | NEG
        assert fp16.div(0xBC00, 0, mode) == INF | NEG
        assert fp16.div(0x3C00, INF | NEG, mode) == NEG
        assert fp16.sqrt(INF, mode) == INF
        assert fp16.from_float32(0xFF800000, mode) == INF | NEG
        assert fp16.from_float32(0xFF800001, mode) == NAN


def test_zero_signs():
    """SPEC.md F3, F4: zero sums, x + x, signed products and quotients."""
    down = FloatMode(Rounding.DOWN)
    assert fp16.add(0x3C00, 0xBC00) == 0
    assert fp16.add(0x3C00, 0xBC00, down) == NEG
    assert fp16.add(0, NEG) == 0
    assert fp16.add(NEG, 0, down) == NEG
    assert fp16.add(NEG, NEG) == NEG
    assert fp16.add(0, 0, down) == 0
    assert fp16.sub(NEG, 0) == NEG
    assert fp16.mul(NEG, 0x3C00) == NEG
    assert fp16.mul(NEG, 0xBC00) == 0
    assert fp16.div(NEG, 0x3C00) == NEG


def test_flush():
    """SPEC.md F5: subnormal operands read as signed zeros, subnormal results after rounding flush."""
    flush = FloatMode(flush=True)
    assert fp16.add(0x03FF, 0x8001, flush) == 0
    assert fp16.add(0x83FF, 0x8001, flush) == NEG
    assert fp16.mul(0x83FF, 0x7800, flush) == NEG
    assert fp16.mul(0x0400, 0x3800, flush) == 0
    assert fp16.div(0x3C00, 0x0001, flush) == INF
    assert fp16.div(0x0001, 0x8001, flush) == NAN
    assert fp16.sqrt(0x8001, flush) == NEG
    assert fp16.to_float32(0x8001, flush) == 0x80000000
    # 2^-14 * (1 - 2^-11) is the tie below the least normal number: it rounds to it, is normal, and stays.
    assert fp16.from_float32(0x387FE000, flush) == 0x0400
    assert fp16.from_float32(0x387FDFFF) == 0x03FF
    assert fp16.from_float32(0x387FDFFF, flush) == 0
    assert fp16.from_float32(0xB87FDFFF, flush) == NEG


def test_overflow_boundary():
    """SPEC.md F6: what exceeds 65504 after rounding overflows, in each mode's own way."""
    expected = {
        Rounding.NEAREST_EVEN: (INF, INF | NEG),
        Rounding.NEAREST_AWAY: (INF, INF | NEG),
        Rounding.TOWARD_ZERO: (MAX, MAX | NEG),
        Rounding.UP: (INF, MAX | NEG),
        Rounding.DOWN: (MAX, INF | NEG),
    }
    for rounding, (positive, negative) in expected.items():
        assert fp16.add(MAX, MAX, FloatMode(rounding)) == positive
        assert fp16.add(MAX | NEG, MAX | NEG, FloatMode(rounding)) == negative
        saturate = FloatMode(rounding, Overflow.SATURATE)
        assert fp16.mul(MAX, MAX, saturate) == MAX
        assert fp16.mul(MAX, MAX | NEG, saturate) == MAX | NEG


def test_fp32_helpers_agree_on_shared_words():
    """SPEC.md F9: FP16 operands widened to FP32 multiply exactly there."""
    rng = random.Random(8)
    for _ in range(2000):
        a, b = rng.randrange(INF), rng.randrange(INF)
        product = fp32.mul(fp16.to_float32(a), fp16.to_float32(b))
        value = np.array(product, np.uint32).view(np.float32)
        assert Fraction(float(value)) == GRID[a] * GRID[b]
