"""Pixels as a network's numbers: normalised in float64 and rounded once to FP16 (SPEC.md F10)."""

from __future__ import annotations

import numpy as np

from bitrow.errors import BitrowError


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation f64[c]; a constant channel has deviation 1. Of bytes each is a ratio of exact integers."""
    figures = [_of_bytes(x[..., c]) if x.dtype == np.uint8 else _of_floats(x[..., c]) for c in range(x.shape[3])]
    mean, var = (np.array(column, np.float64) for column in zip(*figures, strict=True))
    return mean, np.sqrt(np.where(var > 0, var, 1.0))


def _of_bytes(plane: np.ndarray) -> tuple[float, float]:
    bins = np.bincount(plane.reshape(-1), minlength=256).tolist()
    total = sum(many * value for value, many in enumerate(bins))
    square = sum(many * value * value for value, many in enumerate(bins))
    return total / plane.size, (square * plane.size - total * total) / plane.size**2


def _of_floats(plane: np.ndarray) -> tuple[float, float]:
    wide = plane.astype(np.float64)
    return float(wide.mean()), float(wide.var())


def normalised(where: str, x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(x - mean) / std in float64, rounded once to FP16, as f32[n,h,w,c].

    Raises:
        BitrowError: naming `where`; a value that FP16 cannot hold.
    """
    result = np.empty(x.shape, np.float32)
    for c in range(x.shape[3]):
        if x.dtype == np.uint8:
            table = ((np.arange(256) - mean[c]) / std[c]).astype(np.float16).astype(np.float32)
            result[..., c] = table[x[..., c]]
        else:
            with np.errstate(over="ignore"):
                result[..., c] = ((x[..., c].astype(np.float64) - mean[c]) / std[c]).astype(np.float16)
    if not np.isfinite(result).all():
        raise BitrowError(
            f"data {where}: found pixels too far from the mean for FP16, expected at most 65504 deviations"
        )
    return result
