"""The convolution on the host: in float32, with or without simulated codes, and the scales and codes of its parameters.

The TWIN's `calibrate` and `draw` return what `conv.make_params` takes after configuration and name.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from bitrow.config import ConvConfig
from bitrow.errors import BitrowError
from bitrow.float_conv import fake_quantize, float_conv
from bitrow.formats import Fxp
from bitrow.host import LEAST_PRODUCT, Scales, as_scale, host_fp32, rounded_fp16, weight_codes
from bitrow.layers.twin import Calibration, FloatLayer, Site, Twin, Weights
from bitrow.splitmix import Draw

_CLIP = 3.0  # a drawn code's range ends at this many standard deviations


def _forward(config: ConvConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    (x,), (weight, bias) = inputs, layer.params
    if layer.scale is not None:
        x = fake_quantize(x, layer.scale.x_scale, config.x_format)
        weight = fake_quantize(weight, jnp.broadcast_to(layer.scale.w_scale, weight.shape), config.weight_format)
    y = float_conv(config, x, weight)
    return (y if bias is None else y + jnp.broadcast_to(bias, y.shape)), None


def _initialize(config: ConvConfig, site: Site, rng: np.random.Generator) -> FloatLayer:
    """He-normal weights, a bias of 0."""
    weight = rng.standard_normal(site.weights) * np.sqrt(2 / np.prod(site.weights[:3]))
    bias = jnp.zeros(site.output[2], jnp.float32) if site.size.bias else None
    return FloatLayer(Weights(jnp.asarray(weight, jnp.float32), bias))


def _calibrated(config: ConvConfig, site: Site, layer: FloatLayer, found: Calibration) -> tuple[Any, ...]:
    """Codes and scales of float weights, which stand for `gain` times as much."""
    for name, each in (("scales", found.scale), ("dy_scale", found.dy_scale)):
        if each is None:
            raise BitrowError(f"{site.where} {name}: found none, expected the convolution's")
    assert found.scale is not None and found.dy_scale is not None
    (weight, bias), gain = layer.params, found.gain
    x_scale, w_scale = (np.asarray(s, np.float64) for s in found.scale)
    return (
        weight_codes(host_fp32(site.where, "weight", np.asarray(weight)), w_scale, config.weight_format),
        Scales(
            float(x_scale),
            w_scale * gain if w_scale.ndim else float(w_scale) * gain,
            found.dy_scale if config.fold else found.dy_scale / gain,
        ),
        None if bias is None else rounded_fp16(f"{site.where} bias", bias * gain),
        site.number,
    )


def _magnitude(fmt: Fxp) -> int:
    """Codes are drawn within this distance of 0, so that a layer's output is not all offset."""
    return min(fmt.max, -fmt.min) if fmt.signed else fmt.max


def _code_deviation(fmt: Fxp) -> float:
    steps = _magnitude(fmt) + 1
    variance = (steps * steps - 1) / 6
    return math.sqrt(variance if fmt.signed else variance / 4)


def _taps(config: ConvConfig, site: Site) -> tuple[float, float]:
    """Places of the kernel that a result meets on average, forward and back, where a stride spreads codes or dy."""
    (h, w, _), (oh, ow, _) = site.shape, site.output
    taps = float(math.prod(site.weights[:2]))
    return (taps * (h * w) / (oh * ow), taps) if config.transposed else (taps, taps * (oh * ow) / (h * w))


def _weight_scale(config: ConvConfig, site: Site) -> float:
    """The scale that gives the convolution's output a variance of 1, or more where D3 needs it."""
    spread = math.sqrt(_taps(config, site)[0] * site.weights[2] * site.moments[0])
    wanted = 1 / (_code_deviation(config.weight_format) * spread)
    return max(wanted, LEAST_PRODUCT / _x_scale(config, site))


def _x_scale(config: ConvConfig, site: Site) -> float:
    return _CLIP * math.sqrt(site.moments[0]) / config.x_format.max


def _moment(config: ConvConfig, site: Site) -> float:
    deviation = _weight_scale(config, site) * _code_deviation(config.weight_format)
    return _taps(config, site)[0] * site.weights[2] * site.moments[0] * deviation * deviation


def _gradient(config: ConvConfig, site: Site, dy: float) -> float:
    codes = _weight_scale(config, site) * _code_deviation(config.weight_format)
    return dy * (_taps(config, site)[1] * (site.output[2] // config.groups) * codes * codes)


def _product(config: ConvConfig, site: Site, deviation: float) -> float:
    return deviation * _weight_scale(config, site) * _CLIP / config.dy_format.max


def _drawn(config: ConvConfig, site: Site, deviation: float, draw: Draw) -> tuple[Any, ...]:
    """Codes over their whole range, and scales under which values neither vanish nor saturate."""
    size = site.size
    limit = _magnitude(config.weight_format) + 1
    code = draw.triangle(limit, site.weights)
    if not config.weight_format.signed:
        code = (code + limit) // 2
    w_scale = _weight_scale(config, site)
    jitter = draw.about(1.0, 0.25, (size.c_out if size.per_channel else 1,))
    w_scales = np.array([as_scale(w_scale * float(factor)) for factor in jitter])
    folded = deviation * w_scale if config.fold else deviation
    return (
        code,
        Scales(
            as_scale(_x_scale(config, site)),
            w_scales if size.per_channel else float(w_scales[0]),
            as_scale(_CLIP * folded / config.dy_format.max),
        ),
        draw.about(0.0, 0.25, (size.c_out,)).astype(np.float16) if size.bias else None,
        site.number,
    )


TWIN = Twin(
    _forward, _initialize, lambda params: isinstance(params, Weights), _calibrated, _drawn,
    moment=_moment, gradient=_gradient, product=_product,
)  # fmt: skip
