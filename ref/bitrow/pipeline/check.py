"""A schedule held against the whole-tensor model: every row of every layer, forward and backward, bit for bit.

The emulator runs the schedule's order in rings of the schedule's sizes, so a row read too early, or a slot
overwritten too soon, shows as wrong bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from bitrow import network as whole
from bitrow.errors import BitrowError
from bitrow.graph import Network
from bitrow.parameters import Params
from bitrow.pipeline.buffers import BufferKey, logits_tap
from bitrow.pipeline.emulator import Emulator
from bitrow.pipeline.memory import Order, Store
from bitrow.pipeline.schedule import Schedule


class Checked(NamedTuple):
    """How much was compared: rows of named taps, and words in them."""

    rows: int
    words: int


def order_of(schedule: Schedule) -> Order:
    """The schedule's tasks in the order of their start."""
    columns = (schedule.stage, schedule.phase, schedule.image, schedule.row)
    return Order(*(np.asarray(column, np.int32) for column in columns))


def slots_of(schedule: Schedule) -> dict[BufferKey, int]:
    """The sizes of the schedule's rings by name; an unbounded ring keeps every row."""
    return {ring.name: slots for ring, slots in zip(schedule.rings, schedule.slots, strict=True) if slots}


def check(schedule: Schedule, params: Params, x: Array, dlogits: Any = None) -> Checked:
    """Emulate the schedule on images x f16[n,h,w,c] (n a multiple of its images) and compare every tapped row.

    Raises:
        BitrowError: the first row that differs, of the first tap in the order of the dataflow: network, layer, tap,
            image, row, word of the row, both words.
    """
    network, training = schedule.flow.network, schedule.flow.training
    lanes = x.shape[0] // schedule.images
    emulator = Emulator(
        network,
        order_of(schedule),
        images=schedule.images,
        lanes=lanes,
        slots=slots_of(schedule),
        training=training,
        record=True,
    )
    result = emulator(params, x, dlogits)
    taps = _whole_tensor_taps(schedule, params, x, dlogits)
    assert result.rows is not None
    places = {name: place for place, name in enumerate(_dataflow(network))}
    written_rows: list[tuple[str, np.ndarray, np.ndarray]] = []
    steps = emulator.steps
    for (stage, phase), task in emulator.tasks.items():
        tasks = np.flatnonzero((emulator.order.stage == stage) & (emulator.order.phase == int(phase)))
        filled = dict.fromkeys(Store, 0)
        for access in task.program.writes:
            region, name = emulator.memory.regions[access.ring.key], access.ring.tap
            place = filled[region.store] * steps.size[tasks] + steps.member[tasks]
            filled[region.store] += 1
            if name not in taps or not len(tasks):  # the order may leave out gradients that nobody needs
                continue
            written = np.asarray(result.rows[region.store])[steps.step[tasks], place]
            rows = written[:, :, region.lead : region.lead + region.words]
            written_rows.append((name, rows.reshape(len(tasks), lanes, -1), tasks))
    for name, rows, tasks in sorted(written_rows, key=lambda one: places[one[0]]):
        maps = taps[name].reshape(x.shape[0], -1, rows.shape[2])  # a head's dx is flat
        _compare(emulator, name, maps, rows, tasks)
    count = sum(len(tasks) * lanes for _, _, tasks in written_rows)
    return Checked(count, sum(rows.size for _, rows, _ in written_rows))


_FORWARD, _BACKWARD = ("x_code", "mask", "y"), ("dy_code", "dx")


def _dataflow(network: Network) -> list[str]:
    """Names of the compared taps in the order in which their values come about."""
    layers = [node.name for node in network.nodes]
    forward = [f"{layer}/forward/{tap}" for layer in layers for tap in _FORWARD]
    ends = [logits_tap(name, len(network.outputs)) for name in network.outputs]
    return [*forward, *ends, *(f"{layer}/backward/{tap}" for layer in reversed(layers) for tap in _BACKWARD), "dx"]


def _whole_tensor_taps(schedule: Schedule, params: Params, x: Array, dlogits: Any) -> Mapping[str, np.ndarray]:
    network = schedule.flow.network
    wanted = set(_dataflow(network))

    def run(params: Params, x: Array, dlogits: Any) -> dict[str, Array]:
        taps: dict[str, Array] = {}

        def keep(name: str, value: Array) -> None:
            if name in wanted:
                taps[name] = value

        logits, saved = whole.forward(network, params, x, keep)
        found = logits if network.more_outputs else {network.output: logits}
        taps.update({logits_tap(name, len(network.outputs)): y for name, y in found.items()})
        if dlogits is not None and schedule.flow.training:
            dx, _ = whole.backward(network, params, saved, dlogits, keep)
            assert dx is not None
            taps["dx"] = dx
        return taps

    taps = jax.jit(run)(dict(params), x, dlogits)
    return {name: np.asarray(value) for name, value in taps.items()}


def _compare(emulator: Emulator, name: str, maps: np.ndarray, rows: np.ndarray, tasks: np.ndarray) -> None:
    """maps `[n, rows, words]` of the whole tensor against rows `[tasks, lanes, words]`."""
    lanes, order = emulator.geometry.lanes, emulator.order
    images = order.image[tasks][:, None] * lanes + np.arange(lanes)
    wanted = maps[images, order.row[tasks][:, None]].reshape(rows.shape)
    word = np.dtype(f"u{rows.dtype.itemsize}")
    found, expected = (np.ascontiguousarray(v).astype(rows.dtype, copy=False).view(word) for v in (rows, wanted))
    if np.array_equal(found, expected):
        return
    task, lane, element = (int(i) for i in np.argwhere(found != expected)[0])
    raise BitrowError(
        f"{emulator.network.name} {name}: image {int(images[task, lane])} row {int(order.row[tasks][task])} "
        f"word {element} of [w, c]: found {int(found[task, lane, element]):#x} by rows, "
        f"expected {int(expected[task, lane, element]):#x} of the whole tensor"
    )
