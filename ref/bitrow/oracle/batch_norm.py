"""Batch normalization, frozen and with batch statistics, one scalar at a time (SPEC.md B).

Inputs and results are dicts of integer bit arrays (uint16 for FP16, uint32 for FP32); taps bear SPEC.md's
names. Statistics are words of the accumulator format.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np

from bitrow.config import BatchNormConfig
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, Float, FloatMode
from bitrow.oracle import fp16, fp32, softfloat
from bitrow.oracle.arrays import Row, Words, chosen_rows, lead, map_words, need, take
from bitrow.oracle.reduce import Arithmetic, running, tree
from bitrow.oracle.softfloat import Kind

_BINARY64 = Float(11, 52)


def fold(
    layer: str, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: int
) -> Words:
    """The host's fold of B1: FP32 patterns `[c]` and eps in, FP16 a and b `[c]` out.

    Raises:
        BitrowError: naming `layer`, a fold that is not finite.
    """
    columns = zip(gamma.tolist(), beta.tolist(), mean.tolist(), var.tolist(), strict=True)
    folded = [_fold_channel(g, offset, mu, v, int(eps)) for g, offset, mu, v in columns]
    for channel, words in enumerate(folded):
        if any(softfloat.unpack(FP16, word).kind is not Kind.FINITE for word in words):
            found = ", ".join(f"{word:04x}" for word in words)
            raise BitrowError(f"{layer}: found a, b = {found} in channel {channel}, expected a finite fold")
    return {
        "a": np.array([a for a, _ in folded], np.uint16),
        "b": np.array([b for _, b in folded], np.uint16),
    }


def _fold_channel(gamma: int, beta: int, mean: int, var: int, eps: int) -> tuple[int, int]:
    """a and b of one channel, through binary64 (B1)."""
    read = functools.partial(softfloat.unpack, _BINARY64)
    std = softfloat.sqrt(_BINARY64, read(softfloat.add(_BINARY64, fp32.read(var), fp32.read(eps))))
    a64 = read(softfloat.div(_BINARY64, fp32.read(gamma), read(std)))
    product = read(softfloat.mul(_BINARY64, fp32.read(mean), a64))
    negated = product._replace(sign=1 - product.sign)
    b64 = read(softfloat.add(_BINARY64, fp32.read(beta), negated))
    return softfloat.round_number(FP16, a64), softfloat.round_number(FP16, b64)


def _affine(config: BatchNormConfig, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> Words:
    """ay and z, or z alone under `fma` (B1)."""
    mode = config.mode
    if config.fma:
        return {"z": map_words(lambda ai, yi, bi: fp16.fma(ai, yi, bi, mode), np.uint16, a, y, b)}
    ay = map_words(functools.partial(fp16.mul, mode=mode), np.uint16, a, y)
    return {"ay": ay, "z": map_words(functools.partial(fp16.add, mode=mode), np.uint16, ay, b)}


def _shaped(taps: Words, shape: tuple[int, ...]) -> Words:
    return {name: tap.reshape(*shape, *tap.shape[1:]) for name, tap in taps.items()}


def forward_frozen(config: BatchNormConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """Forward pass with frozen statistics (B1).

    Args:
        config: the layer.
        inputs: y uint16 `[n, h, w, c]`, a and b uint16 `[c]`.
        rows: the rows wanted, all where None.

    Returns:
        ay (not under `fma`) and z `[n, h, w, c]`, or `[rows, w, c]`.
    """
    rows = None if rows is None else list(rows)
    y, a, b = need(inputs, "y", "a", "b")
    taps = _affine(config, take(y, chosen_rows(rows, *y.shape[:2])), a, b)
    return _shaped(taps, lead(rows, *y.shape[:2]))


def backward_frozen(config: BatchNormConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """Input gradient with frozen statistics (B1): dz uint16 `[n, h, w, c]` and a `[c]` in, dy out."""
    rows = None if rows is None else list(rows)
    dz, a = need(inputs, "dz", "a")
    wanted = take(dz, chosen_rows(rows, *dz.shape[:2]))
    dy = map_words(functools.partial(fp16.mul, mode=config.mode), np.uint16, a, wanted)
    return _shaped({"dy": dy}, lead(rows, *dz.shape[:2]))


def _arithmetic(config: BatchNormConfig) -> Arithmetic:
    return Arithmetic(FP16, config.mode) if config.accumulator == FP16 else Arithmetic(FP32)


def _products(acc: Arithmetic, x: np.ndarray, y: np.ndarray, mode: FloatMode) -> np.ndarray:
    """Elementwise products of FP16 words, rounded to the accumulator format (B2)."""
    return map_words(
        lambda a, b: softfloat.mul(acc.fmt, fp16.read(a, mode), fp16.read(b, mode), acc.mode), acc.dtype, x, y
    )


def _row_sums(acc: Arithmetic, row_name: str, name: str, leaves: np.ndarray) -> Words:
    """Level taps of each row's tree, the running sum over rows, and the sum `[c]` (B2, T2)."""
    levels, row_sums = tree(acc, leaves, axis=2)
    taps = {f"{row_name}_level{i}": level for i, level in enumerate(levels, start=1)}
    sums = running(acc, row_sums.reshape(-1, leaves.shape[3]))
    return taps | {f"{name}_running": sums, name: sums[-1]}


def forward_batch(config: BatchNormConfig, inputs: Words) -> Words:
    """Forward pass with batch statistics (B2).

    Args:
        config: the layer.
        inputs: y uint16 `[n, h, w, c]`; gamma and beta `[c]` and eps `[]`, uint32 FP32 patterns.

    Returns:
        yy, r1_level*, r2_level* `[n, h, w, c]` with w halved; s1_running, s2_running `[n*h, c]`; s1, s2,
        mean, s2m, mean_sq, var_raw, var, var_eps, std, r, a, mean_a, b `[c]` and m `[]`, in the accumulator
        format; a16, b16 `[c]`, ay (not under `fma`) and z `[n, h, w, c]`, FP16.
    """
    y, gamma, beta, eps = need(inputs, "y", "gamma", "beta", "eps")
    acc = _arithmetic(config)
    widened = acc.widen(y, config.mode)
    taps: Words = {"yy": _products(acc, y, y, config.mode)}
    taps |= _row_sums(acc, "r1", "s1", widened)
    taps |= _row_sums(acc, "r2", "s2", taps["yy"])
    m = acc.reciprocal(_count(y.shape))
    taps["m"] = np.array(m, acc.dtype)
    columns = zip(taps["s1"].tolist(), taps["s2"].tolist(), gamma.tolist(), beta.tolist(), strict=True)
    taps |= _columns(
        acc,
        [_channel_forward(acc, config.mode, s1, s2, g, offset, int(eps), m) for s1, s2, g, offset in columns],
    )
    return taps | _affine(config, y, taps["a16"], taps["b16"])


def _count(shape: tuple[int, ...]) -> int:
    """M: elements of a channel (B)."""
    return shape[0] * shape[1] * shape[2]


def _columns(acc: Arithmetic, channels: list[dict[str, int]]) -> Words:
    """Taps of single channels as arrays `[c]`; names that end in 16 are FP16."""
    return {
        name: np.array([values[name] for values in channels], np.uint16 if name.endswith("16") else acc.dtype)
        for name in channels[0]
    }


def _channel_forward(
    acc: Arithmetic, mode: FloatMode, s1: int, s2: int, gamma: int, beta: int, eps: int, m: int
) -> dict[str, int]:
    """B2's named intermediates of one channel; gamma, beta, eps are FP32 patterns of the host."""
    t: dict[str, int] = {}
    t["mean"] = acc.mul(s1, m)
    t["s2m"] = acc.mul(s2, m)
    t["mean_sq"] = acc.mul(t["mean"], t["mean"])
    t["var_raw"] = acc.sub(t["s2m"], t["mean_sq"])
    t["var"] = acc.positive_part(t["var_raw"])
    t["var_eps"] = acc.add(t["var"], acc.host_value(eps))
    t["std"] = acc.sqrt(t["var_eps"])
    t["r"] = acc.div(acc.one, t["std"])
    t["a"] = acc.mul(acc.host_value(gamma), t["r"])
    t["mean_a"] = acc.mul(t["mean"], t["a"])
    t["b"] = acc.sub(acc.host_value(beta), t["mean_a"])
    t["a16"] = acc.to_fp16(t["a"], mode)
    t["b16"] = acc.to_fp16(t["b"], mode)
    return t


def backward_batch(config: BatchNormConfig, inputs: Words) -> Words:
    """Backward pass with batch statistics (B3), dgamma and dbeta formed whether used or not (B4).

    Args:
        config: the layer.
        inputs: dz and y uint16 `[n, h, w, c]`; mean, r, a `[c]` in the accumulator format and a16 uint16
            `[c]`, as `forward_batch` tapped them.

    Returns:
        dzy, t1_level*, t2_level* `[n, h, w, c]` with w halved; t1_running, t2_running `[n*h, c]`; t1, t2,
        mean_t1, centered, dgamma, dbeta, ar, ar_dgamma, p, at1, at1_m, p_mean, q `[c]` and m `[]`, in the
        accumulator format; p16, q16 `[c]`, adz, py, adz_py, dy `[n, h, w, c]`, FP16.
    """
    dz, y, mean, r, a, a16 = need(inputs, "dz", "y", "mean", "r", "a", "a16")
    acc, mode = _arithmetic(config), config.mode
    taps: Words = {"dzy": _products(acc, dz, y, mode)}
    taps |= _row_sums(acc, "t1", "t1", acc.widen(dz, mode))
    taps |= _row_sums(acc, "t2", "t2", taps["dzy"])
    m = acc.reciprocal(_count(y.shape))
    taps["m"] = np.array(m, acc.dtype)
    saved = zip(mean.tolist(), r.tolist(), a.tolist(), strict=True)
    columns = zip(taps["t1"].tolist(), taps["t2"].tolist(), saved, strict=True)
    taps |= _columns(acc, [_channel_backward(acc, mode, t1, t2, *channel, m) for t1, t2, channel in columns])
    mul, add = functools.partial(fp16.mul, mode=mode), functools.partial(fp16.add, mode=mode)
    taps["adz"] = map_words(mul, np.uint16, a16, dz)
    taps["py"] = map_words(mul, np.uint16, taps["p16"], y)
    taps["adz_py"] = map_words(add, np.uint16, taps["adz"], taps["py"])
    taps["dy"] = map_words(add, np.uint16, taps["adz_py"], taps["q16"])
    return taps


def _channel_backward(
    acc: Arithmetic, mode: FloatMode, t1: int, t2: int, mean: int, r: int, a: int, m: int
) -> dict[str, int]:
    """B3's named intermediates of one channel."""
    t: dict[str, int] = {}
    t["mean_t1"] = acc.mul(mean, t1)
    t["centered"] = acc.sub(t2, t["mean_t1"])
    t["dgamma"] = acc.mul(r, t["centered"])
    t["dbeta"] = t1
    t["ar"] = acc.mul(a, r)
    t["ar_dgamma"] = acc.mul(t["ar"], t["dgamma"])
    t["p"] = acc.mul(acc.negate(t["ar_dgamma"]), m)
    t["at1"] = acc.mul(a, t1)
    t["at1_m"] = acc.mul(acc.negate(t["at1"]), m)
    t["p_mean"] = acc.mul(t["p"], mean)
    t["q"] = acc.sub(t["at1_m"], t["p_mean"])
    t["p16"] = acc.to_fp16(t["p"], mode)
    t["q16"] = acc.to_fp16(t["q"], mode)
    return t
