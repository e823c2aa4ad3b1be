"""Scalar fixed point: quantizers, packing, multiply-accumulate, dequantizers (SPEC.md Q, M, D).

FP16 values are bit patterns, codes and accumulators plain signed ints.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterable, Sequence

from bitrow.errors import BitrowError
from bitrow.formats import AccOverflow, Accumulator, Fxp
from bitrow.oracle import fp16
from bitrow.oracle.softfloat import Number, NumberKind


def _clip(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


def _rint(x: Number) -> int:
    """Nearest integer of a finite number, ties to even (Q1)."""
    if x.exponent >= 0:
        magnitude = x.significand << x.exponent
    else:
        unit = 1 << -x.exponent
        magnitude, rest = divmod(x.significand, unit)
        magnitude += 2 * rest > unit or (2 * rest == unit and magnitude & 1)
    return -magnitude if x.sign else magnitude


@functools.lru_cache(maxsize=1 << 17)
def _code_and_mask(t: int, low: int, high: int) -> tuple[int, int]:
    number = fp16.read(t)
    if number.kind is NumberKind.NAN:
        return _clip(0, low, high), 0
    if number.kind is NumberKind.INFINITE:
        return (low if number.sign else high), 0
    nearest = _rint(number)
    return _clip(nearest, low, high), int(low <= nearest <= high)


def code(t: int, fmt: Fxp) -> int:
    """The code of FP16 `t`: its nearest integer, ties to even, clipped (Q1, Q2)."""
    return _code_and_mask(t, fmt.min, fmt.max)[0]


def mask(t: int, fmt: Fxp) -> int:
    """Whether a quantizer passes the gradient at FP16 `t`: 1 or 0 (Q4)."""
    return _code_and_mask(t, fmt.min, fmt.max)[1]


def drawn_code(t: int, word: int, fmt: Fxp) -> int:
    """The code of FP16 `t` by adding a 16-bit word before the floor (Q3)."""
    number = fp16.read(t)
    if number.kind is not NumberKind.FINITE:
        return code(t, fmt)
    # An FP16 number is a multiple of 2^-24, and word / 65536 is one, too.
    scaled = number.significand << (number.exponent + 24)
    total = (-scaled if number.sign else scaled) + (word << 8)
    return _clip(total >> 24, fmt.min, fmt.max)


def pack(codes: Sequence[int], fmt: Fxp) -> list[int]:
    """The bytes of one row of codes (Q5): two to a byte up to 4 bits, low nibble first; else one each."""
    if fmt.bits > 4:
        return [code & 0xFF for code in codes]
    nibbles = [code & 0xF for code in codes] + [0] * (len(codes) % 2)
    return [low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True)]


def unpack(words: Sequence[int], fmt: Fxp, count: int) -> list[int]:
    """The `count` codes of one packed row (Q5)."""
    fields = list(words) if fmt.bits > 4 else [nibble for word in words for nibble in (word & 15, word >> 4)]
    low_bits = [field & ((1 << fmt.bits) - 1) for field in fields[:count]]
    if not fmt.signed:
        return low_bits
    return [code - (1 << fmt.bits) if code >> (fmt.bits - 1) else code for code in low_bits]


def wrap(value: int, bits: int) -> int:
    """`value` reduced to two's complement of `bits` (M2)."""
    return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def mac_running(x_codes: Iterable[int], weight_codes: Iterable[int], accumulator: Accumulator) -> list[int]:
    """The saturating register after each product, in the order given, from 0 (M2)."""
    low, high = accumulator.min, accumulator.max
    products = map(operator.mul, x_codes, weight_codes)
    return list(
        itertools.accumulate(products, lambda acc, product: _clip(acc + product, low, high), initial=0)
    )[1:]


def mac(x_codes: Iterable[int], weight_codes: Iterable[int], accumulator: Accumulator) -> int:
    """Sum of products in the accumulator (M1, M2).

    Raises:
        BitrowError: under `error`, a sum that the accumulator cannot hold.
    """
    if accumulator.overflow is AccOverflow.SATURATE:
        running = mac_running(x_codes, weight_codes, accumulator)
        return running[-1] if running else 0
    total = sum(map(operator.mul, x_codes, weight_codes))
    if accumulator.overflow is AccOverflow.WRAP:
        return wrap(total, accumulator.bits)
    if not accumulator.min <= total <= accumulator.max:
        raise BitrowError(
            f"accumulator of {accumulator.bits} bits: found the sum {total}, "
            f"expected {accumulator.min} to {accumulator.max}"
        )
    return total
