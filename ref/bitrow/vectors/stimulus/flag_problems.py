"""Problems of operations with flags: operands on both sides of each exception, as words (SPEC.md F11 to F14, Q6).

Standard library and numpy only.
"""

from __future__ import annotations

import numpy as np

from bitrow.contract.exceptions import FLAGGED
from bitrow.formats import FlagMode, Fxp
from bitrow.oracle.arrays import Words
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus import corner_problems, problems
from bitrow.vectors.stimulus import stream as stimulus
from bitrow.vectors.stimulus.stream import SPECIAL_WORDS, Stream

_COUNT = 1 << 12
_EDGE = 0x387FE000  # FP32: the last numbers below FP16's smallest normal one have this and lower bits


def _signs(stream: Stream, words: np.ndarray) -> np.ndarray:
    """Positive words, half of them negative."""
    top = 8 * words.dtype.itemsize - 1
    return words | (stream.below(2, words.shape) << top).astype(words.dtype)


def _almost_normal(stream: Stream, count: int) -> tuple[np.ndarray, np.ndarray]:
    """FP16 factors whose product lies below 2^-14 by less than half of what 11 bits tell apart there."""
    first, second = np.meshgrid(np.arange(1024, 1449), np.arange(1449, 2048), indexing="ij")
    product = first * second
    near = np.flatnonzero((product < 1 << 21) & (product > (1 << 21) - (1 << 9)))
    chosen = stream.choice(near, count)
    fields = stream.between(2, 14, count)  # with 16 less they add up to 2^-14
    a = fields << 10 | (first.reshape(-1)[chosen] & 0x3FF)
    b = (16 - fields) << 10 | (second.reshape(-1)[chosen] & 0x3FF)
    return _signs(stream, a.astype(np.uint16)), _signs(stream, b.astype(np.uint16))


def _pairs(stream: Stream, subtract: bool) -> Words:
    a, b = stimulus.pairs(stream, _COUNT)
    aligned = corner_problems.aligned_pairs(stream, subtract)
    near_a, near_b = _almost_normal(stream, 64)
    # sums and differences that are subnormal: of normal numbers, which nothing flushes
    small = 0x0400 + stream.below(1 << 10, (2, 64))
    special_a, special_b = stimulus.special_pairs()
    return {
        "a": np.concatenate([aligned["a"], near_a, _signs(stream, small[0].astype(np.uint16)), a, special_a]),
        "b": np.concatenate([aligned["b"], near_b, _signs(stream, small[1].astype(np.uint16)), b, special_b]),
    }


def _triples(stream: Stream) -> Words:
    a, b, c = stimulus.triples(stream, _COUNT)
    near_a, near_b = _almost_normal(stream, 64)
    zeros = _signs(stream, np.zeros(64, np.uint16))
    quiet = np.array([0x7E00, 0xFE01, 0x7D00, 0x7C00], np.uint16)  # beside them a signalling NaN, and no NaN
    return {
        "a": np.concatenate([near_a, np.full(4, 0x7C00, np.uint16), a]),
        "b": np.concatenate([near_b, np.full(4, 0x8000, np.uint16), b]),
        "c": np.concatenate([zeros, quiet, c]),
    }


def _singles(stream: Stream, count: int) -> np.ndarray:
    """FP32 words, those among them that lie below FP16's smallest normal number."""
    edge = _EDGE | stream.between(0, (1 << 13) - 1, 64)
    large = np.array([0x477FE000, 0x477FEFFF, 0x477FF000, 0x47800000, 0x7F800000, 0x7FC00000, 0x7FA00000], np.uint32)
    return np.concatenate([_signs(stream, edge.astype(np.uint32)), large, stimulus.float32s(stream, count)])


def _wide(stream: Stream, factor: bool) -> Words:
    """FP32 pairs; beside an edge mostly a neutral word."""
    a, b = _singles(stream, _COUNT), _singles(stream.child("b"), _COUNT)
    place = np.arange(b.size) % 8
    b = np.where(place < 6, np.uint32(0x3F800000 if factor else 0x80000000), b)
    b = np.where(place == 6, np.uint32(0) if factor else a ^ np.uint32(1 << 31), b)  # nothing, or undefined
    return {"a": a, "b": b}


def _scaled(stream: Stream) -> Words:
    acc = stimulus.int32s(stream, _COUNT)
    scale = stimulus.spread(stream, acc.shape, -14, 14) & 0x7FFF
    return {"acc": acc, "scale": scale.astype(np.uint16)}


def _codes(stream: Stream, fmt: Fxp, drawn: bool) -> Words:
    t = np.concatenate([stimulus.quantizer_words(0x3C00, fmt), SPECIAL_WORDS, stimulus.spread(stream, (256,), -16, 8)])
    if not drawn:
        return {"t": t}
    word = stream.words(16, t.shape)
    word = np.where(np.arange(t.size) % 4 == 0, stream.choice(np.array([1, 0x8000, 0xFFFF]), t.shape), word)
    word = np.maximum(word, 1).astype(np.uint16)  # no LFSR state is 0
    aimed = corner_problems.low_bit_words(stream, 6)
    return {"t": np.concatenate([aimed[0], t]), "word": np.concatenate([aimed[1], word])}


def candidates(stream: Stream, kind: str, config: FlagMode | Fxp) -> Words:
    """Operands of `flags.KIND`, many more than a case holds."""
    operation = FLAGGED[kind]
    if isinstance(config, Fxp):
        return _codes(stream, config, kind == "to_drawn_code")
    match kind:
        case "add_fp32" | "mul_fp32":
            return _wide(stream, kind == "mul_fp32")
        case "dequantize":
            return _scaled(stream)
        case "from_float32":
            return {"x": _singles(stream, _COUNT)}
        case "fma":
            return _triples(stream)
    names = tuple(operation.inputs)
    return _pairs(stream, kind == "sub") if len(names) == 2 else problems.operands(stream, names)


def flagged(
    stream: Stream, name: str, kind: str, config: FlagMode | Fxp, count: int = 64, per_bin: int = 2
) -> Problem:
    """`flags.KIND` on `count` elements chosen to hit every bin that the candidates hit, `per_bin` times."""
    operation = FLAGGED[kind]
    given = problems.selected(operation, config, candidates(stream, kind, config), count, per_bin)
    return Problem(name, operation, config, given)
