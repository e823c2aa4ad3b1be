"""Hard swish (SPEC.md A6)."""

from __future__ import annotations

from bitrow.config import HardSwishConfig
from bitrow.contract.operation import Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES

FORWARD = Operation(
    "hard_swish.forward",
    Program("A6 forward", """
        in  x       : 16, n h w c
            shifted : 16, n h w c = add x 3
            gate    : 16, n h w c = relu6 shifted
            gated   : 16, n h w c = mul x gate
        out y       : 16, n h w c = mul gated 0x3155
    """),
    HardSwishConfig,
    lambda config: (*FP16_CLAUSES, "A6", "T1"), by_rows=True,
)  # fmt: skip

BACKWARD = Operation(
    "hard_swish.backward",
    Program("A6 backward", """
        kept x      : 16, n h w c
        in  dy      : 16, n h w c
            x_third : 16, n h w c = mul x 0x3555
            slope   : 16, n h w c = add x_third 0x3800
            factor  : 16, n h w c = ramp slope x
        out dx      : 16, n h w c = mul dy factor
    """),
    HardSwishConfig,
    lambda config: (*FP16_CLAUSES, "A6", "T1"), by_rows=True,
)  # fmt: skip

HARD_SWISH = (FORWARD, BACKWARD)
