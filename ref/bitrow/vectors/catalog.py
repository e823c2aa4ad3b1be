"""The catalog of cases: named suites, any network, and single cases by name (SPEC.md V4).

An entry is a name and a way to build its problem from the seed, so that listing names computes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

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
    Dequantize,
    FloatMode,
    Fxp,
    Overflow,
    QuantRounding,
    Rounding,
)
from bitrow.vectors import conv_suite, corner_suite, flag_suite, passes
from bitrow.vectors.entries import HARD, LAYER_MODES, MODES, Entry, mode_name
from bitrow.vectors.entries import entry as _entry
from bitrow.vectors.found import load as load_found
from bitrow.vectors.passes import MODEL, PassChoice
from bitrow.vectors.stimulus import block_problems as block
from bitrow.vectors.stimulus import layer_problems as layer
from bitrow.vectors.stimulus import problems as make
from bitrow.vectors.stimulus.problems import POWER_SCALES, Problem
from bitrow.vectors.stimulus.stream import Stream

UNITS = ("add", "sub", "mul", "fma", "div", "sqrt", "from_int32", "from_float32", "to_float32")

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


_BATCH = BatchNormConfig(statistics=Statistics.BATCH)
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
    entries += conv_suite.smoke()
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


def geometry() -> list[Entry]:
    """Windows whose rows and columns, or sides, differ; dilated and transposed ones; averages that share inputs."""
    entries = conv_suite.geometry()
    sided = MaxPoolConfig((2, 3), (1, 2), (0, 1, 1, 2))
    entries += _pairs("max_pool_2x3_sides", layer.max_pool, sided, shape=(1, 4, 5, 3))
    same = AvgPoolConfig(3, stride=2, padding=(0, 1, 0, 1))  # TensorFlow's padding "SAME"
    entries += _pairs("avg_pool_3x3_same", layer.avg_pool, same, shape=(1, 4, 5, 4))
    counted = AvgPoolConfig((2, 3), stride=(1, 2), padding=(1, 0, 0, 2), count_padding=True)
    return [*entries, *_pairs("avg_pool_2x3_counted", layer.avg_pool, counted, shape=(1, 3, 4, 4))]


def windows() -> list[Entry]:
    """More of them, for the suite `standard`."""
    entries = conv_suite.windows()
    apart = AvgPoolConfig((2, 1), FloatMode(Rounding.UP, Overflow.SATURATE, flush=True), stride=(1, 2))
    entries += _pairs("avg_pool_2x1_up_saturate_flush", layer.avg_pool, apart, shape=(1, 3, 4, 9))
    return [*entries, *_pairs("avg_pool_3x3_shared", layer.avg_pool, AvgPoolConfig(3, stride=1), shape=(1, 4, 4, 9))]


def _selections() -> Iterator[Entry]:
    yield from _pairs("relu", layer.relu, ReluConfig())
    yield from _pairs("avg_pool_whole_map", layer.avg_pool, AvgPoolConfig())
    yield from _pairs("avg_pool_1x1", layer.avg_pool, AvgPoolConfig(1), shape=(1, 3, 3, 9))
    yield from _pairs("avg_pool_2x2", layer.avg_pool, AvgPoolConfig(2))
    yield from _pairs("linear_1x1", layer.linear, LinearConfig(), inputs=1, outputs=1)
    yield from _packs()
    for label, fmt in (("narrow", Fxp(4, narrow=True)), ("fxp8", FXP8), ("fxp2", Fxp(2)), ("ufxp4", UFXP4)):
        yield from _quantizers(ConvConfig(x_format=fmt), label, _ODD_SCALE)


def standard() -> list[Entry]:
    """The smoke suite, every FP16 operation and rounding layer in every mode, and many more convolutions."""
    entries = [*smoke(), *layers(), *blocks(), *geometry(), *windows(), *conv_suite.transposed(), *_selections()]
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
    entries += conv_suite.standard()
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
