"""What users run, jitted without taps, against numpy's float16 and float32: the same words, and taps change none.

Numpy rounds each operation once and fuses nothing, whatever the processor (SPEC.md F2, B1 to B3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow.config import BatchNormConfig, Statistics
from bitrow.contract.operation import Operation
from bitrow.formats import FP16
from bitrow.ops import fp16
from bitrow.proofs.mutants import float_words
from bitrow.proofs.mutants import layer_properties as judge
from bitrow.vectors import operations
from bitrow.vectors.judge import identity, kernels
from bitrow.vectors.operations import Words, to_arrays, to_words
from bitrow.vectors.problem import Problem
from draws import examples

MAP = (16, 32, 256, 128)  # 2^24 elements
FRACTIONS = (0, 1, 0x155, 0x1FF, 0x200, 0x3FF)
STRUCTURED = np.array(
    [sign | field << 10 | fraction for sign in (0, 0x8000) for field in range(32) for fraction in FRACTIONS], np.uint16
)


def random_words(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 16, shape, dtype=np.uint16)


def moderate(shape: tuple[int, ...], seed: int, low: int = 11, high: int = 18) -> np.ndarray:
    """Words whose exponent fields lie between `low` and `high`, as activations' do."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(low, high, shape, dtype=np.uint16) << np.uint16(10)
    return (rng.integers(0, 1 << 16, shape, dtype=np.uint16) & np.uint16(0x83FF)) | fields


def product_then_sum(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return float_words.words(float_words.half(a) * float_words.half(b) + float_words.half(c))


mul_add = jax.jit(fp16.mul_add)
two_calls = jax.jit(lambda a, b, c: fp16.add(fp16.mul(a, b), c))


@pytest.mark.parametrize("function", [mul_add, two_calls], ids=["mul_add", "mul, then add"])
def test_a_product_then_a_sum_of_any_words(function: Callable) -> None:
    """SPEC.md F2: 2^24 random word triples; the old mul_add was wrong on a tenth of them where FP16 is computed on."""
    for part in range(4):
        a, b, c = (random_words((1 << 22,), 3 * part + place) for place in range(3))
        found = to_words(function(*(float_words.half(word) for word in (a, b, c))))
        np.testing.assert_array_equal(found, product_then_sum(a, b, c))


def test_a_product_then_a_sum_of_structured_words() -> None:
    """SPEC.md F2: all pairs of factors of every exponent with telling fractions; addends near the product, and any."""
    a, b = (grid.reshape(-1) for grid in np.meshgrid(STRUCTURED, STRUCTURED))
    with np.errstate(all="ignore"):
        product = float_words.words(float_words.half(a) * float_words.half(b))
    addends = [product ^ np.uint16(0x8000), product ^ np.uint16(0x8001), product + np.uint16(0x0400), np.roll(a, 77)]
    for c in addends:
        found = to_words(mul_add(*(float_words.half(word) for word in (a, b, c))))
        np.testing.assert_array_equal(found, product_then_sum(a, b, c))


@functools.cache
def programs(operation: Operation, config: Any) -> dict[bool, Any]:
    """The operation jitted with taps and without; both return its outputs, the first also a tap that is one more."""
    def run(tapped: bool) -> Any:
        def kernel(arrays: dict[str, Any]) -> dict[str, Any]:
            found = kernels.compute(operation, config, arrays, tapped)
            return found if tapped else {name: found[name] for name in operation.outputs}

        return jax.jit(kernel)

    return {tapped: run(tapped) for tapped in (False, True)}


def computed(problem: Problem, tapped: bool) -> Words:
    row = problem.operation
    static, dynamic = operations.split_static(row, problem.given)
    assert not static
    found = programs(problem.operation, problem.config)[tapped](to_arrays(row, problem.config, dynamic))
    return {name: to_words(found[name]) for name in row.outputs}


def check(problem: Problem, expected: Words) -> None:
    """Both programs against the judge; a NaN's word is the canonical one on both sides."""
    for tapped in (False, True):
        for name, words in computed(problem, tapped).items():
            np.testing.assert_array_equal(words, expected[name], err_msg=f"{problem.name} {name} tapped={tapped}")


@pytest.mark.parametrize("fma", [False, True])
def test_frozen_norm(fma: bool) -> None:
    """SPEC.md B1: 2^24 words of any kind, forward and backward."""
    y, a, b = random_words(MAP, 1), moderate(MAP[3:], 2), moderate(MAP[3:], 3)
    config = BatchNormConfig(fma=fma)
    with np.errstate(all="ignore"):
        forward = Problem("frozen", operations.find("batch_norm.forward", config), config, {"y": y, "a": a, "b": b})
        check(forward, judge.norm_forward(config, dict(forward.given)))
        if not fma:
            backward = Problem("frozen", operations.find("batch_norm.backward", config), config, {"dz": y, "a": a})
            check(backward, judge.norm_backward(config, dict(backward.given)))


@pytest.mark.parametrize(("accumulator", "size"), [
    pytest.param(BatchNormConfig().accumulator, MAP, marks=pytest.mark.slow),
    (BatchNormConfig().accumulator, (4, 16, 128, 128)), pytest.param(FP16, (4, 8, 64, 64), marks=pytest.mark.slow),
])  # fmt: skip
def test_batch_norm(accumulator: Any, size: tuple[int, ...]) -> None:
    """SPEC.md B2, B3: 2^20 words (`make slow`: 2^24; fewer where FP16 sums would overflow), forward and backward."""
    config = BatchNormConfig(Statistics.BATCH, accumulator=accumulator)
    channels = size[3:]
    high = 15 if accumulator == FP16 else 18
    gamma, beta = np.linspace(-1.5, 1.5, channels[0]), np.linspace(-2, 2, channels[0])
    host = {"gamma": gamma, "beta": beta, "eps": np.array(1e-3)}
    words = {name: value.astype(np.float32).view(np.uint32) for name, value in host.items()}
    given = {"y": moderate(size, 4, high=high)} | words
    forward = Problem("batch", operations.find("batch_norm.forward", config), config, given)
    with np.errstate(all="ignore"):
        expected = judge.norm_forward(config, dict(forward.given))
        check(forward, expected)
        kept = {name: expected[name] for name in ("mean", "r", "a", "a16")}
        given = {"dz": moderate(size, 5, 5, 12), "y": forward.given["y"]} | kept
        backward = Problem("batch", operations.find("batch_norm.backward", config), config, given)
        check(backward, judge.norm_backward(config, dict(given)))


NO_SHAPES = sorted(name for name, problem in identity.problems().items() if not identity.given_arrays(problem)[0])


@functools.cache
def both(name: str) -> tuple[Any, Any]:
    problem = identity.problems()[name]
    return jax.jit(identity.kernel(problem)), jax.jit(identity.kernel(problem, tapped=True))


@examples(24)
@given(st.sampled_from([name for name in NO_SHAPES if name.startswith(("batch_norm", "conv", "linear", "avg", "de"))]),
       st.integers(0, 2**32 - 1))  # fmt: skip
def test_taps_change_no_bit(name: str, seed: int) -> None:
    """SPEC.md T1: the program with taps and the one without, on any FP16 words."""
    problem = identity.problems()[name]
    row = problem.operation
    rng = np.random.default_rng(seed)
    drawn = {
        key: rng.integers(0, 1 << 16, value.shape, dtype=np.uint16)
        if key in ("x", "y", "dz", "dy") and value.dtype == np.uint16 else value
        for key, value in problem.given.items()
    }  # fmt: skip
    arrays = to_arrays(row, problem.config, drawn)
    plain, tapped = (function(arrays) for function in both(name))
    for output in row.outputs:
        np.testing.assert_array_equal(to_words(plain[output]), to_words(tapped[output]), err_msg=f"{name} {output}")
