"""The bins of flags: what raises each, and the corners between them, from exact integers (SPEC.md F11 to F14, Q6).

Standard library and numpy only.
"""

from __future__ import annotations

import numpy as np

from bitrow.formats import FP16, FP32, FlagMode, FloatMode, Fxp, Tininess
from bitrow.vectors.coverage import bins, exact, step_bins
from bitrow.vectors.coverage.bins import Masks
from bitrow.vectors.coverage.exact import Exact

_ALL = frozenset(name for name in bins.BINS if name.startswith(("flag_", "nan_", "tiny_"))) - {"nan_operand"}
_OPPOSED = frozenset(("infinities_opposed",))
_ROUNDED = frozenset(("flag_none", "flag_inexact"))
_NANS = frozenset(("flag_invalid", "nan_signalling", "nan_quiet"))
_LARGE = frozenset(("flag_overflow", "flag_overflow_exact"))
_BY_ZERO = frozenset(("flag_divide_by_zero",))
_ADDEND = frozenset(("nan_addend",))
_BETWEEN = frozenset(("tiny_before_only",))

# The bins that an operation can reach: sums of FP16 are exact below the normal range, no quotient of FP16 lies so
# near below it, and an accumulator times a scale does not come there at all.
REACHABLE: dict[str, frozenset[str]] = {
    "add": _ALL - _BY_ZERO - _ADDEND - _BETWEEN - {"tiny_to_normal"} | _OPPOSED | {"sum_aligned"},
    "mul": _ALL - _BY_ZERO - _ADDEND,
    "fma": _ALL - _BY_ZERO | _OPPOSED,
    "div": _ALL - _ADDEND - _BETWEEN | {"infinity_by_zero"},
    "sqrt": _ROUNDED | _NANS,
    "from_int32": _ROUNDED | _LARGE,
    "from_float32": _ALL - _BY_ZERO - _ADDEND,
    "to_float32": _NANS | {"flag_none"},
    "wide": _ALL - _BY_ZERO - _ADDEND,
    "scaled": _ROUNDED | _LARGE,
    "code": _ROUNDED | {"flag_invalid"},
}


def _signalling(words: np.ndarray) -> np.ndarray:
    """Where words are NaNs whose first fraction bit is 0; an integer is none."""
    if words.dtype.kind == "i":
        return np.zeros(words.shape, bool)
    fmt = FP32 if words.dtype.itemsize == 4 else FP16
    magnitude = words & words.dtype.type(fmt.sign_mask - 1)
    return (magnitude > fmt.infinity_bits) & (magnitude < fmt.nan_bits)


def of_step(kind: str, operands: list[np.ndarray], mode: FloatMode) -> Masks:
    """What one rounded operation on words raises."""
    values = [step_bins.decode(words, mode.flush)[0] for words in operands]
    if kind == "sub":
        kind, values[1] = "add", exact.negate(values[1])
    result = bins.EXACT_OF[kind](*values)
    signalling = np.any([_signalling(words) for words in operands], axis=0)
    nan = np.any([value.nan for value in values], axis=0)
    invalid = signalling | (result.nan & ~nan)
    if kind == "fma":
        undefined = exact.mul(*values[:2]).nan & ~(values[0].nan | values[1].nan)
        invalid |= undefined
        addend = undefined & values[2].nan & ~signalling
    else:
        addend = np.zeros_like(nan)
    by_zero = values[0].finite & ~values[0].zero & values[1].zero if kind == "div" else np.zeros_like(nan)
    found = {"nan_signalling": signalling, "nan_quiet": nan & ~invalid, "nan_addend": addend,
             "flag_invalid": invalid, "flag_divide_by_zero": by_zero}  # fmt: skip
    terms = [exact.mul(*values[:2]), values[2]] if kind == "fma" else values
    if kind in ("add", "fma"):
        both = terms[0].infinite & terms[1].infinite
        found["infinities_opposed"] = both & (terms[0].negative != terms[1].negative) & ~nan
    if kind == "add":
        found["sum_aligned"] = _aligned(values[0], values[1], result)
    if kind == "div":
        found["infinity_by_zero"] = values[0].infinite & values[1].zero
    return found | _of_rounding(result, mode, result.finite & ~by_zero if kind != "to_float32" else None)


def _aligned(x: Exact, y: Exact, result: Exact) -> np.ndarray:
    """Sums that would lie half way if the smaller operand ended two places below the larger one's last."""
    lead = np.where(x.top >= y.top, x.exp, y.exp) - 2
    cut = [value._replace(sig=(value.sig >> shift) << shift) for value in (x, y)
           for shift in [np.clip(lead - value.exp, 0, 62)]]  # fmt: skip
    half_way = [place.tie_lower | place.tie_upper for place in map(_nearest, (exact.add(*cut), result))]
    return half_way[0] & ~half_way[1]


def _nearest(value: Exact) -> exact.Rounded:
    return exact.classify(value, FP16)


def _of_rounding(result: Exact, mode: FloatMode, live: np.ndarray | None) -> Masks:
    if live is None:  # exact, whatever it is
        return {"flag_none": result.finite}
    place = exact.classify(result, FP16, mode)
    live = live & ~result.zero
    tiny_after = live & (exact.classify(result, FP32, FloatMode(mode.rounding), FP16.fraction_bits).top
                         < FP16.min_exponent)  # fmt: skip
    before = isinstance(mode, FlagMode) and mode.tininess is Tininess.BEFORE_ROUNDING
    tiny = place.subnormal if before else tiny_after
    flushed = place.subnormal & ~place.boundary & mode.flush
    inexact = live & (place.inexact | flushed | place.overflow)
    return {
        "flag_none": result.finite & ~inexact,
        "flag_inexact": inexact,
        "flag_overflow": place.overflow & live,
        "flag_overflow_exact": place.overflow & live & ~place.inexact,
        "flag_underflow": tiny & inexact,
        "tiny_exact": place.subnormal & ~inexact,
        "tiny_flushed": flushed & ~place.inexact,
        "tiny_before_only": place.subnormal & ~tiny_after,
        "tiny_to_normal": tiny_after & place.boundary,
    }


def of_code(t: np.ndarray, word: np.ndarray | None, fmt: Fxp) -> Masks:
    """What the code of each t raises, drawn where there are words."""
    value = exact.decode(t, FP16)
    units = np.where(value.negative, -1, 1) * (value.sig << np.clip(value.exp + 24, 0, 40))
    if word is None:
        floor, rest = units >> 24, units & ((1 << 24) - 1)
        code = floor + ((rest > 1 << 23) | ((rest == 1 << 23) & (floor & 1 == 1)))
    else:
        code = units + (word.astype(np.int64) << 8) >> 24
    inside = value.finite & (code >= fmt.min) & (code <= fmt.max)
    whole = units & ((1 << 24) - 1) == 0
    return {"flag_invalid": ~inside, "flag_inexact": inside & ~whole, "flag_none": inside & whole}


def flags(found: Masks) -> np.ndarray:
    """The words of flags (uint8) of the masks of `of_step` or `of_code`."""
    bits = ("flag_inexact", "flag_underflow", "flag_overflow", "flag_divide_by_zero", "flag_invalid")
    each = [found[name].astype(np.uint8) << at for at, name in enumerate(bits) if name in found]
    return np.asarray(np.sum(each, axis=0, dtype=np.uint8))
