"""What a case's overflow, NaN and order policies are, in the words that `case.json` carries (SPEC.md V3).

Standard library only.
"""

from __future__ import annotations

from typing import Any

from bitrow.contract.operation import Operation
from bitrow.formats import FP32


def describe(operation: Operation, config: Any) -> dict[str, Any]:
    """The fields `overflow`, `nan` and `order` of a case (SPEC.md V3)."""
    mode = getattr(config, "mode", config)
    accumulator: Any = getattr(config, "accumulator", None)
    overflow = {
        "fp16": mode.overflow.value if hasattr(mode, "overflow") else "none",
        "accumulator": accumulator.overflow.value if hasattr(accumulator, "overflow") else "none",
    }
    nan = "every NaN result is 7e00" + (", in FP32 7fc00000" if accumulator == FP32 else "")
    return {"overflow": overflow, "nan": nan, "order": operation.order(config)}
