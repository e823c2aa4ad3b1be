"""The registry: every operation by name, with its tensors, clauses and variants (SPEC.md V3)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

from bitrow.config import BatchNormConfig, ConvConfig, Statistics
from bitrow.errors import BitrowError
from bitrow.formats import FP16, AccOverflow, Dequantize, FloatMode, Gradient, QuantRounding
from bitrow.vectors.case import (
    FP16_WORD,
    FP32_WORD,
    INDEX_WORD,
    LFSR_WORD,
    MASK_WORD,
    PACKED_BYTE,
    Encoding,
    code_encoding,
    integer_encoding,
)
from bitrow.vectors.operation import Config, Operation, Pick, Port, Static, Words, to_array, to_arrays, to_words
from bitrow.vectors.operation import ports as _ports

__all__ = ["NETWORK", "OPERATIONS", "Operation", "Port", "Static", "Words", "find", "to_array", "to_arrays",
           "to_words"]  # fmt: skip

_SIZES = integer_encoding(32)


def _acc(config: ConvConfig) -> Encoding:
    return integer_encoding(config.accumulator.bits)


def _statistic(config: BatchNormConfig) -> Encoding:
    return FP16_WORD if config.accumulator == FP16 else FP32_WORD


def mode_clauses(mode: FloatMode) -> tuple[str, ...]:
    """The clauses of FP16 arithmetic under a mode."""
    return ("F1", "F2", "F3", "F4", "F5", "F6")


def _conv_clauses(config: ConvConfig) -> tuple[str, ...]:
    dequantize = "D2" if config.dequantize is Dequantize.TWO_STEP else "D1"
    running = ("T2",) if config.accumulator.overflow is AccOverflow.SATURATE else ()
    return (
        *mode_clauses(config.mode),
        "F7",
        "F8",
        "Q1",
        "Q2",
        "Q4",
        "M1",
        "M2",
        dequantize,
        "D3",
        "C1",
        "T1",
        *running,
    )


def _gradient_clauses(config: ConvConfig) -> tuple[str, ...]:
    if config.gradient is Gradient.FP16:
        return (*mode_clauses(config.mode), "F8", "F9", "Q4", "C2", "C3", "T1", "T2")
    stochastic = ("Q3",) if config.dy_rounding is QuantRounding.STOCHASTIC else ()
    forward = [clause for clause in _conv_clauses(config) if clause not in ("C1", "T1", "T2")]
    running = ("T2",) if config.accumulator.overflow is AccOverflow.SATURATE else ()
    return (*forward, *stochastic, "C2", "T1", *running)


def _batch(config: BatchNormConfig) -> bool:
    return config.statistics is Statistics.BATCH


def _frozen(config: BatchNormConfig) -> bool:
    return config.statistics is Statistics.FROZEN


def _batch_clauses(config: BatchNormConfig, *own: str) -> tuple[str, ...]:
    wide = () if config.accumulator == FP16 else ("F9", "F10")
    return (*mode_clauses(config.mode), *wide, *own, "T1", "T2")


def _clauses(*own: str, trees: bool = False) -> Callable[[Config], tuple[str, ...]]:
    wide = ("F9", "T2") if trees else ()
    return lambda config: (*mode_clauses(config.mode), *own, "T1", *wide)


def _unit(
    name: str, operands: str, result: Pick = FP16_WORD, encoding: Pick = FP16_WORD, *own: str
) -> Operation:
    """A row for an operation of `bitrow.fp16`: vectors of operands in, y out."""
    return Operation(
        f"fp16.{name}",
        _ports("element", encoding, operands),
        {},
        {},
        {"y": Port("element", result)},
        lambda config: (*mode_clauses(config), *own),
    )


def _x_code(config: ConvConfig) -> Encoding:
    return code_encoding(config.x_format)


_MAP, _OUT, _IN = "n h w c", "n oh ow c_out", "n h w c_in"
_WEIGHT = {"weight_code": Port("kh kw c_in c_out", lambda config: code_encoding(config.weight_format))}
_HW = {"input_hw": Port("axis", _SIZES)}

_ROWS = (
    _unit("add", "a b"),
    _unit("sub", "a b"),
    _unit("mul", "a b"),
    _unit("fma", "a b c"),
    _unit("div", "a b"),
    _unit("sqrt", "a"),
    _unit("from_int32", "i", FP16_WORD, _SIZES, "F10"),
    _unit("from_float32", "x", FP16_WORD, FP32_WORD, "F10"),
    _unit("to_float32", "a", FP32_WORD, FP16_WORD, "F9", "F10"),
    Operation(
        "fxp.quantize",
        {"x": Port(_MAP, FP16_WORD)},
        {"x_inv_scale": Port("", FP16_WORD)},
        {"t": Port(_MAP, FP16_WORD)},
        {"x_code": Port(_MAP, _x_code), "mask": Port(_MAP, MASK_WORD)},
        _clauses("F7", "F8", "Q1", "Q2", "Q4"),
    ),
    Operation(
        "fxp.quantize_stochastic",
        {"x": Port(_MAP, FP16_WORD), "words": Port(_MAP, LFSR_WORD)},
        {"x_inv_scale": Port("", FP16_WORD)},
        {"t": Port(_MAP, FP16_WORD)},
        {"x_code": Port(_MAP, _x_code), "mask": Port(_MAP, MASK_WORD)},
        _clauses("F7", "F8", "Q1", "Q2", "Q3", "Q4"),
    ),
    Operation(
        "fxp.dequantize",
        {"acc": Port(_MAP, _acc)},
        {"scale": Port("c", FP16_WORD)},
        {"acc_fp16": Port(_MAP, FP16_WORD)},
        {"deq": Port(_MAP, FP16_WORD)},
        lambda config: (
            *mode_clauses(config.mode),
            "D2" if config.dequantize is Dequantize.TWO_STEP else "D1",
            "D3",
            "T1",
        ),
    ),
    Operation(
        "fxp.pack",
        {"code": Port(_MAP, lambda fmt: code_encoding(fmt))},
        {},
        {},
        {"packed": Port("n h byte", PACKED_BYTE)},
        lambda fmt: ("F7", "Q5"),
    ),
    Operation(
        "lfsr.words",
        {"start": Port("run", _SIZES)},
        {"seed": Port("", LFSR_WORD), "count": Port("", _SIZES)},
        {},
        {"words": Port("run element", LFSR_WORD)},
        lambda mode: ("Q3",),
        static=("count",),
    ),
    Operation(
        "conv.forward",
        {"x": Port(_IN, FP16_WORD)},
        _WEIGHT | _ports("c_out", FP16_WORD, "x_inv_scale scale bias"),
        {
            "t": Port(_IN, FP16_WORD),
            "x_code": Port(_IN, _x_code),
            "acc_running": Port(f"k {_OUT}", _acc),
            "acc": Port(_OUT, _acc),
            **_ports(_OUT, FP16_WORD, "acc_fp16 deq"),
        },
        {"mask": Port(_IN, MASK_WORD), "y": Port(_OUT, FP16_WORD)},
        _conv_clauses,
    ),
    Operation(
        "conv.backward",
        {"dy": Port(_OUT, FP16_WORD), "mask": Port(_IN, MASK_WORD)},
        _WEIGHT | _ports("c_out", FP16_WORD, "w_scale dy_inv_scale dx_scale") | {"seed": Port("", LFSR_WORD)},
        {
            "dy_folded": Port(_OUT, FP16_WORD),
            "dy_words": Port(_OUT, LFSR_WORD),
            "dy_t": Port(_OUT, FP16_WORD),
            "dy_code": Port(_OUT, lambda config: code_encoding(config.dy_format)),
            "dx_acc_running": Port(f"k {_IN}", _acc),
            "dx_acc": Port(_IN, _acc),
            "dx_sum_running": Port(f"k {_IN}", FP32_WORD),
            "dx_sum": Port(_IN, FP32_WORD),
            **_ports(_IN, FP16_WORD, "dx_acc_fp16 dx_deq"),
        },
        {"dx": Port(_IN, FP16_WORD)},
        _gradient_clauses,
    ),
    Operation(
        "batch_norm.forward",
        {"y": Port(_MAP, FP16_WORD)},
        _ports("c", FP16_WORD, "a b"),
        {"ay": Port(_MAP, FP16_WORD)},
        {"z": Port(_MAP, FP16_WORD)},
        _clauses("B1"),
        when=_frozen,
    ),
    Operation(
        "batch_norm.backward",
        {"dz": Port(_MAP, FP16_WORD)},
        _ports("c", FP16_WORD, "a"),
        {},
        {"dy": Port(_MAP, FP16_WORD)},
        _clauses("B1"),
        when=_frozen,
    ),
    Operation(
        "batch_norm.forward",
        {"y": Port(_MAP, FP16_WORD)},
        _ports("c", FP32_WORD, "gamma beta eps"),
        {
            "yy": Port(_MAP, _statistic),
            **_ports("n h w_level c", _statistic, "r1_level r2_level"),
            **_ports("row c", _statistic, "s1_running s2_running"),
            **_ports("c", _statistic, "s1 s2 m mean s2m mean_sq var_raw var var_eps std r a mean_a b"),
            **_ports("c", FP16_WORD, "a16 b16"),
            "ay": Port(_MAP, FP16_WORD),
        },
        {"z": Port(_MAP, FP16_WORD)},
        lambda config: _batch_clauses(config, "B2"),
        when=_batch,
    ),
    Operation(
        "batch_norm.backward",
        {
            **_ports(_MAP, FP16_WORD, "dz y"),
            **_ports("c", _statistic, "mean r a"),
            "a16": Port("c", FP16_WORD),
        },
        {},
        {
            "dzy": Port(_MAP, _statistic),
            **_ports("n h w_level c", _statistic, "t1_level t2_level"),
            **_ports("row c", _statistic, "t1_running t2_running"),
            **_ports("c", _statistic, "t1 t2 m mean_t1 centered ar ar_dgamma p at1 at1_m p_mean q"),
            **_ports("c", FP16_WORD, "p16 q16"),
            **_ports(_MAP, FP16_WORD, "adz py adz_py"),
        },
        {**_ports("c", _statistic, "dgamma dbeta"), "dy": Port(_MAP, FP16_WORD)},
        lambda config: _batch_clauses(config, "B3", "B4"),
        when=_batch,
    ),
    Operation(
        "relu.forward",
        {"x": Port(_MAP, FP16_WORD)},
        {},
        {},
        {"y": Port(_MAP, FP16_WORD)},
        lambda config: ("A1", "F4", "F5"),
    ),
    Operation(
        "relu.backward",
        _ports(_MAP, FP16_WORD, "x dy"),
        {},
        {},
        {"dx": Port(_MAP, FP16_WORD)},
        lambda config: ("A1", "F4", "F5"),
    ),
    Operation(
        "add.forward",
        _ports(_MAP, FP16_WORD, "x shortcut"),
        {},
        {},
        {"y": Port(_MAP, FP16_WORD)},
        _clauses("A2"),
    ),
    Operation(
        "gradient.accumulate",
        {"dys": Port(f"consumer {_MAP}", FP16_WORD)},
        {},
        {"sum_": Port(_MAP, FP16_WORD)},
        {"dx": Port(_MAP, FP16_WORD)},
        lambda mode: (*mode_clauses(mode), "A5", "T1"),
    ),
    Operation(
        "max_pool.forward",
        {"x": Port(_MAP, FP16_WORD)},
        {},
        {},
        {"y": Port("n oh ow c", FP16_WORD), "index": Port("n oh ow c", INDEX_WORD)},
        lambda config: ("A2", "F4", "F5"),
    ),
    Operation(
        "max_pool.backward",
        {"dy": Port("n oh ow c", FP16_WORD), "index": Port("n oh ow c", INDEX_WORD)},
        _HW,
        {},
        {"dx": Port(_MAP, FP16_WORD)},
        _clauses("A2"),
        static=("input_hw",),
    ),
    Operation(
        "avg_pool.forward",
        {"x": Port(_MAP, FP16_WORD)},
        {},
        {
            "sum_level": Port("n oh kh ow w_level c", FP32_WORD),
            "sum_running": Port("kh n oh ow c", FP32_WORD),
            "sum": Port("n oh ow c", FP32_WORD),
        },
        {"y": Port("n oh ow c", FP16_WORD)},
        _clauses("A3", "B2", trees=True),
    ),
    Operation(
        "avg_pool.backward",
        {"dy": Port("n oh ow c", FP16_WORD)},
        _HW,
        {},
        {"dx": Port(_MAP, FP16_WORD)},
        _clauses("A3"),
        static=("input_hw",),
    ),
    Operation(
        "linear.forward",
        {"x": Port("n i", FP16_WORD)},
        {"weight": Port("i o", FP16_WORD), "bias": Port("o", FP32_WORD)},
        {"sum_level": Port("n i_level o", FP32_WORD), "sum": Port("n o", FP32_WORD)},
        {"y": Port("n o", FP16_WORD)},
        _clauses("A4", "B2", trees=True),
    ),
    Operation(
        "linear.backward",
        {"dy": Port("n o", FP16_WORD)},
        {"weight": Port("i o", FP16_WORD)},
        {"sum_level": Port("n i o_level", FP32_WORD), "sum": Port("n i", FP32_WORD)},
        {"dx": Port("n i", FP16_WORD)},
        _clauses("A4", "B2", trees=True),
    ),
)

OPERATIONS: dict[str, tuple[Operation, ...]] = {
    row.name: tuple(other for other in _ROWS if other.name == row.name) for row in _ROWS
}


NETWORK = "network."


@functools.cache
def _network(name: str) -> Operation:
    """The whole training pass of a shipped model: image and dlogits in, logits and dx out."""
    folder = Path(__file__).parent.parent / "models"
    model = name.removeprefix(NETWORK)
    if not re.fullmatch(r"[a-z0-9_]+", model) or not (folder / f"{model}.safetensors").is_file():
        raise BitrowError(f"operation: found {name!r}, expected {NETWORK} and the name of a shipped model")
    return Operation(
        name,
        {"x": Port(_MAP, FP16_WORD), "dlogits": Port("n class", FP16_WORD)},
        {},
        {},
        {"logits": Port("n class", FP16_WORD), "dx": Port(_MAP, FP16_WORD)},
        lambda mode: ("C1", "C2", "C4", "B1", "A1", "A2", "A3", "A4", "A5"),
    )


def find(name: str, config: Config) -> Operation:
    """The operation called `name`, in the variant that `config` asks for; "network.MODEL" is a shipped
    model's pass.

    Raises:
        BitrowError: there is none.
    """
    if name.startswith(NETWORK):
        return _network(name)
    if name not in OPERATIONS:
        raise BitrowError(f"operation: found {name!r}, expected one of {', '.join(OPERATIONS)}")
    return next(row for row in OPERATIONS[name] if row.when(config))
