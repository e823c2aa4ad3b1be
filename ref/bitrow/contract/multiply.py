"""The product of two maps, or of a map and a gate, in both directions (SPEC.md A8)."""

from __future__ import annotations

import math

from bitrow.config import MultiplyConfig
from bitrow.config.windows import Windows, along
from bitrow.contract.operation import Config, Given, Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES
from bitrow.errors import BitrowError


def _check(config: Config, given: Given) -> None:
    x, other = (given[name].shape for name in ("x", "gate" if config.gate else "other"))
    expected = (x[0], 1, 1, x[-1]) if config.gate else x
    if other != expected:
        raise BitrowError(f"multiply: found factors of {list(x)} and {list(other)}, expected {list(expected)}")


def _windows(config: Config, given: Given) -> Windows:
    """The whole map."""
    hw = given["x"].shape[1:3]
    return along(hw, (hw[0], hw[1]), 0)


FORWARD = Operation(
    "multiply.forward",
    Program("A8 forward", """
        in  x     : 16, n h w c
        in  other : 16, n h w c
        out y     : 16, n h w c = mul x other
    """),
    MultiplyConfig,
    lambda config: (*FP16_CLAUSES, "A8", "T1"), by_rows=True, check=_check, when=lambda config: not config.gate,
)  # fmt: skip

BACKWARD = Operation(
    "multiply.backward",
    Program("A8 backward", """
        kept x      : 16, n h w c
        kept other  : 16, n h w c
        in   dy     : 16, n h w c
        out  dx     : 16, n h w c = mul dy other
        out  dother : 16, n h w c = mul dy x
    """),
    MultiplyConfig,
    lambda config: (*FP16_CLAUSES, "A8", "T1"), by_rows=True, check=_check, when=lambda config: not config.gate,
    gradients=("dx", "dother"),
)  # fmt: skip

GATE_FORWARD = Operation(
    "multiply.forward",
    Program("A8 gate forward", """
        in  x    : 16, n h w c
        in  gate : 16, n oh ow c
        let s    : 16, n h w c = over gate
        out y    : 16, n h w c = mul x s
    """),
    MultiplyConfig,
    lambda config: (*FP16_CLAUSES, "A8", "T1"), by_rows=True, check=_check, when=lambda config: config.gate,
)  # fmt: skip

GATE_BACKWARD = Operation(
    "multiply.backward",
    Program("A8 gate backward", """
        kept x           : 16, n h w c
        kept gate        : 16, n oh ow c
        in   dy          : 16, n h w c
        let  s           : 16, n h w c              = over gate
        out  dx          : 16, n h w c              = mul dy s
        let  products    : 32, n h w c              = product dy x
        let  window      : 32, n oh kh ow w c       = windows products
             sum_level   : 32, n oh kh ow w_level c = tree window
             sum_running : 32, kh n oh ow c         = running sum_level
             sum         : 32, n oh ow c            = last sum_running
        out  dgate       : 16, n oh ow c            = convert sum
    """),
    MultiplyConfig,
    lambda config: (*FP16_CLAUSES, "A8", "B2", "T1", "F9", "T2"),
    lambda config: "rows by trees over w of adjacent pairs padded with +0, then in order from +0",
    check=_check, when=lambda config: config.gate, windows=_windows,
    count=lambda config, given: math.prod(given["x"].shape[1:3]), gradients=("dx", "dgate"),
)  # fmt: skip

MULTIPLY = (FORWARD, BACKWARD, GATE_FORWARD, GATE_BACKWARD)
