"""Configuration values of the layers, shared by oracle, kernels, vectors and pipeline (SPEC.md C, B, A).

A module a layer; `base` says what each declares. Standard library only.
"""

from bitrow.config.activation import ReluConfig
from bitrow.config.base import ArraySpec, LayerConfig, LayerSize, SavedMap, Shape, output_size
from bitrow.config.batch_norm import BatchNormConfig, Statistics
from bitrow.config.concat import ConcatConfig
from bitrow.config.conv import ConvConfig, ConvSize, KernelShape
from bitrow.config.depth_to_space import DepthOrder, DepthToSpaceConfig
from bitrow.config.hard_sigmoid import HardSigmoidConfig
from bitrow.config.hard_swish import HardSwishConfig
from bitrow.config.linear import LinearConfig, LinearSize
from bitrow.config.multiply import MultiplyConfig
from bitrow.config.pool import AvgPoolConfig, MaxPoolConfig
from bitrow.config.residual import AddConfig
from bitrow.config.sigmoid import SigmoidConfig, SiluConfig
from bitrow.config.upsample import UpsampleConfig
from bitrow.config.windows import Window

__all__ = [
    "AddConfig",
    "ArraySpec",
    "AvgPoolConfig",
    "BatchNormConfig",
    "ConcatConfig",
    "ConvConfig",
    "ConvSize",
    "DepthOrder",
    "DepthToSpaceConfig",
    "HardSigmoidConfig",
    "HardSwishConfig",
    "KernelShape",
    "LayerConfig",
    "LayerSize",
    "LinearConfig",
    "LinearSize",
    "MaxPoolConfig",
    "MultiplyConfig",
    "ReluConfig",
    "SavedMap",
    "Shape",
    "SigmoidConfig",
    "SiluConfig",
    "Statistics",
    "UpsampleConfig",
    "Window",
    "output_size",
]
