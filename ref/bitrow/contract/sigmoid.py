"""Sigmoid and SiLU (SPEC.md A10, A11)."""

from __future__ import annotations

from bitrow.config import SigmoidConfig, SiluConfig
from bitrow.contract.operation import Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES

SIGMOID_FORWARD = Operation(
    "sigmoid.forward",
    Program("A10 forward", """
        in  x     : 16, n h w c
            base  : 16, n h w c = table_base x
            rise  : 16, n h w c = table_rise x
            part  : 16, n h w c = table_part x
            upper : 16, n h w c = fma rise part base
        out y     : 16, n h w c = rising upper x
    """),
    SigmoidConfig,
    lambda config: (*FP16_CLAUSES, "A10", "T1"), by_rows=True,
)  # fmt: skip

SIGMOID_BACKWARD = Operation(
    "sigmoid.backward",
    Program("A10 backward", """
        kept y     : 16, n h w c
        in   dy    : 16, n h w c
             rest  : 16, n h w c = sub 1 y
             slope : 16, n h w c = mul y rest
        out  dx    : 16, n h w c = mul dy slope
    """),
    SigmoidConfig,
    lambda config: (*FP16_CLAUSES, "A10", "T1"), by_rows=True,
)  # fmt: skip

SILU_FORWARD = Operation(
    "silu.forward",
    Program("A11 forward", """
        in  x       : 16, n h w c
            base    : 16, n h w c = table_base x
            rise    : 16, n h w c = table_rise x
            part    : 16, n h w c = table_part x
            upper   : 16, n h w c = fma rise part base
            sigmoid : 16, n h w c = rising upper x
        out y       : 16, n h w c = mul x sigmoid
    """),
    SiluConfig,
    lambda config: (*FP16_CLAUSES, "A10", "A11", "T1"), by_rows=True,
)  # fmt: skip

SILU_BACKWARD = Operation(
    "silu.backward",
    Program("A11 backward", """
        kept x       : 16, n h w c
        in   dy      : 16, n h w c
             base    : 16, n h w c = table_base x
             rise    : 16, n h w c = table_rise x
             part    : 16, n h w c = table_part x
             upper   : 16, n h w c = fma rise part base
             sigmoid : 16, n h w c = rising upper x
             rest    : 16, n h w c = falling upper x
             bent    : 16, n h w c = mul x rest
             steep   : 16, n h w c = add bent 1
             factor  : 16, n h w c = mul sigmoid steep
        out  dx      : 16, n h w c = mul dy factor
    """),
    SiluConfig,
    lambda config: (*FP16_CLAUSES, "A10", "A11", "T1"), by_rows=True,
)  # fmt: skip

SIGMOID = (SIGMOID_FORWARD, SIGMOID_BACKWARD)
SILU = (SILU_FORWARD, SILU_BACKWARD)
