"""What a case's overflow, NaN and order policies are, in the words that `case.json` carries (SPEC.md V3).

Standard library only.
"""

from __future__ import annotations

from typing import Any

from bitrow.config import BatchNormConfig, ConvConfig, Statistics
from bitrow.formats import FP32, AccOverflow, Gradient

_ROWS = "tree over w of adjacent pairs padded with +0, then rows one after another, n outer, h inner"
_ORDERS = {
    "avg_pool.forward": "window rows by trees over w of adjacent pairs padded with +0, then in order from +0",
    "max_pool.backward": "windows in row-major order from +0",
    "linear.forward": "tree over i of adjacent pairs padded with +0",
    "linear.backward": "tree over o of adjacent pairs padded with +0",
    "gradient.accumulate": "consumers in the order given",
}


def _conv_order(operation: str, config: ConvConfig) -> str:
    if operation.endswith("backward") and config.gradient is Gradient.FP16:
        return "kh, kw, c_out with c_out fastest, sequential from +0"
    fastest = "c_out" if operation.endswith("backward") else "c_in"
    if config.accumulator.overflow is AccOverflow.SATURATE:
        return f"kh, kw, {fastest} with {fastest} fastest, clamped after each product"
    return "exact in integers, any order"


def _order(operation: str, config: Any) -> str:
    if operation.startswith("conv."):
        return _conv_order(operation, config)
    if operation.startswith("batch_norm.") and config.statistics is Statistics.BATCH:
        return _ROWS
    return _ORDERS.get(operation, "elementwise")


def describe(operation: str, config: Any) -> dict[str, Any]:
    """The fields `overflow`, `nan` and `order` of a case (SPEC.md V3)."""
    mode = getattr(config, "mode", config)
    accumulator = getattr(config, "accumulator", None)
    overflow = {
        "fp16": mode.overflow.value if hasattr(mode, "overflow") else "none",
        "accumulator": accumulator.overflow.value
        if isinstance(config, ConvConfig) and accumulator
        else "none",
    }
    wide = isinstance(config, BatchNormConfig) and config.accumulator == FP32
    nan = "every NaN result is 7e00" + (", in FP32 7fc00000" if wide else "")
    return {"overflow": overflow, "nan": nan, "order": _order(operation, config)}
