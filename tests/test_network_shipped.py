"""The shipped model: small, what its script says, and right about digits it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from bitrow import models
from bitrow.errors import BitrowError
from bitrow.formats import FXP4
from bitrow.models import train_digits
from network_samples import forward, training_pass


@pytest.fixture(scope="module")
def model():
    return models.load("resnet8_digits")


@pytest.fixture(scope="module")
def held_out():
    pytest.importorskip("sklearn", reason="the held-out digits are scikit-learn's")
    return train_digits.load_digits()[1]


def test_it_is_small():
    assert models.names() == ["resnet8_digits"]
    assert models.path("resnet8_digits").stat().st_size <= 200_000


def test_unknown_models_are_refused():
    with pytest.raises(BitrowError, match="found 'resnet9', expected one of resnet8_digits"):
        models.load("resnet9")


def test_it_is_the_default_contract(model):
    """SPEC.md F7, M2, B1: signed FXP4 everywhere, 24-bit accumulators, frozen statistics."""
    assert (model.network.name, model.network.input_shape) == ("resnet8", (8, 8, 1))
    for node in model.network.nodes:
        if node.name.endswith("_conv"):
            assert node.config.x_format == node.config.weight_format == node.config.dy_format == FXP4
            assert node.config.accumulator.bits == 24 and not node.config.fold


def test_bit_accurate_accuracy(model, held_out):
    """SPEC.md C1, B1, A4: at least 95% of the held-out digits, and exactly what its notes claim."""
    accuracy = train_digits.bit_accurate_accuracy(model.network, model.params, held_out)
    assert accuracy >= 0.95
    assert f"{accuracy:.4f}" == model.notes["accuracy_bit_accurate"]


def test_samples_are_held_out_digits(model, held_out):
    """One of each digit; every pixel exact in FP16."""
    assert model.samples.labels.tolist() == list(range(10))
    for image, label in zip(model.samples.images, model.samples.labels, strict=True):
        first = int(np.flatnonzero(held_out.labels == label)[0])
        np.testing.assert_array_equal(image.astype(np.float32), held_out.images[first])


def test_a_training_pass_reaches_the_input(model):
    """SPEC.md C2: the stored gradients make codes in every convolution, and an input gradient."""
    samples = model.samples
    whole = training_pass(model.network, model.params, samples.images[:1], samples.dlogits[:1])
    codes = {name: v for name, v in whole.taps.items() if name.endswith("dy_code")}
    assert len(codes) == 9
    for name, code in codes.items():
        assert len(np.unique(code)) >= 5, name
    assert np.mean(whole.dx != 0) > 0.5


def test_dlogits_are_the_losses_gradient(model):
    """loss_scale * (softmax - one_hot(9 - label)), to FP16's rounding."""
    logits, _ = forward(model.network, model.params, model.samples.images[:1])
    odds = np.exp(np.asarray(logits, np.float64))
    expected = model.loss_scale * (odds / odds.sum() - np.eye(10)[9 - model.samples.labels[:1]])
    np.testing.assert_allclose(model.samples.dlogits[:1].astype(np.float64), expected, rtol=2e-3, atol=1e-6)


def test_splits_do_not_meet(held_out):
    learning = train_digits.load_digits()[0]
    assert (len(learning.labels), len(held_out.labels)) == (1437, 360)
    assert set(np.unique(held_out.labels)) == set(range(10))
