"""What forward row tasks read, compute and write, by the same layer functions as whole tensors use.

A task's code yields the rows that it writes, in the order of its program's accesses. Nothing here rounds.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jax import Array

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
)
from bitrow.layers import activation, batch_norm, conv, linear, pool, residual
from bitrow.ops import reduce, softfloat
from bitrow.pipeline import row_batch
from bitrow.pipeline.memory import Access, Key, Layout
from bitrow.pipeline.row_regions import Geometry
from bitrow.pipeline.row_task import Now, Reads, flat, settle
from bitrow.pipeline.stages import Head, Stage

_NO_PADDING = (0, 0, 0), (0, 0, 0)  # the rows bring their own


class Forward:
    """The forward tasks of every stage."""

    def __init__(self, geometry: Geometry, layout: Layout) -> None:
        self.geometry, self.layout = geometry, layout

    # Head: a convolution's row, or a row added to an average pool's or a batch norm's sums.

    def _main(self, stage: Stage) -> Key:
        return "edge", stage.edges[0].index

    def _window(self, stage: Stage, row: int) -> Iterator[Access]:
        window = stage.window
        for k in range(window.kernel):
            at = row * window.stride - window.padding + k
            yield Access(self._main(stage), at if 0 <= at < stage.in_shape[0] else None)

    def head_reads(self, stage: Stage, row: int) -> Iterator[Access]:
        if stage.kind is Head.CONV:
            yield from self._window(stage, row)
            return
        yield Access(self._main(stage), row)
        if stage.kind is Head.AVG_POOL:
            first = row % stage.window.kernel == 0
            yield Access(("sums", stage.index), None if first else row // stage.window.kernel)

    def head_writes(self, stage: Stage, row: int) -> Iterator[Access]:
        if stage.kind is Head.CONV:
            yield Access(("handoff", stage.index), row)
        elif stage.kind is Head.AVG_POOL:
            yield Access(("sums", stage.index), row // stage.window.kernel)
        else:
            yield Access(("r1", stage.index), row)
            yield Access(("r2", stage.index), row)

    def head(self, stage: Stage, now: Now, reads: Reads) -> Iterator[Array]:
        assert stage.head
        _, w, c = stage.in_shape
        match stage.head.config:
            case ConvConfig() as config:
                name, weights = stage.head.name, now.weights
                slab = self._slab(stage, reads)
                acc = conv.accumulate(config, weights.params[name], weights.forward[name], slab, _NO_PADDING)
                yield conv.dequantize(config, weights.wide[name], flat(acc))
            case AvgPoolConfig() as config:
                row = reads.take(self._main(stage), 1, w, c)
                total = reads.take(("sums", stage.index), 1, *stage.out_shape[1:])
                added = pool.avg_row_sums(config, row, 1, config.kernel or w)[:, :, 0]
                yield softfloat.float32_bits(reduce.fp32_add(softfloat.bits_float32(total), added))
            case BatchNormConfig() as config:
                row = reads.take(self._main(stage), 1, w, c)
                for sums in batch_norm.row_sums(config, row, row):
                    yield softfloat.to_bits(sums, config.accumulator)

    def _slab(self, stage: Stage, reads: Reads) -> Array:
        return reads.slab(self._main(stage), stage.window.kernel, stage.in_shape[2])

    # Chain: the head's result, batch norms, ReLUs and adds, then to every reader.

    def chain_reads(self, stage: Stage, row: int) -> Iterator[Access]:
        match stage.kind:
            case Head.CONV:
                yield Access(("handoff", stage.index), row)
            case Head.AVG_POOL:
                yield Access(("sums", stage.index), row)
            case Head.MAX_POOL | Head.LINEAR:
                yield from self._window(stage, row)
            case Head.BATCH_NORM:
                yield Access(self._main(stage), row)
                yield Access(("statistics", stage.index), 0)
            case Head.NONE:
                yield Access(self._main(stage), row)
        for edge in stage.edges[1:]:
            yield Access(("edge", edge.index), row)

    def chain_writes(self, stage: Stage, row: int) -> Iterator[Access]:
        if stage.kind is Head.BATCH_NORM:
            yield Access(("statistics", stage.index), 0)
        if self.geometry.training:
            if stage.kind is Head.MAX_POOL:
                yield Access(("index", stage.index), row)
            for place, node in enumerate(stage.chain):
                if isinstance(node.config, ReluConfig):
                    yield Access((f"relu{place}", stage.index), row)
        edges = self.geometry.out_edges(stage)
        if not edges:
            yield Access(("logits", 0), row)
        for edge in edges:
            yield Access(("edge", edge.index), row)
            if self.geometry.conv_reader(edge) and self.geometry.training:
                yield Access(("mask", edge.index), row)

    def chain(self, stage: Stage, now: Now, reads: Reads) -> Iterator[Array]:
        z, kept = self._head_result(stage, now, reads)
        yield from kept
        z = flat(z)
        skips = iter(stage.edges[1:])
        for node in stage.chain:
            match node.config:
                case BatchNormConfig() as config:
                    z = batch_norm.forward_frozen(config, now.weights.wide[node.name], z)
                case ReluConfig() as config:
                    if self.geometry.training:
                        yield activation.passes(config, z).astype(jnp.uint8)
                    z = activation.forward(config, z)
                case AddConfig() as config:
                    z = residual.forward(config, z, reads.row(("edge", next(skips).index)))
        yield from self._emit(stage, now, z)

    def _emit(self, stage: Stage, now: Now, z: Array) -> Iterator[Array]:
        edges = self.geometry.out_edges(stage)
        if not edges:
            yield z
        for edge in edges:
            reader = self.geometry.conv_reader(edge)
            if reader is None:
                yield z
                continue
            assert isinstance(reader.config, ConvConfig)
            code, mask = conv.quantize_input(reader.config, now.weights.params[reader.name], z)
            yield code
            if self.geometry.training:
                yield mask.astype(jnp.uint8)

    def _head_result(self, stage: Stage, now: Now, reads: Reads) -> tuple[Array, list[Array]]:
        """The row that enters the chain, and what the head itself keeps."""
        if stage.kind is Head.SOURCE:
            return now.host_rows(now.x), []
        if stage.head is None:
            return reads.row(self._main(stage)), []
        match stage.head.config:
            case ConvConfig():
                return reads.row(("handoff", stage.index)), []
            case AvgPoolConfig() as config:
                total = reads.row(("sums", stage.index))
                return pool.avg_scale(config, total, stage.window.kernel * (config.kernel or stage.in_shape[1])), []
            case LinearConfig() as config:
                inputs = self._slab(stage, reads).reshape(self.geometry.lanes, -1)
                y = linear.forward(config, now.weights.params[stage.head.name], inputs)
                return y[:, None, None, :], []
            case MaxPoolConfig() as config:
                y, index = pool.max_rows(config, self._slab(stage, reads), self._present(stage, config, now))
                return settle(now, y), [index] if self.geometry.training else []
            case BatchNormConfig() as config:
                y, words = row_batch.normalise(self.geometry, self.layout, stage, config, now, reads)
                return y, [words]
        raise AssertionError(stage.head.config)

    def _present(self, stage: Stage, config: MaxPoolConfig, now: Now) -> Array:
        """Which elements of a pool's slab lie inside the map, `[kernel, columns]`."""
        columns = np.pad(np.ones(stage.in_shape[1], bool), config.padding)
        return now.present[: config.kernel, None] & jnp.asarray(columns)[None]
