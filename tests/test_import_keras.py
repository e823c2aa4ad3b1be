"""Keras files: the same numbers as their layers, by JAX's own operators; every file here is made by hand.

Keras is no dependency: where it is installed (with the JAX backend), one test saves a model by it.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

pytest.importorskip("h5py", reason="needs the extra import")

import h5py

from bitrow import cli, model_file
from bitrow.importers.calibration import float_twin
from bitrow.importers.command import ImportOptions, ImportRefused, read_float
from hostile_samples import bounded, refuses
from keras_samples import KerasModel, functional, layer

SHAPE = (7, 6, 3)
IMAGES = np.random.default_rng(5).normal(size=(2, *SHAPE)).astype(np.float32)
RNG = np.random.default_rng(0)


def _normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def _conv(x: Any, weight: Any, stride: Any = (1, 1), padding: Any = "VALID", groups: int = 1, dilation: Any = None):
    return lax.conv_general_dilated(x, weight, stride, padding, rhs_dilation=dilation, feature_group_count=groups,
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip


def _sequential() -> tuple[KerasModel, Callable[[Any], Any]]:
    weights = [_normal(3, 3, 3, 4), _normal(4), _normal(3, 3, 4, 2), _normal(1, 1, 8, 5), _normal(20, 3), _normal(3)]
    gamma, beta, mean, var = _normal(4), _normal(4), _normal(4), np.abs(_normal(4)) * np.float32(0.01)
    model = KerasModel([
        layer("InputLayer", "in", batch_shape=[None, *SHAPE]),
        layer("Conv2D", "stem", kernel_size=[3, 3], strides=[2, 2], padding="same", activation="linear", use_bias=True,
              arrays=weights[:2]),
        layer("BatchNormalization", "norm", axis=-1, epsilon=0.001, arrays=[gamma, beta, mean, var]),
        layer("ReLU", "act", max_value=6.0),
        layer("ZeroPadding2D", "pad", padding=[[1, 0], [2, 1]]),
        layer("DepthwiseConv2D", "deep", kernel_size=[3, 3], depth_multiplier=2, use_bias=False, arrays=weights[2:3]),
        layer("Conv2D", "point", kernel_size=[1, 1], use_bias=False, activation="swish", arrays=weights[3:4]),
        layer("MaxPooling2D", "pool", pool_size=[2, 2], strides=[2, 2], padding="same"),
        layer("Dropout", "drop", rate=0.5), layer("Flatten", "flat"),
        layer("Dense", "head", use_bias=True, activation="softmax", arrays=weights[4:]),
    ])  # fmt: skip

    def call(x: Any) -> Any:
        x = _conv(x, weights[0], (2, 2), "SAME") + weights[1]
        x = jnp.clip((x - mean) / np.sqrt(var + np.float32(1e-3)) * gamma + beta, 0, 6)
        x = _conv(jnp.pad(x, ((0, 0), (1, 0), (2, 1), (0, 0))), weights[2].reshape(3, 3, 1, 8), groups=4)
        x = jax.nn.silu(_conv(x, weights[3]))
        x = nnx.max_pool(x, (2, 2), (2, 2), "SAME")
        return x.reshape(len(x), -1) @ weights[4] + weights[5]

    return model, call


def _branches(old: bool) -> tuple[KerasModel, Callable[[Any], Any]]:
    """Shortcut, gate, concatenation; a layer that is called twice; Keras 2's way of saying what reads what."""
    shared, gate, bias = _normal(3, 2, 3, 3), _normal(3, 3), _normal(3)
    model = functional(old, [
        (layer("InputLayer", "in", batch_shape=[None, None, None, 3]), []),
        (layer("Conv2D", "shared", kernel_size=[3, 2], padding="same", dilation_rate=[1, 2], use_bias=False,
               arrays=[shared]), [["in"], ["add"]]),
        (layer("Add", "add"), [["shared", "in"]]),
        (layer("GlobalAveragePooling2D", "mean", keepdims=True), [["add"]]),
        (layer("Dense", "gate", activation="sigmoid", use_bias=True, arrays=[gate, bias]), [["mean"]]),
        (layer("Multiply", "product"), [["gate", "shared:1"]]),
        (layer("AveragePooling2D", "small", pool_size=[3, 3], strides=[2, 2], padding="same"), [["product"]]),
        (layer("MaxPooling2D", "large", pool_size=[3, 3], strides=[2, 2], padding="same"), [["product"]]),
        (layer("Concatenate", "join", axis=-1), [["small", "large"]]),
        (layer("Activation", "end", activation="hard_sigmoid"), [["join"]]),
    ], "in", "end", "2.15.0" if old else "3.15.1")  # fmt: skip

    def call(x: Any) -> Any:
        x = _conv(x, shared, padding="SAME", dilation=(1, 2)) + x
        y = jax.nn.sigmoid(x.mean(axis=(1, 2), keepdims=True) @ gate + bias)
        x = _conv(x, shared, padding="SAME", dilation=(1, 2)) * y
        x = jnp.concatenate([nnx.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False),
                             nnx.max_pool(x, (3, 3), (2, 2), "SAME")], axis=-1)  # fmt: skip
        return jnp.clip(x * 0.2 + 0.5, 0, 1) if old else jax.nn.hard_sigmoid(x)

    return model, call


@pytest.mark.parametrize("make", [_sequential, lambda: _branches(False), lambda: _branches(True)],
                         ids=["sequential", "functional", "as Keras 2 has it"])  # fmt: skip
def test_a_file_gives_the_numbers_of_its_layers(tmp_path: Path, make: Callable[[], tuple[KerasModel, Any]]) -> None:
    model, call = make()
    made = read_float(model.save(tmp_path), ImportOptions(input_size=SHAPE[:2])).made
    with jax.numpy_rank_promotion("allow"):
        expected = np.asarray(call(jnp.asarray(IMAGES)))
    got = float_twin(made, IMAGES).reshape(expected.shape)
    share = 1e-5 if model.layers[-1]["class_name"] == "Dense" else 5e-4  # a hard sigmoid's slope is FP16's (A9)
    assert np.abs(got - expected).max() <= share * max(1.0, np.abs(expected).max())


def test_the_command_makes_a_model_and_names_what_each_layer_became(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.safetensors"
    assert cli.run(["import", str(_sequential()[0].save(tmp_path)), "--out", str(out), "--limit-images", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "stem (Conv2D): stem (conv)" and "head (Dense): head (linear)" in lines
    assert "point (Conv2D): point (conv), point_swish (silu)" in lines
    assert "drop (Dropout): nothing: how its input is looked at" in lines
    assert model_file.load(out).network.input_shape == SHAPE


def test_a_result_inside_can_be_the_output(tmp_path: Path) -> None:
    path = _branches(False)[0].save(tmp_path)
    made = read_float(path, ImportOptions(input_size=(4, 4), outputs=("add",))).made
    assert made.network.output == "add" and len(made.network.nodes) == 2
    refuses(lambda: read_float(path, ImportOptions(input_size=(4, 4), outputs=("in",))), "found no layer 'in'")
    refuses(lambda: read_float(path), "expected [None, h, w, c]")
    refuses(lambda: read_float(path, ImportOptions(check=True)), "no check")


def _with(kind: str, arrays: Any = (), **config: Any) -> KerasModel:
    return KerasModel([layer("InputLayer", "in", batch_shape=[None, *SHAPE]),
                       layer(kind, "it", arrays=list(arrays), **config)])  # fmt: skip


ONE = np.ones((1, 1, 3, 2), np.float32)
REFUSED: dict[str, tuple[KerasModel, str]] = {
    "code": (_with("Lambda", function={"class_name": "__lambda__", "config": {"code": "cA=="}}), "an unknown layer"),
    "a class of somebody": (_with("Conv2D", registered_name="my>Conv2D"), "an unknown layer"),
    "channels first": (_with("MaxPooling2D", data_format="channels_first"), "found data_format 'channels_first'"),
    "an activation": (_with("Activation", activation="gelu"), "found activation 'gelu'"),
    "an activation of code": (_with("Activation", activation={"class_name": "function"}), "found activation"),
    "a slope": (_with("ReLU", negative_slope=0.1), "found a slope"),
    "no arrays": (_with("Conv2D", kernel_size=[1, 1]), "found arrays of []"),
    "too many arrays": (_with("Conv2D", [ONE, ONE], use_bias=False), "found arrays of [[1, 1, 3, 2], [1, 1, 3, 2]]"),
    "integers": (_with("Conv2D", [ONE.astype(np.int32)], use_bias=False), "found array 0 of int32"),
    "no finite number": (_with("Conv2D", [ONE * np.inf], use_bias=False), "infinities or NaNs"),
    "too large a window": (_with("MaxPooling2D", pool_size=[9, 9]), "expected it to fit"),
    "a stride of 0": (_with("MaxPooling2D", pool_size=[2, 2], strides=[0, 1]), "found strides [0, 1]"),
    "causal padding": (_with("MaxPooling2D", pool_size=[2, 2], padding="causal"), "found padding 'causal'"),
    "another axis": (_with("BatchNormalization", axis=1), "found axis 1"),
    "a bilinear one": (_with("UpSampling2D", size=[2, 2], interpolation="bilinear"), "found interpolation"),
    "one map to add": (_with("Add"), "found 1 inputs"),
    "other channels": (_with("Conv2D", [np.ones((1, 1, 4, 2), np.float32)], use_bias=False), "found 3 input channels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_are_refused(tmp_path: Path, name: str) -> None:
    model, words = REFUSED[name]
    with pytest.raises(ImportRefused) as caught, bounded():
        read_float(model.save(tmp_path))
    (refusal,) = caught.value.report.refusals
    assert refusal.node == "it" and words in refusal.reason, refusal


def _spoiled(change: Callable[[dict[str, Any]], Any]) -> KerasModel:
    model = _branches(False)[0]
    change(model.config)
    return model


def _layers(config: dict[str, Any]) -> list[Any]:
    return config["config"]["layers"]


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a class": (lambda c: c.update(class_name="Subclassed"), "found a model of class 'Subclassed'"),
    "no layers": (lambda c: c["config"].update(layers=[]), "found 0 layers"),
    "no names": (lambda c: _layers(c)[2]["config"].pop("name"), "without name or configuration"),
    "a name twice": (lambda c: _layers(c)[2]["config"].update(name="mean"), "two layers of one name"),
    "no output": (lambda c: c["config"].update(output_layers=[]), "found no output, expected some"),
    "no history": (lambda c: c["config"].update(output_layers=[["end", "x", 0]]), "found inputs or outputs"),
    "one map to add": (lambda c: _layers(c)[2]["inbound_nodes"][0]["args"][0].pop(), "found 1 inputs, expected 2"),
    "two inputs": (lambda c: _layers(c).append(layer("InputLayer", "more", batch_shape=[None, 2, 2, 3])), "2 inputs"),
    "huge": (lambda c: _layers(c)[0]["config"].update(batch_shape=[None, 10**9, 4, 3]), "expected [None, h, w, c]"),
    "a text": (lambda c: _layers(c)[0]["config"].update(batch_shape="x"), "expected [None, h, w, c]"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_configurations_that_are_broken(tmp_path: Path, name: str) -> None:
    change, words = BROKEN[name]
    model = _spoiled(change)
    refuses(lambda: read_float(model.save(tmp_path), ImportOptions(input_size=(4, 4))), words)


def test_a_circle_of_layers_is_named(tmp_path: Path) -> None:
    circle = functional(False, [(layer("InputLayer", "in", batch_shape=[None, *SHAPE]), []),
                                (layer("Add", "one"), [["in", "two"]]), (layer("Activation", "two"), [["one"]])],
                        "in", "two")  # fmt: skip
    with pytest.raises(ImportRefused) as caught:
        read_float(circle.save(tmp_path))
    assert [one.node for one in caught.value.report.refusals] == ["one", "two"]


def test_arrays_stand_in_the_file(tmp_path: Path) -> None:
    """Links, external and virtual datasets would have the library read other files."""
    secret = tmp_path / "secret"
    secret.write_bytes(np.ones(6, np.float32).tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = ONE

    def external(group: Any) -> None:
        group.create_dataset("0", (1, 1, 3, 2), np.float32, external=[(str(secret), 0, 24)])

    def virtual(group: Any) -> None:
        layout = h5py.VirtualLayout((1, 1, 3, 2), np.float32)
        layout[...] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (1, 1, 3, 2))
        group.create_virtual_dataset("0", layout)

    def linked(group: Any) -> None:
        group["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")

    def soft(group: Any) -> None:
        group["1"] = ONE
        group["0"] = h5py.SoftLink("1")

    def no_array(group: Any) -> None:
        group.create_group("0")

    for change, words in ((external, "data outside"), (virtual, "data outside"), (linked, "found a link"),
                          (soft, "found a link"), (no_array, "found no array in its place")):  # fmt: skip
        model = _with("Conv2D", use_bias=False)
        model.change = lambda file, change=change: change(file.create_group("layers/conv2d/vars"))
        refuses(lambda model=model: read_float(model.save(tmp_path)), words)


def test_arrays_that_would_fill_memory(tmp_path: Path) -> None:
    model = _with("Conv2D", use_bias=False)
    shape = (1, 1, 3, 1 << 30)
    model.change = lambda file: file.create_dataset(
        "layers/conv2d/vars/0", shape, np.float32, chunks=(1, 1, 1, 1 << 16), compression="gzip"
    )
    refuses(lambda: read_float(model.save(tmp_path)), "bytes unfolded from")


def test_zips_that_are_no_keras_files(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    for missing in ("config.json", "model.weights.h5", "metadata.json"):
        whole = io.BytesIO(_with("Flatten").save(tmp_path).read_bytes())
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                if name != missing:
                    target.writestr(name, source.read(name))
        refuses(lambda missing=missing: read_float(path), f"found 0 entries {missing}")
    with zipfile.ZipFile(path, "w") as target:
        for name, content in (("config.json", b"[1]"), ("metadata.json", b"{}"), ("model.weights.h5", b"x")):
            target.writestr(name, content)
    refuses(lambda: read_float(path), "found no JSON object")
    with zipfile.ZipFile(path, "w") as target:
        for name, content in (("config.json", b"{}"), ("metadata.json", b"{}"), ("model.weights.h5", b"x")):
            target.writestr(name, content)
    refuses(lambda: read_float(path), "expected an HDF5 file")
    path.write_bytes(b"x")
    refuses(lambda: read_float(path), "expected a .keras file")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_that_keras_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras", reason="Keras is no dependency")
    k = keras.layers
    given = keras.Input(SHAPE)
    x = k.Conv2D(4, 3, strides=2, padding="same")(given)
    x = k.ReLU(max_value=6)(k.BatchNormalization(moving_mean_initializer="ones", gamma_initializer="random_normal")(x))
    x = k.Add()([x, k.DepthwiseConv2D(3, padding="same", activation="silu")(x)])
    x = k.Concatenate()([k.MaxPooling2D(2)(x), k.AveragePooling2D(2)(x)])
    x = k.Multiply()([x, k.Dense(8, activation="sigmoid")(k.GlobalAveragePooling2D(keepdims=True)(x))])
    model = keras.Model(given, k.Dense(3)(k.Dropout(0.5)(k.Flatten()(x))))
    model.save(tmp_path / "net.keras")
    got = float_twin(read_float(tmp_path / "net.keras").made, IMAGES)
    with jax.numpy_rank_promotion("allow"):
        expected = np.asarray(model(IMAGES, training=False))
    assert np.abs(got.reshape(expected.shape) - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    config = json.loads(zipfile.ZipFile(tmp_path / "net.keras").read("config.json"))
    assert config["class_name"] == "Functional"
