"""The operations on single words as SystemVerilog functions, printed from the kernels' jaxprs (SPEC.md F, Q, M, D, A).

What `export.scalars` prints as C, and with it every function of single words of bitrow.h, by the same names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from bitrow.export import model, raised
from bitrow.export.configs import ROUNDINGS
from bitrow.export.scalars import SCALARS, WordFunction, halves
from bitrow.export.systemverilog import others
from bitrow.formats import FP16, Flag
from bitrow.layers import pool
from bitrow.lower.systemverilog import SvFunction, counting, width_of
from bitrow.ops import fp16, lfsr, mac, softfloat

# Beside the functions of bitrow.h: what a datapath has of its own.
_MORE = """
uint16_t fp16_negate(uint16_t a)
uint16_t fp16_convert(bw_mode mode, uint16_t a)
uint16_t fp16_positive(uint16_t a)
uint32_t fp32_negate(uint32_t a)
uint32_t fp32_convert(uint32_t a)
uint32_t fp32_from_int32(int32_t a)
uint32_t fp32_positive(uint32_t a)
int32_t order(uint16_t a)
uint16_t max(uint16_t a, uint16_t b)
bool passes(uint16_t a)
bool passes6(uint16_t a)
uint16_t select(uint16_t a, bool mask)
uint16_t ramp(uint16_t slope, uint16_t x)
uint16_t clip1(uint16_t a)
bool passes1(uint16_t a)
int32_t mac_exact(int32_t acc, int32_t x, int32_t weight)
bool acc_holds(int32_t acc, int32_t bits)
uint16_t lfsr_jump(uint16_t state, uint32_t steps)
uint8_t pack(int32_t first, int32_t second)
int32_t unpack(uint8_t pair, bool second, int32_t bits, bool has_sign)
flags quantize_flags(uint16_t t, int32_t low, int32_t high)
flags quantize_drawn_flags(uint16_t t, uint16_t word, int32_t low, int32_t high)
"""
_WIDTHS = {"bool": 1, "uint8_t": 8, "uint16_t": 16, "uint32_t": 32, "int32_t": 32, "flags": 5, "bw_mode": 6}
_MODE_FIELDS = {"rounding": (3, "mode[2:0]"), "saturates": (1, "mode[3]"), "flushes": (1, "mode[4]")}
_FLAG_FIELDS = {"rounding": (3, "mode[2:0]"), "flushes": (1, "mode[4]"), "early": (1, "mode[5]")}  # as raised.FLAGS
_LINE = 116


def _twice(acc: Any, scale: Any, mode: Any) -> Any:
    return softfloat.mul(softfloat.from_int32(acc, FP16, mode), scale, FP16, mode)


def _greater(a: Any, b: Any) -> Any:
    return jnp.where(pool.order_key(b) > pool.order_key(a), fp16.canonical(b), fp16.canonical(a))


def _clamped(acc: Any, x: Any, weight: Any, bits: Any) -> Any:
    low = jnp.int32(-1) << (bits - 1)
    return mac.clamped_add(acc, x * weight, low, ~low)


def _pair(first: Any, second: Any) -> Any:
    return (first & 15) | ((second & 15) << 4)


def _code(pair: Any, second: Any, bits: Any, has_sign: Any) -> Any:
    field = jnp.where(second, pair >> 4, pair) << (32 - bits).astype(jnp.uint32)
    signed = field.astype(jnp.int32) >> (32 - bits)
    return jnp.where(has_sign, signed, (field >> (32 - bits).astype(jnp.uint32)).astype(jnp.int32))


def _ints(names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, "int32") for name in names.split())


# Kernels that are no word function of the C model, which has them by hand.
_OWN: dict[str, WordFunction] = {
    "dequantize_two_step": WordFunction("An accumulator times a scale, rounded twice (D2)",
                                        (("acc", "int32"), ("scale", "uint32")), _twice, True),
    "max": WordFunction("The greater; the first where they are equal, NaN above all (A2)",
                        (("a", "uint32"), ("b", "uint32")), halves(_greater)),
    "mac_exact": WordFunction("acc + x * weight, modulo 2^32 (M1)", _ints("acc x weight"),
                              lambda acc, x, weight: acc + x * weight),
    "mac_wrap": WordFunction("acc + x * weight in a register of 8 to 32 bits, wrapped to it (M2)",
                             _ints("acc x weight bits"),
                             lambda acc, x, weight, bits: mac.sign_extended(acc + x * weight, 32 - bits)),
    "mac_saturate": WordFunction("The same clamped", _ints("acc x weight bits"), _clamped),
    "acc_holds": WordFunction("Whether a register of 8 to 32 bits holds a sum (M2)", _ints("acc bits"),
                              lambda acc, bits: mac.sign_extended(acc, 32 - bits) == acc),
    "lfsr_jump": WordFunction("The state after some steps (Q3)", (("state", "uint16"), ("steps", "uint32")), lfsr.jump),
    "pack": WordFunction("Two codes of at most 4 bits as a byte (Q5)", _ints("first second"), _pair),
    "unpack": WordFunction("The first or the second code of a byte, of 2 to 4 bits (Q5)",
                           (("pair", "uint32"), ("second", "bool"), ("bits", "int32"), ("has_sign", "bool")), _code),
}  # fmt: skip
# What C calls otherwise: the word function, which of its results, and what it says.
_OTHERWISE = {
    "quantize": ("word_nearest_code", 0, "The code of an FP16 word: nearest, ties to even, clipped (Q1, Q2)"),
    "inside": ("word_nearest_code", 1, "Whether the gradient of an FP16 word passes its quantizer (Q4)"),
    "quantize_drawn": ("word_drawn_code", 0, "The code of an FP16 word and a word of the LFSR (Q3)"),
    "dequantize": ("word_fp16_mul_int32", 0, "An accumulator times a positive finite scale, rounded once (D1)"),
}


class SvPort(NamedTuple):
    """An argument or a result: its name, its width in bits, whether it is a signed number."""

    name: str
    width: int
    signed: bool = False

    @property
    def type(self) -> str:
        sign = " signed" if self.signed else ""
        return f"logic{sign} [{self.width - 1}:0]" if self.width > 1 else "logic"


def _port(kind: str, name: str) -> SvPort:
    return SvPort(name, _WIDTHS[kind], kind == "int32_t")


class SvWord(NamedTuple):
    """A function of single words: its name without `bw_`, its ports (but for the mode), the kernel and its result."""

    name: str
    ports: tuple[SvPort, ...]
    result: SvPort
    word: WordFunction
    place: int
    says: str

    @property
    def moded(self) -> bool:
        return self.word.moded

    @property
    def fields(self) -> Mapping[str, tuple[int, str]]:
        """What the function reads of a mode: widths and places."""
        return {} if not self.moded else _FLAG_FIELDS if self.name in raised.FLAGS else _MODE_FIELDS

    @property
    def head(self) -> str:
        listed = [*([_port("bw_mode", "mode")] if self.moded else []), *self.ports]
        inputs = [f"input {port.type} {port.name}" for port in listed]
        head = f"function automatic {self.result.type} bw_{self.name}("
        line = f"{head}{', '.join(inputs)});"
        if len(line) <= _LINE:
            return line
        listed_below = ",\n        ".join(inputs)
        return f"{head}\n        {listed_below});"

    def text(self) -> str:
        """The whole function."""
        wide = {port.name: width_of(jnp.dtype(dtype)) for port, (_, dtype) in
                zip(self.ports, self.word.arguments, strict=True)}  # fmt: skip
        names = {port.name: port.name if wide[port.name] == port.width else f"{port.name}_word" for port in self.ports}
        parameters = tuple(f"{name} == {width}'d" for name, (width, _) in self.fields.items())
        body = SvFunction(self.name, tuple(names.values()), self._traces(), parameters).body()
        rows = [(name, width, text) for name, (width, text) in self.fields.items()]
        rows += [(names[port.name], wide[port.name], f"{{{wide[port.name] - port.width}'d0, {port.name}}}")
                 for port in self.ports if names[port.name] != port.name]  # fmt: skip
        rows += [(name, width_of(dtype), text) for name, dtype, text in body.assignments]
        ((result, dtype),) = body.results
        if width_of(dtype) > self.result.width:
            result = f"{result}[{self.result.width - 1}:0]"
        return "\n".join((
            f"    // {self.says}.",
            f"    {self.head}",
            *(f"        {row}" for row in _declared(rows)),
            *(f"        {name} = {text};" for name, _, text in rows),
            f"        bw_{self.name} = {result};",
            "    endfunction\n",
        ))  # fmt: skip

    def _traces(self) -> Mapping[Any, Any]:
        """The kernel's traces with this result alone."""
        return {choice: each._replace(results=each.results[self.place : self.place + 1])
                for choice, each in self.word.traces.items()}  # fmt: skip


def _declared(rows: list[tuple[str, int, str]]) -> Iterator[str]:
    """The names of each width, as many on a line as fit."""
    by_width: dict[int, list[str]] = {}
    for name, width, _ in rows:
        by_width.setdefault(width, []).append(name)
    for width, names in sorted(by_width.items(), reverse=True):
        line = SvPort("", width).type
        for place, name in enumerate(names):
            if len(line) + len(name) + 2 > _LINE - 8:
                yield f"{line};"
                line = SvPort("", width).type
            line += f"{',' if line[-1] != ']' and line != 'logic' and place else ''} {name}"
        yield f"{line};"


@functools.cache
def words() -> dict[str, SvWord]:
    """Every function by its name without `bw_`, those of bitrow.h first."""
    found = {}
    for each in (*model.prototypes(), *others(), *map(model.Prototype, _MORE.strip().splitlines())):
        word, place, says = _OTHERWISE.get(each.name, (f"word_{each.name}", 0, ""))
        kernel = _OWN.get(each.name) or raised.FLAGS.get(each.name) or SCALARS[word]
        result = {"inside": "bool"}.get(each.name, "flags" if each.name in raised.FLAGS else each.type)
        ports = tuple(_port(kind, name) for kind, name in each.words)
        says = (says or kernel.says).replace("The same", "The same as above")
        found[each.name] = SvWord(each.name, ports, _port(result, "y"), kernel, place, says)
    return found


def counts(texts: Iterable[str]) -> list[str]:
    """The functions that count bits, those that texts call."""
    called = {each for text in texts for each in re.findall(r"bw_(?:leading_zeros|ones)_[0-9]+", text)}
    return [text for width in (8, 16, 32) for name, text in counting(width).items() if name in called]


@functools.cache
def package() -> str:
    """bitrow_pkg.sv. It takes seconds: every kernel is traced under every mode."""
    texts = [each.text() for each in words().values()]
    mode, flags = _port("bw_mode", "").type, _port("flags", "").type
    chosen = {each.name: place for place, each in enumerate(ROUNDINGS)}
    chosen |= {"SATURATE": 8, "FLUSH": 16, "TINY_BEFORE": raised.TINY_BEFORE}
    constants = [f"    localparam {mode} BW_{name} = 6'd{value};" for name, value in chosen.items()]
    constants += [f"    localparam {flags} BW_{flag.name} = 5'd{int(flag)};" for flag in Flag]
    listed = "\n".join(constants)
    return "\n".join((
        f"""// {model.CONTRACT}, as SystemVerilog: functions of single words.
// A mode is a rounding of FP16 results (F3), and as wanted BW_SATURATE (F6), BW_FLUSH (F5) and for flags BW_TINY_BEFORE
// (F12) added to it. FP16 words and those of the LFSR have 16 bits, FP32 words 32, flags 5 (F11), codes and
// accumulators are signed numbers of 32.
// Unread here: modes that nobody asks for, and the upper bits of words of 32 bits.
/* verilator lint_off UNUSEDPARAM */
/* verilator lint_off UNUSEDSIGNAL */
package bitrow_pkg;
{listed}
""",
        *counts(texts), *texts,
        "endpackage\n/* verilator lint_on UNUSEDSIGNAL */\n/* verilator lint_on UNUSEDPARAM */\n",
    ))  # fmt: skip
