"""The C model's single words and arrays: every word, every mode, against numpy and the scalar oracle."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow.contract import arithmetic
from bitrow.export.c_model import CModel
from bitrow.export.scalars import MODES
from bitrow.formats import FP16, FP32, AccOverflow, Accumulator, FloatMode, Fxp
from bitrow.oracle import fp16, fp32, fxp, lfsr, softfloat
from bitrow.oracle.arrays import map_words
from bitrow.proofs import judges
from bitrow.testing import float_modes
from bitrow.testing.words import fp16_bits, fp32_bits
from c_library import needs_compiler
from draws import examples

pytestmark = needs_compiler
EVERY = judges.EVERY_WORD
NAN = FP16.infinity_bits < (EVERY & 0x7FFF)
TWO = ("add", "sub", "mul", "div")


def flushed(words: np.ndarray, mode: FloatMode) -> np.ndarray:
    return judges.flushed(words) if mode.flush else words


@pytest.mark.parametrize(
    "mode", MODES.values(), ids=lambda mode: f"{mode.rounding.value}-{mode.overflow.value}-{mode.flush}"
)
def test_every_word_in_every_mode(c_model: CModel, mode: FloatMode) -> None:
    """SPEC.md F2 to F5, F10: roots of all 65,536 words, conversions to FP32 and back, by numpy and exact brackets."""
    read = flushed(EVERY, mode)
    values = np.where(NAN, 0, read.view(np.float16).astype(np.float64))
    with np.errstate(invalid="ignore"):
        roots = np.sqrt(np.where(np.isfinite(values) & (values > 0), values, 0))
    expected = np.where(values > 0, judges.signed(roots).rounded(mode), read)  # zeros keep their sign
    expected = np.where(NAN | (values < 0), FP16.nan_bits, np.where(read == FP16.infinity_bits, read, expected))
    assert np.array_equal(c_model.array("fp16_sqrt", mode, EVERY), expected)

    with np.errstate(invalid="ignore"):
        wide = np.where(NAN, np.uint32(FP32.nan_bits), read.view(np.float16).astype(np.float32).view(np.uint32))
    assert np.array_equal(c_model.array("fp16_to_fp32", mode, EVERY), wide)
    assert np.array_equal(c_model.array("fp16_from_fp32", mode, wide), np.where(NAN, FP16.nan_bits, read))


def test_every_word_of_what_selects(c_model: CModel) -> None:
    """SPEC.md A1, F4, Q3: ReLU, ReLU6, canonical words, a step of the LFSR."""
    mode = FloatMode()
    for name, function in (("relu", arithmetic.relu), ("relu6", lambda x: arithmetic.relu(x, True)),
                           ("canonical", fp16.canonical), ("lfsr_step", lfsr.step)):  # fmt: skip
        assert np.array_equal(c_model.array(name, mode, EVERY), map_words(function, np.uint16, EVERY)), name


@pytest.mark.parametrize(
    "fmt", [Fxp(2), Fxp(4), Fxp(4, narrow=True), Fxp(5, signed=False), Fxp(8), Fxp(8, signed=False)], ids=str
)
def test_every_word_quantized(c_model: CModel, fmt: Fxp) -> None:
    """SPEC.md Q1, Q2, Q3, Q4: codes and masks of all 65,536 words; drawn codes with words of every size."""
    drawn = lfsr.words(0xACE1, 0, EVERY.size)
    code, inside, by_word = (c_model.raw(f"bw_{name}") for name in ("quantize", "inside", "quantize_drawn"))
    for function in (code, inside):
        function.argtypes = [np.ctypeslib.ctypes.c_uint16] + [np.ctypeslib.ctypes.c_int32] * 2
    by_word.argtypes = [np.ctypeslib.ctypes.c_uint16] * 2 + [np.ctypeslib.ctypes.c_int32] * 2
    for t, word in zip(EVERY.tolist(), drawn, strict=True):
        assert code(t, fmt.min, fmt.max) == fxp.code(t, fmt), hex(t)
        assert inside(t, fmt.min, fmt.max) & 0xFF == fxp.mask(t, fmt), hex(t)
        assert by_word(t, word, fmt.min, fmt.max) == fxp.drawn_code(t, word, fmt), (hex(t), hex(word))


@examples(60)
@given(mode=float_modes(), triples=st.lists(st.tuples(*[fp16_bits()] * 3), min_size=1, max_size=64), data=st.data())
def test_arithmetic_of_drawn_words(
    c_model: CModel,
    mode: FloatMode,
    triples: list[tuple[int, int, int]],
    data: st.DataObject,
) -> None:
    """SPEC.md F2 to F6: sums, products, quotients and fma in every mode; arrays and single words agree."""
    a, b, c = (np.array(column, np.uint16) for column in zip(*triples, strict=True))
    for name in TWO:
        expected = map_words(lambda x, y, name=name: getattr(fp16, name)(x, y, mode), np.uint16, a, b)
        assert np.array_equal(c_model.array(f"fp16_{name}", mode, a, b), expected), name
        if mode == FloatMode():
            assert c_model.function(f"fp16_{name}")(0, int(a[0]), int(b[0])) == expected[0]
    expected = map_words(lambda *words: fp16.fma(*words, mode), np.uint16, a, b, c)
    assert np.array_equal(c_model.array("fp16_fma", mode, a, b, c), expected)


@examples(60)
@given(mode=float_modes(), pairs=st.lists(st.tuples(fp32_bits(), fp32_bits()), min_size=1, max_size=64))
def test_fp32_of_drawn_words(c_model: CModel, mode: FloatMode, pairs: list[tuple[int, int]]) -> None:
    """SPEC.md F9, F10, A3, A4, D1: FP32, FP32 to FP16 rounded once, integers in every mode."""
    a, b = (np.array(column, np.uint32) for column in zip(*pairs, strict=True))
    for name in TWO:
        expected = map_words(getattr(fp32, name), np.uint32, a, b)
        assert np.array_equal(c_model.array(f"fp32_{name}", mode, a, b), expected), name
    assert np.array_equal(c_model.array("fp32_sqrt", mode, a), map_words(fp32.sqrt, np.uint32, a))
    for name in ("add", "mul"):
        once = getattr(softfloat, name)
        expected = map_words(lambda x, y, once=once: once(FP16, fp32.read(x), fp32.read(y), mode), np.uint16, a, b)
        assert np.array_equal(c_model.array(f"fp16_{name}_fp32", mode, a, b), expected), name
    expected = map_words(lambda x: fp16.from_float32(x, mode), np.uint16, a)
    assert np.array_equal(c_model.array("fp16_from_fp32", mode, a), expected)
    integers = a.view(np.int32)
    expected = map_words(lambda x: fp16.from_int32(x, mode), np.uint16, integers)
    assert np.array_equal(c_model.array("fp16_from_int32", mode, integers), expected)


def test_some_rows_of_all_pairs(c_model: CModel) -> None:
    """SPEC.md F2: first operands of every kind with all 65,536 second ones, in the loops for arrays, by numpy."""
    firsts = np.array([0, 1, 0x3FF, 0x400, 0x1234, 0x3C00, 0x7BFF, 0x7C00, 0x7E00, 0xFFFF, 0x8000, 0xB5A7], np.uint16)
    for name, judge in (("add", np.add), ("sub", np.subtract), ("mul", np.multiply)):
        for first in firsts:
            a = np.full(EVERY.size, first, np.uint16)
            with np.errstate(all="ignore"):
                expected = judges.canonical(judge(a.view(np.float16), EVERY.view(np.float16)).view(np.uint16))
            assert np.array_equal(c_model.array(f"fp16_{name}", FloatMode(), a, EVERY), expected), (name, hex(first))


def test_registers_streams_and_rows(c_model: CModel) -> None:
    """SPEC.md M2, Q3, Q5, D1: products into registers of every width, jumps of the LFSR, rows packed and unpacked."""
    import ctypes

    wrap, clamp = c_model.raw("bw_mac_wrap"), c_model.raw("bw_mac_saturate")
    for bits in (8, 9, 24, 31, 32):
        acc = Accumulator(bits, AccOverflow.SATURATE)
        for start, x, weight in (
            (acc.max, 7, 7),
            (acc.min, -8, 7),
            (0, -128, 127),
            (acc.max - 1, 1, 1),
            (-1, 255, -128),
        ):
            assert wrap(start, x, weight, bits) == fxp.wrap(start + x * weight, bits)
            assert clamp(start, x, weight, bits) == min(max(start + x * weight, acc.min), acc.max)
    jump = c_model.raw("bw_lfsr_jump")
    jump.argtypes, jump.restype = [ctypes.c_uint16, ctypes.c_uint64], ctypes.c_uint16
    for steps in (0, 1, 65534, 65535, 1 << 40):
        assert jump(0xACE1, steps) == lfsr.jump(0xACE1, steps)
    dequantize, twice = c_model.raw("bw_dequantize"), c_model.raw("bw_dequantize_two_step")
    for function in (dequantize, twice):
        function.argtypes, function.restype = [ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint16], ctypes.c_uint16
    for acc in (-(1 << 31), -8388608, -1, 0, 3, 65519, 8388607):
        assert dequantize(0, acc, 0x2C96) == softfloat.mul(FP16, softfloat.integer(acc), fp16.read(0x2C96))
        assert twice(0, acc, 0x2C96) == fp16.mul(fp16.from_int32(acc), 0x2C96)


def test_the_results_of_the_first_operands_have_their_hash(c_model: CModel) -> None:
    """SPEC.md F2: how `make exhaustive` hashes the C model, on its first chunk."""
    from bitrow.proofs import fp16_hashes

    first = next(iter(fp16_hashes.operands("add")))
    a, b = (
        np.ascontiguousarray(np.broadcast_to(x, (fp16_hashes.FIRST_PER_CHUNK, 65536))).view(np.uint16) for x in first
    )
    found = c_model.array("fp16_add", FloatMode(), a, b).reshape(-1)
    expected = fp16_hashes.judge("add", first)
    assert hashlib.sha256(found.astype("<u2")).digest() == hashlib.sha256(expected.astype("<u2")).digest()
