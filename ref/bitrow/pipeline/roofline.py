"""The rooflines of a run: what its lanes could do, and what each memory lets them do. Standard library only."""

from __future__ import annotations

from typing import NamedTuple

from bitrow.pipeline.cost import Counts
from bitrow.pipeline.machine import WeightMemory
from bitrow.pipeline.schedule import Schedule


class Roof(NamedTuple):
    """A memory's: `gbytes` it can move a second, `intensity` the operations for each byte that the run moves."""

    gbytes: float
    intensity: float

    @property
    def gops(self) -> float:
        """Giga-operations a second that the memory has bytes for."""
        return self.gbytes * self.intensity


class Roofline(NamedTuple):
    """Giga-operations a second: `peak` with every MAC lane at work, `achieved` in the run; `roofs` by memory."""

    peak: float
    achieved: float
    roofs: dict[str, Roof]

    @property
    def bound(self) -> float:
        """The lowest of the roofs."""
        return min(self.peak, *(roof.gops for roof in self.roofs.values()))


def roofline(found: Schedule, counts: Counts) -> Roofline:
    """Of the banks' ports, the host's input, and the weights' DRAM where there is one."""
    machine = found.machine
    giga = machine.clock_mhz * 1e-3  # cycles a nanosecond
    widths = {"banks": (found.layout.total * machine.ports * machine.bank_width, counts.bank_bits),
              "host": (machine.input_width, counts.host_bits)}  # fmt: skip
    if machine.weights is WeightMemory.DRAM:
        widths["DRAM weights"] = (machine.dram_width, counts.dram_weight_bits)
    roofs = {
        name: Roof(width / 8 * giga, counts.flops / (moved / 8)) for name, (width, moved) in widths.items() if moved
    }
    return Roofline(2 * machine.fxp_lanes * giga, counts.flops / found.cycles * giga, roofs)
