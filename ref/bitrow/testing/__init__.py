"""Hypothesis strategies for tests of bit-accurate arithmetic: words, parameters, and whole problems.

Everything is drawn as bit patterns: ints, or uint16, uint32, int32 and code arrays. A problem fits the
registry, so that a design's own model is tested like this::

    from hypothesis import given
    from bitrow.testing import conv_cases

    @given(conv_cases(backward=False))
    def test_my_model(problem):
        expected = problem.operation.oracle(problem.config, problem.given)
        assert (my_model(problem.config, problem.given) == expected["y"]).all()

Arrays are small, and come from a drawn seed with a few drawn words among them: fast to draw, and a failing
example shrinks to the few words that matter. Needs no JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
)
from bitrow.errors import BitrowError
from bitrow.formats import FlagMode, FloatMode, Fxp
from bitrow.testing import blocks, convolution, layers, units
from bitrow.testing.families import Families, Family
from bitrow.testing.parameters import accumulators, codes, flag_modes, float_modes, fxp_formats, scales, seeds
from bitrow.testing.words import fp16_arrays, fp16_bits, fp16_pairs, fp16_triples, fp32_bits, int32s
from bitrow.vectors import operations
from bitrow.vectors.problem import Problem

__all__ = [
    "accumulate_cases",
    "accumulators",
    "add_cases",
    "avg_pool_cases",
    "batch_norm_cases",
    "codes",
    "conv_cases",
    "flag_cases",
    "flag_modes",
    "float_modes",
    "fp16_arrays",
    "fp16_bits",
    "fp16_cases",
    "fp16_pairs",
    "fp16_triples",
    "fp32_bits",
    "fxp_formats",
    "int32s",
    "linear_cases",
    "max_pool_cases",
    "problem_for",
    "problems_for",
    "relu_cases",
    "scales",
    "seeds",
]

_FAMILIES: dict[str, Callable[..., Families]] = {
    "fp16": units.fp16_families,
    "flags": units.flag_families,
    "fxp.quantize": units.quantize_families,
    "fxp.quantize_stochastic": units.quantize_families,
    "fxp.dequantize": units.dequantize_families,
    "fxp.pack": units.pack_families,
    "lfsr": units.lfsr_families,
    "conv": convolution.conv_families,
    "batch_norm": layers.norm_families,
    "gradient": layers.accumulate_families,
    "max_pool": layers.max_pool_families,
    "avg_pool": layers.avg_pool_families,
    "linear": layers.linear_families,
    "multiply": blocks.multiply_families,
    "hard_sigmoid": blocks.activation_families,
    "sigmoid": blocks.activation_families,
    "silu": blocks.activation_families,
    "upsample": blocks.upsample_families,
    "depth_to_space": blocks.depth_to_space_families,
}


def _problems(family: Family, count: int) -> SearchStrategy[list[Problem]]:
    name = "drawn_" + family.operation.replace(".", "_")
    operation = operations.find(family.operation, family.config)
    one = family.words.map(lambda words: Problem(name, operation, family.config, words))
    return st.lists(one, min_size=count, max_size=count)


def problems_for(
    operation: str, count: int, config: Any = None, **options: Any
) -> SearchStrategy[list[Problem]]:
    """`count` problems of one configuration and one set of shapes: they stack, one compiled kernel runs all.

    Args:
        operation: a name of the registry, as "conv.forward".
        count: how many.
        config: the configuration; None draws every parameter of it.
        options: `size` of the operands of the FP16 operations.

    Raises:
        BitrowError: the registry has no such operation.
    """
    if operation not in operations.NAMES:
        known = ", ".join(operations.NAMES)
        raise BitrowError(f"operation: found {operation!r}, expected one of {known}")
    make = _FAMILIES.get(operation) or _FAMILIES.get(operation.split(".")[0], layers.plain_families)
    return make(operation, config, **options).flatmap(lambda family: _problems(family, count))


def problem_for(operation: str, config: Any = None, **options: Any) -> SearchStrategy[Problem]:
    """A problem of an operation of the registry: its configuration, and its inputs and parameters as words.

    Args:
        operation: a name of the registry, as "conv.forward".
        config: the configuration; None draws every parameter of it.
        options: `size` of the operands of the FP16 operations.

    Raises:
        BitrowError: the registry has no such operation.
    """
    return problems_for(operation, 1, config, **options).map(lambda problems: problems[0])


def _layer(name: str, backward: bool | None, config: Any) -> SearchStrategy[Problem]:
    forward, gradient = problem_for(f"{name}.forward", config), problem_for(f"{name}.backward", config)
    return forward | gradient if backward is None else gradient if backward else forward


def fp16_cases(kind: str, mode: FloatMode | None = None, size: int = 64) -> SearchStrategy[Problem]:
    """`bitrow.fp16.KIND` on vectors of `size` operands (SPEC.md F)."""
    return problem_for(f"fp16.{kind}", mode, size=size)


def flag_cases(kind: str, config: FlagMode | Fxp | None = None, size: int = 64) -> SearchStrategy[Problem]:
    """`bitrow.flags.KIND` on vectors of `size` operands (SPEC.md F11 to F14, Q6); of codes `config` is their format."""
    return problem_for(f"flags.{kind}", config, size=size)


def conv_cases(backward: bool | None = None, config: ConvConfig | None = None) -> SearchStrategy[Problem]:
    """Convolutions (SPEC.md C), forward or their input gradient (None: either), of one configuration or any.

    Drawn: 1x1 to 5x5 kernels, stride and dilation of each axis, padding of each side (also more than the kernel),
    groups, depthwise, odd maps, scales for the tensor or each channel, bias or none, all code formats, registers that
    hold the sums, wrap or saturate, both dequantizers, FXP and FP16 gradients, both roundings of dy, `fold`, every
    mode.
    """
    return _layer("conv", backward, config)


def batch_norm_cases(
    backward: bool | None = None, config: BatchNormConfig | None = None
) -> SearchStrategy[Problem]:
    """Batch norms (SPEC.md B): frozen or batch statistics, `fma`, FP32 or FP16 accumulators, every mode.

    What the gradient of batch statistics reads of its forward pass is the oracle's.
    """
    return _layer("batch_norm", backward, config)


def relu_cases(backward: bool | None = None, config: ReluConfig | None = None) -> SearchStrategy[Problem]:
    """ReLU and ReLU6 (SPEC.md A1)."""
    return _layer("relu", backward, config)


def add_cases(config: AddConfig | None = None) -> SearchStrategy[Problem]:
    """Residual adds (SPEC.md A2)."""
    return problem_for("add.forward", config)


def accumulate_cases(mode: FloatMode | None = None) -> SearchStrategy[Problem]:
    """Gradients of one to four consumers of a value (SPEC.md A5)."""
    return problem_for("gradient.accumulate", mode)


def max_pool_cases(
    backward: bool | None = None, config: MaxPoolConfig | None = None
) -> SearchStrategy[Problem]:
    """Max pools (SPEC.md A2), their maxima often equal; the gradient's winners are the oracle's."""
    return _layer("max_pool", backward, config)


def avg_pool_cases(
    backward: bool | None = None, config: AvgPoolConfig | None = None
) -> SearchStrategy[Problem]:
    """Average pools (SPEC.md A3), of windows or the whole map."""
    return _layer("avg_pool", backward, config)


def linear_cases(backward: bool | None = None, config: LinearConfig | None = None) -> SearchStrategy[Problem]:
    """Classifier heads (SPEC.md A4)."""
    return _layer("linear", backward, config)
