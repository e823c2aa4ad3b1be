"""Why a convolution's output differs between simulated and bit-accurate numerics, from the oracle's rationals.

Between the two words of an element stand five roundings. `explain` undoes one after another, exactly, and every one
that changes the word is a cause. With power-of-two scales and sums within SPEC.md E2's bound none can.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bitrow.config import ConvConfig
from bitrow.contract.fixed_point import DEQUANTIZE, QUANTIZE
from bitrow.formats import FP16
from bitrow.layers.conv import ConvParams
from bitrow.oracle import fp16, fp32, fxp, gather, softfloat


class RoundingCause(enum.Enum):
    """A rounding that moves an element to another word, in order from the simulated word to the bit-accurate one."""

    SUM = "float32 rounded the running sum of the scaled products (E3)"
    PRODUCTS = "float32 rounded the scaled products, whose significands are too long (E3)"
    SCALE = "the host rounded the product of the two scales to FP16 (D3)"
    REGISTER = "the accumulator left its register (M2)"
    TWO_STEP = "the dequantizer rounds the accumulator before its product with the scale (D2)"
    NONE = "none of SPEC.md's roundings: a defect"


@dataclass(frozen=True)
class Explanation:
    """One element's arithmetic, exact, and what moved it.

    `acc` is the register, `total` the exact sum of the codes' products, `terms` how many of them are not zero.
    `simulated` to `accurate` are the element's FP16 words after undoing each rounding of `RoundingCause` in turn.
    """

    acc: int
    total: int
    terms: int
    x_scale: Fraction
    w_scale: Fraction
    scale: Fraction
    words: tuple[int, ...]
    causes: tuple[RoundingCause, ...]

    @property
    def exact(self) -> Fraction:
        """What simulated quantization stands for: the sum times both scales."""
        return self.total * self.x_scale * self.w_scale

    @property
    def product(self) -> Fraction:
        """What a fused dequantizer rounds: the register times the stored scale."""
        return self.acc * self.scale

    def line(self) -> str:
        """The arithmetic in words."""
        return (
            f"accumulator {self.acc} of {self.terms} products; scales {float(self.x_scale):.9g} * "
            f"{float(self.w_scale):.9g} = {float(self.x_scale * self.w_scale):.9g}, stored {float(self.scale):.9g}; "
            f"exact {float(self.exact):.9g}, register times stored scale {float(self.product):.9g}"
        )

    def to_json(self) -> dict[str, Any]:
        """For a report; rationals as their exact fractions."""
        exact = {name: str(getattr(self, name)) for name in ("x_scale", "w_scale", "scale", "exact", "product")}
        counts = {"acc": self.acc, "total": self.total, "terms": self.terms}
        words = [f"0x{word:04x}" for word in self.words]
        return counts | exact | {"words": words, "causes": [cause.name.lower() for cause in self.causes]}


def explain(
    config: ConvConfig,
    params: ConvParams,
    x_scale: np.ndarray,
    x: np.ndarray,
    place: tuple[int, int, int],
    simulated: int,
    accurate: int,
) -> Explanation:
    """Explain the output element at `place` (row, column, channel) of one image x uint16 [h,w,c_in].

    `simulated` and `accurate` are the FP16 words that were found there; they may be the same.
    """
    codes, weights = _terms(config, params, x, place)
    channel = place[2]
    sx, sw, scale = (_rational(value, channel) for value in (x_scale, params.w_scale, params.scale))
    finish = _bias(config, params, channel)

    def word(value: Fraction) -> int:
        return finish(softfloat.from_fraction(FP16, value, config.mode))

    products = [Fraction(x_code * weight) for x_code, weight in zip(codes, weights, strict=True)]
    total = int(sum(products))
    acc = fxp.mac(codes, weights, config.accumulator)
    # operands have at most 11 + 8 bits and are exact in float32; their product need not be
    rounded = sum((_fp32(product * sx * sw) for product in products), Fraction(0))
    register: np.ndarray = np.full((1, 1, 1, 1), acc, np.int32)
    factor = np.array(_word(params.scale, channel), np.uint16)
    deq = int(DEQUANTIZE.oracle(config, {"acc": register, "scale": factor})["deq"].item())
    words = (
        simulated, word(rounded), word(total * sx * sw), word(total * scale), word(acc * scale), finish(deq),
    )  # fmt: skip
    order = (
        RoundingCause.SUM, RoundingCause.PRODUCTS, RoundingCause.SCALE, RoundingCause.REGISTER, RoundingCause.TWO_STEP,
    )  # fmt: skip
    causes = [cause for cause, a, b in zip(order, words, words[1:], strict=False) if a != b]
    if words[-1] != accurate:
        causes.append(RoundingCause.NONE)
    terms = sum(map(bool, products))
    return Explanation(acc, total, terms, sx, sw, scale, words, tuple(causes))


def _terms(
    config: ConvConfig, params: ConvParams, x: np.ndarray, place: tuple[int, int, int]
) -> tuple[list[int], list[int]]:
    """Codes and weights of one sum in M2's order: kh, kw, then the group's channels; 0 outside the map."""
    row, column, channel = place
    kernel = np.asarray(params.weight_code)[:, :, :, channel]
    kh, kw, c_in = kernel.shape
    group = channel // (params.weight_code.shape[3] // config.groups)
    inverse = _word(params.x_inv_scale, 0)
    windows, sizes = config.windows((kh, kw)), x.shape[:2]
    if config.transposed:
        kernel, results = kernel[::-1, ::-1], config.output_hw((kh, kw), sizes)
        found = map(gather.gradient_sources, results, sizes, windows)
    else:
        found = map(gather.forward_sources, sizes, windows)
    rows, columns = (sources[at] for sources, at in zip(found, (row, column), strict=True))
    part, outside = x[:, :, group * c_in : (group + 1) * c_in], np.zeros(c_in, x.dtype)
    patch = np.array([[outside if i is None or j is None else part[i, j] for j in columns] for i in rows])
    given = {"x": patch[None], "x_inv_scale": np.array(inverse, np.uint16)}
    codes = QUANTIZE.oracle(config, given)["x_code"]
    return codes.reshape(-1).tolist(), kernel.reshape(-1).tolist()


def _bias(config: ConvConfig, params: ConvParams, channel: int) -> Callable[[int], int]:
    if params.bias is None:
        return operator.index
    bias = _word(params.bias, channel)
    return lambda word: fp16.add(word, bias, config.mode)


def _word(value: Any, channel: int) -> int:
    """The FP16 word of a scalar, or of one for each channel."""
    words = np.asarray(value, np.float16).view(np.uint16).reshape(-1)
    return int(words[channel if words.size > 1 else 0])


def _rational(value: Any, channel: int) -> Fraction:
    return softfloat.exact(fp16.read(_word(value, channel)))


def _fp32(value: Fraction) -> Fraction:
    return softfloat.exact(fp32.read(fp32.from_fraction(value)))
