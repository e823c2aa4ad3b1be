"""Properties of products, sigmoids, upsampling and depth to space: each clause once more in numpy (SPEC.md A8 to A13).

As in `layer_properties`, numpy's float16 and float32 round single operations, float64 what it holds exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bitrow.config import (
    DepthOrder,
    DepthToSpaceConfig,
    HardSigmoidConfig,
    MultiplyConfig,
    SigmoidConfig,
    SiluConfig,
    UpsampleConfig,
)
from bitrow.contract.operations import LAYERS
from bitrow.oracle.arrays import Words
from bitrow.proofs.mutants.float_words import half, running_sums, tree_levels, words
from bitrow.proofs.mutants.properties import Property
from bitrow.proofs.mutants.runs import OperationRun, differing
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus import block_problems
from bitrow.vectors.stimulus.stream import Stream


def _as_words(taps: dict[str, np.ndarray]) -> Words:
    return {name: words(tap) for name, tap in taps.items()}


def _multiply(config: MultiplyConfig, given: Words) -> Words:
    x, other = half(given["x"]), half(given["gate" if config.gate else "other"])
    if "dy" not in given:
        return {"y": words(x * other)}
    dy = half(given["dy"])
    if not config.gate:
        return {"dx": words(dy * other), "dother": words(dy * x)}
    levels = tree_levels(dy.astype(np.float32) * x.astype(np.float32), 2)
    sums = running_sums(np.moveaxis(levels[-1], 1, 0))
    taps = {f"sum_level{place}": level[:, None, :, None] for place, level in enumerate(levels) if place}
    taps |= {"sum_running": sums[:, :, None], "sum": sums[-1][:, None]}
    return _as_words(taps | {"dx": dy * other, "dgate": sums[-1][:, None].astype(np.float16)})


def _hard_sigmoid(config: HardSigmoidConfig, given: Words) -> Words:
    alpha, beta = (np.array(word, np.uint16).view(np.float16) for word in (config.alpha, config.beta))
    if "dy" in given:
        y, slope = half(given["y"]), half(given["dy"]) * alpha
        return {"slope": words(slope), "dx": np.where((y > 0) & (y < 1), words(slope), 0)}
    t = {"scaled": half(given["x"]) * alpha}
    t["shifted"] = t["scaled"] + beta
    t["y"] = np.where(t["shifted"] > 0, np.minimum(t["shifted"], np.float16(1)), np.float16(0))
    t["y"] = np.where(np.isnan(t["shifted"]), t["shifted"], t["y"])
    return _as_words(t)


def _table(config: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """base, rise, part, upper, and what of it is sigmoid(x), and what 1 less it."""
    many = 1 << config.table_bits
    entries = (1 / (1 + np.exp(-np.arange(many + 1) * 8.0 / many))).astype(np.float16)
    magnitude = np.abs(x.astype(np.float64))
    inside = magnitude < 8
    place = np.where(inside, magnitude, 0) * many / 8
    at = np.floor(place).astype(np.int64)
    t = {"base": np.where(inside, entries[at], np.where(np.isnan(x), np.float16(np.nan), np.float16(1)))}
    t["rise"] = np.where(inside, (entries[1:] - entries[:-1])[at], np.float16(0))
    t["part"] = np.where(inside, (place - at).astype(np.float16), np.float16(0))
    wide = {name: value.astype(np.float64) for name, value in t.items()}
    t["upper"] = (wide["rise"] * wide["part"] + wide["base"]).astype(np.float16)  # at most 35 bits
    negative, other = np.signbit(x), np.float16(1) - t["upper"]
    t["sigmoid"], t["rest"] = np.where(negative, other, t["upper"]), np.where(negative, t["upper"], other)
    return t


def _sigmoid(config: SigmoidConfig, given: Words) -> Words:
    if "dy" not in given:
        t = _table(config, half(given["x"]))
        t["y"] = t.pop("sigmoid")
        return _as_words({name: value for name, value in t.items() if name != "rest"})
    y = half(given["y"])
    t = {"rest": np.float16(1) - y}
    t["slope"] = y * t["rest"]
    return _as_words(t | {"dx": half(given["dy"]) * t["slope"]})


def _silu(config: SiluConfig, given: Words) -> Words:
    x = half(given["x"])
    t = _table(config, x)
    if "dy" not in given:
        del t["rest"]
        return _as_words(t | {"y": x * t["sigmoid"]})
    t["bent"] = x * t["rest"]
    t["steep"] = t["bent"] + np.float16(1)
    t["factor"] = t["sigmoid"] * t["steep"]
    return _as_words(t | {"dx": half(given["dy"]) * t["factor"]})


def _upsample(config: UpsampleConfig, given: Words) -> Words:
    if "dy" not in given:
        return {"y": np.kron(given["x"], np.ones((1, config.rows, config.columns, 1), np.uint16))}
    dy, taps, total = half(given["dy"]), dict[str, np.ndarray](), None
    for place, (i, j) in enumerate(np.ndindex(config.rows, config.columns)):
        term = dy[:, i :: config.rows, j :: config.columns]
        total = term if total is None else total + term
        if place:
            taps[f"sum_{place}"] = total
    assert total is not None
    return _as_words(taps | {"dx": total})


def _depth_to_space(config: DepthToSpaceConfig, given: Words) -> Words:
    """Word by word: where a word of the block lies among the channels."""
    backward, block = "dy" in given, config.block
    source = given["dy" if backward else "x"]
    n, h, w, c = source.shape
    shape = (n, h // block, w // block, c * block**2) if backward else (n, h * block, w * block, c // block**2)
    found, large = np.zeros(shape, np.uint16), source.shape if backward else shape
    for at in np.ndindex(*large):
        (i, down), (j, across) = divmod(at[1], block), divmod(at[2], block)
        inner = down * block + across
        channel = inner * large[3] + at[3] if config.order is DepthOrder.DCR else at[3] * block**2 + inner
        small = (at[0], i, j, channel)
        if backward:
            found[small] = source[at]
        else:
            found[at] = source[small]
    return {"dx" if backward else "y": found}


_MODELS: dict[str, Callable[..., Words]] = {
    "multiply": _multiply,
    "hard_sigmoid": _hard_sigmoid,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "upsample": _upsample,
    "depth_to_space": _depth_to_space,
}


def _stream(name: str) -> Stream:
    return Stream("property", name)


def _problems() -> list[Problem]:
    found = []
    onnx = HardSigmoidConfig.of(0.2, 0.5)
    for config in (SigmoidConfig(), SigmoidConfig(3), SigmoidConfig(10), SiluConfig(4), HardSigmoidConfig(), onnx):
        for operation in LAYERS[type(config)]:
            found.append(block_problems.activation(_stream(operation.name), operation.name, operation, config))
    for backward in (False, True):
        for gate, shape in ((False, (1, 3, 8, 4)), (True, (2, 3, 5, 8)), (True, (1, 2, 4, 8))):
            factors = MultiplyConfig(gate)
            found.append(block_problems.multiply(_stream("multiply"), "multiply", factors, backward, shape))
        found.append(block_problems.upsample(_stream("upsample"), "upsample", UpsampleConfig(2, 3), backward))
        for order in DepthOrder:
            depth = DepthToSpaceConfig(2, order)
            found.append(block_problems.depth_to_space(_stream("depth"), "depth_to_space", depth, backward))
    return found


@functools.cache
def _expected() -> list[OperationRun]:
    with np.errstate(all="ignore"):
        return [(one, _MODELS[one.operation.name.split(".")[0]](one.config, one.given)) for one in _problems()]


BLOCK_PROPERTIES = (
    Property("blocks_by_numpy", "products, sigmoids, upsampling and depth to space are their definitions in numpy",
             "A8", lambda: differing(_expected())),
)  # fmt: skip
