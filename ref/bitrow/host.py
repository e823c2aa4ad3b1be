"""What the host prepares once: scales and the batch-norm fold (SPEC.md F8, Q1, D3, B1). No JAX.

Scales are Python floats that are FP16 numbers exactly. A product or inverse of two of them, rounded to
binary64 and then to FP16, is rounded as if once (53 >= 2*11 + 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from bitrow.errors import BitrowError
from bitrow.formats import SCALE_MAX, SCALE_MIN

FP16_MIN_NORMAL = math.ldexp(1.0, -14)
FP16_MAX = 65504.0


def nearest_fp16(value: float) -> float:
    """The FP16 number nearest to `value`, ties to even; infinite where it overflows."""
    with np.errstate(over="ignore"):
        return float(np.float64(value).astype(np.float16))


def check_scale(layer: str, name: str, value: float) -> float:
    """`value` as a scale (SPEC.md F8).

    Raises:
        BitrowError: naming `layer` and `name`; not an FP16 number in [2^-14, 2^14].
    """
    value = float(value)
    if not SCALE_MIN <= value <= SCALE_MAX or nearest_fp16(value) != value:
        raise BitrowError(f"{layer} {name}: found {value!r}, expected an FP16 number from 2^-14 to 2^14")
    return value


def inverse_scale(scale: float) -> float:
    """`fp16(1/scale)`, rounded once to nearest even (SPEC.md Q1)."""
    return nearest_fp16(1.0 / scale)


def product_scale(layer: str, name: str, first: float, second: float) -> float:
    """`fp16(first * second)`, the dequantizer's scale (SPEC.md D3).

    Raises:
        BitrowError: naming `layer` and `name`; the product is not a normal FP16 number.
    """
    product = nearest_fp16(first * second)
    if not FP16_MIN_NORMAL <= product <= FP16_MAX:
        raise BitrowError(
            f"{layer} {name}: found the product {first!r} * {second!r} = {first * second!r}, expected a "
            f"normal FP16 number; choose other scales, or a loss scale for gradients"
        )
    return product


def product_scales(layer: str, name: str, first: float, second: Iterable[float]) -> np.ndarray:
    """`product_scale` of one scale with each of several, as float16 `[c_out]`."""
    return np.array([product_scale(f"{layer} channel {c}", name, first, s) for c, s in enumerate(second)], np.float16)


def exact_fold(
    gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Frozen batch norm's `a`, `b` `[c]` in binary64, not yet rounded (SPEC.md B1). Inputs are float32 `[c]`."""
    gamma64, beta64, mean64, var64 = (np.asarray(v, np.float32).astype(np.float64) for v in (gamma, beta, mean, var))
    with np.errstate(all="ignore"):
        a64 = gamma64 / np.sqrt(var64 + np.float64(np.float32(eps)))
        return a64, beta64 - mean64 * a64


def fold_batch_norm(
    layer: str, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Frozen batch norm as float16 `a`, `b` `[c]`, folded in binary64 (SPEC.md B1). Inputs are float32 `[c]`.

    Raises:
        BitrowError: naming `layer` and the channel; a coefficient that FP16 cannot hold.
    """
    a64, b64 = exact_fold(gamma, beta, mean, var, eps)
    with np.errstate(all="ignore"):
        a, b = a64.astype(np.float16), b64.astype(np.float16)
    bad = np.flatnonzero(~(np.isfinite(a) & np.isfinite(b)))
    if bad.size:
        c = int(bad[0])
        raise BitrowError(
            f"{layer} channel {c}: found folded a = {a64[c]!s}, b = {b64[c]!s}, expected FP16 numbers"
        )
    return a, b

