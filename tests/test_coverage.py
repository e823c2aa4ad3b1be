"""Bins are proven from the data: for each, an example that has it and one that lacks it (SPEC.md V3)."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from bitrow.config import (
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    Statistics,
)
from bitrow.config.windows import Pair, Sides
from bitrow.contract import units
from bitrow.formats import (
    FP16,
    FXP8,
    AccOverflow,
    Accumulator,
    Dequantize,
    FloatMode,
    Fxp,
    Gradient,
    Overflow,
    QuantRounding,
    Rounding,
)
from bitrow.oracle import fp16
from bitrow.vectors import entries, operations
from bitrow.vectors.case import Case
from bitrow.vectors.coverage import exact, geometry
from bitrow.vectors.coverage import measure as coverage
from bitrow.vectors.coverage.bins import BINS
from bitrow.vectors.stimulus.stream import SPECIAL_WORDS, Stream

SATURATE = FloatMode(overflow=Overflow.SATURATE)
FLUSH = FloatMode(flush=True)
ONE, HALF_UNIT, NAN, INF = 0x3C00, 0x1000, 0x7E00, 0x7C00  # 2^-11 is half a unit of 1


def half(*values: float) -> np.ndarray:
    return np.array(values, np.float16).view(np.uint16)


def single(*values: float) -> np.ndarray:
    return np.array(values, np.float32).view(np.uint32)


def bins_of(operation: str, config: object, **given: object) -> dict[str, int]:
    """The bins of a case whose taps and outputs are the oracle's."""
    words = {name: np.asarray(value) for name, value in given.items()}
    found = operations.find(operation, config)
    return coverage.measure(found, config, words | found.oracle(config, words))


def unit(kind: str, *operands: int, mode: FloatMode = FloatMode()) -> dict[str, int]:
    names = operations.find(f"fp16.{kind}", mode).inputs
    dtypes = {"i": np.int32, "x": np.uint32}
    given = {name: np.array([word], dtypes.get(name, np.uint16)) for name, word in zip(names, operands, strict=True)}
    return bins_of(f"fp16.{kind}", mode, **given)


# bin, what hits it, what misses it but is near
UNITS = [
    ("tie_lower", ("add", ONE, HALF_UNIT), ("add", ONE, HALF_UNIT + 1)),
    ("tie_upper", ("add", ONE + 1, HALF_UNIT), ("add", ONE, HALF_UNIT)),
    ("tie_upper", ("mul", 0x3C01, 0x3E00), ("mul", 0x3C01, 0x3C01)),
    ("above_tie", ("add", ONE, HALF_UNIT + 1), ("add", ONE, HALF_UNIT)),
    ("below_tie", ("add", ONE, HALF_UNIT - 1), ("add", ONE, HALF_UNIT)),
    ("below_tie", ("sqrt", 0x3C01), ("sqrt", 0x4400)),
    ("cancellation", ("add", ONE + 1, 0x8000 | ONE), ("add", ONE, 0x8000 | 0x3800)),
    ("exact_zero", ("sub", ONE, ONE), ("sub", 0, 0)),
    ("exact_zero", ("fma", ONE, 0x4000, 0xC000), ("fma", ONE, 0x4000, 0xC001)),
    ("negative_zero", ("mul", 0x8000, ONE), ("mul", 0x8000, 0x8000)),
    ("negative_zero", ("sqrt", 0x8000), ("sqrt", 0)),
    ("subnormal_result", ("mul", 0x0400, 0x3800), ("mul", 0x0400, ONE)),
    ("subnormal_boundary", ("mul", 0x0400, 0x3BFF), ("mul", 0x0400, 0x3BFE)),
    ("underflow_to_zero", ("mul", 0x0001, 0x3800), ("mul", 0x0001, 0x3801)),
    ("overflow_infinity", ("add", 0x7BFF, 0x4C00), ("add", 0x7BFF, 0x4BFF)),
    ("overflow_infinity", ("from_int32", 65520), ("from_int32", 65519)),
    ("nan_operand", ("add", NAN, ONE), ("add", INF, ONE)),
    ("infinite_operand", ("add", INF, ONE), ("add", INF, NAN)),
    ("invalid", ("add", INF, 0xFC00), ("add", INF, INF)),
    ("invalid", ("mul", INF, 0), ("mul", INF, 1)),
    ("invalid", ("sqrt", 0xBC00), ("sqrt", 0x8000)),
    ("divide_by_zero", ("div", ONE, 0), ("div", INF, 0)),
    ("invalid", ("div", 0, 0), ("div", 0, ONE)),
    ("tie_lower", ("div", 0x0001, 0x4000), ("div", 0x0003, 0x4200)),
    ("input_positive_zero", ("add", 0, ONE), ("add", 0x8000, ONE)),
    ("input_negative_zero", ("add", 0x8000, ONE), ("add", 0, ONE)),
    ("input_subnormal", ("add", 0x83FF, ONE), ("add", 0x8400, ONE)),
    ("input_subnormal_edge", ("add", 0x0400, ONE), ("add", 0x0401, ONE)),
    ("input_power_of_two", ("sqrt", 0x4400), ("sqrt", 0x4401)),
    ("input_largest", ("sqrt", 0x7BFF), ("sqrt", 0x7BFE)),
    ("input_infinity", ("sqrt", 0xFC00), ("sqrt", NAN)),
    ("input_nan", ("sqrt", NAN), ("sqrt", 0x7E01)),
    ("input_nan_payload", ("sqrt", 0xFE00), ("sqrt", NAN)),
    ("tie_upper", ("from_float32", 0x3F803000), ("from_float32", 0x3F803001)),
    ("tie_lower", ("from_int32", 2049), ("from_int32", 2048)),
]


@pytest.mark.parametrize(("name", "has", "lacks"), UNITS)
def test_unit_bins(name: str, has: tuple, lacks: tuple) -> None:
    assert unit(*has)[name] == 1
    assert name not in unit(*lacks)


def test_mode_bins() -> None:
    """SPEC.md F5, F6: what an overflow delivers and what is flushed depend on the mode."""
    big = ("add", 0x7BFF, 0x7BFF)
    toward_zero, up = FloatMode(Rounding.TOWARD_ZERO), FloatMode(Rounding.UP)
    for mode, negative, expected in (
        (FloatMode(), False, "overflow_infinity"),
        (SATURATE, False, "overflow_largest"),
        (toward_zero, False, "overflow_largest"),
        (up, False, "overflow_infinity"),
        (up, True, "overflow_largest"),
    ):
        words = [word | 0x8000 * negative for word in big[1:]]
        found = {name for name in unit("add", *words, mode=mode) if name.startswith("overflow")}
        assert found == {expected}
    assert "flushed_operand" in unit("add", 0x0001, ONE, mode=FLUSH)
    assert "flushed_operand" not in unit("add", 0x0001, ONE)
    assert "flushed_operand" in unit("to_float32", 0x0001, mode=FLUSH)
    assert "flushed_result" in unit("mul", 0x0400, 0x3800, mode=FLUSH)
    assert "flushed_result" not in unit("mul", 0x0400, ONE, mode=FLUSH)


def test_exact_values_agree_with_fractions() -> None:
    """Every exact value is the rational one, or has its tail jammed below what rounding looks at (SPEC.md F2)."""
    stream = Stream("exact")
    a = np.concatenate([SPECIAL_WORDS, stream.words(16, 400)]).astype(np.uint16)
    b = np.concatenate([SPECIAL_WORDS[::-1], stream.words(16, 400)]).astype(np.uint16)
    x, y = exact.decode(a, FP16), exact.decode(b, FP16)

    def value(number: exact.Exact, i: int) -> Fraction:
        sign = -1 if number.negative[i] else 1
        return sign * Fraction(int(number.sig[i])) * Fraction(2) ** int(number.exp[i])

    for function, rational in (
        (exact.add, lambda p, q: p + q),
        (exact.mul, lambda p, q: p * q),
        (exact.div, lambda p, q: p / q),
    ):
        result = function(x, y)
        for i in np.flatnonzero(x.finite & y.finite & result.finite):
            wanted = rational(value(x, i), value(y, i))
            assert abs(value(result, i) - wanted) <= abs(wanted) / 2**28
    root = exact.sqrt(x)
    for i in np.flatnonzero(root.finite):
        square, wanted = value(root, i) ** 2, value(x, i)
        assert abs(square - wanted) <= wanted / 2**26
        assert (square == wanted) == (int(root.sig[i]) & 1 == 0)


def test_overflow_is_the_oracles() -> None:
    """The bin of overflow agrees with what the oracle delivers, in every mode (SPEC.md F6)."""
    stream = Stream("overflow")
    a, b = stream.words(16, 600), stream.words(16, 600)
    for mode in entries.MODES:
        product = exact.mul(exact.decode(a, FP16, mode.flush), exact.decode(b, FP16, mode.flush))
        over = exact.classify(product, FP16, mode).overflow
        for i in np.flatnonzero(product.finite):
            word = fp16.mul(int(a[i]), int(b[i]), mode) & 0x7FFF
            # 0x7BFF is also what a product may round to
            assert word >= 0x7BFF if over[i] else word <= 0x7BFF


CODES = ConvConfig()
# x with x_inv_scale 1, so that t is x
QUANTIZER = [
    ("quantize_tie_lower", 0.5, 1.5),
    ("quantize_tie_upper", 1.5, 0.5),
    ("clip_low", -9.0, -8.0),
    ("clip_high", 8.0, 7.0),
    ("code_min", -8.0, -9.0),
    ("code_max", 7.0, 8.0),
    ("mask_edge_inside", 7.25, 7.0),
    ("mask_edge_inside", -8.5, -8.0),
    ("mask_edge_outside", 7.5, 7.25),
    ("mask_edge_outside", -8.75, -10.0),
    ("quantize_nan", float("nan"), float("inf")),
    ("quantize_infinity", float("-inf"), -9.0),
]


@pytest.mark.parametrize(("name", "has", "lacks"), QUANTIZER)
def test_quantizer_bins(name: str, has: float, lacks: float) -> None:
    """SPEC.md Q1, Q2, Q4."""
    for value, hit in ((has, True), (lacks, False)):
        x = half(value).reshape(1, 1, 1, 1)
        found = bins_of("fxp.quantize", CODES, x=x, x_inv_scale=half(1.0)[0])
        assert (name in found) == hit


@pytest.mark.parametrize(
    ("value", "word", "name"),
    [
        (0.25, 0xC000, "stochastic_carry"),
        (0.25, 0xBFFF, "stochastic_stay"),
        (3.0, 0xFFFF, "stochastic_whole"),
        (7.5, 0x8000, "stochastic_clip"),
        (7.5, 0x7FFF, "stochastic_stay"),
        (-8.25, 0x4000, "stochastic_carry"),
    ],
)
def test_stochastic_bins(value: float, word: int, name: str) -> None:
    """SPEC.md Q3: exactly one of the four holds for a finite t."""
    x, words = half(value).reshape(1, 1, 1, 1), np.array(word, np.uint16).reshape(1, 1, 1, 1)
    found = bins_of("fxp.quantize_stochastic", CODES, x=x, words=words, x_inv_scale=half(1.0)[0])
    assert {bin for bin in found if bin.startswith("stochastic")} == {name}


def conv(config: ConvConfig, x: np.ndarray, weight: np.ndarray, scale: float = 1.0) -> dict[str, int]:
    given = {"x": x, "weight_code": weight, "x_inv_scale": half(1.0)[0], "scale": half(scale)[0]}
    return bins_of("conv.forward", config, **given)


def test_accumulator_bins() -> None:
    """SPEC.md M2, D1, D2: extremes of the formats, wrapping, clamping, and wide products."""
    x = np.full((1, 1, 1, 4), half(-8.0)[0])
    weight = np.full((1, 1, 4, 3), -8, np.int8)
    weight[..., 1], weight[..., 2] = 7, [-8, 7, 0, 0]
    plain = conv(CODES, x, weight)
    assert plain["acc_largest"] == 1 and plain["acc_smallest"] == 1 and "acc_wrap" not in plain
    wrap = ConvConfig(accumulator=Accumulator(8, AccOverflow.WRAP))
    assert conv(wrap, x, weight)["acc_wrap"] == 2
    clamp = ConvConfig(accumulator=Accumulator(8, AccOverflow.SATURATE))
    clamped = conv(clamp, x, weight)
    assert clamped["acc_clamp_high"] == 1 and clamped["acc_clamp_low"] == 1
    assert "acc_order_matters" not in clamped
    turning = np.array([-8, -8, -8, 7], np.int8).reshape(1, 1, 4, 1)  # 127 is reached, then left
    assert conv(clamp, x, turning)["acc_order_matters"] == 1
    assert conv(CODES, x, np.zeros((1, 1, 4, 1), np.int8))["acc_zero"] == 1
    wide = ConvConfig(x_format=FXP8, weight_format=FXP8)
    many, odd = np.full((1, 1, 1, 9), half(127.0)[0]), np.full((1, 1, 9, 1), 127, np.int8)
    assert conv(wide, many, odd, 1.0009765625)["wide_product"] == 1
    assert "wide_product" not in conv(wide, many, odd, 1.0)
    two_step = ConvConfig(x_format=FXP8, weight_format=FXP8, dequantize=Dequantize.TWO_STEP)
    assert conv(two_step, many, odd)["acc_fp16_infinite"] == 1
    assert "acc_fp16_infinite" not in conv(two_step, many[..., :4], odd[:, :, :4])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [
    (1, 0, 1), (1, 1, 1), (2, 1, 1), (3, 2, 1), ((2, 1), (0, 1, 2, 3), (1, 2)), ((1, 2), (3, 2, 1, 0), (2, 2)),
])  # fmt: skip
def test_geometry_is_the_oracles(stride: Pair, padding: Sides, dilation: Pair, groups: int) -> None:
    """SPEC.md M1, C2, C3: the sums that prove the bins are those of the oracle."""
    stream = Stream("geometry", str(stride), str(padding), groups)
    config = ConvConfig(stride=stride, padding=padding, groups=groups, dilation=dilation)
    weight = stream.between(-8, 7, (3, 3, 2, 4)).astype(np.int8)
    x = stream.choice(half(*range(-8, 8)), (2, 6, 5, 2 * groups))
    given = {"x": x, "weight_code": weight, "x_inv_scale": half(1.0)[0], "scale": half(1.0)[0]}
    taps = operations.find("conv.forward", config).oracle(config, given)
    np.testing.assert_array_equal(geometry.conv_sum(config, taps["x_code"], weight), taps["acc"])
    dy = stream.choice(half(*range(-8, 8)), taps["acc"].shape)
    back = {"dy": dy, "mask": taps["mask"], "weight_code": weight, "w_scale": half(1.0)[0]}
    back |= {"dy_inv_scale": half(1.0)[0], "dx_scale": half(1.0)[0]}
    found = operations.find("conv.backward", config).oracle(config, back)
    total = geometry.gradient_sum(config, found["dy_code"], weight, x.shape[1:3])
    np.testing.assert_array_equal(total, found["dx_acc"])
    float_config = replace(config, gradient=Gradient.FP16)
    sums = operations.find("conv.backward", float_config).oracle(float_config, back)["dx_sum"]
    terms = geometry.gradient_terms(float_config, dy, weight, x.shape[1:3])
    values = np.where(terms.negative, -1, 1) * terms.sig * 2.0**terms.exp
    np.testing.assert_array_equal(values.sum(axis=0), sums.view(np.float32))


def test_window_bins() -> None:
    """SPEC.md C1, A2, A3: strides, sides and dilation by the configuration; what averages share and count by place."""
    x = np.full((1, 4, 4, 1), ONE, np.uint16)

    def found(operation: str, config: object, **given: object) -> dict[str, int]:
        bins = bins_of(operation, config, **given)
        return {name: count for name, count in bins.items() if name.startswith(("window_", "average_"))}

    given = {"x": x, "weight_code": np.ones((2, 2, 1, 1), np.int8), "x_inv_scale": half(1.0)[0], "scale": half(1.0)[0]}
    assert found("conv.forward", ConvConfig(stride=2, padding=1), **given) == {}
    assert found("conv.forward", ConvConfig(stride=(1, 2)), **given) == {"window_strides_differ": 1}
    assert found("conv.forward", ConvConfig(padding=(0, 1, 0, 1)), **given) == {"window_sides_differ": 1}
    assert found("conv.forward", ConvConfig(dilation=(1, 2)), **given) == {"window_dilated": 1}
    assert found("max_pool.forward", MaxPoolConfig(2, (2, 1)), x=x) == {"window_strides_differ": 1}
    assert found("avg_pool.forward", AvgPoolConfig(2), x=x) == {}
    assert found("avg_pool.forward", AvgPoolConfig(2, stride=1), x=x) == {"average_shared": 12}
    sided = AvgPoolConfig(2, padding=(0, 1, 0, 0))
    assert found("avg_pool.forward", sided, x=x[:, :3]) == {"window_sides_differ": 1, "average_partial": 2}
    counted = replace(sided, count_padding=True)
    assert found("avg_pool.forward", counted, x=x[:, :3]) == {"window_sides_differ": 1, "average_padding": 2}
    dy = np.full((1, 3, 3, 1), 0x7BFF, np.uint16)
    back = bins_of("avg_pool.backward", AvgPoolConfig(2, stride=1), dy=dy, input_hw=np.array([4, 4], np.int32))
    assert back["average_shared"] == 12


def test_a_set_without_such_windows_is_not_asked_for_them() -> None:
    """SPEC.md V4: what a set covers counts bins of where windows lie if it has a case that hits one."""
    covered = coverage.SetCoverage()
    for wanted, stride in ((False, 1), (True, (1, 2))):
        given = {"x": np.full((1, 2, 2, 1), ONE, np.uint16)}
        config, operation = MaxPoolConfig(1, stride), operations.find("max_pool.forward", MaxPoolConfig())
        words = given | operation.oracle(config, given)
        bins = coverage.measure(operation, config, words)
        covered.add(Case("pool", operation, config, (), (), bins))
        assert ("window_sides_differ" in covered.missed("max_pool.forward")) is wanted


def test_selection_bins() -> None:
    """SPEC.md A1, A2."""
    x = np.array([0xBC00, 0x8000, NAN, ONE, 0x4600, 0x4601], np.uint16).reshape(1, 1, 6, 1)
    plain, six = bins_of("relu.forward", ReluConfig(), x=x), bins_of("relu.forward", ReluConfig(six=True), x=x)
    assert (plain["relu_negative"], plain["relu_zero"], plain["relu_nan"], plain["relu_inside"]) == (1, 1, 1, 3)
    assert "relu_six_above" not in plain
    assert (six["relu_six_above"], six["relu_six_equal"], six["relu_inside"]) == (1, 1, 1)
    pool = MaxPoolConfig(2, 1, 0)
    ties = bins_of("max_pool.forward", pool, x=np.array([[ONE, ONE], [0, 0]], np.uint16).reshape(1, 2, 2, 1))
    assert ties["pool_tie"] == 1 and "pool_nan" not in ties and "pool_zero_tie" not in ties
    zeros = bins_of(
        "max_pool.forward", pool, x=np.array([[0x8000, 0], [0xBC00, 0xBC00]], np.uint16).reshape(1, 2, 2, 1)
    )
    assert zeros["pool_zero_tie"] == 1
    nan = bins_of("max_pool.forward", pool, x=np.array([[NAN, INF], [0, 0]], np.uint16).reshape(1, 2, 2, 1))
    assert nan["pool_nan"] == 1 and "pool_tie" not in nan
    shared = np.array([0, 0, 1, 0, 4, 0, 0, 0, 0], np.float16).view(np.uint16).reshape(1, 3, 3, 1)
    index = operations.find("max_pool.forward", pool).oracle(pool, {"x": shared})["index"]
    back = {"index": index, "input_hw": np.array([3, 3], np.int32)}
    found = bins_of("max_pool.backward", pool, dy=half(1, 2**-11, 0, 0).reshape(1, 2, 2, 1), **back)
    assert found["pool_shared_winner"] == 1 and found["tie_lower"] == 1
    apart = MaxPoolConfig(2, 2, 0)
    alone = {"index": np.zeros((1, 1, 1, 1), np.uint8), "input_hw": np.array([2, 2], np.int32)}
    single_winner = bins_of("max_pool.backward", apart, dy=half(2**-11).reshape(1, 1, 1, 1), **alone)
    assert "pool_shared_winner" not in single_winner


def test_tree_bins() -> None:
    """SPEC.md B2, A3, A4: trees padded, of one value, and ties at any level."""
    x = half(1, 2**-24, 1).reshape(1, 1, 3, 1)
    padded = bins_of("avg_pool.forward", AvgPoolConfig(), x=x)
    assert padded["tree_padded"] == 1 and "tree_single" not in padded and "left_out" not in padded
    one = bins_of("avg_pool.forward", AvgPoolConfig(1), x=x)
    assert one["tree_single"] == 1 and "tree_padded" not in one
    left = bins_of("avg_pool.forward", AvgPoolConfig(2), x=half(*range(9)).reshape(1, 3, 3, 1))
    assert left["left_out"] == 1
    # 2^15 + 2^-10 - 2^-23: half a unit of 2^-8 in FP32, less a little that a second addend brings
    tie = half(2**15, 2**-9).reshape(1, 2)
    weight, bias = half(1, 1).reshape(2, 1), single(0)
    given = {"weight": weight, "bias": bias}
    assert "tie_lower" in bins_of("linear.forward", LinearConfig(), x=tie, **given)
    assert "tie_lower" not in bins_of("linear.forward", LinearConfig(), x=half(2**15, 2**-7).reshape(1, 2), **given)


def test_statistics_bins() -> None:
    """SPEC.md B2: a tie in a row's tree is found at its level, and nowhere else."""
    config = BatchNormConfig(Statistics.BATCH, accumulator=FP16)
    host = {"gamma": single(1), "beta": single(0), "eps": single(1)[0]}
    plain = bins_of("batch_norm.forward", config, y=half(1, 1).reshape(1, 1, 2, 1), **host)
    tied = bins_of("batch_norm.forward", config, y=half(1, 2**-11).reshape(1, 1, 2, 1), **host)
    assert tied.get("tie_lower", 0) > plain.get("tie_lower", 0)
    assert bins_of("batch_norm.forward", config, y=half(1).reshape(1, 1, 1, 1), **host)["tree_single"] == 2


def test_words_bins() -> None:
    """SPEC.md Q3, Q5."""
    run = {"seed": np.array(1, np.uint16), "count": np.array(4, np.int32)}
    assert set(bins_of("lfsr.words", FloatMode(), start=np.array([0], np.int32), **run)) == {"lfsr_first"}
    across = bins_of("lfsr.words", FloatMode(), start=np.array([65532], np.int32), **run)
    assert set(across) == {"lfsr_jump", "lfsr_period"}
    before = bins_of("lfsr.words", FloatMode(), start=np.array([65531], np.int32), **run)
    assert "lfsr_period" not in before
    for fmt, shape, expected in (
        (Fxp(4), (1, 1, 3, 1), {"pack_odd_row"}),
        (Fxp(3), (1, 1, 2, 1), {"pack_even_row"}),
        (Fxp(5), (1, 1, 3, 1), {"pack_wide"}),
    ):
        assert set(bins_of("fxp.pack", fmt, code=np.ones(shape, np.int8))) == expected
    negative = np.array([-1], np.int8).reshape(1, 1, 1, 1)
    assert "pack_negative" in bins_of("fxp.pack", Fxp(4), code=negative)


def test_the_set_adds_up() -> None:
    """SPEC.md V4: a set's coverage counts bins by operation and by clause, and lists what is missed."""
    seen = coverage.SetCoverage()
    mode = FloatMode()
    for name, words in (("one", (ONE, HALF_UNIT)), ("two", (INF, 0xFC00))):
        found = unit("add", *words)
        seen.add(Case(name, units.UNITS["add"], mode, (), ("F2", "F3"), found))
    summary = seen.summary()
    added = summary["operations"]["fp16.add"]
    assert summary["cases"] == 2 and summary["clauses"]["F3"]["cases"] == 2
    assert added["bins"]["tie_lower"] == 1 and added["bins"]["invalid"] == 1
    assert "tie_upper" in added["missed"] and "tie_lower" not in added["missed"]
    assert added["hit"] + len(added["missed"]) == added["total"] == summary["bins_total"]
    assert summary["parameters"]["FloatMode.rounding"] == ["nearest_even"]
    assert json.loads(json.dumps(summary)) == summary
    assert seen.missed("fp16.add") == added["missed"]


def test_bins_are_declared_and_reachable() -> None:
    """Every bin that an operation can reach is declared, with clauses; every declared bin is some operation's."""
    reachable = frozenset().union(*(coverage.reachable(name) for name in operations.NAMES))
    assert reachable == set(BINS)
    assert all(found.clauses and found.meaning for found in BINS.values())


def test_stochastic_gradient_has_its_bins() -> None:
    """SPEC.md C2 with Q3: the bins of the rounding come from the words that the layer drew."""
    config = ConvConfig(dy_rounding=QuantRounding.STOCHASTIC)
    given = {
        "dy": half(*np.arange(-10, 6, 0.25)).reshape(1, 8, 8, 1),
        "mask": np.ones((1, 8, 8, 1), np.uint8),
        "weight_code": np.ones((1, 1, 1, 1), np.int8),
        "w_scale": half(1.0)[0], "dy_inv_scale": half(1.0)[0], "dx_scale": half(1.0)[0],
        "seed": np.array(0xACE1, np.uint16),
    }  # fmt: skip
    found = bins_of("conv.backward", config, **given)
    parts = [found[f"stochastic_{name}"] for name in ("carry", "stay", "whole", "clip")]
    assert sum(parts) == 64 and parts[2] == 14
