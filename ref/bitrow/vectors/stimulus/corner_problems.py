"""Problems in which one detail decides every result: an alignment's sticky bit, the last bits of a stochastic word, the
order of a sum (SPEC.md F2, Q3, A3, A4, A8).

Every builder takes a stream, and so gives the same words for the same key. Standard library and numpy only.
"""

from __future__ import annotations

import numpy as np

from bitrow.config import AvgPoolConfig, ConvConfig, LinearConfig, MultiplyConfig
from bitrow.contract import fixed_point, linear, multiply, pool
from bitrow.contract.conv import BACKWARD
from bitrow.contract.units import UNITS
from bitrow.formats import FloatMode, QuantRounding
from bitrow.oracle import lfsr
from bitrow.oracle.arrays import Words
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus.stream import Stream, spread

_ONE = np.array(0x3C00, np.uint16)


def aligned_pairs(stream: Stream, subtract: bool, count: int = 9) -> Words:
    """FP16 pairs whose exact sum (difference) lies beside half way by one bit of the smaller operand, `count` of each
    sign of it: that bit lies 2 to 10 places below the larger operand's last one, and says where the result goes."""
    depth = np.arange(count) % 9 + 2
    even = stream.below(1 << 9, (2, count)) << 1
    field = stream.between(14, 28, (2, count))
    a = field << 10 | even
    # half of the larger one's last place, and one bit `depth` places below that place
    b = field - 11 << 10 | 1 << (11 - depth)
    sign = stream.below(2, (2, count)) << 15
    a, b = a | sign, b | sign
    b[1] ^= 0x8000
    words = {"a": a.astype(np.uint16).reshape(-1), "b": b.astype(np.uint16).reshape(-1)}
    words["b"] ^= np.uint16(0x8000 if subtract else 0)
    swap = stream.below(2, 2 * count) == 1
    if subtract:  # a - b is (-b) - (-a)
        first, second = np.where(swap, words["b"] ^ 0x8000, words["a"]), np.where(swap, words["a"] ^ 0x8000, words["b"])
    else:
        first, second = np.where(swap, words["b"], words["a"]), np.where(swap, words["a"], words["b"])
    return {"a": first.astype(np.uint16), "b": second.astype(np.uint16)}


def aligned(stream: Stream, name: str, kind: str, mode: FloatMode = FloatMode()) -> Problem:
    """Sums or differences (`kind`) that a sticky bit of the alignment decides."""
    return Problem(name, UNITS[kind], mode, aligned_pairs(stream, kind == "sub"))


def reaching(word: np.ndarray) -> np.ndarray:
    """For LFSR words below 2^11 the FP16 t (uint16) with which t + word/65536 is 0, just reached."""
    return (-word / 65536.0).astype(np.float16).view(np.uint16)


def low_bit_words(stream: Stream, count: int) -> tuple[np.ndarray, np.ndarray]:
    """FP16 t and words of the LFSR that reach an integer by the word's last bit; every third misses it by that."""
    word = stream.below(1 << 10, count) * 2 + 1
    t = np.where(np.arange(count) % 3 == 2, reaching(word + 1), reaching(word))
    return t.astype(np.uint16), word.astype(np.uint16)


def low_bits(stream: Stream, name: str, config: ConvConfig, count: int = 24) -> Problem:
    """A stochastic quantizer of t and words of which the last bit says what the code is."""
    t, word = (words.reshape(1, 1, -1, 2) for words in low_bit_words(stream, count))
    return Problem(name, fixed_point.QUANTIZE_STOCHASTIC, config, {"x": t, "words": word, "x_inv_scale": _ONE})


def low_bits_of_dy(stream: Stream, name: str) -> Problem:
    """An input gradient whose dy reaches a code by the last bit of its word, wherever the word has 11 bits at most."""
    config = ConvConfig(dy_rounding=QuantRounding.STOCHASTIC)
    shape, few = (1, 4, 6, 2), 4
    for seed in range(1, 1 << 10):  # a seed of the LFSR that draws enough words of few bits
        words = np.array(lfsr.words(seed, 0, 48)).reshape(shape)
        short = (words < 1 << 11) & (words & 1 == 1)
        if short.sum() >= few:
            break
    dy = np.where(short, reaching(words), spread(stream, shape, -3, 1)).astype(np.uint16)
    weight = np.array([[[[1, 2], [-3, 5]]]], np.int8)
    given: Words = {
        "dy": dy, "mask": (stream.below(4, shape) > 0).astype(np.uint8), "weight_code": weight, "w_scale": _ONE,
        "dy_inv_scale": _ONE, "dx_scale": _ONE, "seed": np.array(seed, np.uint16),
    }  # fmt: skip
    return Problem(name, BACKWARD, config, given)


def cancelling(stream: Stream, rows: int, width: int) -> np.ndarray:
    """Rows of numbers (float64, of 11 bits) whose FP32 sum is another in any other order: large ones that cancel, and
    small ones that are lost beside them."""
    values = np.zeros((rows, width))
    large = 2.0 ** stream.between(12, 14, rows) * (1024 + stream.below(1024, rows)) / 1024
    small = 2.0 ** -stream.between(14, 15, (rows, width)) * (1024 + stream.below(1024, (rows, width))) / 1024
    values[:] = small
    values[:, 0], values[:, 2] = large, -large
    return values


def _words(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).view(np.uint16)


def head(stream: Stream, name: str, backward: bool, n: int = 3) -> Problem:
    """A head of six terms that cancel: its result is that of the tree alone."""
    x, terms = _words(cancelling(stream, n, 6)), (6, 2)
    weight = np.full(terms, _ONE)
    weight[1::2, 1] |= 0x8000  # of small terms
    if backward:
        given = {"dy": x, "weight": weight.T.copy()}
        return Problem(name, linear.BACKWARD, LinearConfig(), given)
    return Problem(name, linear.FORWARD, LinearConfig(), {"x": x, "weight": weight, "bias": np.zeros(2, np.uint32)})


def average(stream: Stream, name: str) -> Problem:
    """Averages of windows of one row whose elements cancel."""
    x = np.stack([cancelling(stream, 4, 6)], axis=-1).reshape(1, 4, 6, 1)
    return Problem(name, pool.AVG_FORWARD, AvgPoolConfig((1, 6)), {"x": _words(x)})


def gate(stream: Stream, name: str) -> Problem:
    """Gradients of a gate whose products cancel in each row."""
    rows = cancelling(stream, 3, 6).T.reshape(1, 1, 6, 3)
    given = {"x": _words(rows), "dy": np.full(rows.shape, _ONE), "gate": np.full((1, 1, 1, 3), _ONE)}
    return Problem(name, multiply.GATE_BACKWARD, MultiplyConfig(gate=True), given)
