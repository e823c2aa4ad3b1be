"""Nearest upsampling by whole factors (SPEC.md A12)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float16

from bitrow.config import UpsampleConfig
from bitrow.doors import guard
from bitrow.layers import residual
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import FloatLayer, Twin
from bitrow.ops.tap import Tap, no_tap


def forward(config: UpsampleConfig, x: Float16[Array, "n h w c"], tap: Tap = no_tap) -> Float16[Array, "n oh ow c"]:
    """Each word at every place of a window of `rows` x `columns`. Tap y."""
    y = jnp.repeat(jnp.repeat(x, config.rows, axis=1), config.columns, axis=2)
    tap("y", y)
    return y


def backward(config: UpsampleConfig, dy: Float16[Array, "n oh ow c"], tap: Tap = no_tap) -> Float16[Array, "n h w c"]:
    """The words of each window added up in row-major order, from the first on. Taps sum_N, dx."""
    terms = [
        dy[:, row :: config.rows, column :: config.columns]
        for row in range(config.rows)
        for column in range(config.columns)
    ]
    return residual.accumulate(terms, config.mode, tap)


def apply(config: UpsampleConfig, x: Float16[Array, "n h w c"]) -> Float16[Array, "n oh ow c"]:
    """`forward`, differentiable by `backward`."""
    return LAYER.apply(config, None, x)


def _forward(config: UpsampleConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, None]:
    return forward(config, inputs[0], tap), None


def _backward(config: UpsampleConfig, up: Upstream) -> Gradients:
    return Gradients((backward(config, up.dy, up.tap),))


def _row(config: UpsampleConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    return jnp.repeat(task.take("x", 1, *task.place.shape[1:]), config.columns, axis=2), ()


def _row_gradient(config: UpsampleConfig, task: RowTask) -> Written:
    return (backward(config, task.slab("dy", task.place.out[2])),)


def _float(config: UpsampleConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    return jnp.repeat(jnp.repeat(inputs[0], config.rows, axis=1), config.columns, axis=2), None


TWIN = Twin(_float, gradient=lambda config, site, dy: dy * config.rows * config.columns)
LAYER = Layer(_forward, _backward, Rows(_row, gradient=_row_gradient), twin=TWIN)

guard(__name__)
