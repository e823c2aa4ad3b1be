"""Quantizers, the dequantizer, packing and the LFSR on their own (SPEC.md Q, D)."""

from __future__ import annotations

from bitrow.config import ConvConfig
from bitrow.contract.operation import Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES
from bitrow.formats import Dequantize, FloatMode, Fxp

QUANTIZE = Operation(
    "fxp.quantize",
    Program("fxp.quantize", """
        in  x           : 16, n h w c
        par x_inv_scale : 16
            t           : 16, n h w c   = mul x x_inv_scale
        out x_code      : x, n h w c    = quantize t
        out mask        : mask, n h w c = inside t
    """),
    ConvConfig,
    lambda config: (*FP16_CLAUSES, "F7", "F8", "Q1", "Q2", "Q4", "T1"),
)  # fmt: skip

QUANTIZE_STOCHASTIC = Operation(
    "fxp.quantize_stochastic",
    Program("fxp.quantize_stochastic", """
        in  x           : 16, n h w c
        in  words       : lfsr, n h w c
        par x_inv_scale : 16
            t           : 16, n h w c   = mul x x_inv_scale
        out x_code      : x, n h w c    = quantize_drawn t words
        out mask        : mask, n h w c = inside t
    """),
    ConvConfig,
    lambda config: (*FP16_CLAUSES, "F7", "F8", "Q1", "Q2", "Q3", "Q4", "T1"),
)  # fmt: skip


def dequantizer(config: ConvConfig) -> dict[str, bool]:
    """The condition of D1 against D2."""
    return {"two_step": config.dequantize is Dequantize.TWO_STEP}


DEQUANTIZE = Operation(
    "fxp.dequantize",
    Program("fxp.dequantize", """
        in  acc      : reg, n h w c
        par scale    : 16, c
            acc_fp16 : 16, n h w c = convert acc        if two_step
        out deq      : 16, n h w c = mul acc_fp16 scale if two_step
        out deq      : 16, n h w c = mul acc scale      if not two_step
    """),
    ConvConfig,
    lambda config: (*FP16_CLAUSES, "D2" if config.dequantize is Dequantize.TWO_STEP else "D1", "D3", "T1"),
    conditions=lambda config, given: dequantizer(config),
)  # fmt: skip

PACK = Operation(
    "fxp.pack",
    Program("fxp.pack", """
        in  code   : code, n h w c
        out packed : byte, n h byte = pack code
    """),
    Fxp,
    lambda fmt: ("F7", "Q5"),
)  # fmt: skip

LFSR = Operation(
    "lfsr.words",
    Program("lfsr.words", """
        in  start : int, run
        par seed  : lfsr
        par count : int
        out words : lfsr, run element = stream seed start count
    """),
    FloatMode,
    lambda mode: ("Q3",),
    static=("count",),
)  # fmt: skip

FIXED_POINT = (QUANTIZE, QUANTIZE_STOCHASTIC, DEQUANTIZE, PACK, LFSR)
