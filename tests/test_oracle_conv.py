"""The oracle's convolution, judged by the definitions written out with numpy integers and float32."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import scalar_fxp
from bitrow.config import ConvConfig
from bitrow.contract import conv
from bitrow.errors import BitrowError
from bitrow.formats import (
    FXP8,
    UFXP4,
    AccOverflow,
    Accumulator,
    Dequantize,
    FloatMode,
    Gradient,
    Overflow,
    QuantRounding,
    Rounding,
)
from bitrow.oracle import float_sum, fp16, gather, lfsr
from bitrow.oracle.float_sum import running_sum
from oracle_rows import sample

SATURATE8 = Accumulator(8, AccOverflow.SATURATE)
GEOMETRIES = [  # stride, padding, groups, kernel, (n, h, w, c_in), c_out
    (1, 1, 1, (3, 3), (2, 4, 5, 3), 2),
    (2, 1, 1, (3, 3), (1, 5, 6, 2), 4),
    (1, 0, 1, (1, 1), (1, 3, 3, 4), 3),
    (2, 0, 2, (1, 1), (1, 4, 5, 4), 4),
    (1, 1, 4, (3, 3), (1, 4, 4, 4), 4),
    (3, 2, 2, (2, 3), (1, 7, 6, 4), 6),
    (2, 3, 1, (3, 2), (1, 3, 4, 2), 2),
]
IDS = [f"s{g[0]}p{g[1]}g{g[2]}k{g[3][0]}x{g[3][1]}" for g in GEOMETRIES]


def bits(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float16).view(np.uint16)


def output_shape(geometry) -> tuple[int, int, int, int]:
    stride, padding, _, (kh, kw), (n, h, w, _), c_out = geometry
    return n, (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1, c_out


def setup(geometry, seed: int = 0, **options):
    stride, padding, groups, (kh, kw), x_shape, c_out = geometry
    rng = np.random.default_rng(seed)
    config = ConvConfig(stride, padding, groups, **options)
    weight = rng.integers(-8, 8, (kh, kw, x_shape[3] // groups, c_out)).astype(np.int8)
    inputs = {
        "x": bits(rng.normal(0, 2.5, x_shape)),
        "weight_code": weight,
        "x_inv_scale": bits(np.array(1 / 0.3)),
        "scale": bits(rng.uniform(0.01, 0.05, c_out)),
        "bias": bits(rng.normal(0, 1, c_out)),
    }
    gradient = {
        "dy": bits(rng.normal(0, 2, output_shape(geometry))),
        "mask": rng.integers(0, 2, x_shape).astype(np.uint8),
        "weight_code": weight,
        "w_scale": bits(np.array(0.07)),
        "dy_inv_scale": bits(np.array(1.7)),
        "dx_scale": bits(np.array(0.041)),
        "seed": np.array(0xACE1, np.uint16),
    }
    return config, inputs, gradient


def forward_terms(x_code: np.ndarray, weight: np.ndarray, geometry) -> np.ndarray:
    """Products of M1 `[K, n, oh, ow, c_out]` in the order kh, kw, c_in, from a padded map."""
    stride, padding, groups, (kh, kw), _, c_out = geometry
    padded = np.pad(x_code.astype(np.int64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    _, oh, ow, _ = output_shape(geometry)
    group_in, group_out = weight.shape[2], c_out // groups
    terms = []
    for a, b, k in itertools.product(range(kh), range(kw), range(group_in)):
        window = padded[:, a : a + stride * oh : stride, b : b + stride * ow : stride][:, :oh, :ow]
        channels = [(co // group_out) * group_in + k for co in range(c_out)]
        terms.append(window[..., channels] * weight[a, b, k].astype(np.int64))
    return np.array(terms)


def gradient_sum(dy_code: np.ndarray, weight: np.ndarray, geometry) -> np.ndarray:
    """C2's sum, by its index formula: every (i, j, c_out) whose kernel index exists."""
    stride, padding, groups, (kh, kw), (n, h, w, c_in), c_out = geometry
    dx = np.zeros((n, h, w, c_in), np.int64)
    _, oh, ow, _ = dy_code.shape
    for at, ci, i, j, co in itertools.product(
        itertools.product(range(n), range(h), range(w)), range(c_in), range(oh), range(ow), range(c_out)
    ):
        a, b = at[1] + padding - i * stride, at[2] + padding - j * stride
        if 0 <= a < kh and 0 <= b < kw and ci // weight.shape[2] == co // (c_out // groups):
            dx[(*at, ci)] += int(dy_code[at[0], i, j, co]) * int(weight[a, b, ci % weight.shape[2], co])
    return dx


def gradient_terms(dy: np.ndarray, weight: np.ndarray, geometry, hole) -> np.ndarray:
    """Operand pairs of C2 in order: dy dilated by S into a wide map, the kernel rotated, c_out fastest.

    Object array `[K', n, h, w, c_in]` of (dy word or `hole`, weight code).
    """
    stride, padding, groups, (kh, kw), (n, h, w, c_in), c_out = geometry
    _, oh, ow, _ = dy.shape
    wide = np.full((n, h + 2 * kh + oh * stride, w + 2 * kw + ow * stride, c_out), hole, object)
    top, left = kh - 1 - padding, kw - 1 - padding
    margin_h, margin_w = max(0, -top), max(0, -left)
    wide = np.pad(wide, ((0, 0), (margin_h, 0), (margin_w, 0), (0, 0)), constant_values=hole)
    for i, j in itertools.product(range(oh), range(ow)):
        wide[:, margin_h + top + i * stride, margin_w + left + j * stride] = dy[:, i, j].astype(object)
    rotated = weight[::-1, ::-1]
    group_out, result = c_out // groups, []
    for a, b, k in itertools.product(range(kh), range(kw), range(group_out)):
        term = np.empty((n, h, w, c_in), object)
        for index in np.ndindex(n, h, w, c_in):
            group, inner = divmod(index[3], weight.shape[2])
            co = group * group_out + k
            word = wide[index[0], margin_h + index[1] + a, margin_w + index[2] + b, co]
            term[index] = (word, int(rotated[a, b, inner, co]))
        result.append(term)
    return np.stack(result)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=IDS)
def test_forward_is_its_definition(geometry):
    """SPEC.md C1, M1, D1, D3: quantize, sum of products at `i*S-P+kh`, dequantize, bias."""
    config, inputs, _ = setup(geometry)
    taps = conv.FORWARD.oracle(config, inputs)
    assert list(taps) == ["t", "x_code", "mask", "acc", "deq", "y"]
    quantized = [
        scalar_fxp.quantize(v, int(inputs["x_inv_scale"]), config.x_format) for v in inputs["x"].ravel().tolist()
    ]
    assert taps["t"].ravel().tolist() == [q.t for q in quantized]
    assert taps["x_code"].ravel().tolist() == [q.code for q in quantized]
    assert taps["mask"].ravel().tolist() == [q.mask for q in quantized]
    assert 0 < taps["mask"].mean() < 1
    acc = forward_terms(taps["x_code"], inputs["weight_code"], geometry).sum(0)
    assert taps["acc"].shape == output_shape(geometry) and np.array_equal(taps["acc"], acc)
    for index in np.ndindex(acc.shape):
        deq = scalar_fxp.dequantize(int(acc[index]), int(inputs["scale"][index[3]]), Dequantize.FUSED).deq
        assert taps["deq"][index] == deq
        assert taps["y"][index] == fp16.add(deq, int(inputs["bias"][index[3]]))
    dtypes = [tap.dtype for tap in taps.values()]
    assert dtypes == [np.uint16, np.int8, np.uint8, np.int32, np.uint16, np.uint16]


def test_forward_without_bias_and_with_one_scale():
    """SPEC.md D3: the bias is optional; y is deq without it."""
    config, inputs, _ = setup(GEOMETRIES[0])
    del inputs["bias"]
    inputs["scale"] = inputs["scale"][0]
    taps = conv.FORWARD.oracle(config, inputs)
    assert np.array_equal(taps["y"], taps["deq"])
    assert (
        taps["deq"][0, 0, 0, 1]
        == scalar_fxp.dequantize(int(taps["acc"][0, 0, 0, 1]), int(inputs["scale"]), Dequantize.FUSED).deq
    )


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=IDS)
def test_two_step_wrap_and_saturate_forward(geometry):
    """SPEC.md D2, M2: acc_fp16 is tapped; wrap takes low bits; saturate clamps in the order kh, kw, c_in."""
    config, inputs, _ = setup(
        geometry, dequantize=Dequantize.TWO_STEP, accumulator=Accumulator(8, AccOverflow.WRAP)
    )
    inputs["x"] = bits(np.random.default_rng(1).choice([-9.0, 9.0], geometry[4]))
    taps = conv.FORWARD.oracle(config, inputs)
    terms = forward_terms(taps["x_code"], inputs["weight_code"], geometry)
    assert np.array_equal(taps["acc"], terms.sum(0).astype(np.int8))
    assert taps["acc_fp16"].ravel().tolist() == [fp16.from_int32(int(a)) for a in taps["acc"].ravel()]
    running, register = [], np.zeros(terms.shape[1:], np.int64)
    for term in terms:
        register = np.clip(register + term, -128, 127)
        running.append(register)
    taps = conv.FORWARD.oracle(replace(config, accumulator=SATURATE8), inputs)
    assert np.array_equal(taps["acc_running"], np.array(running))
    assert np.array_equal(taps["acc"], running[-1])


def test_an_accumulator_that_cannot_saturate_has_no_running_tap():
    """SPEC.md M2, T2: where the bound fits, the sum is exact in any order, whatever the overflow setting."""
    config, inputs, gradient = setup(GEOMETRIES[0])
    wide = replace(config, accumulator=Accumulator(24, AccOverflow.SATURATE))
    for run, words in ((conv.FORWARD.oracle, inputs), (conv.BACKWARD.oracle, gradient)):
        exact, saturating = run(config, words), run(wide, words)
        assert list(exact) == list(saturating)
        assert all(np.array_equal(saturating[name], tap) for name, tap in exact.items())


def test_saturation_depends_on_the_order():
    """SPEC.md M2: with the channels reversed the saturating sum changes, so the order test can fail."""
    geometry = GEOMETRIES[0]
    config, inputs, _ = setup(geometry, accumulator=SATURATE8)
    inputs["x"] = bits(np.random.default_rng(1).choice([-9.0, 9.0], geometry[4]))
    reversed_inputs = inputs | {"x": inputs["x"][..., ::-1], "weight_code": inputs["weight_code"][:, :, ::-1]}
    assert not np.array_equal(
        conv.FORWARD.oracle(config, inputs)["acc"], conv.FORWARD.oracle(config, reversed_inputs)["acc"]
    )


def test_unsigned_and_wide_codes():
    """SPEC.md F7: unsigned activations come in uint8 and reach 15; 8-bit weights work the same."""
    geometry = GEOMETRIES[1]
    config, inputs, _ = setup(geometry, x_format=UFXP4, weight_format=FXP8)
    inputs["weight_code"] = (
        np.random.default_rng(2).integers(-128, 128, inputs["weight_code"].shape).astype(np.int8)
    )
    inputs["x"] = bits(np.random.default_rng(2).normal(0, 9, geometry[4]))
    taps = conv.FORWARD.oracle(config, inputs)
    assert taps["x_code"].dtype == np.uint8
    assert taps["x_code"].min() == 0 and taps["x_code"].max() == 15
    assert np.array_equal(taps["acc"], forward_terms(taps["x_code"], inputs["weight_code"], geometry).sum(0))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=IDS)
def test_backward_is_its_definition(geometry):
    """SPEC.md C2, Q4: quantized dy through the rotated kernel, dequantized, masked with +0."""
    config, _, inputs = setup(geometry)
    taps = conv.BACKWARD.oracle(config, inputs)
    assert list(taps) == ["dy_t", "dy_code", "dx_acc", "dx_deq", "dx"]
    quantized = [
        scalar_fxp.quantize(v, int(inputs["dy_inv_scale"]), config.dy_format) for v in inputs["dy"].ravel().tolist()
    ]
    assert taps["dy_t"].ravel().tolist() == [q.t for q in quantized]
    assert taps["dy_code"].ravel().tolist() == [q.code for q in quantized]
    assert np.array_equal(taps["dx_acc"], gradient_sum(taps["dy_code"], inputs["weight_code"], geometry))
    scale = int(inputs["dx_scale"])
    deq = [scalar_fxp.dequantize(int(a), scale, Dequantize.FUSED).deq for a in taps["dx_acc"].ravel()]
    assert taps["dx_deq"].ravel().tolist() == deq
    assert np.array_equal(taps["dx"], np.where(inputs["mask"] == 1, taps["dx_deq"], 0))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=IDS)
def test_directions_are_adjoint(geometry):
    """SPEC.md C2: <conv(x), dy> = <x, conv_transposed(dy)> on codes."""
    config, inputs, gradient = setup(geometry)
    forward, backward = conv.FORWARD.oracle(config, inputs), conv.BACKWARD.oracle(config, gradient)
    left = (forward["acc"].astype(np.int64) * backward["dy_code"]).sum()
    right = (forward["x_code"].astype(np.int64) * backward["dx_acc"]).sum()
    assert left == right != 0


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=IDS)
def test_saturating_backward_order(geometry):
    """SPEC.md C2, M2, T2: kh, kw of the rotated kernel, c_out fastest, holes included as 0."""
    config, _, inputs = setup(geometry, accumulator=SATURATE8, dequantize=Dequantize.TWO_STEP)
    inputs["dy"] = bits(np.random.default_rng(3).choice([-9.0, 9.0], inputs["dy"].shape))
    taps = conv.BACKWARD.oracle(config, inputs)
    terms = gradient_terms(taps["dy_code"], inputs["weight_code"], geometry, hole=0)
    register, running = np.zeros(terms.shape[1:], np.int64), []
    for term in terms:
        products = np.vectorize(lambda pair: pair[0] * pair[1], otypes=[np.int64])(term)
        register = np.clip(register + products, -128, 127)
        running.append(register)
    assert np.array_equal(taps["dx_acc_running"], np.array(running))
    assert np.array_equal(taps["dx_acc"], running[-1])
    assert taps["dx_acc_fp16"].ravel().tolist() == [fp16.from_int32(int(a)) for a in taps["dx_acc"].ravel()]


def test_fold_quantizes_the_scaled_gradient():
    """SPEC.md C2: dy_folded = fp16_mul(dy, w_scale[c_out]) takes dy's place."""
    geometry = GEOMETRIES[1]
    config, _, inputs = setup(geometry, fold=True)
    inputs["w_scale"] = bits(np.array([0.5, 0.3, 1.5, 0.9]))
    taps = conv.BACKWARD.oracle(config, inputs)
    for index in np.ndindex(inputs["dy"].shape):
        folded = fp16.mul(int(inputs["dy"][index]), int(inputs["w_scale"][index[3]]))
        assert taps["dy_folded"][index] == folded
        t, code, _ = scalar_fxp.quantize(folded, int(inputs["dy_inv_scale"]), config.dy_format)
        assert (taps["dy_t"][index], taps["dy_code"][index]) == (t, code)
    assert np.array_equal(taps["dx_acc"], gradient_sum(taps["dy_code"], inputs["weight_code"], geometry))


def test_a_scale_per_channel_needs_fold():
    """SPEC.md C2: a dequantizer cannot reach a scale inside the sum."""
    for gradient in Gradient:
        config, _, inputs = setup(GEOMETRIES[1], gradient=gradient)
        inputs["w_scale"] = bits(np.array([0.5, 0.3, 1.5, 0.9]))
        with pytest.raises(BitrowError, match="w_scale"):
            conv.BACKWARD.oracle(config, inputs)


def test_stochastic_words_follow_the_element_number():
    """SPEC.md Q3: element i of dy takes the state after i+1 steps, and floors its sum."""
    config, _, inputs = setup(GEOMETRIES[0], dy_rounding=QuantRounding.STOCHASTIC)
    taps = conv.BACKWARD.oracle(config, inputs)
    state = int(inputs["seed"])
    for word, x, code in zip(
        taps["dy_words"].ravel().tolist(),
        inputs["dy"].ravel().tolist(),
        taps["dy_code"].ravel().tolist(),
        strict=True,
    ):
        state = lfsr.step(state)
        assert word == state
        assert code == scalar_fxp.quantize_stochastic(x, int(inputs["dy_inv_scale"]), state, config.dy_format).code


@pytest.mark.parametrize("fold", [False, True], ids=["plain", "fold"])
@pytest.mark.parametrize(
    "geometry", [GEOMETRIES[i] for i in (0, 1, 4, 5, 6)], ids=[IDS[i] for i in (0, 1, 4, 5, 6)]
)
def test_float_gradient_is_a_float32_sum_in_order(geometry, fold):
    """SPEC.md C3, F9: exact products added one after another in FP32, then one rounding."""
    config, _, inputs = setup(geometry, gradient=Gradient.FP16, fold=fold)
    rng = np.random.default_rng(4)
    spread = np.ldexp(rng.normal(0, 1, inputs["dy"].shape), rng.integers(-20, 12, inputs["dy"].shape))
    inputs["dy"] = bits(spread)
    taps = conv.BACKWARD.oracle(config, inputs)
    dy = taps["dy_folded"] if fold else inputs["dy"]
    assert ("dy_folded" in taps) is fold
    values = dy.view(np.float16).astype(np.float32)
    terms = gradient_terms(values, inputs["weight_code"], geometry, hole=None)
    total, rounded = np.zeros(terms.shape[1:], np.float32), 0
    for k, term in enumerate(terms):
        for index, (word, code) in np.ndenumerate(term):
            if word is not None:
                product = np.float32(word) * np.float32(code)
                rounded += float(total[index]) + float(product) != float(total[index] + product)
                total[index] = total[index] + product
        assert np.array_equal(taps["dx_sum_running"][k], total.view(np.uint32))
        if k > 20 and rounded:
            break
    assert rounded > 0
    assert np.array_equal(taps["dx_sum"], taps["dx_sum_running"][-1])
    scale = 1.0 if fold else float(inputs["w_scale"].view(np.float16))
    exact = taps["dx_sum"].view(np.float32).astype(np.float64) * scale  # 24 + 11 bits
    assert taps["dx_deq"].ravel().tolist() == [fp16_of(v) for v in exact.ravel().tolist()]
    assert np.array_equal(taps["dx"], np.where(inputs["mask"] == 1, taps["dx_deq"], 0))


def fp16_of(exact: float) -> int:
    """A binary64 value rounded once to FP16: numpy's own cast, which rounds from float64 directly."""
    return int(np.array(exact, np.float64).astype(np.float16).view(np.uint16))


def test_float_gradient_specials_and_both_paths():
    """SPEC.md C3, F4, F5: infinity times code 0 is NaN; both sums agree; flush reads subnormals as zero."""
    mode = FloatMode()
    assert running_sum([0x7C00, None], [3, 4], mode) == [0x7F800000, 0x7F800000]
    assert running_sum([0x3C00, 0x7C00], [1, 0], mode) == [0x3F800000, 0x7FC00000]
    assert running_sum([0x7C00, 0xFC00], [1, 1], mode)[-1] == 0x7FC00000
    assert running_sum([0x8000, 0x0001], [5, 0], mode) == [0, 0]
    assert running_sum([0x0001], [-1], mode) == [0xB3800000]
    assert running_sum([0x0001], [-1], FloatMode(flush=True)) == [0]
    rng = np.random.default_rng(5)
    for _ in range(200):
        words = rng.integers(0, 0x7C00, 40).tolist()
        words = [w | 0x8000 if rng.random() < 0.5 else w for w in words]
        codes = rng.integers(-128, 128, 40).tolist()
        assert running_sum(words, codes, mode) == float_sum._special_sum(words, codes, mode)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "accumulator": SATURATE8,
            "dequantize": Dequantize.TWO_STEP,
            "dy_rounding": QuantRounding.STOCHASTIC,
        },
        {"gradient": Gradient.FP16, "fold": True, "mode": FloatMode(Rounding.UP, Overflow.SATURATE, True)},
    ],
    ids=["plain", "saturate", "float"],
)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=IDS)
def test_rows_are_rows_of_the_whole(geometry, options):
    """SPEC.md V5: a sample of rows holds the same words as the whole tensor, tap by tap."""
    config, inputs, gradient = setup(geometry, **options)
    n, oh, _, _ = output_shape(geometry)
    h = geometry[4][1]
    rows = [(n - 1, oh - 1), (0, 0)]
    whole, part = conv.FORWARD.oracle(config, inputs), conv.FORWARD.oracle(config, inputs, rows=iter(rows))
    read = gather.touched(conv.FORWARD.row_sources(config, inputs), inputs["x"].shape, rows)
    same_taps(whole, part, rows, read, ("t", "x_code", "mask"))
    rows = [(0, h - 1), (n - 1, 1)]
    whole, part = conv.BACKWARD.oracle(config, gradient), conv.BACKWARD.oracle(config, gradient, rows=rows)
    read = gather.touched(conv.BACKWARD.row_sources(config, gradient), gradient["dy"].shape, rows)
    same_taps(whole, part, rows, read, ("dy_folded", "dy_words", "dy_t", "dy_code"))


def same_taps(whole, part, rows, read, source_names) -> None:
    assert list(whole) == list(part)
    for name, tap in part.items():
        expected = sample(name, whole[name], read if name in source_names else rows)
        assert tap.dtype == whole[name].dtype and np.array_equal(tap, expected), name


def test_refusals():
    """SPEC.md M2, C1: an accumulator too small, channels and kernels that do not fit, rows outside."""
    config, inputs, gradient = setup(GEOMETRIES[0])
    with pytest.raises(BitrowError, match="1728"):
        conv.FORWARD.oracle(replace(config, accumulator=Accumulator(8)), inputs)
    with pytest.raises(BitrowError, match="channels"):
        conv.FORWARD.oracle(config, inputs | {"x": inputs["x"][..., :2]})
    with pytest.raises(BitrowError, match="window of 3"):
        conv.FORWARD.oracle(replace(config, padding=0), inputs | {"x": inputs["x"][:, :2]})
    with pytest.raises(BitrowError, match="rows"):
        conv.FORWARD.oracle(config, inputs, rows=[(0, 4)])
    with pytest.raises(BitrowError, match="expected scale"):
        conv.FORWARD.oracle(config, {name: word for name, word in inputs.items() if name != "scale"})
    with pytest.raises(BitrowError, match="dy"):
        conv.BACKWARD.oracle(config, gradient | {"dy": gradient["dy"][:, :2]})
    with pytest.raises(BitrowError, match="LFSR"):
        conv.BACKWARD.oracle(
            replace(config, dy_rounding=QuantRounding.STOCHASTIC), gradient | {"seed": np.array(0, np.uint16)}
        )
