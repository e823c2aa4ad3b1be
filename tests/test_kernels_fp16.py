"""`bitrow.fp16` and its FP32 on drawn words: oracle = eager = compiled = vmap, bit for bit, in every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import bitrow
from bitrow.contract.units import UNITS
from bitrow.formats import FP16, FP32, FloatMode, Overflow, Rounding
from bitrow.ops import fp16, softfloat
from bitrow.oracle import fp16 as judge16
from bitrow.oracle import fp32 as judge32
from bitrow.oracle import softfloat as judge_any
from bitrow.testing import float_modes, fp16_arrays, fp32_bits, int32s, problem_for
from bitrow.vectors.operations import Words, to_arrays, to_words
from bitrow.vectors.problem import Problem
from draws import examples
from kernel_judges import drawn, expect, judge, same

KINDS = list(UNITS)
MODES = [FloatMode(r, o, f) for r in Rounding for o in Overflow for f in (False, True)]
SIZE = 2048


@pytest.fixture(scope="module", autouse=True)
def forget_compiled() -> Iterator[None]:
    """Compiled programs go when the file is done: no other file has a use for them."""
    yield
    jax.clear_caches()


def eager(kind: str, mode: FloatMode, words: Words) -> Words:
    """`bitrow.fp16.KIND` as a user calls it outside of jit."""
    operation = UNITS[kind]
    arrays = to_arrays(operation, mode, words)
    operands = [jnp.asarray(arrays[name]) for name in operation.inputs]
    return {"y": to_words(getattr(bitrow.fp16, kind)(*operands, mode))}


@pytest.mark.parametrize("kind", KINDS)
@examples(2, shrink=False)
@given(data=st.data())
def test_eager_in_every_mode(kind: str, data: st.DataObject) -> None:
    """SPEC.md F1, F2, F3, F4, F5, F6, F10: all twenty modes (of sqrt some) on the same 2,048 operands."""
    words = data.draw(problem_for(f"fp16.{kind}", size=SIZE)).given
    # sqrt loops: JAX compiles its body at every call
    modes = data.draw(st.permutations(MODES))[:5] if kind == "sqrt" else MODES
    for mode in modes:
        problem = Problem("drawn", UNITS[kind], mode, words)
        same("eager", problem, eager(kind, mode, words), expect(problem))


@pytest.mark.parametrize("kind", KINDS)
@examples(4, shrink=False)
@given(data=st.data(), vmap=st.booleans())
def test_compiled_and_vmapped(kind: str, data: st.DataObject, vmap: bool) -> None:
    """SPEC.md F2, F3, F4, F5, F6, F10: compiled whole, as it stands and under vmap, in drawn modes."""
    judge(data.draw(drawn(f"fp16.{kind}", 3, size=SIZE)), compiled=True, vmap=vmap)


@pytest.mark.parametrize("kind", ["add", "mul", "fma"])
@examples(3, shrink=False)
@given(data=st.data(), mode=float_modes())
def test_operands_broadcast(kind: str, data: st.DataObject, mode: FloatMode) -> None:
    """SPEC.md F2: a scalar or a vector of channels meets a map as if written out."""
    operands = [data.draw(fp16_arrays(shape)) for shape in ((2, 3, 4), (4,), ())[: 3 if kind == "fma" else 2]]
    halves = [jnp.asarray(words.view(np.float16)) for words in operands]
    found = to_words(getattr(bitrow.fp16, kind)(*halves, mode))
    whole = [words.reshape(-1) for words in np.broadcast_arrays(*operands)]
    problem = Problem("drawn", UNITS[kind], mode, dict(zip("abc", whole, strict=False)))
    same("broadcast", problem, {"y": found.reshape(-1)}, expect(problem))


@examples(6, shrink=False)
@given(data=st.data(), mode=st.just(FloatMode()) | float_modes())
def test_product_then_sum(data: st.DataObject, mode: FloatMode) -> None:
    """SPEC.md F2, F4: `mul_add` rounds twice, eager and compiled, though it never makes the product's NaN canonical."""
    words = data.draw(problem_for("fp16.fma", size=SIZE)).given
    rows = zip(*(words[name].tolist() for name in "abc"), strict=True)
    expected = [judge16.add(judge16.mul(a, b, mode), c, mode) for a, b, c in rows]
    operands = [jnp.asarray(words[name].view(np.float16)) for name in "abc"]
    for run in (fp16.mul_add, jax.jit(fp16.mul_add, static_argnums=3)):
        found = np.asarray(run(*operands, mode)).view(np.uint16)
        assert_words(found, expected, f"product, then sum under {mode}", *(words[name] for name in "abc"))


@examples(15, shrink=False)
@given(st.integers(1, 1 << 24))
def test_host_ratio(n: int) -> None:
    """SPEC.md B2, A3: 1/n rounded once to either format."""
    for fmt in (FP16, FP32):
        assert int(softfloat.from_ratio(1, n, fmt)) == judge_any.from_fraction(fmt, Fraction(1, n))


def fp32_operands(data: st.DataObject, count: int) -> tuple[np.ndarray, np.ndarray]:
    """FP32 words in pairs: unrelated, and near cancellation; a few drawn."""
    a, b = (data.draw(problem_for("fp16.from_float32", size=count)).given["x"].copy() for _ in range(2))
    near = np.arange(count) % 4 == 0
    b = np.where(near, a ^ np.uint32(0x80000000) ^ (b & np.uint32(7)), b)
    for place, first, second in data.draw(
        st.lists(st.tuples(st.integers(0, count - 1), fp32_bits(), fp32_bits()), max_size=16)
    ):
        a[place], b[place] = first, second
    return a, b


FP32_JUDGES: dict[str, Callable[..., int]] = {
    "add": judge32.add,
    "sub": judge32.sub,
    "mul": judge32.mul,
    "div": judge32.div,
}


@pytest.mark.parametrize("name", FP32_JUDGES)
@examples(5, shrink=False)
@given(data=st.data())
def test_fp32(name: str, data: st.DataObject) -> None:
    """SPEC.md F9, F4: nearest even, subnormals kept, overflow to infinity; compiled once, eager once."""
    a, b = fp32_operands(data, 512)
    expected = [FP32_JUDGES[name](x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    operation = getattr(softfloat, name)
    for run in (jax.jit(operation, static_argnums=2), operation):
        assert_words(np.asarray(run(jnp.asarray(a), jnp.asarray(b), FP32)), expected, f"FP32 {name}", a, b)


@examples(5, shrink=False)
@given(data=st.data())
def test_fp32_root(data: st.DataObject) -> None:
    """SPEC.md F9: the square root, rounded once."""
    a, _ = fp32_operands(data, 512)
    found = jax.jit(softfloat.sqrt, static_argnums=1)(jnp.asarray(a), FP32)
    assert_words(np.asarray(found), [judge32.sqrt(x) for x in a.tolist()], "FP32 sqrt", a)


@examples(5, shrink=False)
@given(data=st.data(), mode=float_modes())
def test_fp32_result_rounded_to_fp16_once(data: st.DataObject, mode: FloatMode) -> None:
    """SPEC.md A3, A4, F10: an FP32 sum or product that goes to FP16 without a stop at FP32."""
    a, b = fp32_operands(data, 512)
    for name in ("add", "mul"):
        found = getattr(softfloat, name)(jnp.asarray(a), jnp.asarray(b), FP32, mode, FP16)
        judge_one = getattr(judge_any, name)
        pairs = zip(a.tolist(), b.tolist(), strict=True)
        expected = [judge_one(FP16, judge32.read(x), judge32.read(y), mode) for x, y in pairs]
        assert_words(np.asarray(found), expected, f"{name} to FP16 under {mode}", a, b)


@examples(20, shrink=False)
@given(data=st.data(), mode=float_modes())
def test_integer_times_scale(data: st.DataObject, mode: FloatMode) -> None:
    """SPEC.md D1: any int32 times any finite FP16, the exact product rounded once; a zero gives +0."""
    values = data.draw(st.lists(int32s(), min_size=64, max_size=64))
    scale = data.draw(fp16_arrays(64, finite=True)) & 0x7FFF
    found = softfloat.mul_integer(jnp.asarray(values, jnp.int32), jnp.asarray(scale, jnp.uint32), FP16, mode)
    expected = [
        judge_any.mul(FP16, judge_any.integer(v), judge16.read(s, mode), mode) if v else 0
        for v, s in zip(values, scale.tolist(), strict=True)
    ]
    assert_words(np.asarray(found), expected, f"integer times scale under {mode}", np.array(values), scale)


def assert_words(found: np.ndarray, expected: list[int], what: str, *operands: np.ndarray) -> None:
    """Equal words, or the first difference with its operands."""
    wrong = np.flatnonzero(found.astype(np.int64) != np.array(expected, np.int64))
    if wrong.size:
        at = int(wrong[0])
        words = ", ".join(hex(int(x[at])) for x in operands)
        raise AssertionError(f"{what} of {words}: found {hex(found[at])}, expected {hex(expected[at])}")
