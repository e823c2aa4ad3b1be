"""A row task at run time: what it can read, the weights made ready for rows, and rows as they lie in memory.

A step computes `n` images' rows at once: those of its tasks, one after another, and of every task's lanes.
Rows go flat from ring to ring, `[n, 1, 1, w*c]`: what is elementwise then runs over one long axis, with its
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
from bitrow.pipeline.memory import Key, Layout, Program
from bitrow.pipeline.row_regions import Geometry
from bitrow.pipeline.steps import Columns

Stores = tuple[Array, ...]  # by Store


def at(*places: int | Array) -> tuple[Array, ...]:
    """Where a slice begins, in the one integer type that JAX asks for, whether or not it is in its 64-bit mode."""
    return tuple(jnp.asarray(place, jnp.int32) for place in places)


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
    forward, gradient = {}, {}
    for stage in geometry.stages:
        if stage.head and isinstance(stage.head.config, ConvConfig):
            name, config = stage.head.name, stage.head.config
            forward[name] = conv.forward_kernel(config, params[name], row=stage.out_shape[1])
            if geometry.training:
                gradient[name] = conv.gradient_kernel(config, params[name], row=stage.in_shape[1])
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
    """A step at run time: the stores, its row of the table, how many tasks it has, and what the host gives."""

    stores: Stores
    step: Array
    columns: Columns
    size: int
    weights: Weights
    x: Array  # [images, lanes, h, w, c]
    dlogits: Array  # [images, lanes, oh, ow, c]

    @property
    def image(self) -> Array:
        """The image of each task."""
        return self.step[self.columns.image][: self.size]

    @property
    def row(self) -> Array:
        """The row of each task."""
        return self.step[self.columns.row][: self.size]

    @property
    def zero(self) -> Array:
        """0, unknown to the compiler."""
        return self.step[Columns.ZERO]

    @property
    def present(self) -> Array:
        """Which of the only task's reads are rows, and not rows of zeros."""
        assert self.size == 1
        return self.step[self.columns.present] != 0

    def host_rows(self, maps: Array) -> Array:
        """The tasks' rows, flat, of what the host gives for all images."""
        rows = [
            lax.dynamic_slice(maps, at(image, 0, row, 0, 0), (1, maps.shape[1], 1, *maps.shape[3:]))
            for image, row in zip(self.image, self.row, strict=True)
        ]
        return flat(jnp.concatenate(rows).reshape(-1, 1, *maps.shape[3:]))


Body = Callable[[Now], list[Array]]


class Task(NamedTuple):
    """A program, the code that returns the rows which it writes, and whether two such tasks may share a step."""

    program: Program
    body: Body
    pairs: bool


class Reads:
    """Takes the tasks' rows one after another, in the order of their program."""

    def __init__(self, now: Now, geometry: Geometry, layout: Layout) -> None:
        self._now, self._lanes, self._layout, self._place = now, geometry.lanes, layout, 0

    def row(self, key: Key) -> Array:
        """The next row of the region `key`, flat, with the zero columns around it."""
        region, size = self._layout.regions[key], self._now.size
        slots = self._now.step[self._now.columns.reads][self._place * size : (self._place + 1) * size]
        self._place += 1
        store, shape = self._now.stores[region.store], (1, self._lanes, region.span)
        words = jnp.concatenate([lax.dynamic_slice(store, at(slot, 0, 0), shape) for slot in slots])
        return words.reshape(size * self._lanes, 1, 1, region.span)

    def take(self, key: Key, *shape: int) -> Array:
        """The next row as `[n, *shape]`."""
        row = self.row(key)
        return row.reshape(row.shape[0], *shape)

    def slab(self, key: Key, rows: int, channels: int) -> Array:
        """The next rows side by side, `[n, rows, columns, channels]`."""
        return jnp.concatenate([self.take(key, 1, -1, channels) for _ in range(rows)], axis=1)

    def present(self) -> Array:
        """Whether the next row is there, and not a row of zeros."""
        return self._now.present[self._place]


def flat(row: Array) -> Array:
    """A row `[n, 1, w, c]` as it lies in memory, `[n, 1, 1, w*c]`."""
    return row.reshape(row.shape[0], 1, 1, -1)


def settle(now: Now, row: Array) -> Array:
    """The same row, computed once and kept, where the compiler would compute it anew for each of its readers."""
    room = jnp.zeros((row.shape[0] + 1, *row.shape[1:]), row.dtype)
    return lax.dynamic_update_slice(room, row, at(now.zero, 0, 0, 0))[: row.shape[0]]
