"""Strategies of FP16 operations, quantizers, dequantizers, packing and the LFSR (SPEC.md F, Q, D)."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bitrow.config import (
    ConvConfig,
)
from bitrow.contract.exceptions import FLAGGED
from bitrow.formats import Dequantize, FlagMode, FloatMode, Fxp
from bitrow.host import inverse_scale
from bitrow.testing.families import (
    Family,
    half,
    map_shapes,
    number,
    or_drawn,
    quantizer_maps,
    scalar,
)
from bitrow.testing.parameters import (
    accumulators,
    codes,
    flag_modes,
    float_modes,
    fxp_formats,
    scales,
    seeds,
)
from bitrow.testing.words import (
    CORNERS,
    fp16_bits,
    fp16_pairs,
    fp16_triples,
    fp32_bits,
    int32s,
    noises,
    patched,
)
from bitrow.vectors import operations
from bitrow.vectors.operations import Words
from bitrow.vectors.stimulus import flag_problems
from bitrow.vectors.stimulus import stream as stimulus


@st.composite
def operand_words(draw: DrawFn, names: tuple[str, ...], count: int) -> Words:
    """Vectors of operands: directed noise, with a few drawn tuples in drawn places."""
    noise = draw(noises())
    if names == ("i",):
        return {"i": draw(patched(noise.calm(stimulus.int32s(noise.stream, count)), int32s()))}
    if names == ("x",):
        return {"x": draw(patched(noise.calm(stimulus.float32s(noise.stream, count)), fp32_bits()))}
    if names == ("a",):
        return {"a": draw(patched(noise.special(noise.any((count,)), 8), fp16_bits()))}
    make, drawn = (stimulus.pairs, fp16_pairs()) if len(names) == 2 else (stimulus.triples, fp16_triples())
    drawn |= st.tuples(*[st.sampled_from(CORNERS)] * len(names))  # specials meet each other
    columns = [noise.calm(column[:count]) for column in make(noise.stream, count)]
    if draw(st.booleans()):
        columns = [noise.special(column, 4) for column in columns]
    places = st.tuples(st.integers(0, count - 1), drawn)
    for place, words in draw(st.lists(places, max_size=16)):
        for column, word in zip(columns, words, strict=True):
            column[place] = word
    return dict(zip(names, columns, strict=True))


@st.composite
def fp16_families(draw: DrawFn, name: str, config: FloatMode | None = None, size: int = 64) -> Family:
    """An operation of `bitrow.fp16` on `size` elements (SPEC.md F)."""
    mode = draw(or_drawn(config, float_modes()))
    operands = tuple(operations.find(name, mode).inputs)
    return Family(name, mode, operand_words(operands, size))


_DRAWN = {"16": fp16_bits, "32": fp32_bits, "int": int32s, "lfsr": seeds}


@st.composite
def _flag_words(draw: DrawFn, kind: str, config: FlagMode | Fxp, count: int) -> Words:
    noise = draw(noises())
    found = flag_problems.candidates(noise.stream, kind, config)
    chosen = noise.below(min(map(len, found.values())), (count,))
    lines = FLAGGED[kind].inputs
    words = {name: each[chosen] for name, each in found.items()}
    return words | {name: draw(patched(words[name], _DRAWN[line.format]())) for name, line in lines.items()}


@st.composite
def flag_families(draw: DrawFn, name: str, config: FlagMode | Fxp | None = None, size: int = 64) -> Family:
    """An operation that reports its exceptions, on `size` elements (SPEC.md F11 to F14, Q6)."""
    kind = name.removeprefix("flags.")
    drawn = fxp_formats() if FLAGGED[kind].configured_by is Fxp else flag_modes()
    config = draw(or_drawn(config, drawn))
    return Family(name, config, _flag_words(kind, config, size))


@st.composite
def _quantizer_words(draw: DrawFn, config: ConvConfig, shape: tuple[int, ...], stochastic: bool) -> Words:
    scale = number(draw(scales()))
    words = {
        "x": draw(quantizer_maps(shape, scale, config.x_format)),
        "x_inv_scale": half(inverse_scale(scale)),
    }
    if stochastic:
        noise = np.maximum(draw(noises()).any(shape), 1)  # no LFSR state is 0
        words["words"] = draw(patched(noise, seeds()))
    return words


@st.composite
def quantize_families(draw: DrawFn, name: str, config: ConvConfig | None = None) -> Family:
    """A quantizer, to nearest or stochastic (SPEC.md Q1 to Q4), of `x_format` and `mode`."""
    drawn = st.builds(ConvConfig, x_format=fxp_formats(), mode=float_modes())
    config = draw(or_drawn(config, drawn))
    return Family(name, config, _quantizer_words(config, draw(map_shapes()), name.endswith("stochastic")))


@st.composite
def _dequantizer_words(draw: DrawFn, config: ConvConfig, shape: tuple[int, ...], per_channel: bool) -> Words:
    register, noise = config.accumulator, draw(noises())
    values = stimulus.int32s(noise.stream, 512)
    values = values[(values >= register.min) & (values <= register.max)]
    acc = noise.among(np.zeros(shape, np.int32), values, 1)
    inside = int32s().map(lambda i: max(register.min, min(register.max, i)))
    ends = st.sampled_from((register.min, register.max))
    words = [draw(scales()) for _ in range(shape[-1] if per_channel else 1)]
    scale = np.array(words, np.uint16) if per_channel else scalar(words[0])
    return {"acc": draw(patched(acc, inside | ends)), "scale": scale}


@st.composite
def dequantize_families(draw: DrawFn, name: str, config: ConvConfig | None = None) -> Family:
    """A dequantizer, fused or two_step, of registers of 8 to 32 bits (SPEC.md D1, D2)."""
    drawn = st.builds(
        ConvConfig, accumulator=accumulators(), dequantize=st.sampled_from(Dequantize), mode=float_modes()
    )
    config = draw(or_drawn(config, drawn))
    return Family(name, config, _dequantizer_words(config, draw(map_shapes()), draw(st.booleans())))


@st.composite
def pack_families(draw: DrawFn, name: str, config: Fxp | None = None) -> Family:
    """Codes in memory, rows of even and odd length (SPEC.md Q5)."""
    fmt = draw(or_drawn(config, fxp_formats()))
    return Family(name, fmt, st.fixed_dictionaries({"code": codes(fmt, draw(map_shapes()))}))


@st.composite
def _runs(draw: DrawFn, runs: int, count: int) -> Words:
    most = (1 << 31) - 1 - count
    near_period = st.integers(65535 - count, 65537)
    starts = [draw(st.integers(0, 64) | near_period | st.integers(0, most)) for _ in range(runs)]
    seed = scalar(draw(seeds()))
    return {"start": np.array(starts, np.int32), "seed": seed, "count": scalar(count, np.int32)}


@st.composite
def lfsr_families(draw: DrawFn, name: str, config: FloatMode | None = None) -> Family:
    """Runs of the LFSR's words, from the first element, across its period, and far on (SPEC.md Q3)."""
    words = _runs(draw(st.integers(1, 3)), draw(st.integers(1, 20)))
    return Family(name, config or FloatMode(), words)
