"""On-chip memory of a run: what lives, what its banks take, what other ways of buffering would take.

Standard library and numpy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bitrow.graph import INPUT, shapes
from bitrow.pipeline import banks as banking
from bitrow.pipeline.lifetimes import pack, place
from bitrow.pipeline.machine import Packing
from bitrow.pipeline.occupancy import peak, peak_rows, row_lives
from bitrow.pipeline.policies import layer_by_layer
from bitrow.pipeline.rings import SAVED, RingKind
from bitrow.pipeline.schedule import Schedule, schedule, task_ids
from bitrow.pipeline.stages import Phase, Stage

PAPER_MEMORY_RATIO = 3.5  # "up to", against what the abstract does not say

LAYERS = "layer by layer"
FULL_MAPS = "full maps kept for training"
BASELINES = {
    LAYERS: "this machine with one layer at a time over whole maps, each of which has a place of its own from its "
    "first row's writing to its last row's reading (ping-pong where one makes the next); live: by rows",
    FULL_MAPS: "the same order, with the FP16 output of every layer in place of codes and masks, kept until the "
    "backward passes of its layer and of its readers are done",
}


class Footprint(NamedTuple):
    """Bits of a way of buffering: the most that lives at once, of `rows` that are no longer needed after their pass, of
    what is `saved` for the backward pass, of both; and what memory is `allocated`.
    """

    rows: int
    saved: int
    live: int
    allocated: int


class MemorySize(NamedTuple):
    """Bits on chip, weights apart.

    `rows`, `saved`: rings with slots of their own, what is kept for the backward pass apart (of unbounded rings the
    most that they held); `queue`: the queues from FXP to FP array, among `rows`. `live`: this run's rows by their
    lifetimes; its `allocated` is what the banks need if rows of all rings share them over time. `built`: what equal
    banks must offer, as the machine's `packing` has it; layer by layer, maps lie in one memory. `baselines` by name,
    where they were asked for.
    """

    rows: int
    saved: int
    queue: int
    live: Footprint
    built: int
    baselines: dict[str, Footprint]

    @property
    def total(self) -> int:
        """What is built, with the queues."""
        return self.built + self.queue


def memory_size(found: Schedule, *, baselines: bool = False) -> MemorySize:
    """Bits of a run's buffers; `baselines` runs the same machine layer by layer, too.

    Raises:
        BitrowError: banks of a given depth that are not deep enough for what shares them, or for unbounded rings.
    """
    rows = saved = 0
    for ring, many in zip(found.rings, _slots(found), strict=True):
        bits = ring.row_bits * many
        if ring.kind in SAVED:
            saved += bits
        elif ring.banked or found.plan.whole_maps:
            rows += bits
    queue = queue_bits(found)
    others = _baselines(found) if baselines else {}
    live, depth = _live(found)
    return MemorySize(rows + queue, saved, queue, live, _built(found, depth), others)


def built_bits(found: Schedule) -> tuple[int, int]:
    """`built` of `MemorySize`, and its `total`.

    Raises:
        BitrowError: as `memory_size`.
    """
    built = _built(found, None)
    return built, built + queue_bits(found)


def _built(found: Schedule, depth: np.ndarray | None) -> int:
    """Bits of the banks, each `depth` words deep where rows share them over time; None: yet to be found."""
    width, maps = found.machine.bank_width, found.plan.whole_maps
    if found.machine.packing is Packing.RINGS and not maps:
        depth = banking.bank_words(found.rings, _slots(found), found.layout, found.machine)
    elif depth is None:
        depth = pack(found).depth
    if maps:
        return int(depth.sum()) * width
    banking.check_depth(depth, found.machine)
    return int(depth.max()) * width * len(depth) if found.machine.shared else int(depth.sum()) * width


def _slots(found: Schedule) -> list[int]:
    """Slots of every ring, of unbounded ones the rows that they held."""
    return [many or peak_rows(found, ring) for ring, many in zip(found.rings, found.slots, strict=True)]


def queue_bits(found: Schedule) -> int:
    """Bits of the queues from FXP to FP array; of the one for all stages: its rows, each as long as the longest."""
    if found.plan.one_queue:
        longest = max((ring.row_bits for ring in found.rings if ring.queued), default=0)
        return longest * found.machine.handoff_rows
    if found.plan.whole_maps:
        return 0
    rings = zip(found.rings, _slots(found), strict=True)
    return sum(ring.row_bits * many for ring, many in rings if not ring.banked)


def _live(found: Schedule) -> tuple[Footprint, np.ndarray]:
    """What lives by rows, and the words of each bank that the packing takes."""
    rows, _, depth = pack(found)
    allocated = int(depth.sum()) * found.machine.bank_width
    peaks = (rows.of(found, saved=False).live, rows.of(found, saved=True).live, rows.live)
    return Footprint(*peaks, allocated), depth


def by_layers(found: Schedule) -> Schedule:
    """The run on the same machine layer by layer, of which the baselines are."""
    if found.plan.whole_maps:
        return found
    flow = found.flow
    return schedule(flow.network, found.machine, layer_by_layer, found.batch, training=flow.trained)


def _baselines(found: Schedule) -> dict[str, Footprint]:
    run = by_layers(found)
    made = {LAYERS: _live(run)[0]}
    if run.flow.training:
        made[FULL_MAPS] = _footprint(full_maps(run))
    return made


class KeptMap(NamedTuple):
    """A map of an image where all outputs are kept, `saved`, or a map of gradients: its bits, the first one's
    `address`, and the cycles from which and to which it lies there.
    """

    name: str
    kind: str
    saved: bool
    image: int
    bits: int
    born: int
    dies: int
    address: int = 0


def full_maps(run: Schedule) -> list[KeptMap]:
    """Of a run layer by layer: gradients as they are, and all outputs for as long as the backward pass needs them."""
    found = []
    for ring in run.rings:
        if ring.kind in (RingKind.GRADIENT, RingKind.DY):
            lives, bits = row_lives(run, ring), ring.row_bits * ring.rows
            born = lives.born.reshape(run.images, -1).min(axis=1).tolist()
            dies = lives.dies.reshape(run.images, -1).max(axis=1).tolist()
            found += [
                KeptMap(ring.name, ring.kind.value, False, image, bits, born[image], dies[image])
                for image in range(run.images)
            ]
    for value, bits in _outputs(run):
        for image in range(run.images):
            found.append(KeptMap(value, "outputs", True, image, bits, *_output_life(run, value, image)))
    born, dies, bits = np.array([(one.born, one.dies, one.bits) for one in found], np.int64).T
    address = place(born, dies, bits)
    return [one._replace(address=int(at)) for one, at in zip(found, address, strict=True)]


def _footprint(maps: list[KeptMap]) -> Footprint:
    def most(blocks: list[KeptMap]) -> int:
        lives = [(one.born, one.dies, one.bits) for one in blocks]
        return peak(*np.array(lives, np.int64).reshape(-1, 3).T)

    passing, kept = ([one for one in maps if one.saved == saved] for saved in (False, True))
    return Footprint(most(passing), most(kept), most(maps), max(one.address + one.bits for one in maps))


def _outputs(run: Schedule) -> list[tuple[str, int]]:
    """Every value of the network, with the bits of its FP16 map of the images at once."""
    word = 16 * run.machine.images_at_once
    return [(value, word * h * w * c) for value, (h, w, c) in shapes(run.flow.network).items()]


def _output_life(run: Schedule, value: str, image: int) -> tuple[int, int]:
    """Cycles from the first row of a value to the end of the last task that needs it: of its own stage and of those
    that read it.
    """
    flow = run.flow
    maker, first = _maker(flow.stages, value)
    users = [maker, *(edge.consumer for stage in flow.stages for edge in stage.edges if edge.value == value)]
    born = _ends(run, flow.line(maker, first), image)[0]
    lines = [flow.line(stage, phase) for stage in users for phase in Phase]
    return born, max(_ends(run, line, image)[1] for line in lines if line >= 0)


def _maker(stages: tuple[Stage, ...], value: str) -> tuple[int, Phase]:
    """The stage that makes a value, and in which of its tasks."""
    for stage in stages:
        if value == INPUT or any(site.node.name == value for site in stage.sites):
            head = stage.head is not None and stage.head.name == value and stage.hands_off
            return stage.index, Phase.FORWARD_HEAD if head else Phase.FORWARD_CHAIN
    raise AssertionError(value)


def _ends(run: Schedule, line: int, image: int) -> tuple[int, int]:
    """Start of a line's first task of an image, and end of its last."""
    rows = run.flow.lines[line].rows
    mine = run.task_of[task_ids(run.grid, line, image, np.array([0, rows - 1]))]
    return int(run.start[mine[0]]), int(run.end[mine[1]])
