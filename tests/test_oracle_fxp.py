"""The oracle's fixed point, judged by definitions on Fractions and by numpy integers."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest

import scalar_fxp
from bitrow.errors import BitrowError
from bitrow.formats import AccOverflow, Accumulator, Dequantize, FloatMode, Fxp, Overflow, Rounding
from bitrow.oracle import fp16, fxp, lfsr

FORMATS = [
    Fxp(bits, signed, narrow)
    for bits in range(2, 9)
    for signed, narrow in ((True, False), (True, True), (False, False))
]
ONE = 0x3C00


def value(word: int) -> float:
    return float(np.array(word, np.uint16).view(np.float16))


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_codes_of_every_word(fmt):
    """SPEC.md F7, Q1, Q2, Q4: rint to even, clip, NaN to 0, infinities to the ends, mask."""
    low = -(2 ** (fmt.bits - 1)) + fmt.narrow if fmt.signed else 0
    high = 2 ** (fmt.bits - 1) - 1 if fmt.signed else 2**fmt.bits - 1
    words = np.arange(1 << 16, dtype=np.uint16)
    numbers = words.view(np.float16).tolist()
    found = scalar_fxp.quantize_each(words, ONE, fmt)
    for word, number, (t, code, mask) in zip(words.tolist(), numbers, found, strict=True):
        if math.isnan(number):
            assert (t, code, mask) == (0x7E00, 0, 0)
        elif math.isinf(number):
            assert (t, code, mask) == (word, low if number < 0 else high, 0)
        else:
            nearest = round(number)  # Python rounds to nearest, ties to even
            assert (t, code) == (word, min(max(nearest, low), high))
            assert mask == (low <= nearest <= high)


def test_quantize_rounds_t_under_the_mode_and_the_code_to_even():
    """SPEC.md Q1: t follows F3's mode, rint does not."""
    fmt, rng = Fxp(8), random.Random(1)
    for _ in range(3000):
        x, inverse = rng.randrange(0x7C00) | rng.randrange(2) << 15, rng.randrange(0x0400, 0x7400)
        for rounding in Rounding:
            mode = FloatMode(rounding, rng.choice(list(Overflow)), rng.random() < 0.5)
            t, code, _ = scalar_fxp.quantize(x, inverse, fmt, mode)
            assert t == fp16.mul(x, inverse, mode)
            expected = round(Fraction(value(t))) if t & 0x7FFF < 0x7C00 else (-128 if t >> 15 else 127)
            assert code == min(max(expected, -128), 127)
    assert scalar_fxp.quantize(0x3E00, ONE, fmt, FloatMode(Rounding.UP)).code == 2  # 1.5
    assert scalar_fxp.quantize(0x4100, ONE, fmt, FloatMode(Rounding.UP)).code == 2  # 2.5


@pytest.mark.parametrize("fmt", [Fxp(4), Fxp(4, True, True), Fxp(4, False), Fxp(8)], ids=str)
def test_stochastic_is_floor_of_the_exact_sum(fmt):
    """SPEC.md Q3: floor(t + word/65536), exact; the mask remains Q4's."""
    rng = random.Random(2)
    for _ in range(6000):
        x = rng.choice([rng.randrange(1 << 16), rng.randrange(0x3000, 0x4900) | rng.randrange(2) << 15])
        word = rng.choice([1, 0x7FFF, 0x8000, 0xFFFF, rng.randrange(1, 1 << 16)])
        t, code, mask = scalar_fxp.quantize_stochastic(x, ONE, word, fmt)
        plain = scalar_fxp.quantize(x, ONE, fmt)
        assert (t, mask) == (plain.t, plain.mask)
        if t & 0x7FFF >= 0x7C00:
            assert code == plain.code
        else:
            exact = math.floor(Fraction(value(t)) + Fraction(word, 65536))
            assert code == min(max(exact, fmt.min), fmt.max)


def test_lfsr_steps_and_period():
    """SPEC.md Q3: the 0xB400 Galois register visits 65,535 states before its seed returns."""
    assert [lfsr.step(1), lfsr.step(0xB400), lfsr.step(0x5A00), lfsr.step(2), lfsr.step(3)] == [
        0xB400,
        0x5A00,
        0x2D00,
        0x0001,
        0xB401,
    ]
    state, seen = 0xACE1, set()
    for _ in range(65535):
        state = lfsr.step(state)
        seen.add(state)
    assert state == 0xACE1 and len(seen) == 65535 and 0 not in seen
    # The first states after 0xACE1, worked out by hand from the definition.
    assert lfsr.words(0xACE1, 0, 4) == [0xE270, 0x7138, 0x389C, 0x1C4E]


def test_lfsr_jump_is_stepping():
    """SPEC.md Q3: element i takes the state after i+1 steps, wherever a unit starts."""
    rng = random.Random(3)
    for _ in range(20):
        seed, steps = rng.randrange(1, 1 << 16), rng.randrange(3000)
        state = seed
        for _ in range(steps):
            state = lfsr.step(state)
        assert lfsr.jump(seed, steps) == state
        assert lfsr.jump(seed, steps + 65535 * rng.randrange(1, 1000)) == state
    whole = lfsr.words(77, 0, 500)
    assert whole[0] == lfsr.step(77)
    assert lfsr.words(77, 0, 123) + lfsr.words(77, 123, 377) == whole
    assert lfsr.words(77, 5, 0) == []


@pytest.mark.parametrize("state", [0, -1, 65536])
def test_lfsr_refuses_what_is_no_state(state):
    """SPEC.md Q3: the seed is nonzero and has 16 bits."""
    with pytest.raises(BitrowError, match="LFSR state"):
        lfsr.jump(state, 1)


def test_pack_nibbles():
    """SPEC.md Q5: the lower index in the low nibble, an odd row's last nibble 0, wider codes a byte."""
    assert fxp.pack([1, -2, 7], Fxp(4)) == [0xE1, 0x07]
    assert fxp.pack([15, 0, 3, 9], Fxp(4, signed=False)) == [0x0F, 0x93]
    assert fxp.pack([-1, 127, -128], Fxp(8)) == [0xFF, 0x7F, 0x80]
    assert fxp.pack([], Fxp(4)) == []


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_unpack_returns_the_codes(fmt):
    """SPEC.md Q5: packing loses nothing, at even and odd lengths."""
    rng = random.Random(4)
    for count in (0, 1, 2, 3, 7, 8, 33):
        codes = [rng.randint(fmt.min, fmt.max) for _ in range(count)]
        packed = fxp.pack(codes, fmt)
        assert len(packed) == (count if fmt.bits > 4 else (count + 1) // 2)
        assert all(0 <= word < 256 for word in packed)
        assert fxp.unpack(packed, fmt, count) == codes


def draw_codes(seed: int, terms: int) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(-8, 8, terms).tolist(), rng.integers(-8, 8, terms).tolist()


def test_mac_is_exact_and_wrap_is_twos_complement():
    """SPEC.md M1, M2: numpy's int64 sum, and its low bits."""
    for seed in range(200):
        x, weight = draw_codes(seed, 1 + seed)
        total = int(np.dot(np.array(x, np.int64), np.array(weight, np.int64)))
        assert fxp.mac(x, weight, Accumulator(32)) == total
        for bits in (8, 9, 12):
            low = total & ((1 << bits) - 1)
            expected = low - (1 << bits) if low >> (bits - 1) else low
            assert fxp.mac(x, weight, Accumulator(bits, AccOverflow.WRAP)) == expected


def test_mac_error_quotes_the_sum():
    """SPEC.md M2: a sum that does not fit is refused, never returned."""
    x, weight = [-8] * 2, [-8] * 2
    assert fxp.mac(x[:1], weight[:1], Accumulator(8)) == 64
    with pytest.raises(BitrowError, match="128"):
        fxp.mac(x, weight, Accumulator(8))


def test_mac_saturates_at_each_step():
    """SPEC.md M2: the register clamps after each product, so the order shows."""
    eight = Accumulator(8, AccOverflow.SATURATE)
    assert fxp.mac_running([-8, -8, -8, 1], [-8, -8, -8, -8], eight) == [64, 127, 127, 119]
    assert fxp.mac([1, -8, -8, -8], [-8, -8, -8, -8], eight) == 127
    assert fxp.mac([], [], eight) == 0
    # A single product may exceed the register's whole range, from either end of it.
    assert fxp.mac_running([-128, 100, 127, -128], [-8, 7, -8, -8], eight) == [127, 127, -128, 127]
    for seed in range(100):
        x, weight = draw_codes(seed, 60)
        register, expected = 0, []
        for product in (np.array(x) * np.array(weight)).tolist():
            register = max(-128, min(127, register + product))
            expected.append(register)
        assert fxp.mac_running(x, weight, eight) == expected
        assert fxp.mac(x, weight, eight) == expected[-1]


def test_dequantize_fused_rounds_the_exact_product_once():
    """SPEC.md D1: fp16(acc * scale) by bracketing in float64, exact here; a zero accumulator gives +0."""
    rng = random.Random(5)
    for _ in range(5000):
        acc = rng.randrange(-(1 << rng.randrange(1, 24)), 1 << rng.randrange(1, 24))
        scale = rng.randrange(0x0400, 0x7400)
        product = acc * value(scale)  # 35 bits: exact in binary64
        with np.errstate(over="ignore"):
            low = np.array(product, np.float64)
            expected = nearest_fp16(Fraction(float(low)))
        acc_fp16, deq = scalar_fxp.dequantize(acc, scale, Dequantize.FUSED)
        assert acc_fp16 is None and deq == expected, (acc, hex(scale))
    assert scalar_fxp.dequantize(0, 0x3C00, Dequantize.FUSED).deq == 0
    assert scalar_fxp.dequantize(0, 0x3C00, Dequantize.FUSED, FloatMode(Rounding.DOWN)).deq == 0


def nearest_fp16(exact: Fraction) -> int:
    """Nearest FP16 word, ties to even, found between neighbours of an approximation."""
    sign = 0x8000 if exact < 0 else 0
    size = abs(exact)
    if size >= 65520:
        return sign | 0x7C00
    guess = int(np.float16(min(float(size), 65504.0)).view(np.uint16))
    near = [word for word in (guess - 1, guess, guess + 1) if 0 <= word < 0x7C00]
    return sign | min(near, key=lambda word: (abs(Fraction(value(word)) - size), word & 1))


def test_dequantize_two_step():
    """SPEC.md D2: from_int32 then fp16_mul; infinite from 65520 up, and not always what fused gives."""
    rng, differ = random.Random(6), 0
    for _ in range(3000):
        acc, scale = rng.randrange(-(1 << 23), 1 << 23), rng.randrange(0x0400, 0x4400)
        acc_fp16, deq = scalar_fxp.dequantize(acc, scale, Dequantize.TWO_STEP)
        assert acc_fp16 == nearest_fp16(Fraction(acc)) and deq == fp16.mul(acc_fp16, scale)
        differ += deq != scalar_fxp.dequantize(acc, scale, Dequantize.FUSED).deq
    assert differ
    assert scalar_fxp.dequantize(65519, 0x2C00, Dequantize.TWO_STEP).acc_fp16 == 0x7BFF
    assert scalar_fxp.dequantize(65520, 0x2C00, Dequantize.TWO_STEP) == (0x7C00, 0x7C00)
