"""Each mistake that a design may make is recognised from its words (SPEC.md F, Q, M, D, C, B, A).

The faulty words come from the oracle under another configuration or order, or from plain numpy where the
oracle cannot be asked: a single step done otherwise while the rest is right.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import scalar_fxp
from bitrow.config import AvgPoolConfig, BatchNormConfig, ConvConfig, LinearConfig, Statistics
from bitrow.contract import pool
from bitrow.formats import (
    FP16,
    FP32,
    AccOverflow,
    Accumulator,
    Dequantize,
    FloatMode,
    Gradient,
    Overflow,
    Rounding,
)
from bitrow.oracle import fp16 as scalar
from bitrow.oracle.arrays import map_words
from bitrow.vectors import operations
from bitrow.vectors.case import Case
from bitrow.vectors.diagnose.diagnosis import Diagnosis, diagnose
from bitrow.vectors.files.dump import Dump
from bitrow.vectors.files.hexfile import file_words
from vectors_samples import (
    batch_case,
    build,
    conv_backward_case,
    conv_case,
    fp16,
    fp32,
    frozen_case,
    two_step,
    wrapping,
)

TRUNCATE = FloatMode(rounding=Rounding.TOWARD_ZERO)


def given(case: Case) -> dict[str, np.ndarray]:
    return operations.split(case)[0]


def computed(case: Case, config=None, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What a design with another configuration or other inputs computes."""
    config = config or case.config
    return operations.find(case.operation.name, config).oracle(config, {**given(case), **inputs})


def look(case: Case, tap: str, data: np.ndarray) -> Diagnosis:
    """The diagnosis of a design that gives `data` for a tap; it must differ from the golden words."""
    words = file_words(np.asarray(data), case.tensor(tap).encoding).reshape(-1)
    assert (words != file_words(np.asarray(case.tensor(tap).data), case.tensor(tap).encoding).reshape(-1)).any()
    return diagnose(case, tap, Dump(words, np.zeros(words.size, bool)))


def names(diagnosis: Diagnosis) -> list[str]:
    """The guesses that explain every word."""
    assert diagnosis.explained, str(diagnosis)
    return [verdict.name for verdict in diagnosis.verdicts if verdict.complete]


def expect(case: Case, tap: str, data: np.ndarray, text: str) -> None:
    diagnosis = look(case, tap, data)
    assert any(text in name for name in names(diagnosis)), str(diagnosis)
    assert text in str(diagnosis)


MODES = {
    "truncation (toward zero) instead of nearest-even": TRUNCATE,
    "ties away from zero instead of nearest-even": FloatMode(rounding=Rounding.NEAREST_AWAY),
    "rounding up instead of nearest-even": FloatMode(rounding=Rounding.UP),
    "rounding down instead of nearest-even": FloatMode(rounding=Rounding.DOWN),
    "flushed subnormals": FloatMode(flush=True),
    "overflow to the largest number instead of infinity": FloatMode(overflow=Overflow.SATURATE),
}


def corners() -> Case:
    """Frozen batch norm on words that tie, overflow and underflow."""
    y = np.arange(0, 0x7C00, 331, dtype=np.uint16)[:96].reshape(1, 4, 6, 4)
    inputs = {"y": y, "a": fp16([1.5, 0.75, 1.25, -2.5]), "b": fp16([0.0, 1e-5, 0.37, -0.5])}
    return build("corners", "batch_norm.forward", BatchNormConfig(), inputs)


@pytest.mark.parametrize("text", MODES)
def test_another_mode(text: str) -> None:
    """SPEC.md F3, F5, F6: truncation, ties away, flushed subnormals and saturation, or in one step."""
    case = corners()
    config = replace(case.config, mode=MODES[text])
    taps = computed(case, config)
    expect(case, "z", taps["z"], f"{text} in every FP16 operation")
    expect(case, "ay", taps["ay"], f"{text} in ay")


def test_truncation_in_the_dequantizer_alone() -> None:
    """SPEC.md D1, F3: one truncating step before the dumped output is named."""
    case = conv_case(bias=True)
    words = given(case)
    acc = case.tensor("acc").data
    scale = int(words["scale"])
    deq = map_words(lambda a: scalar_fxp.dequantize(a, scale, Dequantize.FUSED, TRUNCATE).deq, np.uint16, acc)
    y = map_words(scalar.add, np.uint16, deq, words["bias"])
    diagnosis = look(case, "y", y)
    assert names(diagnosis) == ["truncation (toward zero) instead of nearest-even in deq"]
    assert f"explains all {int((y != case.tensor('y').data).sum())} differing words" in str(diagnosis)


def test_dequantizers() -> None:
    """SPEC.md D1, D2: two roundings where one is due, and one where two are."""
    acc = np.arange(-4100, 4100, 41, dtype=np.int32)[:192].reshape(1, 4, 12, 4) * 17
    inputs = {"acc": acc, "scale": fp16(0.0123)}
    fused = build("fused", "fxp.dequantize", ConvConfig(), inputs)
    two = build("two", "fxp.dequantize", two_step(), inputs)
    expect(fused, "deq", two.tensor("deq").data, "a two-step dequantize (D2) instead of a fused one (D1)")
    expect(two, "deq", fused.tensor("deq").data, "a fused dequantize (D1) instead of a two-step one (D2)")


def test_two_step_dequantize_in_a_convolution() -> None:
    """SPEC.md D2, C1: seen at the output of a whole layer whose sums exceed 2^11."""
    rng = np.random.default_rng(9)
    config = ConvConfig()
    inputs = {
        "x": fp16(rng.integers(3, 8, (1, 3, 8, 96))),
        "weight_code": rng.integers(5, 8, (1, 1, 96, 4)).astype(np.int8),
        "x_inv_scale": fp16(1.0),
        "scale": fp16(0.0123),
    }
    case = build("deep", "conv.forward", config, inputs)
    expect(
        case, "y", computed(case, replace(config, dequantize=Dequantize.TWO_STEP))["y"], "two-step dequantize"
    )


def test_fused_multiply_add() -> None:
    """SPEC.md B1, F2: a multiplier and adder fused, and the reverse where the contract fuses."""
    case = corners()
    fused = replace(case.config, fma=True)
    expect(case, "z", computed(case, fused)["z"], "a fused multiply-add")
    reverse = frozen_case(config=fused)
    expect(reverse, "z", computed(reverse, case.config)["z"], "a multiply and an add, two roundings")


def test_fused_bias() -> None:
    """SPEC.md D3, F2: the bias added before the dequantizer rounds."""
    case = conv_case(bias=True)
    words = given(case)
    acc, scale = case.tensor("acc").data, words["scale"].view(np.float16).astype(np.float64)
    exact = acc.astype(np.float64) * scale + words["bias"].view(np.float16).astype(np.float64)
    rounded = exact.astype(np.float32).astype(np.float16)
    assert (exact.astype(np.float32) == exact).all()
    expect(case, "y", rounded.view(np.uint16), "a fused multiply-add: deq not rounded before y")


@pytest.mark.parametrize("overflow", [AccOverflow.WRAP, AccOverflow.SATURATE])
def test_one_accumulator_bit_less(overflow: AccOverflow) -> None:
    """SPEC.md M2: a register one bit too narrow, seen at the accumulator and at the output."""
    case = conv_case(config=wrapping(10, overflow), seed=3)
    narrow = computed(case, wrapping(9, overflow))
    expect(case, "acc", narrow["acc"], "one accumulator bit less (9)")
    expect(case, "y", narrow["y"], "one accumulator bit less (9)")


def test_one_bit_less_than_an_exact_accumulator() -> None:
    """SPEC.md M2: the default register holds every sum; a narrow one wraps some."""
    wide = conv_case(config=ConvConfig(padding=1, accumulator=Accumulator(13)), channels=7, seed=4)
    x = fp16(np.full((1, 3, 3, 7), 9.0))
    weight = np.full((3, 3, 7, 4), 7, np.int8)
    weight[..., 1:] = 3
    case = build("full", "conv.forward", wide.config, {**given(wide), "x": x, "weight_code": weight})
    assert case.tensor("acc").data.max() > 2047
    expect(case, "y", computed(case, wrapping(12))["y"], "one accumulator bit less (12), wrapping")


def test_saturating_and_wrapping() -> None:
    """SPEC.md M2: clamping where the register should wrap, and the reverse."""
    wrap, clamp = wrapping(8), wrapping(8, AccOverflow.SATURATE)
    case = conv_case(config=wrap, seed=5)
    expect(case, "acc", computed(case, clamp)["acc"], "a saturating instead of a wrapping accumulator")
    case = conv_case(config=clamp, seed=5)
    expect(case, "y", computed(case, wrap)["y"], "a wrapping instead of a saturating accumulator")


def swapped(codes: np.ndarray) -> np.ndarray:
    """Neighbouring elements of each row exchanged, written apart from the code under test; even rows only."""
    flat = codes.reshape(codes.shape[0] * codes.shape[1], -1)
    assert flat.shape[1] % 2 == 0
    return np.stack([flat[:, 1::2], flat[:, 0::2]], axis=-1).reshape(codes.shape)


def test_swapped_nibbles() -> None:
    """SPEC.md Q5: nibbles exchanged in weights, in activations, in codes and in packed bytes."""
    case = conv_case(bias=True)
    weights = swapped(case.tensor("weight_code").data)
    expect(case, "acc", computed(case, weight_code=weights)["acc"], "swapped nibbles in weight_code")
    expect(case, "y", computed(case, weight_code=weights)["y"], "swapped nibbles in weight_code")
    codes = swapped(case.tensor("x_code").data)
    expect(case, "x_code", codes, "swapped nibbles")
    x = fp16(codes.astype(np.float64))
    taps = computed(case, x=x, x_inv_scale=fp16(1.0))
    expect(case, "y", taps["y"], "swapped nibbles in x_code")
    rng = np.random.default_rng(6)
    packed = build(
        "packed", "fxp.pack", case.config.x_format, {"code": rng.integers(-8, 8, (2, 3, 4, 3), np.int8)}
    )
    words = packed.tensor("packed").data
    expect(packed, "packed", words << 4 | words >> 4, "swapped nibbles")


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (np.floor, "codes rounded down (floor) instead of to nearest even"),
        (np.trunc, "codes truncated toward zero instead of rounded to nearest even"),
        (lambda t: np.sign(t) * np.floor(np.abs(t) + 0.5), "code ties away from zero instead of to even"),
    ],
)
def test_quantizers(how, text: str) -> None:
    """SPEC.md Q1: a quantizer that rounds otherwise, seen at its codes and at the layer's output."""
    rng = np.random.default_rng(7)
    halves = {"x": fp16(rng.integers(-14, 15, (1, 5, 6, 3)) / 2), "x_inv_scale": fp16(1.0)}
    base = conv_case()
    case = build("conv", "conv.forward", base.config, {**given(base), **halves})
    codes = np.clip(how(case.tensor("t").data.view(np.float16).astype(np.float64)), -8, 7)
    expect(case, "x_code", codes.astype(np.int8), text)
    expect(case, "y", computed(case, x=fp16(codes), x_inv_scale=fp16(1.0))["y"], text)


def wide_batch(accumulator=FP32) -> Case:
    """Batch statistics of words of different sizes, so that every order of summation shows."""
    rng = np.random.default_rng(8)
    y = fp16(rng.normal(0.3, 1, (2, 5, 6, 16)) * 2.0 ** rng.integers(-2, 3, (2, 5, 6, 16)))
    inputs = {"y": y, "gamma": fp32(rng.normal(1, 0.1, 16)), "beta": fp32(rng.normal(0, 0.1, 16))}
    inputs["eps"] = fp32(1e-5)
    config = BatchNormConfig(Statistics.BATCH, accumulator=accumulator)
    return build("batch", "batch_norm.forward", config, inputs)


@pytest.mark.parametrize("accumulator", [pytest.param(FP16, marks=pytest.mark.slow), FP32])
def test_reversed_reduction_orders(accumulator) -> None:
    """SPEC.md B2: rows, columns, or both summed last to first; seen at the sums and at the output."""
    case = wide_batch(accumulator)
    y = given(case)["y"]
    within = computed(case, y=y[:, :, ::-1])
    expect(case, "s2", within["s2"], "reversed reduction order inside each row")
    rows = computed(case, y=y[::-1, ::-1])
    expect(case, "s2", rows["s2"], "reversed reduction order of rows")
    expect(case, "s2_running", rows["s2_running"], "reversed reduction order of rows")
    if accumulator == FP16:
        expect(case, "z", within["z"][:, :, ::-1], "reversed reduction order inside each row")
        expect(case, "z", rows["z"][::-1, ::-1], "reversed reduction order of rows")


def test_sequential_instead_of_a_tree() -> None:
    """SPEC.md B2: a row summed by one adder in a loop."""
    case = wide_batch(FP16)
    y = given(case)["y"]
    sums = np.zeros(y.shape[3], np.float16)
    values = y.view(np.float16)
    for n in range(y.shape[0]):
        for h in range(y.shape[1]):
            for w in range(y.shape[2]):
                sums = (sums + values[n, h, w]).astype(np.float16)
    expect(case, "s1", sums.view(np.uint16), "summed one after another instead of by a tree")


def test_statistics_in_the_wrong_format() -> None:
    """SPEC.md B2: FP16 sums where FP32 ones are due."""
    case = batch_case()
    other = computed(case, replace(case.config, accumulator=FP16))["z"]
    expect(case, "z", other, "statistics summed in FP16")


def test_one_statistic_truncated() -> None:
    """SPEC.md B2, F3: a single truncating step in FP32, found from the output of the layer."""
    case = wide_batch(FP32)
    std = case.tensor("std").data.view(np.float32).astype(np.float64)
    exact = 1.0 / std
    r = exact.astype(np.float32)
    r = np.where(r > exact, np.nextafter(r, np.float32(0)), r)
    assert (r.view(np.uint32) != case.tensor("r").data).any()
    expect(case, "r", r.view(np.uint32), "truncation (toward zero) instead of nearest-even in r")


def test_reversed_order_of_an_fp16_gradient() -> None:
    """SPEC.md C3: products of the input gradient summed last to first, strides and groups included."""
    config = ConvConfig(padding=1, gradient=Gradient.FP16)
    case = conv_backward_case(config=config)
    rng = np.random.default_rng(10)
    dy = fp16(rng.normal(0, 1, (1, 5, 6, 4)) * 2.0 ** rng.integers(-12, 12, (1, 5, 6, 4)))
    case = build("back", "conv.backward", config, {**given(case), "dy": dy})
    values = dy.view(np.float16).astype(np.float32)
    weight = case.tensor("weight_code").data.astype(np.float32)
    sums = np.zeros((1, 5, 6, 3), np.float32)
    for h in range(5):
        for w in range(6):
            for kh in range(2, -1, -1):
                for kw in range(2, -1, -1):
                    i, j = h + 1 - (2 - kh), w + 1 - (2 - kw)
                    if not (0 <= i < 5 and 0 <= j < 6):
                        continue
                    for c_out in range(3, -1, -1):
                        sums[0, h, w] += values[0, i, j, c_out] * weight[2 - kh, 2 - kw, :, c_out]
    expect(case, "dx_sum", sums.view(np.uint32), "reversed reduction order: products summed last to first")


def test_reversed_order_of_a_saturating_sum() -> None:
    """SPEC.md M2: a clamped register filled in the other direction."""
    case = conv_case(config=wrapping(8, AccOverflow.SATURATE), seed=11, channels=2)
    x, weight = case.tensor("x_code").data.astype(int), case.tensor("weight_code").data.astype(int)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.zeros((2, 5, 6, 4), np.int64)
    for kh in range(2, -1, -1):
        for kw in range(2, -1, -1):
            for c in range(1, -1, -1):
                products = padded[:, kh : kh + 5, kw : kw + 6, c, None] * weight[kh, kw, c]
                acc = np.clip(acc + products, -128, 127)
    expect(case, "acc", acc.astype(np.int32), "reversed reduction order: products summed last to first")


def test_reversed_order_of_the_head_and_the_pool() -> None:
    """SPEC.md A3, A4: trees fed from the other end; sizes that are no power of two, so that it shows."""
    rng = np.random.default_rng(12)
    x = fp16(rng.normal(0, 1, (6, 13)))
    inputs = {"x": x, "weight": fp16(rng.normal(0, 1, (13, 3))), "bias": fp32([0.0, 1.0, 2.0])}
    head = build("head", "linear.forward", LinearConfig(), inputs)
    other = computed(head, x=x[:, ::-1], weight=inputs["weight"][::-1])
    expect(head, "sum", other["sum"], "reversed reduction order: inputs from last to first")
    maps = fp16(rng.normal(0, 1, (1, 6, 7, 64)) * 2.0 ** rng.integers(-13, 13, (1, 6, 7, 64)))
    pool = build("pool", "avg_pool.forward", AvgPoolConfig(3), {"x": maps})
    turned = computed(pool, x=maps[:, :6, :6][:, ::-1, ::-1])["sum"][:, ::-1, ::-1]
    expect(pool, "sum", turned, "reversed reduction order: window from last element to first")


def test_words_in_the_wrong_place() -> None:
    """SPEC.md V2: channels first, rows and columns exchanged, one word late or early, bytes turned."""
    case = frozen_case()
    z = case.tensor("z").data
    expect(case, "z", z.transpose(0, 3, 1, 2).copy(), "words in the order n c h w instead of n h w c")
    expect(case, "z", z.transpose(0, 2, 1, 3).copy(), "words in the order n w h c instead of n h w c")
    expect(case, "z", np.roll(z.reshape(-1), 1), "shifted by one word: each word one place late")
    expect(case, "z", np.roll(z.reshape(-1), -1), "shifted by one word: each word one place early")
    expect(case, "z", z.byteswap(), "the 2 bytes of each word in reverse")
    expect(case, "z", z ^ 0x8000, "the sign of each word turned")
    expect(case, "z", z.reshape(-1)[::-1], "words in reverse order")


def test_nothing_explains_noise() -> None:
    """SPEC.md T1: where no single mistake gives the words, the report says so and names the closest."""
    case = conv_case(bias=True)
    y = case.tensor("y").data ^ np.random.default_rng(13).integers(0, 8, (2, 5, 6, 4), np.uint16)
    diagnosis = look(case, "y", y)
    assert not diagnosis.explained and "no single hypothesis of" in str(diagnosis)
    broken = computed(case, replace(case.config, mode=TRUNCATE))["y"].copy()
    broken.reshape(-1)[-1] ^= 0x0100
    diagnosis = look(case, "y", broken)
    assert not diagnosis.explained and "the closest, truncation (toward zero)" in str(diagnosis)
    assert diagnosis.verdicts[0].explained == diagnosis.mismatches - 1


def test_a_large_map_is_sampled() -> None:
    """SPEC.md V5: of a large layer the rows that differ most are recomputed, and the report says so."""
    rng = np.random.default_rng(14)
    inputs = {
        "x": fp16(rng.normal(0, 3, (1, 24, 24, 8))),
        "weight_code": rng.integers(-8, 8, (3, 3, 8, 96)).astype(np.int8),
        "x_inv_scale": fp16(1.7),
        "scale": fp16(0.0123),
    }
    config = ConvConfig(padding=1)
    case = build("large", "conv.forward", config, inputs)
    diagnosis = look(case, "y", computed(case, replace(config, mode=TRUNCATE))["y"])
    assert diagnosis.explained
    everywhere = next(v for v in diagnosis.verdicts if v.name.endswith("in every FP16 operation"))
    assert 0 < everywhere.tried < diagnosis.mismatches and everywhere.complete


def test_means_and_orders_of_sided_windows() -> None:
    """SPEC.md A3, C3, M2: a mean that counts padding; sums in reverse where sides differ and windows are dilated."""
    rng = np.random.default_rng(11)
    x = fp16(rng.normal(0, 3, (1, 5, 6, 3)))
    mean = AvgPoolConfig((2, 3), stride=(1, 2), padding=(1, 0, 2, 2))
    case = build("avg", "avg_pool.forward", mean, {"x": x})
    counted = replace(mean, count_padding=True)
    expect(case, "y", computed(case, counted)["y"], "elements outside the map, too, counted by means")
    turned = replace(mean, padding=(0, 1, 1, 2))  # a column of padding is read by no window
    back = pool.AVG_FORWARD.oracle(turned, {"x": x[:, ::-1, ::-1]})["sum_running"][:, :, ::-1, ::-1]
    expect(case, "sum_running", back, "reversed reduction order: window from last element to first")
    conv = ConvConfig(padding=(2, 1, 0, 1), dilation=(2, 1), accumulator=Accumulator(8, AccOverflow.SATURATE))
    case = conv_case(config=conv)
    given_words, flip = given(case), replace(conv, padding=(1, 2, 1, 0))
    flipped = {"x": given_words["x"][:, ::-1, ::-1, ::-1], "weight_code": given_words["weight_code"][::-1, ::-1, ::-1]}
    acc = operations.find("conv.forward", conv).oracle(flip, given_words | flipped)["acc"][:, ::-1, ::-1]
    expect(case, "acc", acc, "reversed reduction order: products summed last to first")


WHERE = {
    "a column": (np.s_[:, :, 2], "only in column 2 of 6: every word there"),
    "a channel": (np.s_[..., 1], "only in channel 1 of 4: every word there"),
    "rows of a ring": (np.s_[:, 1::2], "only in row oh modulo 2 = 1: every word there"),
    "the edges": (np.s_[:, :, ::5], "only in the first and last column: every word there"),
    "a few rows": (np.s_[1, 2:4], "only in image 1 of 2, row oh 2 to 3 of 5: every word there"),
    "everything": (np.s_[...], "every word"),
}


@pytest.mark.parametrize("kind", WHERE)
def test_where_words_differ(kind: str) -> None:
    """SPEC.md T1: the part of the tensor, before what it may be."""
    place, text = WHERE[kind]
    case = conv_case(bias=True)
    y = case.tensor("y").data.copy()
    y[place] ^= 0x0155
    assert look(case, "y", y).where[0] == text


def test_which_words_differ() -> None:
    """SPEC.md F4, F6, M2: among infinities, NaN or saturated sums, by one ulp, and what the design gives instead."""
    case = corners()
    z, config = case.tensor("z").data, replace(case.config, mode=FloatMode(overflow=Overflow.SATURATE))
    large = {"y": np.arange(0x7800, 0x7980, 4, dtype=np.uint16).reshape(1, 4, 6, 4), "a": fp16([2.0, 1.0, -2.5, 1.25])}
    over = build("over", "batch_norm.forward", case.config, {**given(case), **large})
    found = look(over, "ay", computed(over, config)["ay"]).where
    assert any(text.startswith("only where the contract's word is an infinity: ") for text in found), found
    near = z.copy()
    near[(z & 0x7FFF > 0x3C00) & (z & 0x7FFF < 0x5000)] -= 1
    assert "each of them is one ulp nearer to zero" in look(case, "z", near).where
    clamped = conv_case(config=wrapping(8, AccOverflow.SATURATE), seed=5)
    acc = clamped.tensor("acc").data
    found = look(clamped, "acc", np.where(acc == 127, 126, acc).astype(np.int32)).where
    number = int((acc == 127).sum())
    assert f"only where the contract's word is saturated at the top: {number} of {number} such words" in found


def test_a_right_tap_clears_what_is_before_it() -> None:
    """SPEC.md T1: a guess that would change a dumped tensor which is right is none."""
    case = conv_case(config=wrapping(10), seed=3)
    narrow = computed(case, wrapping(9))
    dump = Dump(narrow["y"].reshape(-1), np.zeros(narrow["y"].size, bool))
    assert any("one accumulator bit less" in name for name in names(diagnose(case, "y", dump)))
    later = names(diagnose(case, "y", dump, ["t", "x_code", "acc"]))
    assert later == ["the dequantizer reads one bit less of the register"]


def test_a_fault_is_put_in_and_taken_out() -> None:
    """SPEC.md V5: a diagnosis that tries every fault leaves the oracle as it was."""
    case = frozen_case()
    before = computed(case)
    look(case, "z", case.tensor("z").data ^ 0x0010)
    assert all((words == before[name]).all() for name, words in computed(case).items())
