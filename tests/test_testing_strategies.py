"""`bitrow.testing`: what is drawn is valid, reaches the corners it promises, and shrinks to the words that matter."""

from __future__ import annotations

import dataclasses
import enum
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings

from bitrow import testing
from bitrow.config import BatchNormConfig, ConvConfig, MaxPoolConfig, Statistics
from bitrow.config.windows import sides
from bitrow.contract.encoding import Kind
from bitrow.contract.units import UNITS
from bitrow.errors import BitrowError
from bitrow.formats import FP32, UFXP4, AccOverflow, Accumulator, FloatMode, Fxp, Gradient, QuantRounding, Rounding
from bitrow.host import check_scale
from bitrow.oracle import fp16
from bitrow.vectors import operations
from bitrow.vectors.coverage import measure as coverage
from bitrow.vectors.problem import Problem


def sample(strategy: st.SearchStrategy[Any], count: int, start: int | None = None) -> list[Any]:
    """`count` values of a strategy, always the same; others for another `start`."""
    found: list[Any] = []

    @settings(
        max_examples=count, database=None, derandomize=start is None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    (collect if start is None else seed(start)(collect))()
    return found


def magnitudes(words: Iterable[int]) -> set[int]:
    return {word & 0x7FFF for word in words}


def test_fp16_words_reach_every_class() -> None:
    """SPEC.md F1, F4, F5: zeros of both signs, subnormals and their edge, powers of two, NaNs with payloads, ends."""
    words = sample(testing.fp16_bits(), 400)
    assert all(type(word) is int and 0 <= word <= 0xFFFF for word in words)
    found = magnitudes(words)
    assert {0x0000, 0x8000, 0x7C00, 0xFC00, 0x7E00} <= set(words)
    assert {0x03FF, 0x0400, 0x7BFF} <= found
    assert any(0 < m < 0x03FF for m in found)
    assert sum(m > 0x7C00 for m in found) > 5
    assert sum(m & 0x3FF == 0 and 0 < m < 0x7C00 for m in found) > 10


def test_finite_fp16_words() -> None:
    """SPEC.md F1: `finite` leaves out infinities and NaNs, in arrays too."""
    assert max(magnitudes(sample(testing.fp16_bits(finite=True), 300))) == 0x7BFF
    for words in sample(testing.fp16_arrays((3, 5), finite=True), 100):
        assert words.shape == (3, 5) and words.dtype == np.uint16
        assert ((words & 0x7FFF) < 0x7C00).all()


def test_fp16_arrays_in_a_range() -> None:
    """SPEC.md F1: noise of given exponents; only the few drawn words lie elsewhere."""
    for words in sample(testing.fp16_arrays(200, low=-2, high=1), 40):
        field = (words >> 10 & 31).astype(int) - 15
        assert ((words != 0) & ((field < -2) | (field > 1))).sum() <= 6


def reached(kind: str, columns: dict[str, np.ndarray], modes: Iterable[FloatMode]) -> set[str]:
    return {b for mode in modes for b in coverage.measure(UNITS[kind], mode, columns)}


MODES = [FloatMode(), FloatMode(Rounding.TOWARD_ZERO, flush=True)]
DRAWN: dict[str, tuple[Callable[[], st.SearchStrategy[Any]], str]] = {
    "add": (testing.fp16_pairs, "a b"),
    "sub": (testing.fp16_pairs, "a b"),
    "mul": (testing.fp16_pairs, "a b"),
    "div": (testing.fp16_pairs, "a b"),
    "fma": (testing.fp16_triples, "a b c"),
    "sqrt": (testing.fp16_bits, "a"),
    "to_float32": (testing.fp16_bits, "a"),
    "from_float32": (testing.fp32_bits, "x"),
    "from_int32": (testing.int32s, "i"),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_drawn_operands_reach_every_bin(kind: str) -> None:
    """SPEC.md F3, F4, F5, F6, F10: ties and their neighbours, cancellation, both ends of the range, specials."""
    make, names = DRAWN[kind]
    drawn = sample(make(), 1200)
    rows = np.array(drawn, np.int64).reshape(len(drawn), -1)
    dtype = {"x": np.uint32, "i": np.int32}.get(names, np.uint16)
    columns = {name: rows[:, k].astype(dtype) for k, name in enumerate(names.split())}
    assert reached(kind, columns, MODES) >= coverage.reachable(f"fp16.{kind}")


def test_modes_formats_and_registers() -> None:
    """SPEC.md F3, F5, F6, F7, M2: all twenty modes, every width and kind of code, every register."""
    assert len(set(sample(testing.float_modes(), 300))) == 20
    formats = set(sample(testing.fxp_formats(), 300))
    assert len(formats) == 21
    assert {f.bits for f in sample(testing.fxp_formats(3, 4), 60)} == {3, 4}
    registers = sample(testing.accumulators(), 300)
    assert {r.overflow for r in registers} == set(AccOverflow)
    assert {8, 32} <= {r.bits for r in registers}
    for register in sample(testing.accumulators(bound=5000), 100):
        assert register.overflow is not AccOverflow.ERROR or register.max >= 5000


def test_scales_seeds_and_codes() -> None:
    """SPEC.md F7, F8, Q3: scales that F8 allows, seeds that are not zero, codes inside their format."""
    for power in (None, True, False):
        words = sample(testing.scales(power), 200)
        for word in words:
            check_scale("drawn", "scale", float(np.array(word, np.uint16).view(np.float16)))
        powers = [word & 0x3FF == 0 for word in words]
        assert (any(powers) and not all(powers)) if power is None else all(powers) if power else sum(powers) < 30
    assert {0x0400, 0x7400} <= set(sample(testing.scales(True), 300))
    assert all(1 <= seed <= 0xFFFF for seed in sample(testing.seeds(), 100))
    for fmt in (Fxp(3), Fxp(8, narrow=True), UFXP4):
        drawn = sample(testing.codes(fmt, (4, 3)), 60)
        assert {c.dtype for c in drawn} == {np.dtype(np.int8 if fmt.signed else np.uint8)}
        assert min(c.min() for c in drawn) == fmt.min and max(c.max() for c in drawn) == fmt.max


LIMITS = {Kind.FP16: 1 << 16, Kind.FP32: 1 << 32, Kind.WORD: 1 << 16, Kind.MASK: 2, Kind.INDEX: 256}


def check_problem(problem: Problem) -> dict[str, int]:
    """The oracle accepts a problem, its words fit their encodings; the bins that it hits."""
    operation = problem.operation
    computed = operation.oracle(problem.config, problem.given)
    for tensor in operations.tensors(operation, problem.config, problem.given):
        assert tensor.data.dtype == tensor.encoding.dtype, tensor.name
        assert tensor.data.size, tensor.name
        if tensor.encoding.kind is Kind.CODE:
            half = 1 << tensor.encoding.bits - int(tensor.encoding.signed)
            assert tensor.data.max() < half and tensor.data.min() >= (-half if tensor.encoding.signed else 0)
        elif tensor.encoding.kind in LIMITS:
            assert int(tensor.data.max()) < LIMITS[tensor.encoding.kind]
    return coverage.measure(problem.operation, problem.config, problem.given | computed)


ROUNDS = 160  # of 15 problems; each begins anew, because what is drawn in one resembles what came before


@pytest.mark.parametrize("name", operations.NAMES)
def test_problems_are_valid_and_reach_every_bin(name: str) -> None:
    """SPEC.md V3: every problem is one that the oracle accepts, and together they hit every bin that there is."""
    options = {"size": 256} if name.startswith("fp16.") else {}
    missed = set(coverage.reachable(name))
    for start in range(ROUNDS):
        for problem in sample(testing.problem_for(name, **options), 15, start):
            assert problem.operation.name == name
            missed -= set(check_problem(problem))
        if not missed:
            return
    pytest.fail(f"never drawn: {sorted(missed)}")


def parameters(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if dataclasses.is_dataclass(part) and not isinstance(part, enum.Enum) and part != FP32:
            yield from parameters(f"{prefix}{field.name}.", part)
        else:
            yield prefix + field.name, part


def test_every_parameter_of_a_convolution_is_drawn() -> None:
    """SPEC.md C1, C2, C3, M2, D1, D2, Q1, Q3: sizes and configurations, both directions."""
    problems = sample(testing.conv_cases(), 250)
    values: dict[str, set[Any]] = {}
    kernels, facts = set(), set()
    for problem in problems:
        for name, value in parameters("", problem.config):
            values.setdefault(name, set()).add(value)
        config, given_words = problem.config, problem.given
        kh, kw, c_in, c_out = given_words["weight_code"].shape
        kernels |= {kh, kw}
        bounds = config.bounds((kh, kw, c_in, c_out))
        facts |= {
            fact
            for fact, holds in {
                "not square": kh != kw,
                "padding beyond the kernel": max(sides(config.padding)) > max(kh, kw) - 1,
                "strides of their own": isinstance(config.stride, tuple),
                "sides of their own": isinstance(config.padding, tuple),
                "dilation of its own": isinstance(config.dilation, tuple),
                "depthwise": config.groups > 1 and c_in == 1 and c_out == config.groups,
                "bias": "bias" in given_words,
                "no bias": problem.operation.name == "conv.forward" and "bias" not in given_words,
                "per channel": given_words.get("scale", given_words.get("w_scale")).ndim == 1,
                "per tensor": given_words.get("scale", given_words.get("w_scale")).ndim == 0,
                "seed": "seed" in given_words,
                "overflows": max(bounds) > config.accumulator.max,
                "fits exactly": config.accumulator.bits == bounds[0].bit_length() + 1,
                "odd map": given_words.get("x", given_words.get("mask")).shape[2] % 2 == 1,
            }.items()
            if holds
        }
    assert kernels == {1, 2, 3, 5}
    assert len(facts) == 14, facts
    assert values["stride"] > {1, 2, 3} and values["dilation"] > {1, 2, 3} and values["groups"] == {1, 2, 3}
    assert values["gradient"] == set(Gradient) and values["dy_rounding"] == set(QuantRounding)
    assert values["accumulator.overflow"] == set(AccOverflow) and len(values["dequantize"]) == 2
    assert values["mode.rounding"] == set(Rounding) and len(values["mode.overflow"]) == 2
    for name in ("fold", "mode.flush", "x_format.signed", "weight_format.narrow", "dy_format.signed"):
        assert values[name] == {False, True}, name
    for name in ("x_format.bits", "weight_format.bits", "dy_format.bits"):
        assert values[name] == set(range(2, 9)), name


def test_every_parameter_of_a_batch_norm_is_drawn() -> None:
    """SPEC.md B1, B2, B3, F3: statistics, accumulators, `fma`, modes."""
    configs = [problem.config for problem in sample(testing.batch_norm_cases(), 120)]
    assert {(c.statistics, c.accumulator.bits, c.fma) for c in configs} == {
        (s, bits, fma) for s in Statistics for bits in (16, 32) for fma in (False, True)
    }
    assert {c.mode.rounding for c in configs} == set(Rounding)


def test_given_configuration_is_kept() -> None:
    """SPEC.md M2: sizes are drawn so that a given configuration accepts them."""
    config = ConvConfig(stride=2, padding=1, groups=2, accumulator=Accumulator(11), mode=FloatMode(Rounding.UP))
    for problem in sample(testing.conv_cases(config=config), 40):
        assert problem.config is config
        config.check("drawn", problem.given["weight_code"].shape)
        check_problem(problem)
    pool = MaxPoolConfig(3, 1, 1)
    assert {p.operation.name for p in sample(testing.max_pool_cases(config=pool), 30)} == {
        "max_pool.forward", "max_pool.backward"
    }  # fmt: skip
    batch = BatchNormConfig(Statistics.BATCH)
    assert all("gamma" in p.given for p in sample(testing.batch_norm_cases(False, batch), 10))


CASES = {
    "fp16.mul": testing.fp16_cases("mul"),
    "relu.forward": testing.relu_cases(backward=False),
    "relu.backward": testing.relu_cases(backward=True),
    "add.forward": testing.add_cases(),
    "gradient.accumulate": testing.accumulate_cases(),
    "max_pool.backward": testing.max_pool_cases(backward=True),
    "avg_pool.forward": testing.avg_pool_cases(backward=False),
    "linear.backward": testing.linear_cases(backward=True),
}


@pytest.mark.parametrize("name", CASES)
def test_cases_are_of_their_operation(name: str) -> None:
    """SPEC.md A1, A2, A3, A4, A5: each named strategy draws its own operation."""
    assert {problem.operation.name for problem in sample(CASES[name], 5)} == {name}


@pytest.mark.parametrize("name", ["conv.forward", "conv.backward", "batch_norm.backward", "lfsr.words"])
def test_problems_stack(name: str) -> None:
    """SPEC.md C1: problems drawn together share configuration and shapes, and differ in words."""
    differ = 0
    for problems in sample(testing.problems_for(name, 3), 20):
        assert len({problem.config for problem in problems}) == 1
        shapes = [{key: (w.shape, w.dtype) for key, w in problem.given.items()} for problem in problems]
        assert shapes[0] == shapes[1] == shapes[2]
        words = [b"".join(w.tobytes() for w in problem.given.values()) for problem in problems]
        differ += len(set(words)) == 3
    assert differ > 10


def test_unknown_operation() -> None:
    """SPEC.md V3: one line that lists the operations."""
    for name in ("conv.sideways", "fft"):
        with pytest.raises(BitrowError, match=f"operation: found '{name}', expected one of fp16.add, "):
            testing.problem_for(name)


def quick(condition: Callable[[Any], Any], strategy: st.SearchStrategy[Any]) -> Any:
    """The smallest example that Hypothesis finds for a condition."""
    return find(strategy, condition, settings=settings(max_examples=2000, database=None))


def test_failures_shrink_to_the_words_that_matter() -> None:
    """SPEC.md F4: nothing drawn from a seed stays in a shrunk example that does not need it."""
    assert quick(lambda word: fp16.is_nan(word), testing.fp16_bits()) in (0x7E00, 0x7C01)
    words = quick(lambda x: ((x & 0x7FFF) > 0x7C00).any(), testing.fp16_arrays((3, 4)))
    assert np.count_nonzero(words) == 1
    a, b = quick(lambda p: fp16.add(*p) == 0x7E00 and not any(map(fp16.is_nan, p)), testing.fp16_pairs())
    assert {a, b} == {0x7C00, 0xFC00}
    problem = quick(lambda p: (p.given["a"] >= 0x8000).any(), testing.fp16_cases("sqrt", size=16))
    assert np.count_nonzero(problem.given["a"]) == 1 and problem.config == FloatMode()


def test_needs_no_jax() -> None:
    """SPEC.md V5: the strategies and the oracle run where JAX is not installed."""
    program = (
        "import sys; sys.modules['jax'] = None\n"
        "from bitrow import testing\n"
        "from bitrow.vectors import operations\n"
        "from hypothesis import given, settings\n"
        "@settings(max_examples=3, database=None)\n"
        "@given(testing.conv_cases())\n"
        "def run(p): p.operation.oracle(p.config, p.given)\n"
        "run(); print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "done", done.stderr
