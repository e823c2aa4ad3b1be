"""Problems of products, sigmoids, upsampling and depth to space, as words (SPEC.md A8 to A13, V4).

Every builder takes a stream, and so gives the same words for the same key. Standard library and numpy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bitrow.config import (
    DepthToSpaceConfig,
    HardSigmoidConfig,
    MultiplyConfig,
    SigmoidConfig,
    SiluConfig,
    UpsampleConfig,
)
from bitrow.contract import depth_to_space as contract_depth
from bitrow.contract import multiply as contract_multiply
from bitrow.contract import upsample as contract_upsample
from bitrow.contract.operation import Operation
from bitrow.oracle.arrays import Words
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus.problems import pair_words
from bitrow.vectors.stimulus.stream import FINITE_WORDS, SPECIAL_WORDS, Stream, spread, sprinkle


def _around(*magnitudes: int) -> np.ndarray:
    """Words of both signs at these magnitudes, and beside them."""
    found = [sign | word for at in magnitudes for word in (at, max(at - 1, 0), at + 1) for sign in (0, 0x8000)]
    return np.array(found, np.uint16)


def _halves(values: np.ndarray) -> np.ndarray:
    return np.abs(np.asarray(values, np.float64)).astype(np.float16).view(np.uint16)


def edges(config: Any) -> np.ndarray:
    """Where an activation changes what it does, and the words beside it: of x, or of the result that it kept."""
    if isinstance(config, SigmoidConfig | SiluConfig):
        entries = np.arange(1, 9) * 8 / (1 << config.table_bits)
        return _around(0x4800, 0x3C00, *_halves(entries).tolist())
    assert isinstance(config, HardSigmoidConfig)
    alpha, beta = (float(np.array(word, np.uint16).view(np.float16)) for word in (config.alpha, config.beta))
    with np.errstate(over="ignore"):
        turns = _halves(np.array([-beta / alpha, (1 - beta) / alpha]))
    found = [int(turn) + step for turn in turns if turn < 0x7BF0 for step in range(-3, 4) if int(turn) + step >= 0]
    return np.array([sign | word for word in (*found, 0x3C00, 0x3BFF, 0x3C01) for sign in (0, 0x8000)], np.uint16)


def _map(stream: Stream, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Channels of words of these exponents, of tiny, huge and middling ones; the last of few bits, so that roundings
    tie.
    """
    words = spread(stream, shape, low, high)
    for channel, (least, most) in enumerate(((-14, -12), (13, 15), (-1, 1)), start=1):
        if channel < shape[-1]:
            words[..., channel] = spread(stream, shape[:-1], least, most)
    words[..., -1] &= 0xFF80
    return words


def activation(stream: Stream, name: str, operation: Operation, config: Any, shape=(1, 4, 8, 5)) -> Problem:
    """A sigmoid of any kind: words at its edges and special ones, of x, of a result that was kept, and of dy."""
    given: Words = {}
    for at, of in enumerate(operation.inputs):
        words = _map(stream, shape, -3 - 4 * at, 2 - 2 * at)
        words = sprinkle(stream, words, edges(config), 5) if of != "dy" else words
        given[of] = sprinkle(stream, words, SPECIAL_WORDS, 8)
    return Problem(name, operation, config, given)


def multiply(stream: Stream, name: str, config: MultiplyConfig, backward: bool, shape=(1, 3, 8, 4)) -> Problem:
    """Factors in pairs that hit every bin of a product; of a gate, channels of each kind of sum."""
    operation = {(False, False): contract_multiply.FORWARD, (False, True): contract_multiply.BACKWARD,
                 (True, False): contract_multiply.GATE_FORWARD,
                 (True, True): contract_multiply.GATE_BACKWARD}[config.gate, backward]  # fmt: skip
    pairs = pair_words(stream, config.mode, int(np.prod(shape)), "mul")
    x, other = (pairs[of].reshape(shape) for of in "ab")
    if config.gate:
        given = {"x": x, "gate": _gate(stream, (shape[0], 1, 1, shape[3]))}
        if backward:
            given["x"], given["dy"] = _sums(stream, shape)
        return Problem(name, operation, config, given)
    given = {"x": x, "other": other}
    if backward:
        given["dy"] = sprinkle(stream, _map(stream, shape, -6, 0), SPECIAL_WORDS, 6)
    return Problem(name, operation, config, given)


def _gate(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Words between 0 and 1, the first a small one and the last of many bits."""
    words = spread(stream, shape, -3, -1) & 0x7FFF
    words[..., 0], words[..., -1] = 0x1555, 0x3955
    return words


def _sums(stream: Stream, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Factors whose products' sums are ordinary, tiny, huge, of few bits, infinite and NaN, by channel."""
    x, dy = (_map(stream, shape, low, low + 4) for low in (-4, -6))
    dy[..., 1] = spread(stream, shape[:3], -12, -10)
    if shape[3] > 4:
        x[..., 4], dy[..., 4] = 0x3C00, spread(stream, shape[:3], -2, 0) & 0xFC00  # sums of few bits
        dy[0, 0, 0, 4] = 0x1000
    if shape[3] > 5:
        x[..., 5], x[0, 0, 0, 5], dy[0, 0, 0, 5] = x[..., 5] & 0x7FFF, 0x7C00, 0x3C00
    if shape[3] > 6:
        dy[..., 6] = sprinkle(stream, dy[..., 6], SPECIAL_WORDS, 2)
    if shape[3] > 7:  # rows of -0: no tree pads a width of 2^k, so the first sum is +0 of +0 and -0
        x[..., 7], dy[..., 7] = 0x8000, 0x3C00
    return x, dy


def upsample(stream: Stream, name: str, config: UpsampleConfig, backward: bool, shape=(1, 3, 4, 4)) -> Problem:
    """Words of every kind; of gradients, windows whose first two hit every bin of a sum."""
    n, h, w, c = shape
    if not backward:
        x = sprinkle(stream, spread(stream, shape, -4, 3), SPECIAL_WORDS, 3)
        return Problem(name, contract_upsample.FORWARD, config, {"x": x})
    dy = sprinkle(stream, spread(stream, (n, h * config.rows, w * config.columns, c), -4, 3), FINITE_WORDS, 6)
    if config.columns > 1:
        pairs = pair_words(stream, config.mode, int(np.prod(shape)))
        for at, of in enumerate("ab"):
            dy[:, :: config.rows, at :: config.columns] = pairs[of].reshape(shape)
    return Problem(name, contract_upsample.BACKWARD, config, {"dy": dy})


def depth_to_space(
    stream: Stream, name: str, config: DepthToSpaceConfig, backward: bool, shape=(1, 2, 3, 8)
) -> Problem:
    """Words of every kind, which only move."""
    n, h, w, c = shape
    block = config.block
    size = (n, h * block, w * block, c // block**2) if backward else shape
    words = sprinkle(stream, spread(stream, size, -4, 3), SPECIAL_WORDS, 4)
    operation = contract_depth.BACKWARD if backward else contract_depth.FORWARD
    return Problem(name, operation, config, {"dy" if backward else "x": words})
