"""The exceptions that single words raise, printed from the kernels' jaxprs (SPEC.md F11 to F14, Q6).

In C what operands decide is a function of each operation, by whether the mode flushes; what rounding raises is one of
all modes, which all share. `FLAGS` are whole ones, for a language that has them as one expression.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp

from bitrow.export.scalars import ROUNDINGS, ModeTable, WordFunction
from bitrow.formats import FP32, FlagMode, Tininess
from bitrow.ops import flag_words
from bitrow.ops import softfloat as soft

TINY_BEFORE = 32  # of a mode (F12)
_TININESS = tuple(Tininess)
_ALL = ModeTable(("BW_ROUNDING(mode)", "BW_FLUSHES(mode)", "BW_TINY_IS_BEFORE(mode)"), {
    (rounding, flush, before): FlagMode(ROUNDINGS[rounding], flush=bool(flush), tininess=_TININESS[before])
    for rounding, flush, before in itertools.product(range(len(ROUNDINGS)), range(2), range(2))
})  # fmt: skip
_FLUSHES = ModeTable(("BW_FLUSHES(mode)",), {(flush,): bool(flush) for flush in range(2)})
_UNROUNDED = (("sign", "uint32"), ("exponent", "int32"), ("significand", "uint32"))
_RANGE = (("low", "int32"), ("high", "int32"))


def _words(names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, "int32" if name in ("i", "acc") else "uint32") for name in names.split())


def _before(names: str, kernel: Callable[..., Any], flushes: bool = True) -> WordFunction:
    stage = flag_words.FlagStage._fields
    return WordFunction("", _words(names), kernel, flushes, stage, _FLUSHES if flushes else None)


def _exactly(names: str, kernel: Callable[..., Any]) -> WordFunction:
    """Of operands that raise nothing themselves."""
    return WordFunction("", _words(names), kernel, results=soft.Unrounded._fields)


def _wide(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Of FP32 operands, which no mode flushes."""
    return lambda a, b: kernel(a, b, False, FP32)


# By the name of the function of flags: what it says, and what its operands decide.
_MODED: dict[str, tuple[str, WordFunction]] = {
    "fp16_add": ("a + b", _before("a b", flag_words.before_add)),
    "fp16_sub": ("a - b", _before("a b", flag_words.before_sub)),
    "fp16_mul": ("a * b", _before("a b", flag_words.before_mul)),
    "fp16_fma": ("a * b + c, rounded once", _before("a b c", flag_words.before_fma)),
    "fp16_div": ("a / b", _before("a b", flag_words.before_div)),
    "fp16_sqrt": ("the square root of a", _before("a", flag_words.before_sqrt)),
    "fp16_from_int32": ("an integer to FP16 (F10)", _exactly("i", soft.exact_integer)),
    "fp16_from_fp32": ("FP32 to FP16 (F10)", _before("a", flag_words.before_from_float32, False)),
    "fp16_add_fp32": ("FP32 a + b, once to FP16", _before("a b", _wide(flag_words.before_add), False)),
    "fp16_mul_fp32": ("FP32 a * b, once to FP16", _before("a b", _wide(flag_words.before_mul), False)),
    "fp16_mul_int32": ("an integer times a scale (D1)", _exactly("acc scale", flag_words.before_dequantize)),
}

_PLAIN: dict[str, WordFunction] = {
    "word_fp16_rounding_flags": WordFunction(
        "Flags of rounding an exact result, (-1)^sign * significand * 2^(exponent - 30) (F13, F14)", _UNROUNDED,
        flag_words.rounding, True, table=_ALL,
    ),
    "word_fp16_to_fp32_flags": WordFunction("Flags of FP16 to FP32 (F10)", _words("a"), flag_words.to_float32),
    "word_code_flags": WordFunction("Flags of a code (Q6)", (*_words("t"), *_RANGE), flag_words.to_code),
    "word_drawn_code_flags": WordFunction(
        "Flags of a drawn code (Q6)", (*_words("t word"), *_RANGE), flag_words.to_drawn_code
    ),
}  # fmt: skip


def _whole(says: str, before: WordFunction) -> WordFunction:
    """What operands decide and rounding raises, in one."""

    def run(*given: Any) -> Any:
        *words, mode = given
        found = before.kernel(*words, *([mode.flush] if before.moded else []))
        if isinstance(found, flag_words.FlagStage):
            return jnp.where(found.live, flag_words.rounding(*found[2:], mode), found.raised)
        return flag_words.rounding(found.sign, found.exponent, found.significand, mode)

    return WordFunction(f"Flags of {says} (F11 to F14)", before.arguments, run, True, table=_ALL)


FLAGS: dict[str, WordFunction] = {
    **{f"{name}_flags": _whole(*each) for name, each in _MODED.items()},
    "fp16_to_fp32_flags": _PLAIN["word_fp16_to_fp32_flags"],
    "quantize_flags": _PLAIN["word_code_flags"],
    "quantize_drawn_flags": _PLAIN["word_drawn_code_flags"],
}


def _moded(name: str, says: str, before: WordFunction) -> Iterator[str]:
    """A function of flags, and the one of what its operands decide."""
    yield dataclasses.replace(before, says=f"What {says} raises before it is rounded").text(f"word_{name}_before")
    listed = ", ".join(f"{'int32_t' if kind == 'int32' else 'uint32_t'} {word}" for word, kind in before.arguments)
    given = ", ".join(["mode"] * before.moded + [word for word, _ in before.arguments])
    live = "live" in before.results
    local = "    bool live;\n    uint32_t raised, sign, significand;\n" if live else "    uint32_t sign, significand;\n"
    rounded = "bw_word_fp16_rounding_flags(mode, sign, exponent, significand)"
    yield (
        f"/* Flags of {says} (F11 to F14) */\n"
        f"static inline uint32_t bw_word_{name}_flags(bw_mode mode, {listed}) {{\n{local}    int32_t exponent;\n"
        f"    bw_word_{name}_before({given}, {', '.join(f'&{each}' for each in before.results)});\n"
        f"    return {f'live ? {rounded} : raised' if live else rounded};\n}}\n"
    )


@functools.cache
def text() -> str:
    """All of them as C."""
    plain = [scalar.text(name) for name, scalar in _PLAIN.items()]
    return "\n".join([*plain, *(part for name, each in _MODED.items() for part in _moded(name, *each))])
