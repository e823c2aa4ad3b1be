"""What the host prepares once: scales and the batch-norm fold (SPEC.md F8, Q1, D3, B1). No JAX.

Scales are Python floats that are FP16 numbers exactly. A product or inverse of two of them, rounded to
binary64 and then to FP16, is rounded as if once (53 >= 2*11 + 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bitrow import typed
from bitrow.errors import BitrowError
from bitrow.formats import SCALE_MAX, SCALE_MIN, Fxp

FP16_MIN_NORMAL = math.ldexp(1.0, -14)
FP16_MAX = 65504.0
LEAST_PRODUCT = 2.0**-13  # of an input's scale and its weight's, where calibration chooses them (D3)


class Scales(NamedTuple):
    """Scales of a convolution (SPEC.md F8): of its input's codes, of its weights' (one, or one for each output channel
    `[c_out]`), of its output gradient's (of `dy_folded`'s with `fold`)."""

    x: float
    w: float | tuple[float, ...] | np.ndarray
    dy: float


def nearest_fp16(value: float) -> float:
    """The FP16 number nearest to `value`, ties to even; infinite where it overflows."""
    with np.errstate(over="ignore"):
        return float(np.float64(value).astype(np.float16))


def check_scale(layer: str, name: str, value: float) -> float:
    """`value` as a scale (SPEC.md F8).

    Raises:
        BitrowError: naming `layer` and `name`; not an FP16 number in [2^-14, 2^14], or no number.
    """
    value = _number(f"{layer} {name}", value)
    if not SCALE_MIN <= value <= SCALE_MAX or nearest_fp16(value) != value:
        raise BitrowError(f"{layer} {name}: found {value!r}, expected an FP16 number from 2^-14 to 2^14")
    return value


def inverse_scale(scale: float) -> float:
    """`fp16(1/scale)`, rounded once to nearest even (SPEC.md Q1).

    Raises:
        BitrowError: no positive finite number.
    """
    scale = _number("scale", scale)
    if not 0 < scale < math.inf:
        raise BitrowError(f"scale: found {scale!r}, expected a positive finite number")
    return nearest_fp16(1.0 / scale)


def product_scale(layer: str, name: str, first: float, second: float) -> float:
    """`fp16(first * second)`, the dequantizer's scale (SPEC.md D3).

    Raises:
        BitrowError: naming `layer` and `name`; the product is not a normal FP16 number.
    """
    first, second = _number(f"{layer} {name}", first), _number(f"{layer} {name}", second)
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


def as_scale(value: float) -> float:
    """The FP16 number nearest to a positive real, brought into the range of F8."""
    return float(np.float16(min(max(value, SCALE_MIN), SCALE_MAX)))


def weight_codes(weight: np.ndarray, w_scale: np.ndarray, fmt: Fxp) -> np.ndarray:
    """Codes int8 of float32 weights under a scale, or one for each output channel: nearest, ties to even."""
    t = np.asarray(weight, np.float64) / w_scale
    return np.clip(np.rint(t), fmt.min, fmt.max).astype(np.int8 if fmt.signed else np.uint8)


def rounded_fp16(where: str, values: ArrayLike) -> np.ndarray:
    """Values rounded to float16.

    Raises:
        BitrowError: beginning with `where`; a value beyond FP16, or not finite.
    """
    with np.errstate(over="ignore"):
        half = np.asarray(values).astype(np.float16)
    if not np.isfinite(half).all():
        raise BitrowError(f"{where}: found a value beyond FP16, expected at most 65504")
    return half


def _number(where: str, value: object) -> float:
    """`value` as a float, exactly: a real number, or an array of one."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise BitrowError(f"{where}: found {typed.shown(value)}, expected a number")
    return float(array.reshape(()))


def integer_codes(layer: str, values: np.ndarray, fmt: Fxp) -> np.ndarray:
    """Codes `[kh, kw, c_in/groups, c_out]`, of any integer dtype, if they are `fmt`'s (SPEC.md F7).

    Raises:
        BitrowError: naming `layer`; another dtype (a float is no code), another rank, no codes, codes outside the
            format.
    """
    codes = np.asarray(values)
    if codes.dtype.kind not in "iu":
        raise BitrowError(f"{layer} weight_code: found {codes.dtype}, expected integers {fmt.min} to {fmt.max}")
    if codes.ndim != 4 or not codes.size:
        raise BitrowError(f"{layer} weight_code: found shape {codes.shape}, expected [kh, kw, c_in, c_out] from 1")
    low, high = int(codes.min()), int(codes.max())
    if low < fmt.min or high > fmt.max:
        raise BitrowError(f"{layer} weight_code: found {low} to {high}, expected {fmt.min} to {fmt.max}")
    return codes


def exact_fp16(layer: str, name: str, values: ArrayLike) -> np.ndarray:
    """Values, one for each channel (the last axis), as float16: they must be finite FP16 numbers already.

    Raises:
        BitrowError: naming `layer`, `name` and the channel; a value that FP16 does not hold, NaN or infinity.
    """
    return _narrowed(layer, name, values, np.float16, True)


def host_fp32(layer: str, name: str, values: ArrayLike) -> np.ndarray:
    """The host's values, one for each channel (the last axis), rounded once to float32 (SPEC.md B1, B2, A4).

    Raises:
        BitrowError: naming `layer`, `name` and the channel; a value that is not finite in FP32, or no number.
    """
    return _narrowed(layer, name, values, np.float32, False)


def _narrowed(layer: str, name: str, values: ArrayLike, dtype: type[np.floating], exact: bool) -> np.ndarray:
    given = np.asarray(values)
    if given.dtype.kind not in "iuf":
        raise BitrowError(f"{layer} {name}: found {given.dtype}, expected numbers")
    with np.errstate(over="ignore"):
        out = given.astype(dtype)
    right = np.isfinite(out) & ((out == given) if exact else True)
    if not right.all():
        at = tuple(int(i[0]) for i in np.nonzero(~np.atleast_1d(right)))
        where = f" channel {at[-1]}" if given.ndim else ""
        what = "an FP16 number" if exact else f"a finite {np.dtype(dtype).name} number"
        raise BitrowError(f"{layer} {name}{where}: found {np.atleast_1d(given)[at]!s}, expected {what}")
    return out


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

    Wider inputs are rounded once to FP32, narrower ones are widened.

    Raises:
        BitrowError: naming `layer` and the channel; a value that is not finite in FP32, a negative eps, vectors of
            different lengths, a coefficient that FP16 cannot hold.
    """
    gamma, beta, mean, var = (
        host_fp32(layer, name, v) for name, v in (("gamma", gamma), ("beta", beta), ("mean", mean), ("var", var))
    )
    eps = float(host_fp32(layer, "eps", np.float64(_number(f"{layer} eps", eps))))
    if eps < 0:
        raise BitrowError(f"{layer} eps: found {eps!r}, expected 0 or more")
    shapes = {vector.shape for vector in (gamma, beta, mean, var)}
    if len(shapes) > 1 or gamma.ndim != 1:
        found = ", ".join(str(list(vector.shape)) for vector in (gamma, beta, mean, var))
        raise BitrowError(f"{layer} gamma, beta, mean, var: found shapes {found}, expected four of one [c]")
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

