"""What a row task costs: operations by kind, and cycles on a machine's lanes (SPEC.md Q, M, D, B, A).

Every element-wise step counts as the contract writes it: a batch norm with frozen statistics is a multiplication and
an addition, a quantizer a multiplication, a ReLU or one comparison of a pool an addition. Rows of padding are
skipped, columns of padding are not. Standard library and numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from bitrow.config.rows import Ops, Phase, elements
from bitrow.errors import BitrowError
from bitrow.pipeline.flow import Flow, LineRows, TaskLine
from bitrow.pipeline.machine import Mac, Machine
from bitrow.pipeline.stages import Stage, StageLayer


class Unit(NamedTuple):
    """Names of the kinds of units that run tasks."""

    FXP: str = "FXP array"
    FP: str = "FP array"
    LOADER: str = "loader"


UNIT = Unit()


@dataclass(frozen=True, eq=False)
class Work:
    """Operations of each row of a line, int64[rows] each.

    `macs`: products of a convolution, FXP (or FP16 by choice of the machine); `outputs`: accumulators that those macs
    fill; `deq`: dequantized accumulators; `mul`, `add`: FP16 (or FP32, in sums) on the FP array; `moved`: elements
    that only pass.
    """

    macs: LineRows
    outputs: LineRows
    deq: LineRows
    mul: LineRows
    add: LineRows
    moved: LineRows

    def times(self, many: int) -> Work:
        """The same for so many rows side by side."""
        return Work(*(getattr(self, field.name) * many for field in fields(self)))


def is_fxp(stage: Stage, phase: Phase, machine: Machine) -> bool:
    """The task runs on the array of multipliers: a convolution, backward unless its gradient is FP16 (C3)."""
    return phase in stage.plan.products and (machine.mac is Mac.FP16 or phase in stage.plan.coded)


def unit_kind(stage: Stage, phase: Phase, machine: Machine) -> str:
    """Which kind of unit runs a task."""
    if stage.source and phase is Phase.FORWARD_CHAIN:
        return UNIT.LOADER
    return UNIT.FXP if is_fxp(stage, phase, machine) else UNIT.FP


def line_work(flow: Flow, line: TaskLine, machine: Machine) -> Work:
    """Operations of a line's rows, of the layers that the gradient goes through."""
    return _line_work(flow, line, machine.mac)


@functools.lru_cache(maxsize=4096)
def _line_work(flow: Flow, line: TaskLine, mac: Mac) -> Work:
    stage = flow.stages[line.stage]
    sites = stage.sites
    if line.phase is Phase.BACKWARD_CHAIN:
        sites = tuple(site for site in sites if flow.buffers.takes_part(stage, site))
    return work_of(flow, line, Machine(mac=mac), sites)


def work_of(flow: Flow, line: TaskLine, machine: Machine, sites: Sequence[StageLayer]) -> Work:
    """Operations of a line's rows, if only these layers of the stage take part."""
    stage = flow.stages[line.stage]
    columns = flow.columns[flow.line(line.stage, line.phase)]
    rows = columns[0].many if columns else 0
    found = []
    if line.phase in (Phase.FORWARD_HEAD, Phase.BACKWARD_HEAD):
        sites = sites[:1]
    else:
        found.append(_passing(flow, stage, line.phase))
    found += [site.node.config.row_ops(site.place, line.phase, rows) for site in sites]
    total = Ops(*map(sum, zip(*found, strict=True)))
    return _on_machine(total, line.rows, machine.mac is Mac.FXP, is_fxp(stage, line.phase, machine))


def _passing(flow: Flow, stage: Stage, phase: Phase) -> Ops:
    """What a chain's visit does beside its layers: quantizes for readers of codes, or sums the readers' gradients."""
    row, edges = elements(stage.out_shape), flow.buffers.out_edges[stage.index]
    if phase.backward:
        return Ops(add=max(0, len(edges) - 1) * row, moved=row)
    coded = sum(any(held.buffer.encoding.code for held in flow.buffers.inputs[edge.index]) for edge in edges)
    return Ops(quantize=coded * row, moved=row)


def _on_machine(ops: Ops, rows: int, fxp: bool, multiplied: bool) -> Work:
    """`fxp`: the machine multiplies codes; `multiplied`: the task runs on its multipliers, else on the FP array."""
    ops = ops._replace(mul=ops.mul + ops.quantize) if fxp else ops._replace(deq=0)
    if multiplied:
        ops = ops._replace(moved=ops.outputs)
    else:
        mul, add = ops.mul + ops.macs + ops.outputs, ops.add + ops.macs
        ops = ops._replace(macs=0, outputs=0, deq=0, mul=mul, add=add)
    return Work(**{field.name: np.zeros(rows, np.int64) + getattr(ops, field.name) for field in fields(Work)})


class Lanes(NamedTuple):
    """Lanes that serve one stage: the whole machine's when shared, else the stage's share."""

    fxp: int
    deq: int
    mul: int
    add: int


@functools.lru_cache(maxsize=64)
def lanes_of(flow: Flow, machine: Machine) -> tuple[Lanes, ...]:
    """Lanes of every stage.

    Without sharing, each kind is divided by the stages' work, by the largest remainder, at least one for each stage
    that uses it.

    Raises:
        BitrowError: fewer lanes than stages that need one, naming the kind and how many are missing.
    """
    whole = Lanes(machine.fxp_lanes, machine.dequantizer_lanes, machine.fp_mul_lanes, machine.fp_add_lanes)
    if machine.shared:
        return (whole,) * len(flow.stages)
    loads = np.zeros((len(flow.stages), 4), np.int64)
    for line in flow.lines:
        if unit_kind(flow.stages[line.stage], line.phase, machine) != UNIT.LOADER:
            work = line_work(flow, line, machine)
            needed = (work.macs, work.deq, work.mul, np.maximum(work.add, work.moved))
            loads[line.stage] += [int(counts.sum()) for counts in needed]
    names = ("fxp_lanes", "dequantizer_lanes", "fp_mul_lanes", "fp_add_lanes")
    shares = [
        _divide(loads[:, kind].tolist(), whole[kind], f"{machine.name} {name}")
        for kind, name in enumerate(names)
    ]
    return tuple(Lanes(*share) for share in zip(*shares, strict=True))


def _divide(loads: list[int], lanes: int, where: str) -> list[int]:
    users = sum(load > 0 for load in loads)
    if users > lanes:
        raise BitrowError(
            f"machine {where}: found {lanes}, expected {users} or more, one for each stage that uses them "
            f"({users - lanes} short)"
        )
    shares = [int(load > 0) for load in loads]
    spare = lanes - users
    total = sum(loads)
    if not total:
        return [max(1, share) for share in shares]
    exact = [load * spare / total for load in loads]
    shares = [share + int(part) for share, part in zip(shares, exact, strict=True)]
    for place in sorted(range(len(loads)), key=lambda i: int(exact[i]) - exact[i])[: lanes - sum(shares)]:
        shares[place] += 1 if loads[place] else 0
    return [max(1, share) for share in shares]


def ceil_div(count: Any, lanes: int) -> Any:
    """Cycles of so many operations, ints or arrays of them, on so many lanes."""
    return -(-count // lanes)


def compute_cycles(
    stage: Stage, line: TaskLine, work: Work, lanes: Lanes, machine: Machine, products: LineRows
) -> LineRows:
    """Cycles of each row of a line on its lanes, memory apart: the busiest lanes' and the pipeline's latency.

    `products`: cycles of an FXP array's multipliers (mappings.LaneWay).
    """
    kind = unit_kind(stage, line.phase, machine)
    if kind == UNIT.LOADER:
        return np.maximum(ceil_div(work.moved * 16, machine.input_width), 1)
    if kind == UNIT.FXP:
        latency = machine.fxp_latency + (machine.dequantizer_latency if machine.mac is Mac.FXP else 0)
        return np.maximum(np.maximum(products, ceil_div(work.deq, lanes.deq)), 1) + latency
    busiest = np.maximum(ceil_div(work.mul, lanes.mul), ceil_div(work.add, lanes.add))
    return np.maximum(np.maximum(busiest, ceil_div(work.moved, lanes.add)), 1) + machine.fp_latency
