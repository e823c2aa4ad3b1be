"""Networks of several outputs: files, both schedules, vectors, calibration, and who refuses them (SPEC.md A5, C1)."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow import calibrate, cli, float_model, model_file, network, outputs
from bitrow.config import ConvConfig, LinearConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node, shapes
from bitrow.parameters import check_params
from bitrow.reading import records
from bitrow.synthetic import synthetic
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


def test_training_takes_one(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["transfer", "--network", str(path), "--seeds", "1"]) != 0
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "found 2 outputs, expected one for" in error
