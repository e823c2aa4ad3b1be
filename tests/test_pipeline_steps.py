"""Pairing rows into steps changes the sequence of tasks, and nothing that a task reads or a slot holds at the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitrow import zoo
from bitrow.errors import BitrowError
from bitrow.pipeline.check import order_of, slots_of
from bitrow.pipeline.emulator import Emulator
from bitrow.pipeline.memory import Store
from bitrow.pipeline.policies import POLICIES
from bitrow.pipeline.schedule import schedule
from bitrow.pipeline.stages import Phase
from bitrow.pipeline.steps import MOST, Touched, pair
from draws import examples
from pipeline_samples import machines, networks

LINES = [(stage, Phase.FORWARD_HEAD) for stage in range(4)]

slots = st.tuples(st.just(Store.CODE), st.integers(2, 6))
tasks = st.lists(
    st.tuples(
        st.sampled_from(LINES), st.lists(st.none() | slots, max_size=3), st.lists(slots, max_size=2, unique=True)
    ),
    max_size=30,
)


def replay(touched: list[Touched], steps: list[tuple[int, ...]]) -> tuple[dict, dict]:
    """What every task reads, as the numbers of the tasks that wrote it, and who wrote each slot last."""
    memory: dict[tuple[Store, int], int] = {}
    read = {}
    for group in steps:
        for task in group:
            read[task] = [memory.get(slot, -1) if slot else None for slot in touched[task].reads]
        for task in group:
            memory.update(dict.fromkeys(touched[task].writes, task))
    return read, memory


@examples(300)
@given(tasks, st.sets(st.sampled_from(LINES)))
def test_any_tasks_read_the_same_in_steps(tasks, pairable):
    """Any slots, too few among them: reads before their writers, slots overwritten too soon, two writers of one."""
    lines, touched = [line for line, *_ in tasks], [Touched(*slots) for _, *slots in tasks]
    steps = pair(lines, touched, pairable)
    assert sorted(task for group in steps for task in group) == list(range(len(tasks)))
    assert replay(touched, steps) == replay(touched, [(task,) for task in range(len(tasks))])
    place = {task: (number, member) for number, group in enumerate(steps) for member, task in enumerate(group)}
    for line in LINES:
        mine = [place[task] for task in range(len(tasks)) if lines[task] == line]
        assert mine == sorted(mine)  # rows of a line stay in order
    for group in steps:
        assert len(group) <= MOST and len({lines[task] for task in group}) == 1
        assert len(group) == 1 or lines[group[0]] in pairable


@examples(30)
@given(networks(), machines(), st.sampled_from(list(POLICIES.values())), st.integers(1, 2), st.booleans())
def test_steps_of_a_schedule_hold_each_task_once(network, machine, policy, images, training):
    try:
        found = schedule(network, machine, policy, images, training=training)
    except BitrowError:
        assume(False)
    emulator = Emulator(network, order_of(found), images=images, slots=slots_of(found), training=training)
    steps, columns = emulator.steps, emulator.steps.columns
    where = sorted(zip(steps.step.tolist(), steps.member.tolist(), strict=True))
    assert len(set(where)) == len(found)
    assert [step for step, member in where if member == 0] == list(range(len(steps.table)))
    row = steps.table[:, columns.row][steps.step, steps.member]
    image = steps.table[:, columns.image][steps.step, steps.member]
    assert np.array_equal(row, found.row) and np.array_equal(image, found.image)
    for task, program in enumerate(steps.table[steps.step, columns.PROGRAM].tolist()):
        line, size = steps.programs[program]
        assert line == (found.stage[task], found.phase[task]) and size == steps.size[task]
    assert (steps.table[:, columns.ZERO] == 0).all()


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "vgg8", "mobilenetv2"])
def test_rings_of_k_plus_s_slots_have_room_for_pairs(name):
    found = schedule(zoo.build(name, (64, 64, 3)), training=False)
    emulator = Emulator(found.flow.network, order_of(found), slots=slots_of(found), training=False)
    assert len(emulator.steps.table) < 0.8 * len(found)
