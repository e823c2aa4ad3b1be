"""The straight-through definition in rationals: functions whose roundings are the identity inside the clip range.

Every function takes and gives arrays of `Fraction`. They are piecewise linear, so differences are exact slopes
wherever no piece ends within the step; `slopes` refuses points where one does.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from bitrow.formats import FP16, FP32, Float, Fxp
from bitrow.oracle import softfloat

STEP = Fraction(1, 1 << 40)
HALF = Fraction(1, 2)
Rounded = Callable[[np.ndarray], np.ndarray]


def rationals(values) -> np.ndarray:
    """Numbers of any float type, exactly."""
    return np.vectorize(Fraction, otypes=[object])(np.asarray(values, np.float64))


def words(fmt: Float, values: np.ndarray) -> np.ndarray:
    """Each rational rounded once, as words of `fmt`; zero is +0."""
    carrier = {FP16: np.uint16, FP32: np.uint32}[fmt]
    return np.vectorize(lambda value: softfloat.from_fraction(fmt, value), otypes=[carrier])(values)


def half(values: np.ndarray) -> np.ndarray:
    """Each rational rounded once to FP16, as a rational."""
    return rationals(words(FP16, values).view(np.float16))


def slopes(loss: Callable[..., Fraction], points: tuple[np.ndarray, ...], which: int) -> np.ndarray:
    """Finite differences of `loss` in every element of `points[which]`: exact, the same to both sides."""
    here, found = loss(*points), np.zeros(points[which].shape, object)
    for place in np.ndindex(points[which].shape):
        sides = []
        for step in (STEP, -STEP):
            moved = points[which].copy()
            moved[place] += step
            sides.append((loss(*points[:which], moved, *points[which + 1 :]) - here) / step)
        assert sides[0] == sides[1], f"a piece ends at {place}"
        found[place] = sides[0]
    return found


def clipped(value: np.ndarray, scale: np.ndarray, fmt: Fxp) -> np.ndarray:
    """`scale * clip(rint(value / scale))` without its rint: value where it rounds to a code, else the last code."""
    t = value / scale
    high = np.where(t > fmt.max + HALF, fmt.max * scale, value)
    return np.where(t < fmt.min - HALF, fmt.min * scale, high)


def conv(x: np.ndarray, weight: np.ndarray, stride: int = 1, padding: int = 0, groups: int = 1) -> np.ndarray:
    """y [n,oh,ow,c_out] of x [n,h,w,c_in] and weight [kh,kw,c_in/groups,c_out]."""
    kh, kw, c_in, c_out = weight.shape
    width = (0, 0), (padding, padding), (padding, padding), (0, 0)
    x = np.pad(x, width, constant_values=Fraction(0))
    oh, ow = ((size - k) // stride + 1 for size, k in ((x.shape[1], kh), (x.shape[2], kw)))
    parts = []
    for group in range(groups):
        mine = slice(group * c_out // groups, (group + 1) * c_out // groups)
        total = np.full((x.shape[0], oh, ow, c_out // groups), Fraction(0), object)
        for i, j in np.ndindex(kh, kw):
            seen = x[:, i : i + stride * oh : stride, j : j + stride * ow : stride]
            total = total + seen[:, :oh, :ow, group * c_in : (group + 1) * c_in] @ weight[i, j, :, mine]
        parts.append(total)
    return np.concatenate(parts, axis=-1)


class Offsets:
    """Rounds at the base point, and is from then on the identity plus what the rounding added there."""

    def __init__(self) -> None:
        self._known: list[np.ndarray] = []
        self._place: int | None = None

    def __call__(self, exact: np.ndarray, rounded: Rounded) -> np.ndarray:
        """`rounded(exact)` at the base point, `exact` moved by the same later."""
        if self._place is None:
            value = rounded(exact)
            self._known.append(value - exact)
            return value
        self._place += 1
        return exact + self._known[self._place - 1]

    def again(self) -> None:
        """Before each evaluation after the one at the base point."""
        self._place = 0
