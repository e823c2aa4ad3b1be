"""Batch normalization, frozen and with batch statistics (SPEC.md B)."""

from __future__ import annotations

import functools

import numpy as np

from bitrow.config import BatchNormConfig, Statistics
from bitrow.contract.operation import Config, Given, Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES
from bitrow.errors import BitrowError
from bitrow.formats import FP16, Float
from bitrow.oracle import fp32, softfloat
from bitrow.oracle.arrays import Words
from bitrow.oracle.softfloat import NumberKind

_BINARY64 = Float(11, 52)
_ROWS = "tree over w of adjacent pairs padded with +0, then rows one after another, n outer, h inner"


def _frozen(config: BatchNormConfig) -> bool:
    return config.statistics is Statistics.FROZEN


def _batch(config: BatchNormConfig) -> bool:
    return config.statistics is Statistics.BATCH


def _clauses(config: BatchNormConfig, *own: str) -> tuple[str, ...]:
    wide = () if config.accumulator == FP16 else ("F9", "F10")
    return (*FP16_CLAUSES, *wide, *own, "T1", "T2")


def _fused(config: Config, given: Given) -> dict[str, bool]:
    return {"fma": config.fma}


def _count(config: Config, given: Given) -> int:
    """M: elements of a channel (B)."""
    n, h, w, _ = given["y"].shape
    return n * h * w


FORWARD_FROZEN = Operation(
    "batch_norm.forward",
    Program("B1 forward", """
        in  y  : 16, n h w c
        par a  : 16, c
        par b  : 16, c
            ay : 16, n h w c = mul a y   if not fma
        out z  : 16, n h w c = add ay b  if not fma
        out z  : 16, n h w c = fma a y b if fma
    """),
    BatchNormConfig,
    lambda config: (*FP16_CLAUSES, "B1", "T1"),
    conditions=_fused, by_rows=True, when=_frozen,
)  # fmt: skip

BACKWARD_FROZEN = Operation(
    "batch_norm.backward",
    Program("B1 backward", """
        in  dz : 16, n h w c
        par a  : 16, c
        out dy : 16, n h w c = mul a dz
    """),
    BatchNormConfig,
    lambda config: (*FP16_CLAUSES, "B1", "T1"),
    by_rows=True, when=_frozen,
)  # fmt: skip

FORWARD_BATCH = Operation(
    "batch_norm.forward",
    Program("B2", """
        in  y          : 16, n h w c
        par gamma      : host, c
        par beta       : host, c
        par eps        : host
            yy         : acc, n h w c       = mul y y
            r1_level   : acc, n h w_level c = tree y
            r2_level   : acc, n h w_level c = tree yy
            s1_running : acc, row c         = running r1_level
            s2_running : acc, row c         = running r2_level
            s1         : acc, c             = last s1_running
            s2         : acc, c             = last s2_running
            m          : acc                = reciprocal
            mean       : acc, c             = mul s1 m
            s2m        : acc, c             = mul s2 m
            mean_sq    : acc, c             = mul mean mean
            var_raw    : acc, c             = sub s2m mean_sq
            var        : acc, c             = positive var_raw
            var_eps    : acc, c             = add var eps
            std        : acc, c             = sqrt var_eps
            r          : acc, c             = div 1 std
            a          : acc, c             = mul gamma r
            mean_a     : acc, c             = mul mean a
            b          : acc, c             = sub beta mean_a
            a16        : 16, c              = convert a
            b16        : 16, c              = convert b
            ay         : 16, n h w c        = mul a16 y     if not fma
        out z          : 16, n h w c        = add ay b16    if not fma
        out z          : 16, n h w c        = fma a16 y b16 if fma
    """),
    BatchNormConfig,
    lambda config: _clauses(config, "B2"),
    order=lambda config: _ROWS, conditions=_fused, count=_count, when=_batch,
)  # fmt: skip

BACKWARD_BATCH = Operation(
    "batch_norm.backward",
    Program("B3", """
        in  dz         : 16, n h w c
        kept y         : 16, n h w c
        kept mean      : acc, c
        kept r         : acc, c
        kept a         : acc, c
        kept a16       : 16, c
            dzy        : acc, n h w c       = mul dz y
            t1_level   : acc, n h w_level c = tree dz
            t2_level   : acc, n h w_level c = tree dzy
            t1_running : acc, row c         = running t1_level
            t2_running : acc, row c         = running t2_level
            t1         : acc, c             = last t1_running
            t2         : acc, c             = last t2_running
            m          : acc                = reciprocal
            mean_t1    : acc, c             = mul mean t1
            centered   : acc, c             = sub t2 mean_t1
        out dgamma     : acc, c             = mul r centered
        out dbeta      : acc, c             = copy t1
            ar         : acc, c             = mul a r
            ar_dgamma  : acc, c             = mul ar dgamma
            p          : acc, c             = negmul ar_dgamma m
            at1        : acc, c             = mul a t1
            at1_m      : acc, c             = negmul at1 m
            p_mean     : acc, c             = mul p mean
            q          : acc, c             = sub at1_m p_mean
            p16        : 16, c              = convert p
            q16        : 16, c              = convert q
            adz        : 16, n h w c        = mul a16 dz
            py         : 16, n h w c        = mul p16 y
            adz_py     : 16, n h w c        = add adz py
        out dy         : 16, n h w c        = add adz_py q16
    """),
    BatchNormConfig,
    lambda config: _clauses(config, "B3", "B4"),
    order=lambda config: _ROWS, count=_count, when=_batch,
)  # fmt: skip

BATCH_NORM = (FORWARD_FROZEN, BACKWARD_FROZEN, FORWARD_BATCH, BACKWARD_BATCH)


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
        if any(softfloat.unpack(FP16, word).kind is not NumberKind.FINITE for word in words):
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
