"""Modules by themselves: residual block and batch statistics, in every numerics, against the oracle's operations;
what they are made of, against the layers and numpy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow.config import AddConfig, BatchNormConfig, ConvConfig, ReluConfig, Statistics
from bitrow.contract import batch_norm as contract_norm
from bitrow.contract import conv as contract_conv
from bitrow.contract import elementwise
from bitrow.formats import Fxp
from bitrow.host import Scales
from bitrow.layers import conv
from bitrow.oracle import fp32
from bitrow.transfer import convolution, ordered
from bitrow.transfer.modules import BatchNorm, ConvOfParams, FrozenBatchNorm, ResidualBlock
from bitrow.transfer.network_module import take_apart
from bitrow.transfer.numerics import Numerics

FLOAT32, SIMULATED, ACCURATE = Numerics.FLOAT32, Numerics.SIMULATED, Numerics.BIT_ACCURATE


def _bits(values) -> np.ndarray:
    values = np.asarray(values)
    return values.view(f"u{values.dtype.itemsize}")


def _words(array, dtype) -> np.ndarray:
    return _bits(np.asarray(array, dtype))


def _run(module, numerics, *xs):
    module.set_attributes(numerics=numerics)
    return jax.jit(take_apart(module).join())(*xs)


class Block:
    """A block of a convolution and a norm, with a shortcut through another norm or none; power-of-two scales."""

    def __init__(self, shortcut: bool) -> None:
        rng = np.random.default_rng(1)
        self.config, norm = ConvConfig(padding=1), BatchNormConfig()
        self.params = conv.make_params(self.config, "c", rng.integers(-8, 8, (3, 3, 2, 2)), Scales(0.5, 0.25, 0.5))
        self.main = np.float32([0.5, -2]), np.float32([0.25, 3])
        self.side = np.float32([-1, 0.25]), np.float32([1, -0.5])
        norms = [FrozenBatchNorm(norm, *map(jnp.asarray, pair)) for pair in (self.main, self.side)]
        self.module = ResidualBlock([ConvOfParams(self.config, self.params), norms[0]], norms[1:] if shortcut else ())
        self.shortcut = shortcut
        self.x = (rng.integers(-24, 24, (2, 4, 5, 2)) / 4).astype(np.float16)

    def oracle(self) -> np.ndarray:
        """The output's words, each layer by the oracle."""
        x, words = _bits(self.x), {name: _bits(getattr(self.params, name)) for name in ("x_inv_scale", "scale")}
        words |= {"x": x, "weight_code": np.asarray(self.params.weight_code)}
        y = contract_conv.FORWARD.oracle(self.config, words)["y"]
        y = self.norm(self.main, y)
        side = self.norm(self.side, x) if self.shortcut else x
        total = elementwise.ADD_FORWARD.oracle(AddConfig(), {"x": y, "shortcut": side})["y"]
        return elementwise.RELU_FORWARD.oracle(ReluConfig(), {"x": total})["y"]

    @staticmethod
    def norm(pair, y: np.ndarray) -> np.ndarray:
        a, b = (_words(value, np.float16) for value in pair)
        return contract_norm.FORWARD_FROZEN.oracle(BatchNormConfig(), {"y": y, "a": a, "b": b})["z"]

    def exact(self) -> np.ndarray:
        """The float32 output f64, where no operation rounds: its terms are few multiples of 1/32."""
        weight = np.asarray(self.params.weight_code, np.float64) * 0.25
        x = self.x.astype(np.float64)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = sum(padded[:, i : i + 4, j : j + 5] @ weight[i, j] for i in range(3) for j in range(3))
        y = y * self.main[0] + self.main[1]
        return np.maximum(y + (x * self.side[0] + self.side[1] if self.shortcut else x), 0)


@pytest.mark.parametrize("shortcut", [False, True], ids=["identity", "norm"])
def test_residual_block(shortcut):
    """SPEC.md A1, A2, B1, C1: relu(main + shortcut), each step by the oracle; float32 where every sum is exact."""
    block = Block(shortcut)
    expected = block.oracle()
    for numerics in (ACCURATE, SIMULATED):
        np.testing.assert_array_equal(_bits(_run(block.module, numerics, block.x)), expected)
    found = _run(block.module, FLOAT32, block.x.astype(np.float32))
    exact = block.exact()
    assert np.array_equal(exact.astype(np.float32).astype(np.float64), exact) and (exact > 0).any()
    np.testing.assert_array_equal(_bits(found), _words(exact, np.float32))


GAMMA, BETA, EPS = np.float32([0.75, -1.5]), np.float32([0.125, 2]), 7.0


def _norm() -> BatchNorm:
    return BatchNorm(BatchNormConfig(Statistics.BATCH), jnp.asarray(GAMMA), jnp.asarray(BETA), EPS)


def test_batch_statistics():
    """SPEC.md B2: z by the oracle, in bit-accurate and in simulated numerics, which has the same arithmetic."""
    y = np.random.default_rng(3).standard_normal((2, 3, 5, 2)).astype(np.float16)
    inputs = {"y": _bits(y), "gamma": _bits(GAMMA), "beta": _bits(BETA), "eps": _words(EPS, np.float32)}
    expected = contract_norm.FORWARD_BATCH.oracle(BatchNormConfig(Statistics.BATCH), inputs)["z"]
    for numerics in (ACCURATE, SIMULATED):
        np.testing.assert_array_equal(_bits(_run(_norm(), numerics, y)), expected)


def test_batch_statistics_in_float32():
    """Values whose mean is 5 or -2 and whose variance is 9: 9 + 7 has an exact root, and nothing rounds."""
    signs = np.random.default_rng(4).permuted(np.repeat([-3.0, 3.0], 16)).reshape(2, 4, 4, 1)
    y = np.concatenate([5 + signs, -2 - signs], axis=3).astype(np.float32)
    found = _run(_norm(), FLOAT32, y)
    root = fp32.sqrt(fp32.add(int(_words(9, np.float32)), int(_words(EPS, np.float32))))
    for channel, mean in enumerate((5, -2)):
        gamma, beta = int(_bits(GAMMA)[channel]), int(_bits(BETA)[channel])
        a = fp32.div(gamma, root)
        b = fp32.sub(beta, fp32.mul(int(_words(mean, np.float32)), a))
        expected = [fp32.add(fp32.mul(word, a), b) for word in _bits(y)[..., channel].ravel().tolist()]
        assert _bits(found)[..., channel].ravel().tolist() == expected


@pytest.mark.parametrize("fmt", [Fxp(bits, signed) for bits in (2, 4, 6, 7, 8) for signed in (True, False)], ids=str)
def test_codes_and_mask_in_one_number(fmt: Fxp) -> None:
    """SPEC.md Q1, Q4: a convolution that trains reads the codes and masks of every FP16 word as the layer does."""
    config = ConvConfig(x_format=fmt)
    params = conv.make_params(config, "conv", np.ones((1, 1, 1, 1), int), Scales(0.25, 1.0, 1.0))
    every = jnp.asarray(np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(1, 256, 256, 1))
    found = jax.jit(lambda x: convolution._quantized(config, params, x))(every)
    for kept, plain in zip(found, conv.quantize_input(config, params, every), strict=True):
        assert kept.dtype == plain.dtype and np.array_equal(kept, plain)


@pytest.mark.parametrize(("c", "r", "columns"), [
    (4, 16, 8), (16, 4, 8), (32, 8, 8), (33, 8, 8), (64, 8, 8), (65, 8, 8), (16, 4, 2), (3, 3, 8),
])  # fmt: skip
def test_a_pointwise_layer_adds_in_order(c: int, r: int, columns: int) -> None:
    """SPEC.md F2: FP32 sums over the inputs one after another, from +0 where over 32, however they are laid out."""
    rng = np.random.default_rng(c * r)
    x = rng.standard_normal((2, 3, columns, c)).astype(np.float16) * np.float16(16)
    weight = rng.standard_normal((c, r)).astype(np.float16)
    x[0, 0, 0] = np.copysign(0, x[0, 0, 0])  # sums of zeros keep their sign, or not
    total = np.zeros((2, 3, columns, r), np.float32)
    for place in range(c):
        term = x[..., place : place + 1].astype(np.float32) * weight[place].astype(np.float32)
        total = term if place == 0 and c <= 32 else total + term
    found = np.asarray(jax.jit(ordered.pointwise)(jnp.asarray(x), jnp.asarray(weight, jnp.float32)))
    assert np.array_equal(found.view(np.uint16), total.astype(np.float16).view(np.uint16))
