"""A layer by rows: what its row tasks compute, as a value beside the buffers that its configuration declares.

Rows go flat, `[n, 1, 1, w*c]`: what is elementwise then runs over one long axis, with its channel parameters repeated
for each column. On small rows the compiler's code for anything else is ten times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from bitrow.config.rows import Place

Config = Any
Ready = Any
Operands = list[Array]
Written = tuple[Array, ...]


@dataclass(frozen=True)
class RowTask:
    """A step of row tasks as one layer sees it: n rows, those of its tasks and of every task's `lanes`.

    `ready` is what `Rows.prepare` made; `image` and `row` of each task; `zero` is 0, unknown to the compiler. By the
    names of the layer's buffers: `taken` gives the rows that the tasks take, each flat `[n, 1, 1, words]`, `present`
    which of the only task's rows there are, and `whole` all words of a buffer, `[images, rows, words]`.
    """

    ready: Ready
    place: Place
    lanes: int
    images: int
    image: Array
    row: Array
    zero: Array
    taken: Callable[[str], list[Array]]
    present: Callable[[str], list[Array]]
    whole: Callable[[str], Array]

    def take(self, name: str, *shape: int) -> Array:
        """The only row of a buffer, flat or as `[n, *shape]`."""
        (row,) = self.taken(name)
        return row.reshape(row.shape[0], *shape) if shape else row

    def slab(self, name: str, channels: int) -> Array:
        """The rows of a buffer side by side, `[n, rows, columns, channels]`."""
        return jnp.concatenate([row.reshape(row.shape[0], 1, -1, channels) for row in self.taken(name)], axis=1)

    def settle(self, row: Array) -> Array:
        """The same row, computed once and kept, where the compiler would compute it anew for each of its readers."""
        room, nothing = jnp.zeros((row.shape[0] + 1, *row.shape[1:]), row.dtype), jnp.int32(0)
        return lax.dynamic_update_slice(room, row, (self.zero, nothing, nothing, nothing))[: row.shape[0]]

    @staticmethod
    def flat(row: Array) -> Array:
        """A row `[n, 1, w, c]` as it lies in memory, `[n, 1, 1, w*c]`."""
        return row.reshape(row.shape[0], 1, 1, -1)

    @property
    def first(self) -> Array:
        """The only task is the batch's first of its kind."""
        return (self.image[0] == 0) & (self.row[0] == 0)


def _none(config: Config, task: RowTask) -> Written:
    return ()


def _as_it_is(config: Config, task: RowTask, dy: Array) -> Written:
    return (dy,)


def _half(config: Config, ready: Ready, z: Array) -> Written:
    return (z,)


def _params(config: Config, params: Any, place: Place, training: bool) -> Ready:
    return params


@dataclass(frozen=True)
class Rows:
    """What a layer's row tasks compute. They return rows in the order in which the plan declares the buffers.

    `forward`: a row for the chain, of an elementwise layer's operands (a head has none, and reads its buffers), and
    what is written beside it. `backward`: of the result's gradient, an elementwise layer's gradient for each
    operand and what is written beside them, or what a head writes. `head`: what its forward task writes;
    `gradient`: what its backward task writes, the input's gradient last. `encode`: a row of the input as the
    layer's `inputs` hold it. `prepare` lays parameters out once, for any number of rows. `trained`: gradients of
    parameters, of whole buffers at the end. `pairs`: a head's forward tasks take two rows at once: none asks for
    its own row, or for which rows are there.
    """

    forward: Callable[[Config, RowTask, Operands], tuple[Array, Written]]
    backward: Callable[[Config, RowTask, Array], Written] = _as_it_is
    head: Callable[[Config, RowTask], Written] = _none
    gradient: Callable[[Config, RowTask], Written] = _none
    encode: Callable[[Config, Ready, Array], Written] = _half
    prepare: Callable[[Config, Any, Place, bool], Ready] = _params
    trained: Callable[[Config, Mapping[str, Callable[[], Array]]], Any] | None = None
    pairs: bool = False
