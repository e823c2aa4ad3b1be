"""Problems of single operations: a configuration with directed and random inputs, as words (SPEC.md V4).

Every builder takes a stream, and so gives the same words for the same key. Standard library and numpy only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    Statistics,
    output_size,
)
from bitrow.formats import FloatMode, Fxp, Gradient, QuantRounding
from bitrow.host import check_scale, inverse_scale, product_scale
from bitrow.vectors import operations, stimulus
from bitrow.vectors.coverage import PLANS
from bitrow.vectors.operations import Words
from bitrow.vectors.stimulus import FINITE_WORDS, SPECIAL_WORDS, Stream, spread, sprinkle

CANDIDATES = 1 << 13


class Problem(NamedTuple):
    """A case before it is computed: its name, operation, configuration, inputs and parameters as words.

    `whole` makes the oracle compute every row, however many there are.
    """

    name: str
    operation: str
    config: Any
    given: Words
    whole: bool = True


def half(value: float) -> np.ndarray:
    """The word of an FP16 number, uint16 []."""
    word = np.array(value, np.float16)
    assert float(word) == value or np.isinf(word)
    return word.view(np.uint16)


def _selected(operation: str, config: Any, candidates: Words, count: int, per_bin: int) -> Words:
    """`count` of the candidates, every bin that they hit among them."""
    masks: dict[str, np.ndarray] = {}
    for found in PLANS[operation].plan(config, candidates):
        for name, mask in found.items():
            masks[name] = masks.get(name, False) | mask
    chosen = stimulus.select(masks, count, per_bin)
    return {name: words[chosen] for name, words in candidates.items()}


def _candidates(stream: Stream, operands: tuple[str, ...]) -> Words:
    if operands == ("i",):
        return {"i": stimulus.int32s(stream, CANDIDATES)}
    if operands == ("x",):
        return {"x": stimulus.float32s(stream, CANDIDATES)}
    if operands == ("a",):
        words = np.concatenate([SPECIAL_WORDS, stream.words(16, CANDIDATES)])
        return {"a": words.astype(np.uint16)}
    if len(operands) == 3:
        a, b, c = stimulus.triples(stream, CANDIDATES)
        return {"a": a, "b": b, "c": c}
    a, b = stimulus.pairs(stream, CANDIDATES)
    special_a, special_b = stimulus.special_pairs()
    return {"a": np.concatenate([a, special_a]), "b": np.concatenate([b, special_b])}


def unit(stream: Stream, name: str, kind: str, mode: FloatMode, count: int = 192) -> Problem:
    """`fp16.KIND` on `count` elements chosen to hit every bin that 8,192 candidates hit."""
    operation = f"fp16.{kind}"
    operands = tuple(operations.find(operation, mode).inputs)
    given = _selected(operation, mode, _candidates(stream, operands), count, per_bin=4)
    return Problem(name, operation, mode, given)


class Scales(NamedTuple):
    """Scales of a convolution's input, weights (one, or one for each output channel) and output gradient."""

    x: float
    w: float | tuple[float, ...]
    dy: float


POWER_SCALES = Scales(2.0**-2, 2.0**-4, 2.0**-6)
GENERAL_SCALES = Scales(0.2164306640625, 0.0716552734375, 0.0176544189453125)


def _around(stream: Stream, shape: tuple[int, ...], scale: float, fmt: Fxp, pool: np.ndarray) -> np.ndarray:
    """Words spread over the range of a quantizer, one in eight from `pool`."""
    top = int(np.floor(np.log2(scale))) + fmt.bits - 1
    return sprinkle(stream, spread(stream, shape, top - 4, top), pool)


def _corner(sizes: tuple[int, int], kernel: tuple[int, int], stride: int, padding: int, last: bool):
    """Rows and columns of the first or last window that lies inside the map, None where none does."""
    spans = []
    for size, k in zip(sizes, kernel, strict=True):
        places = [i * stride - padding for i in range(output_size(size, k, stride, padding))]
        inside = [p for p in places if p >= 0 and p + k <= size]
        if not inside:
            return None
        start = inside[-1 if last else 0]
        spans.append(slice(start, start + k))
    return tuple(spans)


def _extreme_weights(stream: Stream, shape: tuple[int, ...], fmt: Fxp, axis: int) -> np.ndarray:
    """Random codes; the first and second channel along `axis` all smallest and all largest."""
    weight = stimulus.codes(stream, shape, fmt)
    index: list[Any] = [slice(None)] * 4
    for channel, code in enumerate((fmt.min, fmt.max)):
        if channel < shape[axis]:
            index[axis] = channel
            weight[tuple(index)] = code
    return weight


def _clip_words(inverse: float, fmt: Fxp) -> tuple[int, int]:
    """Finite words whose codes are the smallest and the largest."""
    far = 2.0 ** np.ceil(np.log2(4.0 * fmt.max / inverse))
    high = int(half(far))
    # zeros multiply to nothing: an unsigned format has only one extreme
    return (int(half(-far)) if fmt.signed else high), high


def _product(x: float, w: float | tuple[float, ...]) -> np.ndarray:
    if isinstance(w, tuple):
        return np.array([half(product_scale("stimulus", "product", x, one)) for one in w], np.uint16)
    return half(product_scale("stimulus", "product", x, w))


def _scale_words(w: float | tuple[float, ...]) -> np.ndarray:
    values = w if isinstance(w, tuple) else (w,)
    words = [half(check_scale("stimulus", "w_scale", value)) for value in values]
    return np.array(words, np.uint16) if isinstance(w, tuple) else words[0]


class ConvSize(NamedTuple):
    """Sizes of a convolution problem: map `n h w c_in`, kernel, output channels."""

    n: int = 2
    h: int = 6
    w: int = 6
    c_in: int = 4
    kh: int = 3
    kw: int = 3
    c_out: int = 4

    def weight_shape(self, groups: int) -> tuple[int, int, int, int]:
        return self.kh, self.kw, self.c_in // groups, self.c_out

    def out_hw(self, config: ConvConfig) -> tuple[int, int]:
        return (
            output_size(self.h, self.kh, config.stride, config.padding),
            output_size(self.w, self.kw, config.stride, config.padding),
        )


def _with_extremes(
    words: np.ndarray, corners: tuple, low_high: tuple[int, int], narrow_map: bool
) -> np.ndarray:
    first, last = corners
    if first is not None:
        words[(0, *first)] = low_high[0]
    if last is not None and not narrow_map:
        words[(-1, *last)] = low_high[1]
    return words


def conv_forward(
    stream: Stream,
    name: str,
    config: ConvConfig,
    size: ConvSize = ConvSize(),
    scales: Scales = POWER_SCALES,
    bias: bool = False,
) -> Problem:
    """A convolution whose input reaches every edge of the quantizer, and whose sums reach both extremes."""
    inverse = inverse_scale(scales.x)
    pool = np.concatenate([stimulus.quantizer_words(int(half(inverse)), config.x_format), SPECIAL_WORDS])
    x = _around(stream, (size.n, size.h, size.w, size.c_in), scales.x, config.x_format, pool)
    corners = tuple(
        _corner((size.h, size.w), (size.kh, size.kw), config.stride, config.padding, last) for last in (False, True)
    )
    x = _with_extremes(x, corners, _clip_words(inverse, config.x_format), size.n == 1)
    given = {
        "x": x,
        "weight_code": _extreme_weights(stream, size.weight_shape(config.groups), config.weight_format, 3),
        "x_inv_scale": half(inverse),
        "scale": _product(scales.x, scales.w),
    }
    if bias:
        top = int(np.log2(scales.x * np.max(scales.w))) + 6
        given["bias"] = sprinkle(stream, spread(stream, (size.c_out,), top - 3, top), np.array([0x8000], np.uint16))
    return Problem(name, "conv.forward", config, given)


def conv_backward(
    stream: Stream,
    name: str,
    config: ConvConfig,
    size: ConvSize = ConvSize(),
    scales: Scales = POWER_SCALES,
    seed: int = 0xACE1,
) -> Problem:
    """An input gradient: dy on every edge of its quantizer, sums at both extremes where the stride leaves no holes."""
    oh, ow = size.out_hw(config)
    shape = (size.n, oh, ow, size.c_out)
    inverse = inverse_scale(scales.dy)
    if config.gradient is Gradient.FP16:
        dy = spread(stream, shape, -12, 0)
        dy = sprinkle(stream, dy, FINITE_WORDS[(FINITE_WORDS & 0x7FFF) < 0x7800], 16)
        for at, word in enumerate((0x7C00, 0x7E00, 0x7BFF, 0xFBFF, 0x7D55)):  # few: each spoils a window
            dy.reshape(-1)[at * dy.size // 5] = word
    else:
        pool = np.concatenate([stimulus.quantizer_words(int(half(inverse)), config.dy_format), SPECIAL_WORDS])
        dy = _around(stream, shape, scales.dy, config.dy_format, pool)
        # windows of dy that one dx reads whole: any kh x kw block, where the stride is 1
        blocks = tuple(_corner((oh, ow), (size.kh, size.kw), 1, 0, last) for last in (False, True))
        dy = _with_extremes(dy, blocks, _clip_words(inverse, config.dy_format), size.n == 1)
    mask = (stream.below(4, (size.n, size.h, size.w, size.c_in)) > 0).astype(np.uint8)
    given = {
        "dy": dy,
        "mask": mask,
        "weight_code": _extreme_weights(stream, size.weight_shape(config.groups), config.weight_format, 2),
        "w_scale": _scale_words(scales.w),
    }
    if config.gradient is Gradient.FXP:
        given["dy_inv_scale"] = half(inverse)
        given["dx_scale"] = half(scales.dy) if config.fold else _product(scales.dy, scales.w)
        if config.dy_rounding is QuantRounding.STOCHASTIC:
            given["seed"] = np.array(seed, np.uint16)
    return Problem(name, "conv.backward", config, given)


def quantize(
    stream: Stream, name: str, config: ConvConfig, scale: float, stochastic: bool = False, shape=(1, 4, 16, 4)
) -> Problem:
    """A quantizer on every edge of its range."""
    inverse = inverse_scale(scale)
    pool = np.concatenate([stimulus.quantizer_words(int(half(inverse)), config.x_format), SPECIAL_WORDS])
    given = {"x": _around(stream, shape, scale, config.x_format, pool), "x_inv_scale": half(inverse)}
    if stochastic:
        noise = sprinkle(stream, stream.words(16, shape), np.array([1, 0xFFFF, 0x8000, 0x7FFF], np.uint16), 16)
        given["words"] = np.maximum(noise, 1)  # no LFSR state is 0
    return Problem(name, "fxp.quantize_stochastic" if stochastic else "fxp.quantize", config, given)


def dequantize(stream: Stream, name: str, config: ConvConfig, scales: tuple[float, ...], width: int = 32) -> Problem:
    """Accumulators of every length under several scales, one a channel."""
    values = stimulus.int32s(stream, 1 << 12).astype(np.int64)
    register = config.accumulator
    values = values[(values >= register.min) & (values <= register.max)]
    ends = np.array([register.min, register.max, register.min + 1, register.max - 1, 0, 65520, -65520])
    acc = sprinkle(stream, stream.choice(values, (1, 2, width, len(scales))), ends, 16)
    scale = np.array([half(s) for s in scales], np.uint16)
    return Problem(name, "fxp.dequantize", config, {"acc": acc.astype(np.int32), "scale": scale})


def pack(stream: Stream, name: str, fmt: Fxp, shape: tuple[int, int, int, int] = (1, 3, 5, 3)) -> Problem:
    """Codes of a small map, packed by rows."""
    return Problem(name, "fxp.pack", fmt, {"code": stimulus.codes(stream, shape, fmt)})


def lfsr(stream: Stream, name: str, seed: int, count: int = 24) -> Problem:
    """Runs of words from several elements on, across the period too."""
    starts = [0, 1, 16, 65535 - count // 2, 65534, 65535, 65536, (1 << 31) - 1 - count]
    starts += stream.below(1 << 20, 4).tolist()
    given = {
        "start": np.array(starts, np.int32),
        "seed": np.array(seed, np.uint16),
        "count": np.array(count, np.int32),
    }
    return Problem(name, "lfsr.words", FloatMode(), given)


def norm_frozen(stream: Stream, name: str, config: BatchNormConfig, backward: bool, shape=(2, 4, 5, 6)) -> Problem:
    """Frozen batch norm: channels of ordinary, tiny, huge and sparse coefficients; every special word in y."""
    channels = shape[3]
    a = spread(stream, (channels,), -3, 2)
    a[: min(6, channels)] = [0x3E00, 0x0123, 0x7800, 0xB812, 0x0C00, 0xC400][: min(6, channels)]
    b = spread(stream, (channels,), -4, 3)
    b[: min(4, channels)] = [0x3555, 0x8001, 0x77FF, 0x0000][: min(4, channels)]
    y = sprinkle(stream, spread(stream, shape, -6, 5), SPECIAL_WORDS, 6)
    if backward:
        return Problem(name, "batch_norm.backward", config, {"dz": y, "a": a})
    return Problem(name, "batch_norm.forward", config, {"y": y, "a": a, "b": b})


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
    return y


def _norm_host(stream: Stream, channels: int) -> Words:
    """gamma, beta and eps as FP32 words."""
    gamma = spread(stream, (channels,), -1, 1).view(np.float16).astype(np.float32)
    beta = spread(stream, (channels,), -3, 1).view(np.float16).astype(np.float32)
    return {
        "gamma": gamma.view(np.uint32) ^ stream.below(256, channels).astype(np.uint32),
        "beta": beta.view(np.uint32) ^ stream.below(256, channels).astype(np.uint32),
        "eps": np.array(0x3727C5AC, np.uint32),  # 1e-5
    }


def norm_batch(stream: Stream, name: str, config: BatchNormConfig, backward: bool, shape=(2, 3, 5, 8)) -> Problem:
    """Batch statistics: one channel each for ordinary values, NaN, infinities, subnormals, overflow, cancellation."""
    assert config.statistics is Statistics.BATCH
    y = _norm_map(stream, shape)
    host = _norm_host(stream, shape[3])
    if not backward:
        return Problem(name, "batch_norm.forward", config, {"y": y, **host})
    taps = operations.find("batch_norm.forward", config).oracle(config, {"y": y, **host})
    dz = sprinkle(stream, spread(stream, shape, -10, 0), FINITE_WORDS, 24)
    dz[..., 0] = spread(stream, shape[:3], -3, 0)
    for at, word in enumerate((0x7E00, 0x7C01, 0x7C00)):
        dz[..., min(5, shape[3] - 1)].reshape(-1)[at] = word
    return Problem(
        name,
        "batch_norm.backward",
        config,
        {"dz": dz, "y": y, **{tap: taps[tap] for tap in ("mean", "r", "a", "a16")}},
    )


def relu(stream: Stream, name: str, config: ReluConfig, backward: bool, shape=(1, 4, 8, 4)) -> Problem:
    """Zeros, NaNs, infinities and 6 with its neighbours among words around 1."""
    pool = np.concatenate([SPECIAL_WORDS, np.array([0x4600, 0x4601, 0x45FF, 0xC600], np.uint16)])
    given = {"x": sprinkle(stream, spread(stream, shape, -3, 3), pool, 3)}
    if backward:
        given["dy"] = sprinkle(stream, spread(stream, shape, -12, 0), SPECIAL_WORDS, 3)
    return Problem(name, "relu.backward" if backward else "relu.forward", config, given)


def add(stream: Stream, name: str, config: AddConfig, shape=(1, 4, 8, 6)) -> Problem:
    """A residual add that hits every bin of a sum."""
    count = int(np.prod(shape))
    given = _selected("fp16.add", config.mode, _candidates(stream, ("a", "b")), count, 4)
    maps = {"x": given["a"].reshape(shape), "shortcut": given["b"].reshape(shape)}
    return Problem(name, "add.forward", config, maps)


def accumulate(stream: Stream, name: str, mode: FloatMode, consumers: int = 3, shape=(1, 4, 8, 6)) -> Problem:
    """Gradients of several consumers: the first two hit every bin of a sum."""
    count = int(np.prod(shape))
    given = _selected("fp16.add", mode, _candidates(stream, ("a", "b")), count, 4)
    rest = [sprinkle(stream, spread(stream, shape, -4, 2), FINITE_WORDS) for _ in range(consumers - 2)]
    dys = np.stack([given["a"].reshape(shape), given["b"].reshape(shape), *rest])
    return Problem(name, "gradient.accumulate", mode, {"dys": dys})


def max_pool(stream: Stream, name: str, config: MaxPoolConfig, backward: bool, shape=(1, 7, 8, 5)) -> Problem:
    """Few distinct words, so that windows tie; zeros of both signs, NaNs and infinities among them."""
    n, h, w, c = shape
    oh, ow = (output_size(s, config.kernel, config.stride, config.padding) for s in (h, w))
    x = sprinkle(stream, stream.choice(np.array([0x3C00, 0x4000, 0xBC00], np.uint16), shape), SPECIAL_WORDS, 6)
    x[..., 0] = stream.choice(np.array([0x0000, 0x8000, 0xBC00], np.uint16), shape[:3])
    if not backward:
        return Problem(name, "max_pool.forward", config, {"x": x})
    index = operations.find("max_pool.forward", config).oracle(config, {"x": x})["index"]
    dy = sprinkle(stream, spread(stream, (n, oh, ow, c), -4, 0), SPECIAL_WORDS, 5)
    dy[..., 1] = stream.choice(np.array([0x7BFF, 0x7B00, 0xFBFF], np.uint16), dy.shape[:3])
    dy[..., 2] = stream.choice(np.array([0x0401, 0x8400, 0x0003, 0x87FF], np.uint16), dy.shape[:3])
    x[..., 1] = sprinkle(stream, x[..., 1] & 0x7FFF, np.array([0x7BFF], np.uint16), 4)
    return Problem(
        name, "max_pool.backward", config, {"dy": dy, "index": index, "input_hw": np.array([h, w], np.int32)}
    )


def avg_pool(stream: Stream, name: str, config: AvgPoolConfig, backward: bool, shape=(1, 8, 8, 9)) -> Problem:
    """Channels of ordinary words, and of each kind that would spoil the others."""
    n, h, w, c = shape
    kernel = (config.kernel, config.kernel) if config.kernel else (h, w)
    x = spread(stream, (n, h // kernel[0], w // kernel[1], c) if backward else shape, -4, 3)
    for channel in range(1, c):
        x[..., channel] = _kind(stream, channel - 1, x.shape[:3])
    if not backward:
        return Problem(name, "avg_pool.forward", config, {"x": x})
    return Problem(name, "avg_pool.backward", config, {"dy": x, "input_hw": np.array([h, w], np.int32)})


_SMALL = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x03FF, 0x3C00, 0xBC00, 0x3800], np.uint16)


def _kind(stream: Stream, kind: int, shape: tuple[int, ...]) -> np.ndarray:
    """Words that share a corner: small special ones, an infinity, NaNs, huge of one sign, huge of both, subnormal, nearly so."""
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
    stream: Stream, name: str, config: LinearConfig, backward: bool, n: int = 9, inputs: int = 20, outputs: int = 6
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
        given["bias"] = bias
    return Problem(name, "linear.backward" if backward else "linear.forward", config, given)
