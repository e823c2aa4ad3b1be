"""Properties of the layers: each formula of the contract once more in numpy, on drawn problems.

FP16 results come from numpy's float16, which rounds sums and products of float16 once, FP32 ones from float32, and
single roundings of wide products from float64, which holds them exactly. Sums run in loops written from the clauses.
The problems are those of the vector suites under another seed; they hold special words, ties, and words aimed at
double roundings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConcatConfig,
    ConvConfig,
    HardSwishConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    Statistics,
)
from bitrow.config.windows import both, sides
from bitrow.contract.operations import LAYERS
from bitrow.formats import (
    FP16,
    FP32,
    UFXP4,
    AccOverflow,
    Accumulator,
    Dequantize,
    FloatMode,
    Fxp,
    Gradient,
    QuantRounding,
)
from bitrow.host import Scales
from bitrow.oracle.arrays import Words
from bitrow.proofs.mutants.conv_judge import conv_backward, conv_forward, framed
from bitrow.proofs.mutants.float_words import half, running_sums, tree_levels, wide, words
from bitrow.proofs.mutants.properties import Property
from bitrow.proofs.mutants.runs import OperationRun, differing
from bitrow.proofs.mutants.word_properties import MINUS, rounded
from bitrow.vectors.stimulus import layer_problems, problems
from bitrow.vectors.stimulus.problems import GENERAL_SCALES, POWER_SCALES, ConvShapes, Problem
from bitrow.vectors.stimulus.stream import Stream

_PER_CHANNEL = Scales(0.25, (0.0625, 0.0716552734375, 0.109375, 0.03125), 0.015625)


def _sums(row: str, name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    levels = tree_levels(x, 2)
    running = running_sums(levels[-1].reshape(-1, x.shape[3]))
    taps = {f"{row}_level{place}": level for place, level in enumerate(levels) if place}
    return taps | {f"{name}_running": running, name: running[-1]}


def _as_words(taps: dict[str, np.ndarray]) -> Words:
    return {name: words(tap) for name, tap in taps.items()}


def norm_forward(config: BatchNormConfig, given: Words) -> Words:
    """B1 and B2 in numpy."""
    y = half(given["y"])
    if config.statistics is Statistics.FROZEN:
        return _affine(config, y, half(given["a"]), half(given["b"]))
    kind: Any = np.float16 if config.accumulator == FP16 else np.float32
    wide, m = y.astype(kind), kind(1) / kind(y.size // y.shape[3])
    gamma, beta, eps = (given[name].view(np.float32).astype(kind) for name in ("gamma", "beta", "eps"))
    t = {"yy": wide * wide}
    t |= _sums("r1", "s1", wide) | _sums("r2", "s2", t["yy"])
    t["mean"], t["s2m"] = t["s1"] * m, t["s2"] * m
    t["mean_sq"] = t["mean"] * t["mean"]
    t["var_raw"] = t["s2m"] - t["mean_sq"]
    t["var"] = np.where(np.isnan(t["var_raw"]) | (t["var_raw"] > 0), t["var_raw"], kind(0))
    t["var_eps"] = t["var"] + eps
    t["std"] = np.sqrt(t["var_eps"])
    t["r"] = kind(1) / t["std"]
    t["a"] = gamma * t["r"]
    t["mean_a"] = t["mean"] * t["a"]
    t["b"] = beta - t["mean_a"]
    t["a16"], t["b16"] = t["a"].astype(np.float16), t["b"].astype(np.float16)
    return _as_words(t) | _affine(config, y, t["a16"], t["b16"])


def _affine(config: BatchNormConfig, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> Words:
    if config.fma:
        wide = a.astype(np.float64) * y + b  # exact, or far from half way
        return {"z": words(wide.astype(np.float16))}
    ay = a * y
    return {"ay": words(ay), "z": words(ay + b)}


def norm_backward(config: BatchNormConfig, given: Words) -> Words:
    """B1 and B3 in numpy."""
    dz = half(given["dz"])
    if config.statistics is Statistics.FROZEN:
        return {"dy": words(half(given["a"]) * dz)}
    kind: Any = np.float16 if config.accumulator == FP16 else np.float32
    y, a16, m = half(given["y"]), half(given["a16"]), kind(1) / kind(dz.size // dz.shape[3])
    mean, r, a = (given[name].view(kind) for name in ("mean", "r", "a"))
    t = {"dzy": dz.astype(kind) * y.astype(kind)}
    t |= _sums("t1", "t1", dz.astype(kind)) | _sums("t2", "t2", t["dzy"])
    t["mean_t1"] = mean * t["t1"]
    t["centered"] = t["t2"] - t["mean_t1"]
    t["dgamma"], t["dbeta"] = r * t["centered"], t["t1"]
    t["ar"] = a * r
    t["ar_dgamma"] = t["ar"] * t["dgamma"]
    t["p"] = -t["ar_dgamma"] * m
    t["at1"] = a * t["t1"]
    t["at1_m"] = -t["at1"] * m
    t["p_mean"] = t["p"] * mean
    t["q"] = t["at1_m"] - t["p_mean"]
    t["p16"], t["q16"] = t["p"].astype(np.float16), t["q"].astype(np.float16)
    t["adz"], t["py"] = a16 * dz, t["p16"] * y
    t["adz_py"] = t["adz"] + t["py"]
    t["dy"] = t["adz_py"] + t["q16"]
    return _as_words(t)


# The other layers (SPEC.md A)


def _relu(config: ReluConfig, given: Words) -> Words:
    x = half(given["x"])
    if "dy" in given:
        passes = (x > 0) & ((x < 6) | (not config.six))
        return {"dx": np.where(passes, words(half(given["dy"])), 0)}
    y = np.where(np.isnan(x) | (x > 0), x, np.float16(0))
    return {"y": words(np.minimum(y, np.float16(6)) if config.six else y)}


def _max_forward(config: MaxPoolConfig, given: Words) -> Words:
    x, (kh, kw), (down, across) = half(given["x"]), both(config.kernel), both(config.stride)
    (n, h, w, c), (top, bottom, left, right) = x.shape, sides(config.padding)
    shape = (n, (h + top + bottom - kh) // down + 1, (w + left + right - kw) // across + 1, c)
    y, index = np.zeros(shape, np.float16), np.zeros(shape, np.uint8)
    for place in np.ndindex(*shape):
        best = None
        for i, j in np.ndindex(kh, kw):
            row, column = place[1] * down - top + i, place[2] * across - left + j
            if not (0 <= row < h and 0 <= column < w):
                continue
            found = float(x[place[0], row, column, place[3]])
            if best is None or found > best or (np.isnan(found) and not np.isnan(best)):
                best, y[place], index[place] = found, x[place[0], row, column, place[3]], i * kw + j
    return {"y": words(y), "index": index}


def _max_backward(config: MaxPoolConfig, given: Words) -> Words:
    dy, index = half(given["dy"]), given["index"]
    dx = np.zeros((dy.shape[0], *given["input_hw"].tolist(), dy.shape[3]), np.float16)
    won = np.zeros(dx.shape, bool)
    (down, across), (top, _, left, _) = both(config.stride), sides(config.padding)
    for place in np.ndindex(*dy.shape):
        i, j = divmod(int(index[place]), both(config.kernel)[1])
        row, column = place[1] * down - top + i, place[2] * across - left + j
        at = (place[0], row, column, place[3])
        dx[at] = dx[at] + dy[place] if won[at] else dy[place]
        won[at] = True
    return {"dx": words(dx)}


def _avg_forward(config: AvgPoolConfig, given: Words) -> Words:
    assert config.kernel is not None
    x, (kh, kw), (down, across) = half(given["x"]).astype(np.float32), *_pool_steps(config)
    padded = framed(x, config)
    rows, columns = padded.shape[1] - kh + 1, padded.shape[2] - kw + 1
    cut = [[padded[:, i:, j:][:, :rows:down, :columns:across] for j in range(kw)] for i in range(kh)]
    running = running_sums(np.stack([tree_levels(np.stack(row), 0)[-1][0] for row in cut]))
    y = (running[-1] * _inverses(config, x.shape)).astype(np.float16)
    return {"sum_running": words(running), "sum": words(running[-1]), "y": words(y)}


def _avg_backward(config: AvgPoolConfig, given: Words) -> Words:
    (kh, kw), (down, across), (top, _, left, _) = *_pool_steps(config), sides(config.padding)
    n, _, _, c = given["dy"].shape
    shape = (n, *given["input_hw"].tolist(), c)
    scaled = (wide(given["dy"]) * _inverses(config, shape)).astype(np.float16)
    dx, met = np.zeros(shape, np.float16), np.zeros(shape[1:3], bool)
    for i, j in np.ndindex(*scaled.shape[1:3]):  # each window scatters, in row-major order
        for row in range(max(0, i * down - top), min(i * down - top + kh, shape[1])):
            for column in range(max(0, j * across - left), min(j * across - left + kw, shape[2])):
                first = not met[row, column]
                dx[:, row, column] = scaled[:, i, j] if first else dx[:, row, column] + scaled[:, i, j]
                met[row, column] = True
    return {"dx": words(dx)} | ({} if config.apart else {"scaled": words(scaled)})


def _pool_steps(config: AvgPoolConfig) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of a window, and from one to the next."""
    assert config.kernel is not None
    return both(config.kernel), both(config.stride or config.kernel)


def _inverses(config: AvgPoolConfig, shape: tuple[int, ...]) -> np.ndarray:
    """fp32(1/n) of each window as float64 [oh, ow, 1]."""
    (kh, kw), (down, across) = _pool_steps(config)
    ones = framed(np.ones((1, *shape[1:3], 1), np.float32), config)[0, ..., 0]
    if config.count_padding:
        ones[:] = 1
    seen = np.lib.stride_tricks.sliding_window_view(ones, (kh, kw))[::down, ::across]
    return (np.float32(1) / seen.sum((2, 3))).astype(np.float64)[..., None]


def _linear(config: LinearConfig, given: Words) -> Words:
    weight = half(given["weight"]).astype(np.float32)
    if "dy" in given:
        products = half(given["dy"]).astype(np.float32)[:, None, :] * weight
        total = tree_levels(products, 2)[-1][:, :, 0]
        return {"sum": words(total), "dx": words(total.astype(np.float16))}
    products = half(given["x"]).astype(np.float32)[:, :, None] * weight
    total, bias = tree_levels(products, 1)[-1][:, 0], given["bias"].view(np.float32)
    y = words((total + bias).astype(np.float16))
    for at in zip(*np.nonzero(np.isfinite(total)), strict=True):  # where float64 may not hold the sum
        exact = Fraction(float(total[at])) + Fraction(float(bias[at[1]]))
        y[at] = rounded(exact, zero=MINUS if np.signbit(total[at]) and np.signbit(bias[at[1]]) else 0)
    return {"sum": words(total), "y": y}


def _hard_swish(config: HardSwishConfig, given: Words) -> Words:
    x, sixth, third = half(given["x"]), np.float16(1 / 6), np.float16(1 / 3)
    t = {}
    if "dy" in given:
        t["x_third"] = x * third
        t["slope"] = t["x_third"] + np.float16(0.5)
        t["factor"] = np.select([np.isnan(x), x <= -3, x >= 3], [x, np.zeros_like(x), np.ones_like(x)], t["slope"])
        t["dx"] = half(given["dy"]) * t["factor"]
    else:
        t["shifted"] = x + np.float16(3)
        t["gate"] = np.clip(t["shifted"], 0, 6)
        t["gated"] = x * t["gate"]
        t["y"] = t["gated"] * sixth
    return {name: words(value) for name, value in t.items()}


def _concat(config: ConcatConfig, given: Words) -> Words:
    return {"y": np.concatenate([given["x"], given["other"]], axis=3)}


def _add(config: AddConfig, given: Words) -> Words:
    return {"y": words(half(given["x"]) + half(given["shortcut"]))}


def _accumulate(mode: FloatMode, given: Words) -> Words:
    dys = half(given["dys"])
    total, taps = dys[0], {}
    for place, dy in enumerate(dys[1:], start=1):
        total = total + dy
        taps[f"sum_{place}"] = words(total)
    return taps | {"dx": words(total)}


# The problems, and the properties


def _drawn(name: str) -> Stream:
    return Stream("property", name)


_SIDES = ConvConfig(stride=(1, 2), padding=(3, 0, 1, 2), dilation=(2, 3))


def _convolutions() -> list[Problem]:
    size, small = ConvShapes(1, 7, 6, 4, 3, 2, 4), ConvShapes(1, 4, 4)
    narrow = Fxp(4, narrow=True)
    strided = ConvConfig(stride=2, padding=1, groups=2, x_format=narrow, dy_format=narrow)
    unsigned = ConvConfig(padding=2, x_format=UFXP4, accumulator=Accumulator(11, AccOverflow.WRAP))
    saturating = ConvConfig(padding=1, accumulator=Accumulator(9, AccOverflow.SATURATE))
    two_step = ConvConfig(padding=1, dequantize=Dequantize.TWO_STEP)
    return [
        problems.conv_forward(_drawn("strided"), "strided", strided, size, GENERAL_SCALES, bias=True),
        problems.conv_forward(_drawn("channels"), "channels", ConvConfig(padding=1), small, _PER_CHANNEL),
        problems.conv_forward(_drawn("unsigned"), "unsigned", unsigned, ConvShapes(1, 6, 6, 2, 5, 5, 2)),
        problems.conv_forward(_drawn("saturating"), "saturating", saturating, ConvShapes(1, 4, 4, 2, c_out=2)),
        problems.conv_forward(_drawn("two_step"), "two_step", two_step, small, GENERAL_SCALES),
        problems.conv_forward(_drawn("sides"), "sides", _SIDES, ConvShapes(1, 6, 7, 2, 3, 2, 2)),
    ]


def _gradients() -> list[Problem]:
    narrow = Fxp(4, narrow=True)
    strided = ConvConfig(stride=2, padding=1, groups=2, x_format=narrow, dy_format=narrow)
    drawn = ConvConfig(padding=1, fold=True, dy_rounding=QuantRounding.STOCHASTIC)
    floats = ConvConfig(padding=1, gradient=Gradient.FP16)
    small, tiny = ConvShapes(1, 4, 4), ConvShapes(1, 4, 4, 2, c_out=2)
    strided_size = ConvShapes(1, 7, 6, 4, 3, 2, 4)
    return [
        problems.conv_backward(_drawn("strided"), "strided", strided, strided_size, GENERAL_SCALES),
        problems.conv_backward(_drawn("plain"), "plain", ConvConfig(padding=1), small, POWER_SCALES),
        problems.conv_backward(_drawn("drawn"), "drawn", drawn, small, _PER_CHANNEL),
        problems.conv_backward(_drawn("floats"), "floats", floats, tiny, GENERAL_SCALES),
        problems.conv_backward(_drawn("sides"), "sides", _SIDES, ConvShapes(1, 6, 7, 2, 3, 2, 2)),
    ]


def _norms() -> list[Problem]:
    found = []
    for accumulator, shape in ((FP16, (1, 3, 2, 8)), (FP32, (1, 2, 3, 8)), (FP32, (1, 2, 7, 8))):
        config = BatchNormConfig(Statistics.BATCH, accumulator=accumulator)
        for backward in (False, True):
            found.append(layer_problems.norm_batch(_drawn("batch"), "batch", config, backward, shape))
    for config in (BatchNormConfig(), BatchNormConfig(fma=True)):
        found.append(layer_problems.norm_frozen(_drawn("frozen"), "frozen", config, False, (1, 3, 5, 6)))
    found.append(layer_problems.norm_frozen(_drawn("frozen"), "frozen", BatchNormConfig(), True, (1, 3, 5, 6)))
    return found


def _others() -> list[Problem]:
    found = [
        layer_problems.add(_drawn("add"), "add", AddConfig(), (1, 4, 4, 6)),
        layer_problems.accumulate(_drawn("accumulate"), "accumulate", FloatMode(), 3, (1, 4, 4, 6)),
    ]
    for config in (HardSwishConfig(), ConcatConfig()):
        for operation in LAYERS[type(config)]:
            found.append(layer_problems.plain(_drawn(operation.name), operation.name, operation, config))
    for backward in (False, True):
        for six in (False, True):
            found.append(layer_problems.relu(_drawn("relu"), "relu", ReluConfig(six), backward, (1, 3, 8, 4)))
        pool = MaxPoolConfig(3, 2, 1)
        found.append(layer_problems.max_pool(_drawn("max"), "max_pool", pool, backward, (1, 7, 6, 4)))
        for kernel, shape in ((3, (1, 3, 7, 9)), (2, (1, 4, 4, 3))):
            average = AvgPoolConfig(kernel)
            found.append(layer_problems.avg_pool(_drawn("avg"), "avg_pool", average, backward, shape))
            if kernel == 2 and not backward:
                found[-1].given["x"][0, 0, :, 1] = MINUS  # rows of -0, whose sums start from +0
        pool = MaxPoolConfig((2, 3), (1, 2), (0, 1, 1, 2))
        found.append(layer_problems.max_pool(_drawn("sides"), "max_pool", pool, backward, (1, 4, 5, 3)))
        for counted in (False, True):
            average = AvgPoolConfig((2, 3), stride=1, padding=(1, 0, 0, 2), count_padding=counted)
            found.append(layer_problems.avg_pool(_drawn("shared"), "avg_pool", average, backward, (1, 3, 4, 3)))
        found.append(layer_problems.linear(_drawn("linear"), "linear", LinearConfig(), backward, inputs=5, outputs=4))
    return found


_MODELS: dict[str, Callable[..., Words]] = {
    "conv.forward": conv_forward,
    "conv.backward": conv_backward,
    "batch_norm.forward": norm_forward,
    "batch_norm.backward": norm_backward,
    "relu.forward": _relu,
    "relu.backward": _relu,
    "max_pool.forward": _max_forward,
    "max_pool.backward": _max_backward,
    "avg_pool.forward": _avg_forward,
    "avg_pool.backward": _avg_backward,
    "linear.forward": _linear,
    "linear.backward": _linear,
    "add.forward": _add,
    "hard_swish.forward": _hard_swish,
    "hard_swish.backward": _hard_swish,
    "concat.forward": _concat,
    "gradient.accumulate": _accumulate,
}


@functools.cache
def _expected(build: Callable[[], list[Problem]]) -> list[OperationRun]:
    found = []
    with np.errstate(all="ignore"):
        for problem in build():
            found.append((problem, _MODELS[problem.operation.name](problem.config, problem.given)))
    return found


def _property(name: str, says: str, clause: str, build: Callable[[], list[Problem]]) -> Property:
    return Property(name, says, clause, lambda: differing(_expected(build)))


LAYER_PROPERTIES = (
    _property("convolution_by_shifted_maps", "a convolution sums shifted maps times weights", "C1", _convolutions),
    _property("gradient_by_scattering", "the input gradient is what each dy adds to its window", "C2", _gradients),
    _property("batch_norm_by_numpy", "batch norm is its named intermediates in numpy", "B2", _norms),
    _property("layers_by_numpy", "relu, pools, head and sums are their definitions in numpy", "A2", _others),
)
