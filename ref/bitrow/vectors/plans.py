"""How each operation's bins follow from its tensors: SPEC.md's named intermediates as tables of steps.

A plan yields masks, bin by bin; a step names an operation of `bins.REACHABLE`, its result and its operands, just as
the contract writes it. Standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from bitrow.config import AvgPoolConfig, BatchNormConfig, ConvConfig, MaxPoolConfig, ReluConfig, output_size
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
    ("tie_lower", "tie_upper", "above_tie", "below_tie", "subnormal_result", "overflow_infinity", "overflow_largest",
     "nan_operand", "infinite_operand", "flushed_operand", "flushed_result")
)  # fmt: skip

_ONE16, _ONE32 = np.uint16(0x3C00), np.uint32(0x3F800000)


def _decode(words: np.ndarray | Exact, flush: bool) -> tuple[Exact, np.ndarray | bool]:
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
    decoded = [_decode(x, mode.flush) for x in operands]
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
    rows: tuple[tuple[str, ...], ...], words: Words, fmt: Float, mode: FloatMode, extra: Words = {}
) -> Iterator[Masks]:
    """The steps `(kind, operand, ...)` whose operands are all there."""
    known = {**words, **extra}
    for kind, *names in rows:
        if all(name in known for name in names):
            yield layer_step(kind, [known[name] for name in names], fmt, mode)


def levels(words: Words, name: str) -> list[np.ndarray]:
    """The taps NAME_level1, NAME_level2, ... in order."""
    found = []
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
    value, _ = _decode(source, mode.flush)
    for level in levels(words, name):
        fill = 2 * level.shape[axis] - value.sig.shape[axis]
        padded = [
            np.pad(part, [(0, fill if i == axis % part.ndim else 0) for i in range(part.ndim)]) for part in value
        ]
        even, odd = ([np.take(p, range(k, p.shape[axis], 2), axis) for p in padded] for k in (0, 1))
        yield layer_step("add", [Exact(*even), Exact(*odd)], fmt, mode)
        value, _ = _decode(level, mode.flush)


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
        scale = _ONE16 if config.fold else words["w_scale"]
        yield layer_step("mul", [words["dx_sum"], np.asarray(scale)], FP16, config.mode)
        return
    stochastic = config.dy_rounding is QuantRounding.STOCHASTIC
    lfsr = words["dy_words"] if stochastic else None
    yield from _quantizer(dy, words["dy_inv_scale"], words["dy_t"], config.dy_format, config.mode, lfsr)

    def total(code: np.ndarray) -> np.ndarray:
        return geometry.gradient_sum(config, code, weight, hw)

    yield _sums(config, words, words["dy_code"], "dx_", config.dy_format, total)
    yield from _dequantizer(words["dx_acc"], words["dx_scale"], words, "dx_", config)


# B2 and B3 as the contract lists them
_STATISTICS = (
    ("mul", "s1", "m"), ("mul", "s2", "m"), ("mul", "mean", "mean"), ("sub", "s2m", "mean_sq"), ("add", "var", "eps"),
    ("sqrt", "var_eps"), ("div", "one", "std"), ("mul", "gamma", "r"), ("mul", "mean", "a"), ("sub", "beta", "mean_a"),
)  # fmt: skip
_GRADIENTS = (
    ("mul", "mean", "t1"), ("sub", "t2", "mean_t1"), ("mul", "r", "centered"), ("mul", "a", "r"),
    ("mul", "ar", "dgamma"), ("neg_mul", "ar_dgamma", "m"), ("mul", "a", "t1"), ("neg_mul", "at1", "m"),
    ("mul", "p", "mean"), ("sub", "at1_m", "p_mean"),
)  # fmt: skip


def _row_sums(words: Words, names: tuple[str, str], source: np.ndarray | Exact, config: BatchNormConfig):
    row, total = names
    fmt, mode = config.accumulator, config.mode
    yield from tree(words, row, source, 2, fmt, mode)
    found = levels(words, row)
    last = found[-1] if found else source
    last = _decode(last, mode.flush)[0]
    terms = Exact(*(part.reshape(-1, part.shape[-1]) for part in last))
    yield running(words[f"{total}_running"], terms, fmt, mode)


def _inverse_count(y: np.ndarray, fmt: Float) -> np.ndarray:
    value = 1.0 / (y.size // y.shape[-1])
    return np.asarray(np.float16(value).view(np.uint16) if fmt == FP16 else np.float32(value).view(np.uint32))


def _affine(config: BatchNormConfig, words: Words, a: str, b: str) -> Iterator[Masks]:
    if config.fma:
        yield layer_step("fma", [words[a], words["y"], words[b]], FP16, config.mode)
        return
    yield from table((("mul", a, "y"), ("add", "ay", b)), words, FP16, config.mode)


def batch_norm_forward(config: BatchNormConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md B1, or B2 where the case holds batch statistics."""
    y = words["y"]
    yield bins.input_bins(y)
    if "s1" not in words:
        yield from _affine(config, words, "a", "b")
        return
    fmt, mode = config.accumulator, config.mode
    yield layer_step("mul", [y, y], fmt, mode)
    yield from _row_sums(words, ("r1", "s1"), y, config)
    yield from _row_sums(words, ("r2", "s2"), words["yy"], config)
    one = {"one": np.asarray(_ONE16 if fmt == FP16 else _ONE32)}
    yield from table(_STATISTICS, words, fmt, mode, one)
    yield from table((("from_float32", "a"), ("from_float32", "b")), words, FP16, mode)
    yield from _affine(config, words, "a16", "b16")


def batch_norm_backward(config: BatchNormConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md B1, or B3 where the case holds batch statistics."""
    yield bins.input_bins(words["dz"])
    if "t1" not in words:
        yield layer_step("mul", [words["a"], words["dz"]], FP16, config.mode)
        return
    fmt, mode = config.accumulator, config.mode
    yield layer_step("mul", [words["dz"], words["y"]], fmt, mode)
    yield from _row_sums(words, ("t1", "t1"), words["dz"], config)
    yield from _row_sums(words, ("t2", "t2"), words["dzy"], config)
    yield from table(_GRADIENTS, words, fmt, mode, {"m": _inverse_count(words["dz"], fmt)})
    elementwise = (
        ("from_float32", "p"), ("from_float32", "q"), ("mul", "a16", "dz"), ("mul", "p16", "y"), ("add", "adz", "py"),
        ("add", "adz_py", "q16"),
    )  # fmt: skip
    yield from table(elementwise, words, FP16, mode)


def relu_forward(config: ReluConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md A1."""
    yield bins.input_bins(words["x"])
    x = exact.decode(words["x"], FP16)
    yield {
        "relu_negative": x.negative & ~x.nan & ~x.zero,
        "relu_zero": x.zero,
        "relu_nan": x.nan,
        "relu_inside": ~x.negative & ~x.nan & ~x.zero & (not config.six or words["x"] < 0x4600),
    }
    if config.six:
        above = (words["x"] > 0x4600) & (words["x"] <= 0x7C00)
        yield {"relu_six_above": above, "relu_six_equal": words["x"] == 0x4600}


def relu_backward(config: ReluConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md A1; the words of both x and dy are inputs."""
    yield bins.input_bins(words["dy"])
    yield from relu_forward(config, words)


def max_pool_forward(config: MaxPoolConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md A2."""
    yield bins.input_bins(words["x"])
    x = geometry.pool_windows(config, words["x"])
    value = exact.decode(x.words, FP16)
    key = np.where(value.nan, 1 << 17, np.where(value.negative, -1, 1) * (x.words & 0x7FFF).astype(np.int64))
    key = np.where(x.inside, key, -(1 << 18))
    best = key == key.max(axis=0)
    zeros = best & (key == 0) & x.inside
    yield {
        "pool_tie": best.sum(axis=0) > 1,
        "pool_zero_tie": (zeros & value.negative).any(axis=0) & (zeros & ~value.negative).any(axis=0),
        "pool_nan": (value.nan & x.inside).any(axis=0),
        "padding": ~x.inside.all(axis=0),
    }


def max_pool_backward(config: MaxPoolConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md A2: the sums of dy are proven from the order of windows."""
    yield bins.input_bins(words["dy"])
    hw = (int(words["input_hw"][0]), int(words["input_hw"][1]))
    wins = np.zeros((words["dy"].shape[0], *hw, words["dy"].shape[3]), np.int64)
    for terms in geometry.winners(config, words["index"], words["dy"], hw):
        # what goes to one window's winner alone is not added
        summed = terms.hit & (wins > 0)
        masks = layer_step("add", [terms.before, terms.dy], FP16, config.mode)
        masks["flushed_operand"] = terms.tiny & config.mode.flush
        yield {name: mask & summed for name, mask in masks.items()}
        wins += terms.hit
    yield {"pool_shared_winner": wins > 1}


def avg_pool_forward(config: AvgPoolConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md A3."""
    x = words["x"]
    yield bins.input_bins(x)
    yield flushed_inputs(x, config.mode)
    kernel = (config.kernel, config.kernel) if config.kernel else x.shape[1:3]
    oh, ow = (output_size(size, k, k, 0) for size, k in zip(x.shape[1:3], kernel, strict=True))
    window = x[:, : oh * kernel[0], : ow * kernel[1]]
    window = window.reshape(x.shape[0], oh, kernel[0], ow, kernel[1], x.shape[3])
    yield from tree(words, "sum", window, 4, FP32, config.mode)
    found = levels(words, "sum")
    rows = found[-1] if found else window
    terms = _decode(np.moveaxis(rows[:, :, :, :, 0], 2, 0), config.mode.flush)[0]
    yield running(words["sum_running"], terms, FP32, config.mode)
    count = kernel[0] * kernel[1]
    inv_n = np.asarray((np.float32(1) / np.float32(count)).view(np.uint32))
    yield layer_step("mul", [words["sum"], inv_n], FP16, config.mode)
    yield {"left_out": np.array(window.size != x.size)}


def avg_pool_backward(config: AvgPoolConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md A3."""
    dy, hw = words["dy"], words["input_hw"]
    yield bins.input_bins(dy)
    kernel = (config.kernel, config.kernel) if config.kernel else tuple(int(size) for size in hw)
    inv_n = np.asarray((np.float32(1) / np.float32(kernel[0] * kernel[1])).view(np.uint32))
    yield layer_step("mul", [dy, inv_n], FP16, config.mode)
    covered = dy.shape[1] * kernel[0] == hw[0] and dy.shape[2] * kernel[1] == hw[1]
    yield {"left_out": np.array(not covered)}


def _products(a: np.ndarray, b: np.ndarray, flush: bool) -> Exact:
    return exact.mul(exact.decode(a, FP16, flush), exact.decode(b, FP16, flush))


def linear_forward(config: Any, words: Words) -> Iterator[Masks]:
    """SPEC.md A4."""
    yield bins.input_bins(words["x"])
    yield flushed_inputs(words["x"], config.mode)
    products = _products(words["x"][:, :, None], words["weight"][None], config.mode.flush)
    yield from tree(words, "sum", products, 1, FP32, config.mode)
    yield layer_step("add", [words["sum"], words["bias"]], FP16, config.mode)


def linear_backward(config: Any, words: Words) -> Iterator[Masks]:
    """SPEC.md A4."""
    yield bins.input_bins(words["dy"])
    yield flushed_inputs(words["dy"], config.mode)
    products = _products(words["dy"][:, None, :], words["weight"][None], config.mode.flush)
    yield from tree(words, "sum", products, 2, FP32, config.mode)
    yield layer_step("from_float32", [words["sum"]], FP16, config.mode)


def add_forward(config: Any, words: Words) -> Iterator[Masks]:
    """SPEC.md A2."""
    yield bins.input_bins(words["x"])
    yield bins.input_bins(words["shortcut"])
    yield layer_step("add", [words["x"], words["shortcut"]], FP16, config.mode)


def accumulate(mode: FloatMode, words: Words) -> Iterator[Masks]:
    """SPEC.md A5: `dys[k]` added in order, `sum_k` the sums so far."""
    dys = words["dys"]
    yield bins.input_bins(dys)
    totals = np.stack([dys[0], *(words[f"sum_{k}"] for k in range(1, len(dys) - 1))])
    yield layer_step("add", [totals, dys[1:]], FP16, mode)


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
    odd, narrow = bool(code.shape[-1] % 2), config.bits <= 4
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
