"""Concatenation: moves words as they are (SPEC.md A7)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float16

from bitrow.config import ConcatConfig
from bitrow.doors import guard
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import Site, Twin
from bitrow.ops.tap import Tap, no_tap


def forward(
    config: ConcatConfig, x: Float16[Array, "n h w cx"], other: Float16[Array, "n h w co"], tap: Tap = no_tap
) -> Float16[Array, "n h w c"]:
    """The channels of x, then those of other; differentiable by JAX. Tap y."""
    y = jnp.concatenate([x, other], axis=-1)
    tap("y", y)
    return y


def _forward(config: ConcatConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, None]:
    return forward(config, inputs[0], inputs[1], tap), None


def _backward(config: ConcatConfig, up: Upstream) -> Gradients:
    return Gradients(tuple(jnp.split(up.dy, [up.shape[2]], axis=-1)))


def _columns(row: Array, columns: int) -> Array:
    """A flat row by columns, `[n, 1, columns, channels]`."""
    return row.reshape(row.shape[0], 1, columns, -1)


def _row(config: ConcatConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    return task.flat(jnp.concatenate([_columns(row, task.place.out[1]) for row in operands], axis=-1)), ()


def _row_back(config: ConcatConfig, task: RowTask, dy: Array) -> Written:
    return tuple(map(task.flat, jnp.split(_columns(dy, task.place.out[1]), [task.place.shape[2]], axis=-1)))


def _moment(config: ConcatConfig, site: Site) -> float:
    share = site.shape[2] / site.output[2]
    return share * site.moments[0] + (1 - share) * site.moments[1]


TWIN = Twin(lambda config, layer, inputs: (jnp.concatenate(inputs, axis=-1), None), moment=_moment)
LAYER = Layer(_forward, _backward, Rows(_row, _row_back), twin=TWIN)

guard(__name__)
