"""A layer as a network runs it: a value that says how it goes forward and back (SPEC.md C, B, A).

Each layer's module makes its own; `table` finds it by the type of a configuration.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from bitrow.layers.frozen import zero_cotangent
from bitrow.layers.rows import Config, Rows
from bitrow.layers.twin import LayerParams, Twin
from bitrow.ops.tap import Tap, no_tap

Saved = Any


class Upstream(NamedTuple):
    """What a layer's backward pass is given.

    `saved` is what its forward pass kept, dy f16[n,h,w,c] the gradient of its result, `shape` (h, w, c) of its first
    input, `first_image` the place of the first image in the whole batch (SPEC.md Q3).
    """

    params: LayerParams
    saved: Saved
    dy: Array
    shape: tuple[int, int, int]
    tap: Tap
    first_image: int | Array


class Gradients(NamedTuple):
    """A gradient for each input, and those of what the layer trains, None where it trains nothing."""

    inputs: tuple[Array, ...]
    trained: Any = None


def _none(config: Config) -> None:
    return None


@dataclass(frozen=True)
class Layer:
    """One kind of layer.

    `forward` takes the configuration, its parameters, one map f16[n,h,w,c] for each input and a tap, and returns the
    result and what `backward` reads of it. `params` is the type of the parameters under a configuration, None where
    there are none. `trains`: the backward pass forms gradients of parameters, whether or not the input's is wanted.
    `flat`: the result is f16[n, classes] where it leaves the network. `stores`: no reader of the result computes it
    anew (`once`). `rows`: the layer by rows. `check` refuses parameters' values that the contract does not allow,
    beginning with where they are. `twin` is the layer on the host.
    """

    forward: Callable[[Config, LayerParams, list[Array], Tap], tuple[Array, Saved]]
    backward: Callable[[Config, Upstream], Gradients]
    rows: Rows
    params: Callable[[Config], type | None] = _none
    trains: Callable[[Config], bool] = lambda config: False
    flat: bool = False
    stores: bool = False
    check: Callable[[str, Config, LayerParams], None] = lambda where, config, params: None
    twin: Twin = Twin()

    def apply(self, config: Config, params: LayerParams, *inputs: Array) -> Array:
        """The result of `forward`, differentiable in its inputs by `backward`; the parameters are frozen."""
        return _apply(self, config, params, *inputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _apply(layer: Layer, config: Config, params: LayerParams, *inputs: Array) -> Array:
    return layer.forward(config, params, list(inputs), no_tap)[0]


def _apply_forward(layer: Layer, config: Config, params: LayerParams, *inputs: Array) -> tuple[Array, Any]:
    y, saved = layer.forward(config, params, list(inputs), no_tap)
    return y, (params, saved, jnp.zeros((0, *inputs[0].shape[1:])))  # residuals must be arrays: a shape, no elements


def _apply_backward(layer: Layer, config: Config, kept: Any, dy: Array) -> tuple[Any, ...]:
    params, saved, like = kept
    found = layer.backward(config, Upstream(params, saved, dy, like.shape[1:], no_tap, 0))
    return zero_cotangent(params), *found.inputs


_apply.defvjp(_apply_forward, _apply_backward)
