"""The operations on single words, each printed from a kernel's jaxpr (SPEC.md F, Q, D, A).

A word is held in the low bits of a `uint32_t`, a code or an integer in an `int32_t`. What follows a `FloatMode` is one
function for all modes, which it is given.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from bitrow.config import ReluConfig
from bitrow.formats import FP16, FP32, Float, FloatMode, Overflow, Rounding
from bitrow.layers import activation, hard_sigmoid, hard_swish, pool
from bitrow.lower.c import Function, type_of
from bitrow.lower.merge import Selection
from bitrow.lower.trace import Trace, trace
from bitrow.ops import code_words, fp16, lfsr, mac, nearest, softfloat

ROUNDINGS, OVERFLOWS = tuple(Rounding), tuple(Overflow)
_MODE = ("BW_ROUNDING(mode)", "BW_SATURATES(mode)", "BW_FLUSHES(mode)")


class ModeTable(NamedTuple):
    """What a function reads of a mode, as C, and what the kernel is given for each of its values."""

    parameters: tuple[str, ...]
    modes: Mapping[Selection, Any]


@dataclass(frozen=True)
class WordFunction:
    """A function of single words: what it says, its arguments (name and dtype), the kernel by mode.

    `moded`: it is given a mode, of which it reads what `table` says.
    `results` names them where there are several, which leave through pointers.
    """

    says: str
    arguments: tuple[tuple[str, str], ...]
    kernel: Callable[..., Any]
    moded: bool = False
    results: tuple[str, ...] = ()
    table: ModeTable | None = field(default=None, hash=False)

    @functools.cached_property
    def traces(self) -> dict[Selection, Trace]:
        """What the kernel does under each mode."""
        dtypes = [dtype for _, dtype in self.arguments]
        if not self.moded:
            return {(): trace(self.kernel, dtypes)}
        return {choice: trace(self.kernel, dtypes, mode) for choice, mode in self._table.modes.items()}

    @property
    def _table(self) -> ModeTable:
        return self.table or ModeTable(_MODE, MODES)

    def declaration(self, name: str) -> str:
        """The C function's head."""
        listed = [f"{_carrier(dtype)} {argument}" for argument, dtype in self.arguments]
        listed = [*(["bw_mode mode"] if self.moded else []), *listed]
        return f"{self._returned} bw_{name}({', '.join([*listed, *self._outputs])})"

    @functools.cached_property
    def _outputs(self) -> list[str]:
        of = next(iter(self.traces.values())).results
        return [f"{type_of(word.dtype)} *r{place}" for place, word in enumerate(of)] if self.results else []

    @functools.cached_property
    def _returned(self) -> str:
        if self.results:
            return "void"
        (word,) = next(iter(self.traces.values())).results
        return _carrier(str(word.dtype))

    def text(self, name: str) -> str:
        """The whole function."""
        names = tuple(argument for argument, _ in self.arguments)
        function = Function(name, names, self.traces, self._table.parameters if self.moded else ())
        body = "\n".join(f"    {line}" for line in function.lines())
        return f"/* {self.says} */\nstatic inline {self.declaration(name)} {{\n{body}\n}}\n"


def _carrier(dtype: str) -> str:
    """How an argument or a result is handed on: an integer of 32 bits, or a bool."""
    return "bool" if dtype == "bool" else "int32_t" if dtype.startswith("int") else "uint32_t"


MODES: Mapping[Selection, FloatMode] = {
    (rounding, overflow, flush): FloatMode(ROUNDINGS[rounding], OVERFLOWS[overflow], bool(flush))
    for rounding, overflow, flush in itertools.product(range(len(ROUNDINGS)), range(len(OVERFLOWS)), range(2))
}
def _words(names: str, dtype: str = "uint32") -> tuple[tuple[str, str], ...]:
    return tuple((name, dtype) for name in names.split())


def _fp16(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: function(*given[:-1], FP16, given[-1])


def _to_fp16(function: Callable[..., Any]) -> Callable[..., Any]:
    """FP32 operands, an FP16 result."""
    return lambda *given: function(*given[:-1], FP32, given[-1], FP16)


def _fp32(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: function(*given, FP32)


def _converted(source: Float, target: Float) -> Callable[..., Any]:
    return lambda a, mode=FloatMode(): softfloat.convert(a, source, target, mode)


def halves(function: Callable[..., Any], *config: Any) -> Callable[..., Any]:
    """A kernel on float16, on words of 16 bits."""

    def run(*words: Any) -> Any:
        given = [word if word.dtype == bool else lax.bitcast_convert_type(word.astype(jnp.uint16), jnp.float16)
                 for word in words]  # fmt: skip
        found = function(*config, *given)
        found = lax.bitcast_convert_type(found, jnp.uint16) if found.dtype == jnp.float16 else found
        return found.astype(jnp.uint32) if found.dtype == jnp.uint16 else found

    return run


def _round_up(exponent: Any, significand: Any, fmt: Float) -> Any:
    return softfloat.round_pack(softfloat.u32(0), exponent, significand, fmt)


_QUANTIZER = (("t", "uint32"), ("low", "int32"), ("high", "int32"))

SCALARS: dict[str, WordFunction] = {
    "word_fp16_add": WordFunction("a + b (SPEC.md F2)", _words("a b"), _fp16(softfloat.add), True),
    "word_fp16_sub": WordFunction("a - b (F2)", _words("a b"), _fp16(softfloat.sub), True),
    "word_fp16_mul": WordFunction("a * b (F2)", _words("a b"), _fp16(softfloat.mul), True),
    "word_fp16_fma": WordFunction("a * b + c, rounded once (F2)", _words("a b c"), softfloat.fma, True),
    "word_fp16_div": WordFunction("a / b (F2, F4)", _words("a b"), _fp16(softfloat.div), True),
    "word_fp16_sqrt": WordFunction("The square root of a (F2, F4)", _words("a"), _fp16(softfloat.sqrt), True),
    "word_fp16_negate": WordFunction("-a (F4)", _words("a"), lambda a: softfloat.negate(a, FP16)),
    "word_fp16_convert": WordFunction("a, rounded anew (F4, F5)", _words("a"), _converted(FP16, FP16), True),
    "word_fp16_from_int32": WordFunction("An integer (F10)", _words("a", "int32"), _fp16(softfloat.from_int32), True),
    "word_fp16_from_fp32": WordFunction("FP32 to FP16 (F10)", _words("a"), _converted(FP32, FP16), True),
    "word_fp16_to_fp32": WordFunction(
        "FP16 to FP32, exact (F9, F10)", _words("a"),
        lambda a, mode: softfloat.convert(a, FP16, FP32, FloatMode(flush=mode.flush)), True,
    ),
    "word_fp16_add_fp32": WordFunction("FP32 a + b, once to FP16", _words("a b"), _to_fp16(softfloat.add), True),
    "word_fp16_mul_fp32": WordFunction("FP32 a * b, once to FP16", _words("a b"), _to_fp16(softfloat.mul), True),
    "word_fp16_mul_int32": WordFunction(
        "An integer times FP16, rounded once (D1)",
        (("a", "int32"), ("b", "uint32")),
        _fp16(softfloat.mul_integer),
        True,
    ),
    "word_fp16_add_nearest": WordFunction("a + b under the default mode, for arrays", _words("a b"), nearest.add),
    "word_fp16_mul_nearest": WordFunction("a * b under the default mode, for arrays", _words("a b"), nearest.mul),
    "word_fp32_add": WordFunction("FP32 a + b (F9)", _words("a b"), _fp32(softfloat.add)),
    "word_fp32_sub": WordFunction("FP32 a - b (F9)", _words("a b"), _fp32(softfloat.sub)),
    "word_fp32_mul": WordFunction("FP32 a * b (F9)", _words("a b"), _fp32(softfloat.mul)),
    "word_fp32_div": WordFunction("FP32 a / b (F9)", _words("a b"), _fp32(softfloat.div)),
    "word_fp32_sqrt": WordFunction("FP32 square root (F9)", _words("a"), _fp32(softfloat.sqrt)),
    "word_fp32_negate": WordFunction("FP32 -a (F4)", _words("a"), _fp32(softfloat.negate)),
    "word_fp32_convert": WordFunction("FP32 a with a NaN made canonical (F4)", _words("a"), _converted(FP32, FP32)),
    "word_fp32_from_int32": WordFunction("An integer as FP32", _words("a", "int32"), _fp32(softfloat.from_int32)),
    "word_fp16_round": WordFunction("2^(exponent - 30) * significand, to nearest even",
        (("exponent", "int32"), ("significand", "uint32")), lambda e, s: _round_up(e, s, FP16)),
    "word_fp32_round": WordFunction("The same in FP32",
        (("exponent", "int32"), ("significand", "uint32")), lambda e, s: _round_up(e, s, FP32)),
    "word_fp16_positive": WordFunction("a if greater than 0 or NaN, else +0 (B2)", _words("a"),
                                 lambda a: softfloat.positive_part(a, FP16)),
    "word_fp32_positive": WordFunction("The same in FP32", _words("a"), lambda a: softfloat.positive_part(a, FP32)),
    "word_canonical": WordFunction("a with a NaN made canonical (F4)", _words("a"), halves(fp16.canonical)),
    "word_relu": WordFunction("A1", _words("a"), halves(activation.forward, ReluConfig())),
    "word_relu6": WordFunction("A1, at most 6", _words("a"), halves(activation.forward, ReluConfig(six=True))),
    "word_passes": WordFunction("Whether A1's gradient passes", _words("a"), halves(activation.passes, ReluConfig())),
    "word_passes6": WordFunction("The same up to 6", _words("a"), halves(activation.passes, ReluConfig(six=True))),
    "word_select": WordFunction("a where its mask is set, else +0 (A1)", (("a", "uint32"), ("mask", "bool")),
                          lambda a, mask: halves(lambda m, x: activation.backward(ReluConfig(), m, x))(mask, a)),
    "word_ramp": WordFunction("A6's derivative at x", _words("slope x"), halves(hard_swish.ramp)),
    "word_clip1": WordFunction("A9: a between 0 and 1", _words("a"), halves(hard_sigmoid.clip)),
    "word_passes1": WordFunction("Whether A9's gradient passes", _words("a"), halves(hard_sigmoid.passes)),
    "word_order": WordFunction("An integer that orders FP16 words as A2 does", _words("a"), halves(pool.order_key)),
    "word_nearest_code": WordFunction("Q1, Q2, Q4", _QUANTIZER, code_words.nearest, results=("code", "mask")),
    "word_drawn_code": WordFunction("Q3", (_QUANTIZER[0], ("word", "uint32"), *_QUANTIZER[1:]), code_words.drawn),
    "word_lfsr_step": WordFunction("One step of the LFSR (Q3)", _words("state", "uint16"), lfsr.step),
    "word_saturating_add": WordFunction("acc + product, clamped (M2)", _words("acc product low high", "int32"),
                                  mac.clamped_add),
}  # fmt: skip


@functools.cache
def text() -> str:
    """All of them as C."""
    return "\n".join(scalar.text(name) for name, scalar in SCALARS.items())
