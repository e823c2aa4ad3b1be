"""What XLA does to innocent expressions, and that the kernels are safe from it: bits against numpy, inside one jit.

Each test runs the fused program that the trap needs; the judge is numpy's float16 or an exact rational.
"""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bitrow
from bitrow import host
from bitrow.config import AvgPoolConfig, BatchNormConfig, ConvConfig, Statistics
from bitrow.formats import FP16, FP32, FXP8, Accumulator, Float, Gradient
from bitrow.host import Scales
from bitrow.layers import batch_norm, conv, pool
from bitrow.ops import fp16, fxp, half_casts, reduce, softfloat

fp = bitrow.fp16
RNG = np.random.default_rng(7)


def random_fp16(count: int) -> np.ndarray:
    """Finite float16 of every exponent."""
    words = RNG.integers(0, 1 << 16, count).astype(np.uint16)
    words[(words & 0x7C00) == 0x7C00] &= 0xBFFF
    return words.view(np.float16)


def same(found: object, expected: np.ndarray) -> None:
    """Equal words, every NaN being canonical on the right."""
    words = np.asarray(expected).view(np.uint16).copy()
    words[(words & 0x7FFF) > 0x7C00] = 0x7E00
    np.testing.assert_array_equal(np.asarray(found).view(np.uint16), words)


def test_subnormals_survive_rounding() -> None:
    """reduce_precision flushes them; SPEC.md F5 keeps all 2,046, and every tie between them."""
    halves = np.arange(0, 4096) * 2.0**-25  # subnormals, the ties between them, and the first normals
    x = np.concatenate([halves, -halves]).astype(np.float32)
    same(jax.jit(fp16.round_once)(x), x.astype(np.float16))
    same(jax.jit(fp.from_float32)(x), x.astype(np.float16))


def test_integer_casts_agree_with_numpy() -> None:
    """Backends without float16 casts take the integer way, which is the same bits (SPEC.md F1, F3, F9)."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide = np.asarray(jax.jit(half_casts.widen_by_integers)(every))
    np.testing.assert_array_equal(np.isnan(wide), np.isnan(every))
    number = ~np.isnan(every)
    np.testing.assert_array_equal(wide[number].view(np.uint32), every[number].astype(np.float32).view(np.uint32))
    words = RNG.integers(0, 1 << 32, 1 << 20, dtype=np.uint32)
    words[: 1 << 18] &= 0xFFFFF000  # ties and exact values
    words[1 << 18 : 1 << 19] = words[1 << 18 : 1 << 19] & 0x87FFFFFF | 0x30000000  # about FP16's subnormals
    value = words.view(np.float32)
    with np.errstate(all="ignore"):
        same(jax.jit(half_casts.narrow_by_integers)(value), value.astype(np.float16))


def test_product_and_sum_are_not_contracted() -> None:
    """a*b + c in one jit is two roundings unless the clause says fma (SPEC.md F2)."""
    a, b, c = (random_fp16(1 << 18) for _ in range(3))
    with np.errstate(all="ignore"):
        same(jax.jit(lambda a, b, c: fp.add(fp.mul(a, b), c))(a, b, c), a * b + c)


def test_fma_rounds_once() -> None:
    """float32 a*b + c, then FP16, rounds twice; the exact sum decides (SPEC.md F2)."""
    a, b, c = (random_fp16(1 << 16) for _ in range(3))
    near = RNG.integers(-2, 3, 1 << 15)  # products and addends that nearly tie
    c[: 1 << 15] = (a[: 1 << 15].astype(np.float32) * b[: 1 << 15]).clip(-30000, 30000).astype(np.float16) * near
    found = np.asarray(jax.jit(fp.fma)(a, b, c))
    with np.errstate(all="ignore"):
        exact = a.astype(np.longdouble) * b.astype(np.longdouble) + c.astype(np.longdouble)
        # 64 bits of longdouble hold every sum here whose exponents lie within 40 of each other.
        spread = np.abs(np.log2(np.abs(a.astype(float) * b)) - np.log2(np.abs(c.astype(float))))
        usable = np.isfinite(spread) & (spread < 40)
        expected = to_nearest_half(exact[usable])
    assert usable.sum() > 40_000
    same(found[usable], expected)


def to_nearest_half(values: np.ndarray) -> np.ndarray:
    """longdouble to float16 in one rounding: to float64 by rounding to odd, then numpy's correct cast."""
    near = values.astype(np.float64)
    inexact = near.astype(np.longdouble) != values
    toward = np.where(near.astype(np.longdouble) < values, np.inf, -np.inf)
    odd = (near.view(np.uint64) & 1) == 1
    near = np.where(inexact & ~odd, np.nextafter(near, toward), near)
    return near.astype(np.float16)


def test_cast_pair_is_not_deleted() -> None:
    """float32 to float16 and back rounds, though XLA may keep excess precision (SPEC.md F2)."""
    x = RNG.normal(size=1 << 16).astype(np.float32)
    found = jax.jit(lambda x: fp16.widen(fp16.round_once(x)) * jnp.float32(3))(x)
    expected = x.astype(np.float16).astype(np.float32) * np.float32(3)
    np.testing.assert_array_equal(np.asarray(found).view(np.uint32), expected.view(np.uint32))


def test_division_and_root_are_not_rewritten() -> None:
    """x / constant, x / per-channel and 1/sqrt(x) keep two correct roundings (SPEC.md F2)."""
    x = np.abs(random_fp16(1 << 16)) + np.float16(2**-24)
    channel = np.abs(random_fp16(64)) + np.float16(2**-24)
    with np.errstate(all="ignore"):
        same(jax.jit(lambda x: fp.div(x, jnp.float16(3)))(x), x / np.float16(3))
        rows = x.reshape(-1, 64)
        same(jax.jit(lambda x, c: fp.div(x, c[None]))(rows, channel), rows / channel)
        same(jax.jit(lambda x: fp.div(jnp.float16(1), fp.sqrt(x)))(x), np.float16(1) / np.sqrt(x))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_fp32_keeps_subnormals(name: str) -> None:
    """XLA flushes float32 subnormals; the per-channel arithmetic keeps them (SPEC.md F9)."""
    a, b = (RNG.integers(0, 1 << 32, 1 << 16, dtype=np.uint32) & 0x81FFFFFF for _ in range(2))
    if name == "mul":
        b = (b & 0x807FFFFF) | 0x3F000000
    found = np.asarray(jax.jit(getattr(softfloat, name), static_argnums=2)(a, b, FP32))
    with np.errstate(all="ignore"):
        judge = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[name]
        expected = judge(a.view(np.float32), b.view(np.float32)).view(np.uint32)
    expected = np.where((expected & 0x7FFFFFFF) > 0x7F800000, 0x7FC00000, expected)
    np.testing.assert_array_equal(found, expected)


def test_fold_rounds_binary64_to_fp16_once() -> None:
    """1 + 2^-11 + 2^-30 is 0x3c01, not the 0x3c00 that a detour through float32 gives (SPEC.md B1)."""
    value = 1 + 2.0**-11 + 2.0**-30
    assert np.float16(host.nearest_fp16(value)).view(np.uint16) == 0x3C01
    assert np.float32(value).astype(np.float16).view(np.uint16) == 0x3C00


@pytest.mark.parametrize(("fmt", "dtype"), [(FP16, np.float16), (FP32, np.float32)])
def test_reduction_order_is_declared(fmt: Float, dtype: type) -> None:
    """A pairwise tree over w, then rows in order (SPEC.md B2), whatever jnp.sum would do."""
    x = RNG.normal(size=(6, 5, 3)).astype(dtype)
    add = reduce.adder(fmt, BatchNormConfig().mode)
    found = jax.jit(lambda x: reduce.running(reduce.tree(x, 1, add), add))(x)
    padded = np.concatenate([x, np.zeros((6, 3, 3), dtype)], axis=1)
    rows = padded
    while rows.shape[1] > 1:
        rows = rows[:, 0::2] + rows[:, 1::2]
    total = np.zeros((3,), dtype)
    for row in rows[:, 0]:
        total = total + row
    assert np.asarray(found).tobytes() == total.tobytes()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_adding_zero_is_not_dropped(size: int) -> None:
    """XLA rewrites 0 + x to x; a sum that begins at +0, or is padded with it, turns -0 into +0 (SPEC.md A3, B2, C3)."""
    x = jnp.full((1, size, size, 2), -0.0, jnp.float16)
    pooled = jax.jit(lambda x: pool.avg_forward(AvgPoolConfig(), x))(x)
    assert not np.asarray(pooled).view(np.uint16).any()
    add = reduce.adder(FP16, BatchNormConfig().mode)
    total = jax.jit(lambda x: reduce.running(reduce.tree(x[0], 1, add), add))(x)
    assert not np.asarray(total).view(np.uint16).any()
    config = ConvConfig(gradient=Gradient.FP16)
    params = conv.make_params(config, "conv", np.full((1, 1, 2, 1), -1), Scales(1.0, 1.0, 1.0))
    ones, zero = jnp.ones((1, size, size, 2), bool), jnp.zeros((1, size, size, 1), jnp.float16)
    dx = jax.jit(lambda dy: conv.backward(config, params, ones, dy))(zero)
    assert not np.asarray(dx).view(np.uint16).any()


def test_int8_products_do_not_wrap_or_saturate() -> None:
    """-128 * -128, summed in pairs and quads, is past what int8 and int16 lanes hold (SPEC.md M1)."""
    wide = Accumulator(bits=28)
    config = ConvConfig(x_format=FXP8, weight_format=FXP8, dy_format=FXP8, padding=1, accumulator=wide)
    codes = np.full((3, 3, 64, 8), -128)
    params = conv.make_params(config, "conv", codes, Scales(1.0, 2.0**-13, 1.0))
    taps: dict[str, jax.Array] = {}
    x = jnp.full((1, 4, 4, 64), -128, jnp.float16)
    conv.forward(config, params, x, taps.__setitem__)
    assert int(np.asarray(taps["acc"])[0, 1, 1, 0]) == 128 * 128 * 9 * 64


def test_autodiff_takes_the_written_backward() -> None:
    """jax.vjp of a layer returns its own backward pass, word for word (SPEC.md B3, C2)."""
    y, dz = (jnp.asarray(RNG.normal(size=(2, 4, 5, 3)), jnp.float16) for _ in range(2))
    config = BatchNormConfig(Statistics.BATCH)
    params = batch_norm.BatchParams(jnp.ones(3), jnp.zeros(3), jnp.float32(1e-5))

    @jax.jit
    def written(params, y, dz):
        return batch_norm.backward_batch(config, batch_norm.forward_batch(config, params, y)[1], dz)

    @jax.jit
    def derived(params, y, dz):
        return jax.vjp(lambda p, y: batch_norm.apply_batch(config, p, y), params, y)[1](dz)

    dy, dgamma, dbeta = written(params, y, dz)
    grads, through = derived(params, y, dz)
    same(through, np.asarray(dy))
    assert np.asarray(grads.gamma).tobytes() == np.asarray(dgamma).tobytes()
    assert np.asarray(grads.beta).tobytes() == np.asarray(dbeta).tobytes()


def test_nan_and_infinity_are_decided_before_casts() -> None:
    """A NaN gives code 0 and mask 0, infinities clip (SPEC.md Q2, Q4)."""
    x = np.array([np.nan, np.inf, -np.inf, -np.nan], np.float16)
    code, mask = jax.jit(lambda x: fxp.quantize(x, jnp.float16(1), FXP8))(x)
    assert np.asarray(code).tolist() == [0, 127, -128, 0]
    assert not np.asarray(mask).any()


def test_rows_do_not_depend_on_the_batch() -> None:
    """One image alone, in a batch, and under vmap: the same words (SPEC.md C1, B1)."""
    config = ConvConfig(padding=1)
    params = conv.make_params(config, "conv", RNG.integers(-8, 8, (3, 3, 4, 4)), Scales(0.25, 0.3125, 0.5))
    x = jnp.asarray(RNG.normal(size=(5, 6, 7, 4)), jnp.float16)
    whole = np.asarray(jax.jit(lambda x: conv.forward(config, params, x)[0])(x))
    single = jax.jit(lambda x: conv.forward(config, params, x[None])[0][0])
    same(np.stack([single(image) for image in x]), whole)
    same(jax.jit(jax.vmap(lambda x: conv.forward(config, params, x[None])[0][0]))(x), whole)


def test_exact_fractions_back_the_dequantizer() -> None:
    """A 24-bit accumulator times an 11-bit scale is 35 bits; float32 is not enough (SPEC.md D1)."""
    acc = RNG.integers(-(2**23), 2**23, 2000).astype(np.int32)
    scale = np.float16(0.3331)
    found = np.asarray(jax.jit(lambda a: fxp.dequantize(a, jnp.float16(scale), 2**23))(acc), np.float64)
    step = [Fraction(float(np.spacing(np.float16(v)))) if np.isfinite(v) else None for v in found]
    for a, y, ulp in zip(acc, found, step, strict=True):
        exact = int(a) * Fraction(float(scale))
        if ulp is None:
            assert abs(exact) >= 65520
        else:
            assert abs(Fraction(y) - exact) <= ulp / 2
