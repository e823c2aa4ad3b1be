"""Concatenation: moves words as they are (SPEC.md A7)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float16

from bitrow.config import ConcatConfig
from bitrow.doors import guard
from bitrow.layers.layer import Gradients, Layer, Upstream
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


LAYER = Layer(_forward, _backward)

guard(__name__)
