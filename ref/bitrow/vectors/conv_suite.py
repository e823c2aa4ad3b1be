"""Convolutions of the suites (SPEC.md C, Q): in both directions or one, each parameter and geometry at least once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from bitrow.config import ConvConfig
from bitrow.formats import FXP8, UFXP4, AccOverflow, Accumulator, Dequantize, Fxp, Gradient, QuantRounding
from bitrow.host import Scales
from bitrow.vectors.entries import HARD, LAYER_MODES, Entry, entry, mode_name
from bitrow.vectors.stimulus import problems as make
from bitrow.vectors.stimulus.problems import GENERAL_SCALES, POWER_SCALES, ConvShapes


class _Conv(NamedTuple):
    """A convolution of the catalog, in both directions or one."""

    label: str
    config: ConvConfig
    size: ConvShapes = ConvShapes()
    scales: Scales = POWER_SCALES
    bias: bool = False
    forward: bool = True
    backward: bool = True


def _entries(case: _Conv) -> Iterator[Entry]:
    stem, common = f"conv_{case.label}", (case.config, case.size, case.scales)
    if case.forward:
        yield entry(f"{stem}_forward", make.conv_forward, *common, case.bias)
    if case.backward:
        yield entry(f"{stem}_backward", make.conv_backward, *common)


def _formats(config: ConvConfig, x_format: Fxp, weight_format: Fxp) -> ConvConfig:
    """`config` with the input's format for its gradient, too."""
    return replace(config, x_format=x_format, weight_format=weight_format, dy_format=x_format)


_PER_CHANNEL = Scales(0.25, (0.0625, 0.0716552734375, 0.109375, 0.03125), 0.015625)
_EIGHT = _formats(ConvConfig(padding=1), FXP8, FXP8)
_TWO_STEP = Dequantize.TWO_STEP
_NARROW = Fxp(4, narrow=True)
_HUGE = Scales(8.0, 16.0, 4.0)

_SMALL = ConvShapes(n=1, h=4, w=4)

# every parameter of a convolution at least once, in few and small cases: the golden set is committed
_SMOKE_CONVS = (
    _Conv("3x3", ConvConfig(padding=1), _SMALL),
    _Conv(
        "3x3_stride2_groups",
        ConvConfig(stride=2, padding=1, groups=2, x_format=_NARROW, dy_format=_NARROW),
        ConvShapes(1, 7, 6),
        GENERAL_SCALES,
        bias=True,
    ),
    _Conv("3x3_depthwise_fxp8_two_step", replace(_EIGHT, groups=4, dequantize=_TWO_STEP), _SMALL),
    _Conv(
        "1x1_fxp8_per_channel",
        replace(_EIGHT, padding=0),
        ConvShapes(1, 4, 4, 8, kh=1, kw=1),
        _PER_CHANNEL,
        backward=False,
    ),
    _Conv(
        "5x5_unsigned_wrap",
        ConvConfig(padding=2, x_format=UFXP4, accumulator=Accumulator(11, AccOverflow.WRAP)),
        ConvShapes(1, 6, 6, 2, 5, 5, 2),
        backward=False,
    ),
    _Conv(
        "3x3_saturate",
        ConvConfig(padding=1, accumulator=Accumulator(9, AccOverflow.SATURATE)),
        ConvShapes(1, 4, 4, 2, c_out=2),
        backward=False,
    ),
    _Conv(
        "3x3_fold_stochastic",
        ConvConfig(padding=1, fold=True, dy_rounding=QuantRounding.STOCHASTIC),
        _SMALL,
        _PER_CHANNEL,
        forward=False,
    ),
    _Conv(
        "3x3_fp16_gradient",
        ConvConfig(padding=1, gradient=Gradient.FP16),
        ConvShapes(1, 4, 4, 2, c_out=2),
        GENERAL_SCALES,
        forward=False,
    ),
    _Conv("3x3_toward_zero_saturate_flush", ConvConfig(padding=1, mode=HARD), _SMALL, _HUGE, backward=False),
)

_STANDARD_CONVS = (
    _Conv("3x3_general_scale", ConvConfig(padding=1), scales=GENERAL_SCALES, bias=True),
    _Conv("3x3_depthwise", ConvConfig(padding=1, groups=4)),
    _Conv("1x1_two_step", ConvConfig(dequantize=Dequantize.TWO_STEP), ConvShapes(kh=1, kw=1), GENERAL_SCALES),
    _Conv("5x5_unsigned", ConvConfig(padding=2, x_format=UFXP4), ConvShapes(n=1, kh=5, kw=5, c_in=2)),
    _Conv("3x3_fxp8", _EIGHT, scales=GENERAL_SCALES),
    _Conv("3x3_fxp8_two_step", replace(_EIGHT, dequantize=_TWO_STEP)),
    _Conv(
        "3x3_wrap_unsigned",
        ConvConfig(padding=1, x_format=UFXP4, accumulator=Accumulator(10, AccOverflow.WRAP)),
    ),
    _Conv("3x3_per_channel", ConvConfig(padding=1), scales=_PER_CHANNEL, backward=False),
    _Conv(
        "3x3_stochastic",
        ConvConfig(padding=1, dy_rounding=QuantRounding.STOCHASTIC),
        scales=GENERAL_SCALES,
        forward=False,
    ),
)

_SAME = (0, 1, 0, 1)  # TensorFlow's padding "SAME" of a kernel of 3 at stride 2

_DEPTHWISE = ConvConfig(stride=(2, 3), padding=(1, 0, 2, 3), dilation=(3, 2), groups=3)
_CLAMPING = Accumulator(8, AccOverflow.SATURATE)
_FLOAT_SIDES = ConvConfig(stride=(1, 2), padding=(1, 0, 2, 1), dilation=(2, 1), gradient=Gradient.FP16)

# few and small, as the golden set of them is committed
_GEOMETRY_CONVS = (
    _Conv("3x3_same_stride2", ConvConfig(stride=2, padding=_SAME), ConvShapes(1, 6, 6, 2, c_out=2), backward=False),
    _Conv("2x3_dilated_depthwise", _DEPTHWISE, ConvShapes(1, 6, 7, 3, 2, 3, 3)),
)
_WINDOW_CONVS = (
    _Conv("3x3_same_stride2", ConvConfig(stride=2, padding=_SAME), ConvShapes(1, 6, 6, 2, c_out=2), forward=False),
    _Conv("5x2_sides", ConvConfig(stride=(2, 1), padding=(2, 1, 0, 1)), ConvShapes(1, 6, 4, 2, 5, 2, 2), bias=True),
    _Conv("3x3_dilated", ConvConfig(padding=2, dilation=2), ConvShapes(1, 7, 6, 2, c_out=2), GENERAL_SCALES),
    _Conv(
        "3x3_dilated_saturate",
        ConvConfig(padding=(2, 1, 0, 1), dilation=(2, 1), accumulator=_CLAMPING),
        ConvShapes(1, 6, 5, 1, c_out=2),
    ),
    _Conv("2x3_sides_fp16_gradient", _FLOAT_SIDES, ConvShapes(1, 4, 4, 1, 2, 3, 2), GENERAL_SCALES, forward=False),
)


_UPWARDS = ConvConfig(stride=2, padding=1, transposed=True, output_padding=1)
_TRANSPOSED_CONVS = (
    _Conv("3x3_transposed", _UPWARDS, ConvShapes(1, 4, 4, 3, c_out=3), bias=True),
    _Conv("2x2_transposed_stride2", ConvConfig(stride=2, transposed=True), ConvShapes(1, 3, 4, 3, 2, 2, 4)),
    _Conv(
        "3x2_transposed_sides",
        ConvConfig(stride=(2, 1), padding=(1, 0, 2, 1), dilation=(1, 2), groups=2, transposed=True),
        ConvShapes(1, 4, 5, 6, 3, 2, 6),
        GENERAL_SCALES,
    ),
    _Conv("4x4_transposed_depthwise", replace(_UPWARDS, groups=3, output_padding=0), ConvShapes(1, 4, 3, 3, 4, 4, 3)),
    _Conv(
        "3x3_transposed_saturate",
        ConvConfig(padding=1, accumulator=_CLAMPING, transposed=True),
        ConvShapes(1, 4, 4, 1, c_out=2),
    ),
    _Conv(
        "3x3_transposed_stochastic_fold",
        replace(_UPWARDS, fold=True, dy_rounding=QuantRounding.STOCHASTIC),
        ConvShapes(1, 4, 4, 2),
        _PER_CHANNEL,
    ),
    _Conv(
        "3x3_transposed_fp16_gradient",
        replace(_UPWARDS, gradient=Gradient.FP16),
        ConvShapes(1, 3, 3, 2, c_out=2),
        GENERAL_SCALES,
        forward=False,
    ),
)
_TRANSPOSED_SMALL = ("3x3_transposed", "3x2_transposed_sides")


def _standard_convs() -> Iterator[_Conv]:
    yield from _STANDARD_CONVS
    for mode in LAYER_MODES:
        yield _Conv(f"3x3_{mode_name(mode)}", ConvConfig(padding=1, mode=mode), scales=_HUGE, bias=True)
    for x_bits, w_bits in ((2, 2), (3, 5), (5, 3), (7, 4)):
        config = _formats(ConvConfig(padding=1), Fxp(x_bits), Fxp(w_bits))
        yield _Conv(f"3x3_{x_bits}x{w_bits}_bits", config, scales=GENERAL_SCALES)
    for overflow, bits in itertools.product((AccOverflow.WRAP, AccOverflow.SATURATE), (8, 12)):
        config = ConvConfig(padding=1, accumulator=Accumulator(bits, overflow))
        yield _Conv(f"3x3_{overflow.value}_{bits}_bits", config, ConvShapes(n=1, h=5, w=5))
    for kernel, stride, padding in (
        (1, 2, 0),
        (1, 1, 1),
        (3, 3, 0),
        (3, 2, 2),
        (5, 1, 0),
        (5, 3, 2),
        (2, 2, 1),
    ):
        config = ConvConfig(stride=stride, padding=padding)
        size = ConvShapes(h=9, w=8, kh=kernel, kw=kernel)
        yield _Conv(f"{kernel}x{kernel}_stride{stride}_padding{padding}", config, size)
    yield _Conv("3x5_rectangular", ConvConfig(padding=2), ConvShapes(kh=3, kw=5, h=6, w=9, c_in=3, c_out=5))
    yield _Conv("7x7_stem", ConvConfig(stride=2, padding=3), ConvShapes(1, 16, 16, 3, 7, 7, 8), GENERAL_SCALES)
    yield _Conv("3x3_wide", ConvConfig(padding=1), ConvShapes(2, 8, 8, 32, 3, 3, 32), GENERAL_SCALES, True)
    for mode in (HARD, LAYER_MODES[3]):
        config = ConvConfig(padding=1, gradient=Gradient.FP16, mode=mode)
        label = f"3x3_fp16_gradient_{mode_name(mode)}"
        yield _Conv(label, config, ConvShapes(n=1, h=5, w=5), scales=_HUGE, forward=False)
        drawn = ConvConfig(padding=1, dy_rounding=QuantRounding.STOCHASTIC, mode=mode)
        yield _Conv(f"3x3_stochastic_{mode_name(mode)}", drawn, scales=GENERAL_SCALES, forward=False)
    folded = ConvConfig(stride=2, padding=1, gradient=Gradient.FP16, fold=True)
    yield _Conv("3x3_fp16_gradient_fold", folded, scales=_PER_CHANNEL, forward=False)


def _all(cases: Iterable[_Conv]) -> list[Entry]:
    return [*itertools.chain.from_iterable(map(_entries, cases))]


def smoke() -> list[Entry]:
    """Those of the suite `smoke`."""
    return _all(_SMOKE_CONVS)


def geometry() -> list[Entry]:
    """Those of the suite `geometry`."""
    upwards = (each for each in _TRANSPOSED_CONVS if each.label in _TRANSPOSED_SMALL)
    return _all((*_GEOMETRY_CONVS, *upwards))


def windows() -> list[Entry]:
    """More windows whose rows and columns differ, for the suite `standard`."""
    return _all(_WINDOW_CONVS)


def transposed() -> list[Entry]:
    """All transposed convolutions, for the suite `standard`."""
    return _all(_TRANSPOSED_CONVS)


def standard() -> list[Entry]:
    """The others of the suite `standard`."""
    return _all(_standard_convs())
