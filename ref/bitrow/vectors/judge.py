"""The oracle's side of the registry: each operation by name, on integer words (SPEC.md V5).

Imports the oracle and numpy only, so that a set can be judged where JAX is not installed.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bitrow.config import BatchNormConfig, ConvConfig, Statistics
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Fxp
from bitrow.oracle import arrays, batch_norm, conv, fp16, fxp, layers, lfsr, pool
from bitrow.oracle.arrays import Row, Words, map_words

Judge = Callable[..., Words]

_SOURCE_TAPS = {
    "conv.forward": {"t", "x_code", "mask"},
    "conv.backward": {"dy_folded", "dy_words", "dy_t", "dy_code"},
}


def compute(name: str, config: Any, words: Words, rows: list[Row] | None = None) -> Words:
    """Taps and outputs of operation `name`; of the rows given, if it works by rows.

    Raises:
        BitrowError: what the oracle refuses; `rows` of an operation that has none.
    """
    if name.startswith("network."):
        # the only judge that needs JAX, to read the model's file
        networks = importlib.import_module("bitrow.vectors.networks")
        return networks.oracle(name.removeprefix("network."), words)
    if rows is None:
        return JUDGES[name](config, words)
    if name not in BY_ROWS:
        raise BitrowError(f"{name}: found rows, expected none for an operation that does not work by rows")
    return JUDGES[name](config, words, rows=rows)


def target_shape(name: str, config: Any, words: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Images and rows of the result of an operation that works by rows."""
    if name in ("max_pool.backward", "avg_pool.backward"):
        return words["dy"].shape[0], int(words["input_hw"][0])
    if name == "conv.backward":
        return words["mask"].shape[0], words["mask"].shape[1]
    first = next(iter(words.values()))
    if name == "conv.forward":
        kernel = words["weight_code"].shape[0]
        return first.shape[0], (first.shape[1] + 2 * config.padding - kernel) // config.stride + 1
    if name == "max_pool.forward":
        return first.shape[0], (first.shape[1] + 2 * config.padding - config.kernel) // config.stride + 1
    if name == "avg_pool.forward":
        return first.shape[0], first.shape[1] // (config.kernel or first.shape[1])
    return first.shape[0], first.shape[1]


def sampled(
    name: str, config: Any, words: Mapping[str, np.ndarray], tap: str, whole: np.ndarray, rows: list[Row]
):
    """The part of a whole tap that `compute` returns for `rows`."""
    if tap in _SOURCE_TAPS.get(name, ()):
        weight = words["weight_code"].shape
        if name == "conv.forward":
            rows = conv.input_rows(config, words["x"].shape, weight, rows)
        else:
            rows = conv.gradient_rows(config, words["mask"].shape, weight, words["dy"].shape, rows)
    return arrays.sample(tap, whole, rows)


def _unit(function: Callable[..., int], names: str, dtype: type = np.uint16) -> Judge:
    """A function of scalar words over vectors of operands."""

    def run(config: FloatMode, words: Words) -> Words:
        operands = [words[name] for name in names.split()]
        return {"y": map_words(functools.partial(function, mode=config), dtype, *operands)}

    return run


def _quantize(config: ConvConfig, words: Words) -> Words:
    x, inverse = words["x"], int(words["x_inv_scale"])
    if "words" in words:
        noise = words["words"].ravel().tolist()
        results = [
            fxp.quantize_stochastic(word, inverse, r, config.x_format, config.mode)
            for word, r in zip(x.ravel().tolist(), noise, strict=True)
        ]
    else:
        results = [fxp.quantize(word, inverse, config.x_format, config.mode) for word in x.ravel().tolist()]
    dtypes = {"t": np.uint16, "x_code": conv.code_dtype(config.x_format), "mask": np.uint8}
    columns = zip(*results, strict=True)
    return {
        name: np.array(column, dtype).reshape(x.shape)
        for (name, dtype), column in zip(dtypes.items(), columns, strict=True)
    }


def _dequantize(config: ConvConfig, words: Words) -> Words:
    acc, scale = np.broadcast_arrays(words["acc"], words["scale"])
    pairs = zip(acc.ravel().tolist(), scale.ravel().tolist(), strict=True)
    results = [fxp.dequantize(a, s, config.dequantize, config.mode) for a, s in pairs]
    first = [r.acc_fp16 for r in results if r.acc_fp16 is not None]
    out = {"acc_fp16": np.array(first, np.uint16).reshape(acc.shape)} if first else {}
    return out | {"deq": np.array([r.deq for r in results], np.uint16).reshape(acc.shape)}


def _pack(fmt: Fxp, words: Words) -> Words:
    n, h, w, c = words["code"].shape
    rows = words["code"].reshape(n * h, w * c).tolist()
    packed = np.array([fxp.pack(row, fmt) for row in rows], np.uint8)
    return {"packed": packed.reshape(n, h, -1)}


def _lfsr(config: Any, words: Words) -> Words:
    seed, count = int(words["seed"]), int(words["count"])
    return {
        "words": np.array([lfsr.words(seed, start, count) for start in words["start"].tolist()], np.uint16)
    }


def _norm_forward(config: BatchNormConfig, words: Words, **rows: Any) -> Words:
    batch = config.statistics is Statistics.BATCH
    return (
        batch_norm.forward_batch(config, words) if batch else batch_norm.forward_frozen(config, words, **rows)
    )


def _norm_backward(config: BatchNormConfig, words: Words, **rows: Any) -> Words:
    batch = config.statistics is Statistics.BATCH
    return (
        batch_norm.backward_batch(config, words)
        if batch
        else batch_norm.backward_frozen(config, words, **rows)
    )


def _accumulate(mode: FloatMode, words: Words) -> Words:
    total, taps = words["dys"][0], {}
    for k, dy in enumerate(words["dys"][1:], start=1):
        total = layers.accumulate([total, dy], mode)
        taps[f"sum_{k}"] = total
    return taps | {"dx": total}


def _with_size(function: Callable[..., Words]) -> Judge:
    def run(config: Any, words: Words, **rows: Any) -> Words:
        h, w = (int(size) for size in words["input_hw"])
        return function(config, words, (h, w), **rows)

    return run


JUDGES: dict[str, Judge] = {
    "fp16.add": _unit(fp16.add, "a b"),
    "fp16.sub": _unit(fp16.sub, "a b"),
    "fp16.mul": _unit(fp16.mul, "a b"),
    "fp16.fma": _unit(fp16.fma, "a b c"),
    "fp16.div": _unit(fp16.div, "a b"),
    "fp16.sqrt": _unit(fp16.sqrt, "a"),
    "fp16.from_int32": _unit(fp16.from_int32, "i"),
    "fp16.from_float32": _unit(fp16.from_float32, "x"),
    "fp16.to_float32": _unit(fp16.to_float32, "a", np.uint32),
    "fxp.quantize": _quantize,
    "fxp.quantize_stochastic": _quantize,
    "fxp.dequantize": _dequantize,
    "fxp.pack": _pack,
    "lfsr.words": _lfsr,
    "conv.forward": conv.forward,
    "conv.backward": conv.backward,
    "batch_norm.forward": _norm_forward,
    "batch_norm.backward": _norm_backward,
    "relu.forward": layers.relu_forward,
    "relu.backward": layers.relu_backward,
    "add.forward": layers.add_forward,
    "gradient.accumulate": _accumulate,
    "max_pool.forward": pool.max_forward,
    "max_pool.backward": _with_size(pool.max_backward),
    "avg_pool.forward": pool.avg_forward,
    "avg_pool.backward": _with_size(pool.avg_backward),
    "linear.forward": layers.linear_forward,
    "linear.backward": layers.linear_backward,
}

# those whose oracle takes `rows`; batch statistics need the whole map
BY_ROWS = frozenset(
    (
        "conv.forward",
        "conv.backward",
        "batch_norm.forward",
        "batch_norm.backward",
        "relu.forward",
        "relu.backward",
        "add.forward",
        "max_pool.forward",
        "max_pool.backward",
        "avg_pool.forward",
        "avg_pool.backward",
    )
)
