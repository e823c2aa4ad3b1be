"""Hard sigmoid (SPEC.md A9)."""

from __future__ import annotations

from bitrow.config import HardSigmoidConfig
from bitrow.contract.operation import Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES

FORWARD = Operation(
    "hard_sigmoid.forward",
    Program("A9 forward", """
        in  x       : 16, n h w c
        let alpha   : 16          = configured
        let beta    : 16          = configured
            scaled  : 16, n h w c = mul x alpha
            shifted : 16, n h w c = add scaled beta
        out y       : 16, n h w c = clip1 shifted
    """),
    HardSigmoidConfig,
    lambda config: (*FP16_CLAUSES, "A9", "T1"), by_rows=True,
)  # fmt: skip

BACKWARD = Operation(
    "hard_sigmoid.backward",
    Program("A9 backward", """
        kept y     : 16, n h w c
        in   dy    : 16, n h w c
        let  alpha : 16            = configured
             slope : 16, n h w c   = mul dy alpha
        let  mask  : mask, n h w c = passes1 y
        out  dx    : 16, n h w c   = select slope mask
    """),
    HardSigmoidConfig,
    lambda config: (*FP16_CLAUSES, "A9", "T1"), by_rows=True,
)  # fmt: skip

HARD_SIGMOID = (FORWARD, BACKWARD)
