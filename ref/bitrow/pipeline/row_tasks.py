"""The row tasks of a network: every stage's four kinds, each a program of accesses and its code.

The code takes rows to the layers and back to the buffers that they declare, by the same layer functions as whole
tensors use. Nothing here rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jax import Array

from bitrow.config import LayerConfig
from bitrow.config.rows import Buffer, Phase
from bitrow.layers import residual
from bitrow.layers.rows import Rows, RowTask
from bitrow.layers.table import layer
from bitrow.pipeline.buffers import BufferKey, Held
from bitrow.pipeline.memory import Memory, TaskProgram
from bitrow.pipeline.row_task import Geometry, Now, Reads, RunnableTask
from bitrow.pipeline.stages import Stage, StageLayer, gradient_edges, row_count


def build_tasks(geometry: Geometry, memory: Memory) -> dict[tuple[int, Phase], RunnableTask]:
    """The tasks of every stage and phase."""
    return {
        (stage.index, phase): _task(geometry, memory, stage, phase)
        for stage in geometry.buffers.stages
        for phase in Phase
        if row_count(stage, phase) and (geometry.training or not phase.backward)
    }


def _task(geometry: Geometry, memory: Memory, stage: Stage, phase: Phase) -> RunnableTask:
    accesses = geometry.buffers.accesses(stage, phase)
    reads, writes = (tuple(one for one in accesses if one.write is write) for write in (False, True))
    program = TaskProgram(row_count(stage, phase), reads, writes)

    def body(now: Now) -> list[Array]:
        visit = _Visit(geometry, stage, phase, now, Reads(now, memory, program, geometry.lanes))
        visit.run()
        return [visit.written[access.ring.key] for access in writes]

    return RunnableTask(program, body, _pairs(geometry, stage, phase))


def _pairs(geometry: Geometry, stage: Stage, phase: Phase) -> bool:
    """Where two rows may be computed at once.

    Forward passes alone gain by it; with backward passes the program would double in size and be no faster. Behind a
    barrier a task reads more than its program says: the sums of all rows.
    """
    in_order = geometry.training or any(one.barrier for one in geometry.buffers.stages)
    alone = in_order or (stage.head and not layer(stage.head.config).rows.pairs)
    return not phase.backward and not alone


class _Visit:
    """A stage's tasks of one step: `written` gathers their rows by buffer."""

    def __init__(self, geometry: Geometry, stage: Stage, phase: Phase, now: Now, reads: Reads) -> None:
        self.geometry, self.buffers, self.stage, self.phase = geometry, geometry.buffers, stage, phase
        self.now, self.reads = now, reads
        self.written: dict[BufferKey, Array] = {}
        self.edges = {(edge.node, edge.operand): edge.index for edge in stage.edges}

    def run(self) -> None:
        match self.phase:
            case Phase.FORWARD_HEAD:
                rows, config, task = self._layer(0)
                self._keep_own(0, rows.head(config, task))
            case Phase.FORWARD_CHAIN:
                self._forward()
            case Phase.BACKWARD_CHAIN:
                self._backward()
            case Phase.BACKWARD_HEAD:
                rows, config, task = self._layer(0)
                *own, dx = rows.gradient(config, task)
                self._keep_own(0, own)
                self.written[self.buffers.gradient[self.stage.edges[0].index].key] = dx

    def _layer(self, place: int) -> tuple[Rows, LayerConfig, RowTask]:
        """A layer of the stage, and the step as it sees it."""
        node, where, _ = self.stage.sites[place]
        local, now, reads, geometry = self.buffers.local(self.stage, place), self.now, self.reads, self.geometry
        task = RowTask(
            now.weights[node.name], where, geometry.lanes, geometry.images, now.image, now.row, now.zero,
            taken=lambda name: reads.rows(local[name].key),
            present=lambda name: reads.present(local[name].key),
            whole=lambda name: reads.whole(local[name].key),
        )  # fmt: skip
        return layer(node.config).rows, node.config, task

    def _keep(self, declared: Iterable[Buffer], rows: Iterable[Array], held: Mapping[str, Held]) -> None:
        """Rows as a layer declares their buffers; a forward pass alone lacks those of the backward pass."""
        for buffer, row in zip(declared, rows, strict=True):
            if buffer.name in held:
                self.written[held[buffer.name].key] = row

    def _keep_own(self, place: int, rows: Iterable[Array]) -> None:
        declared = (buffer for buffer in self.stage.sites[place].plan.buffers if buffer.writer is self.phase)
        self._keep(declared, rows, self.buffers.local(self.stage, place))

    def _forward(self) -> None:
        z = self.now.host_rows(self.now.x) if self.stage.source else None
        for place, site in enumerate(self.stage.sites):
            rows, config, task = self._layer(place)
            z, kept = rows.forward(config, task, [] if site.plan.head else self._operands(site, z))
            self._keep_own(place, kept)
            z = RowTask.flat(z)
        assert z is not None
        self._keep_end(z)
        self._send(z)

    def _keep_end(self, row: Array) -> None:
        """A row that the host takes."""
        for held in self.buffers.ends[self.stage.index]:
            if held.buffer.writer is self.phase:
                self.written[held.key] = row

    def _send(self, z: Array) -> None:
        """The stage's row to its readers, as each holds it."""
        for edge in self.buffers.out_edges[self.stage.index]:
            reader, inputs = self.buffers.stages[edge.consumer], self.buffers.inputs[edge.index]
            if edge.skip or reader.head is None:
                self.written[inputs[0].key] = z
                continue
            config, ready = reader.head.config, self.now.weights[reader.head.name]
            found = layer(config).rows.encode(config, ready, z)
            self._keep(reader.plan.inputs, found, {held.buffer.name: held for held in inputs})

    def _operands(self, site: StageLayer, z: Array | None) -> list[Array]:
        """The chain's row so far, and those that come on edges of their own."""
        found = []
        for operand in range(len(site.node.inputs)):
            edge = self.edges.get((site.node.name, operand))
            row = z if edge is None else self.reads.rows(self.buffers.inputs[edge][0].key)[0]
            assert row is not None
            found.append(row)
        return found

    def _backward(self) -> None:
        dy = self._output_gradient()
        for place, site in reversed(list(enumerate(self.stage.sites))):
            rows, config, task = self._layer(place)
            found = rows.backward(config, task, dy)
            operands = 0 if site.plan.head else len(site.node.inputs)
            self._keep_own(place, found[operands:])
            for operand, row in enumerate(found[:operands]):
                edge = self.edges.get((site.node.name, operand))
                if edge is None:
                    dy = row
                else:
                    self.written[self.buffers.gradient[edge].key] = row
        self._keep_end(dy)

    def _output_gradient(self) -> Array:
        """The readers' gradients, summed (SPEC.md A5); the host's at the network's end."""
        edges = gradient_edges(self.buffers.stages, self.stage.index)
        if not edges:
            return self.now.host_rows(self.now.dlogits[self.stage.output])
        gradients = [self.reads.rows(self.buffers.gradient[edge.index].key)[0] for edge in edges]
        return residual.accumulate(gradients, self.geometry.network.mode) if len(edges) > 1 else gradients[0]
