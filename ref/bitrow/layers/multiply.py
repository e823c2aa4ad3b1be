"""The product of two maps, or of a map and a gate, and its gradients (SPEC.md A8)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float16, Float32

from bitrow.config import MultiplyConfig
from bitrow.doors import guard
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import FloatLayer, Site, Twin
from bitrow.ops import fp16, softfloat
from bitrow.ops.reduce import fp32_add, running, tree
from bitrow.ops.tap import Tap, no_tap


def forward(
    config: MultiplyConfig, x: Float16[Array, "n h w c"], other: Float16[Array, "n #h #w c"], tap: Tap = no_tap
) -> Float16[Array, "n h w c"]:
    """x * other, rounded once; with `gate`, other f16[n,1,1,c] at every place of x. Tap y."""
    y = fp16.mul(x, other, config.mode)
    tap("y", y)
    return y


def backward(
    config: MultiplyConfig,
    x: Float16[Array, "n h w c"],
    other: Float16[Array, "n #h #w c"],
    dy: Float16[Array, "n h w c"],
    tap: Tap = no_tap,
) -> tuple[Float16[Array, "n h w c"], Float16[Array, "n #h #w c"]]:
    """Gradients of x and other. Taps dx, and dother; or with `gate` sum_level*, sum_running, sum, dgate."""
    dx = fp16.mul(dy, other, config.mode)
    tap("dx", dx)
    if not config.gate:
        dother = fp16.mul(dy, x, config.mode)
        tap("dother", dother)
        return dx, dother
    rows = gate_row_sums(config, x[:, None], dy[:, None], tap)
    total = running(jnp.moveaxis(rows, 2, 0), fp32_add, tap)
    tap("sum", total)
    dgate = fp16.round_once(total, config.mode)
    tap("dgate", dgate)
    return dx, dgate


def gate_row_sums(
    config: MultiplyConfig, x: Float16[Array, "n g h w c"], dy: Float16[Array, "n g h w c"], tap: Tap = no_tap
) -> Float32[Array, "n g h 1 c"]:
    """Sums of each row of the products of dy and x, by a pairwise tree over w (SPEC.md A8)."""
    products = fp16.product(fp16.widen(dy, config.mode), fp16.widen(x, config.mode))
    return tree(products[:, :, :, None], 4, fp32_add, tap)


def apply(
    config: MultiplyConfig, x: Float16[Array, "n h w c"], other: Float16[Array, "n #h #w c"]
) -> Float16[Array, "n h w c"]:
    """`forward`, differentiable in both by `backward`."""
    return LAYER.apply(config, None, x, other)


def _forward(config: MultiplyConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, tuple[Array, ...]]:
    return forward(config, inputs[0], inputs[1], tap), tuple(inputs)


def _backward(config: MultiplyConfig, up: Upstream) -> Gradients:
    x, other = up.saved
    return Gradients(backward(config, x, other, up.dy, up.tap))


def _row(config: MultiplyConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    x, other = operands
    if not config.gate:
        return forward(config, x, other), (x, other)
    return fp16.mul(x, jnp.tile(other, (1, 1, 1, task.place.out[1])), config.mode), (x,)


def _row_back(config: MultiplyConfig, task: RowTask, dy: Array) -> Written:
    x, (_, w, c) = task.take("input"), task.place.out
    if not config.gate:
        return backward(config, x, task.take("other"), dy)
    dx = fp16.mul(dy, jnp.tile(task.take("operand1"), (1, 1, 1, w)), config.mode)
    before = jnp.where(task.row[0] == 0, jnp.uint32(0), task.take("total", 1, 1, c))
    added = gate_row_sums(config, x.reshape(-1, 1, 1, w, c), dy.reshape(-1, 1, 1, w, c))[:, :, 0]
    total = fp32_add(softfloat.bits_float32(before), added)
    return dx, task.flat(fp16.round_once(total, config.mode)), task.flat(softfloat.float32_bits(total))


def _float(config: MultiplyConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    x, other = inputs
    return x * jnp.broadcast_to(other, x.shape), None


def _variances(config: MultiplyConfig, site: Site, dy: float) -> tuple[float, float]:
    places = site.output[0] * site.output[1] if config.gate else 1
    return dy * site.moments[1], dy * site.moments[0] * places


TWIN = Twin(_float, moment=lambda config, site: site.moments[0] * site.moments[1], gradient=_variances)
LAYER = Layer(_forward, _backward, Rows(_row, _row_back), twin=TWIN)

guard(__name__)
