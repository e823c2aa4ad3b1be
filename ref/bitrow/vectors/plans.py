"""How each operation's bins follow from its tensors: SPEC.md's named intermediates as tables of steps.

A plan yields masks, bin by bin; a step names an operation of `bins.REACHABLE`, its result and its operands,
just as the contract writes it. Standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from bitrow.config import ConvConfig
from bitrow.formats import (
    FP16,
    FP32,
    LFSR_PERIOD,
    AccOverflow,
    Dequantize,
    Float,
    FloatMode,
    Fxp,
    Gradient,
    QuantRounding,
)
from bitrow.vectors import bins, exact, geometry
from bitrow.vectors.bins import Masks
from bitrow.vectors.exact import Exact

Words = Mapping[str, np.ndarray]
Plan = Callable[[Any, Words], Iterable[Masks]]

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

ONE16, ONE32 = np.uint16(0x3C00), np.uint32(0x3F800000)


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


def step(kind: str, operands: list[np.ndarray | Exact], fmt: Float, mode: FloatMode) -> Masks:
    """Every bin of one rounded operation on words; "sub" and "neg_mul" negate an operand."""
    # F9: the FP16 parameters touch an FP32 operation only where it reads an FP16 operand
    decoded = [decode(x, mode.flush) for x in operands]
    values = [value for value, _ in decoded]
    if kind == "sub":
        kind, values[1] = "add", exact.negate(values[1])
    if kind == "neg_mul":
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
    """The bins of `step` that a layer reports."""
    return {name: mask for name, mask in step(kind, operands, fmt, mode).items() if name in LAYER_BINS}


def table(
    rows: tuple[tuple[str, ...], ...], words: Words, fmt: Float, mode: FloatMode, extra: Words | None = None
) -> Iterator[Masks]:
    """The steps `(kind, operand, ...)` whose operands are all there."""
    known = {**words, **(extra or {})}
    for kind, *names in rows:
        if all(name in known for name in names):
            yield layer_step(kind, [known[name] for name in names], fmt, mode)


def levels(words: Words, name: str) -> list[np.ndarray]:
    """The taps NAME_level1, NAME_level2, ... in order."""
    found: list[np.ndarray] = []
    while f"{name}_level{len(found) + 1}" in words:
        found.append(words[f"{name}_level{len(found) + 1}"])
    return found


def tree(words: Words, name: str, source: np.ndarray | Exact, axis: int, fmt: Float, mode: FloatMode):
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


def _quantizer(x: np.ndarray, inv_scale: np.ndarray, t: np.ndarray, fmt: Fxp, mode: FloatMode, words=None):
    yield layer_step("mul", [x, inv_scale], FP16, mode)
    yield bins.quantizer_bins(t, fmt, words)


def _dequantizer(acc: np.ndarray, scale: np.ndarray, words: Words, prefix: str, config: ConvConfig):
    if config.dequantize is Dequantize.TWO_STEP:
        acc_fp16 = words[f"{prefix}acc_fp16"]
        yield layer_step("from_int32", [acc], FP16, config.mode)
        yield {"acc_fp16_infinite": np.abs(acc.astype(np.int64)) >= 65520}
        yield layer_step("mul", [acc_fp16, scale], FP16, config.mode)
        return
    yield layer_step("mul", [acc, scale], FP16, config.mode)
    yield {"wide_product": bins.wide_products(acc, scale)}


def _sums(config: ConvConfig, words: Words, code: np.ndarray, prefix: str, fmt: Fxp, total) -> Masks:
    acc, weight = words[f"{prefix}acc"], words["weight_code"]
    kh, kw, c_in_group, c_out = weight.shape
    terms = kh * kw * (c_out // config.groups if prefix else c_in_group)
    extremes = bins.sum_extremes(fmt, config.weight_format, terms)
    exact_sum = acc if config.accumulator.overflow is AccOverflow.ERROR else total(code)
    return bins.accumulator_bins(exact_sum, acc, config.accumulator, extremes, words.get(f"{prefix}acc_running"))


def conv_forward(config: ConvConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md C1."""
    weight = words["weight_code"]
    yield bins.input_bins(words["x"])
    yield from _quantizer(words["x"], words["x_inv_scale"], words["t"], config.x_format, config.mode)
    yield _sums(config, words, words["x_code"], "", config.x_format, lambda c: geometry.conv_sum(config, c, weight))
    yield from _dequantizer(words["acc"], words["scale"], words, "", config)
    if "bias" in words:
        yield layer_step("add", [words["deq"], words["bias"]], FP16, config.mode)
    yield {"padding": np.array(config.padding > 0)}


def conv_backward(config: ConvConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md C2, C3."""
    weight, hw = words["weight_code"], words["mask"].shape[1:3]
    yield bins.input_bins(words["dy"])
    dy = words["dy"]
    if config.fold:
        yield layer_step("mul", [dy, words["w_scale"]], FP16, config.mode)
        dy = words["dy_folded"]
    yield {"padding": np.array(config.padding > 0)}
    if config.gradient is Gradient.FP16:
        terms = geometry.gradient_terms(config, dy, weight, hw)
        yield running(words["dx_sum_running"], terms, FP32, config.mode)
        scale = ONE16 if config.fold else words["w_scale"]
        yield layer_step("mul", [words["dx_sum"], np.asarray(scale)], FP16, config.mode)
        return
    stochastic = config.dy_rounding is QuantRounding.STOCHASTIC
    lfsr = words["dy_words"] if stochastic else None
    yield from _quantizer(dy, words["dy_inv_scale"], words["dy_t"], config.dy_format, config.mode, lfsr)

    def total(code: np.ndarray) -> np.ndarray:
        return geometry.gradient_sum(config, code, weight, hw)

    yield _sums(config, words, words["dy_code"], "dx_", config.dy_format, total)
    yield from _dequantizer(words["dx_acc"], words["dx_scale"], words, "dx_", config)


def fp16_unit(kind: str, *names: str) -> Plan:
    """Plan of a `bitrow.fp16` operation with these operands."""

    def plan(config: FloatMode, words: Words) -> Iterable[Masks]:
        for name in names:
            if words[name].dtype == np.uint16:
                yield bins.input_bins(words[name])
        yield step(kind, [words[name] for name in names], FP32 if kind == "to_float32" else FP16, config)

    return plan


def quantize(config: ConvConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md Q1, Q2, Q4."""
    yield bins.input_bins(words["x"])
    yield from _quantizer(words["x"], words["x_inv_scale"], words["t"], config.x_format, config.mode)


def quantize_stochastic(config: ConvConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md Q3."""
    yield bins.input_bins(words["x"])
    lfsr = words["words"]
    yield from _quantizer(words["x"], words["x_inv_scale"], words["t"], config.x_format, config.mode, lfsr)


def dequantize(config: ConvConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md D1, D2."""
    yield {"acc_zero": words["acc"] == 0}
    yield from _dequantizer(words["acc"], words["scale"], words, "", config)


def pack(config: Fxp, words: Words) -> Iterator[Masks]:
    """SPEC.md Q5."""
    code = words["code"]
    odd, narrow = bool(code.shape[2] * code.shape[3] % 2), config.bits <= 4
    yield {
        "pack_odd_row": np.array(odd and narrow),
        "pack_even_row": np.array(not odd and narrow),
        "pack_negative": (code < 0) & narrow,
        "pack_wide": np.array(not narrow),
    }


def lfsr(config: Any, words: Words) -> Iterator[Masks]:
    """SPEC.md Q3: runs of `count` words from each of `start`."""
    start, count = words["start"].astype(np.int64), int(words["count"])
    yield {
        "lfsr_first": start == 0,
        "lfsr_jump": start > 0,
        "lfsr_period": start + count > LFSR_PERIOD,
    }
