"""Strategies of convolutions in both directions, every parameter drawn (SPEC.md M, D, C)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bitrow.config import (
    ConvConfig,
)
from bitrow.config.windows import Pair, Sides, along, both
from bitrow.errors import BitrowError
from bitrow.formats import Dequantize, Gradient, QuantRounding
from bitrow.host import inverse_scale, product_scale
from bitrow.testing.families import (
    Family,
    half,
    number,
    quantizer_maps,
    scalar,
)
from bitrow.testing.parameters import (
    accumulators,
    codes,
    edges,
    float_modes,
    fxp_formats,
    pairs,
    product_fields,
    scales,
    seeds,
)
from bitrow.testing.words import (
    fp16_arrays,
    noises,
    patched,
)
from bitrow.vectors.operations import Words
from bitrow.vectors.stimulus.problems import ConvShapes

_MAX_PER_CHANNEL = 3


class Lie(NamedTuple):
    """How windows lie, as a configuration says it."""

    stride: Pair
    padding: Sides
    dilation: Pair
    transposed: bool = False
    output_padding: Pair = 0


@st.composite
def conv_sizes(draw: DrawFn, config: ConvConfig | None = None) -> tuple[ConvShapes, int, Lie]:
    """Sizes of a convolution with its groups, and how its windows lie: as the configuration says, if given.

    1x1 to 5x5 kernels, square or not, depthwise among them, odd maps, padding of more than a kernel less one; strides
    of rows and columns, and padding of sides, alike or not; dilation; transposed ones (C5).
    """
    kh = draw(st.sampled_from((1, 3, 5, 2)))
    kw = kh if draw(st.booleans()) else draw(st.sampled_from((1, 3, 5, 2)))
    if config is None:
        groups, stride = draw(st.sampled_from((1, 2, 3))), draw(pairs(st.sampled_from((1, 2, 3))))
        padding = draw(edges(st.integers(0, max(kh, kw) + 1)))
        lie = Lie(stride, padding, draw(pairs(st.sampled_from((1, 1, 1, 2, 3)))))
        if draw(st.integers(0, 3)) == 3:
            down, across = (draw(st.integers(0, step - 1)) for step in both(stride))
            lie = lie._replace(transposed=True, output_padding=(down, across))
    else:
        fields = (config.stride, config.padding, config.dilation, config.transposed, config.output_padding)
        groups, lie = config.groups, Lie(*fields)
    c_in, c_out = (draw(st.integers(1, _MAX_PER_CHANNEL)) for _ in range(2))
    if groups > 1 and draw(st.booleans()):
        c_in = c_out = 1  # depthwise
    windows = along((kh, kw), lie.stride, lie.padding, lie.dilation)
    least = (one.extent - one.before - one.after for one in windows)
    if lie.transposed:
        least = (-(-(1 - many) // one.stride) + 1 for many, one in zip(least, windows, strict=True))
    h, w = (max(1, many) + draw(st.integers(0, 4)) for many in least)
    size = ConvShapes(draw(st.integers(1, 2)), h, w, c_in * groups, kh, kw, c_out * groups)
    return size, groups, lie


@st.composite
def conv_configs(
    draw: DrawFn, size: ConvShapes, groups: int, lie: Lie, backward: bool
) -> ConvConfig:
    """Every other parameter of a convolution (SPEC.md Q, M, D, C), its register near the sums' worst case."""
    wide = draw(st.integers(0, 3)) == 3  # the widest codes make the largest sums
    one = draw(fxp_formats(8) if wide else fxp_formats())
    formats = [one if draw(st.booleans()) else draw(fxp_formats()) for _ in range(3)]
    shape = ConvConfig(
        lie.stride,
        lie.padding,
        groups,
        x_format=formats[0],
        weight_format=formats[1],
        dy_format=formats[2],
        dequantize=draw(st.sampled_from(tuple(Dequantize))),
        gradient=draw(st.sampled_from((Gradient.FXP, Gradient.FXP, Gradient.FP16))) if backward else Gradient.FXP,
        dy_rounding=draw(st.sampled_from(tuple(QuantRounding))) if backward else QuantRounding.NEAREST_EVEN,
        fold=backward and draw(st.booleans()),
        mode=draw(float_modes()),
        dilation=lie.dilation,
        transposed=lie.transposed,
        output_padding=lie.output_padding,
    )
    forward, gradient = shape.bounds(size.weight_shape(groups))
    fp16_gradient = shape.gradient is Gradient.FP16
    bound = max(forward, 0 if fp16_gradient else gradient)  # `error` refuses either direction
    return ConvConfig(**{**shape.__dict__, "accumulator": draw(accumulators(bound))})


@st.composite
def _weight_scales(draw: DrawFn, first: int, channels: int | None) -> np.ndarray:
    """One weight scale, or one for each channel, whose products with `first` D3 accepts."""
    one = scales(fields=product_fields(first))
    if channels is None:
        return scalar(draw(one))
    return np.array([draw(one) for _ in range(channels)], np.uint16)


def _products(first: float, second: np.ndarray) -> np.ndarray:
    """D3's products as words, in the shape of `second`."""
    found = [product_scale("drawn", "product", first, number(word)) for word in second.reshape(-1).tolist()]
    return np.array(found, np.float16).view(np.uint16).reshape(second.shape)


@st.composite
def _forward_words(draw: DrawFn, config: ConvConfig, size: ConvShapes, per_channel: bool, bias: bool) -> Words:
    x_word = draw(scales())
    x_scale = number(x_word)
    w_scale = draw(_weight_scales(x_word, size.c_out if per_channel else None))
    words = {
        "x": draw(quantizer_maps((size.n, size.h, size.w, size.c_in), x_scale, config.x_format)),
        "weight_code": draw(codes(config.weight_format, size.weight_shape(config.groups))),
        "x_inv_scale": half(inverse_scale(x_scale)),
        "scale": _products(x_scale, w_scale),
    }
    if bias:
        words["bias"] = draw(fp16_arrays(size.c_out))
    return words


@st.composite
def _backward_words(draw: DrawFn, config: ConvConfig, size: ConvShapes, per_channel: bool) -> Words:
    dy_word = draw(scales())
    dy_scale = number(dy_word)
    fields = product_fields(dy_word) if config.gradient is Gradient.FXP and not config.fold else (1, 29)
    w_words = [draw(scales(fields=fields)) for _ in range(size.c_out if per_channel else 1)]
    w_scale = np.array(w_words, np.uint16) if per_channel else scalar(w_words[0])
    shape = (size.n, *size.out_hw(config), size.c_out)
    mask = (draw(noises()).below(4, (size.n, size.h, size.w, size.c_in)) == 0).astype(np.uint8)
    words = {
        "mask": draw(patched(1 - mask if draw(st.booleans()) else mask, st.integers(0, 1), 2)),
        "weight_code": draw(codes(config.weight_format, size.weight_shape(config.groups))),
        "w_scale": w_scale,
    }
    if config.gradient is Gradient.FP16:
        low = draw(st.integers(-14, 12))
        dy = draw(fp16_arrays(shape, low=low, high=draw(st.integers(low, 15))))
    else:
        folded = number(w_words[0]) if config.fold else 1.0
        # so that dy * w_scale meets the quantizer's range
        reach = min(max(dy_scale / folded, 2.0**-14), 2.0**14)
        dy = draw(quantizer_maps(shape, reach, config.dy_format))
        words["dy_inv_scale"] = half(inverse_scale(dy_scale))
        words["dx_scale"] = half(dy_scale) if config.fold else _products(dy_scale, w_scale)
        if config.dy_rounding is QuantRounding.STOCHASTIC:
            words["seed"] = scalar(draw(seeds()))
    return {"dy": dy, **words}


@st.composite
def conv_families(draw: DrawFn, name: str, config: ConvConfig | None = None) -> Family:
    """A convolution, forward or its input gradient, with every parameter drawn (SPEC.md C)."""
    backward = name.endswith("backward")
    size, groups, lie = draw(conv_sizes(config))
    if config is None:
        config = draw(conv_configs(size, groups, lie, backward))
    try:
        config.check("drawn", size.weight_shape(groups))
    except BitrowError:
        assume(False)  # a given configuration whose accumulator does not hold these sizes
    if backward:
        return Family(name, config, _backward_words(config, size, config.fold and draw(st.booleans())))
    return Family(name, config, _forward_words(config, size, draw(st.booleans()), draw(st.booleans())))
