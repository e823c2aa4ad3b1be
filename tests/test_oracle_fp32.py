"""The oracle's FP32 arithmetic and its binary64 steps, judged by numpy and by Python's floats."""

from __future__ import annotations

import math
import random
import struct
from fractions import Fraction

import numpy as np
import pytest

from bitrow.formats import FP16, FP32, Float, FloatMode, Overflow, Rounding
from bitrow.oracle import fp32, softfloat

NAN = 0x7FC00000
SPECIALS = [
    0,
    1,
    2,
    0x007FFFFF,
    0x00800000,
    0x00800001,
    0x3F7FFFFF,
    0x3F800000,
    0x3F800001,
    0x40490FDB,
    0x7F7FFFFF,
    0x7F800000,
    0x7F800001,
    NAN,
    0x7FFFFFFF,
    0x4B800000,
    0x33800000,
]
SPECIALS += [word | 1 << 31 for word in SPECIALS]
BINARY64 = Float(11, 52)


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = np.meshgrid(np.array(SPECIALS, np.uint32), np.array(SPECIALS, np.uint32))
    first = rng.integers(0, 1 << 32, count, dtype=np.uint32)
    second = rng.integers(0, 1 << 32, count, dtype=np.uint32)
    # Half of the second operands share the first's exponent within a few places.
    shared = (first & np.uint32(0x7F800000)).astype(np.int64) + (rng.integers(-4, 5, count) << 23)
    shared = np.clip(shared, 0, 0x7F000000).astype(np.uint32) | (second & np.uint32(0x807FFFFF))
    second = np.where(rng.random(count) < 0.5, shared, second)
    return np.concatenate([a.ravel(), first]), np.concatenate([b.ravel(), second])


def canonical(result: np.ndarray) -> list[int]:
    return np.where(np.isnan(result), np.uint32(NAN), result.view(np.uint32)).tolist()


@pytest.mark.parametrize(
    ("ours", "judged"),
    [(fp32.add, np.add), (fp32.sub, np.subtract), (fp32.mul, np.multiply), (fp32.div, np.divide)],
    ids=["add", "sub", "mul", "div"],
)
def test_operations_are_numpy_float32(ours, judged):
    """SPEC.md F9, F4: nearest even, subnormals kept, overflow to infinity, NaN canonical."""
    a, b = draw(20_000, seed=1)
    with np.errstate(all="ignore"):
        expected = canonical(judged(a.view(np.float32), b.view(np.float32)))
    assert [ours(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)] == expected


def test_sqrt_is_numpy_float32():
    """SPEC.md F9: the root rounds once."""
    a, _ = draw(30_000, seed=2)
    with np.errstate(all="ignore"):
        expected = canonical(np.sqrt(a.view(np.float32)))
    assert [fp32.sqrt(x) for x in a.tolist()] == expected


def test_from_fraction_is_the_nearest_number():
    """SPEC.md B2, A3: `m` and `inv_n` are 1/n rounded once; numpy's 1/n is the judge."""
    for n in [*range(1, 400), 784, 1568, 100352, 2**24 + 1, 2**30]:
        exact_n = Fraction(1, n)
        assert fp32.from_fraction(exact_n) == int(
            np.array(1 / n, np.float64).astype(np.float32).view(np.uint32)
        )
    assert softfloat.from_fraction(FP16, Fraction(0), zero_sign=1) == 0x8000
    assert softfloat.from_fraction(FP16, Fraction(-1, 3)) == int(np.float16(-1 / 3).view(np.uint16))


def test_from_fraction_in_every_mode_lies_beside_the_exact_value():
    """SPEC.md F3: up and down bracket the rational, toward_zero is the smaller, nearest is one of them."""
    rng = random.Random(3)
    for _ in range(3000):
        value = Fraction(rng.randrange(1, 10**9), rng.randrange(1, 10**9)) * Fraction(2) ** rng.randrange(
            -30, 12
        )
        if value > 65504:
            continue
        down, up, zero, even, away = (
            softfloat.from_fraction(FP16, value, FloatMode(rounding))
            for rounding in (
                Rounding.DOWN,
                Rounding.UP,
                Rounding.TOWARD_ZERO,
                Rounding.NEAREST_EVEN,
                Rounding.NEAREST_AWAY,
            )
        )
        low = softfloat.exact(softfloat.unpack(FP16, down))
        assert zero == down and up - down in (0, 1) and low <= value
        high = (
            low
            if up == down
            else softfloat.exact(softfloat.unpack(FP16, up))
            if up < 0x7C00
            else Fraction(65536)
        )
        assert value <= high
        nearer = down if value - low < high - value else up
        if value - low != high - value:
            assert even == away == nearer
        else:
            assert away == up and even == (down if down % 2 == 0 else up)


def test_from_fraction_overflow_and_sign():
    """SPEC.md F6: saturate holds for both signs and in every rounding."""
    for rounding in Rounding:
        mode = FloatMode(rounding, Overflow.SATURATE)
        assert softfloat.from_fraction(FP16, Fraction(10**9), mode) == 0x7BFF
        assert softfloat.from_fraction(FP16, Fraction(-(10**9)), mode) == 0xFBFF


def test_unpack_and_round_return_every_kind_of_word():
    """SPEC.md F1: a finite word is its own exact value."""
    rng = random.Random(4)
    for fmt in (FP16, FP32, BINARY64):
        for _ in range(3000):
            word = rng.randrange(1 << fmt.bits)
            number = softfloat.unpack(fmt, word)
            if number.kind is not softfloat.NumberKind.NAN:
                assert softfloat.round_number(fmt, number) == word
            else:
                assert softfloat.round_number(fmt, number) == fmt.nan_bits
    with pytest.raises(ValueError, match="finite"):
        softfloat.exact(softfloat.unpack(FP16, 0x7C00))


def test_binary64_is_the_host_arithmetic_of_the_fold():
    """SPEC.md B1: the generic functions at binary64 give Python's correctly rounded +, *, / and sqrt."""

    def bits(value: float) -> int:
        return struct.unpack("<Q", struct.pack("<d", value))[0]

    rng = random.Random(5)
    for _ in range(4000):
        x = math.ldexp(rng.uniform(-2, 2), rng.randrange(-40, 40))
        y = math.ldexp(rng.uniform(-2, 2), rng.randrange(-40, 40))
        a, b = softfloat.unpack(BINARY64, bits(x)), softfloat.unpack(BINARY64, bits(y))
        assert softfloat.add(BINARY64, a, b) == bits(x + y)
        assert softfloat.mul(BINARY64, a, b) == bits(x * y)
        assert softfloat.div(BINARY64, a, b) == bits(x / y)
        root = softfloat.sqrt(BINARY64, softfloat.unpack(BINARY64, bits(abs(x))))
        assert root == bits(math.sqrt(abs(x)))
