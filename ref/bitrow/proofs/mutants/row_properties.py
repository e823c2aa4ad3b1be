"""Properties of the row pipeline, by counting: every read finds its row, every row lies in the bank that is booked."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np

from bitrow.config import AddConfig, BatchNormConfig, ConvConfig, ReluConfig
from bitrow.config.windows import both, sides
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.model_file import Model
from bitrow.pipeline import banks, ring_sizes
from bitrow.pipeline.flow import dataflow
from bitrow.pipeline.machine import Machine
from bitrow.pipeline.memory import Memory, Store
from bitrow.pipeline.rings import RingKind, build_rings
from bitrow.pipeline.schedule import Schedule, schedule
from bitrow.proofs.mutants.properties import Property
from bitrow.synthetic import synthetic

_IMAGES = 2


def _network(rows: int) -> Network:
    """A strided convolution, then a residual block: windows, a skip, gradients of two consumers."""
    conv, size = ConvConfig(padding=1), ConvSize(3, 3, 4)
    nodes = (
        Node("first", ConvConfig(stride=2, padding=1), (INPUT,), size),
        Node("relu", ReluConfig(), ("first",)),
        Node("second", conv, ("relu",), size),
        Node("norm", BatchNormConfig(), ("second",)),
        Node("third", conv, ("norm",), size),
        Node("add", AddConfig(), ("third", "relu")),
    )
    return Network("block", (rows, 6, 3), nodes, "add")


def _scheduled() -> Schedule:
    return schedule(_network(33), images=_IMAGES)


def _memory(found: Schedule) -> Memory:
    """A region for every ring, of the schedule's slots; the words of a row do not matter here."""
    sizes = {ring.name: found.slots[ring.index] for ring in found.rings if found.slots[ring.index]}
    memory = Memory(found.images, sizes)
    for ring in found.rings:
        memory.add(ring.name, Store.HALF, ring.rows, 1)
    return memory


def reads_find_their_rows() -> str | None:
    """The schedule's tasks in their order: what lies in every slot that one reads is the row that it means."""
    found = _scheduled()
    memory = _memory(found)
    regions = [memory.regions[ring.name] for ring in found.rings]
    held: dict[tuple[int, int], tuple[int, int]] = {}
    for line, image, row in zip(found.line.tolist(), found.image.tolist(), found.row.tolist(), strict=True):
        for ring in found.rings:
            for reader in ring.readers:
                for wanted in range(int(reader.first[row]), int(reader.last[row]) + 1) if reader.line == line else ():
                    slot = regions[ring.index].slot(image, wanted)
                    if held.get((ring.index, slot)) != (image, wanted):
                        lies = held.get((ring.index, slot), "nothing")
                        where = f"image {image} row {row} of line {line}, ring {ring.name} slot {slot}"
                        return f"{where}: found {lies}, expected {(image, wanted)}"
        for ring in found.rings:
            if ring.writer == line:
                held[ring.index, regions[ring.index].slot(image, row // ring.per)] = (image, row // ring.per)
    return None


def windows_read_their_rows() -> str | None:
    """A convolution's row i reads the rows iS-P to iS-P+K-1 that its input has, and each as long as it lies there."""
    flow = dataflow(_network(33))
    machine = Machine()
    for ring in build_rings(flow, machine):
        stage = flow.stages[ring.stage]
        if ring.kind is not RingKind.INPUT or stage.head is None or not isinstance(stage.head.config, ConvConfig):
            continue
        config, size = stage.head.config, stage.head.size
        assert isinstance(size, ConvSize)
        for i, (first, last) in enumerate(zip(ring.readers[0].first, ring.readers[0].last, strict=True)):
            top = i * both(config.stride)[0] - sides(config.padding)[0]
            inside = [row for row in range(top, top + size.kh) if 0 <= row < ring.rows]
            if [first, last] != [inside[0], inside[-1]]:
                return f"ring {ring.name} row {i}: found rows {first} to {last}, expected {inside[0]} to {inside[-1]}"
    return None


def windows_need_k_plus_s_banks() -> str | None:
    """K rows read while S arrive meet in no bank if and only if there are K + S of them, one port each."""
    for kernel, stride, count in np.ndindex(7, 3, 12):
        k, s, many = kernel + 1, stride + 1, count + 1
        for slots in (k + s, 0):
            free = not banks.window_clashes(k, s, slots, many)
            if free != (many >= k + s):
                return f"K={k} S={s}, {many} banks, {slots} slots: found {'no ' * free}clashes, expected otherwise"
    return None


def _touched(found: Schedule) -> Iterable[tuple[int, np.ndarray]]:
    for line, accesses in enumerate(banks.accesses(found.flow, found.rings)):
        if accesses:
            yield line, banks.touched_banks(accesses, found.slots, found.layout, found.images)


def rows_lie_in_the_banks_they_fill() -> str | None:
    """The words that each bank must have are those of the slots that tasks write there."""
    found = schedule(_network(33), Machine(bank_width=32), images=_IMAGES)
    homes: dict[tuple[int, int], int] = {}
    for accesses in banks.accesses(found.flow, found.rings):
        for access in accesses:
            if access.write:
                touched = banks.touched_banks([access], found.slots, found.layout, found.images)
                for place, bank in enumerate(touched[:, 0].tolist()):
                    image, row = divmod(place, len(access.rows))
                    slot = (image * access.ring.rows + int(access.rows[row, 0])) % found.slots[access.ring.index]
                    home = homes.setdefault((access.ring.index, slot), bank)
                    if home != bank:
                        return f"ring {access.ring.name} slot {slot}: found bank {bank}, expected {home} as before"
    expected = np.zeros(found.layout.total, np.int64)
    for (ring, _), bank in homes.items():
        expected[bank] += -(-found.rings[ring].row_bits // 32)
    words = banks.bank_words(found.rings, found.slots, found.layout, found.machine)
    if not np.array_equal(words, expected):
        bank = int(np.flatnonzero(words != expected)[0])
        return f"bank {bank}: found {words[bank]} words, expected {expected[bank]}"
    return None


def windows_lie_in_banks_of_their_own() -> str | None:
    """With as many banks as a window has rows for each ring, no task waits for a bank that it takes itself."""
    machine = Machine(shared=False, banks=8, fxp_lanes=128, dequantizer_lanes=64, fp_mul_lanes=64, fp_add_lanes=64)
    found = schedule(_network(33), machine, images=_IMAGES)
    for line, touched in _touched(found):
        most = int(banks.most_on_a_bank(touched).max())
        if most > 1:
            return f"line {line}: found {most} rows of a task in one bank, expected 1"
    return None


def ring_sizes_are_found() -> str | None:
    """Slots by formula equal the most rows that the balanced pipeline puts into a ring without end."""
    for size in ring_sizes.ring_sizes(_network(65), images=_IMAGES):
        if size.found != size.formula and size.ring.rows >= 2 * size.formula + 8:
            return f"ring {size.ring.name}: found {size.formula} slots by formula, expected {size.found}"
    return None


@functools.cache
def _model() -> Model:
    """Two convolutions, with parameters and images."""
    conv, size = ConvConfig(padding=1), ConvSize(3, 3, 2)
    nodes = (
        Node("first", conv, (INPUT,), size),
        Node("relu", ReluConfig(), ("first",)),
        Node("second", ConvConfig(stride=2, padding=1), ("relu",), size),
    )
    return synthetic(Network("chain", (14, 3, 2), nodes, "second"), 1, _IMAGES)


def emulated_rows_equal_whole_tensors() -> str | None:
    """The pipeline's own check: rows computed in the schedule's order and rings, bit for bit those of whole tensors."""
    import jax.numpy as jnp

    from bitrow.pipeline.check import check

    model = _model()
    assert model.samples is not None
    found = schedule(model.network, images=_IMAGES, training=False)
    try:
        check(found, model.params, jnp.asarray(model.samples.images))
    except BitrowError as error:
        return str(error)
    return None


ROW_PROPERTIES = (
    Property("reads_find_their_rows", "every read of a schedule finds its row in its ring", "C1",
             reads_find_their_rows),
    Property("windows_read_their_rows", "a window reads the rows of its input that it covers", "C1",
             windows_read_their_rows),
    Property("windows_need_k_plus_s_banks", "banks r mod B are free of conflicts if and only if B >= K+S", "C1",
             windows_need_k_plus_s_banks),
    Property("rows_lie_in_the_banks_they_fill", "banks hold the words of the slots that lie in them", "C1",
             rows_lie_in_the_banks_they_fill),
    Property("windows_lie_in_banks_of_their_own", "the rows of a window lie in different banks", "C1",
             windows_lie_in_banks_of_their_own),
    Property("ring_sizes_are_found", "ring sizes by formula are the peaks of the balanced pipeline", "C1",
             ring_sizes_are_found),
    Property("emulated_rows_equal_whole_tensors", "rows emulated in a schedule's rings have whole tensors' bits", "C1",
             emulated_rows_equal_whole_tensors),
)  # fmt: skip
