"""Energy and area of a run, from tables of what one operation costs (cost_tables.py).

Computed: how often each operation happens, how many bits each memory moves, how many units there are. Assumed: what
one of each costs. Leakage, clock tree, control and interconnect are in no table, so energies and areas are lower bounds
of a real chip's, and efficiencies upper bounds. Standard library and numpy.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bitrow.config.rows import HALF, SUM
from bitrow.graph import INPUT
from bitrow.pipeline.cost_tables import DEFAULT_COSTS, SRAM_BYTES, CostTables, Figure, Range
from bitrow.pipeline.machine import Mac, Machine, WeightMemory
from bitrow.pipeline.mappings import line_traffic
from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.stages import Phase, Stage
from bitrow.pipeline.weights import loaded_bits, weight_memory_bits
from bitrow.pipeline.work import is_fxp, line_work

PAPER_TFLOPS_PER_WATT = 2.19
PAPER_GFLOPS_PER_MM2 = 85.32


WEIGHT_BANK_BYTES = 32768  # assumed size of one bank of the weight memory


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
    dram_weight_bits: int = 0
    partial_sums: int = 0

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


class Scope(enum.Enum):
    """How much of a chip and what is beside it a figure counts; values are the names in reports."""

    CORE = "without weight memory and DRAM"
    CHIP = "with the weight memory"
    SYSTEM = "with DRAM, too"


class Cost(NamedTuple):
    """Energy and area of a run.

    `energy`: pJ by item; `area`: um2 by item, of what is built. `tflops_per_watt` by scope, `gflops_per_mm2` (achieved
    in this run) and `peak_gflops_per_mm2` (with every MAC lane busy) without and with the weight memory. Costs leave
    out leakage, clock, control and wires, so that efficiencies are upper bounds; (low, high) are those of the tables.
    """

    counts: Counts
    energy: tuple[Item, ...]
    area: tuple[Item, ...]
    milliwatts: Range
    tflops_per_watt: dict[Scope, Range]
    gflops_per_mm2: dict[Scope, Range]
    peak_gflops_per_mm2: dict[Scope, Range]


def wide_adds(stage: Stage, phase: Phase, work_fxp: bool) -> bool:
    """Additions of a task are FP32: sums over rows, windows and inputs, and a convolution's FP16 gradient."""
    return phase in stage.plan.wide and not work_fxp


def count(found: Schedule) -> Counts:
    """Operations and traffic of a run.

    A task reads each row of its window and its weights as often as its mapping says, and writes its row once;
    accumulators stay in the lanes.
    """
    flow, machine, groups, images = found.flow, found.machine, found.images, found.batch
    kinds = ("macs", "dequantize", "fp_mul", "fp_add", "fp32_add", "bank_bits", "partial_sums", "weight_bits")
    total = dict.fromkeys(kinds, 0)
    for line in flow.lines:
        stage, work = flow.stages[line.stage], line_work(flow, line, machine)
        total["macs"] += int(work.macs.sum()) * images
        total["dequantize"] += int(work.deq.sum()) * images
        total["fp_mul"] += int(work.mul.sum()) * images
        wide = wide_adds(stage, line.phase, is_fxp(stage, line.phase, machine))
        total["fp32_add" if wide else "fp_add"] += int(work.add.sum()) * images
    for traffic in line_traffic(flow, found.rings, machine):
        total["bank_bits"] += sum(traffic.bits.values()) * groups
        total["partial_sums"] += traffic.partial_sums * images
        total["weight_bits"] += traffic.weight_bits * groups
    queue_bits = 0
    for ring in found.rings:
        if not ring.banked:
            queue_bits += 2 * ring.rows * ring.row_bits * groups
    source = flow.stages[0].in_shape
    host_bits = 16 * math.prod(source) * images * (2 if flow.buffers.needs_gradient(INPUT) else 1)
    return Counts(
        **total,
        queue_bits=queue_bits,
        host_bits=host_bits,
        dram_weight_bits=int(loaded_bits(found.grid, found.plan).sum()),
    )


def sram_pj_per_bit(size_bytes: float, costs: CostTables = DEFAULT_COSTS) -> Range:
    """Energy of a bit from an SRAM of a size: between the tables' three sizes straight on log scales."""
    sizes = [math.log(size) for size in SRAM_BYTES.values()]

    def at(side: int) -> float:
        energies = [math.log(costs.energy[name].cost[side]) for name in SRAM_BYTES]
        return math.exp(float(np.interp(math.log(max(size_bytes, 1.0)), sizes, energies)))

    return Range(at(0), at(1))


def energy_items(
    machine: Machine, counts: Counts, bank_bytes: float, costs: CostTables = DEFAULT_COSTS
) -> list[Item]:
    """What operations and traffic take, pJ by item, with buffers in banks of `bank_bytes`."""
    mac = "fxp_mac" if machine.mac is Mac.FXP else "fp16_mac"
    names = {mac: counts.macs, "dequantize": counts.dequantize, "fp_mul": counts.fp_mul, "fp_add": counts.fp_add,
             "fp32_add": counts.fp32_add}  # fmt: skip
    energy = [_bill(name, many, costs.energy[name]) for name, many in names.items()]
    if counts.partial_sums:
        energy.append(_bill("partial sums", counts.partial_sums, costs.energy[mac]))  # an upper bound: no product
    sram = "; ".join(dict.fromkeys(costs.energy[name].source for name in SRAM_BYTES)) + "; assumed log-log between"
    small, weights = sram_pj_per_bit(bank_bytes, costs), sram_pj_per_bit(WEIGHT_BANK_BYTES, costs)
    energy += [
        _bill("bank bits", counts.bank_bits + counts.queue_bits, Figure(small, sram)),
        _bill(WEIGHT_BITS, counts.weight_bits, Figure(weights, f"{sram}; assumed banks of 32 KB")),
        _bill("host bits", counts.host_bits, costs.energy["dram_bit"]),
    ]
    if machine.weights is WeightMemory.DRAM:
        energy.append(_bill("DRAM weight bits", counts.dram_weight_bits, costs.energy["dram_bit"]))
    return energy


WEIGHT_BITS, WEIGHT_MEMORY = "weight bits", "weight memory"
_OUTSIDE = {
    Scope.CORE: (WEIGHT_BITS, WEIGHT_MEMORY, "host bits", "DRAM weight bits"),
    Scope.CHIP: ("host bits", "DRAM weight bits"),
    Scope.SYSTEM: (),
}


def register_bits(found: Schedule) -> tuple[int, int, int]:
    """Bits of accumulators, of the lanes' operands and results, and of a word at each port of each bank."""
    machine, fxp = found.machine, found.machine.mac is Mac.FXP
    plans = [stage.plan for stage in found.flow.stages if stage.plan.products]
    sums = max((plan.sums for plan in plans), default=0) if fxp else SUM.bits
    operand = max((plan.weights.word_bits(fxp) for plan in plans), default=0)
    lanes = machine.fxp_lanes * 2 * operand + machine.fp_mul_lanes * 3 * HALF.bits + machine.fp_add_lanes * 3 * SUM.bits
    lanes += machine.dequantizer_lanes * (sums + HALF.bits) * fxp
    return machine.fxp_lanes * sums, lanes, found.layout.total * machine.ports * machine.bank_width


def area_items(found: Schedule, memory_bits: int, costs: CostTables = DEFAULT_COSTS) -> list[Item]:
    """What is built, um2 by item: all lanes with their registers, buffers of `memory_bits`, the weight memory."""
    machine, fxp = found.machine, found.machine.mac is Mac.FXP
    mac, area = "fxp_mac" if fxp else "fp16_mac", costs.area
    sums, lanes, ports = register_bits(found)
    items = [(mac, machine.fxp_lanes, mac), ("fp_mul", machine.fp_mul_lanes, "fp_mul"),
             ("fp_add", machine.fp_add_lanes, "fp_add"),
             *([("dequantizer", machine.dequantizer_lanes, "dequantizer")] if fxp else []),
             ("accumulators", sums, "register_bit"), ("lane registers", lanes, "register_bit"),
             ("port registers", ports, "register_bit"), ("buffers", memory_bits, "sram_bit"),
             (WEIGHT_MEMORY, weight_memory_bits(found.flow, machine), "sram_bit")]  # fmt: skip
    return [_bill(name, many, area[figure]) for name, many, figure in items]


def cost_of(
    found: Schedule, memory_bits: int, bank_bytes: float, costs: CostTables = DEFAULT_COSTS,
    counts: Counts | None = None,
) -> Cost:  # fmt: skip
    """Energy and area of a run whose on-chip buffers hold `memory_bits`, in banks of `bank_bytes`.

    `counts`: those of the run, where they are known.
    """
    machine, counts = found.machine, counts or count(found)
    energy, area = energy_items(machine, counts, bank_bytes, costs), area_items(found, memory_bits, costs)
    seconds = found.cycles / (machine.clock_mhz * 1e6)
    rate, peak = counts.flops / seconds * 1e-9, 2 * machine.fxp_lanes * machine.clock_mhz * 1e-3
    square = {scope: _sum(area, scope).times(1e-6) for scope in (Scope.CORE, Scope.CHIP)}
    return Cost(
        counts,
        tuple(energy),
        tuple(area),
        _sum(energy, Scope.SYSTEM).times(1e-9 / seconds),
        # operations for each pJ are tera-operations for each joule
        {scope: _ratio(counts.flops, _sum(energy, scope)) for scope in Scope},
        {scope: _ratio(rate, mm2) for scope, mm2 in square.items()},
        {scope: _ratio(peak, mm2) for scope, mm2 in square.items()},
    )


def total_energy(cost: Cost, scope: Scope) -> Range:
    """pJ of the run."""
    return _sum(list(cost.energy), scope)


def total_area(cost: Cost) -> Range:
    """um2 of all that is built."""
    return _sum(list(cost.area), Scope.SYSTEM)


def _bill(name: str, many: float, figure: Figure) -> Item:
    return Item(name, many, figure.cost.times(many), figure.source)


def _sum(items: list[Item], scope: Scope) -> Range:
    counted = [item.cost for item in items if item.name not in _OUTSIDE[scope]]
    return Range(sum(cost.low for cost in counted), sum(cost.high for cost in counted))


def _ratio(amount: float, divisor: Range) -> Range:
    return Range(amount / divisor.high, amount / divisor.low)
