"""Bins of the layers other than convolutions, as tables of steps (SPEC.md B, A). See `plans`."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from bitrow.config import AvgPoolConfig, BatchNormConfig, MaxPoolConfig, ReluConfig, output_size
from bitrow.formats import FP16, FP32, Float, FloatMode
from bitrow.oracle import fp16
from bitrow.oracle.arrays import map_words
from bitrow.vectors import bins, exact, geometry
from bitrow.vectors.bins import Masks
from bitrow.vectors.exact import Exact
from bitrow.vectors.plans import (
    ONE16,
    ONE32,
    Words,
    decode,
    flushed_inputs,
    layer_step,
    levels,
    running,
    table,
    tree,
)

# B2 and B3 as the contract lists them
_STATISTICS = (
    ("mul", "s1", "m"),
    ("mul", "s2", "m"),
    ("mul", "mean", "mean"),
    ("sub", "s2m", "mean_sq"),
    ("add", "var", "eps"),
    ("sqrt", "var_eps"),
    ("div", "one", "std"),
    ("mul", "gamma", "r"),
    ("mul", "mean", "a"),
    ("sub", "beta", "mean_a"),
)
_GRADIENTS = (
    ("mul", "mean", "t1"),
    ("sub", "t2", "mean_t1"),
    ("mul", "r", "centered"),
    ("mul", "a", "r"),
    ("mul", "ar", "dgamma"),
    ("neg_mul", "ar_dgamma", "m"),
    ("mul", "a", "t1"),
    ("neg_mul", "at1", "m"),
    ("mul", "p", "mean"),
    ("sub", "at1_m", "p_mean"),
)


def _row_sums(words: Words, names: tuple[str, str], source: np.ndarray | Exact, config: BatchNormConfig):
    row, total = names
    fmt, mode = config.accumulator, config.mode
    yield from tree(words, row, source, 2, fmt, mode)
    found = levels(words, row)
    last = found[-1] if found else source
    last = decode(last, mode.flush)[0]
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
    one = {"one": np.asarray(ONE16 if fmt == FP16 else ONE32)}
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
        ("from_float32", "p"),
        ("from_float32", "q"),
        ("mul", "a16", "dz"),
        ("mul", "p16", "y"),
        ("add", "adz", "py"),
        ("add", "adz_py", "q16"),
    )
    yield from table(elementwise, words, FP16, mode)


def relu_forward(config: ReluConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md A1."""
    yield bins.input_bins(words["x"])
    x = exact.decode(words["x"], FP16)
    yield {
        "relu_negative": x.negative & ~x.nan & ~x.zero,
        "relu_zero": x.zero,
        "relu_nan": x.nan,
        "relu_inside": ~x.negative & ~x.nan & ~x.zero & (words["x"] < (0x4600 if config.six else 0x7C01)),
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
        "padding": np.asarray(~x.inside.all(axis=0)),
    }


def max_pool_backward(config: MaxPoolConfig, words: Words) -> Iterator[Masks]:
    """SPEC.md A2: the sums are followed window by window, each rounded as the oracle rounds."""
    yield bins.input_bins(words["dy"])
    hw = (int(words["input_hw"][0]), int(words["input_hw"][1]))
    shape = (words["dy"].shape[0], *hw, words["dy"].shape[3])
    wins, total = np.zeros(shape, np.int64), np.zeros(shape, np.uint16)
    add = functools.partial(fp16.add, mode=config.mode)
    for hit, dy in geometry.winners(config, words["index"], words["dy"], hw):
        # what goes to one window's winner alone is not added
        again = hit & (wins > 0)
        yield layer_step("add", [total[again], dy[again]], FP16, config.mode)
        total[hit] = map_words(add, np.uint16, total[hit], dy[hit])
        wins += hit
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
    terms = decode(np.moveaxis(rows[:, :, :, :, 0], 2, 0), config.mode.flush)[0]
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
