"""Small cases made with the scalar oracle, for the tests of vector sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bitrow.config import BatchNormConfig, ConvConfig, Statistics
from bitrow.formats import AccOverflow, Accumulator, Dequantize, Gradient
from bitrow.vectors import operations
from bitrow.vectors.case import Case
from bitrow.vectors.files import store

VERSIONS = {"jax": "0.0.0", "jaxlib": "0.0.0", "numpy": np.__version__}
EXTRA = {"seed": 7, "versions": VERSIONS, "coverage": {}}


def fp16(values: object) -> np.ndarray:
    """Bit patterns of numbers rounded to FP16."""
    return np.asarray(np.asarray(values, np.float16)).view(np.uint16)


def fp32(values: object) -> np.ndarray:
    """Bit patterns of numbers rounded to FP32."""
    return np.asarray(np.asarray(values, np.float32)).view(np.uint32)


def build(name: str, operation: str, config, inputs: dict) -> Case:
    """A case of `operation` on `inputs`, its taps and outputs by the oracle."""
    row = operations.find(operation, config)
    words = {key: np.asarray(value) for key, value in inputs.items()}
    tensors = operations.tensors(row, config, words | row.oracle(config, words))
    return Case(name, row, config, tensors, ("C1", "V3"), {"tie_lower": 2})


def conv_case(
    name: str = "conv", config: ConvConfig | None = None, seed: int = 0, bias: bool = False, channels: int = 3
) -> Case:
    """A 3x3 forward convolution with `channels` in and 4 out on a 5x6 map."""
    config = config or ConvConfig(padding=1)
    rng = np.random.default_rng(seed)
    weights = (3, 3, channels // config.groups, 4)
    low, high = config.weight_format.min, config.weight_format.max
    inputs = {
        "x": fp16(rng.normal(0, 3, (2, 5, 6, channels))),
        "weight_code": rng.integers(low, high + 1, weights).astype(np.int8),
        "x_inv_scale": fp16(1.7),
        "scale": fp16(0.0123),
    }
    if bias:
        inputs["bias"] = fp16(rng.normal(0, 1, 4))
    return build(name, "conv.forward", config, inputs)


def conv_backward_case(name: str = "conv_back", config: ConvConfig | None = None, seed: int = 1) -> Case:
    """The input gradient of a 3x3 convolution, 4 channels out and 3 in."""
    config = config or ConvConfig(padding=1)
    rng = np.random.default_rng(seed)
    inputs = {
        "dy": fp16(rng.normal(0, 1, (1, 5, 6, 4))),
        "mask": rng.integers(0, 2, (1, 5, 6, 3)).astype(np.uint8),
        "weight_code": rng.integers(-8, 8, (3, 3, 3, 4)).astype(np.int8),
        "w_scale": fp16(0.031),
    }
    if config.gradient is Gradient.FXP:
        inputs |= {"dy_inv_scale": fp16(2.3), "dx_scale": fp16(0.0135)}
    return build(name, "conv.backward", config, inputs)


def frozen_case(name: str = "frozen", config: BatchNormConfig | None = None, seed: int = 2) -> Case:
    """Frozen batch norm on a 3x5 map of 4 channels, subnormals and large numbers among its words."""
    config = config or BatchNormConfig()
    rng = np.random.default_rng(seed)
    y = fp16(rng.normal(0, 1, (2, 3, 5, 4)))
    y.reshape(-1)[:12] = [
        0x0001,
        0x8003,
        0x03FF,
        0x83FF,
        0x0155,
        0x02AA,
        0x7BFF,
        0xFBFF,
        0x7C00,
        0x7E00,
        0x8000,
        0,
    ]
    inputs = {"y": y, "a": fp16(rng.normal(0, 1, 4)), "b": fp16([0.0, 0.00001, 0.3, -0.4])}
    return build(name, "batch_norm.forward", config, inputs)


def batch_case(name: str = "batch", config: BatchNormConfig | None = None, seed: int = 3) -> Case:
    """Batch norm with batch statistics on a 4x5 map of 3 channels."""
    config = config or BatchNormConfig(Statistics.BATCH)
    rng = np.random.default_rng(seed)
    inputs = {
        "y": fp16(rng.normal(0.5, 2, (2, 4, 5, 3))),
        "gamma": fp32(rng.normal(1, 0.1, 3)),
        "beta": fp32(rng.normal(0, 0.1, 3)),
        "eps": fp32(1e-5),
    }
    return build(name, "batch_norm.forward", config, inputs)


def two_step(**changes) -> ConvConfig:
    """A padded convolution with a two-step dequantizer."""
    return ConvConfig(padding=1, dequantize=Dequantize.TWO_STEP, **changes)


def wrapping(bits: int, overflow: AccOverflow = AccOverflow.WRAP) -> ConvConfig:
    """A padded convolution with a narrow accumulator."""
    return ConvConfig(padding=1, accumulator=Accumulator(bits, overflow))


def write(folder: Path, *cases: Case, force: bool = False) -> Path:
    """Write a set of `cases` to `folder`."""
    store.write_set(folder, cases or (conv_case(), frozen_case()), EXTRA, force)
    return folder
