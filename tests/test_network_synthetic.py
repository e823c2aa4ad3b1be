"""Synthetic models: the same everywhere, and alive in every network."""

from __future__ import annotations

import hashlib

import jax
import numpy as np
import pytest

from bitrow import network as run
from bitrow import zoo
from bitrow.config import BatchNormConfig, ConvConfig, Statistics
from bitrow.errors import BitrowError
from bitrow.formats import FXP8, UFXP4, Accumulator, Gradient
from bitrow.model_file import to_bytes
from bitrow.synthetic import Draw, synthetic
from network_samples import assert_same_bits, every_layer, training_pass


def test_the_generator_is_splitmix64():
    """The published first outputs for the seed 1234567."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert Draw(1234567).words(4).tolist() == expected
    draw = Draw(1234567)
    assert [int(draw.words(1)[0]) for _ in range(4)] == expected


def test_draws_stay_in_range():
    draw = Draw(9)
    assert set(draw.below(3, (500,)).tolist()) == {0, 1, 2}
    triangle = draw.triangle(4, (50, 40))
    assert (triangle.min(), triangle.max()) == (-3, 3) and abs(triangle.mean()) < 0.1
    about = draw.about(1.0, 0.25, (1000,))
    assert 0.75 <= about.min() < 0.76 and 1.24 < about.max() <= 1.25


def test_known_model():
    """No machine and no library version may change it: vectors are made of it."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(synthetic(every_layer(bias=True), 7, 2)._replace(network=None)):
        if hasattr(leaf, "dtype"):
            digest.update(np.asarray(leaf).astype(np.asarray(leaf).dtype.newbyteorder("<")).tobytes())
    assert digest.hexdigest() == "0e9a3cef4c9bf2a02e8c9f4dc4829a7320f98bfa4bf2794378d765f25476f5d5"


def test_seeds_differ():
    network = every_layer()
    assert to_bytes(synthetic(network, 1)) == to_bytes(synthetic(network, 1))
    assert to_bytes(synthetic(network, 1)) != to_bytes(synthetic(network, 2))


OPTIONS = {
    "default": zoo.Options(),
    "fold": zoo.Options(ConvConfig(fold=True), per_channel=True),
    "unsigned": zoo.Options(relu_format=UFXP4),
    "wide": zoo.Options(
        ConvConfig(x_format=FXP8, weight_format=FXP8, dy_format=FXP8, accumulator=Accumulator(32))
    ),
    "fp16": zoo.Options(ConvConfig(gradient=Gradient.FP16)),
    "batch": zoo.Options(batch_norm=BatchNormConfig(Statistics.BATCH)),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_network_has_parameters(name, options):
    """SPEC.md F8, D3, M2: every scale that the estimate chooses is one that the contract allows."""
    for size, width in (((9, 13, 3), 0.25), ((33, 47, 1), 0.5)):
        model = synthetic(zoo.build(name, size, 5, width, OPTIONS[options]))
        run.check_params(model.network, model.params)
        assert np.isfinite(model.samples.dlogits).all()


def test_full_size_networks_have_parameters():
    """SPEC.md D3: resnet18 and mobilenetv2 at 224x224, whose average pool divides gradients by 49."""
    for name in ("resnet18", "mobilenetv2"):
        network = zoo.build(name)
        assert set(synthetic(network).params) >= {"stem_conv", "head"}


def test_gradients_that_no_loss_scale_saves_are_refused():
    """SPEC.md D3: eight-bit gradients through a 56x56 average pool."""
    with pytest.raises(BitrowError, match="resnet8 loss scale: found 131072 to keep"):
        synthetic(zoo.resnet8((224, 224, 3), options=OPTIONS["wide"]))


@pytest.mark.parametrize(
    ("name", "size", "width"),
    [("resnet20", (12, 9, 3), 0.25), pytest.param("mobilenetv2", (8, 8, 1), 0.1, marks=pytest.mark.slow)],
)
def test_codes_use_their_range(name, size, width):
    """No layer's codes are nearly all zero or mostly clipped, forward or backward."""
    model = synthetic(zoo.build(name, size, 5, width), 3, 4)
    taps = training_pass(model.network, model.params, model.samples.images, model.samples.dlogits).taps
    found = {tap: value for tap, value in taps.items() if tap.endswith("_code")}
    assert len(found) == 2 * sum(isinstance(n.config, ConvConfig) for n in model.network.nodes)
    for tap, code in found.items():
        assert np.mean(code == 0) < 0.95, tap
        assert np.mean((code == -8) | (code == 7)) < 0.35, tap
        assert len(np.unique(code)) >= 3, tap


def test_samples_are_samples_of_the_network():
    model = synthetic(every_layer(), 1, 3)
    assert model.samples.images.shape == (3, 7, 8, 2) and model.samples.dlogits.shape == (3, 3)
    assert model.samples.labels.shape == (3,) and set(model.samples.labels.tolist()) <= {0, 1, 2}
    again = synthetic(every_layer(), 1, 3)
    assert_same_bits(again.params, model.params)
