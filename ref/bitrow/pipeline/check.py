"""A schedule held against the whole-tensor model: every row of every layer, forward and backward, bit for bit.

The emulator runs the schedule's order in rings of the schedule's sizes, so a row read too early, or a slot
overwritten too soon, shows as wrong bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from bitrow import network as whole
from bitrow.errors import BitrowError
from bitrow.graph import Network
from bitrow.lookup import find_model
from bitrow.model_file import Model, Samples
from bitrow.parameters import Params
from bitrow.pipeline.buffers import BufferKey, Held, logits_tap
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


class WrittenRows(NamedTuple):
    """What the tasks of one kind wrote to a buffer: `rows` [tasks, lanes, words], as `held` has them, and the `image`
    and the `row` of each task, int32[tasks].
    """

    held: Held
    rows: np.ndarray
    image: np.ndarray
    row: np.ndarray


def model_for(schedule: Schedule, name: str, samples: Path | None = None) -> Model:
    """The named model, or file of one, with a sample for each of the run's images, again from the first.

    What a named network has none of is drawn. `samples`: images instead, a path as `images.read_samples`' is.

    Raises:
        BitrowError: no such model; a file that cannot be read.
    """
    height, width, _ = schedule.flow.network.input_shape
    model = find_model(name, (height, width), count=schedule.batch, images=samples)
    assert model.samples is not None
    place = np.arange(schedule.batch) % len(model.samples.images)
    return model._replace(samples=Samples(*(array[place] for array in model.samples)))


def check(schedule: Schedule, params: Params, x: Array, dlogits: Any = None) -> Checked:
    """Emulate the schedule on images x f16[n,h,w,c] (n a multiple of its images) and compare every tapped row.

    Raises:
        BitrowError: the first row that differs, of the first tap in the order of the dataflow: network, layer, tap,
            image, row, word of the row, both words.
    """
    return checked_rows(schedule, params, x, dlogits)[0]


def checked_rows(
    schedule: Schedule, params: Params, x: Array, dlogits: Any = None
) -> tuple[Checked, list[WrittenRows]]:
    """As `check`, with every row that was written, of buffers without taps, too.

    Raises:
        BitrowError: as `check`.
    """
    written = _emulated(schedule, params, x, dlogits)
    taps = _whole_tensor_taps(schedule, params, x, dlogits)
    places = {name: place for place, name in enumerate(_dataflow(schedule.flow.network))}
    compared = [one for one in written if one.held.tap in taps]
    for one in sorted(compared, key=lambda one: places[one.held.tap]):
        maps = taps[one.held.tap].reshape(x.shape[0], -1, one.rows.shape[2])  # a head's dx is flat
        _compare(schedule.flow.network.name, maps, one)
    return Checked(sum(one.rows[..., 0].size for one in compared), sum(one.rows.size for one in compared)), written


def _emulated(schedule: Schedule, params: Params, x: Array, dlogits: Any) -> list[WrittenRows]:
    lanes = x.shape[0] // schedule.images
    emulator = Emulator(
        schedule.flow.network,
        order_of(schedule),
        images=schedule.images,
        lanes=lanes,
        slots=slots_of(schedule),
        training=schedule.flow.training,
        record=True,
    )
    recorded = emulator(params, x, dlogits).rows
    assert recorded is not None
    stores = [np.asarray(store) for store in recorded]
    steps, order = emulator.steps, emulator.order
    found = []
    for (stage, phase), task in emulator.tasks.items():
        tasks = np.flatnonzero((order.stage == stage) & (order.phase == int(phase)))
        filled = dict.fromkeys(Store, 0)
        for access in task.program.writes:
            region = emulator.memory.regions[access.ring.key]
            place = filled[region.store] * steps.size[tasks] + steps.member[tasks]
            filled[region.store] += 1
            if len(tasks):  # the order may leave out gradients that nobody needs
                written = stores[region.store][steps.step[tasks], place]
                rows = written[:, :, region.lead : region.lead + region.words].reshape(len(tasks), lanes, -1)
                found.append(WrittenRows(access.ring, rows, order.image[tasks], order.row[tasks]))
    return found


_BACKWARD = ("dy_code", "dx")


def _dataflow(network: Network) -> list[str]:
    """Names of the compared taps in the order in which their values come about."""
    layers = [node.name for node in network.nodes]
    forward = [f"{node.name}/forward/{tap}" for node in network.nodes for tap in ("x_code", "mask", node.config.result)]
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


def _compare(network: str, maps: np.ndarray, written: WrittenRows) -> None:
    """maps `[n, rows, words]` of the whole tensor against rows as they were written."""
    rows, lanes = written.rows, written.rows.shape[1]
    images = written.image[:, None] * lanes + np.arange(lanes)
    wanted = maps[images, written.row[:, None]].reshape(rows.shape)
    word = np.dtype(f"u{rows.dtype.itemsize}")
    found, expected = (np.ascontiguousarray(v).astype(rows.dtype, copy=False).view(word) for v in (rows, wanted))
    if np.array_equal(found, expected):
        return
    task, lane, element = (int(i) for i in np.argwhere(found != expected)[0])
    raise BitrowError(
        f"{network} {written.held.tap}: image {int(images[task, lane])} row {int(written.row[task])} "
        f"word {element} of [w, c]: found {int(found[task, lane, element]):#x} by rows, "
        f"expected {int(expected[task, lane, element]):#x} of the whole tensor"
    )
