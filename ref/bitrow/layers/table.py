"""The layers by the type of their configuration: complete, or refused when this is imported.

A kind that is declared outside of this package is put into LAYERS, and is then as any other.
"""

from __future__ import annotations

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConcatConfig,
    ConvConfig,
    DepthToSpaceConfig,
    HardSigmoidConfig,
    HardSwishConfig,
    LayerConfig,
    LinearConfig,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
    SigmoidConfig,
    SiluConfig,
    UpsampleConfig,
)
from bitrow.doors import guard
from bitrow.errors import BitrowError
from bitrow.layers import (
    activation,
    batch_norm,
    concat,
    conv,
    depth_to_space,
    hard_sigmoid,
    hard_swish,
    linear,
    multiply,
    pool,
    residual,
    sigmoid,
    upsample,
)
from bitrow.layers.layer import Layer


def _complete(layers: dict[type[LayerConfig], Layer]) -> dict[type[LayerConfig], Layer]:
    """The table, if every kind of configuration has its layer.

    Raises:
        BitrowError: naming what is missing.
    """
    for config in LayerConfig.__subclasses__():
        if config not in layers:
            raise BitrowError(f"layers: found none for {config.__name__}, expected one")
    return layers


LAYERS = _complete({
    ConvConfig: conv.LAYER,
    BatchNormConfig: batch_norm.LAYER,
    ReluConfig: activation.LAYER,
    AddConfig: residual.LAYER,
    MaxPoolConfig: pool.MAX_LAYER,
    AvgPoolConfig: pool.AVG_LAYER,
    LinearConfig: linear.LAYER,
    ConcatConfig: concat.LAYER,
    HardSwishConfig: hard_swish.LAYER,
    MultiplyConfig: multiply.LAYER,
    HardSigmoidConfig: hard_sigmoid.LAYER,
    SigmoidConfig: sigmoid.LAYER,
    SiluConfig: sigmoid.SILU_LAYER,
    UpsampleConfig: upsample.LAYER,
    DepthToSpaceConfig: depth_to_space.LAYER,
})  # fmt: skip


def layer(config: LayerConfig) -> Layer:
    """The layer that a configuration is of.

    Raises:
        BitrowError: a configuration of a kind that LAYERS does not have.
    """
    found = LAYERS.get(type(config))
    if found is None:
        raise BitrowError(f"layers: found none for {type(config).__name__}, expected one")
    return found


guard(__name__)
