"""Strategies of products, sigmoids, upsampling and depth to space (SPEC.md A8 to A13)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bitrow.config import (
    DepthOrder,
    DepthToSpaceConfig,
    HardSigmoidConfig,
    MultiplyConfig,
    SigmoidConfig,
    SiluConfig,
    UpsampleConfig,
)
from bitrow.contract.operations import find
from bitrow.testing.families import Family, map_shapes, or_drawn
from bitrow.testing.parameters import float_modes
from bitrow.testing.units import operand_words
from bitrow.testing.words import fp16_arrays, noises
from bitrow.vectors.operations import Words
from bitrow.vectors.stimulus import block_problems

_BITS = st.sampled_from((6, 3, 4, 5, 7, 8, 9, 10))


def _hard_sigmoids() -> SearchStrategy[HardSigmoidConfig]:
    """Those of PyTorch and ONNX, and any slope and place."""
    any_of = st.builds(HardSigmoidConfig, st.integers(1, 0x7BFF), st.integers(0, 0x7BFF) | st.integers(0x8000, 0xFBFF),
                       float_modes())  # fmt: skip
    usual = st.sampled_from(((0x3155, 0x3800), (0x3266, 0x3800)))
    return st.builds(lambda words, mode: HardSigmoidConfig(words[0], words[1], mode), usual, float_modes()) | any_of


_CONFIGS: dict[str, SearchStrategy[Any]] = {
    "sigmoid": st.builds(SigmoidConfig, _BITS, float_modes()),
    "silu": st.builds(SiluConfig, _BITS, float_modes()),
    "hard_sigmoid": _hard_sigmoids(),
}


@st.composite
def _activation_words(draw: DrawFn, config: Any, names: list[str], shape: tuple[int, ...]) -> Words:
    words: Words = {}
    for name in names:
        tiny = draw(st.integers(0, 3)) == 0
        words[name] = draw(fp16_arrays(shape, low=-14, high=-13) if tiny else fp16_arrays(shape))
        if name != "dy":
            words[name] = draw(noises()).among(words[name], block_problems.edges(config), 4)
    return words


@st.composite
def activation_families(draw: DrawFn, name: str, config: Any = None) -> Family:
    """Sigmoid, SiLU, hard sigmoid (SPEC.md A9 to A11)."""
    config = draw(or_drawn(config, _CONFIGS[name.split(".")[0]]))
    return Family(name, config, _activation_words(config, list(find(name, config).inputs), draw(map_shapes())))


@st.composite
def _product_words(draw: DrawFn, config: MultiplyConfig, shape: tuple[int, ...], backward: bool) -> Words:
    pairs = draw(operand_words(("a", "b"), int(np.prod(shape))))
    x, other = (pairs[of].reshape(shape) for of in "ab")
    finite = draw(st.booleans())
    if config.gate:
        gate = (shape[0], 1, 1, shape[3])
        words = {"x": draw(fp16_arrays(shape, finite=finite)), "gate": draw(fp16_arrays(gate, finite=finite))}
        return words | ({"dy": draw(fp16_arrays(shape, finite=finite))} if backward else {})
    return {"x": x, "other": other} | ({"dy": draw(fp16_arrays(shape, finite=finite))} if backward else {})


@st.composite
def multiply_families(draw: DrawFn, name: str, config: MultiplyConfig | None = None) -> Family:
    """Products of two maps, and of a map and a gate (SPEC.md A8)."""
    config = draw(or_drawn(config, st.builds(MultiplyConfig, st.booleans(), float_modes())))
    return Family(name, config, _product_words(config, draw(map_shapes()), name.endswith("backward")))


@st.composite
def upsample_families(draw: DrawFn, name: str, config: UpsampleConfig | None = None) -> Family:
    """Nearest upsampling by factors of 1 to 3 (SPEC.md A12)."""
    factors = st.integers(1, 3)
    config = draw(or_drawn(config, st.builds(UpsampleConfig, factors, factors, float_modes())))
    n, h, w, c = draw(map_shapes())
    if not name.endswith("backward"):
        return Family(name, config, fp16_arrays((n, h, w, c)).map(lambda x: {"x": x}))
    shape, columns = (n, h * config.rows, w, c), config.columns
    terms = st.lists(fp16_arrays(shape), min_size=columns, max_size=columns)
    pairs = operand_words(("a", "b"), int(np.prod(shape)))

    def words(drawn: tuple[list[np.ndarray], Words]) -> Words:
        maps, first = drawn
        meeting = [first[of].reshape(shape) for of in "ab"] if len(maps) > 1 else []
        joined = np.stack([*meeting, *maps[len(meeting) :]], axis=3)
        return {"dy": joined.reshape(n, shape[1], w * columns, c)}

    return Family(name, config, st.tuples(terms, pairs).map(words))


@st.composite
def depth_to_space_families(draw: DrawFn, name: str, config: DepthToSpaceConfig | None = None) -> Family:
    """Depth to space of blocks of 1 to 3, in both orders of channels (SPEC.md A13)."""
    drawn = st.builds(DepthToSpaceConfig, st.integers(1, 3), st.sampled_from(tuple(DepthOrder)))
    config = draw(or_drawn(config, drawn))
    (n, h, w, c), block = draw(map_shapes()), config.block
    backward = name.endswith("backward")
    shape = (n, h * block, w * block, c) if backward else (n, h, w, c * block**2)
    return Family(name, config, fp16_arrays(shape).map(lambda words: {"dy" if backward else "x": words}))
