"""What the strategies of problems share: families, and how numbers and words meet."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bitrow.formats import Fxp
from bitrow.host import inverse_scale
from bitrow.testing.words import fp16_bits, noises, patched
from bitrow.vectors.operations import Words


class Family(NamedTuple):
    """Problems of one operation, configuration and set of shapes: they stack, and share a compiled kernel."""

    operation: str
    config: Any
    words: SearchStrategy[Words]


Families = SearchStrategy[Family]


def half(value: float) -> np.ndarray:
    """The word of an FP16 number, uint16 []."""
    return np.array(value, np.float16).view(np.uint16)


def number(word: int) -> float:
    """The number of an FP16 word."""
    return float(np.array(word, np.uint16).view(np.float16))


def scalar(word: int, dtype: type = np.uint16) -> np.ndarray:
    """A word as an array []."""
    return np.array(word, dtype)


def or_drawn(config: Any, drawn: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """`config` if there is one, else `drawn`."""
    return drawn if config is None else st.just(config)


def map_shapes() -> SearchStrategy[tuple[int, int, int, int]]:
    """Shapes `n h w c` of small maps, odd ones too."""
    return st.tuples(*(st.integers(1, most) for most in (2, 3, 5, 4)))


def quantizer_pool(scale: float, fmt: Fxp) -> np.ndarray:
    """FP16 words (uint16) at every tie and code of a quantizer, one step outside, and beside them; and those whose
    product with the inverse scale is itself half way between two FP16 numbers."""
    steps = np.arange(2 * fmt.min - 3, 2 * fmt.max + 4) / 2.0
    with np.errstate(over="ignore"):
        words = np.clip(steps * scale, -65504.0, 65504.0).astype(np.float16).view(np.uint16)
    magnitude = (words & 0x7FFF).astype(np.int64)
    beside = [np.clip(magnitude + off, 0, 0x7FFF).astype(np.uint16) | (words & 0x8000) for off in (-1, 0, 1)]
    return np.concatenate([*beside, _product_ties(scale, fmt)])


def _product_ties(scale: float, fmt: Fxp) -> np.ndarray:
    """FP16 words in a quantizer's range whose exact product with the inverse scale takes 12 bits, the last a one."""
    inverse = int(half(inverse_scale(scale))) & 0x3FF | 0x400
    significands = np.arange(0x400, 0x800, dtype=np.int64)
    product = significands * inverse
    dropped = np.where(product >> 21, 11, 10)
    ties = significands[product & (1 << dropped) - 1 == 1 << dropped - 1]
    top = np.floor(np.log2(scale)) + fmt.bits - 12
    near = [ties * 2.0 ** np.clip(top - down, -24, 4) for down in range(3)]
    words = np.concatenate(near).astype(np.float16).view(np.uint16)
    return np.concatenate([words, words | 0x8000])


def extreme_words(scale: float, fmt: Fxp) -> tuple[int, int]:
    """FP16 words that quantize to the smallest and to the largest code, unsigned formats having but zero below."""
    far = min(scale * 4.0 * fmt.max, 65504.0)
    return int(half(-far)), int(half(far))


@st.composite
def quantizer_maps(draw: DrawFn, shape: tuple[int, ...], scale: float, fmt: Fxp) -> np.ndarray:
    """FP16 words (uint16) over a quantizer's range, half of them on its edges; or nearly all at one of its ends, so
    that sums of codes are as large as they can be. A few are special, a few as large as FP16 has, a few drawn."""
    noise = draw(noises())
    top = int(np.floor(np.log2(scale))) + fmt.bits - 1
    words = noise.among(noise.spread(shape, top - 5, top + 1), quantizer_pool(scale, fmt))
    end = draw(st.sampled_from((None, None, 1, 0)))
    if end is not None:
        full = noise.calm(np.full(shape, extreme_words(scale, fmt)[end], np.uint16))
        words = noise.among(full, words.reshape(-1), 16)
    elif draw(st.booleans()):
        words = noise.special(words, 16)
    return draw(patched(words, fp16_bits() | st.sampled_from((0x7BFF, 0xFBFF))))
