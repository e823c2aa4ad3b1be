"""What each kind of row task reads, computes and writes, by the same layer functions as whole tensors use.

A task's code takes its rows `[lanes, 1, w, c]` and returns the rows that it writes, in the order of its program's
accesses. Nothing here rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
from bitrow.formats import FP16, Gradient, QuantRounding
from bitrow.graph import Network, Node
from bitrow.layers import activation, batch_norm, conv, linear, pool, residual
from bitrow.ops import mac, reduce, softfloat
from bitrow.pipeline.memory import Access, Key, Layout, Program, Store
from bitrow.pipeline.stages import Edge, Head, Phase, Stage, gradient_edges, row_count

Stores = tuple[Array, ...]  # by Store


class Now(NamedTuple):
    """A task at run time: the stores, its slots, its place, and what the host gives."""

    stores: Stores
    reads: Array
    present: Array
    image: Array
    row: Array
    params: Mapping[str, Any]
    kernels: dict[str, mac.Kernel]
    gradient_kernels: dict[str, mac.Kernel]
    x: Array  # [images, lanes, h, w, c]
    dlogits: Array  # [images, lanes, oh, ow, c]


Body = Callable[[Now], list[Array]]


class Task(NamedTuple):
    """A program, its code, and which of the rows that the code returns is the task's own result (for checks)."""

    program: Program
    body: Body


@dataclass(frozen=True)
class Geometry:
    """What the tasks are built for: the network's stages, images in sequence, lanes beside each other."""

    network: Network
    stages: tuple[Stage, ...]
    images: int
    lanes: int
    training: bool

    def out_edges(self, stage: Stage) -> tuple[Edge, ...]:
        """Edges that read the stage's output, in the network's order."""
        return tuple(edge for reader in self.stages for edge in reader.edges if edge.producer == stage.index)

    def conv_reader(self, edge: Edge) -> Node | None:
        """The convolution that reads an edge as codes."""
        reader = self.stages[edge.consumer]
        return reader.head if reader.kind is Head.CONV and not edge.skip else None


def _words(shape: tuple[int, int, int]) -> int:
    return shape[1] * shape[2]


def add_regions(geometry: Geometry, layout: Layout) -> None:
    """Every ring and every saved map that the tasks use."""
    for stage in geometry.stages:
        _forward_regions(geometry, layout, stage)
        if geometry.training:
            _backward_regions(geometry, layout, stage)


def _forward_regions(geometry: Geometry, layout: Layout, stage: Stage) -> None:
    rows, words, index = stage.out_shape[0], _words(stage.out_shape), stage.index
    for edge in geometry.out_edges(stage):
        store = Store.CODE if geometry.conv_reader(edge) else Store.HALF
        layout.add(("edge", edge.index), store, rows, words)
    if not geometry.out_edges(stage):
        layout.add(("logits", 0), Store.HALF, rows, words)
    if stage.kind is Head.CONV:
        layout.add(("handoff", index), Store.HALF, rows, words)
    elif stage.kind is Head.AVG_POOL:
        layout.add(("sums", index), Store.WORD, rows, words)
    elif stage.kind is Head.BATCH_NORM:
        for name in ("r1", "r2"):
            layout.add((name, index), Store.WORD, rows, stage.out_shape[2])
        layout.slots = {**layout.slots, ("statistics", index): 1}
        layout.add(("statistics", index), Store.WORD, 1, 5 * stage.out_shape[2])


def _backward_regions(geometry: Geometry, layout: Layout, stage: Stage) -> None:
    rows, words, index = stage.out_shape[0], _words(stage.out_shape), stage.index
    for edge in geometry.out_edges(stage):
        layout.add(("gradient", edge.index), Store.HALF, rows, words)
        if geometry.conv_reader(edge):
            layout.add(("mask", edge.index), Store.BYTE, rows, words)
    for place, node in enumerate(stage.chain):
        if isinstance(node.config, ReluConfig):
            layout.add((f"relu{place}", index), Store.BYTE, rows, words)
    if stage.kind is Head.SOURCE:
        layout.add(("dx", 0), Store.HALF, rows, words)
    if stage.kind is Head.MAX_POOL:
        layout.add(("index", index), Store.BYTE, rows, words)
    if stage.kind is Head.BATCH_NORM:
        for name in ("t1", "t2"):
            layout.add((name, index), Store.WORD, rows, stage.out_shape[2])
        layout.slots = {**layout.slots, ("coefficients", index): 1}
        layout.add(("coefficients", index), Store.WORD, 1, 4 * stage.out_shape[2])
    if stage.head:
        layout.add(("dy", index), Store.CODE if _codes_gradient(stage) else Store.HALF, rows, words)


def _codes_gradient(stage: Stage) -> bool:
    config = stage.head.config if stage.head else None
    return isinstance(config, ConvConfig) and config.gradient is Gradient.FXP


class _Reads:
    """Takes a task's rows one after another, in the order of its program."""

    def __init__(self, now: Now, geometry: Geometry, layout: Layout) -> None:
        self._now, self._lanes, self._layout, self._place = now, geometry.lanes, layout, 0

    def take(self, key: Key, *shape: int) -> Array:
        """The next row, `[lanes, *shape]`, of the region `key`."""
        region = self._layout.regions[key]
        slot = self._now.reads[self._place]
        self._place += 1
        flat = lax.dynamic_slice(self._now.stores[region.store], (slot, 0), (1, self._lanes * region.words))
        return flat.reshape(self._lanes, *shape)

    def present(self) -> Array:
        """Whether the next row is there, and not a row of zeros."""
        return self._now.present[self._place]


def build_tasks(geometry: Geometry, layout: Layout) -> dict[tuple[int, Phase], Task]:
    """The tasks of every stage and phase."""
    build = _Build(geometry, layout)
    phases = list(Phase) if geometry.training else [Phase.FORWARD_HEAD, Phase.FORWARD_CHAIN]
    return {
        (stage.index, phase): build.task(stage, phase)
        for stage in geometry.stages
        for phase in phases
        if row_count(stage, phase)
    }


class _Build:
    def __init__(self, geometry: Geometry, layout: Layout) -> None:
        self.geometry, self.layout = geometry, layout

    def task(self, stage: Stage, phase: Phase) -> Task:
        parts = {
            Phase.FORWARD_HEAD: (self._head_reads, self._head_writes, self._head),
            Phase.FORWARD_CHAIN: (self._chain_reads, self._chain_writes, self._chain),
            Phase.BACKWARD_CHAIN: (self._back_chain_reads, self._back_chain_writes, self._back_chain),
            Phase.BACKWARD_HEAD: (self._back_head_reads, self._back_head_writes, self._back_head),
        }
        reads, writes, code = parts[phase]
        rows = range(row_count(stage, phase))
        program = Program(
            tuple(tuple(reads(stage, row)) for row in rows), tuple(tuple(writes(stage, row)) for row in rows)
        )
        return Task(program, lambda now: list(code(stage, now, _Reads(now, self.geometry, self.layout))))

    # Forward, head: a convolution's row, or a row added to an average pool's or a batch norm's sums.

    def _main(self, stage: Stage) -> Key:
        return "edge", stage.edges[0].index

    def _window(self, stage: Stage, row: int) -> Iterator[Access]:
        window = stage.window
        for k in range(window.kernel):
            at = row * window.stride - window.padding + k
            yield Access(self._main(stage), at if 0 <= at < stage.in_shape[0] else None)

    def _head_reads(self, stage: Stage, row: int) -> Iterator[Access]:
        if stage.kind is Head.CONV:
            yield from self._window(stage, row)
            return
        yield Access(self._main(stage), row)
        if stage.kind is Head.AVG_POOL:
            first = row % stage.window.kernel == 0
            yield Access(("sums", stage.index), None if first else row // stage.window.kernel)

    def _head_writes(self, stage: Stage, row: int) -> Iterator[Access]:
        if stage.kind is Head.CONV:
            yield Access(("handoff", stage.index), row)
        elif stage.kind is Head.AVG_POOL:
            yield Access(("sums", stage.index), row // stage.window.kernel)
        else:
            yield Access(("r1", stage.index), row)
            yield Access(("r2", stage.index), row)

    def _head(self, stage: Stage, now: Now, reads: _Reads) -> Iterator[Array]:
        assert stage.head
        _, w, c = stage.in_shape
        match stage.head.config:
            case ConvConfig() as config:
                slab = self._slab(stage, reads)
                columns = (config.padding, config.padding, 0)
                name = stage.head.name
                yield conv.multiply(config, now.params[name], now.kernels[name], slab, ((0, 0, 0), columns))
            case AvgPoolConfig() as config:
                row = reads.take(self._main(stage), 1, w, c)
                total = reads.take(("sums", stage.index), 1, *stage.out_shape[1:])
                added = pool.avg_row_sums(config, row, 1, config.kernel or w)[:, :, 0]
                yield softfloat.float32_bits(reduce.fp32_add(softfloat.bits_float32(total), added))
            case BatchNormConfig() as config:
                row = reads.take(self._main(stage), 1, w, c)
                for sums in batch_norm.row_sums(config, row, row):
                    yield softfloat.to_bits(sums, config.accumulator)

    def _slab(self, stage: Stage, reads: _Reads) -> Array:
        _, w, c = stage.in_shape
        rows = [reads.take(self._main(stage), 1, w, c) for _ in range(stage.window.kernel)]
        return jnp.concatenate(rows, axis=1)

    # Forward, chain: the head's result, batch norms, ReLUs and adds, then to every reader.

    def _chain_reads(self, stage: Stage, row: int) -> Iterator[Access]:
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

    def _chain_writes(self, stage: Stage, row: int) -> Iterator[Access]:
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

    def _chain(self, stage: Stage, now: Now, reads: _Reads) -> Iterator[Array]:
        z, kept = self._head_result(stage, now, reads)
        yield from kept
        skips = iter(stage.edges[1:])
        for node in stage.chain:
            match node.config:
                case BatchNormConfig() as config:
                    z = batch_norm.forward_frozen(config, _frozen(now, node), z)
                case ReluConfig() as config:
                    if self.geometry.training:
                        yield activation.passes(config, z).astype(jnp.uint8)
                    z = activation.forward(config, z)
                case AddConfig() as config:
                    z = residual.forward(config, z, reads.take(("edge", next(skips).index), *z.shape[1:]))
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
            code, mask = conv.quantize_input(reader.config, now.params[reader.name], z)
            yield code
            if self.geometry.training:
                yield mask.astype(jnp.uint8)

    def _head_result(self, stage: Stage, now: Now, reads: _Reads) -> tuple[Array, list[Array]]:
        """The row that enters the chain, and what the head itself keeps."""
        _, w, c = stage.in_shape
        if stage.kind is Head.SOURCE:
            image = lax.dynamic_index_in_dim(now.x, now.image, 0, keepdims=False)
            return lax.dynamic_slice_in_dim(image, now.row, 1, axis=1), []
        if stage.head is None:
            return reads.take(self._main(stage), 1, w, c), []
        match stage.head.config:
            case ConvConfig():
                return reads.take(("handoff", stage.index), 1, *stage.out_shape[1:]), []
            case AvgPoolConfig() as config:
                total = reads.take(("sums", stage.index), 1, *stage.out_shape[1:])
                return pool.avg_scale(config, total, stage.window.kernel * (config.kernel or w)), []
            case LinearConfig() as config:
                flat = self._slab(stage, reads).reshape(self.geometry.lanes, -1)
                y = linear.forward(config, now.params[stage.head.name], flat)
                return y[:, None, None, :], []
            case MaxPoolConfig() as config:
                present = lax.slice_in_dim(now.present, 0, config.kernel)
                columns = (config.padding, config.padding, 0)
                slab = self._slab(stage, reads)
                y, index = pool.max_rows(config, slab, present, ((0, 0, 0), columns))
                return y, [index] if self.geometry.training else []
            case BatchNormConfig() as config:
                return self._normalise(stage, config, now, reads)
        raise AssertionError(stage.head.config)

    def _normalise(
        self, stage: Stage, config: BatchNormConfig, now: Now, reads: _Reads
    ) -> tuple[Array, list[Array]]:
        """B2's second half: the first row of the batch turns the sums into statistics, the others reuse them."""
        assert stage.head
        y = reads.take(self._main(stage), 1, *stage.in_shape[1:])
        kept = reads.take(("statistics", stage.index), 5 * stage.out_shape[2])
        params = now.params[stage.head.name]
        assert isinstance(params, batch_norm.BatchParams)

        def compute() -> Array:
            r1, r2 = (self._all_sums(stage, config, now, name) for name in ("r1", "r2"))
            found = batch_norm.statistics(config, params, r1, r2, self._count(stage))
            return self._spread([found.mean, found.r, found.a, *map(softfloat.float16_bits, found[3:])])

        words = lax.cond((now.image == 0) & (now.row == 0), compute, lambda: kept)
        found = _statistics(words[0].reshape(5, -1))
        return batch_norm.affine(config, found.a16, found.b16, y), [words]

    def _count(self, stage: Stage) -> int:
        return self.geometry.images * self.geometry.lanes * stage.out_shape[0] * stage.out_shape[1]

    def _spread(self, vectors: list[Array]) -> Array:
        """Channel vectors side by side, the same in each lane."""
        flat = jnp.concatenate(vectors)
        return jnp.broadcast_to(flat, (self.geometry.lanes, flat.size))

    def _all_sums(self, stage: Stage, config: BatchNormConfig, now: Now, name: str) -> Array:
        """Row sums of the whole batch `[n, h, c]`, image n being image n // lanes, lane n % lanes."""
        geometry, region = self.geometry, self.layout.regions[name, stage.index]
        words = lax.slice(
            now.stores[Store.WORD],
            (region.base, 0),
            (region.base + region.slots, geometry.lanes * region.words),
        ).reshape(geometry.images, region.rows, geometry.lanes, region.words)
        rows = words.transpose(0, 2, 1, 3).reshape(-1, region.rows, region.words)
        return softfloat.from_bits(rows, config.accumulator)

    # Backward, chain: the readers' gradients summed, then back to the head's output and to the skips.

    def _back_chain_reads(self, stage: Stage, row: int) -> Iterator[Access]:
        for edge in gradient_edges(self.geometry.stages, stage.index):
            yield Access(("gradient", edge.index), row)
        for place, node in reversed(list(enumerate(stage.chain))):
            if isinstance(node.config, ReluConfig):
                yield Access((f"relu{place}", stage.index), row)
        if stage.kind is Head.BATCH_NORM:
            yield Access(self._main(stage), row)

    def _back_chain_writes(self, stage: Stage, row: int) -> Iterator[Access]:
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

    def _back_chain(self, stage: Stage, now: Now, reads: _Reads) -> Iterator[Array]:
        dy = self._output_gradient(stage, now, reads)
        for place, node in reversed(list(enumerate(stage.chain))):
            match node.config:
                case BatchNormConfig() as config:
                    dy = batch_norm.backward_frozen(config, _frozen(now, node), dy)
                case ReluConfig() as config:
                    mask = reads.take((f"relu{place}", stage.index), *dy.shape[1:]).astype(bool)
                    dy = activation.backward(config, mask, dy)
                case AddConfig():
                    yield dy
        yield self._ready(stage, now, dy)
        if stage.head and isinstance(stage.head.config, BatchNormConfig):
            config = stage.head.config
            y = reads.take(self._main(stage), *dy.shape[1:])
            for sums in batch_norm.row_sums(config, dy, y, ("dzy", "t1", "t2")):
                yield softfloat.to_bits(sums, config.accumulator)

    def _output_gradient(self, stage: Stage, now: Now, reads: _Reads) -> Array:
        edges = gradient_edges(self.geometry.stages, stage.index)
        if not edges:
            image = lax.dynamic_index_in_dim(now.dlogits, now.image, 0, keepdims=False)
            return lax.dynamic_slice_in_dim(image, now.row, 1, axis=1)
        shape = (1, *stage.out_shape[1:])
        gradients = [reads.take(("gradient", edge.index), *shape) for edge in edges]
        return residual.accumulate(gradients, self.geometry.network.mode) if len(edges) > 1 else gradients[0]

    def _ready(self, stage: Stage, now: Now, dy: Array) -> Array:
        """dy as the head's backward rows read it: quantized for a convolution, else as it is."""
        if not (stage.head and isinstance(stage.head.config, ConvConfig)):
            return dy
        config, params = stage.head.config, now.params[stage.head.name]
        if config.dy_rounding is not QuantRounding.STOCHASTIC or config.gradient is Gradient.FP16:
            return conv.prepare_gradient(config, params, dy, 0)
        lanes = jnp.arange(self.geometry.lanes, dtype=jnp.uint32)
        image = now.image.astype(jnp.uint32) * jnp.uint32(self.geometry.lanes) + lanes
        rows = image * jnp.uint32(stage.out_shape[0]) + now.row.astype(jnp.uint32)
        start = rows * jnp.uint32(_words(stage.out_shape))
        return jax.vmap(lambda dy, start: conv.prepare_gradient(config, params, dy[None], start)[0])(dy, start)

    # Backward, head: a row of the input's gradient.

    def _back_head_reads(self, stage: Stage, row: int) -> Iterator[Access]:
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
                yield Access(self._main(stage), row)
                yield Access(("statistics", stage.index), 0)
                yield Access(("coefficients", stage.index), 0)

    def _back_head_writes(self, stage: Stage, row: int) -> Iterator[Access]:
        if stage.kind is Head.BATCH_NORM:
            yield Access(("coefficients", stage.index), 0)
        yield Access(("gradient", stage.edges[0].index), row)

    def _back_head(self, stage: Stage, now: Now, reads: _Reads) -> Iterator[Array]:
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
                flat = reads.take(dy, *out).reshape(self.geometry.lanes, -1)
                dx = linear.backward(config, now.params[stage.head.name], flat)
                dx = dx.reshape(self.geometry.lanes, *stage.in_shape)
                yield lax.dynamic_slice_in_dim(dx, now.row, 1, axis=1)
            case BatchNormConfig() as config:
                yield from self._batch_gradient(stage, config, now, reads)

    def _conv_gradient(self, stage: Stage, config: ConvConfig, now: Now, reads: _Reads) -> Array:
        assert stage.head
        params, kernel = now.params[stage.head.name], now.gradient_kernels[stage.head.name]
        out, window = stage.out_shape[1:], stage.window
        slab = jnp.concatenate(
            [reads.take(("dy", stage.index), 1, *out) for _ in range(window.kernel)], axis=1
        )
        mask = reads.take(("mask", stage.edges[0].index), 1, *stage.in_shape[1:]).astype(bool)
        kernel_hw = (window.kernel, params.weight_code.shape[1])
        columns = mac.gradient_padding(
            stage.out_shape[:2], stage.in_shape[:2], kernel_hw, config.stride, config.padding
        )[1]
        return conv.multiply_gradient(config, params, kernel, slab, mask, ((0, 0, 0), columns))

    def _batch_gradient(
        self, stage: Stage, config: BatchNormConfig, now: Now, reads: _Reads
    ) -> Iterator[Array]:
        """B3's second half, as `_normalise` is B2's."""
        shape, channels = stage.out_shape[1:], stage.out_shape[2]
        dz = reads.take(("dy", stage.index), 1, *shape)
        y = reads.take(self._main(stage), 1, *shape)
        found = _statistics(reads.take(("statistics", stage.index), 5 * channels)[0].reshape(5, -1))
        kept = reads.take(("coefficients", stage.index), 4 * channels)

        def compute() -> Array:
            t1, t2 = (self._all_sums(stage, config, now, name) for name in ("t1", "t2"))
            made = batch_norm.gradient(config, found, t1, t2, self._count(stage))
            sums = [softfloat.to_bits(value, config.accumulator) for value in made[2:]]
            return self._spread([*map(softfloat.float16_bits, made[:2]), *sums])

        words = lax.cond((now.image == 0) & (now.row == 0), compute, lambda: kept)
        p16, q16 = (softfloat.from_bits(v, FP16) for v in words[0].reshape(4, -1)[:2])
        yield words
        yield batch_norm.gradient_rows(config, found.a16, p16, q16, dz, y)


def _frozen(now: Now, node: Node) -> batch_norm.FrozenParams:
    params = now.params[node.name]
    assert isinstance(params, batch_norm.FrozenParams)
    return params


def _statistics(words: Sequence[Array] | Array) -> batch_norm.Statistics:
    mean, r, a, a16, b16 = words
    return batch_norm.Statistics(mean, r, a, softfloat.bits_float16(a16), softfloat.bits_float16(b16))
