"""Networks of several outputs: files, both schedules, vectors, calibration, and who refuses them (SPEC.md A5, C1)."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bitrow import calibrate, cli, float_model, model_file, network, outputs
from bitrow.config import ConvConfig, LinearConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node, shapes
from bitrow.parameters import check_params
from bitrow.reading import records
from bitrow.synthetic import synthetic
from bitrow.transfer import data, network_module, own_loop, policies
from bitrow.transfer import modules as M
from bitrow.transfer.experiment import ExperimentPlan, network_of
from bitrow.transfer.loss_scale import LossScale
from bitrow.transfer.numerics import parse
from bitrow.vectors.files import store


def two() -> Network:
    """A shared convolution with a map of boxes and a classifier behind it."""
    same = ConvConfig(padding=1)
    nodes = (
        Node("stem", same, (INPUT,), ConvSize(3, 3, 3)),
        Node("relu", ReluConfig(), ("stem",)),
        Node("boxes", ConvConfig(stride=2, padding=1), ("relu",), ConvSize(3, 3, 2)),
        Node("head", LinearConfig(), ("relu",), LinearSize(4)),
    )
    return Network("two", (4, 4, 2), nodes, "boxes", more_outputs=("head",))


def one() -> Network:
    """The same without the classifier."""
    found = two()
    return Network("two", found.input_shape, found.nodes[:3], "boxes")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("two") / "two.safetensors"
    model_file.save(found, synthetic(two(), 1, 2))
    return found


def test_files_hold_them_and_those_of_one_output_are_what_they_were(path: Path) -> None:
    """A field that comes later stands in no file of before; samples have the gradients of all side by side."""
    assert "more_outputs" not in records.write(one()) and records.write(two())["more_outputs"] == ["head"]
    text = json.loads(json.dumps(records.write(two())))
    assert records.read(Network, text, "network") == two()
    model = model_file.load(path)
    assert model.network == two() and model.network.outputs == ("boxes", "head")
    assert model.samples is not None and model.samples.dlogits.shape == (2, 2 * 2 * 2 + 4)
    assert outputs.words(one()) == 8


REFUSED = [
    ("relu", "two relu: found the output read by boxes, expected by none"),
    ("boxes", "two: found output 'boxes' twice, expected each once"),
    ("none", "two: found output 'none', expected the name of a layer"),
]


@pytest.mark.parametrize(("name", "says"), REFUSED)
def test_what_is_no_output_is_refused(name: str, says: str) -> None:
    with pytest.raises(BitrowError) as caught:
        Network("two", (4, 4, 2), two().nodes, "boxes", more_outputs=(name,))
    assert str(caught.value) == says


@pytest.mark.slow
def test_gradients_of_several_are_those_of_each(path: Path) -> None:
    """SPEC.md A5: with the head's dlogits at zero, dx is that of the network without the head."""
    model = model_file.load(path)
    assert model.samples is not None
    x, part = jnp.asarray(model.samples.images), outputs.split(two(), jnp.asarray(model.samples.dlogits))
    logits, saved = network.forward(two(), model.params, x)
    assert {name: y.shape for name, y in logits.items()} == {"boxes": (2, 2, 2, 2), "head": (2, 4)}
    alone = {name: params for name, params in model.params.items() if name != "head"}
    expected, kept = network.forward(one(), alone, x)
    np.testing.assert_array_equal(logits["boxes"], expected)
    silent = part | {"head": jnp.zeros_like(part["head"])}
    dx, _ = network.backward(two(), model.params, saved, silent)
    np.testing.assert_array_equal(dx, network.backward(one(), alone, kept, part["boxes"])[0])
    both, _ = network.backward(two(), model.params, saved, part)
    flat, _ = network.backward(two(), model.params, saved, jnp.asarray(model.samples.dlogits))
    np.testing.assert_array_equal(both, flat)
    assert (np.asarray(both) != np.asarray(dx)).any()
    _, pull = jax.vjp(lambda x: network.apply(two(), model.params, x), x)
    shaped = {name: part[name].reshape(y.shape) for name, y in logits.items()}
    np.testing.assert_array_equal(pull(shaped)[0], both)


BAD = [
    (lambda: {"boxes": np.zeros((1, 8), np.float16)}, "two dlogits: found those of boxes, expected boxes, head"),
    (lambda: np.zeros((1, 9), np.float16), "found [1, 9], expected [n, 12], or one by name for boxes, head"),
    (lambda: {"boxes": np.zeros((1, 8)), "head": np.zeros((1, 3))}, "of head: found [1, 3], expected [n, 1, 1, 4]"),
    (lambda: {"boxes": np.zeros((1, 8)), "head": np.zeros((2, 4))}, "found [1, 2] images, expected as many"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "says"), BAD, ids=[says[:20] for _, says in BAD])
def test_gradients_that_do_not_fit_are_one_line(given, says: str) -> None:
    with pytest.raises(BitrowError) as caught:
        outputs.split(two(), given())
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_rows_of_both(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`bitrow pipeline FILE --check`: the loss waits for the last row of each output; both directions."""
    assert cli.run(["pipeline", str(path), "--images", "2", "--check"]) == 0
    assert "equal the whole-tensor model" in capfd.readouterr().out


def test_vectors_of_both(path: Path, tmp_path: Path) -> None:
    """SPEC.md V5: a case for each layer and direction, recomputed; the network run whole has the same words."""
    out = tmp_path / "set"
    assert cli.run(["generate", "--out", str(out), "--network", str(path), "--quiet"]) == 0
    assert cli.run(["verify", str(out)]) == 0
    names = {case.name for case in store.read_set(out)}
    assert {"two_boxes_backward", "two_head_backward", "two_relu_fan_out"} <= names


def test_calibrated_from_labels_of_each() -> None:
    """The host's losses add up; labels of one output alone are refused."""
    rng, graph = np.random.default_rng(1), two()
    images = rng.normal(size=(3, 4, 4, 2)).astype(np.float32)
    model = float_model.initialize(graph, 1)
    scales = calibrate.forward_scales(graph, model, images)
    dlogits = rng.normal(size=(3, outputs.words(graph))).astype(np.float32)
    found, small = calibrate.gradient_scales_of(graph, model, scales, images, dlogits)
    assert set(found.dy_scale) == {"stem", "boxes"} and not small
    check_params(graph, calibrate.make_params(graph, model, scales, found.dy_scale))
    with pytest.raises(BitrowError, match="two labels: found those of boxes, expected some for boxes, head"):
        calibrate.gradient_scales(graph, model, scales, images, np.zeros(3, np.int32))
    assert shapes(graph)["head"] == (1, 1, 4)


def test_transfer_takes_the_output_that_is_named(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The first, or that of --output; what the others need alone is left out. The first here is no head."""
    task = data.load("digits", limit=2)
    found = network_of(ExperimentPlan(network=str(path), output="head"), task)
    assert found.outputs == ("head",) and [node.name for node in found.nodes] == ["stem", "relu", "head"]
    for more, says in ((["--output", "none"], "two output: found 'none', expected one of boxes, head"),
                       ([], "boxes: found no head, expected one to replace"),
                       (["--network", "resnet8", "--output", "head"], "--output: found 'head' of resnet8"),
                       ):  # fmt: skip
        assert cli.run(["transfer", "--network", str(path), "--seeds", "1", *more]) != 0
        error = capfd.readouterr().err
        assert error.count("\n") == 1 and says in error


def test_a_module_of_several_outputs(path: Path) -> None:
    """SPEC.md A5, C4: the logits of both and the image's gradient are the functional network's, whatever the loss; the
    loss scale is one power of two for both; every head trains."""
    model = model_file.load(path)
    assert model.samples is not None
    made = network_module.from_params(two(), model.params, parse("bit_accurate"))
    x, part = jnp.asarray(model.samples.images), outputs.split(two(), jnp.asarray(model.samples.dlogits))

    @jax.jit
    def judge(x, part):
        logits, saved = network.forward(two(), model.params, x)
        return logits, network.backward(two(), model.params, saved, part)[0]

    def pulled(how, x, dlogits):
        made.loss_scale = how

        def run(x, dlogits):
            y, pull = jax.vjp(made, x)
            return y, pull(dlogits)[0]

        return jax.jit(run)(x, dlogits)

    logits, expected = judge(x, part)
    dlogits = {name: part[name].reshape(logits[name].shape) for name in logits}
    y, dx = pulled(None, x, dlogits)
    for name in two().outputs:
        np.testing.assert_array_equal(y[name], logits[name])
    np.testing.assert_array_equal(dx, expected)
    assert np.asarray(expected).any()
    small = {"boxes": dlogits["boxes"].astype(jnp.float32) * 2.0**-20, "head": jnp.zeros((2, 4), jnp.float32)}
    small["head"] = small["head"].at[0, 0].set(2.0**-12)  # the largest, so the power is 2^10 * 2^11
    scaled = {name: (each * 2.0**21).astype(jnp.float16) for name, each in small.items()}
    _, dx = pulled(LossScale(2.0**10), x.astype(jnp.float32), small)
    expected = judge(x, outputs.split(two(), scaled))[1]
    np.testing.assert_array_equal(dx, np.asarray(expected, np.float32) * 2.0**-21)
    names = policies.trained(two(), policies.parse("head"), network_module.take_apart(made).params)
    assert names == {"layers/head/weight", "layers/head/bias"}


@pytest.mark.slow
def test_modules_of_ones_own_may_have_several() -> None:
    """`own_loop.calibrate` takes any loss of them; LSQ's scales begin as calibrated and train with all else."""

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.stem = M.Conv(2, 4, 3, config=ConvConfig(padding=1), rngs=rngs)
            self.boxes = M.Conv(4, 2, 1, rngs=rngs)

        def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
            y = self.stem(x)
            return {"boxes": self.boxes(y), "mean": y.mean((1, 2), dtype=jnp.float32)}

    def loss(y: dict[str, jax.Array]) -> jax.Array:
        return (y["boxes"] ** 2).mean() + ((y["mean"] - 1) ** 2).mean()

    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 4, 2)), jnp.float32)
    plain = own_loop.calibrate(Net(nnx.Rngs(0)), x, loss)
    net = own_loop.calibrate(Net(nnx.Rngs(0)), x, loss, learn="lsq")

    @nnx.jit
    def both(plain, net):
        return plain(x), net(x), nnx.grad(lambda net: loss(net(x)))(net)

    one, other, found = both(plain, net)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    assert all(float(found["module"][conv]["step"].get_value()) for conv in ("stem", "boxes"))
    with pytest.raises(BitrowError, match="calibrate learn: found 'all', expected"):
        own_loop.calibrate(Net(nnx.Rngs(0)), x, loss, learn="all")
