"""Rows in banks: the proof for a window, conflicts found in a run, and the allocator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow import zoo
from bitrow.config import ConvConfig, ReluConfig
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.pipeline import banks as banking
from bitrow.pipeline.machine import Machine
from bitrow.pipeline.schedule import schedule
from bitrow.pipeline.stalls import conflicts
from draws import examples
from pipeline_samples import machines, networks


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 20))
def test_single_port_banks_are_free_of_conflicts_iff_there_are_k_plus_s(kernel, stride, banks):
    clashes = banking.window_clashes(kernel, stride, kernel + stride, banks)
    assert (not clashes) == (banks >= kernel + stride)
    assert (not banking.window_clashes(kernel, stride, 0, banks)) == (banks >= kernel + stride)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 20), st.integers(1, 4))
def test_a_clash_names_rows_that_meet_in_its_bank(kernel, stride, banks, ports):
    slots = kernel + stride
    for clash in banking.window_clashes(kernel, stride, slots, banks, ports):
        window = range(clash.output_row * stride, clash.output_row * stride + slots)
        assert len(clash.rows) > ports
        assert set(clash.rows) <= set(window)
        assert {row % slots % banks for row in clash.rows} == {clash.bank}


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 20), st.integers(1, 4))
def test_as_many_ports_as_rows_in_a_bank_are_enough(kernel, stride, banks, ports):
    enough = -(-(kernel + stride) // banks) <= ports
    found = banking.window_clashes(kernel, stride, kernel + stride, banks, ports)
    assert (not found) == enough


def _two_convolutions(kernel: int, stride: int, rows: int = 24) -> Network:
    conv = ConvConfig(padding=kernel // 2)
    strided = ConvConfig(padding=kernel // 2, stride=stride)
    nodes = (
        Node("first", conv, (INPUT,), ConvSize(kernel, kernel, 8)),
        Node("relu", ReluConfig(), ("first",)),
        Node("second", strided, ("relu",), ConvSize(kernel, kernel, 8)),
    )
    return Network("two", (rows, 16, 8), nodes, "second")


@pytest.mark.parametrize("kernel, stride", [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2), (7, 2)])
def test_a_run_finds_the_conflict_with_fewer_than_k_plus_s_banks(kernel, stride):
    """Units of their own and ports for all but the rows of one ring: conflicts iff B < K+S."""
    network = _two_convolutions(kernel, stride)
    for banks in (kernel + stride, kernel + stride - 1):
        machine = Machine(
            shared=False, banks=banks, fxp_lanes=128, dequantizer_lanes=64, bank_width=4096, input_width=4096
        )
        found = schedule(network, machine, images=3, training=False)
        meet = conflicts(found)
        lost = meet.cycles + meet.own_cycles
        assert (lost > 0) == (banks < kernel + stride), (banks, meet)


@examples(40)
@given(networks(), machines(), st.integers(1, 2))
def test_enough_ports_leave_no_conflicts(network, machine, images):
    found = schedule(network, machine, images=images, book_banks=False)
    meet = conflicts(found)
    assert meet.tasks == meet.cycles == meet.own_cycles == 0


@examples(40)
@given(networks(), machines(), st.integers(1, 2))
def test_reported_conflicts_are_those_that_delayed_a_task(network, machine, images):
    found = schedule(network, machine, images=images)
    for block in found.blocked:
        place = found.task_of[block.task]
        assert block.since < block.until <= found.start[place]
        assert 0 <= block.bank < found.layout.total


def test_the_allocator_makes_conflicts_cost_next_to_nothing():
    network = zoo.resnet18((64, 64, 3))
    for images in (1, 3):
        free = schedule(network, images=images, book_banks=False).cycles
        assert schedule(network, images=images).cycles < 1.02 * free


def test_the_allocator_fills_banks_evenly():
    found = schedule(zoo.resnet18((64, 64, 3)), images=2)
    words = banking.bank_words(found.rings, found.slots, found.layout, found.machine)
    assert words.max() < 1.35 * words.mean()


@examples(40)
@given(networks(), machines(), st.booleans())
def test_slots_of_a_ring_lie_in_different_banks_while_there_are_banks(network, machine, training):
    found = schedule(network, machine, training=training)
    layout = found.layout
    for ring, slots in zip(found.rings, found.slots, strict=True):
        span, many = layout.span[ring.index], min(slots or machine.banks, machine.banks)
        assert span <= many
        banks = (layout.offset[ring.index] + np.arange(span)) % layout.banks
        assert len(set(banks.tolist())) == span


def test_words_of_a_bank():
    found = schedule(zoo.resnet8((16, 16, 3)), Machine(banks=5, bank_width=64))
    words = banking.bank_words(found.rings, found.slots, found.layout, found.machine)
    total = sum(
        slots * -(-ring.row_bits // 64) for ring, slots in zip(found.rings, found.slots, strict=True) if ring.banked
    )
    assert words.sum() == total


def test_more_accesses_than_ports_take_as_many_times_longer():
    touched = np.array([[0, 1, 2], [0, 0, 1], [3, 3, 3], [-1, -1, 2]])
    assert banking.most_on_a_bank(touched).tolist() == [1, 2, 3, 1]


def test_a_run_without_conflicts_is_a_proof_and_one_with_names_the_first():
    network = _two_convolutions(3, 2)
    machine = Machine(shared=False, fxp_lanes=128, dequantizer_lanes=64, bank_width=4096, input_width=4096)
    free = conflicts(schedule(network, machine, images=2, training=False))
    assert free.proved and free.first is None
    found = schedule(network, replace(machine, banks=4), images=2, training=False)
    meet = conflicts(found)
    assert not meet.proved and meet.first is not None
    assert meet.first.since == min(block.since for block in found.blocked)
    assert meet.first.stage in {stage.name for stage in found.flow.stages}
    assert not conflicts(schedule(network, machine, book_banks=False)).proved
