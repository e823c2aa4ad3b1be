"""Typed arrays and the integer bit views of their words."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitrow.contract.encoding import Encoding, Kind


def to_array(words: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Words as the typed array that a kernel takes: float16, float32, bool, codes, int32 or uint16."""
    if encoding.kind is Kind.FP16:
        return words.view(np.float16)
    if encoding.kind is Kind.FP32:
        return words.view(np.float32)
    return words.astype(bool) if encoding.kind is Kind.MASK else words


def to_words(array: Any) -> np.ndarray:
    """Inverse of `to_array`, for any array: its integer bit view, a mask as uint8."""
    array = np.asarray(array)
    if array.dtype.kind == "f":
        return array.view(f"u{array.dtype.itemsize}")
    return array.astype(np.uint8) if array.dtype == bool else array
