"""A row task at run time: what it can read, the weights made ready for rows, and rows as they lie in memory.

Rows go flat from ring to ring, `[lanes, 1, 1, w*c]`: what is elementwise then runs over one long axis, with its
channel parameters repeated for each column. On small rows the compiler's code for anything else is ten times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from bitrow.config import ConvConfig
from bitrow.layers import batch_norm, conv
from bitrow.ops import mac
from bitrow.pipeline.memory import Columns, Key, Layout, Program
from bitrow.pipeline.row_regions import Geometry

Stores = tuple[Array, ...]  # by Store


class Weights(NamedTuple):
    """A network's parameters as rows use them.

    `params` as they are; `wide`: those of channels, repeated for each column of a row; `forward` and `gradient`:
    kernels laid out for single rows.
    """

    params: dict[str, Any]
    wide: dict[str, Any]
    forward: dict[str, mac.Kernel]
    gradient: dict[str, mac.Kernel]


def make_weights(geometry: Geometry, params: Mapping[str, Any]) -> Weights:
    """Lay the parameters out once, for any number of rows."""
    convs = [(node.name, node.config) for node in geometry.network.nodes if isinstance(node.config, ConvConfig)]
    forward = {name: conv.forward_kernel(config, params[name], rows=True) for name, config in convs}
    gradient = {
        name: conv.gradient_kernel(config, params[name], rows=True) for name, config in convs if geometry.training
    }
    return Weights(dict(params), _wide(geometry, params), forward, gradient)


def _wide(geometry: Geometry, params: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for stage in geometry.stages:
        columns = stage.out_shape[1]
        for node in (*([stage.head] if stage.head else []), *stage.chain):
            match params.get(node.name):
                case batch_norm.FrozenParams(a, b):
                    found[node.name] = batch_norm.FrozenParams(jnp.tile(a, columns), jnp.tile(b, columns))
                case conv.ConvParams() as whole:
                    vectors = {"scale": whole.scale, "w_scale": whole.w_scale, "bias": whole.bias}
                    found[node.name] = whole._replace(
                        **{k: jnp.tile(v, columns) for k, v in vectors.items() if v is not None and v.ndim}
                    )
    return found


class Now(NamedTuple):
    """A task at run time: the stores, its row of the table, and what the host gives."""

    stores: Stores
    task: Array
    columns: Columns
    weights: Weights
    x: Array  # [images, lanes, h, w, c]
    dlogits: Array  # [images, lanes, oh, ow, c]

    @property
    def image(self) -> Array:
        return self.task[Columns.IMAGE]

    @property
    def row(self) -> Array:
        return self.task[Columns.ROW]

    @property
    def zero(self) -> Array:
        """0, unknown to the compiler."""
        return self.task[Columns.ZERO]

    @property
    def present(self) -> Array:
        """Which of the task's reads are rows, and not rows of zeros."""
        return self.task[self.columns.present] != 0


Body = Callable[[Now], list[Array]]


class Task(NamedTuple):
    """A program, and the code that returns the rows which it writes."""

    program: Program
    body: Body


class Reads:
    """Takes a task's rows one after another, in the order of its program."""

    def __init__(self, now: Now, geometry: Geometry, layout: Layout) -> None:
        self._now, self._lanes, self._layout, self._place = now, geometry.lanes, layout, 0

    def row(self, key: Key) -> Array:
        """The next row of the region `key`, flat, with the zero columns around it."""
        region = self._layout.regions[key]
        slot = self._now.task[self._now.columns.reads][self._place]
        self._place += 1
        words = lax.dynamic_slice(self._now.stores[region.store], (slot, 0, 0), (1, self._lanes, region.span))
        return words.reshape(self._lanes, 1, 1, region.span)

    def take(self, key: Key, *shape: int) -> Array:
        """The next row as `[lanes, *shape]`."""
        return self.row(key).reshape(self._lanes, *shape)

    def slab(self, key: Key, rows: int, channels: int) -> Array:
        """The next rows side by side, `[lanes, rows, columns, channels]`."""
        return jnp.concatenate([self.take(key, 1, -1, channels) for _ in range(rows)], axis=1)

    def present(self) -> Array:
        """Whether the next row is there, and not a row of zeros."""
        return self._now.present[self._place]


def flat(row: Array) -> Array:
    """A row `[lanes, 1, w, c]` as it lies in memory, `[lanes, 1, 1, w*c]`."""
    return row.reshape(row.shape[0], 1, 1, -1)


def settle(now: Now, row: Array) -> Array:
    """The same row, computed once and kept, where the compiler would compute it anew for each of its readers."""
    room = jnp.zeros((row.shape[0] + 1, *row.shape[1:]), row.dtype)
    return lax.dynamic_update_slice(room, row, (now.zero, 0, 0, 0))[: row.shape[0]]
