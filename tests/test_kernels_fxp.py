"""Quantizer, dequantizer, packing and LFSR on drawn words: oracle = eager = compiled = vmap, bit for bit."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import scalar_fxp
from bitrow.errors import BitrowError
from bitrow.formats import LFSR_PERIOD, LFSR_TAPS, Dequantize, FloatMode, Fxp
from bitrow.ops import fxp, lfsr, mac
from bitrow.oracle import fxp as judge_fxp
from bitrow.oracle import lfsr as judge_lfsr
from bitrow.testing import codes, float_modes, fxp_formats, int32s, scales, seeds
from bitrow.vectors.problem import Problem
from draws import examples
from kernel_judges import drawn, judge

CODES = ["fxp.quantize", "fxp.quantize_stochastic", "fxp.dequantize", "fxp.pack"]
FIXED_SHAPES = [(1,), (5,), (2, 3, 4)]
ALL_STATES = np.arange(1, 1 << 16, dtype=np.uint16)


@pytest.fixture(scope="module", autouse=True)
def forget_compiled() -> Iterator[None]:
    """Compiled programs go when the file is done: no other file has a use for them."""
    yield
    jax.clear_caches()


@pytest.mark.parametrize("name", CODES)
@examples(11, shrink=False)
@given(data=st.data(), vmap=st.booleans())
def test_eager(name: str, data: st.DataObject, vmap: bool) -> None:
    """SPEC.md F7, F8, Q1, Q2, Q3, Q4, Q5, D1, D2, D3: every format, mode, scale, register and dequantizer."""
    judge(data.draw(drawn(name, 4)), compiled=False, vmap=vmap)


@pytest.mark.parametrize("name", CODES)
@examples(6, shrink=False)
@given(data=st.data(), vmap=st.booleans())
def test_compiled(name: str, data: st.DataObject, vmap: bool) -> None:
    """SPEC.md F7, F8, Q1, Q2, Q3, Q4, Q5, D1, D2, D3: compiled whole, and under vmap."""
    judge(data.draw(drawn(name, 4)), compiled=True, vmap=vmap)


@examples(1, shrink=False)
@given(drawn("lfsr.words", 3))
def test_lfsr_of_the_registry(problems: list[Problem]) -> None:
    """SPEC.md Q3: runs of words, compiled, eager under vmap."""
    judge(problems, compiled=False, vmap=True)
    judge(problems, compiled=True, vmap=False)


BOUNDS = (fxp.EXACT_PRODUCT, fxp.EXACT_INTEGER, fxp.EXACT_SPLIT, 1 << 31)  # where the kernel changes its path


@examples(25, shrink=False)
@given(data=st.data(), mode=float_modes(), scale=scales(), method=st.sampled_from(tuple(Dequantize)))
def test_dequantizer_has_one_result(data: st.DataObject, mode: FloatMode, scale: int, method: Dequantize) -> None:
    """SPEC.md D1, D2: the short paths that a small accumulator allows give what the long one gives."""
    bound = data.draw(st.sampled_from(BOUNDS))
    inside = int32s().map(lambda i: max(-bound, min(bound - (bound >> 31), i)))
    ends = st.sampled_from((bound - (bound >> 31), -bound))
    acc = data.draw(st.lists(inside | ends, min_size=64, max_size=64))
    expected = [scalar_fxp.dequantize(a, scale, method, mode).deq for a in acc]
    half = jnp.asarray(np.array(scale, np.uint16).view(np.float16))
    for allowed in BOUNDS[BOUNDS.index(bound) :]:
        found = fxp.dequantize(jnp.asarray(acc, jnp.int32), half, allowed, method, mode)
        np.testing.assert_array_equal(np.asarray(found).view(np.uint16), np.array(expected, np.uint16))


@examples(25, shrink=False)
@given(data=st.data(), fmt=fxp_formats(most=4), width=st.integers(1, 6))
def test_pack_and_unpack(data: st.DataObject, fmt: Fxp, width: int) -> None:
    """SPEC.md Q5, F7: there and back, as the oracle packs; what stands in a last high nibble is not read."""
    code = data.draw(codes(fmt, (3, width)))
    packed = fxp.pack(jnp.asarray(code))
    assert np.asarray(packed).tolist() == [judge_fxp.pack(row, fmt) for row in code.tolist()]
    dirty = np.asarray(packed).copy()
    if width % 2:
        assert not (dirty[:, -1] >> 4).any()
        dirty[:, -1] |= 0xA0
    for words in (np.asarray(packed), dirty):
        found = np.asarray(fxp.unpack(jnp.asarray(words), fmt, width))
        assert found.dtype == code.dtype
        np.testing.assert_array_equal(found, code)
        assert found.tolist() == [judge_fxp.unpack(row, fmt, width) for row in words.tolist()]


@examples(25, shrink=False)
@given(values=st.lists(int32s(), min_size=32, max_size=32), bits=st.integers(8, 32))
def test_register_wraps(values: list[int], bits: int) -> None:
    """SPEC.md M2: two's complement of the register's width."""
    found = mac.wrap(jnp.asarray(values, jnp.int32), bits)
    assert np.asarray(found).tolist() == [judge_fxp.wrap(v, bits) for v in values]


def test_lfsr_steps_through_every_state() -> None:
    """SPEC.md Q3: one step is a shift and the taps, and one cycle of 65,535 steps holds all states but zero."""
    found = np.asarray(lfsr.step(jnp.asarray(ALL_STATES)))
    shifted = ALL_STATES >> 1
    np.testing.assert_array_equal(found, np.where(ALL_STATES & 1, shifted ^ np.uint16(LFSR_TAPS), shifted))
    state, seen = 1, 0
    following = dict(zip(ALL_STATES.tolist(), found.tolist(), strict=True))
    while seen == 0 or state != 1:
        state, seen = following[state], seen + 1
    assert seen == LFSR_PERIOD


@functools.cache
def jumps():
    return jax.jit(lfsr.jump), jax.jit(lambda state, steps: lfsr.jump(lfsr.jump(state, steps[0]), steps[1]))


@examples(20, shrink=False)
@given(seed=seeds(), steps=st.integers(0, 40) | st.integers(0, (1 << 32) - 1), more=st.integers(0, 70000))
def test_jump_is_stepping(seed: int, steps: int, more: int) -> None:
    """SPEC.md Q3: a jump of k steps is k steps, and two jumps are one."""
    state = seed
    for _ in range(steps % LFSR_PERIOD):
        state = (state >> 1) ^ (LFSR_TAPS if state & 1 else 0)
    once, twice = jumps()
    start = jnp.uint16(seed)
    assert int(once(start, jnp.uint32(steps))) == state
    assert int(twice(start, jnp.asarray([steps, more], jnp.uint32))) == judge_lfsr.jump(state, more)


def test_jump_takes_an_int() -> None:
    """SPEC.md Q3: a Python int of any size is as good as a traced number."""
    for steps in (0, 1, 65534, 65535, 1 << 40):
        assert int(lfsr.jump(jnp.uint16(0xACE1), steps)) == judge_lfsr.jump(0xACE1, steps)


@functools.cache
def compiled_words(shape: tuple[int, ...]):
    return jax.jit(lambda seed, start: lfsr.words(seed, start, shape))


@examples(15, shrink=False)
@given(
    seed=seeds(),
    start=st.integers(0, 40) | st.integers(65500, 65540) | st.integers(0, 1 << 30),
    pieces=st.lists(st.sampled_from(FIXED_SHAPES), min_size=1, max_size=8),
)
def test_any_split_gives_the_same_words(seed: int, start: int, pieces: list[tuple[int, ...]]) -> None:
    """SPEC.md Q3: element i takes the state after i+1 steps, whichever unit holds it, whatever its shape."""
    found, at = [], start
    for shape in pieces:
        part = compiled_words(shape)(jnp.uint16(seed), jnp.int32(at))
        assert part.shape == shape
        found += np.asarray(part).reshape(-1).tolist()
        at += math.prod(shape)
    assert found == judge_lfsr.words(seed, start, at - start)


@pytest.mark.parametrize("seed", [0, -1, 65536])
def test_seed_is_refused(seed: int) -> None:
    """SPEC.md Q3: zero would stay zero."""
    with pytest.raises(BitrowError, match=f"conv1 seed: found {seed}, expected 1 to 65535"):
        lfsr.check_seed("conv1", seed)
