"""Stimulus bins: the corners that vectors must reach, each proven from the data (SPEC.md V3).

Every function returns a boolean mask for each bin that it can decide. Nothing is assumed from how the
stimulus was made. Standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bitrow.formats import FP16, AccOverflow, Accumulator, Float, FloatMode, Fxp, Overflow, Rounding
from bitrow.vectors.coverage import exact
from bitrow.vectors.coverage.exact import Exact

Masks = dict[str, np.ndarray]


class Bin(NamedTuple):
    """The clauses that a bin speaks for, and what hits it."""

    clauses: tuple[str, ...]
    meaning: str


BINS: dict[str, Bin] = {
    # words of the inputs
    "input_positive_zero": Bin(("F4",), "an input word is +0"),
    "input_negative_zero": Bin(("F4",), "an input word is -0"),
    "input_subnormal": Bin(("F5",), "an input word is subnormal"),
    "input_subnormal_edge": Bin(("F5",), "an input word is the largest subnormal or the smallest normal number"),
    "input_power_of_two": Bin(("F1",), "an input word is a normal power of two"),
    "input_largest": Bin(("F6",), "an input word is the largest finite number, of either sign"),
    "input_infinity": Bin(("F6",), "an input word is an infinity"),
    "input_nan": Bin(("F4",), "an input word is the canonical NaN"),
    "input_nan_payload": Bin(("F4",), "an input word is a NaN with another payload or sign"),
    # one rounded result
    "tie_lower": Bin(("F3",), "an exact result half way, its even neighbour the smaller magnitude"),
    "tie_upper": Bin(("F3",), "an exact result half way, its even neighbour the larger magnitude"),
    "above_tie": Bin(("F2", "F3"), "an exact result at most 1/8 of a unit above half way"),
    "below_tie": Bin(("F2", "F3"), "an exact result at most 1/8 of a unit below half way"),
    "subnormal_result": Bin(("F5",), "a nonzero exact result below the smallest normal number"),
    "subnormal_boundary": Bin(("F5",), "an exact result below the smallest normal number that rounds to it"),
    "underflow_to_zero": Bin(("F5",), "a nonzero exact result that rounds to zero"),
    "overflow_infinity": Bin(("F6",), "an overflow that delivers an infinity"),
    "overflow_largest": Bin(("F6",), "an overflow that delivers the largest finite number"),
    "cancellation": Bin(("F2",), "a sum at least 8 times smaller than an operand"),
    "exact_zero": Bin(("F3",), "nonzero operands whose sum is exactly zero"),
    "negative_zero": Bin(("F4",), "an exact result of -0"),
    "nan_operand": Bin(("F4",), "an operand is NaN"),
    "infinite_operand": Bin(("F6",), "an operand is infinite, none is NaN, and the result is a number or infinite"),
    "invalid": Bin(("F4",), "operands without NaN give NaN"),
    "divide_by_zero": Bin(("F6",), "a finite nonzero number divided by zero"),
    "flushed_operand": Bin(("F5",), "a subnormal operand read as zero"),
    "flushed_result": Bin(("F5",), "a subnormal result delivered as zero"),
    # flags
    "flag_none": Bin(("F11",), "a number that raises no flag"),
    "flag_inexact": Bin(("F13",), "a result that is not the exact one"),
    "flag_overflow": Bin(("F13",), "a result that overflows"),
    "flag_overflow_exact": Bin(("F13",), "a result too large that would have been exact"),
    "flag_underflow": Bin(("F13",), "a tiny result that is not the exact one"),
    "flag_divide_by_zero": Bin(("F12",), "a finite number other than 0 divided by zero"),
    "flag_invalid": Bin(("F12", "Q6"), "an operation without a result to give"),
    "nan_signalling": Bin(("F12",), "a signalling NaN among the operands"),
    "nan_quiet": Bin(("F12",), "a quiet NaN among the operands, and nothing raised"),
    "nan_addend": Bin(("F12",), "infinity times zero plus a quiet NaN"),
    "infinities_opposed": Bin(("F12",), "infinities of opposite signs are added"),
    "infinity_by_zero": Bin(("F12",), "infinity divided by zero, which raises nothing"),
    "sum_aligned": Bin(("F2",), "a sum beside half way by bits far below the larger operand's last"),
    "tiny_exact": Bin(("F13",), "a subnormal result that is exact"),
    "tiny_flushed": Bin(("F14",), "an exact subnormal result that flush takes"),
    "tiny_before_only": Bin(("F13",), "a result that is tiny before rounding and not after"),
    "tiny_to_normal": Bin(("F13",), "a result that is tiny after rounding, delivered as the smallest normal number"),
    # quantizer
    "quantize_tie_lower": Bin(("Q1",), "t half way between two codes, the even one of smaller magnitude"),
    "quantize_tie_upper": Bin(("Q1",), "t half way between two codes, the even one of larger magnitude"),
    "clip_low": Bin(("Q1",), "t rounds below the smallest code"),
    "clip_high": Bin(("Q1",), "t rounds above the largest code"),
    "code_min": Bin(("Q1", "F7"), "a code is the smallest without clipping"),
    "code_max": Bin(("Q1", "F7"), "a code is the largest without clipping"),
    "mask_edge_inside": Bin(("Q4",), "t outside the range but rounding to its end: mask 1"),
    "mask_edge_outside": Bin(("Q4",), "t rounds to one step outside the range: mask 0"),
    "quantize_nan": Bin(("Q2", "Q4"), "t is NaN: code 0, mask 0"),
    "quantize_infinity": Bin(("Q2",), "t is an infinity"),
    "stochastic_carry": Bin(("Q3",), "a fraction of t that the word carries to the next code"),
    "stochastic_stay": Bin(("Q3",), "a nonzero fraction of t that the word does not carry"),
    "stochastic_whole": Bin(("Q3",), "a t inside the range without fraction"),
    "stochastic_clip": Bin(("Q3",), "floor(t + word/65536) outside the range"),
    # accumulator and dequantizer
    "acc_zero": Bin(("D1",), "a zero accumulator"),
    "acc_largest": Bin(("M2",), "a sum is the largest that the formats allow"),
    "acc_smallest": Bin(("M2",), "a sum is the smallest that the formats allow"),
    "acc_wrap": Bin(("M2",), "an exact sum outside the register, reduced to two's complement"),
    "acc_clamp_high": Bin(("M2",), "a running sum clamped to the register's largest value"),
    "acc_clamp_low": Bin(("M2",), "a running sum clamped to the register's smallest value"),
    "acc_order_matters": Bin(("M2",), "a saturated sum that differs from the clamped exact sum"),
    "acc_fp16_infinite": Bin(("D2",), "an accumulator of 65520 or more: acc_fp16 is infinite or the largest number"),
    "wide_product": Bin(("D1",), "acc * scale needs more than float32's 24 bits"),
    "padding": Bin(("C1", "A2"), "a window reaches outside the map"),
    # selections
    "relu_negative": Bin(("A1",), "a negative x gives +0"),
    "relu_zero": Bin(("A1",), "x is a zero of either sign"),
    "relu_nan": Bin(("A1",), "x is NaN"),
    "relu_inside": Bin(("A1",), "x passes, and so does its gradient"),
    "relu_six_above": Bin(("A1",), "x above 6 under relu6"),
    "relu_six_equal": Bin(("A1",), "x is 6 under relu6"),
    "ramp_low": Bin(("A6",), "x below -3, where the slope is 0"),
    "ramp_high": Bin(("A6",), "x above 3, where the slope is 1"),
    "ramp_edge": Bin(("A6",), "x is 3 or -3"),
    "clip_negative": Bin(("A9",), "a sum below 0 gives +0"),
    "clip_inside": Bin(("A9",), "a sum between 0 and 1 is the result"),
    "clip_one": Bin(("A9",), "a sum of 1 or more gives 1"),
    "clip_nan": Bin(("A9",), "the sum is NaN"),
    "table_entry": Bin(("A10",), "|x| lies on an entry of the table"),
    "table_between": Bin(("A10",), "|x| lies between two entries"),
    "table_end": Bin(("A10",), "|x| is 8 or more"),
    "table_negative": Bin(("A10",), "a negative x takes 1 less the table's"),
    "pool_tie": Bin(("A2",), "a window with several equal maxima"),
    "pool_zero_tie": Bin(("A2",), "a window whose maxima are zeros of both signs"),
    "pool_nan": Bin(("A2",), "a window with a NaN, which wins"),
    "pool_shared_winner": Bin(("A2",), "an input that wins in several windows"),
    "tree_padded": Bin(("B2",), "a pairwise tree padded with +0 to a power of two"),
    "tree_single": Bin(("B2",), "a pairwise tree of one value"),
    "left_out": Bin(("A3",), "an input in no window"),
    # where windows lie
    "window_strides_differ": Bin(("C1",), "rows and columns have strides of their own"),
    "window_sides_differ": Bin(("C1",), "a side of the map has padding of its own"),
    "window_dilated": Bin(("C1",), "a window skips positions between those that it reads"),
    "transposed": Bin(("C5",), "a convolution whose windows lie on its result"),
    "average_shared": Bin(("A3",), "an input in several windows of an average"),
    "average_padding": Bin(("A3",), "a window of an average that counts elements outside the map"),
    "average_partial": Bin(("A3",), "a window of an average that reaches outside the map and counts what is inside"),
    # words
    "lfsr_first": Bin(("Q3",), "a run of words that starts at element 0"),
    "lfsr_jump": Bin(("Q3",), "a run of words that starts further on"),
    "lfsr_period": Bin(("Q3",), "a run of words across or beyond the period of 65535"),
    "pack_even_row": Bin(("Q5",), "a packed row of even length"),
    "pack_odd_row": Bin(("Q5",), "a packed row of odd length, its last high nibble 0"),
    "pack_negative": Bin(("Q5",), "a negative code in a nibble"),
    "pack_wide": Bin(("Q5",), "a code of more than 4 bits in a byte of its own"),
}

# What a set without such windows, or transposed convolutions, is not asked for.
WINDOW_BINS = frozenset(name for name in BINS if name.startswith(("window_", "average_")))
TRANSPOSED_BINS = frozenset(("transposed",))

_ROUNDING = ("tie_lower", "tie_upper", "above_tie", "below_tie")
_SPECIAL = ("nan_operand", "infinite_operand", "flushed_operand")
_RANGE = ("subnormal_result", "subnormal_boundary", "underflow_to_zero", "flushed_result", "negative_zero")
_OVERFLOW = ("overflow_infinity", "overflow_largest")
_SUM = ("cancellation", "exact_zero")

# The bins that one operation of each kind can reach at all: FP16 sums below the normal range are exact,
# quotients tie only below it, roots never tie nor leave the range.
REACHABLE: dict[str, frozenset[str]] = {
    "add": frozenset(
        (*_ROUNDING, *_SPECIAL, *_OVERFLOW, *_SUM, "invalid", *_RANGE)
    )
    - {"subnormal_boundary", "underflow_to_zero"},
    "mul": frozenset((*_ROUNDING, *_SPECIAL, *_RANGE, *_OVERFLOW, "invalid")),
    "fma": frozenset((*_ROUNDING, *_SPECIAL, *_RANGE, *_OVERFLOW, *_SUM, "invalid")),
    "div": frozenset((*_ROUNDING, *_SPECIAL, *_RANGE, *_OVERFLOW, "invalid", "divide_by_zero")),
    "sqrt": frozenset(("above_tie", "below_tie", *_SPECIAL, "negative_zero", "invalid")),
    "from_int32": frozenset((*_ROUNDING, *_OVERFLOW)),
    "from_float32": frozenset((*_ROUNDING, *_RANGE, *_OVERFLOW, "nan_operand", "infinite_operand")),
    "to_float32": frozenset((*_SPECIAL, "negative_zero")),
}  # fmt: skip

EXACT_OF: dict[str, Callable[..., Exact]] = {
    "add": exact.add,
    "mul": exact.mul,
    "fma": lambda a, b, c: exact.add(exact.mul(a, b), c),
    "div": exact.div,
    "sqrt": exact.sqrt,
    "from_int32": lambda x: x,
    "from_float32": lambda x: x,
    "to_float32": lambda x: x,
}


def input_bins(words: np.ndarray) -> Masks:
    """Bins of FP16 input words (uint16)."""
    magnitude = words & 0x7FFF
    nan = magnitude > FP16.infinity_bits
    normal = (magnitude >= 0x0400) & (magnitude < FP16.infinity_bits)
    return {
        "input_positive_zero": words == 0,
        "input_negative_zero": words == 0x8000,
        "input_subnormal": (magnitude > 0) & (magnitude < 0x0400),
        "input_subnormal_edge": (magnitude == 0x03FF) | (magnitude == 0x0400),
        "input_power_of_two": normal & (words & 0x3FF == 0),
        "input_largest": magnitude == FP16.max_finite_bits,
        "input_infinity": magnitude == FP16.infinity_bits,
        "input_nan": words == FP16.nan_bits,
        "input_nan_payload": nan & (words != FP16.nan_bits),
    }


def _delivers_largest(mode: FloatMode, negative: np.ndarray) -> np.ndarray:
    """Where an overflow delivers the largest finite number (SPEC.md F6)."""
    if mode.overflow is Overflow.SATURATE or mode.rounding is Rounding.TOWARD_ZERO:
        return np.ones_like(negative)
    if mode.rounding in (Rounding.UP, Rounding.DOWN):
        return negative == (mode.rounding is Rounding.UP)
    return np.zeros_like(negative)


def _broadcast(operands: list[Exact]) -> list[Exact]:
    shape = np.broadcast_shapes(*(x.sig.shape for x in operands))
    return [Exact(*(np.broadcast_to(part, shape) for part in x)) for x in operands]


def step_bins(
    kind: str, operands: list[Exact], fmt: Float, mode: FloatMode, flushed: np.ndarray | bool = False
) -> Masks:
    """Bins of one rounded operation of a kind in `REACHABLE`.

    `operands` are flushed already where the mode flushes; `flushed` says where that changed a word.
    """
    result = EXACT_OF[kind](*operands)
    place = exact.classify(result, fmt, mode)
    operands = _broadcast(operands)
    nan_operand = np.any([x.nan for x in operands], axis=0)
    infinite = np.any([x.infinite for x in operands], axis=0)
    largest = _delivers_largest(mode, result.negative)
    masks = {
        "tie_lower": place.tie_lower,
        "tie_upper": place.tie_upper,
        "above_tie": place.above_tie,
        "below_tie": place.below_tie,
        "subnormal_result": place.subnormal,
        "subnormal_boundary": place.boundary,
        "underflow_to_zero": place.vanish,
        "overflow_infinity": place.overflow & ~largest,
        "overflow_largest": place.overflow & largest,
        "negative_zero": result.zero & result.negative,
        "nan_operand": nan_operand,
        "infinite_operand": infinite & ~nan_operand & ~result.nan,
        "invalid": result.nan & ~nan_operand,
        "flushed_operand": np.logical_or(flushed, False),
        "flushed_result": place.subnormal & ~place.boundary & mode.flush,
    }
    if kind == "div":
        masks["divide_by_zero"] = operands[0].finite & ~operands[0].zero & operands[1].zero
    if kind in ("add", "fma"):
        x, y = operands if kind == "add" else (exact.mul(*operands[:2]), operands[2])
        both = x.finite & y.finite & (x.sig > 0) & (y.sig > 0)
        masks["exact_zero"] = both & result.zero
        masks["cancellation"] = both & ~result.zero & (np.maximum(x.top, y.top) - result.top >= 3)
    return {name: mask for name, mask in masks.items() if name in REACHABLE[kind]}


def quantizer_bins(t: np.ndarray, fmt: Fxp, words: np.ndarray | None = None) -> Masks:
    """Bins of a quantizer from its `t` (uint16 FP16 words) and, if stochastic, its LFSR words (SPEC.md Q)."""
    value = exact.decode(t, FP16)
    one = 1 << 24  # FP16's finite numbers are multiples of 2^-24
    units = value.sig << np.clip(value.exp + 24, 0, 40)
    units = np.where(value.negative, -units, units)
    floor, rest = units >> 24, units & (one - 1)
    up = (rest > one // 2) | ((rest == one // 2) & (floor & 1 == 1))
    nearest = floor + up
    finite, tie = value.finite, value.finite & (rest == one // 2)
    inside = finite & (nearest >= fmt.min) & (nearest <= fmt.max)
    outward = np.abs(nearest) > np.abs(units) / one
    masks = {
        "mask_edge_inside": inside & ((units > fmt.max * one) | (units < fmt.min * one)),
        "mask_edge_outside": finite & ((nearest == fmt.max + 1) | (nearest == fmt.min - 1)),
        "quantize_nan": value.nan,
        "quantize_infinity": value.infinite,
    }
    if words is None:
        return masks | {
            "quantize_tie_lower": inside & tie & ~outward,
            "quantize_tie_upper": inside & tie & outward,
            "clip_low": finite & (nearest < fmt.min),
            "clip_high": finite & (nearest > fmt.max),
            "code_min": inside & (nearest == fmt.min),
            "code_max": inside & (nearest == fmt.max),
        }
    carry = rest + (words.astype(np.int64) << 8) >= one
    code = floor + carry
    within = finite & (code >= fmt.min) & (code <= fmt.max)
    return masks | {
        "stochastic_carry": within & carry,
        "stochastic_stay": within & (rest > 0) & ~carry,
        "stochastic_whole": within & (rest == 0),
        "stochastic_clip": finite & ~within,
    }


def sum_extremes(x_format: Fxp, weight_format: Fxp, terms: int) -> tuple[int, int]:
    """Smallest and largest sum of `terms` products of codes."""
    ends = [a * b for a in (x_format.min, x_format.max) for b in (weight_format.min, weight_format.max)]
    return terms * min(ends), terms * max(ends)


def accumulator_bins(
    total: np.ndarray,
    acc: np.ndarray,
    register: Accumulator,
    extremes: tuple[int, int],
    running: np.ndarray | None,
) -> Masks:
    """Bins of M sums: `total` the exact int64 sums, `acc` the register, `running` M2's running values if it
    clamps."""
    masks = {
        "acc_zero": acc == 0,
        "acc_smallest": total == extremes[0],
        "acc_largest": total == extremes[1],
    }
    if register.overflow is AccOverflow.WRAP:
        masks["acc_wrap"] = (total > register.max) | (total < register.min)
    if register.overflow is AccOverflow.SATURATE and running is not None:
        clamped = np.clip(total, register.min, register.max)
        masks |= {
            "acc_clamp_high": (running == register.max).any(axis=0),
            "acc_clamp_low": (running == register.min).any(axis=0),
            "acc_order_matters": acc != clamped,
        }
    return masks


def wide_products(acc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Where acc (int32) * scale (uint16 FP16 words) needs more than 24 significand bits (SPEC.md D1)."""
    product = np.abs(acc.astype(np.int64)) * exact.decode(scale, FP16).sig
    lowest = product & -product
    return exact.bit_length(product) - exact.bit_length(lowest) + 1 > 24
