"""Tables of docs/pipeline.md that show the default machine: mappings, images at once, memory, weights, techniques.

`python -m bitrow.pipeline.page_tables` prints them; standard library and numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from bitrow import zoo
from bitrow.markdown import table
from bitrow.pipeline import ablate
from bitrow.pipeline.ablate import NETWORKS
from bitrow.pipeline.cost import Scope, total_area
from bitrow.pipeline.cost_tables import Range
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, Mapping, WeightMemory
from bitrow.pipeline.memory_size import FULL_MAPS, LAYERS, MemorySize, memory_size
from bitrow.pipeline.policies import SchedulePolicy, layer_by_layer, row_pipelined_overlap
from bitrow.pipeline.reach import every_layer
from bitrow.pipeline.report import KB, Report, ratios, report
from bitrow.pipeline.schedule import schedule
from bitrow.terminal import put

Networks = Sequence[str]
TableRows = Iterator[Sequence[str]]
_IMAGES = 2


def _run(name: str, machine: Machine, policy: SchedulePolicy = row_pipelined_overlap) -> Report:
    network = zoo.build(name)
    run = schedule(network, machine, policy, _IMAGES, training=every_layer(network))
    return report(run, compare=False)


def _ends(bounds: Range, digits: int) -> str:
    return f"{bounds.low:.{digits}f}-{bounds.high:.{digits}f}"


def mappings(networks: Networks = NETWORKS) -> TableRows:
    """The default machine but for its mapping."""
    for name in networks:
        for mapping in Mapping:
            found = _run(name, replace(DEFAULT_MACHINE, mapping=mapping))
            yield (
                name, mapping.value, f"{found.cycles_per_image:,.0f}", f"{found.frames_per_second:,.1f}",
                f"{found.lanes_busy['macs']:.0%}", _ends(found.cost.tflops_per_watt[Scope.CHIP], 2),
            )  # fmt: skip


def at_once(networks: Networks = NETWORKS) -> TableRows:
    """Eight images, of which so many at once."""
    for name in networks:
        network = zoo.build(name)
        for many in (1, 2, 4):
            machine = replace(DEFAULT_MACHINE, images_at_once=many)
            run = schedule(network, machine, images=8, training=every_layer(network))
            found = report(run, compare=False)
            yield (
                name, str(many), f"{found.cycles_per_image:,.0f}", f"{found.frames_per_second:,.1f}",
                f"{found.lanes_busy['macs']:.0%}", f"{found.memory.total / KB:,.0f}",
                _ends(total_area(found.cost).times(1e-6), 2), _ends(found.cost.tflops_per_watt[Scope.CHIP], 2),
            )  # fmt: skip


def memory(networks: Networks = NETWORKS) -> TableRows:
    """KB that live, that are allocated and built, beside the baselines' and how many times as much these are."""
    for images in (1, 2):
        for name in networks:
            for training in (True, False):
                network = zoo.build(name)
                passes = every_layer(network) if training else False
                found = memory_size(schedule(network, images=images, training=passes), baselines=True)
                yield name, "both" if training else "forward", str(images), *_sizes(found)


def _sizes(found: MemorySize) -> Iterator[str]:
    live, layers = found.live, found.baselines[LAYERS]
    rings = found.rows - found.queue + found.saved
    yield from (f"{bits / KB:,.0f}" for bits in (live.rows, live.live, live.allocated, found.built, rings))
    times = ratios(found, layers)
    for bits, name in ((layers.rows, "rows"), (layers.live, "live"), (layers.allocated, "built")):
        yield f"{bits / KB:,.0f} ({times[name]:.2f}x)"
    full = found.baselines.get(FULL_MAPS)
    yield f"{full.live / KB:,.0f} ({ratios(found, full)['live']:.2f}x)" if full else ""


def weights(networks: Networks = NETWORKS) -> TableRows:
    """Weights on chip and in DRAM, by rows and layer by layer."""
    for name in networks:
        for policy, what in ((row_pipelined_overlap, "row pipeline"), (layer_by_layer, "layer by layer")):
            for place in WeightMemory:
                found = _run(name, replace(DEFAULT_MACHINE, weights=place), policy)
                moved = found.cost.counts.dram_weight_bits / KB / 1024 / _IMAGES
                yield (
                    name, what, place.value, f"{found.cycles_per_image:,.0f}", f"{found.frames_per_second:,.1f}",
                    f"{moved:.2f}", _ends(total_area(found.cost).times(1e-6), 2),
                    _ends(found.cost.tflops_per_watt[Scope.SYSTEM], 2), _ends(found.cost.gflops_per_mm2[Scope.CHIP], 0),
                )  # fmt: skip


def techniques(networks: Networks = NETWORKS) -> TableRows:
    """The paper's techniques on and off; what all runs have in common is left out."""
    for point in ablate.techniques(networks, images=_IMAGES):
        yield [text(point) for name, text in ablate.COLUMNS if name not in ("study", "lanes", "banks")]


TABLES: dict[str, Callable[[Networks], TableRows]] = {
    "network; mapping; cycles/image; frames/s; MAC lanes at work; TFLOPS/W": mappings,
    "network; images at once; cycles/image; frames/s; MAC lanes at work; buffers KB; mm2; TFLOPS/W": at_once,
    "network; passes; images; rows live; all live; in place; built; rings; layer by layer: rows live; all live; "
    "in place; full maps, live": memory,
    "network; pipeline; weights; cycles/image; frames/s; MB from DRAM/image; mm2; TFLOPS/W with DRAM; "
    "GFLOPS/mm2": weights,
    "network; batch norm; arithmetic; pipeline; cycles/image; frames/s; FXP busy; FP busy; MAC lanes at work; "
    "bank slowdown; buffers KB; TFLOPS/W; GFLOPS/mm2": techniques,
}

if __name__ == "__main__":
    for header, rows in TABLES.items():
        put([*table(header.split("; "), rows(NETWORKS)), ""])
