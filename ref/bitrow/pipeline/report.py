"""What a designer wants to know about a run, as plain values: for the terminal, JSON, CSV and the HTML page.

Standard library and numpy.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.graph import INPUT
from bitrow.pipeline import banks as banking
from bitrow.pipeline.cost import PAPER_GFLOPS_PER_MM2, PAPER_TFLOPS_PER_WATT, Cost, Scope, cost_of
from bitrow.pipeline.cost_tables import DEFAULT_COSTS, CostTables, Range
from bitrow.pipeline.machine import Mac, as_table
from bitrow.pipeline.mappings import mapped_lines
from bitrow.pipeline.memory_size import BASELINES, PAPER_MEMORY_RATIO, Footprint, MemorySize, memory_size
from bitrow.pipeline.occupancy import curve, row_lives
from bitrow.pipeline.policies import policy_named
from bitrow.pipeline.roofline import Roofline, roofline
from bitrow.pipeline.schedule import Schedule, schedule
from bitrow.pipeline.stalls import Conflicts, conflicts, stall_table, utilization
from bitrow.pipeline.weights import network_weight_bits, weight_memory_bits
from bitrow.pipeline.work import UNIT, line_work

KB = 8192  # bits
_BINS = 100  # of utilization over time


@dataclass(frozen=True, eq=False)
class Report:
    """All figures of one run.

    `utilization`: kind of array to share of cycles; `lanes_busy`: kind of lane to share of its operations' slots;
    `peaks`: rows by ring; `bank_peaks`: bits by bank; `fp16_macs`: the same machine with FP16 MACs.
    """

    schedule: Schedule
    utilization: dict[str, float]
    lanes_busy: dict[str, float]
    stalls: dict[str, dict[str, int]]
    conflicts: Conflicts
    ring_clashes: dict[str, int]
    peaks: tuple[int, ...]
    bank_peaks: tuple[int, ...]
    memory: MemorySize
    cost: Cost
    roofline: Roofline
    fp16_macs: Report | None

    @property
    def cycles_per_image(self) -> float:
        """Of the whole run, filling and draining included: more images come closer to the steady rate."""
        return self.schedule.cycles / self.schedule.batch

    @property
    def frames_per_second(self) -> float:
        return self.schedule.machine.clock_mhz * 1e6 / self.cycles_per_image


def report(found: Schedule, *, compare: bool = True, costs: CostTables = DEFAULT_COSTS) -> Report:
    """Figures of a run; `compare` also runs the same machine layer by layer, and with FP16 MACs.

    Raises:
        BitrowError: banks of a given depth that are not deep enough (`memory_size`).
    """
    memory = memory_size(found, baselines=compare)
    peaks, bank_peaks = _peaks(found)
    bank_bytes = memory.built / 8 / found.layout.total
    other = None
    if compare and found.machine.mac is Mac.FXP:
        machine = replace(found.machine, mac=Mac.FP16, bank_depth=0)
        policy = policy_named(found.policy)
        again = schedule(found.flow.network, machine, policy, found.batch, training=found.flow.trained)
        other = report(again, compare=False, costs=costs)
    cost = cost_of(found, memory.total, bank_bytes, costs)
    return Report(
        schedule=found,
        utilization={kind: float(utilization(found, kind)[0]) for kind in UNIT},
        lanes_busy=_lanes_busy(found),
        stalls=stall_table(found),
        conflicts=conflicts(found),
        ring_clashes=_ring_clashes(found),
        peaks=peaks,
        bank_peaks=bank_peaks,
        memory=memory,
        cost=cost,
        roofline=roofline(found, cost.counts),
        fp16_macs=other,
    )


def _lanes_busy(found: Schedule) -> dict[str, float]:
    machine = found.machine
    totals = dict.fromkeys(("macs", "deq", "mul", "add"), 0)
    for line in found.flow.lines:
        work = line_work(found.flow, line, machine)
        for name in totals:
            totals[name] += int(getattr(work, name).sum()) * found.batch
    lanes = {
        "macs": machine.fxp_lanes,
        "deq": machine.dequantizer_lanes,
        "mul": machine.fp_mul_lanes,
        "add": machine.fp_add_lanes,
    }
    return {name: total / (lanes[name] * found.cycles) for name, total in totals.items()}


def _ring_clashes(found: Schedule) -> dict[str, int]:
    """Rings whose own window and arriving rows meet in a bank, with how many such meetings a round of slots has."""
    table = {}
    machine = found.machine
    for ring, slots in zip(found.rings, found.slots, strict=True):
        if ring.banked and ring.kernel > 1:
            span = found.layout.span[ring.index]
            clashes = banking.window_clashes(ring.kernel, ring.stride, slots, span, machine.ports)
            if clashes:
                table[ring.name] = len(clashes)
    return table


def _peaks(found: Schedule) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Peak rows of every ring and peak bits of every bank."""
    rings, births, deaths, weights, where = [], [], [], [], []
    layout = found.layout
    for ring, slots in zip(found.rings, found.slots, strict=True):
        lives = row_lives(found, ring)
        rings.append(int(curve(*lives).value.max(initial=0)))
        if not ring.banked:
            continue
        row = np.arange(len(lives.born))
        slot = row % slots if slots else row
        bank = (layout.offset[ring.index] + slot % layout.span[ring.index]) % layout.banks
        births.append(lives.born)
        deaths.append(lives.dies)
        weights.append(np.full(len(row), ring.row_bits))
        where.append(layout.home[ring.index] + bank)
    born, dies, weight, bank = (np.concatenate(part) for part in (births, deaths, weights, where))
    order = np.argsort(bank, kind="stable")
    bounds = np.searchsorted(bank[order], np.arange(layout.total + 1))
    by_bank = []
    for low, high in itertools.pairwise(bounds):
        here = order[low:high]
        by_bank.append(int(curve(born[here], dies[here], weight[here]).value.max(initial=0)))
    return tuple(rings), tuple(by_bank)


def as_dict(found: Report) -> dict[str, Any]:
    """The report as what JSON can hold; sizes in KB of 1,024 bytes, ranges as [low, high]."""
    run = found.schedule
    memory = found.memory
    table: dict[str, Any] = {
        "network": run.flow.network.name,
        "input_shape": list(run.flow.network.input_shape),
        "machine": as_table(run.machine),
        "policy": run.policy,
        "images": run.batch,
        "training": run.flow.training,
        "image_gradient": run.flow.buffers.needs_gradient(INPUT),
        "row_tasks": len(run),
        "cycles": run.cycles,
        "cycles_per_image": found.cycles_per_image,
        "frames_per_second": found.frames_per_second,
        "utilization": found.utilization,
        "utilization_over_time": {kind: utilization(run, kind, _BINS).round(4).tolist() for kind in UNIT},
        "lanes_busy": found.lanes_busy,
        "mappings": _mappings(run),
        "stall_cycles": found.stalls,
        "bank_conflicts": _conflicts_dict(found.conflicts),
        "ring_clashes": found.ring_clashes,
        "memory": {
            "live": _footprint_dict(memory.live),
            "rings_kb": {"rows": memory.rows / KB, "saved": memory.saved / KB},
            "built_kb": memory.built / KB,
            "queue_kb": memory.queue / KB,
            "total_kb": memory.total / KB,
            "weights_kb": network_weight_bits(run.flow, run.machine) / KB,
            "weight_memory_kb": weight_memory_bits(run.flow, run.machine) / KB,
            "baselines": {name: _baseline(memory, name) for name in memory.baselines},
        },
        "rings": [
            {
                "name": ring.name,
                "kind": ring.kind.value,
                "slots": slots,
                "peak_rows": peak,
                "row_bits": ring.row_bits,
                "kb": ring.row_bits * (slots or peak) / KB,
                "offset": run.layout.offset[ring.index],
                "span": run.layout.span[ring.index],
            }
            for ring, slots, peak in zip(run.rings, run.slots, found.peaks, strict=True)
        ],
        "bank_peak_kb": [bits / KB for bits in found.bank_peaks],
        "cost": _cost_dict(found.cost),
        "roofline": {
            "peak_gops": found.roofline.peak,
            "achieved_gops": found.roofline.achieved,
            "memories": {name: {**roof._asdict(), "gops": roof.gops} for name, roof in found.roofline.roofs.items()},
        },
        "paper": {
            "tflops_per_watt": PAPER_TFLOPS_PER_WATT,
            "gflops_per_mm2": PAPER_GFLOPS_PER_MM2,
            "memory_ratio_at_most": PAPER_MEMORY_RATIO,
        },
    }
    if found.fp16_macs:
        other = as_dict(found.fp16_macs)
        keys = ("cycles", "cycles_per_image", "frames_per_second", "utilization", "memory", "cost")
        table["same_machine_with_fp16_macs"] = {key: other[key] for key in keys}
    return table


def _mappings(run: Schedule) -> dict[str, str]:
    """How each convolution's rows go over the lanes, by stage and phase."""
    flow, kinds = run.flow, run.grid.kinds()
    mapped = mapped_lines(flow, run.rings, run.machine)
    return {
        f"{flow.stages[line.stage].name} {line.phase.label}": str(found.way)
        for line, kind, found in zip(flow.lines, kinds, mapped, strict=True)
        if kind == UNIT.FXP
    }


def _conflicts_dict(found: Conflicts) -> dict[str, Any]:
    return {**found._asdict(), "first": found.first._asdict() if found.first else None}


def _baseline(memory: MemorySize, name: str) -> dict[str, Any]:
    way = memory.baselines[name]
    return {"what": BASELINES[name], **_footprint_dict(way), "ratios": ratios(memory, way)}


def _footprint_dict(way: Footprint) -> dict[str, float]:
    return {f"{name}_kb": bits / KB for name, bits in way._asdict().items()}


def ratios(memory: MemorySize, way: Footprint) -> dict[str, float | None]:
    """A way of buffering over this run: rows that live, all that lives, what it allocates over the same and over what
    is built.
    """
    pairs = {
        "rows": (way.rows, memory.live.rows),
        "live": (way.live, memory.live.live),
        "allocated": (way.allocated, memory.live.allocated),
        "built": (way.allocated, memory.built),
    }
    return {name: theirs / ours if ours else None for name, (theirs, ours) in pairs.items()}


def _cost_dict(cost: Cost) -> dict[str, Any]:
    def scopes(found: dict[Scope, Range]) -> dict[str, list[float]]:
        return {scope.value: list(bounds) for scope, bounds in found.items()}

    def items(bill: tuple[Any, ...], unit: str) -> list[dict[str, Any]]:
        return [{"name": item.name, "count": item.many, unit: list(item.cost), "source": item.source} for item in bill]

    return {
        "operations": cost.counts.flops,
        "counts": vars(cost.counts),
        "energy": items(cost.energy, "pj"),
        "area": items(cost.area, "um2"),
        "milliwatts": list(cost.milliwatts),
        "tflops_per_watt": scopes(cost.tflops_per_watt),
        "gflops_per_mm2": scopes(cost.gflops_per_mm2),
        "peak_gflops_per_mm2": scopes(cost.peak_gflops_per_mm2),
    }


def to_csv(found: Report, path: str | Path) -> None:
    """Every figure of the report as a line `path,value`: nested names joined by dots, texts included."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("figure", "value"))
        writer.writerows(_leaves("", as_dict(found)))


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    pairs: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in pairs:
        if isinstance(part, dict) and "name" in part and isinstance(value, list):
            key = part["name"]
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(part, dict | list | tuple):
            yield from _leaves(name, part)
        else:
            yield name, part
