"""Problems of the layers other than convolutions, as words (SPEC.md B, A, V4).

Every builder takes a stream, and so gives the same words for the same key. Standard library and numpy only.
"""

from __future__ import annotations

import numpy as np

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    LayerConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    Statistics,
)
from bitrow.contract import batch_norm, elementwise, pool
from bitrow.contract import linear as contract_linear
from bitrow.contract.operation import Operation
from bitrow.formats import FP32, FloatMode
from bitrow.oracle.arrays import Words
from bitrow.vectors.coverage import exact
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus import aim
from bitrow.vectors.stimulus.problems import pair_words
from bitrow.vectors.stimulus.stream import FINITE_WORDS, SPECIAL_WORDS, Stream, spread, sprinkle


def norm_frozen(
    stream: Stream, name: str, config: BatchNormConfig, backward: bool, shape=(2, 4, 5, 6)
) -> Problem:
    """Frozen batch norm: channels of ordinary, tiny, huge and sparse coefficients; every special word in
    y."""
    channels = shape[3]
    a = spread(stream, (channels,), -3, 2)
    a[: min(6, channels)] = [0x3E00, 0x0123, 0x7800, 0xB812, 0x0C00, 0xC400][: min(6, channels)]
    b = spread(stream, (channels,), -4, 3)
    b[: min(4, channels)] = [0x3555, 0x8001, 0x77FF, 0x0000][: min(4, channels)]
    y = sprinkle(stream, spread(stream, shape, -6, 5), SPECIAL_WORDS, 6)
    if backward:
        return Problem(name, batch_norm.BACKWARD_FROZEN, config, {"dz": y, "a": a})
    return Problem(name, batch_norm.FORWARD_FROZEN, config, {"y": y, "a": a, "b": b})


# what each channel of a batch-statistics problem holds: exponents, then a few words put in
_CHANNELS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (-2, 2, (0x0000, 0x8000, 0x3C00)),
    (-1, 1, (0x7E00, 0x7D55)),
    (-1, 1, (0x7C00,)),
    (0, 0, (0xFC00, 0x7C00)),
    (-14, -13, (0x0001, 0x83FF, 0x0400, 0x8401)),
    (14, 15, (0x7BFF, 0xFBFF, 0x7BFF)),
    (6, 6, ()),
    (-5, 3, (0x3C00, 0x3C01)),
)


def _norm_map(stream: Stream, shape: tuple[int, int, int, int]) -> np.ndarray:
    n, h, w, channels = shape
    y = np.zeros(shape, np.uint16)
    for c in range(channels):
        low, high, put = _CHANNELS[c % len(_CHANNELS)]
        part = spread(stream, (n, h, w), low, high)
        if low == high == 6:
            part = part & 0x7C0F  # large mean, small variance: the subtraction of B2 cancels
        flat = part.reshape(-1)
        flat[np.arange(len(put)) * flat.size // max(1, len(put))] = put
        y[..., c] = part
    if w & (w - 1) == 0:  # no tree pads its row with +0: its sum is -0, and that of the first row +0
        y[0, 0, :, -1] = 0x8000
    return y


def _constant_word(config: BatchNormConfig, shape: tuple[int, int, int, int]) -> int | None:
    """A word whose variance B2 makes negative, in a channel that holds nothing else; None where none is found."""
    words = np.arange(0x3C01, 0x3C01 + 256, dtype=np.uint16)
    ones = np.full(words.shape, 0x3F800000, np.uint32)
    given = {"y": np.broadcast_to(words, (*shape[:3], words.size)), "gamma": ones, "beta": ones, "eps": ones[0]}
    variance = batch_norm.FORWARD_BATCH.oracle(config, given)["var_raw"]
    found = words[exact.decode(variance, config.accumulator).negative & (variance != config.accumulator.sign_mask)]
    return int(found[0]) if found.size else None


def _norm_host(stream: Stream, channels: int) -> Words:
    """gamma, beta and eps as FP32 words."""
    gamma = spread(stream, (channels,), -1, 1).view(np.float16).astype(np.float32)
    if channels > 5:
        gamma[5] = np.uint32(0x00400001).view(np.float32)  # subnormal in FP32, and so is a (F9)
    beta = spread(stream, (channels,), -3, 1).view(np.float16).astype(np.float32)
    if channels > 5:
        beta[5] = np.uint32(0x3F803000).view(np.float32)  # b beside a, above half way between two FP16 numbers
    return {
        "gamma": gamma.view(np.uint32) ^ stream.below(256, channels).astype(np.uint32),
        "beta": beta.view(np.uint32) ^ stream.below(256, channels).astype(np.uint32),
        "eps": np.array(0x3727C5AC, np.uint32),  # 1e-5
    }


def norm_batch(
    stream: Stream, name: str, config: BatchNormConfig, backward: bool, shape=(2, 3, 5, 8)
) -> Problem:
    """Batch statistics: one channel each for ordinary values, NaN, infinities, subnormals, overflow,
    cancellation."""
    assert config.statistics is Statistics.BATCH
    y = _norm_map(stream, shape)
    constant = _constant_word(config, shape)
    if constant is not None and shape[3] > 6:
        y[..., 6] = constant
    host = _norm_host(stream, shape[3])
    if not backward:
        return Problem(name, batch_norm.FORWARD_BATCH, config, {"y": y, **host})
    taps = batch_norm.FORWARD_BATCH.oracle(config, {"y": y, **host})
    dz = sprinkle(stream, spread(stream, shape, -10, 0), FINITE_WORDS, 24)
    dz[..., 0] = spread(stream, shape[:3], -3, 0)
    for at, word in enumerate((0x7E00, 0x7C01, 0x7C00)):
        dz[..., min(5, shape[3] - 1)].reshape(-1)[at] = word
    return Problem(
        name,
        batch_norm.BACKWARD_BATCH,
        config,
        {"dz": dz, "y": y, **{tap: taps[tap] for tap in ("mean", "r", "a", "a16")}},
    )


def relu(stream: Stream, name: str, config: ReluConfig, backward: bool, shape=(1, 4, 8, 4)) -> Problem:
    """Zeros, NaNs, infinities and 6 with its neighbours among words around 1."""
    words = np.concatenate([SPECIAL_WORDS, np.array([0x4600, 0x4601, 0x45FF, 0xC600], np.uint16)])
    given = {"x": sprinkle(stream, spread(stream, shape, -3, 3), words, 3)}
    if backward:
        # the other way round, so that special words of x and dy do not meet their own kind
        given["dy"] = sprinkle(stream, spread(stream, shape, -12, 0), SPECIAL_WORDS[::-1], 3)
    return Problem(name, elementwise.RELU_BACKWARD if backward else elementwise.RELU_FORWARD, config, given)


# Where activations change what they do, and the words beside it.
_EDGES = np.array([0x4200, 0xC200, 0x41FF, 0xC1FF, 0x4201, 0xC201, 0x4600, 0x4601, 0x45FF], np.uint16)


def edge_map(stream: Stream, size: tuple[int, int, int, int], at: int) -> np.ndarray:
    """A map for a layer's input number `at`: edges of activations and special words among words of many sizes."""
    words = spread(stream, size, -3 - at, 2 - 2 * at)
    for channel, (low, high) in enumerate(((-14, -12), (13, 15), (-1, 1), (0, 2)), start=1):
        if channel < size[3]:
            words[..., channel] = spread(stream, size[:3], low, high)
    words[..., -1] &= 0xFF80  # of few bits, so that roundings tie
    return sprinkle(stream, sprinkle(stream, words, _EDGES, 6), SPECIAL_WORDS, 8)


def plain(stream: Stream, name: str, operation: Operation, config: LayerConfig, shape=(1, 4, 8, 5)) -> Problem:
    """A layer of maps alone: edges of activations and special words; channels of any, tiny, huge and short words.

    A second map of other channels, where the operation's axes say so, has two.
    """
    given: Words = {}
    for at, (of, line) in enumerate(operation.inputs.items()):
        size = shape if line.axes[3] in ("c", operation.program.lines[0].axes[3]) else (*shape[:3], 2)
        given[of] = edge_map(stream, size, at)
    return Problem(name, operation, config, given)


def add(stream: Stream, name: str, config: AddConfig, shape=(1, 4, 8, 6)) -> Problem:
    """A residual add that hits every bin of a sum."""
    count = int(np.prod(shape))
    given = pair_words(stream, config.mode, count)
    maps = {"x": given["a"].reshape(shape), "shortcut": given["b"].reshape(shape)}
    return Problem(name, elementwise.ADD_FORWARD, config, maps)


def accumulate(stream: Stream, name: str, mode: FloatMode, consumers: int = 3, shape=(1, 4, 8, 6)) -> Problem:
    """Gradients of several consumers: the first two hit every bin of a sum."""
    count = int(np.prod(shape))
    given = pair_words(stream, mode, count)
    rest = [sprinkle(stream, spread(stream, shape, -4, 2), FINITE_WORDS) for _ in range(consumers - 2)]
    dys = np.stack([given["a"].reshape(shape), given["b"].reshape(shape), *rest])
    return Problem(name, elementwise.ACCUMULATE, mode, {"dys": dys})


def max_pool(stream: Stream, name: str, config: MaxPoolConfig, backward: bool, shape=(1, 7, 8, 5)) -> Problem:
    """Few distinct words, so that windows tie; zeros of both signs, NaNs and infinities among them."""
    n, h, w, c = shape
    oh, ow = (window.results(size) for window, size in zip(config.windows, (h, w), strict=True))
    x = sprinkle(
        stream, stream.choice(np.array([0x3C00, 0x4000, 0xBC00], np.uint16), shape), SPECIAL_WORDS, 6
    )
    x[..., 0] = stream.choice(np.array([0x0000, 0x8000, 0xBC00], np.uint16), shape[:3])
    shared = backward and (config.kernel, config.stride, config.padding) == (3, 2, 1) and min(oh, ow) > 2
    if shared:  # the four windows around (3, 3) have one winner
        x[..., 1] = x[..., 1] & 0x3FFF
        x[:, 3, 3, 1] = 0x7BFF
    if not backward:
        return Problem(name, pool.MAX_FORWARD, config, {"x": x})
    index = pool.MAX_FORWARD.oracle(config, {"x": x})["index"]
    dy = sprinkle(stream, spread(stream, (n, oh, ow, c), -4, 0), SPECIAL_WORDS, 5)
    dy[..., 1] = stream.choice(np.array([0x7BFF, 0x7B00, 0xFBFF], np.uint16), dy.shape[:3])
    dy[..., 2] = stream.choice(np.array([0x0401, 0x8400, 0x0003, 0x87FF], np.uint16), dy.shape[:3])
    if shared:  # whose sum overflows on the side of what comes first
        dy[:, 1, 1:3, 1], dy[:, 2, 1:3, 1] = 0x7BFF, 0xFBFF
    x[..., 1] = sprinkle(stream, x[..., 1] & 0x7FFF, np.array([0x7BFF], np.uint16), 4)
    return Problem(
        name, pool.MAX_BACKWARD, config, {"dy": dy, "index": index, "input_hw": np.array([h, w], np.int32)}
    )


def avg_pool(stream: Stream, name: str, config: AvgPoolConfig, backward: bool, shape=(1, 8, 8, 9)) -> Problem:
    """Channels of ordinary words, and of each kind that would spoil the others."""
    n, h, w, c = shape
    windows = config.windows((h, w))
    small = windows[0].results(h), windows[1].results(w)
    x = spread(stream, (n, *small, c) if backward else shape, -4, 3)
    for channel in range(1, c):
        x[..., channel] = _kind(stream, channel - 1, x.shape[:3])
    if not backward:
        if config.apart:
            _aim_average(stream, x[0, : windows[0].kernel, : windows[1].kernel, 0])
        return Problem(name, pool.AVG_FORWARD, config, {"x": x})
    return Problem(name, pool.AVG_BACKWARD, config, {"dy": x, "input_hw": np.array([h, w], np.int32)})


def _aim_average(stream: Stream, window: np.ndarray) -> None:
    """Make the product of a window's sum and 1/n round otherwise through FP32 (SPEC.md A3), where words do."""
    if window.size < 3:
        return
    first, second = (spread(stream, (many,), 0, 3) & 0x7FFF for many in (256, 1024))
    units = [(w & 0x3FF | 0x400).astype(np.int64) << ((w >> 10).astype(np.int64) - 15) for w in (first, second)]
    inverse = np.asarray((np.float32(1) / np.float32(window.size)).view(np.uint32))
    significand = int(exact.decode(inverse, FP32).sig)
    rest = (window.size - 2) << 10  # ones, in units of 2^-10
    total = units[0][:, None] + units[1] + rest
    hits = np.argwhere(aim.rounds_twice(total * significand))
    if hits.size and total.max() < 1 << 24:
        window[:] = 0x3C00
        window[0, 0], window[-1, -1] = first[hits[0, 0]], second[hits[0, 1]]


_SMALL = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x03FF, 0x3C00, 0xBC00, 0x3800], np.uint16)


def _kind(stream: Stream, kind: int, shape: tuple[int, ...]) -> np.ndarray:
    """Words that share a corner: small special ones, an infinity, NaNs, huge of one sign, huge of both,
    subnormal, nearly so."""
    words = spread(stream, shape, -1, 1)
    flat = words.reshape(-1)
    put: dict[int, tuple[int, ...]] = {1: (0x7C00,), 2: (0xFC00, 0x7C00), 3: (0x7E00, 0x7D55, 0xFE00)}
    match kind % 8:
        case 0:
            return sprinkle(stream, words, _SMALL, 2)
        case 1 | 2 | 3 as special:
            flat[: len(put[special])] = put[special][: flat.size]
        case 4:
            return (spread(stream, shape, 14, 15) & 0x7FFF).astype(np.uint16)
        case 5:
            return sprinkle(stream, spread(stream, shape, 14, 15), np.array([0x7BFF, 0xFBFF], np.uint16))
        case 6:
            return (stream.words(16, shape) & 0x83FF).astype(np.uint16)
        case _:
            return spread(stream, shape, -14, -12)
    return words


def linear(
    stream: Stream,
    name: str,
    config: LinearConfig,
    backward: bool,
    n: int = 9,
    inputs: int = 20,
    outputs: int = 6,
) -> Problem:
    """A head whose images hold ordinary words, and in turn each kind that would spoil the others."""
    width = outputs if backward else inputs
    x = spread(stream, (n, width), -4, 2)
    for image in range(1, n):
        x[image] = _kind(stream, image - 1, (width,))
    weight = spread(stream, (inputs, outputs), -4, 0)
    weight[:, 0] = (weight[:, 0] & 0x8000) | 0x3400  # sums of few bits, so that roundings tie
    if outputs > 1:
        weight[:, 1] = (weight[:, 1] & 0x83FF) | 0x2000  # small, so that sums fall below the normal range
    weight[-1] = (weight[-1] & 0x8000) | 0x3400
    given = {"weight": weight, "dy" if backward else "x": x}
    if not backward:
        bias = spread(stream, (outputs,), -4, 2).view(np.float16).astype(np.float32).view(np.uint32)
        bias ^= (stream.below(4, outputs) * stream.below(4096, outputs)).astype(np.uint32)
        bias[:2] = 0  # so that subnormal and tied sums reach the rounding
        if outputs > 2 and inputs > 1:  # a tie that a bias of 2^-60 moves off its place, unless FP32 drops it
            bias[2], weight[:, 2] = 0x21800000, 0
            weight[:2, 2], x[0, :2] = 0x3400, (0x3C00, 0x1000)
        given["bias"] = bias
    return Problem(name, contract_linear.BACKWARD if backward else contract_linear.FORWARD, config, given)
