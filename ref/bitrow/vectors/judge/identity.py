"""Whether this machine's JAX gives the contract's bits: a fixed stimulus through the kernels, digests by the oracle.

The stimulus is words of SHA-256 and depends on no suite of vectors. Each problem's outputs are hashed; the digests
that the oracle gives stand in `identity_digests`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from bitrow.config import (
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    HardSigmoidConfig,
    HardSwishConfig,
    LinearConfig,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
    SigmoidConfig,
    SiluConfig,
    Statistics,
    UpsampleConfig,
)
from bitrow.contract import (
    batch_norm,
    conv,
    elementwise,
    fixed_point,
    hard_sigmoid,
    hard_swish,
    linear,
    multiply,
    pool,
    sigmoid,
    upsample,
)
from bitrow.contract.units import UNITS
from bitrow.formats import (
    FP16,
    FXP8,
    UFXP4,
    Accumulator,
    Dequantize,
    FloatMode,
    Gradient,
    Overflow,
    QuantRounding,
    Rounding,
)
from bitrow.host import inverse_scale
from bitrow.oracle.arrays import Words
from bitrow.vectors.bit_views import to_words
from bitrow.vectors.judge.identity_digests import DIGESTS
from bitrow.vectors.operations import Static, split_static, to_arrays
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus.stream import SPECIAL_WORDS, Stream

IMAGES = 8  # leading size of every input, so that eight devices can share it
ELEMENTS = 1024
MAP = (IMAGES, 6, 6, 4)
WIDE = FloatMode(Rounding.UP, Overflow.SATURATE, flush=True)
MODES = {"default": FloatMode(), "wide": WIDE}


def moderate(stream: Stream, shape: tuple[int, ...], low: int = 9, high: int = 18) -> np.ndarray:
    """FP16 words with exponent fields from `low` to `high`; a quarter have short fractions, which make ties."""
    words = stream.words(16, shape)
    fields = stream.between(low, high, shape).astype(np.uint16) << np.uint16(10)
    trimmed = np.where(stream.below(4, shape) == 0, words & 0x83C0, words & 0x83FF)
    return (trimmed | fields).astype(np.uint16)


def _scalar(value: float) -> np.ndarray:
    return np.array(value, np.float16).view(np.uint16)


def _codes(stream: Stream, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    return stream.between(low, high, shape).astype(np.int8 if low < 0 else np.uint8)


def _units(stream: Stream) -> Iterable[Problem]:
    for name, mode in MODES.items():
        for kind, operands in {"add": "ab", "sub": "ab", "mul": "ab", "div": "ab", "fma": "abc", "sqrt": "a",
                               "to_float32": "a"}.items():  # fmt: skip
            part = stream.child(kind, name)
            given = {operand: part.words(16, ELEMENTS) for operand in operands}
            given["a"][: len(SPECIAL_WORDS)] = SPECIAL_WORDS
            yield Problem(f"fp16_{kind}_{name}", UNITS[kind], mode, given)
        part = stream.child("conversions", name)
        shifts = part.below(32, ELEMENTS)
        integers = (part.words(32, ELEMENTS).view(np.int32) >> shifts).astype(np.int32)
        yield Problem(f"fp16_from_int32_{name}", UNITS["from_int32"], mode, {"i": integers})
        with np.errstate(invalid="ignore"):  # ARM's casts say that a NaN signals
            wide = moderate(part, (ELEMENTS,), 0, 31).view(np.float16).astype(np.float32).view(np.uint32)
        near = wide ^ (part.words(32, ELEMENTS) & np.uint32(0x1FFF))
        yield Problem(f"fp16_from_float32_{name}", UNITS["from_float32"], mode, {"x": near})


def _fixed(stream: Stream) -> Iterable[Problem]:
    x = moderate(stream.child("x"), MAP, 8, 20)
    x.reshape(-1)[: len(SPECIAL_WORDS)] = SPECIAL_WORDS
    inverse = _scalar(inverse_scale(0.3))
    given = {"x": x, "x_inv_scale": inverse}
    yield Problem("quantize", fixed_point.QUANTIZE, ConvConfig(), given)
    yield Problem("quantize_unsigned", fixed_point.QUANTIZE, ConvConfig(x_format=UFXP4, mode=WIDE), given)
    drawn = given | {"words": np.maximum(stream.child("noise").words(16, MAP), 1)}
    yield Problem("quantize_stochastic", fixed_point.QUANTIZE_STOCHASTIC, ConvConfig(x_format=FXP8), drawn)
    scale = np.array([0x3401, 0x0400, 0x3BFF, 0x57FF], np.uint16)
    for name, bits, method in (("fused", 24, Dequantize.FUSED), ("short", 14, Dequantize.FUSED),
                               ("long", 32, Dequantize.FUSED), ("two_step", 24, Dequantize.TWO_STEP)):  # fmt: skip
        words = stream.child("acc", name).words(32, MAP).view(np.int32)
        acc = (words >> (32 - bits + stream.below(bits, MAP))).astype(np.int32)
        config = ConvConfig(accumulator=Accumulator(bits), dequantize=method)
        yield Problem(f"dequantize_{name}", fixed_point.DEQUANTIZE, config, {"acc": acc, "scale": scale})
    yield Problem("lfsr", fixed_point.LFSR, FloatMode(),
                  {"start": np.arange(0, 8 * 9001, 9001, dtype=np.int32), "seed": np.array(0xACE1, np.uint16),
                   "count": np.array(64, np.int32)})  # fmt: skip


def _convolution(stream: Stream, name: str, config: ConvConfig, weight: tuple[int, ...]) -> Iterable[Problem]:
    """Both directions of a convolution of the map."""
    part = stream.child(name)
    fmt = config.weight_format
    codes = _codes(part, weight, fmt.min, fmt.max)
    scales = {"scale": _scalar(0.0155), "x_inv_scale": _scalar(inverse_scale(0.3))}
    yield Problem(f"{name}_forward", conv.FORWARD, config,
                  {"x": moderate(part, MAP, 10, 17), "weight_code": codes} | scales)  # fmt: skip
    rows = config.windows(weight)[0].results(MAP[1])
    given = {
        "dy": moderate(part, (IMAGES, rows, rows, weight[3]), 5, 14),
        "mask": (part.below(4, MAP) > 0).astype(np.uint8),
        "weight_code": codes,
        "w_scale": _scalar(0.0517),
    }
    if config.gradient is Gradient.FXP:
        given |= {"dy_inv_scale": _scalar(inverse_scale(2.0**-5)), "dx_scale": _scalar(0.0016)}
    if config.dy_rounding is QuantRounding.STOCHASTIC:
        given["seed"] = np.array(0x1234, np.uint16)
    yield Problem(f"{name}_backward", conv.BACKWARD, config, given)


def _layers(stream: Stream) -> Iterable[Problem]:
    yield from _convolution(stream, "conv", ConvConfig(padding=1), (3, 3, 4, 8))
    yield from _convolution(stream, "conv_depthwise", ConvConfig(stride=2, padding=1, groups=4), (3, 3, 1, 4))
    floats = ConvConfig(x_format=FXP8, weight_format=FXP8, dy_format=FXP8, gradient=Gradient.FP16)
    yield from _convolution(stream, "conv_wide", floats, (1, 1, 4, 8))
    drawn = ConvConfig(stride=2, dy_rounding=QuantRounding.STOCHASTIC, mode=WIDE)
    yield from _convolution(stream, "conv_stochastic", drawn, (2, 2, 4, 4))
    part = stream.child("norm")
    y, _ = moderate(part, MAP), moderate(part, MAP)
    a, b = moderate(part, (4,), 13, 16), moderate(part, (4,))
    for fma in (False, True):
        yield Problem(f"batch_norm_{'fma' if fma else 'frozen'}", batch_norm.FORWARD_FROZEN, BatchNormConfig(fma=fma),
                      {"y": y, "a": a, "b": b})  # fmt: skip
    host = {
        "gamma": np.array([1, 1.7, -0.3, 0.9], np.float32),
        "beta": np.array([0, 0.1, -2, 3], np.float32),
        "eps": np.array(1e-5, np.float32),
    }
    for accumulator, name in ((BatchNormConfig().accumulator, "fp32"), (FP16, "fp16")):
        config = BatchNormConfig(Statistics.BATCH, accumulator=accumulator)
        words = {key: np.asarray(value).view(np.uint32) for key, value in host.items()}
        yield Problem(f"batch_norm_batch_{name}", batch_norm.FORWARD_BATCH, config, {"y": y} | words)
    yield Problem("max_pool", pool.MAX_FORWARD, MaxPoolConfig(3, 2, 1), {"x": y})
    yield Problem("avg_pool", pool.AVG_FORWARD, AvgPoolConfig(), {"x": y})
    yield Problem("relu6", elementwise.RELU_FORWARD, ReluConfig(six=True), {"x": y})
    x, weight = moderate(part, (IMAGES, 36)), moderate(part, (36, 10))
    bias = (np.arange(10) / 7).astype(np.float32).view(np.uint32)
    yield Problem("linear_forward", linear.FORWARD, LinearConfig(), {"x": x, "weight": weight, "bias": bias})
    yield Problem("linear_backward", linear.BACKWARD, LinearConfig(),
                  {"dy": moderate(part, (IMAGES, 10)), "weight": weight})  # fmt: skip
    yield Problem("hard_swish_forward", hard_swish.FORWARD, HardSwishConfig(), {"x": y})
    yield Problem("hard_swish_backward", hard_swish.BACKWARD, HardSwishConfig(), {"x": y, "dy": moderate(part, MAP)})
    yield from _blocks(stream.child("blocks"))


def _blocks(stream: Stream) -> Iterable[Problem]:
    x, dy, gate = moderate(stream, MAP), moderate(stream, MAP), moderate(stream, (MAP[0], 1, 1, MAP[3]))
    yield Problem("multiply_gate_backward", multiply.GATE_BACKWARD, MultiplyConfig(gate=True),
                  {"x": x, "gate": gate, "dy": dy})  # fmt: skip
    yield Problem("hard_sigmoid_forward", hard_sigmoid.FORWARD, HardSigmoidConfig(), {"x": x})
    yield Problem("sigmoid_backward", sigmoid.SIGMOID_BACKWARD, SigmoidConfig(), {"y": x, "dy": dy})
    yield Problem("silu_backward", sigmoid.SILU_BACKWARD, SiluConfig(), {"x": x, "dy": dy})
    yield Problem("upsample_backward", upsample.BACKWARD, UpsampleConfig(), {"dy": dy})


@functools.cache
def problems() -> dict[str, Problem]:
    """The fixed problems by name."""
    stream = Stream("identity", 1)
    every = (*_units(stream), *_fixed(stream), *_layers(stream))
    return {problem.name: problem for problem in every}


def outputs(problem: Problem) -> list[str]:
    """Names of the tensors whose words are hashed."""
    return sorted(problem.operation.outputs)


def digest(words: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over name, shape and little-endian words of each tensor, in the order of names."""
    found = hashlib.sha256()
    for name in sorted(words):
        array = np.ascontiguousarray(words[name], words[name].dtype.newbyteorder("<"))
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return found.hexdigest()


def oracle_digest(problem: Problem) -> str:
    """What the scalar oracle says; the committed digests are these."""
    words = problem.operation.oracle(problem.config, problem.given)
    return digest({name: words[name] for name in outputs(problem)})


def given_arrays(problem: Problem) -> tuple[Static, dict[str, np.ndarray]]:
    """Inputs that are shapes, and the arrays of the others."""
    operation = problem.operation
    static, dynamic = split_static(operation, problem.given)
    return static, to_arrays(operation, problem.config, dynamic)


def kernel(problem: Problem, tapped: bool = False) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The problem's kernel as a function of its arrays: the outputs alone, of the program with taps or without."""
    from bitrow.vectors.judge.kernels import compute  # loads JAX

    operation = problem.operation
    static, names = dict(given_arrays(problem)[0]), outputs(problem)

    def run(arrays: dict[str, Any]) -> dict[str, Any]:
        found = compute(operation, problem.config, arrays | static, tapped)
        return {name: found[name] for name in names}

    return run


def compiled(problem: Problem, tapped: bool = False) -> Words:
    """Outputs of the kernel compiled whole, without taps as users run it, or with them."""
    import jax

    found = jax.jit(kernel(problem, tapped))(given_arrays(problem)[1])
    return {name: to_words(array) for name, array in found.items()}


def differing(names: Iterable[str], run: Callable[[Problem], Words] = compiled) -> dict[str, str]:
    """Problems whose words are not the oracle's, with the digest found."""
    found = {name: digest(run(problems()[name])) for name in names}
    return {name: text for name, text in found.items() if text != DIGESTS[name]}


def first_difference(problem: Problem, run: Callable[[Problem], Words] = compiled) -> str:
    """The first word that differs from the oracle's, in words."""
    found = run(problem)
    expected = problem.operation.oracle(problem.config, problem.given)
    for name in outputs(problem):
        places = np.argwhere(found[name] != expected[name])
        if len(places):
            at = tuple(int(i) for i in places[0])
            words = f"found {int(found[name][at]):#x}, expected {int(expected[name][at]):#x}"
            return f"{problem.name} {name}{list(at)}: {words}"
    return f"{problem.name}: found words that differ from the committed digest, expected the oracle's"
