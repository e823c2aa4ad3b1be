"""Model files: bit-for-bit round trip, atomic writes, one line for every bad file (SPEC.md F8, D3, Q3)."""

from __future__ import annotations

import json
import os

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from bitrow import model_file
from bitrow.config import BatchNormConfig, ConvConfig
from bitrow.errors import BitrowError
from bitrow.formats import UFXP4, Gradient
from bitrow.model_file import Model, load, save
from bitrow.synthetic import synthetic
from network_samples import assert_same_bits, every_layer

NETWORKS = {
    "batch": every_layer(bias=True),
    "frozen": every_layer(BatchNormConfig()),
    "fold": every_layer(conv=ConvConfig(fold=True, weight_format=UFXP4)),
    "fp16": every_layer(conv=ConvConfig(gradient=Gradient.FP16)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_round_trip(tmp_path, name):
    """Network, every parameter's bits, loss scale, samples and notes come back; equal models, equal bytes."""
    model = synthetic(NETWORKS[name], 5, 3)._replace(loss_scale=64.0, notes={"who": "test"})
    save(tmp_path / "a.safetensors", model)
    found = load(tmp_path / "a.safetensors")
    assert found.network == model.network
    assert_same_bits(found.params, model.params)
    assert_same_bits(found.samples, model.samples)
    assert (found.loss_scale, found.notes) == (64.0, {"who": "test"})
    save(tmp_path / "b.safetensors", found)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_without_samples(tmp_path):
    model = synthetic(NETWORKS["frozen"])._replace(samples=None)
    save(tmp_path / "a", model)
    assert load(tmp_path / "a").samples is None


def test_an_existing_file_is_kept_unless_forced(tmp_path):
    path = tmp_path / "a"
    path.write_text("precious")
    model = synthetic(NETWORKS["frozen"])
    with pytest.raises(BitrowError, match="a: found a file there"):
        save(path, model)
    assert path.read_text() == "precious"
    save(path, model, force=True)
    assert load(path).network == model.network


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_failed_write_leaves_nothing_behind_and_loses_nothing(tmp_path, monkeypatch, step):
    path = tmp_path / "a"
    path.write_text("precious")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(BitrowError, match="a: cannot be written: No space left on device"):
        save(path, synthetic(NETWORKS["frozen"]), force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and path.read_text() == "precious"


def test_paths_that_cannot_be_written(tmp_path):
    with pytest.raises(BitrowError, match="cannot be written: No such file or directory"):
        save(tmp_path / "nowhere" / "a", synthetic(NETWORKS["frozen"]))
    (tmp_path / "file").write_text("x")
    with pytest.raises(BitrowError, match="cannot be written: Not a directory"):
        save(tmp_path / "file" / "a", synthetic(NETWORKS["frozen"]))


def test_bad_models_are_not_written(tmp_path):
    """SPEC.md F8: a scale of infinity; parameters or samples that do not fit."""
    model = synthetic(NETWORKS["frozen"])
    c1 = model.params["c1"]._replace(x_inv_scale=jnp.float16(np.inf))
    with pytest.raises(BitrowError, match="every_layer c1 x_inv_scale: found inf"):
        save(tmp_path / "a", model._replace(params=model.params | {"c1": c1}))
    with pytest.raises(BitrowError, match="every_layer c1: found nothing"):
        save(tmp_path / "a", model._replace(params={}))
    images = model.samples._replace(images=model.samples.images[:, 1:])
    with pytest.raises(BitrowError, match=r"every_layer samples.images: found float16\[1, 6, 8, 2\]"):
        save(tmp_path / "a", model._replace(samples=images))
    assert not list(tmp_path.iterdir())


def change(path, tensors=None, header=None, metadata=None):
    """Rewrite a model file: `tensors` and `header` get the dicts to change, `metadata` replaces it."""
    with safe_open(path, framework="numpy") as file:
        found = {name: file.get_tensor(name) for name in list(file.keys())}
        graph = json.loads(file.metadata()["bitrow"])
    if tensors:
        tensors(found)
    if header:
        header(graph)
    save_file(found, path, {"bitrow": json.dumps(graph)} if metadata is None else metadata)


def replaced(name, value):
    """A change of one tensor: another array, or every word of it another value of the same dtype."""

    def apply(tensors):
        old = tensors[name]
        new = value if isinstance(value, np.ndarray) else np.full(old.shape, value, old.dtype)
        tensors[name] = new

    return apply


def refused(path, *whats):
    with pytest.raises(BitrowError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    for what in whats:
        assert what in message, message


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path, synthetic(NETWORKS["batch"], 5, 2))
    return path


SCALES = ["c1.x_inv_scale", "c1.scale", "c1.w_scale", "c1.dy_inv_scale", "c1.dx_scale"]
BAD_SCALES = {"zero": 0.0, "negative": -1.0, "subnormal": 2.0**-15, "infinite": np.inf, "NaN": np.nan}


@pytest.mark.parametrize("tensor", SCALES)
@pytest.mark.parametrize("kind", BAD_SCALES)
def test_bad_scales(saved, tensor, kind):
    """SPEC.md F8, D3."""
    change(saved, replaced(tensor, BAD_SCALES[kind]))
    layer, name = tensor.split(".")
    refused(saved, f" {layer} {name}: found {float(BAD_SCALES[kind])}")


@pytest.mark.parametrize("value", [2.0**15, 2.0**-14 * 0.75])
def test_scales_outside_their_range(saved, value):
    """SPEC.md F8: [2^-14, 2^14]."""
    change(saved, replaced("c2.w_scale", value))
    refused(saved, " c2 w_scale: found", "2^-14 to 2^14")


BAD_TENSORS = {
    "missing": (
        lambda t: t.pop("c2.weight_code"),
        "c2.weight_code: found no such tensor, expected int8[3, 3, 2",
    ),
    "superfluous": (lambda t: t.update(extra=np.zeros(1, np.int8)), "extra: found this tensor"),
    "no bias wanted": (
        lambda t: t.update({"c2.bias": np.zeros(4, np.float16)}),
        "c2.bias: found this tensor",
    ),
    "dtype": (
        replaced("head.bias", np.zeros(3, np.float16)),
        "head.bias: found float16[3], expected float32[3]",
    ),
    "shape": (replaced("n2.a", np.zeros(5, np.float16)), "n2.a: found float16[5], expected float16[4]"),
    "rank": (replaced("c1.seed", np.ones(1, np.uint16)), "c1.seed: found uint16[1], expected uint16[]"),
    "strange dtype": (replaced("c1.seed", np.ones((), np.int64)), "c1.seed: found int64[], expected uint16[]"),
    "code": (replaced("c1.weight_code", 8), "c1 weight_code: found 8 to 8, expected -8 to 7"),
    "low code": (replaced("c1.weight_code", -9), "c1 weight_code: found -9 to -9"),
    "seed": (replaced("c1.seed", 0), "c1 seed: found 0, expected 1 to 65535"),
    "frozen norm": (replaced("n2.b", np.nan), "n2 b channel 0: found a value that is not finite"),
    "batch norm": (replaced("n1.gamma", np.inf), "n1 gamma channel 0: found a value that is not finite"),
    "eps": (replaced("n1.eps", -1.0), "n1 eps: found -1.0"),
    "head": (replaced("head.weight", np.inf), "head weight channel 0: found a value that is not finite"),
    "samples": (replaced("samples.labels", np.zeros(3, np.int32)), "samples.labels: found int32[3]"),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_bad_tensors(saved, case):
    """SPEC.md F7, Q3 among them: a code outside its format, a seed of zero."""
    edit, what = BAD_TENSORS[case]
    change(saved, edit)
    refused(saved, what)


def stride_zero(header):
    header["network"]["nodes"][0]["config"]["stride"] = 0


def narrow_accumulator(header):
    header["network"]["nodes"][0]["config"]["accumulator"]["bits"] = 8


BAD_HEADERS = {
    "version": (lambda h: h.update(version=2), "found schema 'bitrow-model' version 2, expected"),
    "schema": (lambda h: h.update(schema="other"), "found schema 'other'"),
    "no graph": (lambda h: h.pop("network"), "network: found 'None', expected a Network"),
    "layer": (stride_zero, "stride: found 0"),
    "accumulator": (narrow_accumulator, "every_layer c1: accumulator of 8 bits holds 127"),
    "samples": (lambda h: h.update(samples=-1), "samples: found -1"),
    "loss scale": (lambda h: h.update(loss_scale=0.0), "loss_scale: found 0.0"),
    "notes": (lambda h: h.update(notes=[1]), "notes: found '[1]'"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_bad_headers(saved, case):
    """SPEC.md M2 among them: an accumulator too small for its layer."""
    edit, what = BAD_HEADERS[case]
    change(saved, header=edit)
    refused(saved, what)


@pytest.mark.parametrize("metadata", [{}, {"bitrow": "{"}, {"bitrow": "[]"}, {"other": "{}"}])
def test_files_without_a_graph(saved, metadata):
    change(saved, metadata=metadata)
    refused(saved, "metadata key 'bitrow': found")


def test_files_that_are_no_safetensors(tmp_path, saved):
    refused(tmp_path / "missing", "found no such file")
    refused(tmp_path, "expected a model file")
    whole = saved.read_bytes()
    for size in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:size])
        refused(saved, "found no whole safetensors file")
    saved.write_bytes(whole + b"x")
    refused(saved, "found no whole safetensors file")
    saved.write_bytes(b"\x80" * 64)
    refused(saved, "found no whole safetensors file")


def test_samples_are_named_in_the_file(saved):
    """What a reader in another language finds: LAYER.FIELD and samples.*, one metadata key."""
    with safe_open(saved, framework="numpy") as file:
        names = set(file.keys())
        assert set(file.metadata()) == {"bitrow"}
    assert {"c1.weight_code", "n1.gamma", "n2.a", "head.weight", "samples.images"} <= names
    assert model_file.VERSION == 1 and isinstance(load(saved), Model)
