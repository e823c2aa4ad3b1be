"""Parameters of an imported network: scales of the file or of images, batch norms by the file's own values (B1).

Where a convolution's scales are too small for FP16 (F8, D3), its weights stand for a power of two more, one for each
output channel where each has its scale, and the batch norm behind it takes that back, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitrow import calibrate, float_model
from bitrow.config import ConvSize, Shape
from bitrow.errors import BitrowError
from bitrow.float_model import FloatModel
from bitrow.formats import SCALE_MAX, SCALE_MIN
from bitrow.graph import Network, consumers, shapes
from bitrow.host import LEAST_PRODUCT, fold_batch_norm, rounded_fp16
from bitrow.importers.emit import FloatNetwork, with_rescales
from bitrow.importers.float_graph import Refusal
from bitrow.importers.layers import CodeBits, LayerPlace, emitted
from bitrow.importers.operators import FileQuantizer, Normalize
from bitrow.layers.batch_norm import FrozenParams
from bitrow.layers.table import layer
from bitrow.layers.twin import ConvScales, FloatLayer, Weights
from bitrow.model_file import Model, Samples
from bitrow.outputs import by_name

_MOST_GAIN = 60  # exponent of the power of two that a channel's weights stand for more


class RoundedScale(NamedTuple):
    """A scale of the file that FP16 does not hold, and the number in its place: the one furthest off of a tensor's."""

    layer: str
    what: str
    found: float
    used: float

    def __str__(self) -> str:
        return f"{self.layer} {self.what}: {self.found!r} of the file, {self.used!r} in FP16"


class ImportedModel(NamedTuple):
    """The model, and how it came about: the float network that was calibrated, the scales of every convolution's
    input and weights, those of the file that were rounded, the layers whose gradients are too small for codes."""

    model: Model
    made: FloatNetwork
    scales: dict[str, tuple[float, np.ndarray]]
    rounded: tuple[RoundedScale, ...]
    too_small: tuple[str, ...] = ()


def scale_refusals(made: FloatNetwork) -> list[Refusal]:
    """The file's scales that FP16 does not hold, each as it is refused without rounding (SPEC.md F8)."""
    refusals = []
    for name, quantizers in made.quantizers.items():
        for what, quantizer in zip(("x_scale", "w_scale"), quantizers, strict=True):
            worst = _inexact(quantizer)
            if worst is not None:
                reason = f"found {what} {worst!r}, expected an FP16 number; --round-scales rounds it"
                refusals.append(Refusal(name, "quantizer", reason))
    return refusals


def _inexact(quantizer: FileQuantizer | None) -> float | None:
    """The scale of more than 11 significant bits that is furthest from its rounding."""
    if quantizer is None:
        return None
    scale = np.atleast_1d(quantizer.scale).astype(np.float64)
    error = np.abs(_rounded(scale) - scale) / scale
    return float(scale[error.argmax()]) if error.any() else None


def _rounded(scale: np.ndarray) -> np.ndarray:
    """To 11 significant bits, to nearest even, as FP16 rounds a normal number."""
    mantissa, exponent = np.frexp(scale)
    return np.ldexp(np.rint(mantissa * 2**11), exponent - 11)


def calibrated(made: FloatNetwork, images: np.ndarray, notes: dict[str, str], kept: int = 4) -> ImportedModel:
    """The model of a float network, on images f32[n,h,w,c]; the first `kept` stay in it as samples.

    Raises:
        BitrowError: naming network and layer; what calibration refuses, a scale of the file out of F8's range.
    """
    measured = calibrate.forward_scales(made.network, made.model, images)
    scales, rounded = _scales(made, measured)
    made, scales = _rescaled(made, scales)
    used = {name: ConvScales(jnp.float32(x), jnp.asarray(w, jnp.float32)) for name, (x, w) in scales.items()}
    dlogits, labels = _dlogits(made, images)
    gradients, small = calibrate.gradient_scales_of(made.network, made.model, used, images, dlogits)
    params = calibrate.make_params(made.network, made.model, used, gradients.dy_scale)
    for name, norm in made.norms.items():
        where = f"{made.network.name} {name}"
        a, b = fold_batch_norm(where, norm.gamma, norm.beta, norm.mean, norm.var, norm.eps)
        params[name] = FrozenParams(jnp.asarray(a), jnp.asarray(b))
    scaled = rounded_fp16(f"{made.network.name} dlogits", dlogits[:kept] * gradients.loss_scale)
    samples = Samples(rounded_fp16(f"{made.network.name} images", images[:kept]), labels[:kept], scaled)
    model = Model(made.network, params, gradients.loss_scale, samples, notes)
    return ImportedModel(model, made, scales, rounded, small)


_Scales = dict[str, tuple[float, np.ndarray]]


def _scales(made: FloatNetwork, measured: dict[str, ConvScales]) -> tuple[_Scales, tuple[RoundedScale, ...]]:
    """The file's where it states them, rounded to FP16's significant bits; else those that were measured."""
    scales: _Scales = {}
    rounded = []
    for name, found in measured.items():
        used = [np.asarray(one, np.float64) for one in found]
        for place, quantizer in enumerate(made.quantizers.get(name, (None, None))):
            if quantizer is not None:
                used[place] = _rounded(quantizer.scale.astype(np.float64))
                worst = _inexact(quantizer)
                if worst is not None:
                    what = ("x_scale", "w_scale")[place]
                    rounded.append(RoundedScale(name, what, worst, float(_rounded(np.array(worst)))))
        x = float(used[0])
        if not SCALE_MIN <= x <= SCALE_MAX:
            raise BitrowError(f"{made.network.name} {name} x_scale: found {x!r}, expected 2^-14 to 2^14 (SPEC.md F8)")
        scales[name] = x, used[1]
    return scales, tuple(rounded)


def _rescaled(made: FloatNetwork, scales: _Scales) -> tuple[FloatNetwork, _Scales]:
    """Powers of two that keep every product of scales normal, taken back by a batch norm, an added one if need be.

    A bias goes there, too: as many times larger, FP16 might not hold it.
    """
    gains = {name: _gain(x, w) for name, (x, w) in scales.items()}
    gains = {name: gain for name, gain in gains.items() if (gain != 1).any()}
    read = consumers(made.network)
    alone = {name: [made.network.node(reader) for reader in read[name]] for name in gains}
    bare = {name for name, nodes in alone.items() if [layer(node.config).twin.normalizes for node in nodes] != [True]}
    made = with_rescales(made, bare)
    read = consumers(made.network)
    params, stats, norms = dict(made.model.params), dict(made.model.stats), dict(made.norms)
    for name, gain in gains.items():
        weights, norm_name = params[name], read[name][0]
        bias = 0.0 if weights.bias is None else np.asarray(weights.bias, np.float64)  # so much more, FP16 may lack it
        params[name] = Weights(jnp.asarray(np.asarray(weights.weight) * gain, jnp.float32), None)
        norm = norms[norm_name]
        norms[norm_name] = replace(norm, gamma=_float32(norm.gamma / gain), mean=_float32((norm.mean - bias) * gain))
        twin = _twin(norms[norm_name], shapes(made.network)[norm_name])
        params[norm_name], stats[norm_name] = twin.params, twin.stats
    scales = {name: (x, w * gains[name] if name in gains else w) for name, (x, w) in scales.items()}
    network = _without_biases(made.network, gains)
    return made._replace(network=network, model=FloatModel(params, stats), norms=norms), scales


def _without_biases(network: Network, convolutions: Collection[str]) -> Network:
    """These convolutions' biases went into the means of the batch norms behind them."""
    nodes = [
        replace(node, size=replace(node.size, bias=False))
        if node.name in convolutions and isinstance(node.size, ConvSize) else node
        for node in network.nodes
    ]  # fmt: skip
    return replace(network, nodes=tuple(nodes))


def _gain(x: float, w: np.ndarray) -> np.ndarray:
    """Powers of two from 1, f64[] or f64[c_out], with which scale and product are in range."""
    short = np.maximum(LEAST_PRODUCT / (x * w), SCALE_MIN / w)
    return np.ldexp(1.0, np.clip(np.ceil(np.log2(short)), 0, _MOST_GAIN).astype(np.int64))


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(values, np.float32)


def _twin(norm: Normalize, shape: Shape) -> FloatLayer:
    return emitted(norm, LayerPlace((shape,), False, CodeBits())).twin


def _dlogits(made: FloatNetwork, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A gradient of the output, f32[n, ...], and labels i32[n] of the first; of several side by side, f32[n, words].

    There are no labels in a file, so they are the float network's own. Of a classifier it is the cross-entropy's, of
    another output that itself, scaled to magnitudes up to 1.
    """
    found = [_gradient(output, len(images)) for output in float_twins(made, images).values()]
    if len(found) == 1:
        return found[0]
    beside = np.concatenate([gradient.reshape(len(images), -1) for gradient, _ in found], axis=1)
    return beside, found[0][1]


def _gradient(output: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    output = output.astype(np.float64)
    if math.prod(output.shape[1:-1]) > 1:
        return (output / max(1.0, float(np.abs(output).max()))).astype(np.float32), np.zeros(count, np.int32)
    logits = output.reshape(count, -1)
    labels = logits.argmax(axis=1)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient = exponents / exponents.sum(axis=1, keepdims=True)
    gradient[np.arange(count), labels] -= 1
    return gradient.astype(np.float32).reshape(output.shape), labels.astype(np.int32)


_forward = jax.jit(float_model.forward, static_argnums=0)


def float_twin(made: FloatNetwork, images: np.ndarray) -> np.ndarray:
    """The network's output, of several the first, f32[n, ...] on images f32[n,h,w,c]: `float_twins`."""
    return float_twins(made, images)[made.network.output]


def float_twins(made: FloatNetwork, images: np.ndarray) -> dict[str, np.ndarray]:
    """The network's outputs f32[n, ...] by name on images f32[n,h,w,c], in float32.

    The file's own quantizers are simulated.
    """
    scales = {}
    for name, (x, w) in made.quantizers.items():
        if x is not None and w is not None:
            scales[name] = ConvScales(jnp.asarray(x.scale), jnp.asarray(w.scale))
    y, _ = _forward(made.network, made.model, jnp.asarray(images, jnp.float32), scales=scales)
    return {name: np.asarray(value) for name, value in by_name(made.network, y).items()}
