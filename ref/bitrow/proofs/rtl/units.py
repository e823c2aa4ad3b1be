"""The operations that a unit can be held against: ports, domain, the kernel on single words and the oracle.

Ports, widths and the oracle are the contract's own (`contract.operation`); the kernel is made of `export.scalars`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from bitrow.config import BatchNormConfig, ConvConfig, MaxPoolConfig
from bitrow.contract import fixed_point, pool
from bitrow.contract.encoding import FP16_WORD, LFSR_WORD, MASK_WORD, Encoding, Kind, code_encoding, integer_encoding
from bitrow.contract.operation import Operation
from bitrow.contract.operations import OPERATIONS
from bitrow.errors import BitrowError
from bitrow.export.scalars import SCALARS
from bitrow.formats import (
    FP16,
    FXP4,
    LFSR_PERIOD,
    SCALE_MAX,
    SCALE_MIN,
    AccOverflow,
    Accumulator,
    Dequantize,
    FloatMode,
    Fxp,
)
from bitrow.oracle import fxp as oracle_fxp
from bitrow.proofs.rtl import lines


@dataclass(frozen=True)
class UnitOptions:
    """What a unit's contract leaves open: the mode of FP16 arithmetic, the formats of codes (`format` is that of x),
    the accumulator, and for some operations a variant."""

    mode: FloatMode = FloatMode()
    format: Fxp = FXP4
    weight_format: Fxp = FXP4
    accumulator: Accumulator = Accumulator(overflow=AccOverflow.WRAP)
    dequantize: Dequantize = Dequantize.FUSED
    fma: bool = False
    six: bool = False


class UnitPort(NamedTuple):
    """A word of the contract's unit; an input takes the values from `low` to `high`, signed where the encoding is."""

    name: str
    encoding: Encoding
    low: int = 0
    high: int = 0

    @property
    def bits(self) -> int:
        return self.encoding.bits

    @property
    def points(self) -> int:
        return self.high - self.low + 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """How a kernel is given the word."""
        if self.encoding.kind is Kind.MASK:
            return np.dtype(bool)
        return np.dtype(np.int32 if self.encoding.signed or self.encoding.kind is Kind.CODE else np.uint32)


@dataclass(frozen=True, eq=False)
class RtlContract:
    """What a unit must compute: `taps` are compared where the unit has a port for them, `outputs` always.

    `kernel` takes and gives words by name, as `UnitPort.dtype`; `oracle` does so with Python's integers.
    `problem` is the operation, configuration and words of a directed vector, or None where the vectors have none.
    """

    name: str
    says: str
    clauses: tuple[str, ...]
    inputs: tuple[UnitPort, ...]
    outputs: tuple[UnitPort, ...]
    taps: tuple[UnitPort, ...]
    kernel: lines.LineKernel
    oracle: Callable[[Mapping[str, int]], dict[str, int]]
    problem: Callable[[Mapping[str, int]], tuple[Operation, Any, dict[str, np.ndarray]] | None]
    settings: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """How many inputs there are."""
        return math.prod(port.points for port in self.inputs)

    @property
    def bits(self) -> int:
        """Bits of an input."""
        return sum(port.bits for port in self.inputs)


def _range(encoding: Encoding) -> tuple[int, int]:
    if encoding.signed:
        return -(1 << (encoding.bits - 1)), (1 << (encoding.bits - 1)) - 1
    return 0, (1 << encoding.bits) - 1


def _domain(operation: Operation, name: str, encoding: Encoding) -> tuple[int, int]:
    """The words that may come: a dequantizer's scale is normal (D3), a quantizer's inverse one of F8, a state not 0."""
    if name == "scale":
        return 1 << FP16.fraction_bits, FP16.max_finite_bits
    if name == "x_inv_scale":
        low, high = (int(np.float16(value).view(np.uint16)) for value in (SCALE_MIN, SCALE_MAX))
        return low, high
    return (1, LFSR_PERIOD) if encoding.kind is Kind.WORD else _range(encoding)


def _shaped(operation: Operation, config: Any, words: Mapping[str, int]) -> dict[str, np.ndarray]:
    found = {}
    for name, word in words.items():
        encoding = operation.encoding(name, config)
        found[name] = np.array(word, encoding.dtype).reshape([1] * len(operation.line(name).axes))
    return found


def _of_operation(name: str, operation: Operation, config: Any, settings: tuple[str, ...]) -> RtlContract:
    """The unit of an operation whose lines are of single words."""
    conditions = operation.conditions(config, {})
    active = operation.program.active(conditions)
    read = {operand for line in active for operand in line.operands}
    inputs = []
    for given in (*operation.inputs, *operation.parameters):
        if given in read:
            encoding = operation.encoding(given, config)
            inputs.append(UnitPort(given, encoding, *_domain(operation, given, encoding)))
    made = [line for line in active if line.role is not None]
    ports = {line.name: UnitPort(line.name, operation.encoding(line.name, config)) for line in made}

    def problem(words: Mapping[str, int]) -> tuple[Operation, Any, dict[str, np.ndarray]]:
        return operation, config, _shaped(operation, config, words)

    def oracle(words: Mapping[str, int]) -> dict[str, int]:
        found = operation.oracle(config, _shaped(operation, config, words))
        return {each: int(found[each].reshape(-1)[0]) for each in ports}

    return RtlContract(
        name, "; ".join(f"{line.name} = {line.op} {' '.join(line.operands)}" for line in made),
        tuple(operation.clauses(config)), tuple(inputs),
        tuple(port for each, port in ports.items() if each in operation.outputs),
        tuple(port for each, port in ports.items() if each not in operation.outputs),
        lines.kernel(operation, config, conditions), oracle, problem, settings,
    )  # fmt: skip


def _config(kind: type, options: UnitOptions) -> tuple[Any, tuple[str, ...]]:
    """A configuration of an operation, and the options that it has."""
    if kind is FloatMode:
        return options.mode, ("mode",)
    if kind is ConvConfig:
        return ConvConfig(x_format=options.format, weight_format=options.weight_format, mode=options.mode,
                          accumulator=options.accumulator, dequantize=options.dequantize), ("mode",)  # fmt: skip
    if kind is BatchNormConfig:
        return BatchNormConfig(fma=options.fma, mode=options.mode), ("mode", "fma")
    has = [field.name for field in fields(kind)]
    own = tuple(name for name in ("mode", "six") if name in has)
    return kind(**{name: getattr(options, name) for name in own}), own


_FORMATTED = {"fxp.quantize": ("format",), "fxp.quantize_stochastic": ("format",),
              "fxp.dequantize": ("accumulator", "dequantize")}  # fmt: skip


def _pack(options: UnitOptions) -> RtlContract:
    fmt = options.format
    if fmt.bits > 4:
        raise BitrowError(f"fxp.pack: found codes of {fmt.bits} bits, expected at most 4: others have a byte each")
    first, second = (UnitPort(name, code_encoding(fmt), fmt.min, fmt.max) for name in ("first", "second"))

    def kernel(first: Any, second: Any) -> dict[str, Any]:
        low, high = (each.astype(jnp.uint32) & jnp.uint32(0xF) for each in (first, second))
        return {"packed": low | high << 4}

    def problem(words: Mapping[str, int]) -> tuple[Operation, Any, dict[str, np.ndarray]]:
        dtype = code_encoding(fmt).dtype
        row = np.array([words["first"], words["second"]], dtype).reshape(1, 1, 1, 2)
        return fixed_point.PACK, fmt, {"code": row}

    def oracle(words: Mapping[str, int]) -> dict[str, int]:
        return {"packed": oracle_fxp.pack([words["first"], words["second"]], fmt)[0]}

    packed = UnitPort("packed", fixed_point.PACK.encoding("packed", fmt))
    return RtlContract("fxp.pack", "two codes in a byte, the first in the low nibble", ("F7", "Q5"), (first, second),
                       (packed,), (), kernel, oracle, problem, ("format",))  # fmt: skip


def _lfsr(options: UnitOptions) -> RtlContract:
    def kernel(state: Any) -> dict[str, Any]:
        return {"next": SCALARS["word_lfsr_step"].kernel(state.astype(jnp.uint16)).astype(jnp.uint32)}

    def problem(words: Mapping[str, int]) -> tuple[Operation, Any, dict[str, np.ndarray]]:
        given: dict[str, np.ndarray] = {"start": np.zeros(1, np.int32), "seed": np.array(words["state"], np.uint16),
                 "count": np.array(1, np.int32)}  # fmt: skip
        return fixed_point.LFSR, FloatMode(), given

    def oracle(words: Mapping[str, int]) -> dict[str, int]:
        operation, config, given = problem(words)
        return {"next": int(operation.oracle(config, given)["words"].reshape(-1)[0])}

    state = UnitPort("state", LFSR_WORD, 1, LFSR_PERIOD)
    return RtlContract("lfsr.step", "the state after one step", ("Q3",), (state,), (UnitPort("next", LFSR_WORD),), (),
                       kernel, oracle, problem)  # fmt: skip


def _mac(options: UnitOptions) -> RtlContract:
    register = options.accumulator
    if register.overflow is AccOverflow.ERROR:
        raise BitrowError("mac.step: found an accumulator of overflow error, expected wrap or saturate")
    saturates = register.overflow is AccOverflow.SATURATE
    encoding = integer_encoding(register.bits)
    codes = {"x": options.format, "weight": options.weight_format}
    inputs = (UnitPort("acc", encoding, register.min, register.max),
              *(UnitPort(name, code_encoding(fmt), fmt.min, fmt.max) for name, fmt in codes.items()))  # fmt: skip

    def kernel(acc: Any, x: Any, weight: Any) -> dict[str, Any]:
        if saturates:
            ends = jnp.int32(register.min), jnp.int32(register.max)
            return {"next": SCALARS["word_saturating_add"].kernel(acc, x * weight, *ends)}
        unused = jnp.int32(32 - register.bits)
        return {"next": ((acc + x * weight) << unused) >> unused}

    def oracle(words: Mapping[str, int]) -> dict[str, int]:
        total = words["acc"] + words["x"] * words["weight"]
        clamped = max(register.min, min(total, register.max))
        return {"next": clamped if saturates else oracle_fxp.wrap(total, register.bits)}

    return RtlContract("mac.step", f"acc + x * weight, {'clamped' if saturates else 'wrapped'}", ("M1", "M2"), inputs,
                       (UnitPort("next", encoding),), (), kernel, oracle, lambda words: None,
                       ("format", "weight_format", "accumulator"))  # fmt: skip


def _max(options: UnitOptions) -> RtlContract:
    config = MaxPoolConfig(kernel=(1, 2), stride=(1, 2))
    order, canonical = SCALARS["word_order"].kernel, SCALARS["word_canonical"].kernel
    ports = tuple(UnitPort(name, FP16_WORD, 0, 0xFFFF) for name in ("a", "b"))

    def kernel(a: Any, b: Any) -> dict[str, Any]:
        later = order(b) > order(a)
        return {"y": jnp.where(later, canonical(b), canonical(a)), "index": later}

    def problem(words: Mapping[str, int]) -> tuple[Operation, Any, dict[str, np.ndarray]]:
        return pool.MAX_FORWARD, config, {"x": np.array([words["a"], words["b"]], np.uint16).reshape(1, 1, 2, 1)}

    def oracle(words: Mapping[str, int]) -> dict[str, int]:
        operation, config, given = problem(words)
        found = operation.oracle(config, given)
        return {name: int(found[name].reshape(-1)[0]) for name in ("y", "index")}

    index = UnitPort("index", MASK_WORD)
    return RtlContract("max", "the first maximum of two words, and whether it is the second", ("A2", "F4"), ports,
                       (UnitPort("y", FP16_WORD),), (index,), kernel, oracle, problem)  # fmt: skip


_OWN: dict[str, Callable[[UnitOptions], RtlContract]] = {
    "fxp.pack": _pack, "lfsr.step": _lfsr, "mac.step": _mac, "max": _max,
}  # fmt: skip


@functools.cache
def _operations() -> dict[str, Operation]:
    """The operations of single words, those of batch statistics left out."""
    found: dict[str, Operation] = {}
    for operation in OPERATIONS:
        if lines.known(operation):
            found.setdefault(operation.name, operation)
    return found


def names() -> list[str]:
    """The names of all units."""
    return [*_operations(), *_OWN]


def build(name: str, options: UnitOptions = UnitOptions()) -> RtlContract:
    """The contract of a unit.

    Raises:
        BitrowError: an unknown name; an option that the unit cannot have.
    """
    if name in _OWN:
        return _OWN[name](options)
    if name not in _operations():
        raise BitrowError(f"--as: found {name!r}, expected one of {', '.join(names())}")
    operation = _operations()[name]
    config, settings = _config(operation.configured_by, options)
    return _of_operation(name, operation, config, (*settings, *_FORMATTED.get(name, ())))


def code_format(option: str, text: str) -> Fxp:
    """A format of codes by name: fxp4, ufxp4 unsigned, nfxp4 symmetric.

    Raises:
        BitrowError: naming the option; another name.
    """
    match = re.fullmatch("([un]?)fxp([2-8])", text)
    if match is None:
        raise BitrowError(f"{option}: found {text!r}, expected fxp2..8, ufxp2..8 or nfxp2..8")
    return Fxp(int(match[2]), signed=match[1] != "u", narrow=match[1] == "n")


def word(port: UnitPort, value: int) -> int:
    """A value as the port's bits."""
    return value & ((1 << port.bits) - 1)


def value(port: UnitPort, bits: int) -> int:
    """A port's bits as a value."""
    return bits - (1 << port.bits) if port.encoding.signed and bits >> (port.bits - 1) else bits


def listed(ports: Sequence[UnitPort]) -> str:
    """Ports in words: `a[16] b[16]`."""
    return " ".join(f"{port.name}[{port.bits}]" for port in ports)
