"""What a row task costs: operations by kind, and cycles on a machine's lanes (SPEC.md Q, M, D, B, A).

Every element-wise step counts as the contract writes it: a batch norm with frozen statistics is a multiplication and
an addition, a quantizer a multiplication, a ReLU or one comparison of a pool an addition. Rows of padding are
skipped, columns of padding are not. Standard library and numpy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from bitrow.config import AddConfig, BatchNormConfig, ConvConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.formats import Gradient
from bitrow.graph import ConvSize, kernel_shape, linear_shape
from bitrow.pipeline.flow import Flow, Line, Rows
from bitrow.pipeline.machine import Mac, Machine
from bitrow.pipeline.rings import conv_config, row_elements
from bitrow.pipeline.stages import Head, Phase, Stage, gradient_edges


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

    macs: Rows
    outputs: Rows
    deq: Rows
    mul: Rows
    add: Rows
    moved: Rows


def _constant(line: Line, **counts: int) -> Work:
    return Work(
        **{field.name: np.full(line.rows, counts.get(field.name, 0), np.int64) for field in fields(Work)}
    )


def is_fxp(stage: Stage, phase: Phase, machine: Machine) -> bool:
    """The task runs on the array of multipliers: a convolution, backward unless its gradient is FP16 (C3)."""
    conv = conv_config(stage)
    if conv is None or phase not in (Phase.FORWARD_HEAD, Phase.BACKWARD_HEAD):
        return False
    return phase is Phase.FORWARD_HEAD or machine.mac is Mac.FP16 or conv.gradient is Gradient.FXP


def unit_kind(stage: Stage, phase: Phase, machine: Machine) -> str:
    """Which kind of unit runs a task."""
    if stage.kind is Head.SOURCE and phase is Phase.FORWARD_CHAIN:
        return UNIT.LOADER
    return UNIT.FXP if is_fxp(stage, phase, machine) else UNIT.FP


@functools.lru_cache(maxsize=4096)
def line_work(flow: Flow, line: Line, machine: Machine) -> Work:
    """Operations of a line's rows."""
    stage = flow.stages[line.stage]
    if line.phase in (Phase.FORWARD_HEAD, Phase.BACKWARD_HEAD):
        return _head_work(flow, stage, line, machine)
    if line.phase is Phase.FORWARD_CHAIN:
        return _forward_chain_work(flow, stage, line, machine)
    return _backward_chain_work(flow, stage, line, machine)


def _head_work(flow: Flow, stage: Stage, line: Line, machine: Machine) -> Work:
    back = line.phase is Phase.BACKWARD_HEAD
    elements = row_elements(stage.in_shape)
    match stage.kind:
        case Head.CONV:
            return _conv_work(flow, stage, line, machine)
        case Head.AVG_POOL:
            return _constant(line, mul=elements) if back else _constant(line, add=elements)
        case Head.BATCH_NORM:
            return _constant(line, mul=2 * elements, add=2 * elements)
        case Head.MAX_POOL:
            column = flow.columns[flow.line(line.stage, line.phase)][0]
            across = -(-stage.window.kernel // stage.window.stride)
            meeting = np.maximum(column.last - column.first + 1, 0) * across
            work = _constant(line, moved=elements)
            return Work(**{**_as_dict(work), "add": meeting * elements})
        case Head.LINEAR:
            assert stage.head is not None
            _, outputs = linear_shape(flow.network, stage.head)
            return _constant(line, mul=elements * outputs, add=elements * outputs)
    raise AssertionError(stage.kind)


def _as_dict(work: Work) -> dict[str, Rows]:
    return {field.name: getattr(work, field.name) for field in fields(Work)}


def _conv_work(flow: Flow, stage: Stage, line: Line, machine: Machine) -> Work:
    node, conv = stage.head, conv_config(stage)
    assert node is not None and conv is not None
    _, kw, c_in_group, c_out = kernel_shape(flow.network, node)
    column = flow.columns[flow.line(line.stage, line.phase)][0]
    kernel_rows = np.maximum(column.last - column.first + 1, 0)
    if line.phase is Phase.FORWARD_HEAD:
        outputs, terms = row_elements(stage.out_shape), kernel_rows * kw * c_in_group
    else:
        outputs = row_elements(stage.in_shape)
        terms = kernel_rows * -(-kw // conv.stride) * (c_out // conv.groups)
    zero = np.zeros(line.rows, np.int64)
    if not is_fxp(stage, line.phase, machine):
        return Work(zero, zero, zero, outputs * terms + outputs, outputs * terms, zero)
    deq = zero + (outputs if machine.mac is Mac.FXP else 0)
    return Work(outputs * terms, zero + outputs, deq, zero, zero, zero + outputs)


def quantized_readers(flow: Flow, stage: Stage, machine: Machine) -> int:
    """Convolutions whose codes the stage's output rows are quantized to (each has its own scale)."""
    if machine.mac is Mac.FP16:
        return 0
    readers = gradient_edges(flow.stages, stage.index)
    return sum(flow.stages[e.consumer].kind is Head.CONV and not e.skip for e in readers)


def _chain_counts(stage: Stage) -> tuple[int, int]:
    """FP multiplications and additions that the chain's layers take for an element, forward."""
    mul = add = 0
    for node in stage.chain:
        match node.config:
            case BatchNormConfig():
                mul, add = mul + 1, add + 1
            case ReluConfig(six=six):
                add += 2 if six else 1
            case AddConfig():
                add += 1
    return mul, add


def _forward_chain_work(flow: Flow, stage: Stage, line: Line, machine: Machine) -> Work:
    elements = row_elements(stage.out_shape)
    mul, add = _chain_counts(stage)
    mul += quantized_readers(flow, stage, machine)
    extra_mul = extra_add = 0
    head = stage.head
    match stage.kind:
        case Head.CONV if head is not None and isinstance(head.size, ConvSize):
            add += int(head.size.bias)
        case Head.BATCH_NORM:
            mul, add = mul + 1, add + 1
        case Head.AVG_POOL:
            mul += 1
        case Head.MAX_POOL:
            add += stage.window.kernel**2 - 1
        case Head.LINEAR if head is not None:
            inputs, _ = linear_shape(flow.network, head)
            extra_mul = extra_add = inputs * elements
    return _constant(line, mul=mul * elements + extra_mul, add=add * elements + extra_add, moved=elements)


def _backward_chain_work(flow: Flow, stage: Stage, line: Line, machine: Machine) -> Work:
    elements = row_elements(stage.out_shape)
    add = max(0, len(gradient_edges(flow.stages, stage.index)) - 1)
    mul = sum(isinstance(node.config, BatchNormConfig) for node in stage.chain)
    conv = conv_config(stage)
    if isinstance(conv, ConvConfig):
        mul += int(conv.fold) + int(conv.gradient is Gradient.FXP and machine.mac is Mac.FXP)
    if stage.kind is Head.BATCH_NORM:
        mul, add = mul + 1, add + 2  # dz*y, and the two sums
    return _constant(line, mul=mul * elements, add=add * elements, moved=elements)


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


def _cycles(count: Rows | int, lanes: int) -> Rows:
    return -(-np.asarray(count) // lanes)


def compute_cycles(stage: Stage, line: Line, work: Work, lanes: Lanes, machine: Machine) -> Rows:
    """Cycles of each row of a line on its lanes, memory apart: the busiest lanes' and the pipeline's latency.

    An FXP lane keeps one accumulator, so a row takes whole passes of as many outputs as there are lanes.
    """
    kind = unit_kind(stage, line.phase, machine)
    if kind == UNIT.LOADER:
        return np.maximum(_cycles(work.moved * 16, machine.input_width), 1)
    if kind == UNIT.FXP:
        terms = work.macs // np.maximum(work.outputs, 1)
        passes = _cycles(work.outputs, lanes.fxp)
        latency = machine.fxp_latency + (machine.dequantizer_latency if machine.mac is Mac.FXP else 0)
        return np.maximum(np.maximum(passes * terms, _cycles(work.deq, lanes.deq)), 1) + latency
    busiest = np.maximum(_cycles(work.mul, lanes.mul), _cycles(work.add, lanes.add))
    return np.maximum(np.maximum(busiest, _cycles(work.moved, lanes.add)), 1) + machine.fp_latency


def read_passes(flow: Flow, machine: Machine, place: int) -> Rows:
    """Times that the rows of line `place` go over their input: an FXP array's passes, else once."""
    line = flow.lines[place]
    work = line_work(flow, line, machine)
    return np.maximum(_cycles(work.outputs, lanes_of(flow, machine)[line.stage].fxp), 1)
