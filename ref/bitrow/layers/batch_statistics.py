"""The arithmetic of batch statistics: one pass of row sums, then a few operations a channel (SPEC.md B2 to B4).

The sums over elements run on arrays in the accumulator's format; what follows per channel is a few
operations on vectors, done in `softfloat` so that no compiler can contract or rewrite them.
"""

from __future__ import annotations

from typing import NamedTuple

from jax import Array
from jaxtyping import Float16, Float32, UInt32

from bitrow.config import BatchNormConfig
from bitrow.doors import guard
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, FloatMode
from bitrow.ops import fp16, meshes, reduce, softfloat
from bitrow.ops.dtypes import Sum
from bitrow.ops.once import once
from bitrow.ops.tap import Tap, no_tap


class BatchParams(NamedTuple):
    """The host's parameters of B2."""

    gamma: Float32[Array, "c"]
    beta: Float32[Array, "c"]
    eps: Float32[Array, ""]


class BatchSaved(NamedTuple):
    """What B3 needs of the forward pass: its input and four vectors of accumulator-format words."""

    y: Float16[Array, "n h w c"]
    mean: UInt32[Array, "c"]
    r: UInt32[Array, "c"]
    a: UInt32[Array, "c"]
    a16: Float16[Array, "c"]


class _Channel:
    """Per-channel arithmetic on words of the accumulator format; every result is a tap of its own name."""

    def __init__(self, config: BatchNormConfig, tap: Tap) -> None:
        self.fmt = config.accumulator
        self.fp16_mode = config.mode
        self.mode = accumulator_mode(config)
        self._tap = tap

    def named(self, name: str, bits: Array) -> Array:
        bits = once(bits)  # else XLA fuses the whole chain, each operation's integer code many times over
        self._tap(name, softfloat.from_bits(bits, self.fmt))
        return bits

    def add(self, name: str, a: Array, b: Array) -> Array:
        return self.named(name, softfloat.add(a, b, self.fmt, self.mode))

    def sub(self, name: str, a: Array, b: Array) -> Array:
        return self.named(name, softfloat.sub(a, b, self.fmt, self.mode))

    def mul(self, name: str, a: Array, b: Array) -> Array:
        return self.named(name, softfloat.mul(a, b, self.fmt, self.mode))

    def negate(self, a: Array) -> Array:
        return softfloat.negate(a, self.fmt)

    def host(self, value: Array) -> Array:
        """A float32 host value rounded once, to nearest even, to the accumulator format."""
        return softfloat.convert(softfloat.float32_bits(value), FP32, self.fmt)

    def to_fp16(self, name: str, a: Array) -> Array:
        out = softfloat.bits_float16(softfloat.convert(a, self.fmt, FP16, self.fp16_mode))
        self._tap(name, out)
        return out


def accumulator_mode(config: BatchNormConfig) -> FloatMode:
    """The mode of an FP16 accumulator; FP32 has none (SPEC.md F9)."""
    return config.mode if config.accumulator == FP16 else FloatMode()


def row_sums(
    config: BatchNormConfig, first: Float16[Array, "n h w c"], second: Float16[Array, "n h w c"],
    names: tuple[str, str, str] = ("yy", "r1", "r2"), tap: Tap = no_tap,
) -> tuple[Array, Array]:
    """For each row the sums of `first` and of `first*second` over w, `[n, h, c]`: pairwise trees (SPEC.md B2, B3).

    float32, or float16 with an FP16 accumulator. `names`: of the product and of the two trees.
    """
    if config.accumulator == FP16:
        product = fp16.mul(first, second, config.mode)
    else:
        first, second = fp16.widen(first, config.mode), fp16.widen(second, config.mode)
        product = reduce.canonical_fp32(first * second)
    tap(names[0], product)
    add = reduce.adder(config.accumulator, config.mode)
    return reduce.tree(first, 2, add, tap, names[1]), reduce.tree(product, 2, add, tap, names[2])


def _total(config: BatchNormConfig, rows: Array, name: str, tap: Tap) -> UInt32[Array, "c"]:
    """Words of the sum of rows `[n, h, c]`, one after another, n outer and h inner (SPEC.md B2)."""
    add = reduce.adder(config.accumulator, config.mode)
    out = reduce.running(meshes.gathered(rows).reshape(-1, rows.shape[-1]), add, tap, name)
    tap(name, out)
    return softfloat.to_bits(out, config.accumulator)


def _check_count(count: int) -> None:
    if count < 1:
        raise BitrowError(f"batch norm: found {count} elements a channel, expected 1 or more for their mean")


class BatchStatistics(NamedTuple):
    """What B2 makes of the row sums: accumulator-format words, and the coefficients rounded to FP16."""

    mean: UInt32[Array, "c"]
    r: UInt32[Array, "c"]
    a: UInt32[Array, "c"]
    a16: Float16[Array, "c"]
    b16: Float16[Array, "c"]


def statistics(
    config: BatchNormConfig, params: BatchParams, r1: Sum[Array, "n h c"], r2: Sum[Array, "n h c"], count: int,
    tap: Tap = no_tap,
) -> BatchStatistics:
    """Mean, 1/std and coefficients from the row sums `[n, h, c]` of `count` elements a channel (SPEC.md B2)."""
    _check_count(count)
    do = _Channel(config, tap)
    s1, s2 = _total(config, r1, "s1", tap), _total(config, r2, "s2", tap)
    m = do.named("m", softfloat.from_ratio(1, count, do.fmt))
    mean = do.mul("mean", s1, m)
    s2m = do.mul("s2m", s2, m)
    mean_sq = do.mul("mean_sq", mean, mean)
    var_raw = do.sub("var_raw", s2m, mean_sq)
    var = do.named("var", softfloat.positive_part(var_raw, do.fmt))
    var_eps = do.add("var_eps", var, do.host(params.eps))
    std = do.named("std", softfloat.sqrt(var_eps, do.fmt, do.mode))
    one = softfloat.from_ratio(1, 1, do.fmt)
    r = do.named("r", softfloat.div(one, std, do.fmt, do.mode))
    a = do.mul("a", do.host(params.gamma), r)
    mean_a = do.mul("mean_a", mean, a)
    b = do.sub("b", do.host(params.beta), mean_a)
    return BatchStatistics(mean, r, a, do.to_fp16("a16", a), do.to_fp16("b16", b))


class BatchGradient(NamedTuple):
    """What B3 makes of the row sums: p and q rounded to FP16; dgamma and dbeta as accumulator-format arrays."""

    p16: Float16[Array, "c"]
    q16: Float16[Array, "c"]
    dgamma: Array
    dbeta: Array


def gradient(
    config: BatchNormConfig, found: BatchStatistics | BatchSaved, t1: Sum[Array, "n h c"], t2: Sum[Array, "n h c"],
    count: int, tap: Tap = no_tap,
) -> BatchGradient:
    """p, q, dgamma, dbeta from the row sums `[n, h, c]` of dz and dz*y (SPEC.md B3, B4)."""
    _check_count(count)
    do = _Channel(config, tap)
    mean, r, a = found.mean, found.r, found.a
    t1, t2 = _total(config, t1, "t1", tap), _total(config, t2, "t2", tap)
    m = do.named("m", softfloat.from_ratio(1, count, do.fmt))
    mean_t1 = do.mul("mean_t1", mean, t1)
    centered = do.sub("centered", t2, mean_t1)
    dgamma = do.mul("dgamma", r, centered)
    dbeta = do.named("dbeta", t1)
    ar = do.mul("ar", a, r)
    ar_dgamma = do.mul("ar_dgamma", ar, dgamma)
    p = do.mul("p", do.negate(ar_dgamma), m)
    at1 = do.mul("at1", a, t1)
    at1_m = do.mul("at1_m", do.negate(at1), m)
    p_mean = do.mul("p_mean", p, mean)
    q = do.sub("q", at1_m, p_mean)
    dgamma, dbeta = softfloat.from_bits(dgamma, do.fmt), softfloat.from_bits(dbeta, do.fmt)
    return BatchGradient(do.to_fp16("p16", p), do.to_fp16("q16", q), dgamma, dbeta)


def gradient_rows(
    config: BatchNormConfig, a16: Float16[Array, "c"], p16: Float16[Array, "c"], q16: Float16[Array, "c"],
    dz: Float16[Array, "n h w c"], y: Float16[Array, "n h w c"], tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """dy of each element once p and q are known (SPEC.md B3). Taps adz, py, adz_py, dy."""
    adz = fp16.mul(a16, dz, config.mode)
    py = fp16.mul(p16, y, config.mode)
    adz_py = fp16.add(adz, py, config.mode)
    dy = fp16.add(adz_py, q16, config.mode)
    for name, value in (("adz", adz), ("py", py), ("adz_py", adz_py), ("dy", dy)):
        tap(name, value)
    return dy


guard(__name__)
