"""What backward row tasks read, compute and write, by the same layer functions as whole tensors use.

As in `row_forward`, a task's code yields the rows that it writes, and nothing here rounds.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import Array, lax

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
)
from bitrow.formats import Gradient, QuantRounding
from bitrow.layers import activation, batch_norm, conv, linear, pool, residual
from bitrow.ops import mac, softfloat
from bitrow.pipeline import row_batch
from bitrow.pipeline.memory import Access, Layout
from bitrow.pipeline.row_regions import Geometry, gradient_margin, row_words
from bitrow.pipeline.row_task import Now, Reads
from bitrow.pipeline.stages import Head, Stage, gradient_edges


class Backward:
    """The backward tasks of every stage."""

    def __init__(self, geometry: Geometry, layout: Layout) -> None:
        self.geometry, self.layout = geometry, layout

    # Chain: the readers' gradients summed, then back to the head's output and to the skips.

    def chain_reads(self, stage: Stage, row: int) -> Iterator[Access]:
        for edge in gradient_edges(self.geometry.stages, stage.index):
            yield Access(("gradient", edge.index), row)
        for place, node in reversed(list(enumerate(stage.chain))):
            if isinstance(node.config, ReluConfig):
                yield Access((f"relu{place}", stage.index), row)
        if stage.kind is Head.BATCH_NORM:
            yield Access(("edge", stage.edges[0].index), row)

    def chain_writes(self, stage: Stage, row: int) -> Iterator[Access]:
        for edge in reversed(stage.edges[1:]):
            yield Access(("gradient", edge.index), row)
        if stage.kind is Head.SOURCE:
            yield Access(("dx", 0), row)
        elif stage.head is None:
            yield Access(("gradient", stage.edges[0].index), row)
        else:
            yield Access(("dy", stage.index), row)
        if stage.kind is Head.BATCH_NORM:
            yield Access(("t1", stage.index), row)
            yield Access(("t2", stage.index), row)

    def chain(self, stage: Stage, now: Now, reads: Reads) -> Iterator[Array]:
        dy = self._output_gradient(stage, now, reads)
        for place, node in reversed(list(enumerate(stage.chain))):
            match node.config:
                case BatchNormConfig() as config:
                    dy = batch_norm.backward_frozen(config, now.weights.wide[node.name], dy)
                case ReluConfig() as config:
                    mask = reads.row((f"relu{place}", stage.index)).astype(bool)
                    dy = activation.backward(config, mask, dy)
                case AddConfig():
                    yield dy
        yield self._ready(stage, now, dy)
        if stage.head and isinstance(stage.head.config, BatchNormConfig):
            config, shape = stage.head.config, (self.geometry.lanes, 1, *stage.out_shape[1:])
            y = reads.row(("edge", stage.edges[0].index))
            for sums in batch_norm.row_sums(config, dy.reshape(shape), y.reshape(shape), ("dzy", "t1", "t2")):
                yield softfloat.to_bits(sums, config.accumulator)

    def _output_gradient(self, stage: Stage, now: Now, reads: Reads) -> Array:
        edges = gradient_edges(self.geometry.stages, stage.index)
        if not edges:
            return now.host_rows(now.dlogits)
        gradients = [reads.row(("gradient", edge.index)) for edge in edges]
        return residual.accumulate(gradients, self.geometry.network.mode) if len(edges) > 1 else gradients[0]

    def _ready(self, stage: Stage, now: Now, dy: Array) -> Array:
        """dy as the head's backward rows read it: quantized for a convolution, else as it is."""
        if not (stage.head and isinstance(stage.head.config, ConvConfig)):
            return dy
        config, params = stage.head.config, now.weights.wide[stage.head.name]
        if config.dy_rounding is not QuantRounding.STOCHASTIC or config.gradient is Gradient.FP16:
            return conv.prepare_gradient(config, params, dy, 0)
        lanes = jnp.arange(self.geometry.lanes, dtype=jnp.uint32)
        image = now.image.astype(jnp.uint32)[:, None] * jnp.uint32(self.geometry.lanes) + lanes[None]
        rows = image * jnp.uint32(stage.out_shape[0]) + now.row.astype(jnp.uint32)[:, None]
        start = rows.reshape(-1) * jnp.uint32(row_words(stage.out_shape))
        return jax.vmap(lambda dy, start: conv.prepare_gradient(config, params, dy[None], start)[0])(dy, start)

    # Head: a row of the input's gradient.

    def head_reads(self, stage: Stage, row: int) -> Iterator[Access]:
        window, out_rows, dy = stage.window, stage.out_shape[0], ("dy", stage.index)

        def at(reach: int, step: int) -> int | None:
            return reach // step if reach % step == 0 and 0 <= reach // step < out_rows else None

        match stage.kind:
            case Head.CONV:
                first = row + window.padding - window.kernel + 1
                for k in range(window.kernel):
                    yield Access(dy, at(first + k, window.stride))
                yield Access(("mask", stage.edges[0].index), row)
            case Head.MAX_POOL:
                met = [at(row + window.padding - k, window.stride) for k in range(window.kernel)]
                yield from (Access(("index", stage.index), place) for place in met)
                yield from (Access(dy, place) for place in met)
            case Head.AVG_POOL:
                place = row // window.kernel
                yield Access(dy, place if place < out_rows else None)
            case Head.LINEAR:
                yield Access(dy, 0)
            case Head.BATCH_NORM:
                yield Access(dy, row)
                yield Access(("edge", stage.edges[0].index), row)
                yield Access(("statistics", stage.index), 0)
                yield Access(("coefficients", stage.index), 0)

    def head_writes(self, stage: Stage, row: int) -> Iterator[Access]:
        if stage.kind is Head.BATCH_NORM:
            yield Access(("coefficients", stage.index), 0)
        yield Access(("gradient", stage.edges[0].index), row)

    def head(self, stage: Stage, now: Now, reads: Reads) -> Iterator[Array]:
        assert stage.head
        w, out, dy = stage.in_shape[1], stage.out_shape[1:], ("dy", stage.index)
        match stage.head.config:
            case ConvConfig() as config:
                yield self._conv_gradient(stage, config, now, reads)
            case MaxPoolConfig() as config:
                present = [now.present[k].reshape(1, 1, 1, 1) for k in range(config.kernel)]
                index = [reads.take(("index", stage.index), 1, *out) for _ in present]
                gradients = [reads.take(dy, 1, *out) for _ in present]
                yield pool.max_gradient_rows(config, index, gradients, present, w)
            case AvgPoolConfig() as config:
                inside = reads.present()
                row, kw = reads.take(dy, 1, *out), config.kernel or w
                dx = pool.avg_gradient_rows(config, row, stage.window.kernel * kw, kw, w)
                yield jnp.where(inside, dx, jnp.float16(0))
            case LinearConfig() as config:
                row = reads.take(dy, *out).reshape(self.geometry.lanes, -1)
                dx = linear.backward(config, now.weights.params[stage.head.name], row)
                dx = dx.reshape(self.geometry.lanes, *stage.in_shape)
                yield lax.dynamic_slice_in_dim(dx, now.row[0], 1, axis=1)
            case BatchNormConfig() as config:
                yield from row_batch.gradient(self.geometry, self.layout, stage, config, now, reads)

    def _conv_gradient(self, stage: Stage, config: ConvConfig, now: Now, reads: Reads) -> Array:
        assert stage.head
        name, weights = stage.head.name, now.weights
        params, kernel_hw = weights.params[name], weights.params[name].weight_code.shape[:2]
        slab = reads.slab(("dy", stage.index), stage.window.kernel, stage.out_shape[2])
        mask = reads.take(("mask", stage.edges[0].index), 1, *stage.in_shape[1:]).astype(bool)
        low, high, dilation = mac.gradient_padding(
            stage.out_shape[:2], stage.in_shape[:2], kernel_hw, config.stride, config.padding
        )[1]
        margin = gradient_margin(stage)  # these columns are in the ring
        columns = (low - margin, high - margin, dilation)
        return conv.multiply_gradient(config, params, weights.gradient[name], slab, mask, ((0, 0, 0), columns))
