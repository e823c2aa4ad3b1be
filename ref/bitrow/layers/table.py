"""The layers by the type of their configuration: complete, or refused when this is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LayerConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
)
from bitrow.errors import BitrowError
from bitrow.layers import activation, batch_norm, conv, linear, pool, residual
from bitrow.layers.layer import Layer


def complete(layers: Mapping[type, Layer]) -> Mapping[type, Layer]:
    """The table, if every kind of configuration has its layer.

    Raises:
        BitrowError: naming what is missing.
    """
    for config in get_args(LayerConfig):
        if config not in layers:
            raise BitrowError(f"layers: found none for {config.__name__}, expected one")
    return layers


LAYERS = complete({
    ConvConfig: conv.LAYER,
    BatchNormConfig: batch_norm.LAYER,
    ReluConfig: activation.LAYER,
    AddConfig: residual.LAYER,
    MaxPoolConfig: pool.MAX_LAYER,
    AvgPoolConfig: pool.AVG_LAYER,
    LinearConfig: linear.LAYER,
})  # fmt: skip


def layer(config: LayerConfig) -> Layer:
    """The layer that a configuration is of.

    Raises:
        BitrowError: no layer's configuration.
    """
    if type(config) not in LAYERS:
        raise BitrowError(f"layer: found config {type(config).__name__}, expected a layer's config")
    return LAYERS[type(config)]
