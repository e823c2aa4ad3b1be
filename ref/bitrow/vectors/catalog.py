"""The catalog of cases: named suites, any network, and single cases by name (SPEC.md V4).

An entry is a name and a way to build its problem from the seed, so that listing names computes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConcatConfig,
    ConvConfig,
    DepthOrder,
    DepthToSpaceConfig,
    HardSigmoidConfig,
    HardSwishConfig,
    LayerConfig,
    LinearConfig,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
    SigmoidConfig,
    SiluConfig,
    Statistics,
    UpsampleConfig,
)
from bitrow.contract.operations import LAYERS
from bitrow.errors import BitrowError
from bitrow.formats import (
    FP16,
    FP32,
    FXP8,
    UFXP4,
    AccOverflow,
    Accumulator,
    Dequantize,
    FloatMode,
    Fxp,
    Gradient,
    Overflow,
    QuantRounding,
    Rounding,
)
from bitrow.host import Scales
from bitrow.vectors import corner_suite, flag_suite, passes
from bitrow.vectors.entries import Entry, mode_name
from bitrow.vectors.entries import entry as _entry
from bitrow.vectors.found import load as load_found
from bitrow.vectors.passes import MODEL, PassChoice
from bitrow.vectors.stimulus import block_problems as block
from bitrow.vectors.stimulus import layer_problems as layer
from bitrow.vectors.stimulus import problems as make
from bitrow.vectors.stimulus.problems import GENERAL_SCALES, POWER_SCALES, ConvShapes, Problem
from bitrow.vectors.stimulus.stream import Stream

UNITS = ("add", "sub", "mul", "fma", "div", "sqrt", "from_int32", "from_float32", "to_float32")

FLUSH = FloatMode(flush=True)
SATURATE = FloatMode(overflow=Overflow.SATURATE)
HARD = FloatMode(Rounding.TOWARD_ZERO, Overflow.SATURATE, flush=True)
MODES = tuple(
    FloatMode(rounding, overflow, flush)
    for rounding, overflow, flush in itertools.product(Rounding, Overflow, (False, True))
)


# every value of every mode parameter, for what is too slow to compile in all twenty modes
LAYER_MODES = (
    *(FLUSH, SATURATE, HARD),
    FloatMode(Rounding.UP, flush=True),
    FloatMode(Rounding.DOWN, Overflow.SATURATE),
    FloatMode(Rounding.NEAREST_AWAY),
)


def _given(problem: Problem, stream: Stream, name: str) -> Problem:
    """The builder of a problem whose words do not come from the stream."""
    return problem


def _unit(kind: str, mode: FloatMode, count: int, per_bin: int = 4) -> Entry:
    return _entry(f"fp16_{kind}_{mode_name(mode)}", make.unit, kind, mode, count, per_bin)


_ODD_SCALE = 0.0716552734375
_DEQUANTIZE_SCALES = (2.0**-3, 1.5, _ODD_SCALE, 3.5)
_QUANTIZED_MAP = (1, 4, 16, 4)


def _quantizers(
    config: ConvConfig, label: str, scale: float, shape: tuple[int, int, int, int] = _QUANTIZED_MAP
) -> Iterator[Entry]:
    yield _entry(f"fxp_quantize_{label}", make.quantize, config, scale, False, shape)
    drawn = replace(config, dy_rounding=QuantRounding.STOCHASTIC)
    yield _entry(f"fxp_quantize_stochastic_{label}", make.quantize, drawn, scale, True, shape)


class _Conv(NamedTuple):
    """A convolution of the catalog, in both directions or one."""

    label: str
    config: ConvConfig
    size: ConvShapes = ConvShapes()
    scales: Scales = POWER_SCALES
    bias: bool = False
    forward: bool = True
    backward: bool = True


def _convs(case: _Conv) -> Iterator[Entry]:
    stem, common = f"conv_{case.label}", (case.config, case.size, case.scales)
    if case.forward:
        yield _entry(f"{stem}_forward", make.conv_forward, *common, case.bias)
    if case.backward:
        yield _entry(f"{stem}_backward", make.conv_backward, *common)


def _formats(config: ConvConfig, x_format: Fxp, weight_format: Fxp) -> ConvConfig:
    """`config` with the input's format for its gradient, too."""
    return replace(config, x_format=x_format, weight_format=weight_format, dy_format=x_format)


_BATCH = BatchNormConfig(statistics=Statistics.BATCH)
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


def _norms(
    label: str, config: BatchNormConfig, shape: tuple[int, int, int, int], directions: int = 2
) -> Iterator[Entry]:
    build = layer.norm_batch if config.statistics is Statistics.BATCH else layer.norm_frozen
    yield _entry(f"batch_norm_{label}_forward", build, config, False, shape)
    if directions == 2 and not config.fma:  # which changes the forward pass only
        yield _entry(f"batch_norm_{label}_backward", build, config, True, shape)


def _pairs(stem: str, build: Callable[..., Problem], config: Any, **sizes: Any) -> Iterator[Entry]:
    """An operation in both directions."""
    yield _entry(f"{stem}_forward", build, config, False, **sizes)
    yield _entry(f"{stem}_backward", build, config, True, **sizes)


def _layers(mode: FloatMode, label: str) -> Iterator[Entry]:
    """The A layers that round, under one mode."""
    yield _entry(f"add_{label}", layer.add, AddConfig(mode))
    yield _entry(f"gradient_accumulate_{label}", layer.accumulate, mode)
    yield _entry(f"max_pool_{label}_backward", layer.max_pool, MaxPoolConfig(3, 2, 1, mode), True)
    yield from _pairs(f"avg_pool_{label}", layer.avg_pool, AvgPoolConfig(3, mode))
    yield from _pairs(f"linear_{label}", layer.linear, LinearConfig(mode))
    yield from _plain(f"hard_swish_{label}", HardSwishConfig(mode))
    for kind, config in (("sigmoid", SigmoidConfig(mode=mode)), ("silu", SiluConfig(mode=mode)),
                         ("hard_sigmoid", HardSigmoidConfig.of(0.2, 0.5, mode))):  # fmt: skip
        yield from _activations(f"{kind}_{label}", config)
    yield from _pairs(f"multiply_{label}", block.multiply, MultiplyConfig(mode=mode))
    yield from _pairs(f"multiply_gate_{label}", block.multiply, MultiplyConfig(True, mode), shape=(2, 3, 8, 8))
    yield _entry(f"upsample_{label}_backward", block.upsample, UpsampleConfig(mode=mode), True)


def _dequantizers(label: str, mode: FloatMode, width: int = 32) -> Iterator[Entry]:
    for method in Dequantize:
        config = ConvConfig(dequantize=method, mode=mode)
        yield _entry(
            f"fxp_dequantize_{method.value}_{label}", make.dequantize, config, _DEQUANTIZE_SCALES, width
        )


def _packs() -> Iterator[Entry]:
    for fmt, shape in (
        (Fxp(4), (1, 3, 5, 3)),
        (UFXP4, (1, 2, 4, 2)),
        (Fxp(3), (1, 2, 3, 3)),
        (FXP8, (1, 2, 3, 2)),
    ):
        yield _entry(f"fxp_pack_{'' if fmt.signed else 'u'}fxp{fmt.bits}", make.pack, fmt, shape)


_FROZEN_MAP, _BATCH_MAP, _SMALL_BATCH_MAP, _EVEN_BATCH_MAP = (2, 4, 5, 6), (2, 3, 5, 8), (1, 2, 3, 8), (1, 3, 2, 8)

# each rounding, overflow and flush once more, where operands meet its corners
_SMOKE_MODES = (
    ("add", FloatMode(Rounding.DOWN)),
    ("mul", FloatMode(Rounding.UP, flush=True)),
    ("fma", FloatMode(Rounding.TOWARD_ZERO)),
    ("div", FloatMode(Rounding.NEAREST_AWAY, Overflow.SATURATE)),
)


def smoke() -> list[Entry]:
    """Every operation in small tensors, and every parameter of the layers at least once."""
    entries = [_unit(kind, FloatMode(), 72) for kind in UNITS]
    entries += [_unit(kind, mode, 56, 2) for kind, mode in _SMOKE_MODES]
    entries += [*_quantizers(ConvConfig(), "fxp4", POWER_SCALES.x, (1, 2, 20, 5))]
    entries += [*_dequantizers("nearest_even", FloatMode(), 16)]
    entries += [*_packs()][::2]
    entries.append(_entry("lfsr_words", make.lfsr, 0xACE1, 16))
    entries += itertools.chain.from_iterable(map(_convs, _SMOKE_CONVS))
    entries += _norms("frozen", BatchNormConfig(), (1, 3, 5, 6))
    entries += _norms("frozen_fma", BatchNormConfig(fma=True), (1, 3, 5, 6))
    entries += _norms("batch_fp32", _BATCH, _SMALL_BATCH_MAP)
    entries += _norms("batch_fp16", BatchNormConfig(Statistics.BATCH, accumulator=FP16), _EVEN_BATCH_MAP, 1)
    entries.append(_entry("add", layer.add, AddConfig(), (1, 4, 4, 6)))
    entries.append(_entry("gradient_accumulate", layer.accumulate, FloatMode(), 3, (1, 4, 4, 6)))
    entries += _pairs("relu6", layer.relu, ReluConfig(six=True), shape=(1, 3, 8, 4))
    entries += _pairs("max_pool_3x3", layer.max_pool, MaxPoolConfig(3, 2, 1), shape=(1, 7, 6, 4))
    entries += _pairs("avg_pool_3x3", layer.avg_pool, AvgPoolConfig(3), shape=(1, 3, 7, 9))
    entries += _pairs("linear", layer.linear, LinearConfig(), inputs=5, outputs=4)
    return entries


def _plain(name: str, config: LayerConfig) -> Iterator[Entry]:
    """The operations of a layer of maps alone."""
    for operation in LAYERS[type(config)]:
        yield _entry(f"{name}_{operation.name.split('.')[1]}", layer.plain, operation, config)


def _activations(name: str, config: LayerConfig, **sizes: Any) -> Iterator[Entry]:
    """A sigmoid of any kind, in both directions."""
    for operation in LAYERS[type(config)]:
        yield _entry(f"{name}_{operation.name.split('.')[1]}", block.activation, operation, config, **sizes)


def blocks() -> list[Entry]:
    """What the blocks of later networks are made of: squeeze and excite, sigmoids, and maps that grow."""
    up, small = FloatMode(Rounding.UP, flush=True), (1, 2, 9, 5)
    entries = [*_pairs("multiply", block.multiply, MultiplyConfig(), shape=(1, 3, 8, 4))]
    entries += _pairs("multiply_gate", block.multiply, MultiplyConfig(gate=True), shape=(1, 3, 5, 8))
    entries += _activations("hard_sigmoid", HardSigmoidConfig(), shape=small)
    entries.append(next(_activations("hard_sigmoid_onnx_up_flush", HardSigmoidConfig.of(0.2, 0.5, up), shape=small)))
    entries += _activations("sigmoid", SigmoidConfig(), shape=small)
    entries.append(next(_activations("sigmoid_short_table_up_flush", SigmoidConfig(3, up), shape=small)))
    entries += _activations("silu", SiluConfig(), shape=small)
    entries += _pairs("upsample_2x3", block.upsample, UpsampleConfig(2, 3), shape=(1, 2, 3, 4))
    hard = FloatMode(Rounding.DOWN, Overflow.SATURATE, flush=True)
    entries += _pairs("multiply_down_saturate_flush", block.multiply, MultiplyConfig(mode=hard), shape=(1, 3, 8, 4))
    larger = UpsampleConfig(2, 2, mode=hard)
    entries += _pairs("upsample_2x2_down_saturate_flush", block.upsample, larger, shape=(1, 3, 6, 5))
    for name, config in (("hard_sigmoid", HardSigmoidConfig(mode=hard)), ("silu", SiluConfig(mode=hard))):
        entries += _activations(f"{name}_down_saturate_flush", config, shape=small)
    dcr, crd = (list(_pairs(f"depth_to_space_{order.value}", block.depth_to_space, DepthToSpaceConfig(2, order)))
                for order in DepthOrder)  # fmt: skip
    return [*entries, *dcr, *crd]


def layers() -> list[Entry]:
    """The layers that `golden/v1` does not have, in small tensors."""
    entries = [*_plain("hard_swish", HardSwishConfig())]
    entries += _plain("hard_swish_up_flush", HardSwishConfig(FloatMode(Rounding.UP, flush=True)))
    return [*entries, *_plain("concat", ConcatConfig())]


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


def geometry() -> list[Entry]:
    """Windows whose rows and columns, or sides, differ; dilated and transposed ones; averages that share inputs."""
    upwards = (each for each in _TRANSPOSED_CONVS if each.label in _TRANSPOSED_SMALL)
    entries = [*itertools.chain.from_iterable(map(_convs, (*_GEOMETRY_CONVS, *upwards)))]
    sided = MaxPoolConfig((2, 3), (1, 2), (0, 1, 1, 2))
    entries += _pairs("max_pool_2x3_sides", layer.max_pool, sided, shape=(1, 4, 5, 3))
    same = AvgPoolConfig(3, stride=2, padding=_SAME)
    entries += _pairs("avg_pool_3x3_same", layer.avg_pool, same, shape=(1, 4, 5, 4))
    counted = AvgPoolConfig((2, 3), stride=(1, 2), padding=(1, 0, 0, 2), count_padding=True)
    return [*entries, *_pairs("avg_pool_2x3_counted", layer.avg_pool, counted, shape=(1, 3, 4, 4))]


def windows() -> list[Entry]:
    """More of them, for the suite `standard`."""
    entries = [*itertools.chain.from_iterable(map(_convs, _WINDOW_CONVS))]
    apart = AvgPoolConfig((2, 1), FloatMode(Rounding.UP, Overflow.SATURATE, flush=True), stride=(1, 2))
    entries += _pairs("avg_pool_2x1_up_saturate_flush", layer.avg_pool, apart, shape=(1, 3, 4, 9))
    return [*entries, *_pairs("avg_pool_3x3_shared", layer.avg_pool, AvgPoolConfig(3, stride=1), shape=(1, 4, 4, 9))]


def transposed() -> list[Entry]:
    """All transposed convolutions, for the suite `standard`."""
    return [*itertools.chain.from_iterable(map(_convs, _TRANSPOSED_CONVS))]


def _selections() -> Iterator[Entry]:
    yield from _pairs("relu", layer.relu, ReluConfig())
    yield from _pairs("avg_pool_whole_map", layer.avg_pool, AvgPoolConfig())
    yield from _pairs("avg_pool_1x1", layer.avg_pool, AvgPoolConfig(1), shape=(1, 3, 3, 9))
    yield from _pairs("avg_pool_2x2", layer.avg_pool, AvgPoolConfig(2))
    yield from _pairs("linear_1x1", layer.linear, LinearConfig(), inputs=1, outputs=1)
    yield from _packs()
    for label, fmt in (("narrow", Fxp(4, narrow=True)), ("fxp8", FXP8), ("fxp2", Fxp(2)), ("ufxp4", UFXP4)):
        yield from _quantizers(ConvConfig(x_format=fmt), label, _ODD_SCALE)


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


def standard() -> list[Entry]:
    """The smoke suite, every FP16 operation and rounding layer in every mode, and many more convolutions."""
    entries = [*smoke(), *layers(), *blocks(), *geometry(), *windows(), *transposed(), *_selections()]
    entries += [*flag_suite.flags(), *flag_suite.every_mode(), *corner_suite.corners(), *corner_suite.more()]
    entries += [_unit(kind, mode, 512) for kind in UNITS for mode in MODES]
    for mode in MODES:
        label = mode_name(mode)
        scale = 4.0 if mode.overflow is Overflow.SATURATE else _ODD_SCALE
        entries += [*_quantizers(ConvConfig(mode=mode), label, scale), *_dequantizers(label, mode)]
        entries += _norms(f"frozen_{label}", BatchNormConfig(mode=mode), _FROZEN_MAP)
        entries += _norms(f"frozen_fma_{label}", BatchNormConfig(fma=True, mode=mode), _FROZEN_MAP)
    for mode in (FloatMode(), *LAYER_MODES):
        entries += _layers(mode, mode_name(mode))
    entries += _norms("batch_fp16_wide", BatchNormConfig(Statistics.BATCH, accumulator=FP16), _BATCH_MAP)
    for label, accumulator, mode in (("fp16", FP16, HARD), ("fp32", FP32, LAYER_MODES[3])):
        config = BatchNormConfig(Statistics.BATCH, accumulator=accumulator, mode=mode)
        entries += _norms(f"batch_{label}_{mode_name(mode)}", config, _BATCH_MAP)
    entries += _norms("batch_fp32_single_column", _BATCH, (2, 5, 1, 8))
    entries += itertools.chain.from_iterable(map(_convs, _standard_convs()))
    entries += [_entry(f"lfsr_words_seed_{seed:04x}", make.lfsr, seed, 64) for seed in (0x0001, 0xFFFF)]
    entries += [Entry(record.problem.name, partial(_given, record.problem)) for record in load_found()]
    return list({entry.name: entry for entry in entries}.values())


SUITES: dict[str, Callable[[], list[Entry]]] = {
    "smoke": smoke, "layers": layers, "blocks": blocks, "geometry": geometry,
    "flags": flag_suite.flags, "corners": corner_suite.corners, "standard": standard,
}  # fmt: skip
NETWORK_IMAGES = {"smoke": (0,), "standard": (0, 1, 2)}  # of the suites that have passes


def build(entry: Entry, seed: int) -> Problem:
    """The problem of an entry: its own stream, so that no other entry changes it."""
    return entry.build(Stream(seed, entry.name), entry.name)


def _sample(image: int) -> PassChoice:
    return PassChoice(MODEL, first_image=image)


def _unknown(name: str) -> BitrowError:
    return BitrowError(f"suite: found {name!r}, expected {', '.join(SUITES)}, or a case such as {standard()[0].name}")


def _suite(name: str, seed: int) -> Iterator[Problem]:
    if name in SUITES:
        for entry in SUITES[name]():
            yield build(entry, seed)
        for image in NETWORK_IMAGES.get(name, ()):
            yield from passes.problems(_sample(image), seed)
        return
    for entry in standard():
        if entry.name == name:
            yield build(entry, seed)
            return
    for image in NETWORK_IMAGES["standard"]:
        if name in passes.case_names(_sample(image)):
            yield next(one for one in passes.problems(_sample(image), seed) if one.name == name)
            return
    raise _unknown(name)


def problems(suites: Sequence[str], network: PassChoice | None, seed: int) -> Iterator[Problem]:
    """The problems of suites or single cases by name, then of a network's pass; each name once.

    Args:
        suites: "smoke", "layers", "blocks", "geometry", "flags", "corners", "standard" or names of cases.
        network: the pass of a network, or None.
        seed: of the stimulus, and of a named network's parameters.

    Raises:
        BitrowError: the catalog has no suite or case of a name; what `passes.problems` refuses.
    """
    parts = [_suite(name, seed) for name in suites]
    if network is not None:
        parts.append(passes.problems(network, seed))
    return _once(itertools.chain.from_iterable(parts))


def _once(problems: Iterator[Problem]) -> Iterator[Problem]:
    seen: set[str] = set()
    for problem in problems:
        if problem.name not in seen:
            seen.add(problem.name)
            yield problem


def names(suites: Sequence[str], network: PassChoice | None = None) -> list[str]:
    """The names of the cases that `problems` yields, without computing any.

    Raises:
        BitrowError: as `problems`.
    """
    found: list[str] = []
    known = {entry.name for entry in standard()} if suites else set()
    of_model = {image: passes.case_names(_sample(image)) for image in NETWORK_IMAGES["standard"] if suites}
    for name in suites:
        if name in SUITES:
            found += [entry.name for entry in SUITES[name]()]
            found += [case for image in NETWORK_IMAGES.get(name, ()) for case in of_model[image]]
        elif name in known or any(name in cases for cases in of_model.values()):
            found.append(name)
        else:
            raise _unknown(name)
    if network is not None:
        found += passes.case_names(network)
    return list(dict.fromkeys(found))
