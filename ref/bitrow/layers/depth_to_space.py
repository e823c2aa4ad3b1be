"""Depth to space: moves words as they are (SPEC.md A13)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float16

from bitrow.config import DepthOrder, DepthToSpaceConfig
from bitrow.doors import guard
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import Twin
from bitrow.ops import meshes
from bitrow.ops.tap import Tap, no_tap


def _blocks(config: DepthToSpaceConfig, x: Array) -> Array:
    n, h, w, c = x.shape
    block, channels = config.block, c // config.block**2
    if config.order is DepthOrder.DCR:
        apart = jnp.transpose(meshes.reshape(x, (n, h, w, block, block, channels)), (0, 1, 3, 2, 4, 5))
    else:
        apart = jnp.transpose(meshes.reshape(x, (n, h, w, channels, block, block)), (0, 1, 4, 2, 5, 3))
    return meshes.reshape(apart, (n, h * block, w * block, channels))


def forward(
    config: DepthToSpaceConfig, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> Float16[Array, "n oh ow oc"]:
    """Each pixel's channels as a block of pixels. Tap y."""
    y = _blocks(config, x)
    tap("y", y)
    return y


def backward(
    config: DepthToSpaceConfig, dy: Float16[Array, "n oh ow oc"], tap: Tap = no_tap
) -> Float16[Array, "n h w c"]:
    """Each block of pixels as one pixel's channels: `forward` undone. Tap dx."""
    n, oh, ow, channels = dy.shape
    block = config.block
    apart = meshes.reshape(dy, (n, oh // block, block, ow // block, block, channels))
    order = (0, 1, 3, 2, 4, 5) if config.order is DepthOrder.DCR else (0, 1, 3, 5, 2, 4)
    dx = meshes.reshape(jnp.transpose(apart, order), (n, oh // block, ow // block, channels * block**2))
    tap("dx", dx)
    return dx


def apply(config: DepthToSpaceConfig, x: Float16[Array, "n h w c"]) -> Float16[Array, "n oh ow oc"]:
    """`forward`, differentiable by `backward`."""
    return LAYER.apply(config, None, x)


def _forward(config: DepthToSpaceConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, None]:
    return forward(config, inputs[0], tap), None


def _backward(config: DepthToSpaceConfig, up: Upstream) -> Gradients:
    return Gradients((backward(config, up.dy, up.tap),))


def _row(config: DepthToSpaceConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    """Of the rows that one row makes, the task's own."""
    made = forward(config, task.take("x", 1, *task.place.shape[1:]))
    return lax.dynamic_slice_in_dim(made, task.row[0] % config.block, 1, axis=1), ()


def _row_gradient(config: DepthToSpaceConfig, task: RowTask) -> Written:
    return (backward(config, task.slab("dy", task.place.out[2])),)


TWIN = Twin(lambda config, layer, inputs: (_blocks(config, inputs[0]), None))
LAYER = Layer(_forward, _backward, Rows(_row, gradient=_row_gradient), twin=TWIN)

guard(__name__)
