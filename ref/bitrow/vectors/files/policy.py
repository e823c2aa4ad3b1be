"""What a case's overflow, NaN and order policies are, in the words that `case.json` carries (SPEC.md V3).

Standard library only.
"""

from __future__ import annotations

from typing import Any

from bitrow.config import BatchNormConfig, ConvConfig
from bitrow.contract.operation import Operation
from bitrow.formats import FP32


def describe(operation: Operation, config: Any) -> dict[str, Any]:
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
    return {"overflow": overflow, "nan": nan, "order": operation.order(config)}
