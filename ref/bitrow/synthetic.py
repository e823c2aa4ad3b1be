"""Untrained parameters and samples for any network, the same on every machine and library version.

Drawn by an integer generator and scaled by a few exactly rounded binary64 operations: no float32 training, no
random numbers of a library. Scales follow the values' estimated variance, so that codes use their range and
gradients neither vanish nor saturate, in any network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from bitrow import splitmix
from bitrow.calibrate import LEAST_GRADIENT_PRODUCT, LEAST_PRODUCT, as_scale, check_loss_scale
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    Statistics,
)
from bitrow.formats import Fxp
from bitrow.graph import INPUT, ConvSize, Network, Node, kernel_shape, linear_shape, shapes
from bitrow.layers import batch_norm, conv
from bitrow.layers.batch_norm import BatchParams
from bitrow.layers.linear import LinearParams
from bitrow.model_file import Model, Samples
from bitrow.parameters import LayerParams

_EPS = np.float32(2.0**-10)
_CLIP = 3.0  # a code's range ends at this many standard deviations


@dataclass
class Draw:
    """Uniform integers from SplitMix64: the same for the same seed, everywhere."""

    state: int

    def words(self, count: int) -> np.ndarray:
        """The next `count` 64-bit words, uint64."""
        found = splitmix.outputs(self.state, np.arange(count))
        self.state = (self.state + count * splitmix.GOLDEN) % (1 << 64)
        return found

    def below(self, limit: int, shape: tuple[int, ...]) -> np.ndarray:
        """int64 of `shape` in 0..limit-1, `limit` up to 2^32."""
        high = self.words(math.prod(shape)) >> np.uint64(32)
        return ((high * np.uint64(limit)) >> np.uint64(32)).astype(np.int64).reshape(shape)

    def triangle(self, limit: int, shape: tuple[int, ...]) -> np.ndarray:
        """int64 of `shape` in -(limit-1)..limit-1, symmetric about 0, of variance (limit^2 - 1) / 6."""
        return self.below(limit, shape) - self.below(limit, shape)

    def about(self, middle: float, spread: float, shape: tuple[int, ...]) -> np.ndarray:
        """float64 of `shape`, uniform within `spread` of `middle` in 2^11 equal steps."""
        return middle + spread * (self.below(2049, shape) - 1024) / 1024


def synthetic(network: Network, seed: int = 1, count: int = 1) -> Model:
    """A model with drawn parameters and `count` drawn samples, their dlogits of the loss scale's magnitude.

    Raises:
        BitrowError: naming network and layer, where the estimated scales are beyond the contract's range.
    """
    draw = Draw(seed % (1 << 64))
    images = (draw.triangle(256, (count, *network.input_shape)) / 128).astype(np.float16)
    moments = _moments(network)
    unscaled = _gradient_deviations(network, moments)
    loss_scale = _loss_scale(network, moments, unscaled)
    deviations = {name: loss_scale * deviation for name, deviation in unscaled.items()}
    params: dict[str, LayerParams] = {}
    for position, node in enumerate(network.nodes, start=1):
        where = f"{network.name} {node.name}"
        match node.config:
            case ConvConfig():
                params[node.name] = _conv(network, node, moments, deviations[node.name], draw, position)
            case BatchNormConfig() as config:
                moment = moments[node.inputs[0]]
                params[node.name] = _batch_norm(where, config, shapes(network)[node.name][2], moment, draw)
            case LinearConfig():
                params[node.name] = _linear(*linear_shape(network, node), draw)
    output = shapes(network)[network.output]
    head = isinstance(network.node(network.output).config, LinearConfig)
    dlogits = draw.triangle(256, (count, *(output[2:] if head else output))) * loss_scale / 128
    labels = draw.below(output[2], (count,)).astype(np.int32)
    return Model(network, params, loss_scale, Samples(images, labels, dlogits.astype(np.float16)))


def _magnitude(fmt: Fxp) -> int:
    """Codes are drawn within this distance of 0, so that a layer's output is not all offset."""
    return min(fmt.max, -fmt.min) if fmt.signed else fmt.max


def _code_deviation(fmt: Fxp) -> float:
    steps = _magnitude(fmt) + 1
    variance = (steps * steps - 1) / 6
    return math.sqrt(variance if fmt.signed else variance / 4)


def _fan_in(network: Network, node: Node) -> int:
    return math.prod(kernel_shape(network, node)[:3])


def _weight_scale(network: Network, node: Node, moments: dict[str, float]) -> float:
    """The scale that gives the convolution's output a variance of 1, or more where D3 needs it."""
    assert isinstance(node.config, ConvConfig)
    spread = math.sqrt(_fan_in(network, node) * moments[node.inputs[0]])
    wanted = 1 / (_code_deviation(node.config.weight_format) * spread)
    return max(wanted, LEAST_PRODUCT / _x_scale(node.config, moments[node.inputs[0]]))


def _x_scale(config: ConvConfig, moment: float) -> float:
    return _CLIP * math.sqrt(moment) / config.x_format.max


def _loss_scale(network: Network, moments: dict[str, float], deviations: dict[str, float]) -> float:
    """The least power of two from 1 that keeps gradients' scales times weights' well normal (SPEC.md D3)."""
    products = [
        deviations[node.name] * _weight_scale(network, node, moments) * _CLIP / node.config.dy_format.max
        for node in network.nodes
        if isinstance(node.config, ConvConfig)
    ]
    loss_scale = 1.0
    while products and loss_scale * min(products) < LEAST_GRADIENT_PRODUCT:
        loss_scale *= 2
    return check_loss_scale(network, loss_scale)


def _conv(
    network: Network, node: Node, moments: dict[str, float], deviation: float, draw: Draw, position: int
) -> LayerParams:
    config, size = node.config, node.size
    assert isinstance(config, ConvConfig) and isinstance(size, ConvSize)
    limit = _magnitude(config.weight_format) + 1
    code = draw.triangle(limit, kernel_shape(network, node))
    if not config.weight_format.signed:
        code = (code + limit) // 2
    w_scale = _weight_scale(network, node, moments)
    jitter = draw.about(1.0, 0.25, (size.c_out if size.per_channel else 1,))
    w_scales = np.array([as_scale(w_scale * float(factor)) for factor in jitter])
    x_scale = _x_scale(config, moments[node.inputs[0]])
    folded = deviation * w_scale if config.fold else deviation
    bias = draw.about(0.0, 0.25, (size.c_out,)).astype(np.float16) if size.bias else None
    return conv.make_params(
        config,
        f"{network.name} {node.name}",
        code,
        as_scale(x_scale),
        w_scales if size.per_channel else float(w_scales[0]),
        as_scale(_CLIP * folded / config.dy_format.max),
        bias,
        seed=position,
    )


def _batch_norm(where: str, config: BatchNormConfig, channels: int, moment: float, draw: Draw) -> LayerParams:
    gamma, spread = (draw.about(1.0, 0.25, (channels,)) for _ in range(2))
    beta, centre = (draw.about(0.0, 0.25, (channels,)) for _ in range(2))
    mean, var = (v.astype(np.float32) for v in (centre * math.sqrt(moment), spread * moment))
    gamma, beta = gamma.astype(np.float32), beta.astype(np.float32)
    if config.statistics is Statistics.FROZEN:
        return batch_norm.fold(where, gamma, beta, mean, var, float(_EPS))
    return BatchParams(*map(jnp.asarray, (gamma, beta, _EPS)))


def _linear(c_in: int, c_out: int, draw: Draw) -> LayerParams:
    weight = draw.triangle(256, (c_in, c_out)) / (104 * math.sqrt(c_in))
    bias = draw.about(0.0, 0.25, (c_out,))
    return LinearParams(jnp.asarray(weight, jnp.float16), jnp.asarray(bias, jnp.float32))


def _moments(network: Network) -> dict[str, float]:
    """Estimated mean square of every value, each layer's input taken as roughly normal."""
    moments = {INPUT: 2 / 3}  # the samples' triangle of half width 2
    for node in network.nodes:
        x = moments[node.inputs[0]]
        match node.config:
            case ReluConfig():
                x = x / 2
            case AddConfig():
                x = x + moments[node.inputs[1]]
            case MaxPoolConfig():
                x = 2 * x
            case AvgPoolConfig():
                x = x / 3
            case ConvConfig(weight_format=weight_format):
                deviation = _weight_scale(network, node, moments) * _code_deviation(weight_format)
                x = _fan_in(network, node) * x * deviation * deviation
            case BatchNormConfig() | LinearConfig():
                x = 1.0
        moments[node.name] = x
    return moments


def _gradient_deviations(network: Network, moments: dict[str, float]) -> dict[str, float]:
    """Estimated standard deviation of every layer's output gradient, for dlogits of variance 2/3."""
    sizes = shapes(network)
    variance = dict.fromkeys(sizes, 0.0)
    variance[network.output] = 2 / 3
    for node in reversed(network.nodes):
        dy = variance[node.name]
        h, w, c = sizes[node.inputs[0]]
        oh, ow, c_out = sizes[node.name]
        match node.config:
            case ConvConfig(groups=groups) as config:
                codes = _weight_scale(network, node, moments) * _code_deviation(config.weight_format)
                taps = math.prod(kernel_shape(network, node)[:2]) * (oh * ow) / (h * w)
                dy *= taps * (c_out // groups) * codes * codes
            case BatchNormConfig():
                dy /= moments[node.inputs[0]]
            case ReluConfig():
                dy /= 2
            case MaxPoolConfig():
                dy *= oh * ow / (h * w)
            case AvgPoolConfig():
                dy *= (oh * ow / (h * w)) ** 2
            case LinearConfig():
                dy *= c_out / (h * w * c)
        for name in node.inputs:
            variance[name] += dy
    return {name: math.sqrt(value) for name, value in variance.items()}
