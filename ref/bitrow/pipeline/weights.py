"""Weights of a network on a machine: how many bits, how often they are read, and when they come from DRAM.

Standard library and numpy.
"""

from __future__ import annotations

import math

import numpy as np

from bitrow.pipeline.flow import Flow, TaskLine
from bitrow.pipeline.machine import Mac, Machine, WeightMemory
from bitrow.pipeline.policies import Grid, SchedulePlan
from bitrow.pipeline.stages import Phase, Stage


def stage_weight_bits(stage: Stage, machine: Machine) -> int:
    """Bits of a stage's weights: codes of convolutions, FP16 of heads."""
    if stage.head is None:
        return 0
    place, bits = stage.sites[0].place, stage.plan.weights.word_bits(machine.mac is Mac.FXP)
    return bits * math.prod(stage.head.config.weight_shape(place.size, place.shape) or (0,))


def network_weight_bits(flow: Flow, machine: Machine) -> int:
    """Bits of all weights."""
    return sum(stage_weight_bits(stage, machine) for stage in flow.stages)


def weight_memory_bits(flow: Flow, machine: Machine) -> int:
    """Bits of the weight memory on chip: of all weights, or of `weight_buffers` that each hold the largest layer's.

    Units of their own keep their layer's weights.
    """
    if machine.weights is WeightMemory.CHIP or not machine.shared:
        return network_weight_bits(flow, machine)
    return machine.weight_buffers * max(stage_weight_bits(stage, machine) for stage in flow.stages)


def multiplies(stage: Stage, phase: Phase) -> bool:
    """Tasks of this phase take the stage's weights, if it has any."""
    return phase is Phase.BACKWARD_HEAD or phase is (Phase.FORWARD_HEAD if stage.hands_off else Phase.FORWARD_CHAIN)


def weight_bits(flow: Flow, line: TaskLine, machine: Machine) -> int:
    """Bits of the weights that a line's tasks read in an image: all of them for each row that they multiply."""
    stage = flow.stages[line.stage]
    return stage_weight_bits(stage, machine) * line.rows if multiplies(stage, line.phase) else 0


def loaded_bits(grid: Grid, plan: SchedulePlan) -> np.ndarray:
    """Bits of weights that each task brings from DRAM, int64[tasks]: all its layer's where the task with weights before
    it on its unit had another's, forward and backward the same. Nothing where weights are on chip.
    """
    found = np.zeros(len(grid.line), np.int64)
    if grid.machine.weights is WeightMemory.CHIP:
        return found
    flow = grid.flow
    bits = np.array([
        stage_weight_bits(flow.stages[line.stage], grid.machine) * multiplies(flow.stages[line.stage], line.phase)
        for line in flow.lines
    ])  # fmt: skip
    stage = np.array([line.stage for line in flow.lines])
    order = plan.sequence[bits[grid.line[plan.sequence]] > 0]
    for unit in np.unique(plan.unit[order]):
        mine = order[plan.unit[order] == unit]
        here = stage[grid.line[mine]]
        fresh = mine[np.append(True, here[1:] != here[:-1])]
        found[fresh] = bits[grid.line[fresh]]
    return found
