"""Layers on drawn words and configurations: oracle = eager = compiled = vmap = split = sharded, bit for bit.

Compiling is the cost here: most examples run operation by operation, some are compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bitrow.config import AvgPoolConfig, BatchNormConfig, ConvConfig, Statistics
from bitrow.formats import FP16, FP32, Float, FloatMode, Gradient, QuantRounding, Rounding
from bitrow.layers import conv
from bitrow.ops import reduce, softfloat
from bitrow.testing import conv_cases, float_modes
from bitrow.vectors import operations
from bitrow.vectors.generate import run_kernel
from bitrow.vectors.judge import kernels, stepwise
from bitrow.vectors.operations import Words, split_static, to_arrays, to_words
from bitrow.vectors.problem import Problem
from draws import examples
from kernel_judges import drawn, expect, judge, same

LAYERS = [name for name in operations.NAMES if name.split(".")[0] not in ("fp16", "fxp", "lfsr", "conv")]
SIMPLE = [name for name in LAYERS if not name.startswith(("batch_norm", "flags."))]
BATCH_NORM = ["batch_norm.forward", "batch_norm.backward"]


@pytest.fixture(scope="module", autouse=True)
def forget_compiled() -> Iterator[None]:
    """Compiled programs go when the file is done: no other file has a use for them."""
    yield
    jax.clear_caches()


@examples(7, shrink=False)
@given(problems=drawn("conv.forward", 3), vmap=st.booleans())
def test_conv_forward_eager(problems: list[Problem], vmap: bool) -> None:
    """SPEC.md C1, Q1, Q2, Q4, M1, M2, D1, D2, D3, F7, F8, T1, T2: every parameter of a convolution drawn."""
    judge(problems, compiled=False, vmap=vmap)


@examples(7, shrink=False)
@given(problems=drawn("conv.backward", 3), vmap=st.booleans())
def test_conv_backward_eager(problems: list[Problem], vmap: bool) -> None:
    """SPEC.md C2, C3, Q1, Q3, Q4, M1, M2, D1, D2, D3, F9, T1, T2: the input gradient, FXP and FP16."""
    judge(problems, compiled=False, vmap=vmap)


@examples(5, shrink=False)
@given(problems=drawn("conv.forward", 3), vmap=st.booleans())
def test_conv_forward_compiled(problems: list[Problem], vmap: bool) -> None:
    """SPEC.md C1, M1, M2, D1, D2: compiled whole and under vmap, weights and scales mapped too."""
    judge(problems, compiled=True, vmap=vmap)


@examples(5, shrink=False)
@given(problems=drawn("conv.backward", 3), vmap=st.booleans())
def test_conv_backward_compiled(problems: list[Problem], vmap: bool) -> None:
    """SPEC.md C2, C3, Q3, M2, D1, D2: compiled whole and under vmap."""
    judge(problems, compiled=True, vmap=vmap)


@pytest.mark.parametrize("name", SIMPLE)
@examples(5, shrink=False)
@given(data=st.data(), vmap=st.booleans())
def test_layer_eager(name: str, data: st.DataObject, vmap: bool) -> None:
    """SPEC.md A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, F4, F5, T1, T2: every layer that is neither
    convolution nor batch norm.
    """
    judge(data.draw(drawn(name, 3)), compiled=False, vmap=vmap)


@pytest.mark.parametrize("name", SIMPLE)
@examples(3, shrink=False)
@given(data=st.data(), vmap=st.booleans())
def test_layer_compiled(name: str, data: st.DataObject, vmap: bool) -> None:
    """SPEC.md A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, F4, F5: compiled whole and under vmap."""
    judge(data.draw(drawn(name, 3)), compiled=True, vmap=vmap)


@pytest.mark.parametrize("name", [BATCH_NORM[0], pytest.param(BATCH_NORM[1], marks=pytest.mark.slow)])
@examples(6, shrink=False)
@given(data=st.data(), vmap=st.booleans())
def test_batch_norm_eager(name: str, data: st.DataObject, vmap: bool) -> None:
    """SPEC.md B1, B2, B3, B4, F9, F10, T1, T2: frozen and batch statistics, both accumulators, every mode."""
    judge(data.draw(drawn(name, 3)), compiled=False, vmap=vmap)


@pytest.mark.parametrize("name", BATCH_NORM)
@examples(3, shrink=False)
@given(data=st.data(), fma=st.booleans(), mode=float_modes(), vmap=st.booleans())
def test_frozen_batch_norm_compiled(
    name: str, data: st.DataObject, fma: bool, mode: FloatMode, vmap: bool
) -> None:
    """SPEC.md B1, F2: `a*y + b` keeps its two roundings inside one program, or its one with `fma`."""
    judge(data.draw(drawn(name, 3, BatchNormConfig(fma=fma, mode=mode))), compiled=True, vmap=vmap)


@pytest.mark.parametrize("name", BATCH_NORM)
@examples(1, shrink=False)
@given(data=st.data(), mode=float_modes())
def test_batch_statistics_compiled(name: str, data: st.DataObject, mode: FloatMode) -> None:
    """SPEC.md B2, B3, B4, F9: sums, roots and quotients in FP32 inside one program; FP16's are sharded below."""
    config = BatchNormConfig(Statistics.BATCH, mode=mode)
    judge(data.draw(drawn(name, 8, config)), compiled=True, vmap=False)


def merged(problems: Sequence[Problem]) -> Problem:
    """One problem whose batch is the batches of all, with the first one's parameters."""
    first = problems[0]
    operation = first.operation
    given_words: Words = dict(first.given)
    for name, line in operation.inputs.items():
        axes = list(line.axes)
        if "n" in axes:
            maps = [problem.given[name] for problem in problems]
            given_words[name] = np.concatenate(maps, axis=axes.index("n"))
    return first._replace(given=given_words)


def images(problem: Problem, words: Words) -> list[Words]:
    """The given or computed words of a problem, cut into batches of one along every axis n."""
    operation = problem.operation
    axes = {name: list(operation.line(name).axes) for name in words}
    count = max(words[name].shape[axis.index("n")] for name, axis in axes.items() if "n" in axis)

    def part(name: str, i: int) -> np.ndarray:
        if "n" not in axes[name]:
            return words[name]
        at = axes[name].index("n")
        return words[name][(slice(None),) * at + (slice(i, i + 1),)]

    return [{name: part(name, i) for name in words} for i in range(count)]


SPLIT = [name for name in LAYERS if not name.startswith(("batch_norm", "flags."))] + ["conv.forward", "conv.backward"]


def check_split(problems: Sequence[Problem], compiled: bool) -> None:
    """A batch gives what the oracle gives for each image alone."""
    batch = merged(problems)
    operation = batch.operation
    found = run_kernel(operation, batch.config, batch.given, compiled)
    parts = zip(images(batch, batch.given), images(batch, found), strict=True)
    for given_words, words in parts:
        alone = batch._replace(given=given_words)
        same("image of a batch", alone, words, expect(alone))


def nearest(problem: Problem) -> bool:
    """No stochastic rounding, whose words number the elements of the whole batch."""
    config = problem.config
    stochastic = isinstance(config, ConvConfig) and config.dy_rounding is QuantRounding.STOCHASTIC
    return not (stochastic and config.gradient is Gradient.FXP)


@pytest.mark.parametrize("name", SPLIT)
@examples(3, shrink=False)
@given(data=st.data())
def test_batch_is_its_images(name: str, data: st.DataObject) -> None:
    """SPEC.md C1, C2, C3, A1, A2, A3, A4, A5: a batch of n is n batches of one, taps and all."""
    problems = data.draw(drawn(name, 3).filter(lambda found: nearest(found[0])))
    check_split(problems, compiled=False)


@pytest.mark.parametrize("name", BATCH_NORM)
@examples(4, shrink=False)
@given(data=st.data(), fma=st.booleans(), mode=float_modes())
def test_frozen_batch_is_its_images(name: str, data: st.DataObject, fma: bool, mode: FloatMode) -> None:
    """SPEC.md B1: with frozen statistics, a batch of n is n batches of one."""
    check_split(data.draw(drawn(name, 3, BatchNormConfig(fma=fma, mode=mode))), compiled=False)


@pytest.mark.parametrize("name", ["conv.forward", "conv.backward"])
@examples(2, shrink=False)
@given(data=st.data())
def test_compiled_batch_is_its_images(name: str, data: st.DataObject) -> None:
    """SPEC.md C1, C2, C3: compiled for the whole batch."""
    problems = data.draw(drawn(name, 3).filter(lambda found: nearest(found[0])))
    check_split(problems, compiled=True)


SHARDED = ["conv.forward", "conv.backward", *LAYERS]


def run_sharded(problem: Problem) -> Words:
    """Every tap of the compiled kernel, its maps split along n over all devices."""
    operation = problem.operation
    mesh = Mesh(np.array(jax.devices()[:8]), ("device",))
    static, dynamic = split_static(operation, problem.given)
    placed = {}
    for name, array in to_arrays(operation, problem.config, dynamic).items():
        axes = list(operation.line(name).axes) if array.ndim else []
        spec = PartitionSpec(*("device" if axis == "n" else None for axis in axes))
        placed[name] = jax.device_put(array, NamedSharding(mesh, spec))
    kernel = jax.jit(lambda arrays: kernels.compute(operation, problem.config, arrays | dict(static)))
    return {name: to_words(tap) for name, tap in kernel(placed).items()}


@pytest.mark.skipif(len(jax.devices()) < 8, reason="needs 8 devices, which XLA_FLAGS has set otherwise")
@pytest.mark.parametrize("name", SHARDED)
@examples(1, shrink=False)
@given(data=st.data())
def test_sharded_batch(name: str, data: st.DataObject) -> None:
    """SPEC.md F2, Q3, B2, B3, C1, C2, A2, A3, A4: a batch spread over eight devices, sums over it included."""
    mode = data.draw(float_modes())
    config = BatchNormConfig(Statistics.BATCH, accumulator=FP16, mode=mode) if name in BATCH_NORM else None
    problem = merged(data.draw(drawn(name, 8, config)))
    same("sharded", problem, run_sharded(problem), expect(problem))


MINUS_ZERO = np.full((1, 1, 1, 1), 0x8000, np.uint16)
ONE_TERM = {
    "avg_pool.forward": (AvgPoolConfig(), {"x": MINUS_ZERO}),
    "conv.backward": (
        ConvConfig(gradient=Gradient.FP16),
        {
            "dy": MINUS_ZERO,
            "mask": np.ones((1, 1, 1, 1), np.uint8),
            "weight_code": np.ones((1, 1, 1, 1), np.int8),
            "w_scale": np.array(0x3C00, np.uint16),
        },
    ),
}


@pytest.mark.parametrize("name", ONE_TERM)
def test_sum_of_one_negative_zero(name: str) -> None:
    """SPEC.md F3, A3, B2, C3: a running sum starts from +0, so -0 alone sums to +0; a compiler may drop +0 + x."""
    config, given_words = ONE_TERM[name]
    problem = Problem("minus_zero", operations.find(name, config), config, given_words)
    judge([problem], compiled=True, vmap=False)
    judge([problem, problem], compiled=True, vmap=True)


@pytest.mark.parametrize(("fmt", "word"), [(FP16, 0x8000), (FP32, 0x80000000)])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_rows_of_negative_zero(fmt: Float, word: int, rows: int) -> None:
    """SPEC.md B2, F3: the same of batch norm's rows, in either accumulator; and -0 under `down`, where +0 - 0 is."""
    zeros = softfloat.from_bits(jnp.full((rows, 1), word, jnp.uint32), fmt)
    for mode in (FloatMode(), FloatMode(Rounding.DOWN), FloatMode(flush=True)):
        total = jax.jit(lambda x, m=mode: reduce.running(x, reduce.adder(fmt, m)))(zeros)
        negative = fmt == FP16 and mode.rounding is Rounding.DOWN
        assert to_words(total).tolist() == [word if negative else 0]


@examples(6, shrink=False)
@given(
    problem=conv_cases(backward=True).filter(
        lambda p: p.config.gradient is Gradient.FXP and p.config.dy_rounding is QuantRounding.STOCHASTIC
    ),
    data=st.data(),
)
def test_stochastic_gradient_by_rows(problem: Problem, data: st.DataObject) -> None:
    """SPEC.md Q3, C2: rows of dy rounded apart, each from its first element's number on, are the whole's codes."""
    expected = expect(problem)["dy_code"]
    operation = problem.operation
    arrays = to_arrays(operation, problem.config, problem.given)
    n, oh, ow, c_out = arrays["dy"].shape
    image, row = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, oh - 1))
    rows = data.draw(st.integers(1, oh - row))

    def prepare(arrays: Words) -> Words:
        one = jnp.float16(1)
        params = conv.ConvParams(
            arrays["weight_code"], one, one, arrays["w_scale"], arrays["dy_inv_scale"], arrays["dx_scale"], None,
            arrays["seed"],
        )  # fmt: skip
        return {"dy_code": conv.prepare_gradient(problem.config, params, arrays["dy"], arrays["start"])}

    part = arrays["dy"][image : image + 1, row : row + rows]
    start = np.array((image * oh + row) * ow * c_out, np.int32)
    found = stepwise.run(prepare, arrays | {"dy": part, "start": start})["dy_code"]
    np.testing.assert_array_equal(found, expected[image : image + 1, row : row + rows])
