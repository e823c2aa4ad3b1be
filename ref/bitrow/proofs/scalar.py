"""Single words by the contract's quantizer and dequantizer: the oracle that claims ask (SPEC.md Q1, Q4, D1, D2)."""

from __future__ import annotations

import numpy as np

from bitrow.config import ConvConfig
from bitrow.contract.fixed_point import DEQUANTIZE, QUANTIZE
from bitrow.formats import Dequantize, FloatMode, Fxp
from bitrow.oracle.arrays import Words

_ONE = (1, 1, 1, 1)  # n h w c


def quantized(x: int, inv_scale: int, fmt: Fxp, mode: FloatMode) -> dict[str, int]:
    """t, code and mask of an FP16 word."""
    given: Words = {"x": np.full(_ONE, x, np.uint16), "x_inv_scale": np.array(inv_scale, np.uint16)}
    words = QUANTIZE.oracle(ConvConfig(x_format=fmt, mode=mode), given)
    return {name: int(words[tap].item()) for name, tap in (("t", "t"), ("code", "x_code"), ("mask", "mask"))}


def dequantized(acc: int, scale: int, method: Dequantize, mode: FloatMode) -> int:
    """The FP16 word of an accumulator times a scale."""
    given: Words = {"acc": np.full(_ONE, acc, np.int32), "scale": np.array(scale, np.uint16)}
    return int(DEQUANTIZE.oracle(ConvConfig(dequantize=method, mode=mode), given)["deq"].item())
