"""Words for every function of the SystemVerilog package, and what the oracle makes of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bitrow.contract import arithmetic
from bitrow.export.hardware import SvWord, words
from bitrow.export.scalars import MODES
from bitrow.formats import FP16, FP32, FlagMode, Float, FloatMode, Fxp, Tininess
from bitrow.oracle import flags, fp16, fp32, fxp, lfsr, softfloat
from bitrow.vectors.stimulus import stream
from bitrow.vectors.stimulus.stream import SPECIAL_WORDS, Stream

FORMATS = (Fxp(2), Fxp(3), Fxp(4), Fxp(4, narrow=True), Fxp(4, signed=False), Fxp(8), Fxp(8, signed=False))
Judge = Callable[..., int]


class Words(NamedTuple):
    """A function's operands in the order of its arguments, one array each, and its results."""

    operands: list[np.ndarray]
    expected: np.ndarray


def mode_words(count: int) -> np.ndarray:
    """Every mode in turn."""
    every = [rounding | overflow << 3 | flush << 4 | tiny << 5 for tiny in range(2)
             for rounding, overflow, flush in MODES]  # fmt: skip
    return np.resize(every, count)


def mode_of(word: int) -> FlagMode:
    plain = MODES[word & 7, word >> 3 & 1, word >> 4 & 1]
    return FlagMode(plain.rounding, plain.overflow, plain.flush, tuple(Tininess)[word >> 5])


def _from_fp32(operation: Callable[..., int]) -> Judge:
    return lambda a, b, mode: operation(FP16, fp32.read(a), fp32.read(b), mode)


def _range(low: int, high: int) -> Fxp:
    return next(each for each in FORMATS if (each.min, each.max) == (low, high))


def _dequantized(acc: int, scale: int, mode: FloatMode) -> int:
    return softfloat.mul(FP16, softfloat.integer(acc), fp16.read(scale, mode), mode)


def _order(a: int) -> int:
    """A2: numbers by their exact values, in units of the smallest, NaN above all."""
    if fp16.is_nan(a):
        return 1 << 60
    number = fp16.read(a)
    magnitude = number.significand << (number.exponent + 24) if number.kind.value == "finite" else 1 << 50
    return -magnitude if number.sign else magnitude


def _greater(a: int, b: int) -> int:
    return fp16.canonical(b if _order(b) > _order(a) else a)


def _clamped(acc: int, x: int, weight: int, bits: int) -> int:
    return min(max(acc + x * weight, -1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _nibble(pair: int, second: int, bits: int, has_sign: int) -> int:
    return fxp.unpack([pair], Fxp(bits, signed=bool(has_sign)), 2)[second]


def _two(module: Any) -> dict[str, Judge]:
    return {name: getattr(module, name) for name in ("add", "sub", "mul", "div", "sqrt")}


def _raised(op: str, *sources: Float | None, to: Float = FP16) -> Judge:
    """What an operation raises; `None`: of an integer."""
    return lambda *given: flags.raised(op, to, list(zip(given, sources, strict=False)), given[-1])


# Of order the values count, not the keys: see `ranks`.
JUDGES: dict[str, Judge] = {
    **{f"fp16_{name}": judge for name, judge in _two(fp16).items()},
    **{f"fp32_{name}": judge for name, judge in _two(fp32).items()},
    "fp16_fma": fp16.fma, "fp16_from_int32": fp16.from_int32, "fp16_from_fp32": fp16.from_float32,
    "fp16_to_fp32": fp16.to_float32, "fp16_negate": lambda a: fp16.canonical(fp16.negate(a)),
    "fp16_convert": lambda a, mode: softfloat.round_number(FP16, fp16.read(a, mode), mode),
    "fp16_positive": functools.partial(arithmetic.positive_part, FP16),
    "fp32_positive": functools.partial(arithmetic.positive_part, FP32),
    "fp16_add_fp32": _from_fp32(softfloat.add), "fp16_mul_fp32": _from_fp32(softfloat.mul),
    "fp32_negate": lambda a: softfloat.round_number(FP32, fp32.read(fp32.negate(a))),
    "fp32_convert": lambda a: softfloat.round_number(FP32, fp32.read(a)),
    "fp32_from_int32": lambda a: softfloat.round_number(FP32, softfloat.integer(a)),
    "relu": arithmetic.relu, "relu6": lambda a: arithmetic.relu(a, True), "canonical": fp16.canonical,
    "passes": arithmetic.relu_passes, "passes6": lambda a: arithmetic.relu_passes(a, True),
    "select": arithmetic.select, "ramp": arithmetic.ramp,
    "clip1": arithmetic.clipped, "passes1": arithmetic.clip_passes,
    "lfsr_step": lfsr.step, "lfsr_jump": lfsr.jump, "max": _greater,
    "quantize": lambda t, low, high: fxp.code(t, _range(low, high)),
    "inside": lambda t, low, high: fxp.mask(t, _range(low, high)),
    "quantize_drawn": lambda t, word, low, high: fxp.drawn_code(t, word, _range(low, high)),
    "dequantize": _dequantized, "dequantize_two_step": lambda acc, scale, mode: fp16.mul(
        fp16.from_int32(acc, mode), scale, mode),
    "mac_exact": lambda acc, x, weight: fxp.wrap(acc + x * weight, 32),
    "mac_wrap": lambda acc, x, weight, bits: fxp.wrap(acc + x * weight, bits), "mac_saturate": _clamped,
    "acc_holds": lambda acc, bits: int(-1 << (bits - 1) <= acc < 1 << (bits - 1)),
    "pack": lambda first, second: fxp.pack([first, second], Fxp(4))[0], "unpack": _nibble,
    **{f"fp16_{name}_flags": _raised(name, *[FP16] * 2) for name in ("add", "sub", "mul", "div")},
    "fp16_fma_flags": _raised("fma", *[FP16] * 3), "fp16_sqrt_flags": _raised("sqrt", FP16),
    "fp16_from_int32_flags": _raised("convert", None), "fp16_from_fp32_flags": _raised("convert", FP32),
    "fp16_to_fp32_flags": lambda a: _raised("convert", FP16, to=FP32)(a, FlagMode()),
    "fp16_add_fp32_flags": _raised("add", FP32, FP32), "fp16_mul_fp32_flags": _raised("mul", FP32, FP32),
    "fp16_mul_int32_flags": _raised("mul", None, FP16),
    "quantize_flags": lambda t, low, high: flags.to_code(t, _range(low, high)),
    "quantize_drawn_flags": lambda t, word, low, high: flags.to_drawn_code(t, word, _range(low, high)),
}  # fmt: skip


def _sums(drawn: Stream, count: int) -> list[np.ndarray]:
    """Registers at their ends and anywhere, codes, widths of 8 to 32 bits."""
    bits = drawn.between(8, 32, count)
    top = np.int64(1) << (bits - 1)
    near = np.where(drawn.below(2, count) == 0, top - 1, -top) + drawn.between(-1, 1, count) * drawn.below(200, count)
    anywhere = drawn.below(1 << 32, count) % (2 * top) - top
    acc = np.clip(np.where(drawn.below(2, count) == 0, near, anywhere), -top, top - 1)
    ends = np.array([-128, -8, -1, 0, 1, 7, 127, 255])
    codes = [np.where(drawn.below(4, count) == 0, drawn.choice(ends, count), drawn.between(-128, 127, count))
             for _ in ("x", "weight")]  # fmt: skip
    return [acc, *codes, bits]


def _halves(drawn: Stream, count: int, operands: int) -> list[np.ndarray]:
    """FP16 words, directed and special."""
    found = stream.triples(drawn, count) if operands == 3 else stream.pairs(drawn, count)
    return [np.where(drawn.below(4, count) == 0, drawn.choice(SPECIAL_WORDS, count), each)
            for each in found[:operands]]  # fmt: skip


def _ranges(drawn: Stream, count: int) -> list[np.ndarray]:
    kind = drawn.below(len(FORMATS), count)
    return [np.array([getattr(each, end) for each in FORMATS])[kind] for end in ("min", "max")]


def _quantized(drawn: Stream, count: int) -> np.ndarray:
    """Words of the size of codes, many of them halves."""
    near = stream.spread(drawn, (count,), -4, 8)
    return np.where(drawn.below(6, count) == 0, drawn.choice(SPECIAL_WORDS, count), near)


def operands(word: SvWord, count: int) -> list[np.ndarray]:
    """Arguments of a function but for its mode."""
    drawn, name = Stream("sv", word.name), word.name
    kinds = [(port.width, port.signed) for port in word.ports]
    if name.startswith("mac") or name == "acc_holds":
        acc, x, weight, bits = _sums(drawn, count)
        if name == "acc_holds":
            return [stream.int32s(drawn, count).astype(np.int64), bits]
        return [acc, x, weight, bits][: len(kinds)]
    if name.startswith("quantize") or name == "inside":
        more = [drawn.words(16, count)] if name.startswith("quantize_drawn") else []
        return [_quantized(drawn, count), *more, *_ranges(drawn, count)]
    if name == "lfsr_jump":
        return [drawn.between(1, 0xFFFF, count), drawn.words(32, count)]
    if name == "pack":
        return [drawn.between(-8, 15, count), drawn.between(-8, 15, count)]
    if name == "unpack":
        return [drawn.words(8, count), drawn.below(2, count), drawn.between(2, 4, count), drawn.below(2, count)]
    if name.endswith("positive"):  # of computed words
        given = stream.float32s(drawn, count) if "32" in name else _halves(drawn, count, 1)[0]
        fmt = FP32 if "32" in name else FP16
        return [np.where((given & (fmt.sign_mask - 1)) > fmt.infinity_bits, fmt.nan_bits, given)]
    if name == "fp16_mul_int32_flags":  # of normal scales
        return [stream.int32s(drawn, count), drawn.between(0x0400, 0x7BFF, count)]
    if name == "dequantize":  # of positive finite scales
        scales = _halves(drawn, count, 1)[0] & 0x7FFF
        return [stream.int32s(drawn, count), np.where(scales < FP16.infinity_bits, scales, scales & 0x3FFF)]
    halves = iter(_halves(drawn, count, max(1, sum(kind == (16, False) for kind in kinds))))
    makers = {(16, False): lambda: next(halves), (32, False): lambda: stream.float32s(drawn, count),
              (32, True): lambda: stream.int32s(drawn, count), (1, False): lambda: drawn.below(2, count)}  # fmt: skip
    return [makers[kind]() for kind in kinds]


def ranks(keys: np.ndarray, of: np.ndarray) -> bool:
    """Whether keys order FP16 words as A2 does: equal where they are equal, else the greater where they are."""
    exact = np.array([_order(int(word)) for word in of])
    place = np.argsort(exact, kind="stable")
    steps, found = np.sign(np.diff(exact[place])), np.sign(np.diff(keys[place].astype(np.int64)))
    return bool(np.array_equal(steps, found))


def samples(name: str, count: int) -> Words:
    """A function's words and the oracle's; of `order` none are expected here."""
    word = words()[name]
    given = [each.astype(np.int64) for each in operands(word, count)]
    modes = mode_words(count)
    if name == "order":
        return Words(given, np.zeros(count, np.int64))
    judge = JUDGES[name]
    rows = zip(modes.tolist(), *(each.tolist() for each in given), strict=True)
    found = [judge(*row, *([mode_of(mode)] if word.moded else [])) for mode, *row in rows]
    listed = [modes, *given] if word.moded else given
    return Words(listed, np.array(found, np.int64))
