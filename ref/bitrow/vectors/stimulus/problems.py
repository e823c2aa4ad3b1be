"""Problems of single operations: a configuration with directed and random inputs, as words (SPEC.md V4).

Every builder takes a stream, and so gives the same words for the same key. Standard library and numpy only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bitrow.config import ConvConfig, Window
from bitrow.config.windows import Windows
from bitrow.contract import conv, fixed_point
from bitrow.contract.operation import Operation
from bitrow.contract.units import UNITS
from bitrow.formats import FloatMode, Fxp, Gradient, QuantRounding
from bitrow.host import Scales, check_scale, inverse_scale, product_scale
from bitrow.oracle.arrays import Words
from bitrow.vectors.coverage.line_bins import masks as masks_of
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus import aim
from bitrow.vectors.stimulus import stream as stimulus
from bitrow.vectors.stimulus.stream import FINITE_WORDS, SPECIAL_WORDS, Stream, spread, sprinkle

CANDIDATES = 1 << 13


def half(value: float) -> np.ndarray:
    """The word of an FP16 number, uint16 []."""
    word = np.array(value, np.float16)
    assert float(word) == value or np.isinf(word)
    return word.view(np.uint16)


def selected(operation: Operation, config: Any, candidates: Words, count: int, per_bin: int) -> Words:
    """`count` of the candidates, every bin that they hit among them."""
    masks: dict[str, np.ndarray] = {}
    for found in masks_of(operation, config, candidates):
        for name, mask in found.items():
            masks[name] = masks.get(name, False) | mask
    chosen = stimulus.select(masks, count, per_bin)
    return {name: words[chosen] for name, words in candidates.items()}


def operands(stream: Stream, names: tuple[str, ...]) -> Words:
    """Words of the operands of a unit, many more than a case holds."""
    if names == ("i",):
        return {"i": stimulus.int32s(stream, CANDIDATES)}
    if names == ("x",):
        return {"x": stimulus.float32s(stream, CANDIDATES)}
    if names == ("a",):
        words = np.concatenate([SPECIAL_WORDS, stream.words(16, CANDIDATES)])
        return {"a": words.astype(np.uint16)}
    if len(names) == 3:
        a, b, c = stimulus.triples(stream, CANDIDATES)
        return {"a": a, "b": b, "c": c}
    a, b = stimulus.pairs(stream, CANDIDATES)
    special_a, special_b = stimulus.special_pairs()
    return {"a": np.concatenate([a, special_a]), "b": np.concatenate([b, special_b])}


def unit(stream: Stream, name: str, kind: str, mode: FloatMode, count: int = 192, per_bin: int = 4) -> Problem:
    """`fp16.KIND` on `count` elements chosen to hit every bin that 8,192 candidates hit, `per_bin` times."""
    operation = UNITS[kind]
    given = selected(operation, mode, operands(stream, tuple(operation.inputs)), count, per_bin)
    return Problem(name, operation, mode, given)


def pair_words(stream: Stream, mode: FloatMode, count: int, unit: str = "add") -> Words:
    """`count` operand pairs a, b that hit every bin of a sum, or of another unit, that 8,192 candidates hit."""
    return selected(UNITS[unit], mode, operands(stream, ("a", "b")), count, per_bin=4)


POWER_SCALES = Scales(2.0**-2, 2.0**-4, 2.0**-6)
GENERAL_SCALES = Scales(0.2164306640625, 0.0716552734375, 0.0176544189453125)


def around(stream: Stream, shape: tuple[int, ...], scale: float, fmt: Fxp, pool: np.ndarray) -> np.ndarray:
    """Words spread over the range of a quantizer, one in eight from `pool`."""
    top = int(np.floor(np.log2(scale))) + fmt.bits - 1
    return sprinkle(stream, spread(stream, shape, top - 4, top), pool)


def _corner(sizes: tuple[int, int], windows: Windows, last: bool):
    """Rows and columns of the first or last window that lies inside the map, None where none does."""
    spans = []
    for size, window in zip(sizes, windows, strict=True):
        places = [i * window.stride - window.before for i in range(window.results(size))]
        inside = [p for p in places if p >= 0 and p + window.extent <= size]
        if not inside:
            return None
        start = inside[-1 if last else 0]
        spans.append(slice(start, start + window.extent))
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


def _product(x: float, scales: ArrayLike) -> np.ndarray:
    w = np.asarray(scales)
    words = [half(product_scale("stimulus", "product", x, one)) for one in w.reshape(-1).tolist()]
    return np.array(words, np.uint16).reshape(w.shape)


def _scale_words(scales: ArrayLike) -> np.ndarray:
    w = np.asarray(scales)
    words = [half(check_scale("stimulus", "w_scale", one)) for one in w.reshape(-1).tolist()]
    return np.array(words, np.uint16).reshape(w.shape)


class ConvShapes(NamedTuple):
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
        return config.output_hw((self.kh, self.kw), (self.h, self.w))


def _read_whole(config: ConvConfig, size: ConvShapes, spread: bool) -> Windows:
    """Windows that one result reads whole: of a map that is spread any kh x kw block, where the stride is 1."""
    down, across = config.windows((size.kh, size.kw))
    if spread:
        down, across = (one._replace(stride=1, before=0, after=0) for one in (down, across))
    return down, across


def _corners(hw: tuple[int, int], windows: Windows) -> tuple:
    return tuple(_corner(hw, windows, last) for last in (False, True))


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
    size: ConvShapes = ConvShapes(),
    scales: Scales = POWER_SCALES,
    bias: bool = False,
) -> Problem:
    """A convolution whose input reaches every edge of the quantizer, and whose sums reach both extremes."""
    inverse = inverse_scale(scales.x)
    pool = np.concatenate([stimulus.quantizer_words(int(half(inverse)), config.x_format), SPECIAL_WORDS])
    x = around(stream, (size.n, size.h, size.w, size.c_in), scales.x, config.x_format, pool)
    corners = _corners((size.h, size.w), _read_whole(config, size, config.transposed))
    x = _with_extremes(x, corners, _clip_words(inverse, config.x_format), size.n == 1)
    given = {
        "x": x,
        "weight_code": _extreme_weights(stream, size.weight_shape(config.groups), config.weight_format, 3),
        "x_inv_scale": half(inverse),
        "scale": _product(scales.x, scales.w),
    }
    if bias:
        top = int(np.log2(scales.x * np.max(scales.w))) + 6
        given["bias"] = sprinkle(
            stream, spread(stream, (size.c_out,), top - 3, top), np.array([0x8000], np.uint16)
        )
    return Problem(name, conv.FORWARD, config, given)


def conv_backward(
    stream: Stream,
    name: str,
    config: ConvConfig,
    size: ConvShapes = ConvShapes(),
    scales: Scales = POWER_SCALES,
    seed: int = 0xACE1,
) -> Problem:
    """An input gradient: dy on every edge of its quantizer, sums at both extremes where the stride leaves no
    holes."""
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
        dy = around(stream, shape, scales.dy, config.dy_format, pool)
        blocks = _corners((oh, ow), _read_whole(config, size, not config.transposed))
        dy = _with_extremes(dy, blocks, _clip_words(inverse, config.dy_format), size.n == 1)
    mask = (stream.below(4, (size.n, size.h, size.w, size.c_in)) > 0).astype(np.uint8)
    given = {
        "dy": dy,
        "mask": mask,
        "weight_code": _extreme_weights(stream, size.weight_shape(config.groups), config.weight_format, 2),
        "w_scale": _scale_words(scales.w),
    }
    if config.gradient is Gradient.FP16:
        _aim_gradient(stream, config, given)
    else:
        given["dy_inv_scale"] = half(inverse)
        given["dx_scale"] = half(scales.dy) if config.fold else _product(scales.dy, scales.w)
        if config.dy_rounding is QuantRounding.STOCHASTIC:
            given["seed"] = np.array(seed, np.uint16)
    return Problem(name, conv.BACKWARD, config, given)


def _origin(window: Window) -> int:
    """The kernel's element through which the first window reads the first position that it reads at all."""
    return min(-(-window.before // window.dilation), window.kernel - 1)


def _aim_gradient(stream: Stream, config: ConvConfig, given: Words) -> None:
    """Aim a sum of FP16 gradients (SPEC.md C3): an infinite dy, which lies first, meets a weight code of 0; and in
    the last corner of a 3x3 window two of dy are such that the sum's product with a single scale rounds otherwise
    through FP32."""
    dy, weight, scale = given["dy"], given["weight_code"], given["w_scale"]
    windows = config.windows(weight.shape)
    weight[_origin(windows[0]), _origin(windows[1]), :, 0] = 0
    plain = windows == (Window(3, 1, 1, 1), Window(3, 1, 1, 1)) and not config.transposed
    if config.fold or scale.size > 1 or not plain:
        return
    near, far = int(weight[1, 1, 0, -1]), int(weight[2, 2, 0, -1])
    first, second = spread(stream, (256,), 0, 0) & 0x7FFF, spread(stream, (1024,), -10, -8) & 0x7FFF
    # in units of 2^-20, of which words from 2^-10 up are multiples
    units = [(w & 0x3FF | 0x400).astype(np.int64) << ((w >> 10).astype(np.int64) - 5) for w in (first, second)]
    total = np.abs(units[0][:, None] * near + units[1] * far)
    hits = np.argwhere(aim.rounds_twice(total * aim.significand(int(scale))[0]) & (total < 1 << 24))
    if hits.size:
        dy[-1, -2:, -2:] = 0
        dy[-1, -1, -1, -1], dy[-1, -2, -2, -1] = first[hits[0, 0]], second[hits[0, 1]]


def quantize(
    stream: Stream, name: str, config: ConvConfig, scale: float, stochastic: bool = False, shape=(1, 4, 16, 4)
) -> Problem:
    """A quantizer on every edge of its range."""
    inverse = inverse_scale(scale)
    pool = np.concatenate([stimulus.quantizer_words(int(half(inverse)), config.x_format), SPECIAL_WORDS])
    given = {"x": around(stream, shape, scale, config.x_format, pool), "x_inv_scale": half(inverse)}
    if stochastic:
        noise = sprinkle(
            stream, stream.words(16, shape), np.array([1, 0xFFFF, 0x8000, 0x7FFF], np.uint16), 16
        )
        with np.errstate(all="ignore"):
            carry = aim.carries((given["x"].view(np.float16) * np.float16(inverse)).astype(np.float64))
        place = np.arange(noise.size).reshape(shape) % 8
        noise = np.where((place == 3) & (carry > 1), carry, noise)
        noise = np.where((place == 5) & (carry > 1), carry - 1, noise)
        given["words"] = np.maximum(noise, 1).astype(np.uint16)  # no LFSR state is 0
    operation = fixed_point.QUANTIZE_STOCHASTIC if stochastic else fixed_point.QUANTIZE
    return Problem(name, operation, config, given)


def dequantize(
    stream: Stream, name: str, config: ConvConfig, scales: tuple[float, ...], width: int = 32
) -> Problem:
    """Accumulators of every length under several scales, one a channel."""
    values = stimulus.int32s(stream, 1 << 12).astype(np.int64)
    register = config.accumulator
    values = values[(values >= register.min) & (values <= register.max)]
    ends = np.array([register.min, register.max, register.min + 1, register.max - 1, 0, 65520, -65520])
    acc = sprinkle(stream, stream.choice(values, (1, 2, width, len(scales))), ends, 16)
    scale = np.array([half(s) for s in scales], np.uint16)
    for channel, word in enumerate(scale.tolist()):
        largest = min(int(65000 / scales[channel]), register.max)
        for at, aimed in enumerate(aim.accumulators(aim.significand(word)[0], largest, 2)):
            acc[0, at, width // 2, channel] = aimed
    return Problem(name, fixed_point.DEQUANTIZE, config, {"acc": acc.astype(np.int32), "scale": scale})


def pack(stream: Stream, name: str, fmt: Fxp, shape: tuple[int, int, int, int] = (1, 3, 5, 3)) -> Problem:
    """Codes of a small map, packed by rows."""
    return Problem(name, fixed_point.PACK, fmt, {"code": stimulus.codes(stream, shape, fmt)})


def lfsr(stream: Stream, name: str, seed: int, count: int = 24) -> Problem:
    """Runs of words from several elements on, across the period too."""
    starts = [0, 1, 16, 65535 - count // 2, 65534, 65535, 65536, (1 << 31) - 1 - count]
    starts += stream.below(1 << 20, 4).tolist()
    given: Words = {
        "start": np.array(starts, np.int32),
        "seed": np.array(seed, np.uint16),
        "count": np.array(count, np.int32),
    }
    return Problem(name, fixed_point.LFSR, FloatMode(), given)
