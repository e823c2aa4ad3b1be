"""Properties of fixed point: quantizers, the LFSR, packing, accumulators, dequantizers (SPEC.md Q, M, D).

Expected words come from Fractions, Python's integers and the polynomial.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from fractions import Fraction

import numpy as np

from bitrow.config import ConvConfig
from bitrow.contract.fixed_point import DEQUANTIZE, QUANTIZE, QUANTIZE_STOCHASTIC
from bitrow.formats import FXP4, FXP8, UFXP4, AccOverflow, Accumulator, Dequantize, FloatMode, Fxp
from bitrow.oracle import fxp, lfsr
from bitrow.proofs.mutants.runs import Call, Domain, Element, over, runs_of
from bitrow.proofs.mutants.word_properties import INFINITY, MINUS, MODES, NAN, rounded, value
from bitrow.vectors.stimulus import aim
from bitrow.vectors.stimulus import stream as stimulus
from bitrow.vectors.stimulus.stream import Stream

_FORMATS = (FXP4, Fxp(4, narrow=True), UFXP4, Fxp(2), FXP8)
_INVERSES = (0x3C00, 0x4400, 0x449F, 0x2E3D)  # 1, 4, and two that are no powers of two


def _t(word: int, inverse: int) -> int | None:
    """t of Q1 where word and t are finite, else None."""
    if word & 0x7FFF >= INFINITY:
        return None
    t = rounded(value(word) * value(inverse), zero=(word ^ inverse) & MINUS)
    return None if t & 0x7FFF >= INFINITY else t


def _ranges(fmt: Fxp) -> tuple[int, int]:
    top = 2 ** (fmt.bits - fmt.signed)
    return (-top + fmt.narrow if fmt.signed else 0), top - 1


def _quantizer_words(inverse: int, fmt: Fxp) -> list[int]:
    edges = stimulus.quantizer_words(inverse, fmt).tolist()
    return edges[:: -(-len(edges) // 160)] + Stream("property", inverse).words(16, 20).tolist()


def _codes(fmt: Fxp, inverse: int, inputs: tuple[int, ...], t: int, code: int, mask: bool) -> Element:
    """Of a quantizer: to nearest of x alone, drawn with a word, too."""
    operation = QUANTIZE if len(inputs) == 1 else QUANTIZE_STOCHASTIC
    results = {"t": t, "x_code": code, "mask": int(mask)}
    return Element(operation, ConvConfig(x_format=fmt), inputs, results, (("x_inv_scale", inverse),))


@functools.cache
def _quantizer_domain() -> Domain:
    elements: list[Element] = []
    for fmt, inverse in itertools.product(_FORMATS, _INVERSES):
        low, high = _ranges(fmt)
        for word in _quantizer_words(inverse, fmt):
            t = _t(word, inverse)
            if t is None:
                infinite = word & 0x7FFF <= INFINITY
                t = INFINITY | word & MINUS if infinite else NAN
                code = (low if word & MINUS else high) if infinite else 0
                elements.append(_codes(fmt, inverse, (word,), t, code, False))
                continue
            nearest = round(value(t))
            clipped = max(low, min(nearest, high))
            elements.append(_codes(fmt, inverse, (word,), t, clipped, low <= nearest <= high))
    # words whose exact product lies on the other side of a tie than t
    for word in range(0x3000, 0x4C00, 7):
        t, exact = _t(word, 0x449F), value(word) * value(0x449F)
        if t is not None and round(value(t)) != round(exact):
            code = round(value(t))
            elements.append(_codes(FXP8, 0x449F, (word,), t, min(code, 127), code <= 127))
    return Domain(runs_of(elements), [])


@functools.cache
def _stochastic_domain() -> Domain:
    elements: list[Element] = []
    stream = Stream("property", "stochastic")
    for fmt, inverse in itertools.product(_FORMATS, _INVERSES):
        low, high = _ranges(fmt)
        for word in _quantizer_words(inverse, fmt):
            t = _t(word, inverse)
            if t is None:
                continue
            left = -value(t) * 65536 % 65536
            carry = int(left) if left.denominator == 1 else 0
            for noise in (*stream.words(16, 2).tolist(), carry, carry - 1):
                if noise < 1:
                    continue
                code = math.floor(value(t) + Fraction(noise, 1 << 16))
                clipped = max(low, min(code, high))
                elements.append(_codes(fmt, inverse, (word, noise), t, clipped, low <= round(value(t)) <= high))
    return Domain(runs_of(elements), [])


@functools.cache
def lfsr_sequence(seed: int, count: int) -> list[int]:
    """Words of x^16 + x^14 + x^13 + x^11 + 1 from a seed, bit by bit."""
    bits = [(seed >> place) & 1 for place in range(16)]
    found = []
    for _ in range(count):
        out = bits.pop(0)
        bits.append(out)
        for tap in (10, 12, 13):
            bits[tap] ^= out
        found.append(sum(bit << place for place, bit in enumerate(bits)))
    return found


@functools.cache
def _lfsr_domain() -> Domain:
    expected = lfsr_sequence(0xACE1, 65535)
    assert expected[-1] == 0xACE1 and len(set(expected)) == 65535
    starts = (0, 1, 2, 1000, 65530, 65535, 200_003)
    return Domain([], [(lfsr.words, (0xACE1, at, 8), [expected[(at + i) % 65535] for i in range(8)]) for at in starts])


@functools.cache
def _packing_domain() -> Domain:
    calls: list[Call] = []
    for fmt, length in itertools.product((*_FORMATS, Fxp(3)), (1, 2, 5, 8)):
        low, high = _ranges(fmt)
        codes = Stream("property", fmt.bits, fmt.signed, length).between(low, high, (length,)).tolist()
        codes[-1] = low
        if fmt.bits > 4:
            packed = [code % 256 for code in codes]
        else:
            digits = [f"{code % 16:x}" for code in codes] + ["0"] * (length % 2)
            packed = [int(second + first, 16) for first, second in zip(digits[::2], digits[1::2], strict=True)]
        calls += [(fxp.pack, (codes, fmt), packed), (fxp.unpack, (packed, fmt, length), codes)]
    return Domain([], calls)


def registers(products: list[int], register: Accumulator) -> list[int]:
    """A register's values after each product, as its bits."""
    low, high = -(2 ** (register.bits - 1)), 2 ** (register.bits - 1) - 1
    values, total = [], 0
    for product in products:
        total += product
        if register.overflow is AccOverflow.SATURATE:
            total = min(high, max(low, total))
        else:
            pattern = total & (2**register.bits - 1)
            total = pattern - 2**register.bits if pattern >> (register.bits - 1) else pattern
        values.append(total)
    return values


@functools.cache
def _accumulator_domain() -> Domain:
    calls: list[Call] = []
    for bits, seed in itertools.product((8, 9, 12), range(6)):
        stream = Stream("property", "acc", bits, seed)
        x, w = (stimulus.codes(stream, (24,), FXP4).astype(int) for _ in range(2))
        if seed < 2:  # one sign first, then the other: a register that clamps does not come back
            w = np.where(np.arange(24) < 14, np.abs(w), -np.abs(w)) * (-1) ** seed * np.where(x < 0, -1, 1)
        products = list(map(operator.mul, x.tolist(), w.tolist()))
        for overflow in (AccOverflow.WRAP, AccOverflow.SATURATE):
            register = Accumulator(bits, overflow)
            values = registers(products, register)
            calls.append((fxp.mac, (x.tolist(), w.tolist(), register), values[-1]))
            if overflow is AccOverflow.SATURATE:
                calls.append((fxp.mac_running, (x.tolist(), w.tolist(), register), values))
    return Domain([], calls)


@functools.cache
def _dequantizer_domain() -> Domain:
    stream = Stream("property", "dequantize")
    elements: list[Element] = []
    scales = (0x2C96, 0x3C00, 0x2400, 0x3600, 0x0800)
    for mode, scale in itertools.product((FloatMode(), *MODES[3::7]), scales):
        significand = aim.significand(scale)[0]
        largest = min(int(65000 / value(scale)), (1 << 23) - 1)
        values = [0, 1, -1, 2049, -4099, 65520, -65519, *aim.accumulators(significand, largest, 4).tolist()]
        values += stimulus.int32s(stream, 400).tolist()[-60:]
        fused = ConvConfig(dequantize=Dequantize.FUSED, mode=mode)
        two_step = ConvConfig(dequantize=Dequantize.TWO_STEP, mode=mode)
        by = (("scale", scale),)
        for acc in values:
            once = rounded(acc * value(scale), mode)
            elements.append(Element(DEQUANTIZE, fused, (acc,), {"deq": once}, by))
            first = rounded(Fraction(acc), mode)
            if first & 0x7FFF < INFINITY:
                results = {"acc_fp16": first, "deq": rounded(value(first) * value(scale), mode)}
                elements.append(Element(DEQUANTIZE, two_step, (acc,), results, by))
    return Domain(runs_of(elements), [])


CODE_PROPERTIES = (
    over("codes_nearest_and_clipped", "codes and masks are those of rint(t), clipped", "Q1", _quantizer_domain),
    over("drawn_codes_floored", "drawn codes are floor(t + word/65536), clipped", "Q3", _stochastic_domain),
    over("lfsr_sequence", "words are the polynomial's sequence of period 65,535, jumps into it included", "Q3",
              _lfsr_domain),
    over("packed_rows_read_back", "a packed row is its hex digits, and reads back", "Q5", _packing_domain),
    over("registers_of_their_width", "sums wrap and clamp as a register of their width", "M2",
              _accumulator_domain),
    over("dequantized_once_or_twice", "fused rounds acc * scale once, two_step acc and then the product", "D1",
              _dequantizer_domain),
)  # fmt: skip
