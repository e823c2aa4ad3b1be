"""Energy and area of a run, from tables of what one operation costs (ranges, with their sources).

Computed: how often each operation happens, how many bits each memory moves, how many units there are. Assumed: what
one of each costs, from published 45 nm figures scaled to 28 nm. Nothing is fitted to the paper's results. Leakage,
clock tree, control and interconnect are in no table, so energies are lower bounds of a real chip's and efficiencies
upper bounds. Standard library and numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bitrow.graph import INPUT
from bitrow.pipeline import banks as banking
from bitrow.pipeline.flow import Flow, TaskLine
from bitrow.pipeline.machine import Mac, Machine
from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.stages import Phase, Stage
from bitrow.pipeline.work import is_fxp, line_work, read_passes

PAPER_TFLOPS_PER_WATT = 2.19
PAPER_GFLOPS_PER_MM2 = 85.32


class Range(NamedTuple):
    """A figure between two bounds."""

    low: float
    high: float

    def times(self, count: float) -> Range:
        return Range(self.low * count, self.high * count)

    def plus(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)


class Figure(NamedTuple):
    """What one operation costs, and where the figure is from."""

    cost: Range
    source: str


HOROWITZ = "Horowitz, ISSCC 2014, 45 nm"
SCALING = "scaled to 28 nm by 0.51 to 0.64 (Stillmaker and Baas 2017; 28 nm is not a native node of theirs)"
AREA_SCALING = "area scaled by 0.38 (Stillmaker and Baas 2017)"

ENERGY_PJ: dict[str, Figure] = {
    "fxp_mac": Figure(
        Range(0.06, 0.07), f"INT4 product, 20-bit accumulator, from int8 of {HOROWITZ}; {SCALING}"
    ),
    "fp16_mac": Figure(Range(0.76, 0.96), f"FP16 multiply and add, {HOROWITZ}; {SCALING}"),
    "dequantize": Figure(Range(0.56, 0.70), f"assumed: as an FP16 multiply, {HOROWITZ}; {SCALING}"),
    "fp_mul": Figure(Range(0.56, 0.70), f"FP16 multiply, {HOROWITZ}; {SCALING}"),
    "fp_add": Figure(Range(0.20, 0.26), f"FP16 add, {HOROWITZ}; {SCALING}"),
    "fp32_add": Figure(Range(0.46, 0.58), f"FP32 add, {HOROWITZ}; {SCALING}"),
    "dram_bit": Figure(Range(1300 / 64, 2600 / 64), f"DRAM, 64 bits, {HOROWITZ}; not scaled"),
}
_SRAM_64_BITS_PJ_45NM = ((8192, 10.0), (32768, 20.0), (1 << 20, 100.0))  # bytes, pJ: Horowitz, ISSCC 2014
_SCALE = Range(0.51, 0.64)
WEIGHT_BANK_BYTES = 32768  # assumed size of one bank of the weight memory

AREA_UM2: dict[str, Figure] = {
    "fxp_mac": Figure(
        Range(61, 61 * 1.5), f"INT4 MAC from int8 of {HOROWITZ}; {AREA_SCALING}; up to 1.5x control"
    ),
    "fp16_mac": Figure(
        Range(1130, 2190), f"FP16 multiply and add, {HOROWITZ}; {AREA_SCALING}; high: RedMulE's FMA at 22 nm"
    ),
    "dequantizer": Figure(
        Range(1140, 1140 * 1.5), "assumed: an FP16 multiplier and, for the normalizing shift, an adder"
    ),
    "fp_mul": Figure(
        Range(623, 623 * 1.5), f"FP16 multiply, {HOROWITZ}; {AREA_SCALING}; up to 1.5x for control"
    ),
    "fp_add": Figure(Range(517, 517 * 1.5), f"FP16 add, {HOROWITZ}; {AREA_SCALING}; up to 1.5x for control"),
    "sram_bit": Figure(
        Range(0.127 / 0.7, 0.127 / 0.5), "assumed: 0.127 um2 cell at 28 nm, 50 to 70% of the array"
    ),
}


@dataclass(frozen=True)
class Counts:
    """Operations and memory traffic of a whole run (bits for memories)."""

    macs: int
    dequantize: int
    fp_mul: int
    fp_add: int
    fp32_add: int
    bank_bits: int
    queue_bits: int
    weight_bits: int
    host_bits: int

    @property
    def flops(self) -> int:
        """Operations by the usual count: two for a MAC, one for each floating-point operation."""
        return 2 * self.macs + self.dequantize + self.fp_mul + self.fp_add + self.fp32_add


class Item(NamedTuple):
    """One line of a bill: how `many`, the cost of all (pJ or um2), and the figure's source."""

    name: str
    many: float
    cost: Range
    source: str


class Cost(NamedTuple):
    """Energy and area of a run.

    `energy`: pJ by item; `area`: um2 by item, weight memory apart (`weight_area`); `tflops_per_watt` and
    `gflops_per_mm2`: achieved in this run; `peak_gflops_per_mm2`: with every MAC lane busy. Bounds are (low, high).
    """

    counts: Counts
    energy: tuple[Item, ...]
    area: tuple[Item, ...]
    weight_area: Range
    milliwatts: Range
    tflops_per_watt: Range
    gflops_per_mm2: Range
    peak_gflops_per_mm2: Range


def wide_adds(stage: Stage, phase: Phase, work_fxp: bool) -> bool:
    """Additions of a task are FP32: sums over rows, windows and inputs, and a convolution's FP16 gradient."""
    return phase in stage.plan.wide and not work_fxp


def count(found: Schedule) -> Counts:
    """Operations and traffic of a run.

    A task reads each row of its window once for each pass of the array over it, writes its row once, and reads its
    weights once; accumulators stay in the lanes.
    """
    flow, machine, images = found.flow, found.machine, found.images
    total = dict.fromkeys(("macs", "dequantize", "fp_mul", "fp_add", "fp32_add"), 0)
    for line in flow.lines:
        stage, work = flow.stages[line.stage], line_work(flow, line, machine)
        total["macs"] += int(work.macs.sum()) * images
        total["dequantize"] += int(work.deq.sum()) * images
        total["fp_mul"] += int(work.mul.sum()) * images
        wide = wide_adds(stage, line.phase, is_fxp(stage, line.phase, machine))
        total["fp32_add" if wide else "fp_add"] += int(work.add.sum()) * images
    bank_bits = queue_bits = 0
    for place, by_line in enumerate(banking.accesses(flow, found.rings)):
        again = read_passes(flow, machine, place)
        for access in by_line:
            rows = access.many * (1 if access.write else again)
            bank_bits += int(rows.sum()) * access.ring.row_bits * images
    for ring in found.rings:
        if not ring.banked:
            queue_bits += 2 * ring.rows * ring.row_bits * images
    source = flow.stages[0].in_shape
    host_bits = 16 * math.prod(source) * images * (2 if flow.buffers.needs_gradient(INPUT) else 1)
    return Counts(
        **total,
        bank_bits=bank_bits,
        queue_bits=queue_bits,
        weight_bits=sum(weight_bits(flow, line, machine) for line in flow.lines) * images,
        host_bits=host_bits,
    )


def weight_memory_bits(found: Schedule) -> int:
    """Bits of all weights: codes of convolutions, FP16 of heads."""
    return sum(_stage_weight_bits(stage, found.machine) for stage in found.flow.stages)


def _stage_weight_bits(stage: Stage, machine: Machine) -> int:
    if stage.head is None:
        return 0
    place, bits = stage.sites[0].place, stage.plan.weights.word_bits(machine.mac is Mac.FXP)
    return bits * math.prod(stage.head.config.weight_shape(place.size, place.shape) or (0,))


def weight_bits(flow: Flow, line: TaskLine, machine: Machine) -> int:
    """Bits of the weights that a line's tasks read in an image: all of them for each row that they multiply."""
    stage = flow.stages[line.stage]
    ahead = Phase.FORWARD_HEAD if stage.hands_off else Phase.FORWARD_CHAIN
    return _stage_weight_bits(stage, machine) * line.rows if line.phase in (ahead, Phase.BACKWARD_HEAD) else 0


def sram_pj_per_bit(size_bytes: float) -> Range:
    """Energy of a bit from an SRAM of a size at 28 nm: Horowitz's three points, straight between on log scales."""
    sizes = [math.log(size) for size, _ in _SRAM_64_BITS_PJ_45NM]
    energies = [math.log(energy) for _, energy in _SRAM_64_BITS_PJ_45NM]
    at_45nm = math.exp(float(np.interp(math.log(max(size_bytes, 1.0)), sizes, energies))) / 64
    return _SCALE.times(at_45nm)


def energy_items(machine: Machine, counts: Counts, bank_bytes: float) -> list[Item]:
    """What operations and traffic take, pJ by item, with buffers in banks of `bank_bytes`."""
    mac = "fxp_mac" if machine.mac is Mac.FXP else "fp16_mac"
    energy = [
        _bill(mac, counts.macs, ENERGY_PJ[mac]),
        _bill("dequantize", counts.dequantize, ENERGY_PJ["dequantize"]),
        _bill("fp_mul", counts.fp_mul, ENERGY_PJ["fp_mul"]),
        _bill("fp_add", counts.fp_add, ENERGY_PJ["fp_add"]),
        _bill("fp32_add", counts.fp32_add, ENERGY_PJ["fp32_add"]),
    ]
    sram = f"SRAM, 64 bits from 8K, 32K, 1M: {HOROWITZ}; {SCALING}; assumed log-log between"
    small, weights = sram_pj_per_bit(bank_bytes), sram_pj_per_bit(WEIGHT_BANK_BYTES)
    energy += [
        _bill("bank bits", counts.bank_bits + counts.queue_bits, Figure(small, sram)),
        _bill(
            "weight bits", counts.weight_bits, Figure(weights, f"{sram}; assumed banks of 32 KB, all on chip")
        ),
        _bill("host bits", counts.host_bits, ENERGY_PJ["dram_bit"]),
    ]
    return energy


def cost_of(found: Schedule, memory_bits: int, bank_bytes: float) -> Cost:
    """Energy and area of a run whose on-chip buffers hold `memory_bits`, in banks of `bank_bytes`."""
    machine, counts = found.machine, count(found)
    mac = "fxp_mac" if machine.mac is Mac.FXP else "fp16_mac"
    energy = energy_items(machine, counts, bank_bytes)
    area = [
        _bill(mac, machine.fxp_lanes, AREA_UM2[mac]),
        _bill("fp_mul", machine.fp_mul_lanes, AREA_UM2["fp_mul"]),
        _bill("fp_add", machine.fp_add_lanes, AREA_UM2["fp_add"]),
        _bill("sram_bit", memory_bits, AREA_UM2["sram_bit"]),
    ]
    if machine.mac is Mac.FXP:
        area.append(_bill("dequantizer", machine.dequantizer_lanes, AREA_UM2["dequantizer"]))
    return _summed(found, counts, energy, area)


def _bill(name: str, many: float, figure: Figure) -> Item:
    return Item(name, many, figure.cost.times(many), figure.source)


def _summed(found: Schedule, counts: Counts, energy: list[Item], area: list[Item]) -> Cost:
    machine = found.machine
    seconds = found.cycles / (machine.clock_mhz * 1e6)
    picojoules, um2 = _sum(energy), _sum(area)
    rate = counts.flops / seconds
    peak = 2 * machine.fxp_lanes * machine.clock_mhz * 1e6
    return Cost(
        counts,
        tuple(energy),
        tuple(area),
        AREA_UM2["sram_bit"].cost.times(weight_memory_bits(found)),
        picojoules.times(1e-9 / seconds),
        _ratio(counts.flops, picojoules),  # operations for each pJ are tera-operations for each joule
        _ratio(rate * 1e-9, um2.times(1e-6)),
        _ratio(peak * 1e-9, um2.times(1e-6)),
    )


def _sum(items: list[Item]) -> Range:
    return Range(sum(item.cost.low for item in items), sum(item.cost.high for item in items))


def _ratio(amount: float, divisor: Range) -> Range:
    return Range(amount / divisor.high, amount / divisor.low)
