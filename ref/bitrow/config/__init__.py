"""Configuration values of the layers, shared by oracle, kernels, vectors and pipeline (SPEC.md C, B, A).

A module a layer; `base` says what each declares. Standard library only.
"""

from bitrow.config.activation import ReluConfig
from bitrow.config.base import ArraySpec, LayerConfig, LayerSize, SavedMap, Shape, output_size
from bitrow.config.batch_norm import BatchNormConfig, Statistics
from bitrow.config.concat import ConcatConfig
from bitrow.config.conv import ConvConfig, ConvSize, KernelShape
from bitrow.config.hard_swish import HardSwishConfig
from bitrow.config.linear import LinearConfig, LinearSize
from bitrow.config.pool import AvgPoolConfig, MaxPoolConfig
from bitrow.config.residual import AddConfig

__all__ = [
    "AddConfig",
    "ArraySpec",
    "AvgPoolConfig",
    "BatchNormConfig",
    "ConcatConfig",
    "ConvConfig",
    "ConvSize",
    "HardSwishConfig",
    "KernelShape",
    "LayerConfig",
    "LayerSize",
    "LinearConfig",
    "LinearSize",
    "MaxPoolConfig",
    "ReluConfig",
    "SavedMap",
    "Shape",
    "Statistics",
    "output_size",
]
