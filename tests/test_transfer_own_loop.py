"""Training loops of one's own with optax: loss scales inside, silent gradients, delayed scales, own modules."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from bitrow import float_model
from bitrow.calibrate import LeastSquares
from bitrow.config import ConvConfig, LinearConfig, ReluConfig
from bitrow.contract import conv as contract_conv
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, LinearSize, Network, Node
from bitrow.transfer import modules as M
from bitrow.transfer import numerics, own_loop, policies, pretrain
from bitrow.transfer.data import Images, Task
from bitrow.transfer.loss_scale import LossScale, LossScaling
from test_transfer_training import PLAIN

COUNT = 256


@functools.cache
def task() -> Task:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((COUNT, *PLAIN.input_shape)).astype(np.float16).astype(np.float32)
    every = Images(x, rng.integers(0, 3, COUNT).astype(np.int32))
    return Task("t", ("a", "b", "c"), every, every)


@functools.cache
def pretrained() -> pretrain.Pretrained:
    """As initialized, with scales that are powers of two."""
    none = pretrain.Fit(0, 1e-3)
    model = float_model.initialize(PLAIN, 0)
    return pretrain.pretrain(PLAIN, task(), 0, none, none, LeastSquares(True), model)


def ready(name: str = "bit_accurate") -> pretrain.ReadyModule:
    return pretrain.ready(pretrained(), task(), numerics.parse(name), 0, LeastSquares(True))


def images() -> tuple:
    return jnp.asarray(task().train.x), jnp.asarray(task().train.y)


def mean_loss(module, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(module(x), y).mean()


@nnx.jit
def gradients(module, x, y):
    return nnx.grad(mean_loss)(module, x, y)


def arrays(found) -> dict[str, np.ndarray]:
    return {"/".join(map(str, path)): np.asarray(value.get_value()) for path, value in nnx.to_flat_state(found)}


def test_an_ordinary_mean_loss_reaches_the_first_layer():
    """SPEC.md C2, F8: its gradient is the sum's divided by 256; c2's codes must not all be zero for that."""
    found = arrays(gradients(ready().module, *images()))
    assert not {name for name, value in found.items() if not value.any()}


def test_any_multiple_of_a_loss_has_the_same_codes():
    """SPEC.md F8: a dynamic scale takes a power of two out of the loss, whatever it is, and gives it back exactly."""

    @nnx.jit
    def by(module, x, y, factor):
        return nnx.grad(lambda module: mean_loss(module, x, y) * factor)(module)

    one, *others = (arrays(by(ready().module, *images(), jnp.float32(2.0**k))) for k in (0, 20, -30))
    for k, other in zip((20, -30), others, strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(other[name], value * np.float32(2.0**k), err_msg=name)
    silent = arrays(by(ready().module, *images(), jnp.float32(0)))
    assert not any(value.any() for value in silent.values())


def test_a_static_scale_of_a_mean_is_the_sum_under_calibrations():
    """SPEC.md A4, C2: 256 images' mean, scaled by 256 and calibration's scale, has the sum's codes, bit for bit."""
    module, scale = ready()
    module.loss_scale = LossScale(scale, LossScaling.STATIC)
    found = arrays(gradients(module, *images()))
    module.loss_scale = None
    x, y = images()

    @nnx.jit
    def as_given(module, x, y):
        graph, params, rest = nnx.split(module, nnx.Param, ...)
        logits, pull = jax.vjp(lambda params: nnx.merge(graph, params, rest)(x), params)
        dlogits = jax.grad(lambda z: optax.softmax_cross_entropy_with_integer_labels(z, y).mean())(
            logits.astype(jnp.float32)
        )
        return pull((dlogits * (scale * COUNT)).astype(jnp.float16))[0]

    for name, value in arrays(as_given(module, x, y)).items():
        np.testing.assert_array_equal(found[name], value / np.float32(scale * COUNT), err_msg=name)


def test_a_loss_scale_changes_no_logit():
    """SPEC.md A4: the same numbers as float32, also in a program that closes over the module."""
    module, x = ready().module, images()[0][:4]
    scaled = np.asarray(jax.jit(module)(x))
    module.loss_scale = None
    np.testing.assert_array_equal(scaled, np.asarray(jax.jit(module)(x)).astype(np.float32))


@pytest.mark.parametrize("value", [0.5, 3.0, 2.0**16, float("nan")])
def test_a_loss_scale_is_a_power_of_two(value):
    with pytest.raises(BitrowError, match="expected a power of two from 1 to 32768"):
        LossScale(value)


def test_silent_codes_are_told_of_by_layer():
    """SPEC.md C2: without a loss scale the codes of c2 are all zero, of c1 there are none; with it nothing is said."""
    module = ready().module
    own_loop.watch(module)
    gradients(module, *images())
    jax.effects_barrier()
    module.loss_scale = None
    with pytest.warns(UserWarning, match="layers/c2: found gradient codes that are all zero") as told:
        jax.block_until_ready(gradients_of_half(module, *images()))
        jax.effects_barrier()
    assert all("layers/c2" in str(one.message) for one in told)


@nnx.jit
def gradients_of_half(module, x, y):
    def loss(module):
        return optax.softmax_cross_entropy_with_integer_labels(module(x).astype(jnp.float32), y).mean()

    return nnx.grad(loss)(module)


PAGE = Path(__file__).parents[1] / "docs" / "own_loop.md"


@pytest.fixture(scope="module")
def page() -> dict:
    """What the page's code leaves behind, run as it stands there."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    left: dict = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile(code, PAGE.name, "exec"), left)
    return left


def test_modules_of_ones_own_train_with_optax(page):
    """SPEC.md C1, C2, F8: clipping, a schedule, accumulation, a flax batch norm and Linear: the page's own loop."""
    losses, net = page["losses"], page["net"].module
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.1
    before, after = (arrays(nnx.state(each, nnx.Param)) for each in (page["Net"](nnx.Rngs(0)), net))
    assert all((after[name] != value).any() for name, value in before.items())
    assert np.asarray(net.norm.mean.get_value()).any()  # statistics come out of the call
    assert int(page["optimizer"].opt_state.gradient_step.get_value()) == len(losses) // 2


def test_delayed_scales_follow_in_a_loop_of_ones_own(page):
    """SPEC.md F8, D3: the history's largest over 7, rounded once; more where dx_scale would be subnormal."""
    for name, conv in (("module/c1", page["net"].module.c1), ("module/c2", page["net"].module.c2)):
        largest = np.asarray(page["history"][name]).max()
        found, w_scale = conv.gradient.get_value(), float(conv.scales.get_value().w_scale)
        assert largest > 0 and np.count_nonzero(page["history"][name]) == 16
        least = 2.0 ** np.ceil(np.log2(np.float64(np.float16(2.0**-14 / w_scale))))
        assert float(found.dy_scale) == max(np.float16(np.float16(largest) / np.float64(7)), least, 2.0**-14)
        assert found.dx_scale == np.float16(float(found.dy_scale) * w_scale)


def test_own_convolutions_have_the_oracles_bits(page):
    """SPEC.md C1: what `calibrate` chose is a convolution of the contract; without scales it says so in one line."""
    with pytest.raises(BitrowError, match=r"convolution: found no scales, expected own_loop\.calibrate before"):
        M.Conv(1, 2, 1, rngs=nnx.Rngs(0))(images()[0])
    conv, x = page["net"].module.c1, page["x"][:1]
    params = conv.to_params()
    words = {name: np.asarray(getattr(params, name)).view(np.uint16) for name in ("x_inv_scale", "scale", "bias")}
    words |= {"x": np.asarray(x, np.float16).view(np.uint16), "weight_code": np.asarray(params.weight_code)}
    expected = contract_conv.FORWARD.oracle(conv.config, words)["y"]
    np.testing.assert_array_equal(np.asarray(nnx.jit(conv)(x)).view(np.uint16), expected)


@pytest.mark.parametrize("shape", [(3, 2, 1), (0, 2, 1), (2, 2, (1, 1, 1)), (2, 2, 0)])
def test_a_convolution_that_cannot_be(shape):
    with pytest.raises(BitrowError, match="found"):
        M.Conv(*shape, config=ConvConfig(groups=2), rngs=nnx.Rngs(0))


def test_what_cannot_be_calibrated_is_one_line():
    class Twice(nnx.Module):
        def __init__(self):
            self.c1, self.c2 = (M.Conv(1, 1, 1, rngs=nnx.Rngs(0)) for _ in range(2))

        def __call__(self, x):
            return self.c1(self.c1(x))

    with pytest.raises(BitrowError, match="calibrate c2: found no call"):
        own_loop.calibrate(Twice(), images()[0], jnp.sum)
    with pytest.raises(BitrowError, match="calibrate: found no convolution"):
        own_loop.calibrate(M.Relu(), images()[0], jnp.sum)
    net = Twice()
    del net.c2
    with pytest.raises(BitrowError, match="calibrate c1: found a second call"):
        own_loop.calibrate(net, images()[0], jnp.sum)


def test_a_hidden_linear_begins_as_flax_has_it_and_trains():
    """SPEC.md A4: variance 1/inputs within two deviations; the head is zero; policy head trains the head alone."""
    nodes = (
        Node("hidden", LinearConfig(), (INPUT,), LinearSize(300)), Node("relu", ReluConfig(), ("hidden",)),
        Node("head", LinearConfig(), ("relu",), LinearSize(3)),
    )  # fmt: skip
    network = Network("mlp", (8, 8, 1), nodes, "head")
    model = float_model.initialize(network, 0)
    weight = np.asarray(model.params["hidden"].weight)
    assert abs(weight.std() * 8 - 1) < 0.02 and np.abs(weight).max() * 8 * 0.87962 < 2.0001
    assert not np.asarray(model.params["head"].weight).any()
    names = [f"layers/{layer}/{field}" for layer in ("hidden", "head") for field in ("weight", "bias")]
    for policy, wanted in (("head", names[2:]), ("bias", names[1:]), ("full", names)):
        assert policies.trained(network, policies.parse(policy), names) == set(wanted)


def test_masters_gradients_have_float32s_magnitude():
    """SPEC.md C4: they train in real units. Beside codes, gradients of codes are w_scale^2 as large as these beside the
    weights, here a sixtieth and less, which QAS mends (Lin et al. 2022; `tests/test_transfer_trained_codes.py`).
    """
    accurate, in_float = (arrays(gradients(ready(name).module, *images())) for name in ("bit_accurate", "float32"))
    for layer in ("c1", "c2"):
        one, other = (np.linalg.norm(found[f"layers/{layer}/weight"]) for found in (accurate, in_float))
        scale = float(pretrained().scales[layer].w_scale)
        assert 1 / 2 < one / other < 2 and 1 / scale**2 > 60
