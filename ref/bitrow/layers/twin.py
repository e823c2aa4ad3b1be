"""A layer on the host, outside the contract: its float32 twin, and how its parameters are calibrated and drawn.

`float_model`, `calibrate` and `synthetic` walk the network and ask each layer; what they give it is here. Its numbers
may be any compiler's: `/`, `mean` and `@` are the twin's to use, as they are not a kernel's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float32

from bitrow.config import LayerConfig, Shape
from bitrow.errors import BitrowError
from bitrow.layers.rows import Config
from bitrow.splitmix import Draw

EPS = 2.0**-10  # about the usual 1e-3, and exact in FP16

LayerParams = Any  # a NamedTuple of arrays, which the layer's module declares


class Weights(NamedTuple):
    """Float32 weights [kh, kw, c_in/groups, c_out] or [in, out], and a bias [c_out] or None."""

    weight: Float32[Array, " ..."]
    bias: Float32[Array, " c_out"] | None


class Norm(NamedTuple):
    """Float32 gamma and beta of a batch norm, [c]."""

    gamma: Float32[Array, " c"]
    beta: Float32[Array, " c"]


class Stats(NamedTuple):
    """Float32 running mean and variance of a batch norm, [c]."""

    mean: Float32[Array, " c"]
    var: Float32[Array, " c"]


class ConvScales(NamedTuple):
    """Scales of a convolution's input, f32[], and weights, f32[] or f32[c_out]."""

    x_scale: Float32[Array, ""]
    w_scale: Float32[Array, "*c_out"]


class FloatLayer(NamedTuple):
    """What a float32 layer runs on: trained `params` and observed `stats`, None where there are none.

    `scale` quantizes it in simulation; `train` takes the batch's own statistics.
    """

    params: Any = None
    stats: Any = None
    scale: ConvScales | None = None
    train: bool = False


class Site(NamedTuple):
    """A layer's place in a network: what the messages call it, and its number, from 1.

    `weights` is the weights' shape, `shape` and `output` (h, w, c) of its first input and its result, `moments` the
    estimated mean squares of its inputs. `last`: its result is the network's.
    """

    where: str
    number: int
    size: Any
    weights: tuple[int, ...]
    shape: Shape
    output: Shape
    moments: tuple[float, ...] = ()
    last: bool = False


class Calibration(NamedTuple):
    """The scales that were measured, None where nothing was, and the power of two that the layer's result has more,
    or, of one that normalizes, its input.
    """

    scale: ConvScales | None = None
    dy_scale: float | None = None
    gain: float = 1.0


def _no_forward(config: LayerConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, Any]:
    raise BitrowError(f"{config.label}: found no float32 twin, expected one")


def _no_params(config: LayerConfig, *given: Any) -> LayerParams:
    raise BitrowError(f"{config.label}: found no way to its parameters, expected one")


@dataclass(frozen=True)
class Twin:
    """What one kind of layer is on the host.

    `forward` runs it in float32: the result, and new statistics or None. `initialize` draws a FloatLayer to train.
    `fits`: `forward` can run on these float parameters. `calibrate` makes parameters of the contract from them,
    `draw` from nothing, for an output gradient of a standard deviation. `normalizes`: a power of two in its input
    can be taken back by its parameters. For an input of roughly normal values, `moment` estimates the result's mean
    square, and `gradient` the variance of each input's gradient, or one for all of them, from that of the result's.
    `product`: the scale of the codes of an output gradient of a standard deviation, times the weights', None where
    gradients have no codes.
    """

    forward: Callable[[Config, FloatLayer, list[Array]], tuple[Array, Any]] = _no_forward
    initialize: Callable[[Config, Site, np.random.Generator], FloatLayer] = lambda config, site, rng: FloatLayer()
    fits: Callable[[LayerParams], bool] = lambda params: True
    calibrate: Callable[[Config, Site, FloatLayer, Calibration], LayerParams] = _no_params
    draw: Callable[[Config, Site, float, Draw], LayerParams] = _no_params
    normalizes: bool = False
    moment: Callable[[Config, Site], float] = lambda config, site: site.moments[0]
    gradient: Callable[[Config, Site, float], float | tuple[float, ...]] = lambda config, site, dy: dy
    product: Callable[[Config, Site, float], float | None] = lambda config, site, deviation: None
