"""The row pipeline computing real rows: one `lax.scan` over row tasks, with the rings as its carry.

Every row is made by the layer functions that whole tensors use (`row_tasks`), so forward and backward rows must equal
the whole-tensor model bit for bit, provided that the order respects what each row waits for and that no ring is too
small. Memory is the rings and the saved masks; it does not grow with the maps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float16

from bitrow.errors import BitrowError
from bitrow.graph import Network, shapes
from bitrow.layers.table import layer
from bitrow.network import BatchNormGrad
from bitrow.outputs import split
from bitrow.parameters import Params, check_params
from bitrow.pipeline.buffers import BufferKey, Buffers
from bitrow.pipeline.memory import DTYPES, Order, Store, make_memory
from bitrow.pipeline.row_task import Geometry, Now, ReadyWeights, RunnableTask, Stores, at, make_weights, whole
from bitrow.pipeline.row_tasks import build_tasks
from bitrow.pipeline.stages import Phase, row_count, stages
from bitrow.pipeline.steps import Columns, make_steps


class Emulation(NamedTuple):
    """What a run returns, as the whole-tensor model does; `rows` are all stores' writes where recorded.

    `logits` f16[n, classes] of a head, else f16[n,h,w,c], by name where outputs are several;
    `dx` f16[n,h,w,c] and `grads` after a training run.
    """

    logits: Any
    dx: Array | None
    grads: dict[str, BatchNormGrad]
    rows: tuple[Array, ...] | None


class Emulator:
    """A network's row pipeline for `images` images in sequence, `lanes` of them side by side in each.

    Image n of a batch is lane `n % lanes` of image `n // lanes` of the order. `slots` gives the sizes of rings, by
    their names; a ring that it lacks keeps every row.
    `record` returns every written row, for checks. Compiling depends on the network, not on its rows.

    Raises:
        BitrowError: a ring of no slots, an order with unknown tasks, x or dlogits of another shape.
    """

    def __init__(
        self,
        network: Network,
        order: Order,
        *,
        images: int = 1,
        lanes: int = 1,
        slots: Mapping[BufferKey, int] | None = None,
        training: bool = True,
        record: bool = False,
    ) -> None:
        self.network, self.order, self.record = network, order, record
        self.geometry = Geometry(network, Buffers(stages(network), training), images, lanes)
        self.memory = make_memory(self.geometry.buffers, images, slots or {})
        self.tasks = build_tasks(self.geometry, self.memory)
        programs = {key: task.program for key, task in self.tasks.items()}
        pairable = {key for key, task in self.tasks.items() if task.pairs}
        self.steps = make_steps(self.memory, programs, order, pairable)
        self._run = jax.jit(self.program())
        self._weights = jax.jit(functools.partial(make_weights, self.geometry))

    @property
    def bytes(self) -> int:
        """Size of the stores."""
        return self.memory.bytes(self.geometry.lanes)

    def __call__(
        self,
        params: Params,
        x: Float16[Array, "n h w c"],
        dlogits: Any = None,
    ) -> Emulation:
        """Run the order on images x, and dlogits f16[n, ...] where it trains; of several outputs as `outputs.split`."""
        check_params(self.network, params)
        return self._run(*self.arguments(params, x, dlogits))

    def program(self) -> Callable[..., Emulation]:
        """The run as a pure function of `arguments`, to be jitted, lowered or timed by the caller."""
        return functools.partial(_run, self)

    def arguments(self, params: Params, x: Array, dlogits: Any = None) -> tuple[Any, ...]:
        """What `program` takes for these images, weights laid out for rows included."""
        return self._weights(dict(params)), *self._host_arrays(x, dlogits), self.steps.table

    def _host_arrays(self, x: Array, dlogits: Any) -> tuple[Array, dict[str, Array]]:
        geometry, sizes = self.geometry, shapes(self.network)
        count = geometry.images * geometry.lanes
        if x.dtype != jnp.float16 or x.shape != (count, *self.network.input_shape):
            raise BitrowError(
                f"{self.network.name} x: found {x.dtype}{list(x.shape)}, "
                f"expected float16{[count, *self.network.input_shape]}"
            )
        if dlogits is None:
            if geometry.training:
                raise BitrowError(f"{self.network.name} dlogits: found none, expected them for a training order")
            dlogits = {name: jnp.zeros((count, *sizes[name]), jnp.float16) for name in self.network.outputs}
        if not self.network.more_outputs and not isinstance(dlogits, Mapping):
            dlogits = {self.network.output: dlogits}
        parts = split(self.network, dlogits) if self.network.more_outputs else dlogits
        for name, part in parts.items():
            out = sizes[name]
            if part.dtype != jnp.float16 or part.size != count * out[0] * out[1] * out[2]:
                found = f"{self.network.name} dlogits: found {part.dtype}{list(part.shape)}"
                raise BitrowError(f"{found}, expected float16{[count, *out]}")
        lead = (geometry.images, geometry.lanes)
        given = {name: part.reshape(*lead, *sizes[name]) for name, part in parts.items()}
        return x.reshape(*lead, *self.network.input_shape), given


def _run(
    emulator: Emulator, weights: ReadyWeights, x: Array, dlogits: dict[str, Array], table: Array
) -> Emulation:
    geometry, memory, columns = emulator.geometry, emulator.memory, emulator.steps.columns

    def now(stores: Stores, step: Array, size: int) -> Now:
        return Now(stores, step, columns, size, weights, x, dlogits)

    branches = [_branch(emulator, emulator.tasks[line], size, now) for line, size in emulator.steps.programs]

    def step(stores: Stores, task: Array) -> tuple[Stores, tuple[Array, ...] | None]:
        written = lax.switch(task[Columns.PROGRAM], branches, stores, task)
        out = []
        for store, rows, places in zip(stores, written, columns.writes, strict=True):
            for place, slot in enumerate(task[places]):
                # Outside the switch the scan updates its carry in place; inside, every branch would copy it.
                store = lax.dynamic_update_slice(store, rows[place : place + 1], at(slot, 0, 0))
            out.append(store)
        return tuple(out), (written if emulator.record else None)

    sizes = [(memory.used[store], geometry.lanes, memory.width[store]) for store in Store]
    empty = tuple(jnp.zeros(size, DTYPES[store]) for store, size in zip(Store, sizes, strict=True))
    stores, rows = lax.scan(step, empty, table)
    network, buffers = emulator.network, geometry.buffers
    found = {}
    for name, held in buffers.logits.items():
        words = whole(memory, stores, held.key)
        flat = layer(network.node(name).config).flat
        found[name] = words.reshape(words.shape[0], -1) if flat else words.reshape(-1, *shapes(network)[name])
    logits = found if network.more_outputs else found[network.output]
    if not geometry.training:
        return Emulation(logits, None, {}, rows)
    dx = whole(memory, stores, buffers.dx.key).reshape(-1, *network.input_shape)
    return Emulation(logits, dx, _trained(emulator, stores), rows)


def _branch(
    emulator: Emulator, task: RunnableTask, size: int, now_at: Callable[[Stores, Array, int], Now]
) -> Callable[[Stores, Array], tuple[Array, ...]]:
    """A task's code as a branch of the scan's switch: its rows, by store, as wide as the store."""
    geometry, memory, columns = emulator.geometry, emulator.memory, emulator.steps.columns

    def run(stores: Stores, step: Array) -> tuple[Array, ...]:
        now = now_at(stores, step, size)
        written = [
            jnp.zeros((places.stop - places.start, geometry.lanes, memory.width[store]), DTYPES[store])
            for store, places in zip(Store, columns.writes, strict=True)
        ]
        filled = dict.fromkeys(Store, 0)
        for access, row in zip(task.program.writes, task.body(now), strict=True):
            region = memory.regions[access.ring.key]
            # `zero` keeps the compiler from padding the row instead, which takes ten times as long.
            place = at(filled[region.store], 0, region.lead + now.zero)
            words = row.reshape(size, geometry.lanes, region.words)
            written[region.store] = lax.dynamic_update_slice(written[region.store], words, place)
            filled[region.store] += size
        return tuple(written)

    return run


def _trained(emulator: Emulator, stores: Stores) -> dict[str, BatchNormGrad]:
    """What layers make of their buffers at the end: gradients of parameters."""
    grads = {}
    for stage in emulator.geometry.buffers.stages:
        for place, (node, _, _) in enumerate(stage.sites):
            made, local = layer(node.config).rows.trained, emulator.geometry.buffers.local(stage, place)
            words = {name: functools.partial(whole, emulator.memory, stores, held.key) for name, held in local.items()}
            grad = made(node.config, words) if made else None
            if grad is not None:
                grads[node.name] = grad
    return grads


def layer_order(network: Network, images: int = 1, training: bool = True) -> Order:
    """The order that needs no pipeline: stage by stage, forward and then backward, the whole batch at a time.

    The reference of the tests, and a schedule for rings that keep every row.
    """
    parts = stages(network)
    lines = [(s, p) for s in parts for p in (Phase.FORWARD_HEAD, Phase.FORWARD_CHAIN)]
    if training:
        lines += [(s, p) for s in reversed(parts) for p in (Phase.BACKWARD_CHAIN, Phase.BACKWARD_HEAD)]
    found = [
        (stage.index, int(phase), image, row)
        for stage, phase in lines
        for image in range(images)
        for row in range(row_count(stage, phase))
    ]
    return Order(*np.array(found, np.int32).T)
