"""Quantization parameters from a float32 model and real images (SPEC.md F8, B1, C2, D3).

A rule chooses the scale of a tensor from its values; here are two, each for power-of-two or general scales.
Activations are measured at every convolution's input, gradients at its output, in a float32 pass; the loss
scale is the power of two that keeps every product of gradient and weight scale well inside FP16. Calibration
is float32 work on the host: what it chooses is a parameter of the contract, how it chooses is not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitrow import typed
from bitrow.config import Statistics
from bitrow.errors import BitrowError
from bitrow.float_model import FloatModel, cross_entropy, forward
from bitrow.formats import SCALE_MAX, Fxp
from bitrow.graph import Network, consumers, convolutions, shapes
from bitrow.host import LEAST_PRODUCT, as_scale, host_fp32
from bitrow.layers.table import layer
from bitrow.layers.twin import Calibration, ConvScales, Weights
from bitrow.outputs import split, words
from bitrow.parameters import LayerParams, check_params, site_of

CalibrationRule = Callable[[np.ndarray, Fxp], float]
Labels = np.ndarray | Mapping[str, np.ndarray]  # int[n], of several outputs by name

# A gradient's scale times its weight's is kept at 4 times the least normal FP16 number or more (D3).
LEAST_GRADIENT_PRODUCT = 2.0**-12
LOSS_SCALE_MAX = 2.0**15
_SAMPLE = 1 << 16


@dataclass(frozen=True)
class LeastSquares:
    """The scale with the least squared error, among clips at 1/64, 2/64, ... of the largest magnitude.

    With `power_of_two`, among the power of two that just holds the largest magnitude and the five below it.

    Raises:
        BitrowError: `power_of_two` that is no bool.
    """

    power_of_two: bool = False

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "least squares")

    def __call__(self, values: np.ndarray, fmt: Fxp) -> float:
        """Scale of `values` in `fmt`: a positive real number, 1 for values that are all zero."""
        values = _sample(values)
        largest = float(np.abs(values).max(initial=0.0))
        if largest == 0.0:
            return 1.0
        if self.power_of_two:
            top = math.ceil(math.log2(largest / fmt.max))
            candidates = [math.ldexp(1.0, top - step) for step in range(6)]
        else:
            candidates = [largest / fmt.max * step / 64 for step in range(1, 65)]
        return min(candidates, key=lambda scale: _squared_error(values, scale, fmt))


@dataclass(frozen=True)
class Percentile:
    """The scale that just holds the given percentage of magnitudes; with `power_of_two`, the next above.

    Raises:
        BitrowError: a percentage outside 0..100, `power_of_two` that is no bool.
    """

    percent: float = 99.9
    power_of_two: bool = False

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "percentile")
        if not 0 <= self.percent <= 100:
            raise BitrowError(f"percentile percent: found {self.percent!r}, expected 0 to 100")

    def __call__(self, values: np.ndarray, fmt: Fxp) -> float:
        """Scale of `values` in `fmt`: a positive real number, 1 where the percentile is zero."""
        clip = float(np.percentile(np.abs(_sample(values)), self.percent))
        if clip == 0.0:
            return 1.0
        scale = clip / fmt.max
        return math.ldexp(1.0, math.ceil(math.log2(scale))) if self.power_of_two else scale


class GradientScales(NamedTuple):
    """Scales of the convolutions' output gradients by layer, and the loss scale that they assume.

    They fit `dlogits = loss_scale * d(sum of the images' losses) / d(logits)`, whatever the batch size.
    """

    dy_scale: dict[str, float]
    loss_scale: float


class Calibrated(NamedTuple):
    """Parameters of every layer of a network, and the loss scale that its gradient scales assume."""

    params: dict[str, LayerParams]
    loss_scale: float


def calibrate(
    network: Network, model: FloatModel, images: np.ndarray, labels: Labels, rule: CalibrationRule = LeastSquares()
) -> Calibrated:
    """Bit-accurate parameters from `model` and real images f32[n,h,w,c] with labels int[n], of several outputs by name.

    Raises:
        BitrowError: images or labels that do not fit the network or each other; naming the layer, values that are not
            finite, and what `make_params` refuses.
    """
    scales = forward_scales(network, model, images, rule)
    gradients = gradient_scales(network, model, scales, images, labels, rule)
    return Calibrated(make_params(network, model, scales, gradients.dy_scale), gradients.loss_scale)


def forward_scales(
    network: Network, model: FloatModel, images: np.ndarray, rule: CalibrationRule = LeastSquares()
) -> dict[str, ConvScales]:
    """Scales, FP16 numbers as f32, of every convolution's weights and its input on images f32[n,h,w,c].

    Raises:
        BitrowError: images that do not fit the network; naming the layer, values that are not finite or a rule's scale
            that is no positive number.
    """
    images = _images(network, images)
    convs = convolutions(network)
    inputs = frozenset(conv.input for conv in convs)
    seen = _observed(network, inputs, model, jnp.asarray(images))
    values = {name: host_fp32(network.name, f"{name} activations", np.asarray(value)) for name, value in seen.items()}
    scales = {}
    for name, config, size, read in convs:
        where = f"{network.name} {name}"
        x_scale = as_scale(_positive(f"{where} x_scale", rule(values[read], config.x_format)))
        weight = host_fp32(where, "weight", np.asarray(_weights(network, model, name).weight))
        w_scale = _weight_scale(where, weight, config.weight_format, size.per_channel, rule)
        scales[name] = ConvScales(jnp.float32(x_scale), jnp.asarray(w_scale, jnp.float32))
    return scales


def gradient_scales(
    network: Network,
    model: FloatModel,
    scales: Mapping[str, ConvScales],
    images: np.ndarray,
    labels: Labels,
    rule: CalibrationRule = LeastSquares(),
) -> GradientScales:
    """Scales of every convolution's output gradient, in a backward pass through simulated quantization.

    Raises:
        BitrowError: images or labels that do not fit the network or each other; naming the layer, where gradients are
            so small, or differ so much, that none fits, or are not finite.
    """
    images = _images(network, images)
    labels = _labels(network, labels, len(images))
    gradients = _output_gradients(network, model, scales, images, labels)
    wanted, _, exponent = _wanted(network, scales, gradients, rule)
    return _gradient_scales(network, wanted, exponent)


def gradient_scales_of(
    network: Network,
    model: FloatModel,
    scales: Mapping[str, ConvScales],
    images: np.ndarray,
    dlogits: np.ndarray,
    rule: CalibrationRule = LeastSquares(),
) -> tuple[GradientScales, tuple[str, ...]]:
    """As `gradient_scales`, from a gradient of the output, f32[n, classes] or f32[n,h,w,c], under no loss scale.

    Those of several outputs lie side by side, f32[n, words] (`outputs.split`).

    Gradients too small for every loss scale are no error here, as of a network that nobody may train: they get the
    least scale that D3 allows, and the second result names their layers.

    Raises:
        BitrowError: as `gradient_scales` but for that; a gradient of another shape than the output's.
    """
    images = _images(network, images)
    dlogits = host_fp32(network.name, "dlogits", np.asarray(dlogits))
    expected: tuple[int, ...] = shapes(network)[network.output]
    if network.more_outputs:
        expected = (words(network),)
    if len(dlogits) != len(images) or dlogits.shape[1:] not in (expected, expected[2:]):
        raise BitrowError(
            f"{network.name} dlogits: found shape {list(dlogits.shape)}, expected {[len(images), *expected]}"
        )
    sizes, x = shapes(network), jnp.asarray(images)
    offsets = {name: jnp.zeros((len(images), *sizes[name]), jnp.float32) for name in scales}
    found = _dot_gradient(offsets, network, model, dict(scales), x, jnp.asarray(dlogits))
    gradients = {name: np.asarray(value) for name, value in found.items()}
    return _within_reach(*_wanted(network, scales, gradients, rule))


_Wanted = tuple[dict[str, float], dict[str, float], int]


def _wanted(
    network: Network, scales: Mapping[str, ConvScales], gradients: Mapping[str, np.ndarray], rule: CalibrationRule
) -> _Wanted:
    """The rule's scales, 0 for gradients of 0, each one's weight scale, and the loss scale's exponent for all."""
    wanted, weights = {}, {}
    configs = {conv.name: conv.config for conv in convolutions(network)}
    for name, dy in gradients.items():
        config = configs[name]
        w_scale = np.asarray(scales[name].w_scale)
        where = f"{network.name} {name}"
        folded = host_fp32(where, "output gradient", dy * w_scale if config.fold else dy)
        scale = _positive(f"{where} dy_scale", rule(folded, config.dy_format))
        wanted[name] = scale if np.any(folded) else 0.0
        weights[name] = 1.0 if config.fold else float(w_scale.min())
    least = min((scale * weights[name] for name, scale in wanted.items() if scale), default=math.inf)
    exponent = 0 if least == math.inf else max(0, math.ceil(math.log2(LEAST_GRADIENT_PRODUCT / least)))
    return wanted, weights, exponent


def _gradient_scales(network: Network, wanted: Mapping[str, float], exponent: int) -> GradientScales:
    loss_scale = check_loss_scale(network, math.ldexp(1.0, exponent))
    for name, scale in wanted.items():
        if scale * loss_scale > SCALE_MAX:
            raise BitrowError(
                f"{network.name} {name} dy_scale: found {scale * loss_scale!r} under the loss scale "
                f"{loss_scale:g} that the smallest gradients need, expected at most {SCALE_MAX:g}"
            )
    return GradientScales({n: as_scale(s * loss_scale) if s else 1.0 for n, s in wanted.items()}, loss_scale)


def _within_reach(
    wanted: Mapping[str, float], weights: Mapping[str, float], exponent: int
) -> tuple[GradientScales, tuple[str, ...]]:
    """The loss scale that every gradient's scale fits under; those too small under it get the least that D3 allows."""
    room = min(LOSS_SCALE_MAX, SCALE_MAX / max((*wanted.values(), LEAST_GRADIENT_PRODUCT)))
    loss_scale = math.ldexp(1.0, max(0, min(exponent, math.floor(math.log2(room)))))
    found, small = {}, []
    for name, scale in wanted.items():
        least = LEAST_GRADIENT_PRODUCT / weights[name]
        found[name] = as_scale(max(scale * loss_scale, least)) if scale else 1.0
        if 0 < scale * loss_scale < least:
            small.append(name)
    return GradientScales(found, loss_scale), tuple(small)


def check_loss_scale(network: Network, loss_scale: float) -> float:
    """`loss_scale`, if an output gradient of about 1 times it is an FP16 number.

    Raises:
        BitrowError: naming the network; a loss scale above 2^15.
    """
    if loss_scale > LOSS_SCALE_MAX:
        raise BitrowError(
            f"{network.name} loss scale: found {loss_scale:g} to keep gradients' scales normal, expected "
            f"at most {LOSS_SCALE_MAX:g}; choose fewer gradient or weight bits, or gradient fp16"
        )
    return loss_scale


def make_params(
    network: Network, model: FloatModel, scales: Mapping[str, ConvScales], dy_scales: Mapping[str, float]
) -> dict[str, LayerParams]:
    """Codes, scales and folded batch norms of every layer of a float32 model (SPEC.md F8, D3, M2, B1).

    Where wide codes make a convolution's scale too small for FP16 (D3) and a batch norm alone reads it, the
    convolution's weights stand for a power of two more, which the batch norm takes back.

    Raises:
        BitrowError: naming network and layer; what the contract refuses: scale, product, accumulator, fold; a value
            that is not finite, or a layer without scales or parameters.
    """
    params: dict[str, LayerParams] = {}
    gains = _gains(network, scales)
    for node in network.nodes:
        kind, found = layer(node.config), model.layer(node.name)
        if kind.params(node.config) and kind.twin.fits(found.params):
            measured = Calibration(scales.get(node.name), dy_scales.get(node.name), gains.get(node.name, 1.0))
            params[node.name] = kind.twin.calibrate(node.config, site_of(network, node), found, measured)
    check_params(network, params)
    return params


def _weight_scale(
    where: str, weight: np.ndarray, fmt: Fxp, per_channel: bool, rule: CalibrationRule
) -> float | np.ndarray:
    if not per_channel:
        return as_scale(_positive(f"{where} w_scale", rule(weight, fmt)))
    found = (rule(weight[..., c], fmt) for c in range(weight.shape[3]))
    return np.array([as_scale(_positive(f"{where} w_scale channel {c}", scale)) for c, scale in enumerate(found)])


def _positive(where: str, scale: float) -> float:
    """What a rule returned."""
    if not isinstance(scale, float | int | np.floating) or not 0 < scale < math.inf:
        raise BitrowError(f"{where}: found {typed.shown(scale)} from the rule, expected a positive number")
    return float(scale)


def _images(network: Network, images: np.ndarray) -> np.ndarray:
    """Images as float32, rounded once."""
    given = np.asarray(images)
    if given.ndim != 4 or given.shape[1:] != network.input_shape or not len(given):
        raise BitrowError(
            f"{network.name} images: found shape {list(given.shape)}, "
            f"expected [n, {', '.join(map(str, network.input_shape))}] from n = 1"
        )
    return host_fp32(network.name, "images", given)


def _labels(network: Network, labels: Labels, count: int) -> dict[str, np.ndarray]:
    by_name = labels if isinstance(labels, Mapping) else {network.output: labels}
    if set(by_name) != set(network.outputs):
        expected = ", ".join(network.outputs)
        raise BitrowError(f"{network.name} labels: found those of {', '.join(by_name)}, expected some for {expected}")
    return {name: _labels_of(network, name, by_name[name], count) for name in network.outputs}


def _labels_of(network: Network, output: str, labels: np.ndarray, count: int) -> np.ndarray:
    given, classes = np.asarray(labels), shapes(network)[output][2]
    if given.dtype.kind not in "iu" or given.shape != (count,):
        raise BitrowError(
            f"{network.name} labels: found {given.dtype}{list(given.shape)}, expected integers [{count}]"
        )
    if given.min() < 0 or given.max() >= classes:
        raise BitrowError(
            f"{network.name} labels: found {given.min()} to {given.max()}, expected 0 to {classes - 1}"
        )
    return given.astype(np.int32)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _observed(network: Network, names: frozenset[str], model: FloatModel, x: jax.Array) -> dict[str, jax.Array]:
    found = {"input": x}
    forward(network, model, x, observe=found.__setitem__)
    return {name: found[name] for name in names}


def _output_gradients(
    network: Network,
    model: FloatModel,
    scales: Mapping[str, ConvScales],
    images: np.ndarray,
    labels: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Gradient of the summed loss at every convolution's output, f32[n,oh,ow,c_out]."""
    sizes = shapes(network)
    offsets = {name: jnp.zeros((len(images), *sizes[name]), jnp.float32) for name in scales}
    x, y = jnp.asarray(images), {name: jnp.asarray(each) for name, each in labels.items()}
    gradients = _loss_gradient(offsets, network, model, dict(scales), x, y)
    return {name: np.asarray(value) for name, value in gradients.items()}


def _loss(
    offsets: dict[str, jax.Array], network: Network, model: FloatModel, scales: dict[str, ConvScales], x: jax.Array,
    y: dict[str, jax.Array],
) -> jax.Array:  # fmt: skip
    batch = any(getattr(n.config, "statistics", None) is Statistics.BATCH for n in network.nodes)
    logits, _ = forward(network, model, x, train=batch, scales=scales, offsets=offsets)
    if not network.more_outputs:
        return cross_entropy(logits, y[network.output])
    losses = [cross_entropy(logits[name].reshape(len(x), -1), y[name]) for name in network.outputs]
    return sum(losses[1:], losses[0])


_loss_gradient = jax.jit(jax.grad(_loss), static_argnums=1)


def _dot(
    offsets: dict[str, jax.Array], network: Network, model: FloatModel, scales: dict[str, ConvScales], x: jax.Array,
    dlogits: jax.Array,
) -> jax.Array:  # fmt: skip
    """A loss whose gradient is `dlogits`."""
    logits, _ = forward(network, model, x, scales=scales, offsets=offsets)
    if not network.more_outputs:
        return (logits * dlogits.reshape(logits.shape)).sum()
    dots = [(logits[name].reshape(part.shape) * part).sum() for name, part in split(network, dlogits).items()]
    return sum(dots[1:], dots[0])


_dot_gradient = jax.jit(jax.grad(_dot), static_argnums=1)


def _weights(network: Network, model: FloatModel, name: str) -> Weights:
    found = model.params.get(name)
    if not isinstance(found, Weights):
        raise BitrowError(f"{network.name} {name}: found no float weights, expected a convolution's")
    return found


def _gains(network: Network, scales: Mapping[str, ConvScales]) -> dict[str, float]:
    """Powers of two above 1 by convolution, and by the batch norm that takes them back."""
    gains: dict[str, float] = {}
    readers = consumers(network)
    for name, (x_scale, w_scale) in scales.items():
        product = float(x_scale) * float(np.min(w_scale))
        follows = [network.node(reader) for reader in readers[name]]
        if product < LEAST_PRODUCT and [layer(node.config).twin.normalizes for node in follows] == [True]:
            gains[name] = math.ldexp(1.0, math.ceil(math.log2(LEAST_PRODUCT / product)))
            gains[follows[0].name] = gains[name]
    return gains


def _sample(values: np.ndarray) -> np.ndarray:
    flat = np.asarray(values, np.float64).reshape(-1)
    if flat.size <= _SAMPLE:
        return flat
    return flat[np.linspace(0, flat.size - 1, _SAMPLE).astype(np.int64)]


def _squared_error(values: np.ndarray, scale: float, fmt: Fxp) -> float:
    code = np.clip(np.rint(values / scale), fmt.min, fmt.max)
    return float(np.square(values - scale * code).sum())
