"""A row task at run time: what it can read, and the weights made ready for rows.

A step computes `n` images' rows at once: those of its tasks, one after another, and of every task's lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from bitrow.graph import Network
from bitrow.layers.rows import RowTask
from bitrow.layers.table import layer
from bitrow.pipeline.buffers import BufferKey, Buffers
from bitrow.pipeline.memory import Memory, TaskProgram
from bitrow.pipeline.steps import Columns

Stores = tuple[Array, ...]  # by Store
ReadyWeights = dict[str, Any]  # what each layer made of its parameters for its rows


@dataclass(frozen=True)
class Geometry:
    """What the tasks are built for: a network's buffers, images in sequence, lanes beside each other."""

    network: Network
    buffers: Buffers
    images: int
    lanes: int

    @property
    def training(self) -> bool:
        return self.buffers.training


def make_weights(geometry: Geometry, params: Mapping[str, Any]) -> ReadyWeights:
    """Lay the parameters out once, for any number of rows."""
    return {
        site.node.name: layer(site.node.config).rows.prepare(
            site.node.config, params.get(site.node.name), site.place, geometry.training
        )
        for stage in geometry.buffers.stages
        for site in stage.sites
    }


def at(*places: int | Array) -> tuple[Array, ...]:
    """Where a slice begins, in the one integer type that JAX asks for, whether or not it is in its 64-bit mode."""
    return tuple(jnp.asarray(place, jnp.int32) for place in places)


class Now(NamedTuple):
    """A step at run time: the stores, its row of the table, how many tasks it has, and what the host gives."""

    stores: Stores
    step: Array
    columns: Columns
    size: int
    weights: ReadyWeights
    x: Array  # [images, lanes, h, w, c]
    dlogits: dict[str, Array]  # by output [images, lanes, oh, ow, c]

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

    def host_rows(self, maps: Array) -> Array:
        """The tasks' rows, flat, of what the host gives for all images."""
        rows = [
            lax.dynamic_slice(maps, at(image, 0, row, 0, 0), (1, maps.shape[1], 1, *maps.shape[3:]))
            for image, row in zip(self.image, self.row, strict=True)
        ]
        return RowTask.flat(jnp.concatenate(rows).reshape(-1, 1, *maps.shape[3:]))


class Reads:
    """The rows that a step's tasks take, by buffer: where its program has them."""

    def __init__(self, now: Now, memory: Memory, program: TaskProgram, lanes: int) -> None:
        self._now, self._memory, self._lanes = now, memory, lanes
        self._places: dict[BufferKey, range] = {}
        first = 0
        for access in program.reads:
            many = access.rows.shape[1]
            self._places[access.ring.key] = range(first, first + many)
            first += many

    def rows(self, key: BufferKey) -> list[Array]:
        """The rows of a buffer, each flat `[n, 1, 1, words]`, with the zero columns around it."""
        region, now, size = self._memory.regions[key], self._now, self._now.size
        store, shape, found = now.stores[region.store], (1, self._lanes, region.span), []
        for place in self._places[key]:
            slots = now.step[now.columns.reads][place * size : (place + 1) * size]
            words = jnp.concatenate([lax.dynamic_slice(store, at(slot, 0, 0), shape) for slot in slots])
            found.append(words.reshape(size * self._lanes, 1, 1, region.span))
        return found

    def present(self, key: BufferKey) -> list[Array]:
        """Which of the only task's rows are there, and not rows of zeros."""
        assert self._now.size == 1
        present = self._now.step[self._now.columns.present] != 0
        return [present[place] for place in self._places[key]]

    def whole(self, key: BufferKey) -> Array:
        """All words of a buffer, `[images, rows, words]`."""
        return whole(self._memory, self._now.stores, key)


def whole(memory: Memory, stores: Stores, key: BufferKey) -> Array:
    """A region that keeps every row, `[n, rows, words]`: image n is image n // lanes, lane n % lanes."""
    region = memory.regions[key]
    words = stores[region.store][region.base : region.base + region.slots, :, region.lead : region.lead + region.words]
    images = words.reshape(-1, region.rows, *words.shape[1:]).transpose(0, 2, 1, 3)
    return images.reshape(-1, region.rows, region.words)


class RunnableTask(NamedTuple):
    """A program, the code that returns the rows which it writes, and whether two such tasks may share a step."""

    program: TaskProgram
    body: Callable[[Now], list[Array]]
    pairs: bool
