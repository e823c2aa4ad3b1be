"""The oracle's batch norm, judged step by step by numpy (or judged FP16 words) and against plain formulas."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from bitrow.config import BatchNormConfig, Statistics
from bitrow.contract import batch_norm
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, FloatMode, Overflow, Rounding
from bitrow.oracle import fp16, softfloat
from oracle_rows import sample

SHAPES = [(2, 3, 5, 3), (1, 4, 1, 2), (1, 1, 8, 2), (2, 2, 7, 1), (1, 1, 1, 1)]
MODES = [
    FloatMode(),
    FloatMode(Rounding.UP, Overflow.SATURATE, True),
    FloatMode(Rounding.TOWARD_ZERO, flush=True),
]


def words16(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float16).view(np.uint16)


def words32(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32).view(np.uint32)


def flushed(y: np.ndarray, mode: FloatMode) -> np.ndarray:
    """FP16 words with subnormals as signed zeros, where the mode flushes."""
    return np.where((y & 0x7C00 == 0) & mode.flush, y & 0x8000, y).astype(np.uint16)


class Numpy:
    """A judge that computes in a numpy float type, which rounds each operation to nearest even."""

    def __init__(self, dtype, mode: FloatMode):
        self.dtype, self.mode = dtype, mode
        self.word = np.dtype(f"u{np.dtype(dtype).itemsize}")

    def enter16(self, y):
        return flushed(y, self.mode).view(np.float16).astype(self.dtype)

    def enter32(self, host):
        return host.view(np.float32).astype(self.dtype)

    def fraction(self, value: Fraction):
        return self.dtype(np.float64(value.numerator) / np.float64(value.denominator))

    def words(self, values):
        values = np.asarray(values, self.dtype)
        nan = self.word.type(0x7E00 if self.word.itemsize == 2 else 0x7FC00000)
        return np.where(np.isnan(values), nan, values.view(self.word))

    add = staticmethod(lambda a, b: a + b)
    mul = staticmethod(lambda a, b: a * b)
    sub = staticmethod(lambda a, b: a - b)
    div = staticmethod(lambda a, b: a / b)
    sqrt = staticmethod(np.sqrt)
    neg = staticmethod(np.negative)

    def positive(self, a):
        return np.where(np.isnan(a), a, np.where(a > 0, a, self.dtype(0)))

    def zero(self, shape):
        return np.zeros(shape, self.dtype)

    def one(self):
        return self.dtype(1)

    def to_fp16(self, a, mode):
        return np.vectorize(lambda w: fp16.from_float32(int(w), mode), otypes=[np.uint16])(
            np.asarray(a, np.float32).view(np.uint32)
        )


class Moded:
    """A judge on FP16 words under a mode, by the scalar operations that test_oracle_fp16 judges."""

    def __init__(self, mode: FloatMode):
        self.mode = mode

        def lift(operation):
            return np.vectorize(lambda *w: operation(*(int(v) for v in w), mode), otypes=[np.uint16])

        self.add, self.mul, self.sub, self.div = (lift(f) for f in (fp16.add, fp16.mul, fp16.sub, fp16.div))
        self.sqrt = lift(fp16.sqrt)
        self.enter32 = np.vectorize(lambda a: fp16.from_float32(int(a)), otypes=[np.uint16])  # the host's rounding

    enter16 = staticmethod(lambda y: y)
    words = staticmethod(lambda v: np.asarray(v, np.uint16))
    neg = staticmethod(lambda a: a ^ np.uint16(0x8000))
    zero = staticmethod(lambda shape: np.zeros(shape, np.uint16))
    one = staticmethod(lambda: np.uint16(0x3C00))

    def fraction(self, value):
        return np.uint16(softfloat.from_fraction(FP16, value, FloatMode()))

    def positive(self, a):
        value = a.view(np.float16)
        return np.where(np.isnan(value), np.uint16(0x7E00), np.where(value > 0, a, np.uint16(0)))

    def to_fp16(self, a, mode):
        return self.words(a)


def judges(config: BatchNormConfig):
    if config.accumulator == FP32:
        return Numpy(np.float32, config.mode)
    return Numpy(np.float16, config.mode) if config.mode == FloatMode() else Moded(config.mode)


def row_sums(judge, name, sum_name, leaves, taps):
    """B2's pairwise tree over w and running sum over rows, by explicit recursion on pairs."""
    width = 1
    while width < leaves.shape[2]:
        width *= 2
    cells = [
        leaves[:, :, i] if i < leaves.shape[2] else judge.zero(leaves[:, :, 0].shape) for i in range(width)
    ]
    level = 0
    while len(cells) > 1:
        cells = [judge.add(cells[2 * i], cells[2 * i + 1]) for i in range(len(cells) // 2)]
        level += 1
        taps[f"{name}_level{level}"] = np.stack([judge.words(cell) for cell in cells], axis=2)
    total, running = judge.zero(leaves.shape[3]), []
    for image in cells[0]:
        for row in image:
            total = judge.add(total, row)
            running.append(judge.words(total))
    taps[f"{sum_name}_running"] = np.stack(running)
    taps[sum_name] = judge.words(total)
    return total


def affine(config, a16, b16, y):
    """B1's forward by scalar FP16 operations."""
    a, b = np.broadcast_to(a16, y.shape), np.broadcast_to(b16, y.shape)
    if config.fma:
        return {
            "z": np.vectorize(lambda *w: fp16.fma(*map(int, w), config.mode), otypes=[np.uint16])(a, y, b)
        }
    mul, add = elementwise(fp16.mul, config.mode), elementwise(fp16.add, config.mode)
    return {"ay": mul(a, y), "z": add(mul(a, y), b)}


def elementwise(operation, mode):
    return np.vectorize(lambda a, b: operation(int(a), int(b), mode), otypes=[np.uint16])


def judged_forward(config, y, gamma, beta, eps):
    judge, taps = judges(config), {}
    wide = judge.enter16(y)
    yy = judge.mul(wide, wide)
    taps["yy"] = judge.words(yy)
    s1 = row_sums(judge, "r1", "s1", wide, taps)
    s2 = row_sums(judge, "r2", "s2", yy, taps)
    m = judge.fraction(Fraction(1, y.size // y.shape[3]))
    v = {"m": m, "mean": judge.mul(s1, m), "s2m": judge.mul(s2, m)}
    v["mean_sq"] = judge.mul(v["mean"], v["mean"])
    v["var_raw"] = judge.sub(v["s2m"], v["mean_sq"])
    v["var"] = judge.positive(v["var_raw"])
    v["var_eps"] = judge.add(v["var"], judge.enter32(eps))
    v["std"] = judge.sqrt(v["var_eps"])
    v["r"] = judge.div(judge.one(), v["std"])
    v["a"] = judge.mul(judge.enter32(gamma), v["r"])
    v["mean_a"] = judge.mul(v["mean"], v["a"])
    v["b"] = judge.sub(judge.enter32(beta), v["mean_a"])
    taps |= {name: judge.words(value) for name, value in v.items()}
    taps |= {"a16": judge.to_fp16(v["a"], config.mode), "b16": judge.to_fp16(v["b"], config.mode)}
    return taps | affine(config, taps["a16"], taps["b16"], y)


def judged_backward(config, dz, y, saved):
    judge, taps = judges(config), {}
    wide, wide_y = judge.enter16(dz), judge.enter16(y)
    dzy = judge.mul(wide, wide_y)
    taps["dzy"] = judge.words(dzy)
    t1 = row_sums(judge, "t1", "t1", wide, taps)
    t2 = row_sums(judge, "t2", "t2", dzy, taps)
    kind = getattr(judge, "dtype", np.uint16)
    mean, r, a = (saved[name].view(kind) for name in ("mean", "r", "a"))
    m = judge.fraction(Fraction(1, y.size // y.shape[3]))
    v = {"m": m, "mean_t1": judge.mul(mean, t1)}
    v["centered"] = judge.sub(t2, v["mean_t1"])
    v["dgamma"] = judge.mul(r, v["centered"])
    v["dbeta"] = t1
    v["ar"] = judge.mul(a, r)
    v["ar_dgamma"] = judge.mul(v["ar"], v["dgamma"])
    v["p"] = judge.mul(judge.neg(v["ar_dgamma"]), m)
    v["at1"] = judge.mul(a, t1)
    v["at1_m"] = judge.mul(judge.neg(v["at1"]), m)
    v["p_mean"] = judge.mul(v["p"], mean)
    v["q"] = judge.sub(v["at1_m"], v["p_mean"])
    taps |= {name: judge.words(value) for name, value in v.items()}
    taps |= {"p16": judge.to_fp16(v["p"], config.mode), "q16": judge.to_fp16(v["q"], config.mode)}
    mul, add = elementwise(fp16.mul, config.mode), elementwise(fp16.add, config.mode)
    taps["adz"], taps["py"] = mul(saved["a16"], dz), mul(taps["p16"], y)
    taps["adz_py"] = add(taps["adz"], taps["py"])
    taps["dy"] = add(taps["adz_py"], np.broadcast_to(taps["q16"], y.shape))
    return taps


def draw(shape, seed, spread=0):
    rng = np.random.default_rng(seed)
    c = shape[3]
    y = np.ldexp(rng.normal(0.7, 1.5, shape), rng.integers(-spread, spread + 1, shape))
    dz = np.ldexp(rng.normal(0, 0.3, shape), rng.integers(-spread, spread + 1, shape))
    return {
        "y": words16(y),
        "dz": words16(dz),
        "gamma": words32(rng.uniform(0.3, 2, c)),
        "beta": words32(rng.normal(0, 1, c)),
        "eps": words32(np.array(1e-5)),
    }


@pytest.mark.parametrize("mode", MODES, ids=["nearest", "up", "zero"])
@pytest.mark.parametrize("accumulator", [FP32, FP16], ids=["fp32", "fp16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_statistics_step_by_step(shape, accumulator, mode):
    """SPEC.md B2, B3, B4, F9, T1, T2: every named intermediate, both directions, in both formats."""
    config = BatchNormConfig(Statistics.BATCH, fma=shape[2] == 7, accumulator=accumulator, mode=mode)
    for seed, spread in ((0, 0), (1, 9)):
        drawn = draw(shape, seed, spread)
        with np.errstate(all="ignore"):
            expected = judged_forward(config, *(drawn[name] for name in ("y", "gamma", "beta", "eps")))
        found = batch_norm.FORWARD_BATCH.oracle(config, drawn)
        same(found, expected)
        saved = {name: found[name] for name in ("mean", "r", "a", "a16")}
        with np.errstate(all="ignore"):
            expected = judged_backward(config, drawn["dz"], drawn["y"], saved)
        same(batch_norm.BACKWARD_BATCH.oracle(config, drawn | saved), expected)


def same(found, expected):
    assert set(found) == set(expected)
    for name, tap in expected.items():
        assert found[name].dtype == tap.dtype and found[name].shape == tap.shape, name
        assert np.array_equal(found[name], tap), name


def test_batch_statistics_special_values():
    """SPEC.md B2, F4: an infinity or a NaN in y makes a canonical NaN of var, and of the whole channel."""
    config = BatchNormConfig(Statistics.BATCH)
    drawn = draw((1, 2, 3, 3), 2)
    drawn["y"][0, 0, 0] = [0x7C00, 0x7C01, 0x3C00]
    with np.errstate(all="ignore"):
        expected = judged_forward(config, *(drawn[name] for name in ("y", "gamma", "beta", "eps")))
    found = batch_norm.FORWARD_BATCH.oracle(config, drawn)
    same(found, expected)
    assert found["var"][:2].tolist() == [0x7FC00000] * 2 and found["b16"][:2].tolist() == [0x7E00] * 2
    assert np.all(found["z"][..., :2] == 0x7E00)


def test_variance_of_a_constant_is_not_negative():
    """SPEC.md B2: cancellation may leave var_raw below 0; var is then +0."""
    config = BatchNormConfig(Statistics.BATCH)
    drawn = draw((1, 3, 3, 64), 3)
    drawn["y"] = np.broadcast_to(words16(np.random.default_rng(3).uniform(1, 9, 64)), (1, 3, 3, 64)).copy()
    drawn["y"][0, 0, 0, :8] ^= 0x0100
    found = batch_norm.FORWARD_BATCH.oracle(config, drawn)
    raw = found["var_raw"].view(np.float32)
    assert (raw < 0).any() and (raw > 0).any()
    assert np.array_equal(found["var"], np.where(raw > 0, found["var_raw"], 0))


def test_batch_statistics_are_batch_norm():
    """SPEC.md B2, B3: near the float64 formulas; the bits are judged above, this judges the mathematics."""
    config = BatchNormConfig(Statistics.BATCH)
    drawn = draw((2, 4, 6, 3), 4)
    forward = batch_norm.FORWARD_BATCH.oracle(config, drawn)
    backward = batch_norm.BACKWARD_BATCH.oracle(config, drawn | {k: forward[k] for k in ("mean", "r", "a", "a16")})
    y, dz = (drawn[name].view(np.float16).astype(np.float64) for name in ("y", "dz"))
    gamma, beta = (drawn[name].view(np.float32).astype(np.float64) for name in ("gamma", "beta"))
    axes = (0, 1, 2)
    inverse = 1 / np.sqrt(y.var(axes) + 1e-5)
    normal = (y - y.mean(axes)) * inverse
    dgamma, dbeta = (dz * normal).sum(axes), dz.sum(axes)
    dy = gamma * inverse * (dz - (dbeta + normal * dgamma) / (y.size / 3))
    assert np.abs(forward["z"].view(np.float16) - (gamma * normal + beta)).max() < 0.01
    assert np.abs(backward["dgamma"].view(np.float32) - dgamma).max() < 1e-3
    assert np.abs(backward["dbeta"].view(np.float32) - dbeta).max() < 1e-4
    assert np.abs(backward["dy"].view(np.float16) - dy).max() < 0.004


@pytest.mark.parametrize("fma", [False, True], ids=["separate", "fma"])
@pytest.mark.parametrize("mode", MODES, ids=["nearest", "up", "zero"])
def test_frozen(mode, fma):
    """SPEC.md B1: ay, z and dy element by element; fma has one rounding and no ay; rows are rows."""
    config, drawn = BatchNormConfig(fma=fma, mode=mode), draw((2, 3, 4, 3), 5, spread=6)
    scale = {"a": words16([0.7, -1.3, 2.1]), "b": words16([0.1, 0.5, -3])}
    inputs = {"y": drawn["y"], "dz": drawn["dz"]} | scale
    found = batch_norm.FORWARD_FROZEN.oracle(config, inputs)
    same(found, affine(config, scale["a"], scale["b"], drawn["y"]))
    backward = batch_norm.BACKWARD_FROZEN.oracle(config, inputs)
    same(backward, {"dy": elementwise(fp16.mul, mode)(scale["a"], drawn["dz"])})
    rows = [(1, 2), (0, 1)]
    for name, tap in batch_norm.FORWARD_FROZEN.oracle(config, inputs, rows).items():
        assert np.array_equal(tap, sample(name, found[name], rows))
    part = batch_norm.BACKWARD_FROZEN.oracle(config, inputs, iter(rows))["dy"]
    assert np.array_equal(part, sample("dy", backward["dy"], rows))


def test_fold_is_pythons_binary64():
    """SPEC.md B1: gamma / sqrt(var + eps) and beta - mean*a64 in binary64, then one rounding each to FP16."""
    rng = np.random.default_rng(6)
    count = 3000
    gamma, beta, mean = (
        np.float32(np.ldexp(rng.normal(0, 1, count), rng.integers(-8, 5, count))) for _ in range(3)
    )
    var = np.float32(np.ldexp(rng.uniform(0, 1, count), rng.integers(-12, 8, count)))
    eps = np.float32(1e-5)
    found = batch_norm.fold("bn", *(words32(v) for v in (gamma, beta, mean, var)), int(words32(eps)))
    for i in range(count):
        a64 = float(gamma[i]) / math.sqrt(float(var[i]) + float(eps))
        b64 = float(beta[i]) - float(mean[i]) * a64
        assert found["a"][i] == np.float16(a64).view(np.uint16)
        assert found["b"][i] == np.float16(b64).view(np.uint16)


def test_fold_rounds_once_and_keeps_zero_signs():
    """SPEC.md B1: no rounding through FP32 on the way: 1 + 2^-11 + 2^-30 is above the tie."""
    one = words32([1.0])
    zero = words32([0.0])
    found = batch_norm.fold("bn", one, words32([1 + 2.0**-11]), words32([-(2.0**-30)]), one, 0)
    assert found["a"].tolist() == [0x3C00] and found["b"].tolist() == [0x3C01]
    # 1 + 2^-11 + 2^-53 rounds to binary64's 1 + 2^-11, in which FP16 sees a tie and goes to even.
    found = batch_norm.fold("bn", one, words32([1 + 2.0**-11]), words32([-(2.0**-53)]), one, 0)
    assert found["b"].tolist() == [0x3C00]
    found = batch_norm.fold("bn", words32([-0.0]), words32([-0.0]), zero, one, 0)
    assert found["a"].tolist() == [0x8000] and found["b"].tolist() == [0]


@pytest.mark.parametrize(
    ("gamma", "beta", "mean", "var"),
    [(1, 0, 0, 0), (1, 0, 0, -1), (math.nan, 0, 0, 1), (1, math.inf, 0, 1), (1e6, 0, 0, 1), (1, 0, 1e6, 1)],
)
def test_fold_refuses_what_is_not_finite(gamma, beta, mean, var):
    """SPEC.md B1: a fold that is not finite is refused, naming the layer."""
    columns = (words32([1.0, value]) for value in (gamma, beta, mean, var))
    with pytest.raises(BitrowError, match=r"stage2/bn.*channel 1"):
        batch_norm.fold("stage2/bn", *columns, 0)
