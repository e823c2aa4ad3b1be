"""The bins of one step: a rounded operation, a tree, a running sum (SPEC.md F, B2, T2).

Standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitrow.formats import FP16, FP32, Float, FloatMode
from bitrow.vectors.coverage import bins, exact
from bitrow.vectors.coverage.bins import Masks
from bitrow.vectors.coverage.exact import Exact

# What a step inside a layer reports: the corners that its own stimulus can steer.
LAYER_BINS = frozenset(
    (
        "tie_lower",
        "tie_upper",
        "above_tie",
        "below_tie",
        "subnormal_result",
        "overflow_infinity",
        "overflow_largest",
        "nan_operand",
        "infinite_operand",
        "flushed_operand",
        "flushed_result",
    )
)


def decode(words: np.ndarray | Exact, flush: bool) -> tuple[Exact, np.ndarray | bool]:
    """Exact operand, and where its FP16 word is subnormal. int32 is an integer, uint16 FP16, uint32 FP32."""
    if isinstance(words, Exact):
        return words, False
    if words.dtype.kind == "i":
        return exact.integer(words), False
    if words.dtype.itemsize == 4:
        return exact.decode(words, FP32), False
    magnitude = words & 0x7FFF
    return exact.decode(words, FP16, flush), (magnitude > 0) & (magnitude < 0x0400)


def rounded(kind: str, operands: list[np.ndarray | Exact], fmt: Float, mode: FloatMode) -> Masks:
    """Every bin of one rounded operation on words; "sub" and "negmul" negate an operand."""
    # F9: the FP16 parameters touch an FP32 operation only where it reads an FP16 operand
    decoded = [decode(x, mode.flush) for x in operands]
    values = [value for value, _ in decoded]
    if kind == "sub":
        kind, values[1] = "add", exact.negate(values[1])
    if kind == "negmul":
        kind, values[0] = "mul", exact.negate(values[0])
    flushed: np.ndarray | bool = False
    for _, subnormal in decoded:
        flushed = np.logical_or(flushed, np.logical_and(subnormal, mode.flush))
    return bins.step_bins(kind, values, fmt, mode if fmt == FP16 else FloatMode(), flushed)


def flushed_inputs(words: np.ndarray, mode: FloatMode) -> Masks:
    """Where FP16 words are flushed before they are widened to FP32 (SPEC.md F9)."""
    magnitude = words & 0x7FFF
    return {"flushed_operand": (magnitude > 0) & (magnitude < 0x0400) & mode.flush}


def layer_step(kind: str, operands: list[np.ndarray | Exact], fmt: Float, mode: FloatMode) -> Masks:
    """The bins of `rounded` that a layer reports."""
    return {name: mask for name, mask in rounded(kind, operands, fmt, mode).items() if name in LAYER_BINS}


def levels(words: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """The taps NAME_level1, NAME_level2, ... in order."""
    found: list[np.ndarray] = []
    while f"{name}_level{len(found) + 1}" in words:
        found.append(words[f"{name}_level{len(found) + 1}"])
    return found


def tree(
    words: Mapping[str, np.ndarray], name: str, source: np.ndarray | Exact, axis: int, fmt: Float, mode: FloatMode
):
    """Bins of a pairwise tree over `axis`, from its tapped levels (SPEC.md B2, T2)."""
    width = (source.sig if isinstance(source, Exact) else source).shape[axis]
    yield {
        "tree_padded": np.array(width & (width - 1) != 0),
        "tree_single": np.array(width == 1),
    }
    value, _ = decode(source, mode.flush)
    for level in levels(words, name):
        fill = 2 * level.shape[axis] - value.sig.shape[axis]
        padded = [np.pad(part, [(0, fill if i == axis % part.ndim else 0) for i in range(part.ndim)]) for part in value]
        even, odd = ([np.take(p, range(k, p.shape[axis], 2), axis) for p in padded] for k in (0, 1))
        yield layer_step("add", [Exact(*even), Exact(*odd)], fmt, mode)
        value, _ = decode(level, mode.flush)


def running(values: np.ndarray, terms: np.ndarray | Exact, fmt: Float, mode: FloatMode) -> Masks:
    """Bins of a sum of terms one after another from +0: `values[k]` is the sum of terms 0..k (SPEC.md T2)."""
    before = np.concatenate([np.zeros_like(values[:1]), values[:-1]])
    return layer_step("add", [before, terms], fmt, mode)
