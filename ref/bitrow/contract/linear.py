"""The classifier head in both directions (SPEC.md A4)."""

from __future__ import annotations

from bitrow.config import LinearConfig
from bitrow.contract.operation import Config, Given, Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES
from bitrow.errors import BitrowError


def _check(name: str, axis: int, given: Given) -> None:
    shape, weight = given[name].shape, given["weight"].shape
    if len(shape) != 2 or len(weight) != 2 or shape[1] != weight[axis]:
        raise BitrowError(f"linear {name}: found shape {shape}, expected [n, {weight[axis]}]")


def _check_forward(config: Config, given: Given) -> None:
    _check("x", 0, given)


def _check_backward(config: Config, given: Given) -> None:
    _check("dy", 1, given)


FORWARD = Operation(
    "linear.forward",
    Program("A4 forward", """
        in  x         : 16, n i
        par weight    : 16, i o
        par bias      : 32, o
        let wide      : 32, n i          = widen x
        let products  : 32, n i o        = product wide weight
            sum_level : 32, n i_level o  = tree products
            sum       : 32, n o          = root sum_level
        out y         : 16, n o          = add sum bias
    """),
    LinearConfig,
    lambda config: (*FP16_CLAUSES, "A4", "B2", "T1", "F9", "T2"),
    lambda config: "tree over i of adjacent pairs padded with +0", check=_check_forward,
)  # fmt: skip

BACKWARD = Operation(
    "linear.backward",
    Program("A4 backward", """
        in  dy        : 16, n o
        par weight    : 16, i o
        let wide      : 32, n o          = widen dy
        let products  : 32, n i o        = product wide weight
            sum_level : 32, n i o_level  = tree products
            sum       : 32, n i          = root sum_level
        out dx        : 16, n i          = convert sum
    """),
    LinearConfig,
    lambda config: (*FP16_CLAUSES, "A4", "B2", "T1", "F9", "T2"),
    lambda config: "tree over o of adjacent pairs padded with +0", check=_check_backward,
)  # fmt: skip

LINEAR = (FORWARD, BACKWARD)
