"""Strategies of batch norm and of the other layers (SPEC.md B, A)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bitrow.config import (
    AvgPoolConfig,
    BatchNormConfig,
    LinearConfig,
    MaxPoolConfig,
    Statistics,
)
from bitrow.config.windows import Windows, both
from bitrow.contract import batch_norm, pool
from bitrow.contract.operations import OPERATIONS, find
from bitrow.formats import FP16, FP32, FloatMode
from bitrow.testing.families import (
    Family,
    map_shapes,
    or_drawn,
    scalar,
)
from bitrow.testing.parameters import (
    edges,
    float_modes,
    pairs,
)
from bitrow.testing.units import operand_words
from bitrow.testing.words import (
    fp16_arrays,
    fp16_bits,
    fp32_bits,
    noises,
    patched,
)
from bitrow.vectors.operations import Words

# The edges of activations: 6, 3, and their neighbours.
EDGES = np.array([0x4600, 0x4601, 0x45FF, 0xC600, 0x4200, 0x4201, 0x41FF, 0xC200, 0xC201, 0xC1FF], np.uint16)


def norm_configs() -> SearchStrategy[BatchNormConfig]:
    """Frozen or batch statistics, `fma`, both accumulators, every mode (SPEC.md B)."""
    return st.builds(
        BatchNormConfig,
        st.sampled_from(tuple(Statistics)),
        st.booleans(),
        st.sampled_from((FP32, FP16)),
        float_modes(),
    )


@st.composite
def _norm_map(draw: DrawFn, shape: tuple[int, ...]) -> np.ndarray:
    """A map of unlike channels: any range of exponents, one sign, or a large mean with a small variance."""
    words = np.zeros(shape, np.uint16)
    for channel in range(shape[3]):
        noise, low = draw(noises()), draw(st.integers(-14, 15))
        part = noise.spread(shape[:3], low, draw(st.integers(low, min(15, low + 8))))
        kept = draw(st.sampled_from((0xFFFF, 0x7FFF, 0x7C0F, 0xFC0F, 0x83FF)))
        words[..., channel] = part & np.uint16(kept)
    return draw(patched(words, fp16_bits(finite=draw(st.booleans()))))


_EPSILON = st.sampled_from((0x3727C5AC, 0, 1, 0x007FFFFF, 0x3F800000, 0x322BCC77, 0x7F7FFFFF))


@st.composite
def _norm_words(draw: DrawFn, config: BatchNormConfig, shape: tuple[int, ...], backward: bool) -> Words:
    def vector(dtype: type, element: SearchStrategy[int]) -> np.ndarray:
        return np.array([draw(element) for _ in range(shape[3])], dtype)

    if config.statistics is Statistics.FROZEN:
        a = vector(np.uint16, fp16_bits(finite=True))
        if backward:
            return {"dz": draw(fp16_arrays(shape)), "a": a}
        return {"y": draw(fp16_arrays(shape)), "a": a, "b": vector(np.uint16, fp16_bits(finite=True))}
    ordinary = st.integers(0x3F000000, 0x40000000) | st.integers(0xBF000000, 0xC0000000)
    host = ordinary | fp32_bits()
    words = {"y": draw(_norm_map(shape)), "gamma": vector(np.uint32, host), "beta": vector(np.uint32, host)}
    words["eps"] = scalar(draw(_EPSILON), np.uint32)
    if not backward:
        return words
    taps = batch_norm.FORWARD_BATCH.oracle(config, words)
    saved = {name: taps[name] for name in ("mean", "r", "a", "a16")}
    return {"dz": draw(_norm_map(shape)), "y": words["y"], **saved}


@st.composite
def norm_families(draw: DrawFn, name: str, config: BatchNormConfig | None = None) -> Family:
    """Batch norm, frozen or of batch statistics (SPEC.md B1 to B4)."""
    config = draw(or_drawn(config, norm_configs()))
    shape = tuple(draw(st.integers(1, most)) for most in (2, 3, 6, 4))
    return Family(name, config, _norm_words(config, shape, name.endswith("backward")))


def _configs(kind: type) -> SearchStrategy[Any]:
    """Configurations of a kind that holds modes and options alone."""
    fields = {"FloatMode": float_modes(), "bool": st.booleans()}
    return st.builds(kind, **{field.name: fields[str(field.type)] for field in dataclasses.fields(kind)})


@st.composite
def _plain_words(draw: DrawFn, shapes: dict[str, tuple[int, ...]]) -> Words:
    """Maps by name: words that meet in drawn pairs, or lie at the edges of activations."""
    words: Words = {name: draw(_any_or_tiny(shape)) for name, shape in shapes.items()}
    first, *rest = words
    if rest and words[first].shape == words[rest[0]].shape and draw(st.booleans()):
        pairs = draw(operand_words(("a", "b"), words[first].size))
        words[first], words[rest[0]] = (pairs[of].reshape(words[first].shape) for of in "ab")
    return words | {first: draw(noises()).among(words[first], EDGES, 6)}


@st.composite
def plain_families(draw: DrawFn, name: str, config: Any = None) -> Family:
    """A layer of maps alone, as its operation's lines declare them."""
    kind = next(operation.configured_by for operation in OPERATIONS if operation.name == name)
    config = draw(or_drawn(config, _configs(kind)))
    inputs, sizes = find(name, config).inputs, dict[str, int]()
    for axis in (axis for line in inputs.values() for axis in line.axes):
        if axis not in sizes:
            sizes[axis] = draw(st.integers(1, {"n": 2, "h": 3, "w": 5}.get(axis, 4)))
    shapes = {of: tuple(sizes[axis] for axis in line.axes) for of, line in inputs.items()}
    return Family(name, config, _plain_words(shapes))


@st.composite
def _sum_words(draw: DrawFn, shape: tuple[int, ...], count: int) -> list[np.ndarray]:
    """`count` maps; the first two meet in drawn pairs."""
    size = int(np.prod(shape))
    first = draw(operand_words(("a", "b"), size))
    rest = [draw(fp16_arrays(shape)) for _ in range(count - 2)]
    return [first["a"].reshape(shape), first["b"].reshape(shape), *rest][:count]


@st.composite
def accumulate_families(draw: DrawFn, name: str, config: FloatMode | None = None) -> Family:
    """Gradients of one to four consumers (SPEC.md A5)."""
    mode = draw(or_drawn(config, float_modes()))
    words = _sum_words(draw(map_shapes()), draw(st.integers(1, 4))).map(lambda maps: {"dys": np.stack(maps)})
    return Family(name, mode, words)


@st.composite
def max_pool_configs(draw: DrawFn) -> MaxPoolConfig:
    """Windows of 1 to 4 rows and columns, overlapping or with gaps, padding that leaves none empty (SPEC.md A2)."""
    kernel = draw(pairs(st.sampled_from((2, 3, 1, 4))))
    padding = draw(edges(st.integers(0, min(both(kernel)) - 1)))
    return MaxPoolConfig(kernel, draw(pairs(st.sampled_from((1, 2, 3)))), padding, draw(float_modes()))


def _any_or_tiny(shape: tuple[int, ...], finite: bool = False) -> SearchStrategy[np.ndarray]:
    """FP16 words, a quarter of the time those of the least normal numbers, whose sums and means are subnormal."""
    tiny = fp16_arrays(shape, finite=finite, low=-14, high=-13)
    return st.integers(0, 3).flatmap(lambda kind: tiny if kind == 3 else fp16_arrays(shape, finite=finite))


_TYING = np.array([0x3C00, 0x4000, 0xBC00, 0x0000, 0x8000], np.uint16)


@st.composite
def _sizes(draw: DrawFn, windows: Windows, more: int) -> tuple[int, int]:
    """Rows and columns of a map that windows fit, up to `more` beyond the least."""
    h, w = (max(1, one.kernel - one.before - one.after) + draw(st.integers(0, more)) for one in windows)
    return h, w


@st.composite
def _max_pool_words(draw: DrawFn, config: MaxPoolConfig, shape: tuple[int, ...], backward: bool) -> Words:
    n, h, w, c = shape
    x = draw(_any_or_tiny(shape))
    if draw(st.booleans()):  # few distinct words, so that windows tie
        x = draw(patched(draw(noises()).among(x, _TYING, 1), fp16_bits()))
    if not backward:
        return {"x": x}
    index = pool.MAX_FORWARD.oracle(config, {"x": x})["index"]
    oh, ow = (window.results(size) for window, size in zip(config.windows, (h, w), strict=True))
    dy = draw(_any_or_tiny((n, oh, ow, c)))
    return {"dy": dy, "index": index, "input_hw": np.array([h, w], np.int32)}


@st.composite
def max_pool_families(draw: DrawFn, name: str, config: MaxPoolConfig | None = None) -> Family:
    """Max pool (SPEC.md A2)."""
    config = draw(or_drawn(config, max_pool_configs()))
    h, w = draw(_sizes(config.windows, 4))
    shape = (draw(st.integers(1, 2)), h, w, draw(st.integers(1, 3)))
    return Family(name, config, _max_pool_words(config, shape, name.endswith("backward")))


@st.composite
def _avg_pool_words(draw: DrawFn, config: AvgPoolConfig, shape: tuple[int, ...], backward: bool) -> Words:
    n, h, w, c = shape
    if not backward:
        return {"x": draw(_any_or_tiny(shape, finite=draw(st.booleans())))}
    oh, ow = (window.results(size) for window, size in zip(config.windows((h, w)), (h, w), strict=True))
    return {"dy": draw(fp16_arrays((n, oh, ow, c))), "input_hw": np.array([h, w], np.int32)}


@st.composite
def avg_pool_configs(draw: DrawFn) -> AvgPoolConfig:
    """The whole map; windows side by side; windows that overlap or leave gaps, padded and counting it or not."""
    kernel, mode = draw(st.sampled_from((None, 2, 3, 1)) | pairs(st.sampled_from((2, 3, 1)))), draw(float_modes())
    if kernel is None or draw(st.booleans()):
        return AvgPoolConfig(kernel, mode)
    padding = draw(edges(st.integers(0, min(both(kernel)) - 1)))
    return AvgPoolConfig(kernel, mode, draw(pairs(st.sampled_from((1, 2, 3)))), padding, draw(st.booleans()))


@st.composite
def avg_pool_families(draw: DrawFn, name: str, config: AvgPoolConfig | None = None) -> Family:
    """Average pool, of windows or of the whole map, with inputs left out (SPEC.md A3)."""
    config = draw(or_drawn(config, avg_pool_configs()))
    h, w = draw(_sizes(config.windows((1, 1)), 5))
    shape = (draw(st.integers(1, 2)), h, w, draw(st.integers(1, 3)))
    return Family(name, config, _avg_pool_words(config, shape, name.endswith("backward")))


@st.composite
def _linear_words(draw: DrawFn, n: int, inputs: int, outputs: int, backward: bool) -> Words:
    finite = draw(st.booleans())
    words = {"weight": draw(fp16_arrays((inputs, outputs), finite=True))}
    if backward:
        return {"dy": draw(fp16_arrays((n, outputs), finite)), **words}
    bias = [draw(st.sampled_from((0, 0x80000000)) | fp32_bits()) for _ in range(outputs)]
    return {"x": draw(fp16_arrays((n, inputs), finite)), **words, "bias": np.array(bias, np.uint32)}


@st.composite
def linear_families(draw: DrawFn, name: str, config: LinearConfig | None = None) -> Family:
    """The classifier head (SPEC.md A4)."""
    config = draw(or_drawn(config, st.builds(LinearConfig, float_modes())))
    sizes = (draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 5)))
    return Family(name, config, _linear_words(*sizes, name.endswith("backward")))
