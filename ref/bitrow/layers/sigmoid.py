"""Sigmoid by a table with lines between its words, and SiLU (SPEC.md A10, A11)."""

from __future__ import annotations

import decimal
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float16

from bitrow.config import SigmoidConfig, SiluConfig
from bitrow.doors import guard
from bitrow.formats import FP16
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import FloatLayer, Twin
from bitrow.ops import fp16, half_casts
from bitrow.ops.tap import Tap, no_tap

_ONE, _EIGHT = 0x3C00, 0x4800
_HALF_UP = 14 << 10  # of 1/2, from which words count up in units of 2^-11

TabledConfig = SigmoidConfig | SiluConfig


@functools.cache
def _table(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """FP16 words of the sigmoid over [0, 8], uint16 [2^bits], and what each is less than the next, exact.

    Correctly rounded: `decimal` rounds e^-v once to 50 digits on every machine.
    """
    with decimal.localcontext() as context:
        context.prec, context.rounding = 50, decimal.ROUND_HALF_EVEN
        places = [decimal.Decimal(8 * i) / (1 << bits) for i in range((1 << bits) + 1)]
        units = [int((2048 / (1 + (-v).exp())).to_integral_value()) for v in places]
    words = np.array([_HALF_UP + unit - 1024 for unit in units], np.uint16)
    rises = np.diff(np.array(units, np.float64) / 2048).astype(np.float16).view(np.uint16)
    return words[:-1], rises


def table(bits: int) -> np.ndarray:
    """The table's words, uint16 [2^bits + 1] (SPEC.md A10); every second word of a table is the next smaller one's."""
    words, rises = _table(bits)
    last = words[-1:].view(np.float16) + rises[-1:].view(np.float16)  # exact
    return np.concatenate([words, last.view(np.uint16)])


class _Line(NamedTuple):
    """A line between two words of the table, for each x: its lower end, its rise, and how far along it x lies."""

    base: Float16[Array, "*s"]
    rise: Float16[Array, "*s"]
    part: Float16[Array, "*s"]


def _half(word: Array) -> Array:
    return lax.bitcast_convert_type(word, jnp.float16)


def _line(config: TabledConfig, x: Float16[Array, "*s"]) -> _Line:
    words, rises = (jnp.asarray(part) for part in _table(config.table_bits))
    magnitude = fp16.bits(x) & jnp.uint16(0x7FFF)
    inside = magnitude < jnp.uint16(_EIGHT)
    below = _half(jnp.minimum(magnitude, jnp.uint16(_EIGHT - 1)))
    place = fp16.product(half_casts.widen(below), jnp.float32(2.0 ** (config.table_bits - 3)))
    segment = place.astype(jnp.int32)
    part = fp16.round_once(place - segment.astype(jnp.float32))  # exact
    end = jnp.where(magnitude > jnp.uint16(FP16.infinity_bits), jnp.uint16(FP16.nan_bits), jnp.uint16(_ONE))
    base = jnp.where(inside, words.at[segment].get(mode="promise_in_bounds"), end)
    rise = jnp.where(inside, rises.at[segment].get(mode="promise_in_bounds"), jnp.uint16(0))
    return _Line(_half(base), _half(rise), jnp.where(inside, part, jnp.float16(0)))


def _mirror(upper: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """1 - upper, exact, +0 where it is 1."""
    return fp16.sub(jnp.float16(1), upper)


def _sigmoid(config: TabledConfig, x: Float16[Array, "*s"], tap: Tap, name: str) -> tuple[Array, Array]:
    """sigmoid(x), tapped by `name`, and 1 less it. Taps base, rise, part, upper."""
    line = _line(config, x)
    upper = fp16.fma(line.rise, line.part, line.base, config.mode)
    negative = fp16.bits(x) >= jnp.uint16(0x8000)
    nan = fp16.bits(upper) > jnp.uint16(FP16.infinity_bits)
    other = jnp.where(nan, upper, _mirror(upper))
    y, rest = jnp.where(negative, other, upper), jnp.where(negative, upper, other)
    for each, value in (*line._asdict().items(), ("upper", upper), (name, y)):
        tap(each, value)
    return y, rest


def forward(config: SigmoidConfig, x: Float16[Array, "*s"], tap: Tap = no_tap) -> Float16[Array, "*s"]:
    """The sigmoid of x by the table. Taps base, rise, part, upper, y."""
    return _sigmoid(config, x, tap, "y")[0]


def backward(
    config: SigmoidConfig, y: Float16[Array, "*s"], dy: Float16[Array, "*s"], tap: Tap = no_tap
) -> Float16[Array, "*s"]:
    """dy * (y * (1 - y)), each step rounded once, from the result y. Taps rest, slope, dx."""
    rest = fp16.sub(jnp.float16(1), y, config.mode)
    slope = fp16.mul(y, rest, config.mode)
    dx = fp16.mul(dy, slope, config.mode)
    for name, value in (("rest", rest), ("slope", slope), ("dx", dx)):
        tap(name, value)
    return dx


def silu_forward(config: SiluConfig, x: Float16[Array, "*s"], tap: Tap = no_tap) -> Float16[Array, "*s"]:
    """x * sigmoid(x), rounded once. Taps base, rise, part, upper, sigmoid, y."""
    y = fp16.mul(x, _sigmoid(config, x, tap, "sigmoid")[0], config.mode)
    tap("y", y)
    return y


def silu_backward(
    config: SiluConfig, x: Float16[Array, "*s"], dy: Float16[Array, "*s"], tap: Tap = no_tap
) -> Float16[Array, "*s"]:
    """dy * (s * (1 + x * (1 - s))), s the sigmoid of x, each step rounded once.

    Taps base, rise, part, upper, sigmoid, rest, bent, steep, factor, dx.
    """
    sigmoid, rest = _sigmoid(config, x, tap, "sigmoid")
    bent = fp16.mul(x, rest, config.mode)
    steep = fp16.add(bent, jnp.float16(1), config.mode)
    factor = fp16.mul(sigmoid, steep, config.mode)
    dx = fp16.mul(dy, factor, config.mode)
    for name, value in (("rest", rest), ("bent", bent), ("steep", steep), ("factor", factor), ("dx", dx)):
        tap(name, value)
    return dx


def apply(config: SigmoidConfig, x: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """`forward`, differentiable by `backward`."""
    return LAYER.apply(config, None, x)


def silu_apply(config: SiluConfig, x: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """`silu_forward`, differentiable by `silu_backward`."""
    return SILU_LAYER.apply(config, None, x)


def _forward(config: SigmoidConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, Array]:
    y = forward(config, inputs[0], tap)
    return y, y


def _backward(config: SigmoidConfig, up: Upstream) -> Gradients:
    return Gradients((backward(config, up.saved, up.dy, up.tap),))


def _silu_forward(config: SiluConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, Array]:
    return silu_forward(config, inputs[0], tap), inputs[0]


def _silu_backward(config: SiluConfig, up: Upstream) -> Gradients:
    return Gradients((silu_backward(config, up.saved, up.dy, up.tap),))


def _row(config: SigmoidConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    y = forward(config, operands[0])
    return y, (y,)


def _row_back(config: SigmoidConfig, task: RowTask, dy: Array) -> Written:
    return (backward(config, task.take("result"), dy),)


def _silu_row(config: SiluConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    return silu_forward(config, operands[0]), (operands[0],)


def _silu_row_back(config: SiluConfig, task: RowTask, dy: Array) -> Written:
    return (silu_backward(config, task.take("input"), dy),)


def _float(config: SigmoidConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    return jax.nn.sigmoid(inputs[0]), None


def _silu_float(config: SiluConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    return inputs[0] * jax.nn.sigmoid(inputs[0]), None


# Of a normal input: a result about 1/2 and a slope about 1/5; of SiLU as of hard swish.
LAYER = Layer(
    _forward, _backward, Rows(_row, _row_back),
    twin=Twin(_float, moment=lambda config, site: 0.3, gradient=lambda config, site, dy: dy / 25),
)  # fmt: skip
SILU_LAYER = Layer(
    _silu_forward, _silu_backward, Rows(_silu_row, _silu_row_back),
    twin=Twin(_silu_float, moment=lambda config, site: site.moments[0] * 0.375,
              gradient=lambda config, site, dy: dy * 0.375),
)  # fmt: skip

guard(__name__)
