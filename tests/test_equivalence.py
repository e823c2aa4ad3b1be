"""The fixed-point path against simulated quantization written apart (SPEC.md E1, E2, E3, E4).

The simulated side is XLA's own float32 convolution, and its vjp, of `scale * code`; it shares nothing with
the kernels. Exact values are Fractions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given

from bitrow.config import ConvConfig
from bitrow.formats import FXP4, FXP8, Fxp
from bitrow.host import Scales
from bitrow.layers import conv
from bitrow.testing import codes, scales
from bitrow.vectors.judge import stepwise
from draws import examples

U = Fraction(1, 1 << 24)  # unit roundoff of float32


class Problem(NamedTuple):
    config: ConvConfig
    x_code: np.ndarray
    weight_code: np.ndarray
    x_scale: float
    w_scale: np.ndarray | float
    dy_code: np.ndarray
    dy_scale: float


def sim_conv(config: ConvConfig, x: jax.Array, weight: jax.Array) -> jax.Array:
    """Simulated quantization's convolution: XLA's, in float32."""
    pad = [(config.padding, config.padding)] * 2
    return jax.lax.conv_general_dilated(
        x,
        weight,
        (config.stride, config.stride),
        pad,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=config.groups,
        precision=jax.lax.Precision.HIGHEST,
    )


def powers_of_two() -> st.SearchStrategy[float]:
    """Words of powers of two from 2^-6 to 2^3."""
    return scales(True, (9, 18)).map(lambda word: float(np.uint16(word).view(np.float16)))


def general_scales() -> st.SearchStrategy[float]:
    """Words from 2^-6 to 4 that are no power of two."""
    return scales(False, (9, 16)).map(lambda word: float(np.uint16(word).view(np.float16)))


@st.composite
def problems(
    draw: st.DrawFn,
    scales: st.SearchStrategy[float],
    per_channel: bool = False,
    formats: Sequence[Fxp] = (FXP4, FXP8, Fxp(4, narrow=True)),
) -> Problem:
    """Convolutions of drawn codes, scales and shapes; codes of int64, so that tests may compute with them."""
    fmt: Fxp = draw(st.sampled_from(formats))
    groups = draw(st.sampled_from([1, 2]))
    kernel = draw(st.sampled_from([1, 3]))
    config = ConvConfig(
        stride=draw(st.sampled_from([1, 2])), padding=draw(st.integers(0, kernel // 2)), groups=groups,
        x_format=fmt, weight_format=fmt, dy_format=fmt, fold=per_channel,
    )
    c_in, c_out = 2 * groups, 2 * groups
    x, weight = draw(codes(fmt, (1, 5, 4, c_in))), draw(codes(fmt, (kernel, kernel, 2, c_out)))
    w_scale = np.array([draw(scales) for _ in range(c_out)]) if per_channel else draw(scales)
    oh, ow = ((s + 2 * config.padding - kernel) // config.stride + 1 for s in (5, 4))
    dy = draw(codes(fmt, (1, oh, ow, c_out)))
    x, weight, dy = (array.astype(np.int64) for array in (x, weight, dy))
    return Problem(config, x, weight, draw(scales), w_scale, dy, draw(scales))


def exact_conv(p: Problem, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The convolution by its definition, on arrays of Fractions or ints (SPEC.md M1)."""
    s, pad, g = p.config.stride, p.config.padding, p.config.groups
    kh, kw, cig, c_out = weight.shape
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    oh, ow = (x.shape[1] - kh) // s + 1, (x.shape[2] - kw) // s + 1
    out = np.zeros((1, oh, ow, c_out), object)
    for i, j, c in np.ndindex(oh, ow, c_out):
        first = c // (c_out // g) * cig
        window = x[0, i * s : i * s + kh, j * s : j * s + kw, first : first + cig]
        out[0, i, j, c] = (window * weight[:, :, :, c]).sum()
    return out


def exact_gradient(p: Problem, dy: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The input gradient by its definition: scatter each dy over its window (SPEC.md C2)."""
    s, pad, g = p.config.stride, p.config.padding, p.config.groups
    kh, kw, cig, c_out = weight.shape
    _, h, w, c_in = p.x_code.shape
    dx = np.zeros((1, h + 2 * pad, w + 2 * pad, c_in), object)
    for i, j, c in np.ndindex(*dy.shape[1:]):
        first = c // (c_out // g) * cig
        dx[0, i * s : i * s + kh, j * s : j * s + kw, first : first + cig] += dy[0, i, j, c] * weight[:, :, :, c]
    return dx[:, pad : pad + h, pad : pad + w]


Tap = tuple[int, int, int]  # row and column of the window, and a channel of the group


def taps_of(p: Problem) -> tuple[list[Tap], list[Tap]]:
    """The terms of each result, forward and of the input gradient."""
    kh, kw, c_in, c_out = p.weight_code.shape
    each = (range(kh), range(kw))
    return list(itertools.product(*each, range(c_in))), list(itertools.product(*each, range(c_out // p.config.groups)))


def ordered_conv(p: Problem, x: np.ndarray, weight: np.ndarray, order: Iterable[Tap]) -> np.ndarray:
    """The convolution by its definition in the dtype of `x` and `weight`: each product and sum is rounded, in order."""
    s, pad, cig, c_out = p.config.stride, p.config.padding, weight.shape[2], weight.shape[3]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    oh, ow = p.dy_code.shape[1:3]
    first = np.arange(c_out) // (c_out // p.config.groups) * cig
    total = np.zeros((1, oh, ow, c_out), x.dtype)
    for a, b, k in order:
        window = x[:, a : a + s * oh : s, b : b + s * ow : s][:, :oh, :ow]
        total += window[..., first + k] * weight[a, b, k]
    return total


def ordered_gradient(p: Problem, dy: np.ndarray, weight: np.ndarray, order: Iterable[Tap]) -> np.ndarray:
    """The input gradient in the same way."""
    s, pad, cig, g = p.config.stride, p.config.padding, weight.shape[2], p.config.groups
    _, h, w, c_in = p.x_code.shape
    oh, ow, c_out = dy.shape[1:]
    total = np.zeros((1, h + 2 * pad, w + 2 * pad, c_in), dy.dtype)
    for a, b, j in order:
        chosen = np.arange(g) * (c_out // g) + j  # one output channel of each group
        terms = dy[..., chosen][..., None] * weight[a, b].T[chosen]
        total[:, a : a + s * oh : s, b : b + s * ow : s] += terms.reshape(1, oh, ow, g * cig)
    return total[:, pad : pad + h, pad : pad + w]


def fractions(code: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """`scale * code` exactly; a vector of scales runs along the last axis."""
    scales = np.broadcast_to(np.asarray(scale), code.shape)
    return np.vectorize(lambda c, s: int(c) * Fraction(float(s)), otypes=[object])(code, scales)


def run_kernel(p: Problem) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], conv.ConvParams]:
    """Feed the kernel FP16 values that quantize to the problem's codes; all taps, forward and backward.

    Primitive by primitive, by programs that all problems share.
    """
    params = conv.make_params(p.config, "conv", p.weight_code, Scales(p.x_scale, p.w_scale, p.dy_scale))
    # Powers of two as quantizer scales make code / inv_scale exact, whatever the scale of the dequantizer.
    one = jnp.float16(1)
    params = params._replace(x_inv_scale=one, dy_inv_scale=one, w_scale=jnp.ones_like(params.w_scale))

    def both_ways(given: dict[str, Any]) -> dict[str, dict[str, jax.Array]]:
        taps: dict[str, dict[str, jax.Array]] = {"forward": {}, "backward": {}}
        _, mask = conv.forward(p.config, given["params"], given["x"], taps["forward"].__setitem__)
        conv.backward(p.config, given["params"], mask, given["dy"], taps["backward"].__setitem__)
        return taps

    halves = {"x": p.x_code.astype(np.float16), "dy": p.dy_code.astype(np.float16)}
    taps = stepwise.run(both_ways, halves | {"params": params})
    forward, backward = taps["forward"], taps["backward"]
    assert (forward["x_code"] == p.x_code).all()
    assert (backward["dy_code"] == p.dy_code).all()
    return forward, backward, params


def bits(x: object) -> np.ndarray:
    return np.asarray(x).view(np.uint16)


@given(problems(general_scales(), per_channel=False))
@examples(15)
def test_decomposition_is_an_identity_over_the_rationals(p: Problem) -> None:
    """SPEC.md E1: conv(sx*qx, sw*qw) = sx*sw*conv(qx, qw), and its transpose, exactly."""
    forward, backward, _ = run_kernel(p)
    sx, sw, sdy = Fraction(p.x_scale), Fraction(float(p.w_scale)), Fraction(p.dy_scale)
    simulated = exact_conv(p, fractions(p.x_code, p.x_scale), fractions(p.weight_code, p.w_scale))
    assert (simulated == np.asarray(forward["acc"]).astype(object) * (sx * sw)).all()
    gradient = exact_gradient(p, fractions(p.dy_code, p.dy_scale), fractions(p.weight_code, p.w_scale))
    assert (gradient == np.asarray(backward["dx_acc"]).astype(object) * (sdy * sw)).all()


@given(problems(general_scales(), per_channel=True))
@examples(10)
def test_decomposition_per_channel(p: Problem) -> None:
    """SPEC.md E1, C2: per channel forward; backward, the folded scale stays inside the sum."""
    forward, backward, _ = run_kernel(p)
    scales = np.array([Fraction(p.x_scale) * Fraction(float(s)) for s in p.w_scale], object)
    simulated = exact_conv(p, fractions(p.x_code, p.x_scale), fractions(p.weight_code, p.w_scale))
    assert (simulated == np.asarray(forward["acc"]).astype(object) * scales).all()
    gradient = exact_gradient(p, fractions(p.dy_code, p.dy_scale), p.weight_code.astype(object))
    assert (gradient == np.asarray(backward["dx_acc"]).astype(object) * Fraction(p.dy_scale)).all()


@given(problems(powers_of_two()), st.data())
@examples(25)
def test_power_of_two_scales_are_bit_identical(p: Problem, data: st.DataObject) -> None:
    """SPEC.md E2: float32 simulated quantization equals acc*scale exactly, in any order, forward and input gradient."""
    forward, backward, params = run_kernel(p)
    x = jnp.asarray(p.x_code, jnp.float32) * p.x_scale
    weight = jnp.asarray(p.weight_code, jnp.float32) * p.w_scale
    y, vjp = jax.vjp(lambda x: sim_conv(p.config, x, weight), x)
    (dx,) = vjp(jnp.asarray(p.dy_code, jnp.float32) * p.dy_scale)
    assert (np.asarray(y, np.float64) == np.asarray(forward["acc"], np.float64) * float(params.scale)).all()
    assert params.dx_scale is not None
    assert (np.asarray(dx, np.float64) == np.asarray(backward["dx_acc"], np.float64) * float(params.dx_scale)).all()
    with np.errstate(over="ignore"):
        assert (bits(np.asarray(y).astype(np.float16) + np.float16(0)) == bits(forward["deq"])).all()
        assert (bits(np.asarray(dx).astype(np.float16) + np.float16(0)) == bits(backward["dx_deq"])).all()
    orders = [data.draw(st.permutations(taps)) for taps in taps_of(p)]
    assert (ordered_conv(p, np.asarray(x), np.asarray(weight), orders[0]) == np.asarray(y)).all()
    scaled = p.dy_code.astype(np.float32) * np.float32(p.dy_scale)
    assert (ordered_gradient(p, scaled, np.asarray(weight), orders[1]) == np.asarray(dx)).all()


@given(codes(FXP8, 1024), codes(FXP8, 1024), powers_of_two(), powers_of_two(), st.integers(0, 2**32 - 1))
@examples(20)
def test_summation_order_is_free_up_to_2_24(a: np.ndarray, b: np.ndarray, sx: float, sw: float, seed: int) -> None:
    """SPEC.md E2: any permutation of the terms gives the same float32, up to a sum of magnitudes of 2^24."""
    products = a.astype(np.int64) * b
    assert np.abs(products).sum() <= 2**24
    terms = (products * np.float64(sx) * np.float64(sw)).astype(np.float32)
    orders = np.random.default_rng(seed)
    for _ in range(4):
        total = np.float32(0)
        for term in orders.permutation(terms):
            total = np.float32(total + term)
        assert float(total) == products.sum() * sx * sw


def test_sum_of_magnitudes_beyond_2_24_is_not_order_free() -> None:
    """SPEC.md E2 is sharp: one unit past 2^24 the float32 sum depends on the order."""
    terms = np.array([2**24, 1, -(2**24)], np.float32)
    forward = (terms[0] + terms[1]) + terms[2]
    reordered = (terms[0] + terms[2]) + terms[1]
    assert forward != reordered


@given(problems(general_scales()))
@examples(15)
def test_general_scales_differ_by_rounding_alone(p: Problem) -> None:
    """SPEC.md E3: within gamma_(K+2) of the magnitudes; the fixed-point path is the correctly rounded one."""
    forward, backward, params = run_kernel(p)
    x = jnp.asarray(p.x_code, jnp.float32) * jnp.float32(p.x_scale)
    weight = jnp.asarray(p.weight_code, jnp.float32) * jnp.float32(p.w_scale)
    y, vjp = jax.vjp(lambda x: sim_conv(p.config, x, weight), x)
    (dx,) = vjp(jnp.asarray(p.dy_code, jnp.float32) * jnp.float32(p.dy_scale))
    sw = Fraction(float(p.w_scale))
    sides = (
        (y, forward["acc"], exact_conv(p, abs(p.x_code), abs(p.weight_code)), Fraction(p.x_scale) * sw),
        (dx, backward["dx_acc"], exact_gradient(p, abs(p.dy_code), abs(p.weight_code)), Fraction(p.dy_scale) * sw),
    )
    terms = p.weight_code.shape[0] * p.weight_code.shape[1] * max(p.weight_code.shape[2:])
    gamma = (terms + 2) * U / (1 - (terms + 2) * U)
    for simulated, acc, magnitudes, scale in sides:
        exact = np.asarray(acc).astype(object) * scale
        error = np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(np.asarray(simulated)) - exact
        assert (abs(error) <= gamma * magnitudes * scale).all()
    # acc * fp16 scale has at most 24 + 11 bits, so binary64 holds it and numpy rounds it once.
    with np.errstate(over="ignore"):
        correct = (np.asarray(forward["acc"], np.float64) * float(params.scale)).astype(np.float16)
        assert params.dx_scale is not None
        gradient = (np.asarray(backward["dx_acc"], np.float64) * float(params.dx_scale)).astype(np.float16)
    assert (bits(correct) == bits(forward["deq"])).all()
    assert (bits(gradient) == bits(backward["dx_deq"])).all()


@given(problems(powers_of_two(), formats=(FXP4, Fxp(4, narrow=True))), st.data())
@examples(15)
def test_fp16_accumulation_of_a_convolution_is_exact(p: Problem, data: st.DataObject) -> None:
    """SPEC.md E4: 18 products of FXP4 codes are at most 2^11: FP16 sums of them, in any order, both directions."""
    forward, backward, _ = run_kernel(p)
    half = [array.astype(np.float16) for array in (p.x_code, p.weight_code, p.dy_code)]
    orders = [data.draw(st.permutations(taps)) for taps in taps_of(p)]
    assert max(map(len, orders)) * FXP4.max_magnitude**2 <= 2**11
    y, dx = ordered_conv(p, half[0], half[1], orders[0]), ordered_gradient(p, half[2], half[1], orders[1])
    assert y.dtype == dx.dtype == np.float16
    assert (y.astype(np.int64) == np.asarray(forward["acc"])).all()
    assert (dx.astype(np.int64) == np.asarray(backward["dx_acc"])).all()


def fp16_running_sum(products: list[int]) -> float:
    """Sequential FP16 accumulation, by numpy."""
    total = np.float16(0)
    for product in products:
        total = np.float16(total + np.float16(product))
    return float(total)


def smallest_fp16_counterexample(fmt: Fxp) -> list[int]:
    """The shortest run of products of two codes that FP16 accumulation gets wrong, by search over its length."""
    magnitudes = sorted({abs(a * b) for a in range(fmt.min, fmt.max + 1) for b in range(fmt.min, fmt.max + 1)})
    largest = magnitudes[-1]
    length = 1
    while True:
        for last in magnitudes:
            run = [largest] * (length - 1) + [last]
            if fp16_running_sum(run) != sum(run):
                return run
        length += 1


def test_fp16_accumulation_holds_to_k_32_and_fails_at_33() -> None:
    """SPEC.md E4: exact up to 2^11, so up to K = 32 of worst-case FXP4 products; the counterexample is found."""
    assert all(float(np.float16(i)) == i for i in range(-2048, 2049))  # every partial sum up to K = 32
    assert 32 * FXP4.max_magnitude**2 == 2048
    counterexample = smallest_fp16_counterexample(FXP4)
    assert len(counterexample) == 33
    assert fp16_running_sum(counterexample) != sum(counterexample)


@given(st.lists(st.tuples(st.integers(FXP4.min, FXP4.max), st.integers(FXP4.min, FXP4.max)), min_size=1, max_size=32))
def test_fp16_accumulation_of_short_sums_is_exact(pairs: list[tuple[int, int]]) -> None:
    """SPEC.md E4, within the bound: any 32 FXP4 products."""
    products = [a * b for a, b in pairs]
    assert fp16_running_sum(products) == sum(products)
