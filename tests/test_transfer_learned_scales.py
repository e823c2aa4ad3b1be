"""Learned scales (LSQ, PACT): their gradient against finite differences in float64, their range, training with them."""

from __future__ import annotations

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow import host
from bitrow import network as run
from bitrow.config import ConvConfig
from bitrow.errors import BitrowError
from bitrow.formats import SCALE_MAX, SCALE_MIN, Fxp
from bitrow.host import Scales
from bitrow.layers import conv
from bitrow.transfer import learned_scales, modules, network_module, policies, scale_gradient
from bitrow.transfer.accounting import account
from bitrow.transfer.convolution import ForwardScales
from bitrow.transfer.epoch import Metrics, State
from bitrow.transfer.numerics import ScaleRule
from bitrow.transfer.training import Trainer
from network_samples import assert_same_bits
from test_transfer_training import PLAIN, images, module
from transfer_samples import trainer


def half(value: float) -> jax.Array:
    return jnp.float16(value)


@pytest.mark.parametrize("config", [ConvConfig(padding=1, stride=2, x_format=Fxp(4, False)), ConvConfig(groups=2)])
def test_the_gradient_is_that_of_the_straight_through_definition(config):
    """Esser et al. 2020, (3): finite differences in float64 of sum(g * conv(s * clip(round(x/s)))), roundings held."""
    rng, fmt = np.random.default_rng(4), config.x_format
    x = (rng.standard_normal((3, 5, 6, 4)) * (3 if fmt.min == 0 else 2)).astype(np.float16)
    x = np.abs(x) if fmt.min == 0 else x
    weight = rng.integers(-7, 8, (3, 3, 4 // config.groups, 6)).astype(np.float32) / 8
    s = float(np.float16(0.3))
    params = conv.make_params(config, "c", np.rint(weight * 8).astype(np.int8), Scales(s, 0.125, 1.0))
    code, mask = conv.quantize_input(config, params, jnp.asarray(x))
    assert 0.05 < 1 - np.asarray(mask).mean() < 0.5
    out = jax.eval_shape(lambda x: conv.forward(config, params, x)[0], jnp.asarray(x)).shape
    dy = rng.standard_normal(out).astype(np.float16)
    found = scale_gradient.host_gradient(
        config, jnp.asarray(x), (code, mask), jnp.asarray(weight), jnp.asarray(dy), half(s)
    )
    wide, held = x.astype(np.float64), np.rint(x.astype(np.float64) / s) - x.astype(np.float64) / s
    clipped = ~np.asarray(mask)

    def loss(s: float) -> float:
        """Straight through: the rounding's error is held, so that a code is x/s and what was added to it."""
        ends = np.where(wide > 0, fmt.max, fmt.min)
        value = s * np.where(clipped, ends, wide / s + held)
        return float((dy.astype(np.float64) * _convolved(config, value, weight.astype(np.float64))).sum())

    slope = (loss(s + 1e-4) - loss(s - 1e-4)) / 2e-4
    wanted = slope / np.sqrt(5 * 6 * 4 * fmt.max)
    assert abs(wanted) > 0.01 and float(found) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("config", [ConvConfig(padding=1, stride=2, x_format=Fxp(4, False)), ConvConfig(groups=2)])
def test_the_gradient_of_a_clip_is_that_of_what_was_clipped(config):
    """Choi et al. 2018, (3): finite differences in float64 of sum(g * conv(q)), where clipped q is the end times s, and
    what was not clipped stays."""
    rng, fmt = np.random.default_rng(4), config.x_format
    x = (rng.standard_normal((3, 5, 6, 4)) * 3).astype(np.float16)
    x = np.abs(x) if fmt.min == 0 else x
    weight, s = rng.integers(-7, 8, (3, 3, 4 // config.groups, 6)) / 8, 0.3
    wide = x.astype(np.float64)
    high, low = wide > (fmt.max + 0.5) * s, wide < (fmt.min - 0.5) * s
    assert high.sum() > 5 and bool(low.sum() > 5) is fmt.signed
    ends = (fmt.max * high + fmt.min * low).astype(np.int8)
    out = _convolved(config, wide, weight).shape
    dy = rng.standard_normal(out).astype(np.float16)

    def loss(s: float) -> float:
        value = np.where(high | low, s * ends, 0.3 * np.rint(wide / 0.3))
        return float((dy.astype(np.float64) * _convolved(config, value, weight)).sum())

    wanted = (loss(s + 1e-4) - loss(s - 1e-4)) / 2e-4
    given = jnp.asarray(ends), jnp.asarray(weight, jnp.float32), jnp.asarray(dy)
    found = scale_gradient.host_clip_gradient(config, *given, (5, 6))
    assert abs(wanted) > 0.01 and float(found) == pytest.approx(wanted, rel=1e-3)


def _convolved(config: ConvConfig, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    kh, kw, c, c_out = weight.shape
    x = np.pad(x, ((0, 0), (config.padding,) * 2, (config.padding,) * 2, (0, 0)))
    oh, ow = ((size - k) // config.stride + 1 for size, k in zip(x.shape[1:3], (kh, kw), strict=True))
    y = np.zeros((len(x), oh, ow, c_out))
    each = c_out // config.groups
    for g in range(config.groups):
        for i in range(oh):
            for j in range(ow):
                part = x[:, i * config.stride : i * config.stride + kh, j * config.stride : j * config.stride + kw]
                part = part[..., g * c : (g + 1) * c]
                y[:, i, j, g * each : (g + 1) * each] = np.tensordot(part, weight[..., g * each : (g + 1) * each], 3)
    return y


def made(x_scale: float, w_scale: float | list[float]) -> ForwardScales:
    w = jnp.asarray(w_scale, jnp.float16)
    return ForwardScales(half(x_scale), half(0), w, w)


STEPS = [1.0, 1.37, 0.5, 1e-9, 1e9, 0.0, -3.0, float("nan"), float("inf")]
learned = jax.jit(learned_scales.scales, static_argnums=2)


@pytest.mark.parametrize("power_of_two", [False, True])
def test_every_scale_is_one_that_the_contract_takes(power_of_two):
    """SPEC.md F8, D3: whatever the master becomes, `make_params` makes the same parameters of the scale."""
    config, codes = ConvConfig(fold=True), np.ones((1, 1, 1, 3), np.int8)
    for x_scale in (SCALE_MIN, 2.0**-5, SCALE_MAX):
        for w_scale in (SCALE_MIN, 0.5, 2.0**12, [0.25, 8.0, 2.0**-9]):
            for step in STEPS:
                found = learned(made(x_scale, w_scale), jnp.float32(step), power_of_two)
                wanted = conv.make_params(config, "c", codes, Scales(float(found.x_scale), w_scale, 1.0))
                assert_same_bits((found.x_inv_scale, found.scale), (wanted.x_inv_scale, wanted.scale))
                assert not power_of_two or np.frexp(float(found.x_scale))[0] == 0.5
    near = learned(made(0.25, 0.5), jnp.float32(1.37), power_of_two)
    assert float(near.x_scale) == (0.25 if power_of_two else float(np.float16(0.25 * 1.37)))
    assert float(learned(made(0.25, 0.5), jnp.float32(1.5), True).x_scale) == 0.5


@functools.cache
def learning(policy: str = "lsq") -> network_module.NetworkModule:
    built = module(power_of_two=False, network=PLAIN)
    policies.prepare(built, policies.parse(policy), 0)
    return built


@pytest.mark.slow
def test_scales_begin_as_calibrated():
    """SPEC.md F8: not a bit of the parameters changes, and moved they are the functional network's."""
    built = copy.deepcopy(learning())
    params = network_module.to_params(built)
    assert_same_bits(params, network_module.to_params(module(power_of_two=False, network=PLAIN)))
    for each in ("c1", "c2"):
        built.layers[each].step.set_value(jnp.float32(1.7))
    moved = network_module.to_params(built)
    assert float(moved["c1"].x_inv_scale) < float(params["c1"].x_inv_scale)
    x = jnp.asarray(images(network=PLAIN).x, jnp.float16)
    assert_same_bits(*jax.jit(lambda x: (built(x), run.forward(PLAIN, moved, x)[0]))(x))


@functools.cache
def ends(numerics: str) -> tuple[Trainer, list[tuple[State, Metrics]]]:
    """A trainer under `bias+lsq` with powers of two, and what two epochs give."""
    built = trainer("bias+lsq", numerics, True)
    first = built.epoch(built.start(), 0)
    return built, [first, built.epoch(first[0], 1)]


def test_scales_train_and_nothing_else_of_a_convolution():
    """SPEC.md C4, F8: beside `bias` a number for each convolution; the loss falls."""
    built, ((_, first), (state, last)) = ends("bit_accurate")
    scales = {"layers/stem/step", "layers/c1/step"}
    assert built.program.trained == policies.trained(
        built.network, policies.parse("bias"), built.parts.params.keys() - scales
    ) | scales  # fmt: skip
    before = built.start().params
    moved = {name for name, value in before.items() if np.any(np.asarray(value != state.params[name]))}
    assert scales <= moved <= built.program.trained
    for name in ("stem", "c1"):
        host.check_scale(name, "x_scale", float(built.module(state).layers[name].forward_scales().x_scale))
    assert float(last.loss.mean()) < float(first.loss.mean())


def test_simulated_and_bit_accurate_learn_the_same_scales():
    """SPEC.md E2: with powers of two, states end with the same bits."""
    (_, ((one, _), _)), (_, ((other, _), _)) = ends("simulated"), ends("bit_accurate")
    assert_same_bits(one.params, other.params)


@pytest.mark.parametrize("policy", ["bias+lsq", "bias+pact"])
def test_float32_has_no_scales(policy):
    built = module("float32", network=PLAIN)
    policies.prepare(built, policies.parse(policy), 0)
    names = network_module.take_apart(built).params
    assert not [name for name in names if name.endswith(("/step", "/clip"))]


def test_a_scale_trains_by_one_rule():
    with pytest.raises(BitrowError, match=r"found 'lsq\+pact', expected lsq or pact"):
        policies.parse("lsq+pact")


def test_what_a_learned_scale_costs():
    """By hand: c2 reads 3x4x2 values, kept and sent in 16 bits; a product for each weight, and one a value."""
    head = ["layers/head/weight", "layers/head/bias"]
    with_it, without = (account(PLAIN, [*head, *more]) for more in (["layers/c2/step", "layers/n2/shift"],
                                                                    ["layers/n2/shift"]))  # fmt: skip
    assert with_it.trainable == without.trainable + 1
    assert (with_it.saved_kib - without.saved_kib) * 8192 == 24 * 16
    assert (with_it.program_kib - without.program_kib) * 1024 == 24 * 2
    assert with_it.host_macs - without.host_macs == 12 * 4 + 24
    assert (with_it.host_kib - without.host_kib) * 8192 == 24 * 16 + 24 * 16  # dy, and x
    assert with_it.macs_backward == without.macs_backward == 0


def test_what_a_learned_clip_costs():
    """By hand: of the 3x4x2 values that c2 reads, which were clipped, and in signed codes where: 2 bits each."""
    head = ["layers/head/weight", "layers/head/bias"]
    with_it, without = (account(PLAIN, [*head, *more]) for more in (["layers/c2/clip", "layers/n2/shift"],
                                                                    ["layers/n2/shift"]))  # fmt: skip
    assert PLAIN.node("c2").config.x_format.signed
    assert with_it.trainable == without.trainable + 1
    assert (with_it.saved_kib - without.saved_kib) * 8192 == 24 * 2
    assert (with_it.program_kib - without.program_kib) * 1024 == 24
    assert (with_it.host_kib - without.host_kib) * 8192 == 24 * 16 + 24 * 2


@pytest.mark.parametrize("policy", ["lsq", "pact"])
def test_what_is_kept_is_what_is_counted(policy):
    """SPEC.md C4: of each image the backward pass of a module with learned scales keeps the bytes accounted for."""
    built = learning(policy)
    parts = network_module.take_apart(built)
    names = policies.trained(built.network, policies.parse(f"bias+{policy}"), parts.params)
    x = jnp.asarray(images(13, PLAIN).x, jnp.float16)

    def pullback(trained):
        return jax.vjp(lambda trained: parts._replace(params=parts.params | trained).join()(x), trained)[1]

    kept = jax.eval_shape(pullback, {name: parts.params[name] for name in names})
    total = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept) if 13 in leaf.shape)
    assert total // 13 == account(PLAIN, names).program_kib * 1024


@pytest.mark.parametrize("rule", ScaleRule)
def test_the_masters_gradient_is_the_scales_times_calibrations(rule):
    """The chain from the rounded scale to the master, through the module; a mean over images is the trainer's."""
    rng = np.random.default_rng(2)
    config, codes = ConvConfig(), rng.integers(-7, 8, (1, 1, 2, 3)).astype(np.int8)
    layer = modules.ConvOfParams(config, conv.make_params(config, "c", codes, Scales(0.25, 0.5, 1.0)))
    layer.learn_scale(rule=rule)
    name = "step" if rule is ScaleRule.LSQ else "clip"
    x = jnp.asarray(2 * rng.standard_normal((4, 3, 3, 2)), jnp.float16)
    dy = jnp.asarray(rng.standard_normal((4, 3, 3, 3)), jnp.float16)

    parts = network_module.take_apart(layer)

    @jax.jit
    def gradient(step):
        return jax.vjp(lambda step: parts._replace(params=parts.params | {name: step}).join()(x), step)[1](dy)[0]

    found = gradient(jnp.float32(1.5))
    getattr(layer, name).set_value(jnp.float32(1.5))
    params = layer.to_params()
    assert params.x_inv_scale == np.float16(1 / 0.375)
    quantized = conv.quantize_input(config, params, x)
    weight = jnp.asarray(codes, jnp.float32) * 0.5
    wanted = 0.25 * scale_gradient.host_gradient(config, x, quantized, weight, dy, half(0.375))
    if rule is ScaleRule.PACT:
        ends = jnp.where(quantized[1], 0, quantized[0])
        assert (np.asarray(ends) == 7).any() and (np.asarray(ends) == -8).any()
        wanted = 0.25 * scale_gradient.host_clip_gradient(config, ends, weight, dy, (3, 3))
    assert float(found) == pytest.approx(float(wanted), rel=1e-6) and float(found) != 0
