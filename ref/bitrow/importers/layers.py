"""The table of float operators and the accelerator's layers: a row each, and what the layer is built with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConcatConfig,
    ConvConfig,
    ConvSize,
    DepthOrder,
    DepthToSpaceConfig,
    HardSigmoidConfig,
    HardSwishConfig,
    LayerConfig,
    LayerSize,
    LinearConfig,
    LinearSize,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
    Shape,
    SigmoidConfig,
    SiluConfig,
    UpsampleConfig,
)
from bitrow.errors import BitrowError
from bitrow.formats import Accumulator, Fxp
from bitrow.host import exact_fold
from bitrow.importers.operators import (
    AddMaps,
    Clamp,
    Convolve,
    FileQuantizer,
    FloatOperator,
    FullyConnected,
    JoinMaps,
    MaxWindow,
    MeanWindow,
    MultiplyMaps,
    Normalize,
    NotImported,
    Pointwise,
    RepeatRows,
    SpreadDepth,
    Windowed,
)
from bitrow.layers.twin import EPS, FloatLayer, Norm, Stats, Weights


@dataclass(frozen=True)
class CodeBits:
    """Bits of the codes that no quantizer of the file states: activations, weights, gradients (SPEC.md F7).

    `per_channel`: a weight scale for each output channel where the file has none.

    Raises:
        BitrowError: bits outside 2 to 8.
    """

    activations: int = 4
    weights: int = 4
    gradients: int = 4
    per_channel: bool = False

    def __post_init__(self) -> None:
        for bits in (self.activations, self.weights, self.gradients):
            Fxp(bits)


class LayerPlace(NamedTuple):
    """What an operator's row is given: the shapes that it reads, whether they can be negative, the widths."""

    shapes: tuple[Shape, ...]
    not_negative: bool
    bits: CodeBits


class Emitted(NamedTuple):
    """A layer: configuration, size and float twin's values; the quantizers that the file states."""

    config: LayerConfig
    size: LayerSize | None = None
    twin: FloatLayer = FloatLayer()
    x_quantizer: FileQuantizer | None = None
    w_quantizer: FileQuantizer | None = None


def _window(op: Windowed) -> dict[str, Any]:
    return {"stride": op.stride, "padding": op.padding}


def _convolution(op: Convolve, place: LayerPlace) -> Emitted:
    bits = place.bits
    x_format = op.x_quantizer.fmt if op.x_quantizer else Fxp(bits.activations, signed=not place.not_negative)
    w_format = op.w_quantizer.fmt if op.w_quantizer else Fxp(bits.weights)
    per_channel = op.w_quantizer.scale.ndim > 0 if op.w_quantizer else bits.per_channel
    config = ConvConfig(
        groups=op.groups, x_format=x_format, weight_format=w_format, dy_format=Fxp(bits.gradients), fold=per_channel,
        dilation=op.dilation, transposed=op.transposed, output_padding=op.output_padding, **_window(op),
    )  # fmt: skip
    kh, kw, _, c_out = op.weight.shape
    config = _wide_enough(config, op.weight.shape)
    size = ConvSize(kh, kw, c_out, per_channel=per_channel, bias=op.bias is not None)
    twin = FloatLayer(Weights(jnp.asarray(op.weight), None if op.bias is None else jnp.asarray(op.bias)))
    return Emitted(config, size, twin, op.x_quantizer, op.w_quantizer)


def _wide_enough(config: ConvConfig, kernel: tuple[int, ...]) -> ConvConfig:
    """The usual accumulator, or one of 32 bits where the worst case needs it (SPEC.md M2)."""
    if max(config.bounds(kernel)) <= config.accumulator.max:
        return config
    given = {field.name: getattr(config, field.name) for field in fields(config)}
    return ConvConfig(**given | {"accumulator": Accumulator(32)})


def _connected(op: FullyConnected, place: LayerPlace) -> Emitted:
    """The FP16 head; with codes a convolution whose kernel is the whole map, which is the same product."""
    if op.x_quantizer is None and op.w_quantizer is None:
        bias = np.zeros(op.weight.shape[1], np.float32) if op.bias is None else op.bias
        twin = FloatLayer(Weights(jnp.asarray(op.weight), jnp.asarray(bias)))
        return Emitted(LinearConfig(), LinearSize(op.weight.shape[1]), twin)
    h, w, c = place.shapes[0]
    weight = op.weight.reshape(h, w, c, -1)
    conv = Convolve(
        kernel=(h, w), weight=weight, bias=op.bias, x_quantizer=op.x_quantizer, w_quantizer=op.w_quantizer
    )  # fmt: skip
    return _convolution(conv, place)


def _normalize(op: Normalize, place: LayerPlace) -> Emitted:
    """The twin has the folded values, its own eps taken out exactly: `1 - 2^-10 + 2^-10` is 1."""
    a64, b64 = exact_fold(op.gamma, op.beta, op.mean, op.var, op.eps)
    with np.errstate(all="ignore"):
        scale, shift = a64.astype(np.float32), b64.astype(np.float32)
    zeros = np.zeros_like(scale)
    stats = Stats(jnp.asarray(zeros), jnp.asarray(zeros + np.float32(1 - EPS)))
    return Emitted(BatchNormConfig(), None, FloatLayer(Norm(jnp.asarray(scale), jnp.asarray(shift)), stats))


def _mean_pool(op: MeanWindow, place: LayerPlace) -> Emitted:
    if op.whole:
        return Emitted(AvgPoolConfig(None))
    return Emitted(AvgPoolConfig(op.kernel, count_padding=op.count_padding and any(op.padding), **_window(op)))


def _multiply(op: MultiplyMaps, place: LayerPlace) -> Emitted:
    x, other = place.shapes
    return Emitted(MultiplyConfig(gate=other != x))


_POINTWISE: dict[str, Callable[[Pointwise], LayerConfig]] = {
    "hard_swish": lambda op: HardSwishConfig(),
    "hard_sigmoid": lambda op: HardSigmoidConfig.of(op.alpha, op.beta),
    "sigmoid": lambda op: SigmoidConfig(),
    "silu": lambda op: SiluConfig(),
}


Emit = Callable[[Any, LayerPlace], Emitted]

LAYERS: dict[type[FloatOperator], Emit] = {
    Convolve: _convolution,
    FullyConnected: _connected,
    Normalize: _normalize,
    Clamp: lambda op, place: Emitted(ReluConfig(six=op.high == 6)),
    Pointwise: lambda op, place: Emitted(_POINTWISE[op.name](op)),
    MaxWindow: lambda op, place: Emitted(MaxPoolConfig(op.kernel, **_window(op))),
    MeanWindow: _mean_pool,
    AddMaps: lambda op, place: Emitted(AddConfig()),
    MultiplyMaps: _multiply,
    JoinMaps: lambda op, place: Emitted(ConcatConfig()),
    RepeatRows: lambda op, place: Emitted(UpsampleConfig(*op.factors)),
    SpreadDepth: lambda op, place: Emitted(DepthToSpaceConfig(op.block, DepthOrder.CRD if op.crd else DepthOrder.DCR)),
}


def emitted(op: FloatOperator, place: LayerPlace) -> Emitted:
    """The layer that an operator becomes.

    Raises:
        NotImported: the accelerator has none, or none with these values.
    """
    try:
        return LAYERS[type(op)](op, place)
    except BitrowError as error:
        raise NotImported(str(error)) from None
