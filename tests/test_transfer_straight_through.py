"""Gradients of the training modules against exact finite differences of the straight-through definition.

The function that is differentiated has the identity for every rounding inside the clip range. Its slopes are
rationals; rounded as the contract says, they must be the kernels' gradients, bit for bit.
"""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import scalar_fxp
import straight_through as exact
from bitrow.config import (
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
)
from bitrow.formats import FP16, FP32, Fxp, Gradient, QuantRounding
from bitrow.host import Scales
from bitrow.layers import conv
from bitrow.oracle import fp16, lfsr
from bitrow.transfer import modules
from bitrow.transfer.convolution import BackwardScales, ConvPlan, ForwardScales, convolve
from bitrow.transfer.network_module import take_apart
from bitrow.transfer.numerics import Numerics
from straight_through import HALF, half, rationals, slopes, words

ACCURATE, SIMULATED = Numerics.BIT_ACCURATE, Numerics.SIMULATED
STOCHASTIC = QuantRounding.STOCHASTIC
SEED = 77


def _half(values):
    return np.asarray(values, np.float16)


def _bits(values) -> np.ndarray:
    values = np.asarray(values)
    return values.view(f"u{values.dtype.itemsize}")


def _same(found, expected, what=""):
    np.testing.assert_array_equal(_bits(found), expected, err_msg=what)


class Problem:
    """A convolution of 4x4 maps with clipped codes and weights among the others; dy are multiples of 1/8."""

    def __init__(self, config: ConvConfig, general: bool) -> None:
        rng = np.random.default_rng(11)
        self.config = config
        c_in, c_out = 2, 2
        scales = _half([0.3, 0.15, 0.4] if general else [0.25, 0.125, 0.5])
        self.x_scale, w_scale, self.dy_scale = scales
        self.w_scale = _half([w_scale, 2 * w_scale]) if config.fold else w_scale
        shape = 3, 3, c_in // config.groups, c_out
        self.weight = (rng.uniform(-9.4, 9.4, shape) * np.float32(self.w_scale)).astype(np.float32)
        self.bias = np.array([0.5, -1.25], np.float32)
        self.x = (rng.uniform(-10, 10, (1, 4, 4, c_in)) * self.x_scale).astype(np.float16)
        code = np.clip(np.rint(self.weight.astype(np.float64) / np.float64(self.w_scale)), -8, 7)
        dy_scale = 1.0 if config.gradient is Gradient.FP16 else float(self.dy_scale)
        w_scales = np.asarray(self.w_scale, np.float64)
        per_layer = w_scales if config.fold else float(w_scales)
        self.params = conv.make_params(
            config, "c", code.astype(np.int8), Scales(float(self.x_scale), per_layer, dy_scale), self.bias, SEED
        )
        size = (4 + 2 * config.padding - 3) // config.stride + 1
        self.dy = (rng.integers(-31, 32, (1, size, size, c_out)) / 8).astype(np.float16)
        self.code = code

    def geometry(self) -> tuple[int, int, int]:
        return self.config.stride, self.config.padding, self.config.groups

    def kernels(self, numerics: Numerics):
        """dweight, dbias, dx as the module's convolution gives them."""
        p = self.params
        forward = ForwardScales(jnp.asarray(self.x_scale), p.x_inv_scale, p.w_scale, p.scale)
        gradient = BackwardScales(jnp.asarray(self.dy_scale), p.dy_inv_scale, p.dx_scale, p.seed)
        plan = ConvPlan(self.config, numerics)

        @jax.jit
        def pull(weight, bias, x, dy):
            def run(weight, bias, x):
                return convolve(plan, weight, bias, forward, gradient, jnp.zeros(2), x)

            return jax.vjp(run, weight, bias, x)[1](dy)

        return pull(self.weight, self.bias, self.x, self.dy)

    def gradient_values(self) -> tuple[np.ndarray, Fraction]:
        """What the backward pass multiplies, as multiples of a unit, and that unit (C2, C3)."""
        config, mode = self.config, self.config.mode
        dy = self.dy
        if config.fold:
            scales = np.broadcast_to(self.w_scale, dy.shape)
            pairs = zip(_bits(dy).ravel().tolist(), _bits(scales.copy()).ravel().tolist(), strict=True)
            dy = np.array([fp16.mul(a, b, mode) for a, b in pairs], np.uint16).view(np.float16).reshape(dy.shape)
        if config.gradient is Gradient.FP16:
            return rationals(dy), Fraction(1)
        inverse, flat = int(_bits(self.params.dy_inv_scale)), _bits(dy).ravel().tolist()
        if config.dy_rounding is STOCHASTIC:
            pairs = zip(flat, lfsr.words(SEED, 0, len(flat)), strict=True)
            codes = [scalar_fxp.quantize_stochastic(a, inverse, word, config.dy_format, mode).code for a, word in pairs]
        else:
            codes = [scalar_fxp.quantize(a, inverse, config.dy_format, mode).code for a in flat]
        return rationals(np.reshape(codes, dy.shape)), Fraction(float(self.dy_scale))


CASES = [
    (ConvConfig(padding=1), True, ACCURATE),
    (ConvConfig(stride=2, padding=1, dy_rounding=STOCHASTIC), True, ACCURATE),
    (ConvConfig(padding=1, fold=True, dy_format=Fxp(8)), True, ACCURATE),
    (ConvConfig(groups=2, gradient=Gradient.FP16), True, ACCURATE),
    (ConvConfig(padding=1, dy_rounding=STOCHASTIC), False, SIMULATED),
    (ConvConfig(stride=2, gradient=Gradient.FP16), False, SIMULATED),
]
NAMES = ["nearest", "stochastic-stride", "fold", "fp16-groups", "simulated", "simulated-fp16"]


@pytest.mark.parametrize(("config", "general", "numerics"), CASES, ids=NAMES)
def test_convolution(config, general, numerics):
    """SPEC.md C2, C3, C4, Q4: slopes in x, rounded as the contract rounds; slopes in weights and bias in float32."""
    problem = Problem(config, general)
    dweight, dbias, dx = problem.kernels(numerics)
    x, sx, sw = (rationals(value) for value in (problem.x, problem.x_scale, problem.w_scale))
    weights, geometry = rationals(problem.code) * sw, problem.geometry()
    inverse = rationals(problem.params.x_inv_scale)
    t = x * inverse
    assert min(abs(abs(value) - edge) for value in t.ravel() for edge in (7 + HALF, 8 + HALF)) > Fraction(1, 64)
    values, unit = problem.gradient_values()

    def loss_of_x(x):
        used = rationals(problem.code) if config.fold else weights
        return (values * unit * exact.conv(exact.clipped(x, 1 / inverse, config.x_format), used, *geometry)).sum()

    slope = slopes(loss_of_x, (x,), 0)
    outside = (t > 7 + HALF) | (t < -8 - HALF)
    assert outside.any() and not slope[outside].any() and slope[~outside].any()
    if config.gradient is Gradient.FP16:
        expected = words(FP16, slope)  # dx_sum is exact here, so the one rounding is that of the slope itself
    else:
        whole = slope / unit / (1 if config.fold else sw)
        assert all(value.denominator == 1 for value in whole.ravel())
        expected = words(FP16, whole * rationals(problem.params.dx_scale))
    _same(dx, expected, "dx")

    code = np.array([scalar_fxp.quantize(w, int(_bits(problem.params.x_inv_scale)), config.x_format).code
                     for w in _bits(problem.x).ravel().tolist()]).reshape(problem.x.shape)  # fmt: skip
    dy, held = rationals(problem.dy), rationals(code) * sx

    def loss_of_weights(weight, bias):
        return (dy * (exact.conv(held, exact.clipped(weight, sw, config.weight_format), *geometry) + bias)).sum()

    points = rationals(problem.weight), rationals(problem.bias)
    slope = slopes(loss_of_weights, points, 0)
    quotient = points[0] / sw
    outside = (quotient > 7 + HALF) | (quotient < -8 - HALF)
    assert outside.any() and not slope[outside].any()
    _same(dweight, words(FP32, slope), "dweight")
    _same(dbias, words(FP32, slopes(loss_of_weights, points, 1)), "dbias")


def _pieces():
    """Modules, their inputs, and the same functions of rationals, in x and in what is trained."""
    rng = np.random.default_rng(2)
    x = rng.permutation(np.arange(1, 65)).reshape(2, 4, 4, 2) * np.where(rng.random((2, 4, 4, 2)) < 0.5, -1, 1)
    a, b = np.float32([0.3, -1.7]), np.float32([0.25, 3])
    weight = (rng.integers(-7, 8, (32, 3)) / 8).astype(np.float32)
    bias = np.float32([1, -2, 0.5])

    def norm(x, scale, shift):
        return x * scale + shift

    def largest(x):
        return np.array([[[[x[n, i : i + 2, j : j + 2, c].max() for c in range(2)] for j in (0, 2)] for i in (0, 2)]
                         for n in range(2)], object)  # fmt: skip

    def average(x):
        return x[:, :3, :3].sum((1, 2), keepdims=True) / 9

    def six(x):
        return np.minimum(np.maximum(x, 0 * x), 0 * x + 6)

    return {
        "norm": (modules.FrozenBatchNorm(BatchNormConfig(), jnp.asarray(a), jnp.asarray(b)), x, norm, (a, b)),
        "relu": (modules.Relu(), x, lambda x: np.maximum(x, 0 * x), ()),
        "relu6": (modules.Relu(ReluConfig(six=True)), x / 4 + 1 / 16, six, ()),
        "max": (modules.Pool(MaxPoolConfig(2, 2)), x, largest, ()),
        "average": (modules.Pool(AvgPoolConfig(3)), x, average, ()),
        "head": (modules.Head(LinearConfig(), jnp.asarray(weight), jnp.asarray(bias)), x,
                 lambda x, weight, bias: x.reshape(2, -1) @ weight + bias, (weight, bias)),
    }  # fmt: skip


def test_pieces():
    """SPEC.md A1 to A4, B1: every other layer, and the host's gradients of what is trained in it."""
    pieces = _pieces()
    parts = {name: take_apart(module) for name, (module, *_) in pieces.items()}
    rng = np.random.default_rng(4)

    def run(xs, params, dys):
        found = {}
        for name, part in parts.items():
            _, pull = jax.vjp(lambda x, p, part=part: part._replace(params=p).join()(x), xs[name], params[name])
            found[name] = pull(dys[name])
        return found

    xs = {name: _half(x) for name, (_, x, *_) in pieces.items()}
    dys = {}
    for name, (_, _, piece, trained) in pieces.items():
        shape = piece(*map(rationals, (xs[name], *trained))).shape
        dys[name] = _half(rng.choice([-3, -2, -1, 1, 2, 3], shape))
    found = jax.jit(run)(xs, {name: part.params for name, part in parts.items()}, dys)
    for name, (_, _, piece, trained) in pieces.items():
        dy, points = rationals(dys[name]), [rationals(value) for value in (xs[name], *trained)]
        if name == "norm":
            points[1:] = half(points[1]), half(points[2])  # FP16's a and b; the masters' rounding is the identity

        def loss(*points, dy=dy, piece=piece):
            return (dy * piece(*points)).sum()

        dx, dparams = found[name]
        slope = slopes(loss, tuple(points), 0)
        if name == "average":
            slope = slope * 9 * rationals(np.float32(1) / np.float32(9))  # the contract's reciprocal (A3)
        _same(dx, words(FP16, slope), f"{name} dx")
        keys = [key for key in ("scale", "shift", "weight", "bias") if key in dparams]
        for place, key in enumerate(keys, start=1):
            _same(dparams[key], words(FP32, slopes(loss, tuple(points), place)), f"{name} {key}")


class Classifier(nnx.Module):
    """A residual block and a head."""

    def __init__(self, config: ConvConfig, rng: np.random.Generator) -> None:
        code = rng.integers(-8, 8, (3, 3, 2, 2))
        code[0, 0] = [[7, -8], [1, 3]]
        weight = (code * 0.25 + rng.uniform(-0.1, 0.1, code.shape)).astype(np.float32)
        weight[0, 0] = [[9.0, -9.0], [0.25, 0.75]]  # two that clip
        params = conv.make_params(config, "c", code.astype(np.int8), Scales(0.5, 0.25, 0.5))
        norm = modules.FrozenBatchNorm(BatchNormConfig(), jnp.float32([0.5, -1]), jnp.float32([0.125, 1]))
        self.block = modules.ResidualBlock([modules.ConvOfParams(config, params, jnp.asarray(weight)), norm])
        self.head = modules.Head(LinearConfig(), jnp.asarray(rng.integers(-1, 2, (18, 3)), jnp.float32), jnp.zeros(3))

    def __call__(self, x):
        """Logits [n, 3] of x [n,3,3,2]."""
        return self.head(self.block(x))


@pytest.mark.parametrize("numerics", [ACCURATE, SIMULATED], ids=["bit_accurate", "simulated"])
def test_a_block_and_a_head(numerics):
    """SPEC.md A5, C2, C4: through quantizer, convolution, norm, shortcut, ReLU and head at once.

    The data is such that the contract's backward pass need not round; then its bits are the exact slopes.
    """
    rng = np.random.default_rng(6)
    module = Classifier(ConvConfig(padding=1), rng)
    module.set_attributes(numerics=numerics)
    parts = take_apart(module)
    x = _half(rng.integers(-40, 40, (2, 3, 3, 2)) / 8 + 1 / 16)
    dy = _half([[1, -1, 0], [0, 1, 1]])

    @jax.jit
    def run(params, x, dy):
        logits, pull = jax.vjp(lambda params, x: parts._replace(params=params).join()(x), params, x)
        return logits, *pull(dy)

    logits, dparams, dx = run(parts.params, x, dy)
    offsets = exact.Offsets()
    scale = rationals([0.25, 0.5])

    def forward(x, weight, a, b, head, bias):
        w = offsets(exact.clipped(weight, scale[0], Fxp(4)), lambda v: _rint(v / scale[0]) * scale[0])
        q = offsets(exact.clipped(x, scale[1], Fxp(4)), lambda v: _rint(v / scale[1]) * scale[1])
        y = offsets(exact.conv(q, w, padding=1), half)
        z = offsets(offsets(y * offsets(a, half), half) + offsets(b, half), half)
        total = offsets(z + x, half)
        return offsets(np.maximum(total, 0 * total).reshape(2, -1) @ offsets(head, half) + bias, half)

    order = ["main/0/weight", "main/1/scale", "main/1/shift", "head/weight", "head/bias"]
    keys = [next(key for key in parts.params if key.endswith(name)) for name in order]
    points = (rationals(x), *(rationals(parts.params[key]) for key in keys))
    _same(logits, words(FP16, forward(*points)), "logits")

    def loss(*points):
        offsets.again()
        return (rationals(dy) * forward(*points)).sum()

    _same(dx, words(FP16, slopes(loss, points, 0)), "dx")
    for place, key in enumerate(keys, start=1):
        _same(dparams[key], words(FP32, slopes(loss, points, place)), key)


def _rint(values):
    return np.vectorize(lambda value: Fraction(round(value)), otypes=[object])(values)  # ties to even
