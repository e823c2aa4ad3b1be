"""How many slots a ring needs: cycles with K, K+1 and K+S slots against unbounded rings, and sizes found.

`python -m bitrow.pipeline.slot_table` prints the tables of docs/pipeline.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from bitrow import zoo
from bitrow.graph import Network
from bitrow.markdown import table
from bitrow.pipeline.ablate import NETWORKS
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, Mapping, RingRule
from bitrow.pipeline.policies import row_pipelined_overlap
from bitrow.pipeline.ring_sizes import balanced_spans, balanced_units, ring_sizes
from bitrow.pipeline.rings import RingKind
from bitrow.pipeline.schedule import schedule
from bitrow.terminal import put

IMAGES = 4
# Units of its own need a lane of each kind for each of up to 55 stages.
OWN_UNITS = Machine(
    name="own28", shared=False, fxp_lanes=4096, dequantizer_lanes=256, fp_mul_lanes=512, fp_add_lanes=512,
    input_width=256, mapping=Mapping.ROW,
)  # fmt: skip
_RULES = (RingRule.K, RingRule.K_PLUS_1, RingRule.K_PLUS_S)


class Slowdown(NamedTuple):
    """Cycles of a network with each rule of slots, over those with unbounded rings."""

    network: str
    input_size: int
    units: str
    passes: str
    cycles: int
    ratios: tuple[float, ...]


class Sizes(NamedTuple):
    """Rings of a network, and how many of them the balanced pipeline filled to exactly the formula's slots."""

    network: str
    input_size: int
    rings: int
    equal: int
    k_plus_s: int
    longer: int


def slowdown(network: Network, machine: Machine | None, *, training: bool, images: int = IMAGES) -> Slowdown:
    """Run a network with each rule; all images in flight, and ports enough, so that rings alone matter.

    Without a machine it is the balanced pipeline: every unit keeps exactly the pace of its input, and cycles are
    beats.
    """
    free = replace(machine or replace(DEFAULT_MACHINE, loss_latency=0), images_in_flight=images)
    policy, spans = (row_pipelined_overlap, None) if machine else (balanced_units, balanced_spans)

    def cycles(rule: RingRule) -> int:
        built = replace(free, ring_rule=rule)
        found = schedule(network, built, policy, images, training=training, book_banks=False, durations=spans)
        return found.cycles

    base = cycles(RingRule.UNBOUNDED)
    return Slowdown(
        network.name,
        network.input_shape[0],
        "balanced" if machine is None else "shared" if machine.shared else "own",
        "both" if training else "forward",
        base,
        tuple(cycles(rule) / base for rule in _RULES),
    )


def slowdowns(networks: Sequence[str] = NETWORKS) -> Iterator[Slowdown]:
    """The networks at their usual sizes: balanced, own and shared units, forward alone and with backward."""
    for machine in (None, OWN_UNITS, DEFAULT_MACHINE):
        for training in (False, True):
            for name in networks:
                yield slowdown(zoo.build(name), machine, training=training)


def sizes(networks: Sequence[str] = NETWORKS) -> Iterator[Sizes]:
    """Formula against finding for each network at its usual size."""
    for name in networks:
        network = zoo.build(name)
        found = ring_sizes(network)
        plain = [size for size in found if size.formula == size.ring.kernel + size.ring.stride]
        inputs = sum(size.ring.kind is RingKind.INPUT for size in plain)
        equal = sum(size.formula == size.found for size in found)
        yield Sizes(name, network.input_shape[0], len(found), equal, inputs, len(found) - len(plain))


def slowdown_markdown(rows: Sequence[Slowdown]) -> str:
    """The table of slowdowns as Markdown."""
    header = ("network", "input", "units", "passes", "cycles, unbounded", "K", "K+1", "K+S")
    lines = ((row.network, str(row.input_size), row.units, row.passes, f"{row.cycles:,}",
              *(f"{ratio:.4f}" for ratio in row.ratios)) for row in rows)  # fmt: skip
    return "\n".join(table(header, lines)) + "\n"


def sizes_markdown(rows: Sequence[Sizes]) -> str:
    """The table of sizes as Markdown."""
    header = ("network", "input", "rings", "found = formula", "input rings of K+S", "rings that also hold a lag")
    return "\n".join(table(header, (tuple(map(str, row)) for row in rows))) + "\n"


if __name__ == "__main__":
    put([*sizes_markdown(tuple(sizes())).splitlines(), "", *slowdown_markdown(tuple(slowdowns())).splitlines()])
