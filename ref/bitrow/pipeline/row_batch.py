"""Batch statistics by rows (SPEC.md B2, B3): sums of the whole batch, made into coefficients by its first row.

The first row that comes after the barrier turns the batch's row sums into words that the other rows reuse.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from bitrow.config import BatchNormConfig
from bitrow.formats import FP16
from bitrow.layers import batch_norm
from bitrow.ops import softfloat
from bitrow.pipeline.memory import Layout, Store
from bitrow.pipeline.row_regions import Geometry
from bitrow.pipeline.row_task import Now, Reads
from bitrow.pipeline.stages import Stage


def normalise(
    geometry: Geometry, layout: Layout, stage: Stage, config: BatchNormConfig, now: Now, reads: Reads
) -> tuple[Array, Array]:
    """B2's second half: a normalised row, and the words of the statistics."""
    assert stage.head
    y = reads.take(("edge", stage.edges[0].index), 1, *stage.in_shape[1:])
    kept = reads.take(("statistics", stage.index), 5 * stage.out_shape[2])
    params = now.weights.params[stage.head.name]
    assert isinstance(params, batch_norm.BatchParams)

    def compute() -> Array:
        r1, r2 = (_all_sums(geometry, layout, stage, config, now, name) for name in ("r1", "r2"))
        found = batch_norm.statistics(config, params, r1, r2, _count(geometry, stage))
        return _spread(geometry, [found.mean, found.r, found.a, *map(softfloat.float16_bits, found[3:])])

    words = lax.cond((now.image[0] == 0) & (now.row[0] == 0), compute, lambda: kept)
    found = _statistics(words[0].reshape(5, -1))
    return batch_norm.affine(config, found.a16, found.b16, y), words


def gradient(
    geometry: Geometry, layout: Layout, stage: Stage, config: BatchNormConfig, now: Now, reads: Reads
) -> tuple[Array, Array]:
    """B3's second half: the words of p, q, dgamma and dbeta, and a row of dy."""
    shape, channels = stage.out_shape[1:], stage.out_shape[2]
    dz = reads.take(("dy", stage.index), 1, *shape)
    y = reads.take(("edge", stage.edges[0].index), 1, *shape)
    found = _statistics(reads.take(("statistics", stage.index), 5 * channels)[0].reshape(5, -1))
    kept = reads.take(("coefficients", stage.index), 4 * channels)

    def compute() -> Array:
        t1, t2 = (_all_sums(geometry, layout, stage, config, now, name) for name in ("t1", "t2"))
        made = batch_norm.gradient(config, found, t1, t2, _count(geometry, stage))
        sums = [softfloat.to_bits(value, config.accumulator) for value in made[2:]]
        return _spread(geometry, [*map(softfloat.float16_bits, made[:2]), *sums])

    words = lax.cond((now.image[0] == 0) & (now.row[0] == 0), compute, lambda: kept)
    p16, q16 = (softfloat.from_bits(v, FP16) for v in words[0].reshape(4, -1)[:2])
    return words, batch_norm.gradient_rows(config, found.a16, p16, q16, dz, y)


def _count(geometry: Geometry, stage: Stage) -> int:
    return geometry.images * geometry.lanes * stage.out_shape[0] * stage.out_shape[1]


def _spread(geometry: Geometry, vectors: list[Array]) -> Array:
    """Channel vectors side by side, the same in each lane."""
    words = jnp.concatenate(vectors)
    return jnp.broadcast_to(words, (geometry.lanes, words.size))


def _all_sums(
    geometry: Geometry, layout: Layout, stage: Stage, config: BatchNormConfig, now: Now, name: str
) -> Array:
    """Row sums of the whole batch `[n, h, c]`, image n being image n // lanes, lane n % lanes."""
    region = layout.regions[name, stage.index]
    words = now.stores[Store.WORD][region.base : region.base + region.slots, :, : region.words]
    words = words.reshape(geometry.images, region.rows, geometry.lanes, region.words)
    rows = words.transpose(0, 2, 1, 3).reshape(-1, region.rows, region.words)
    return softfloat.from_bits(rows, config.accumulator)


def _statistics(words: Sequence[Array] | Array) -> batch_norm.BatchStatistics:
    mean, r, a, a16, b16 = words
    return batch_norm.BatchStatistics(mean, r, a, softfloat.bits_float16(a16), softfloat.bits_float16(b16))
