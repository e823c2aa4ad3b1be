"""The float32 model, training, calibration; how far the bit-accurate network is from float32 (SPEC.md E3)."""

from __future__ import annotations

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bitrow import calibrate, float_model, host, zoo
from bitrow import network as run
from bitrow.calibrate import LeastSquares, Percentile
from bitrow.config import BatchNormConfig, ConvConfig
from bitrow.errors import BitrowError
from bitrow.float_conv import fake_quantize
from bitrow.float_model import FloatModel
from bitrow.formats import FXP4, FXP8, UFXP4, Fxp, Gradient
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node
from bitrow.host import check_scale, inverse_scale, product_scale
from bitrow.layers.twin import ConvScales, Norm, Stats, Weights
from bitrow.vectors.judge import stepwise
from network_samples import backward, every_layer, forward

FROZEN = every_layer(BatchNormConfig())


def data(network, count=8, seed=1):
    """Images that an FP16 number holds exactly, and labels."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((count, *network.input_shape)).astype(np.float16)
    return images.astype(np.float32), rng.integers(0, 3, count).astype(np.int32)


def started(network, seed=2) -> FloatModel:
    """An initialised model with statistics of real passes, drawn gammas and betas, and a head not zero."""
    rng = np.random.default_rng(seed)
    model = float_model.initialize(network, seed)
    params = dict(model.params)
    for name, value in params.items():
        if isinstance(value, Norm):
            gamma, beta = rng.uniform(0.5, 1.5, value.gamma.shape), rng.uniform(-0.5, 0.5, value.beta.shape)
            params[name] = Norm(jnp.asarray(gamma, jnp.float32), jnp.asarray(beta, jnp.float32))
        elif not np.any(value.weight):
            weight = rng.standard_normal(value.weight.shape).astype(np.float16)
            params[name] = value._replace(weight=jnp.asarray(weight, jnp.float32))
    model = FloatModel(params, model.stats)
    for _ in range(20):
        _, stats = float_model.forward(network, model, jnp.asarray(data(network)[0]), train=True)
        model = FloatModel(params, stats)
    return model


def cosine(a, b) -> float:
    a, b = (np.asarray(v, np.float64).reshape(-1) for v in (a, b))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("fmt", [FXP4, UFXP4, Fxp(6, narrow=True)])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_least_squares_beats_its_neighbours(fmt, power_of_two):
    """SPEC.md F8: the chosen scale's error is the least among its candidates, written apart here."""
    values = np.random.default_rng(7).standard_t(4, 3000)
    values = np.abs(values) if not fmt.signed else values

    def error(scale):
        code = np.minimum(np.maximum(np.round(values / scale), fmt.min), fmt.max)
        return np.sum((values - code * scale) ** 2)

    scale = LeastSquares(power_of_two)(values, fmt)
    top = np.abs(values).max() / fmt.max
    if power_of_two:
        assert math.frexp(scale)[0] == 0.5
        others = [scale / 2, scale * 2]
    else:
        step = top / 64
        assert scale / step == pytest.approx(round(scale / step))
        others = [scale - step, scale + step, top]
    assert all(error(scale) <= error(other) for other in others)
    assert scale < top  # heavy tails: clipping them is better than resolving nothing else


def test_percentile_clips_what_it_says():
    """SPEC.md F8."""
    values = np.arange(1, 1001) / 100
    assert Percentile(100.0)(values, FXP4) == pytest.approx(10 / 7)
    assert Percentile(50.0)(values, FXP4) == pytest.approx(5.005 / 7)
    assert Percentile(100.0, power_of_two=True)(values, FXP4) == 2.0
    assert Percentile(50.0, power_of_two=True)(values, UFXP4) == 0.5


@pytest.mark.parametrize("rule", [LeastSquares(), LeastSquares(True), Percentile()])
def test_all_zero_values_have_a_scale(rule):
    """SPEC.md F8: never zero."""
    assert rule(np.zeros(5), FXP4) == 1.0


def test_scales_are_brought_into_range():
    """SPEC.md F8."""
    assert calibrate.as_scale(1e-9) == 2.0**-14 and calibrate.as_scale(1e9) == 2.0**14
    assert calibrate.as_scale(0.1) == float(np.float16(0.1))


def test_weight_codes_round_to_even_and_clip():
    """SPEC.md F7, Q1: nearest, ties to even, each output channel under its own scale."""
    weight = np.array([[0.25, 0.75, -0.25, 9.0, -9.0], [1.25, 0.5, 2.0, 0.0, -1.75]], np.float32).T
    codes = host.weight_codes(weight[None, None], np.array([0.5, 0.5]), FXP4)
    assert codes[0, 0].T.tolist() == [[0, 2, 0, 7, -8], [2, 1, 4, 0, -4]]
    codes = host.weight_codes(weight[None, None], np.array([0.5, 0.25]), FXP4)
    assert codes[0, 0].T.tolist() == [[0, 2, 0, 7, -8], [5, 2, 7, 0, -7]]


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("fold", [False, True])
def test_calibrated_parameters_follow_the_contract(power_of_two, fold):
    """SPEC.md F8, Q1, D3, B1, C2: inverses and products of scales, folded norms, power-of-two loss scale."""
    network = every_layer(BatchNormConfig(), conv=ConvConfig(fold=fold))
    model, (images, labels) = started(network), data(network)
    rule = LeastSquares(power_of_two)
    scales = calibrate.forward_scales(network, model, images, rule)
    gradients = calibrate.gradient_scales(network, model, scales, images, labels, rule)
    found = calibrate.calibrate(network, model, images, labels, rule)
    assert found.loss_scale == gradients.loss_scale and math.frexp(found.loss_scale)[0] == 0.5
    for name in ("c1", "c2"):
        x_scale, dy_scale = float(scales[name].x_scale), gradients.dy_scale[name]
        w_scales = np.asarray(scales[name].w_scale, np.float64).reshape(-1).tolist()
        assert len(w_scales) == (4 if fold else 1)
        for scale in (x_scale, dy_scale, *w_scales):
            check_scale(name, "scale", scale)
            assert not power_of_two or math.frexp(scale)[0] == 0.5
        params = found.params[name]
        assert float(params.x_inv_scale) == inverse_scale(x_scale)
        assert float(params.dy_inv_scale) == inverse_scale(dy_scale)
        products = [product_scale(name, "scale", x_scale, w) for w in w_scales]
        assert np.asarray(params.scale).reshape(-1).tolist() == products
        least = dy_scale if fold else dy_scale * w_scales[0]
        assert least >= calibrate.LEAST_GRADIENT_PRODUCT * 0.999
    var = model.stats["n2"].var
    a = model.params["n2"].gamma / np.sqrt(np.asarray(var, np.float64) + 2.0**-10)
    assert np.asarray(found.params["n2"].a).tolist() == a.astype(np.float16).tolist()


def test_gradients_too_far_apart_are_refused():
    """SPEC.md F8, D3: no loss scale serves a layer whose gradient is a billionth of another's."""
    network, (images, labels) = FROZEN, data(FROZEN)
    model = started(network)
    for gamma, what in (
        (1e-12, r"every_layer loss scale: found .* expected at most 32768"),
        (1e-8, r"every_layer c2 dy_scale: found .* expected at most 16384"),
    ):
        small = model.params["n1"]._replace(gamma=jnp.full(4, gamma, jnp.float32))
        head = model.params["head"]._replace(weight=model.params["head"].weight * 1e3)
        params = model.params | {"n1": small, "head": head}
        with pytest.raises(BitrowError, match=what):
            calibrate.calibrate(network, FloatModel(params, model.stats), images, labels)


def test_a_layer_without_gradient_has_a_scale():
    """SPEC.md F8: a dead ReLU leaves its convolution no gradient to measure."""
    network, (images, labels) = FROZEN, data(FROZEN)
    model = started(network)
    dead = Norm(jnp.zeros(4, jnp.float32), jnp.full(4, -1.0, jnp.float32))
    model = FloatModel(model.params | {"n1": dead}, model.stats)
    scales = calibrate.forward_scales(network, model, images)
    assert calibrate.gradient_scales(network, model, scales, images, labels).dy_scale["c1"] == 1.0


def test_bias_is_calibrated_as_fp16():
    """SPEC.md D3."""
    network = every_layer(BatchNormConfig(), bias=True)
    model, (images, labels) = started(network), data(network)
    bias = jnp.asarray([0.1, -0.2, 0.3, 1.0], jnp.float32)
    model.params["c1"] = model.params["c1"]._replace(bias=bias)
    found = calibrate.calibrate(network, model, images, labels).params["c1"].bias
    assert np.asarray(found).tolist() == np.asarray(bias).astype(np.float16).tolist()


def differentiated(function, x, dy):
    """A function's value and its pullback of dy, operation by operation."""

    def both(given):
        value, pull = jax.vjp(function, given[0])
        return value, pull(given[1])

    return stepwise.run(both, (x, dy))


@pytest.mark.parametrize(
    ("statistics", "fmt"),
    [("frozen", FXP4), ("batch", FXP4), ("frozen", FXP8), pytest.param("batch", FXP8, marks=pytest.mark.slow)],
)
def test_bit_accurate_is_close_to_simulated_quantization(statistics, fmt):
    """SPEC.md E3, C3: forward, and backward without gradient codes, differ by FP16's rounding."""
    conv = ConvConfig(x_format=fmt, weight_format=fmt, gradient=Gradient.FP16)
    norm = BatchNormConfig() if statistics == "frozen" else every_layer().node("n1").config
    network = every_layer(norm, conv=conv)
    model, (images, _) = started(network), data(network, 2)
    scales = calibrate.forward_scales(network, model, images)
    params = calibrate.make_params(network, model, scales, {"c1": 1.0, "c2": 1.0})
    logits, saved = forward(network, params, jnp.asarray(images, jnp.float16))

    def float_logits(x):
        return float_model.forward(network, model, x, scales=scales, train=False)[0]

    if statistics == "batch":
        float_logits = batch_float(network, model, scales)
    dlogits = np.random.default_rng(0).standard_normal(logits.shape).astype(np.float16)
    expected, (float_dx,) = differentiated(float_logits, images, dlogits.astype(np.float32))
    assert cosine(logits, expected) > 0.9999
    dx, _ = backward(network, params, saved, dlogits)
    assert cosine(dx, float_dx) > 0.999


def test_scales_too_small_for_fp16_are_moved_into_the_batch_norm():
    """SPEC.md D3, B1: a power of two more in the convolution, taken back to the last bit by the fold."""
    network, (images, labels) = FROZEN, data(FROZEN)
    model = started(network)
    scales = calibrate.forward_scales(network, model, images)
    plain = calibrate.make_params(network, model, scales, {"c1": 1.0, "c2": 1.0})
    w_scale = jnp.float32(np.float16(2.0**-13 / 1.5))
    tiny = scales | {"c1": scales["c1"]._replace(w_scale=w_scale, x_scale=jnp.float32(2.0**-3))}
    moved = calibrate.make_params(network, model, tiny, {"c1": 1.0, "c2": 1.0})
    gain = 2.0**4
    assert float(moved["c1"].scale) == float(np.float16(float(w_scale) * 2.0**-3 * gain))
    assert float(moved["c1"].dy_inv_scale) == gain
    a, b = (np.asarray(v, np.float64) for v in moved["n1"])
    assert np.array_equal(a * gain, np.asarray(plain["n1"].a, np.float64))
    assert np.array_equal(b, np.asarray(plain["n1"].b, np.float64))
    assert labels.shape == (8,)


def batch_float(network, model, scales):
    """Float32 logits where n1 normalises by the batch's statistics and n2 by the running ones."""

    def logits(x):
        observed = {}
        float_model.forward(network, model, x, scales=scales, observe=observed.__setitem__)
        mean, var = observed["c1"].mean((0, 1, 2)), observed["c1"].var((0, 1, 2))
        stats = model.stats | {"n1": Stats(mean, var)}
        return float_model.forward(network, FloatModel(model.params, stats), x, scales=scales)[0]

    return logits


def test_gradient_codes_keep_the_direction():
    """SPEC.md C2: four-bit gradients of this small network still point where float32's do."""
    network, (images, labels) = FROZEN, data(FROZEN, 2)
    model = started(network)
    found = calibrate.calibrate(network, model, images, labels)
    scales = calibrate.forward_scales(network, model, images)

    def loss(x):
        logits = float_model.forward(network, model, x, scales=scales)[0]
        return float_model.cross_entropy(logits, jnp.asarray(labels)), logits

    float_dx, logits = stepwise.run(jax.grad(loss, has_aux=True), images)
    dlogits = found.loss_scale * (jax.nn.softmax(logits) - jax.nn.one_hot(jnp.asarray(labels), 3))
    _, saved = forward(network, found.params, jnp.asarray(images, jnp.float16))
    dx, _ = backward(network, found.params, saved, dlogits.astype(jnp.float16))
    assert cosine(dx, float_dx) > 0.9
    ratio = np.linalg.norm(np.asarray(dx, np.float64)) / np.linalg.norm(np.asarray(float_dx, np.float64))
    assert 0.8 < ratio / found.loss_scale < 1.25


def test_fake_quantization_passes_gradients_inside_the_range_only():
    """SPEC.md Q1, Q4 in simulation."""
    x = jnp.asarray([-9.0, -4.2, -4.3, 0.2, 0.25, 0.75, 3.6, 3.8], jnp.float32)
    value, pull = jax.vjp(lambda v: fake_quantize(v, jnp.float32(0.5), FXP4), x)
    assert value.tolist() == [-4.0, -4.0, -4.0, 0.0, 0.0, 1.0, 3.5, 3.5]
    (passed,) = pull(jnp.ones_like(x))
    assert passed.tolist() == [0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]


def small() -> Network:
    nodes = (
        Node("c", ConvConfig(padding=1), (INPUT,), ConvSize(3, 3, 4)),
        *every_layer(BatchNormConfig()).nodes[1:3],
        Node("head", every_layer().node("head").config, ("r1",), LinearSize(2)),
    )
    nodes = (nodes[0], replace(nodes[1], inputs=("c",)), *nodes[2:])
    return Network("small", (4, 4, 1), nodes, "head")


def test_training_learns_in_float_and_through_quantization():
    """Left and right halves brighter: learnt in 60 steps, kept through simulated quantization."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 64).astype(np.int32)
    images = rng.standard_normal((64, 4, 4, 1)).astype(np.float32) * 0.5
    images[:, :, :2] += np.where(labels, 1.0, -1.0)[:, None, None, None].astype(np.float32)
    network = small()
    first = float_model.initialize(network, 0)
    model, losses = float_model.train(network, first, [(images, labels)] * 60, optax.adam(0.02))
    assert losses[0] == pytest.approx(math.log(2)) and losses[-1] < 0.2
    assert np.any(np.asarray(model.stats["n1"].mean)) and not np.any(np.asarray(first.stats["n1"].mean))
    scales = calibrate.forward_scales(network, model, images)
    tuned, losses = float_model.train(
        network, model, [(images, labels)] * 20, optax.adam(0.005), scales=scales, batch_statistics=False
    )
    assert losses[-1] < losses[0] and losses[-1] < 0.2
    assert np.array_equal(tuned.stats["n1"].mean, model.stats["n1"].mean)
    params = calibrate.make_params(network, tuned, scales, {"c": 1.0})
    logits, _ = forward(network, params, jnp.asarray(images, jnp.float16))
    assert (np.asarray(logits).argmax(1) == labels).mean() > 0.9


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2"])
def test_float_shapes_are_the_networks(name):
    """SPEC.md C1, A2, A3: every value of the float model has the shape that the graph infers."""
    network = zoo.build(name, (9, 13, 3), 5, 0.25)
    model = float_model.initialize(network, 0)
    x = jax.ShapeDtypeStruct((2, 9, 13, 3), jnp.float32)

    def values(x):
        found = {}
        float_model.forward(network, model, x, observe=found.__setitem__)
        return found

    found = jax.eval_shape(values, x)
    assert {n: v.shape[1:] for n, v in found.items()} == {
        n: s for n, s in run.shapes(network).items() if n != INPUT
    }


def test_models_without_a_layers_parameters_are_refused():
    model = float_model.initialize(FROZEN, 0)
    images, _ = data(FROZEN)
    without = FloatModel({k: v for k, v in model.params.items() if k != "c2"}, model.stats)
    with pytest.raises(BitrowError, match="c2: found no float parameters"):
        float_model.forward(FROZEN, without, jnp.asarray(images))
    large = model.params["head"]._replace(weight=jnp.full((16, 3), 1e6, jnp.float32))
    scales = {n: ConvScales(jnp.float32(0.5), jnp.float32(0.5)) for n in ("c1", "c2")}
    with pytest.raises(BitrowError, match="every_layer head weight: found a value beyond FP16"):
        broken = FloatModel(model.params | {"head": large}, model.stats)
        calibrate.make_params(FROZEN, broken, scales, {"c1": 1.0, "c2": 1.0})
    assert isinstance(model.params["c1"], Weights)
