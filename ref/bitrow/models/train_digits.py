"""Make resnet8_digits.safetensors: a resnet8 of width 1/2 on scikit-learn's 8x8 handwritten digits.

`python -m bitrow.models.train_digits [FILE]` trains in float32, calibrates, fine-tunes through simulated
quantization and writes the model with ten held-out digits. Every image whose index is a multiple of 5 is held
out. The seed is fixed; float32 training is not part of the contract, so another machine may make another file
of the same quality. Needs scikit-learn and a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bitrow import calibrate, float_model, zoo
from bitrow.float_model import FloatModel
from bitrow.graph import Network
from bitrow.layers.twin import ConvScales
from bitrow.model_file import Model, Samples, save, to_bytes
from bitrow.network import forward
from bitrow.parameters import Params
from bitrow.terminal import put, say

SEED = 20240519
BATCH = 64
FLOAT_EPOCHS = 60
TUNING_EPOCHS = 40
SETTLING_EPOCHS = 10
CLASSES = 10


class Digits(NamedTuple):
    """Images f32[n,8,8,1], every pixel p of 0..16 as (p - 8) / 8, exact in FP16; labels i32[n]."""

    images: np.ndarray
    labels: np.ndarray


def load_digits() -> tuple[Digits, Digits]:
    """Training and held-out digits: 1,437 and 360, the same ones every time."""
    from sklearn.datasets import load_digits as sklearn_digits

    data = sklearn_digits()
    images = ((data.images - 8) / 8).astype(np.float32)[..., None]
    labels = data.target.astype(np.int32)
    held_out = np.arange(len(labels)) % 5 == 0
    return Digits(images[~held_out], labels[~held_out]), Digits(images[held_out], labels[held_out])


def float_accuracy(
    network: Network, model: FloatModel, digits: Digits, scales: dict[str, ConvScales] | None = None
) -> float:
    """Share of digits that the float32 model gets right; with `scales`, through simulated quantization."""
    logits, _ = float_model.forward(network, model, jnp.asarray(digits.images), scales=scales)
    return float((np.asarray(logits).argmax(1) == digits.labels).mean())


def bit_accurate_accuracy(network: Network, params: Params, digits: Digits) -> float:
    """Share of digits that the bit-accurate network gets right."""
    logits = jax.jit(lambda x: forward(network, params, x)[0])(jnp.asarray(digits.images, jnp.float16))
    return float((np.asarray(logits).argmax(1) == digits.labels).mean())


def train() -> tuple[Model, dict[str, float]]:
    """The model and its accuracies on the held-out digits."""
    learning, held_out = load_digits()
    network = zoo.resnet8((8, 8, 1), CLASSES, width=0.5)
    model = float_model.initialize(network, SEED)
    model = _fit(network, model, learning, FLOAT_EPOCHS, 4e-3)
    figures = {"float32": float_accuracy(network, model, held_out)}
    plain = calibrate.calibrate(network, model, *learning)
    figures["calibrated"] = bit_accurate_accuracy(network, plain.params, held_out)
    scales = calibrate.forward_scales(network, model, learning.images)
    model = _fit(network, model, learning, TUNING_EPOCHS, 1e-3, scales)
    model = _fit(network, model, learning, SETTLING_EPOCHS, 1e-4, scales, batch_statistics=False)
    figures["simulated"] = float_accuracy(network, model, held_out, scales)
    # Gradients as at the start of a transfer task: a network that is right about its own labels has none.
    gradients = calibrate.gradient_scales(network, model, scales, learning.images, _task(learning.labels))
    params = calibrate.make_params(network, model, scales, gradients.dy_scale)
    figures["bit_accurate"] = bit_accurate_accuracy(network, params, held_out)
    samples = _samples(network, params, gradients.loss_scale, held_out)
    notes = {
        "data": "scikit-learn digits (UCI, handwritten), every fifth image held out",
        "pixels": "x = (pixel - 8) / 8, pixel 0 to 16",
        "samples": "first held-out one of each digit; dlogits = loss_scale * (softmax - one_hot(9 - label))",
        **{f"accuracy_{name}": f"{value:.4f}" for name, value in figures.items()},
    }
    return Model(network, params, gradients.loss_scale, samples, notes), figures


def _task(labels: np.ndarray) -> np.ndarray:
    """A task that the network has not learnt: the digit 9 - d instead of d."""
    return 9 - labels


def _samples(network: Network, params: Params, loss_scale: float, digits: Digits) -> Samples:
    first = [int(np.flatnonzero(digits.labels == digit)[0]) for digit in range(CLASSES)]
    images, labels = digits.images[first].astype(np.float16), digits.labels[first]
    logits = np.asarray(forward(network, params, jnp.asarray(images))[0], np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    error = odds / odds.sum(1, keepdims=True) - np.eye(CLASSES)[_task(labels)]
    return Samples(images, labels, (loss_scale * error).astype(np.float16))


def _fit(
    network: Network,
    model: FloatModel,
    digits: Digits,
    epochs: int,
    rate: float,
    scales: dict[str, ConvScales] | None = None,
    batch_statistics: bool = True,
) -> FloatModel:
    steps = epochs * (len(digits.labels) // BATCH)
    optimizer = optax.adamw(optax.cosine_decay_schedule(rate, steps), weight_decay=1e-3)
    batches = _batches(digits, epochs)
    model, losses = float_model.train(
        network, model, batches, optimizer, scales=scales, batch_statistics=batch_statistics
    )
    say(f"{epochs} epochs: loss {np.mean(losses[-20:]):.4f}")
    return model


def _batches(digits: Digits, epochs: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Shuffled batches, every image moved by up to one pixel."""
    rng = np.random.default_rng(SEED)
    for _ in range(epochs):
        order = rng.permutation(len(digits.labels))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield _shifted(rng, digits.images[chosen]), digits.labels[chosen]


def _shifted(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1.0)
    places = rng.integers(0, 3, (len(images), 2))
    return np.stack([image[i : i + 8, j : j + 8] for image, (i, j) in zip(padded, places, strict=True)])


def main() -> None:
    """Train and write FILE, by default the shipped one."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "resnet8_digits.safetensors"
    model, figures = train()
    save(target, model, force=True)
    for name, value in figures.items():
        put([f"{name}: {value:.2%} of the held-out digits"])
    put([f"{target}: {len(to_bytes(model)):,} bytes, loss scale {model.loss_scale:g}"])


if __name__ == "__main__":
    main()
