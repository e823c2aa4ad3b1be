"""Random networks, machines and policies before a judge that shares no code with the schedule (SPEC.md C1, C2)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow.graph import INPUT
from bitrow.pipeline.policies import POLICIES
from bitrow.pipeline.schedule import schedule
from draws import examples
from pipeline_judge import Judge, timing_of
from pipeline_samples import machines, networks

FAULTS = 50  # of each network


@st.composite
def runs(draw):
    """Own units or shared, 1 to 4 ports, 1 to 32 banks, every ring rule and packing, batch statistics among them."""
    network, machine = draw(networks()), draw(machines())
    names = st.sampled_from([INPUT, *(node.name for node in network.nodes)])
    training = draw(st.one_of(st.booleans(), st.frozensets(names, min_size=1, max_size=3)))
    policy = draw(st.sampled_from(list(POLICIES.values())))
    return schedule(network, machine, policy, draw(st.integers(1, 3)), training=training)


def _sound(found) -> None:
    assert next(Judge(found).faults(timing_of(found)), None) is None


def _caught(found) -> None:
    """A task has no cycle to spare: each begins as soon as it may, so any that begins a cycle earlier is wrong."""
    judge, timing = Judge(found), timing_of(found)
    late = [task for task, (start, _) in timing.items() if start > 0]
    for task in random.Random(len(timing)).sample(late, min(FAULTS, len(late))):
        start, end = timing[task]
        assert next(judge.faults({**timing, task: (start - 1, end - 1)}), None), task


@examples(40)
@given(runs())
def test_no_schedule_breaks_a_rule(found):
    _sound(found)


@examples(8)
@given(runs())
def test_every_task_that_begins_too_early_is_caught(found):
    _caught(found)


@pytest.mark.slow
@examples(2000, shrink=False)
@given(runs())
def test_no_schedule_of_2000_breaks_a_rule(found):
    _sound(found)


@pytest.mark.slow
@examples(100, shrink=False)
@given(runs())
def test_every_task_that_begins_too_early_is_caught_in_100(found):
    _caught(found)
