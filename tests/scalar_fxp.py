"""Quantizers and dequantizers of the contract on single words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bitrow.config import ConvConfig
from bitrow.contract.fixed_point import DEQUANTIZE, QUANTIZE, QUANTIZE_STOCHASTIC
from bitrow.formats import Accumulator, Dequantize, FloatMode, Fxp


class Quantized(NamedTuple):
    t: int
    code: int
    mask: int


class Dequantized(NamedTuple):
    acc_fp16: int | None
    deq: int


def _word(value: int, dtype: type = np.uint16) -> np.ndarray:
    return np.full((1, 1, 1, 1), value, dtype)


def quantize_each(x: np.ndarray, inv_scale: int, fmt: Fxp, mode: FloatMode = FloatMode()) -> list[Quantized]:
    """Q1, Q2 and Q4 of each of a vector of FP16 words."""
    given = {"x": x.reshape(1, 1, 1, -1), "x_inv_scale": np.array(inv_scale, np.uint16)}
    found = QUANTIZE.oracle(ConvConfig(x_format=fmt, mode=mode), given)
    columns = (found[name].reshape(-1).tolist() for name in ("t", "x_code", "mask"))
    return [Quantized(*each) for each in zip(*columns, strict=True)]


def quantize(x: int, inv_scale: int, fmt: Fxp, mode: FloatMode = FloatMode()) -> Quantized:
    """Q1, Q2 and Q4 of an FP16 word."""
    given = {"x": _word(x), "x_inv_scale": np.array(inv_scale, np.uint16)}
    found = QUANTIZE.oracle(ConvConfig(x_format=fmt, mode=mode), given)
    return Quantized(*(int(found[name].item()) for name in ("t", "x_code", "mask")))


def quantize_stochastic(x: int, inv_scale: int, word: int, fmt: Fxp, mode: FloatMode = FloatMode()) -> Quantized:
    """Q3 of an FP16 word."""
    given = {"x": _word(x), "words": _word(word), "x_inv_scale": np.array(inv_scale, np.uint16)}
    found = QUANTIZE_STOCHASTIC.oracle(ConvConfig(x_format=fmt, mode=mode), given)
    return Quantized(*(int(found[name].item()) for name in ("t", "x_code", "mask")))


def dequantize(acc: int, scale: int, method: Dequantize, mode: FloatMode = FloatMode()) -> Dequantized:
    """D1 or D2 of an accumulator."""
    config = ConvConfig(accumulator=Accumulator(32), dequantize=method, mode=mode)
    found = DEQUANTIZE.oracle(config, {"acc": _word(acc, np.int32), "scale": np.array(scale, np.uint16)})
    first = found.get("acc_fp16")
    return Dequantized(None if first is None else int(first.item()), int(found["deq"].item()))
