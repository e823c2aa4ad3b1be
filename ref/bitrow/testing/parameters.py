"""Parameters: FP16 modes, code formats, codes, scales, accumulators, seeds (SPEC.md F, Q, M)."""

from __future__ import annotations

import functools

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bitrow.config.windows import Pair, Sides
from bitrow.formats import LFSR_PERIOD, AccOverflow, Accumulator, FlagMode, FloatMode, Fxp, Overflow, Rounding, Tininess
from bitrow.testing.words import noises, patched
from bitrow.vectors.stimulus import stream as stimulus

_NEAR_ONE_FIRST = sorted(range(1, 30), key=lambda field: (abs(field - 15), field))


@functools.cache
def float_modes() -> SearchStrategy[FloatMode]:
    """All twenty modes of FP16 arithmetic (SPEC.md F3, F5, F6); shrinks to nearest even."""
    return st.builds(
        FloatMode,
        st.sampled_from(tuple(Rounding)),
        st.sampled_from(tuple(Overflow)),
        st.booleans(),
    )


@functools.cache
def flag_modes() -> SearchStrategy[FlagMode]:
    """All forty modes of operations that report their exceptions (SPEC.md F13); shrinks to nearest even."""
    return st.builds(
        lambda mode, tininess: FlagMode(mode.rounding, mode.overflow, mode.flush, tininess),
        float_modes(),
        st.sampled_from(tuple(Tininess)),
    )


@functools.cache
def fxp_formats(least: int = 2, most: int = 8) -> SearchStrategy[Fxp]:
    """Code formats of `least` to `most` bits: signed, narrow, unsigned (SPEC.md F7)."""
    kinds = st.sampled_from(((True, False), (True, True), (False, False)))
    return st.builds(lambda bits, kind: Fxp(bits, *kind), st.sampled_from((4, 8, 2, 3, 5, 6, 7)).filter(
        lambda bits: least <= bits <= most), kinds)  # fmt: skip


@st.composite
def codes(draw: DrawFn, fmt: Fxp, shape: int | tuple[int, ...]) -> np.ndarray:
    """Codes of `fmt`, int8 or uint8: all zero, smallest, largest, or noise from a seed; a few drawn."""
    shape = (shape,) if isinstance(shape, int) else shape
    noise = draw(noises())
    words = stimulus.codes(noise.stream, shape, fmt)
    fill = draw(st.sampled_from((None, None, fmt.max, fmt.min)))
    words = noise.calm(words) if fill is None else np.full_like(words, fill)
    return draw(patched(words, st.integers(fmt.min, fmt.max), 3))


@st.composite
def scales(draw: DrawFn, power_of_two: bool | None = None, fields: tuple[int, int] = (1, 29)) -> int:
    """Scales as FP16 words: positive, from 2^-14 to 2^14 (SPEC.md F8); shrinks to 1.

    Args:
        power_of_two: whether the scale is one, which makes the quantizer pure fixed point; None draws either.
        fields: the least and greatest exponent field, of 1 to 29.
    """
    field = draw(st.sampled_from([f for f in _NEAR_ONE_FIRST if fields[0] <= f <= fields[1]]))
    if power_of_two is None:
        power_of_two = draw(st.booleans())
    fraction = 0 if power_of_two or field == 29 else draw(st.integers(1, 1023))
    return field << 10 | fraction


def product_fields(first: int) -> tuple[int, int]:
    """Exponent fields of the scales whose product with the scale `first` is surely normal (SPEC.md D3)."""
    field = first >> 10
    return max(1, 16 - field), min(29, 44 - field)


@st.composite
def accumulators(draw: DrawFn, bound: int = 0) -> Accumulator:
    """MAC registers of 8 to 32 bits: `wrap`, `saturate`, or `error` where it holds `bound` (SPEC.md M2).

    A `bound` draws most registers at its width and up to 7 bits below, where sums leave the register.
    """
    overflow = draw(st.sampled_from(tuple(AccOverflow)))
    fits = min(32, max(8, bound.bit_length() + 1))
    least = fits if overflow is AccOverflow.ERROR else 8
    near = st.integers(max(least, fits - 7), fits)
    bits = draw(near if bound and draw(st.integers(0, 3)) else st.integers(least, 32))
    return Accumulator(bits, overflow)


@functools.cache
def seeds() -> SearchStrategy[int]:
    """Seeds of the LFSR: 1 to 65,535 (SPEC.md Q3)."""
    return st.sampled_from((1, 0x8000, 0xFFFF, 0xACE1)) | st.integers(1, LFSR_PERIOD)


def pairs(one: SearchStrategy[int]) -> SearchStrategy[Pair]:
    """The same for rows and columns, mostly, or one each."""
    return st.integers(0, 3).flatmap(lambda kind: st.tuples(one, one) if kind == 3 else one)


def edges(one: SearchStrategy[int]) -> SearchStrategy[Sides]:
    """The same for all sides of a map, mostly, or one for each."""
    return st.integers(0, 3).flatmap(lambda kind: st.tuples(one, one, one, one) if kind == 3 else one)
