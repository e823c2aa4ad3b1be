"""Untrained parameters and samples for any network, the same on every machine and library version.

Drawn by an integer generator and scaled by a few exactly rounded binary64 operations: no float32 training, no
random numbers of a library. Scales follow the values' estimated variance, so that codes use their range and
gradients neither vanish nor saturate, in any network.
"""

from __future__ import annotations

import math

import numpy as np

from bitrow.calibrate import LEAST_GRADIENT_PRODUCT, check_loss_scale
from bitrow.graph import INPUT, Network, shapes
from bitrow.layers.table import layer
from bitrow.layers.twin import Site
from bitrow.model_file import Model, Samples
from bitrow.outputs import words
from bitrow.parameters import site_of
from bitrow.splitmix import Draw

__all__ = ["Draw", "drawn_samples", "synthetic"]


def synthetic(network: Network, seed: int = 1, count: int = 1) -> Model:
    """A model with drawn parameters and `count` drawn samples, their dlogits of the loss scale's magnitude.

    Raises:
        BitrowError: naming network and layer, where the estimated scales are beyond the contract's range.
    """
    draw = Draw(seed % (1 << 64))
    images = (draw.triangle(256, (count, *network.input_shape)) / 128).astype(np.float16)
    sites = _sites(network)
    unscaled = _gradient_deviations(network, sites)
    loss_scale = _loss_scale(network, sites, unscaled)
    params = {
        node.name: layer(node.config).twin.draw(node.config, sites[node.name], loss_scale * unscaled[node.name], draw)
        for node in network.nodes
        if layer(node.config).params(node.config)
    }
    return Model(network, params, loss_scale, Samples(images, *_answers(network, loss_scale, count, draw)))


def drawn_samples(
    network: Network, loss_scale: float, seed: int = 1, count: int = 1, images: np.ndarray | None = None
) -> Samples:
    """Samples for a model that has none: dlogits of the loss scale's magnitude, and `count` images as `synthetic`'s.

    With `images` f16[k,h,w,c], those.
    """
    draw = Draw(seed % (1 << 64))
    if images is None:
        images = (draw.triangle(256, (count, *network.input_shape)) / 128).astype(np.float16)
    return Samples(images, *_answers(network, loss_scale, len(images), draw))


def _answers(network: Network, loss_scale: float, count: int, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Labels, of the first output, and dlogits of so many samples; of several outputs side by side."""
    output = shapes(network)[network.output]
    flat = layer(network.node(network.output).config).flat
    shape = (words(network),) if network.more_outputs else output[2:] if flat else output
    dlogits = draw.triangle(256, (count, *shape)) * loss_scale / 128
    labels = draw.below(output[2], (count,)).astype(np.int32)
    return labels, dlogits.astype(np.float16)


def _sites(network: Network) -> dict[str, Site]:
    """Every layer's place, with the estimated mean squares of its inputs."""
    moments = {INPUT: 2 / 3}  # the samples' triangle of half width 2
    sites = {}
    for node in network.nodes:
        site = site_of(network, node)._replace(moments=tuple(moments[name] for name in node.inputs))
        sites[node.name] = site
        moments[node.name] = layer(node.config).twin.moment(node.config, site)
    return sites


def _loss_scale(network: Network, sites: dict[str, Site], deviations: dict[str, float]) -> float:
    """The least power of two from 1 that keeps gradients' scales times weights' well normal (SPEC.md D3)."""
    found = [
        layer(node.config).twin.product(node.config, sites[node.name], deviations[node.name]) for node in network.nodes
    ]
    products = [product for product in found if product is not None]
    loss_scale = 1.0
    while products and loss_scale * min(products) < LEAST_GRADIENT_PRODUCT:
        loss_scale *= 2
    return check_loss_scale(network, loss_scale)


def _gradient_deviations(network: Network, sites: dict[str, Site]) -> dict[str, float]:
    """Estimated standard deviation of every layer's output gradient, for dlogits of variance 2/3."""
    variance = dict.fromkeys(shapes(network), 0.0)
    variance |= dict.fromkeys(network.outputs, 2 / 3)
    for node in reversed(network.nodes):
        dy = layer(node.config).twin.gradient(node.config, sites[node.name], variance[node.name])
        for name, each in zip(node.inputs, dy if isinstance(dy, tuple) else (dy,) * len(node.inputs), strict=True):
            variance[name] += each
    return {name: math.sqrt(value) for name, value in variance.items()}
