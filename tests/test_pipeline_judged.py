"""Random networks, machines and policies before a judge that shares no code with the schedule (SPEC.md C1, C2)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from bitrow.errors import BitrowError
from bitrow.graph import INPUT
from bitrow.pipeline.machine import RingRule
from bitrow.pipeline.policies import POLICIES
from bitrow.pipeline.schedule import schedule
from draws import examples
from pipeline_judge import Judge, timing_of
from pipeline_samples import machines, networks

FAULTS = 50  # of each network


@st.composite
def runs(draw):
    """Own units or shared, 1 to 4 ports, 1 to 32 banks, every ring rule, packing and mapping, 1 to 3 images in a row,
    batch statistics among them.
    """
    network, at_once = draw(networks()), draw(st.integers(1, 3))
    machine = replace(draw(machines()), images_at_once=at_once)
    names = st.sampled_from([INPUT, *(node.name for node in network.nodes)])
    training = draw(st.one_of(st.booleans(), st.frozensets(names, min_size=1, max_size=3)))
    policy = draw(st.sampled_from(list(POLICIES.values())))
    images = at_once * draw(st.integers(1, 3))
    try:
        return schedule(network, machine, policy, images, training=training)
    except BitrowError as error:  # fewer slots than the order of tasks needs are refused, and K + S never are
        if machine.ring_rule in (RingRule.K, RingRule.K_PLUS_1) and "a ring too short for the order" in str(error):
            reject()
        raise


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
