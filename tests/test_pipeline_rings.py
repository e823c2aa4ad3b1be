"""Ring sizes by formula, and the same found by running the balanced pipeline (SPEC.md C1, C2)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow import zoo
from bitrow.pipeline.flow import dataflow
from bitrow.pipeline.machine import DEFAULT_MACHINE, Mac, Machine, RingRule
from bitrow.pipeline.policies import make_grid, row_pipelined_overlap
from bitrow.pipeline.ring_sizes import balanced_run, ring_sizes
from bitrow.pipeline.rings import SAVED, RingKind, build_rings
from bitrow.pipeline.schedule import ring_capacities, schedule
from bitrow.pipeline.slot_table import sizes, sizes_markdown, slowdown_markdown, slowdowns
from draws import examples
from network_samples import every_layer
from pipeline_samples import Head, head_of, networks

FOUR = ("resnet18", "resnet20", "mobilenetv2", "vgg8")


@pytest.mark.parametrize("name", FOUR)
@pytest.mark.parametrize("training", [True, False], ids=["training", "forward"])
def test_found_sizes_equal_the_formula(name, training):
    sizes = ring_sizes(zoo.build(name, (64, 64, 3)), training=training)
    assert sizes
    assert [(size.ring.name, size.found) for size in sizes] == [(size.ring.name, size.formula) for size in sizes]


@examples(60)
@given(networks(barrier=False, least_rows=60, most_rows=90, layers=5), st.integers(1, 3), st.booleans())
def test_found_sizes_equal_the_formula_on_maps_that_are_high_enough(network, images, training):
    for size in ring_sizes(network, images=images, training=training):
        assert size.found <= size.formula
        if size.ring.rows >= 2 * size.formula + 8:
            assert size.found == size.formula, size.ring.name


@examples(60)
@given(networks(), st.integers(1, 3), st.booleans())
def test_small_maps_never_need_more_than_the_formula(network, images, training):
    for size in ring_sizes(network, images=images, training=training):
        assert size.found <= size.formula, size.ring.name


@examples(40)
@given(networks(), st.integers(1, 3))
def test_the_balanced_pipeline_keeps_its_timetable(network, images):
    """No row is late: the straight lines of beats are a schedule."""
    found = balanced_run(network, images=images)
    assert (found.start[found.task_of] == found.plan.start).all()


def _slots(network, machine=DEFAULT_MACHINE, images=2, training=True):
    flow = dataflow(network, training)
    grid = make_grid(flow, machine, images)
    rings = build_rings(flow, machine)
    return flow, dict(zip(rings, ring_capacities(grid, row_pipelined_overlap(grid), rings), strict=True))


def test_a_chain_of_convolutions_has_k_plus_s_slots():
    flow, slots = _slots(zoo.vgg8((64, 64, 3)))
    checked = 0
    for ring, many in slots.items():
        stage = flow.stages[ring.stage]
        if ring.kind is RingKind.INPUT and head_of(stage) in (Head.CONV, Head.MAX_POOL) and ring.rows > 8:
            assert many == stage.window.kernel + stage.window.stride
            checked += 1
    assert checked == 9


def test_output_gradients_have_ceil_k_over_s_plus_one_slots():
    flow, slots = _slots(zoo.resnet18((224, 224, 3)))
    for ring, many in slots.items():
        if ring.kind is RingKind.DY and ring.rows > 8:
            kernel, stride, *_ = flow.stages[ring.stage].window
            assert many == -(-kernel // stride) + 1


def test_a_skip_holds_what_is_under_way_on_the_longer_path():
    """Two 3x3 convolutions, each a row behind in window, in work and in the FP array: 5 rows, and 2 to pass."""
    _, slots = _slots(zoo.resnet20((32, 32, 3)))
    skips = {ring.name: many for ring, many in slots.items() if ring.kind is RingKind.SKIP}
    assert skips["s1b1_2_conv.s1b1_add.skip"] == 7


def test_saved_bits_have_a_map_for_each_image_in_flight():
    _, slots = _slots(zoo.resnet8((16, 16, 3)), Machine(images_in_flight=2), images=5)
    for ring, many in slots.items():
        if ring.kind in SAVED:
            assert many == 2 * ring.rows


def test_row_bits():
    """SPEC.md Q5: 4-bit codes pack two to a byte, and a row starts on a byte."""
    flow = dataflow(every_layer(), True)
    bits = {ring.name: ring.row_bits for ring in build_rings(flow, DEFAULT_MACHINE)}
    assert bits["c1.x"] == 8 * 8  # 8 columns of 2 channels, 4 bits
    assert bits["c1.mask"] == 16
    assert bits["c2.x"] == 8 * 8  # 4 columns of 4 channels
    assert bits["m1.x"] == 8 * 4 * 16
    assert bits["m1.index"] == 4 * 4 * 4
    assert bits["c1.deq"] == 8 * 4 * 16
    assert bits["a1.sum"] == 2 * 4 * 32
    odd = dataflow(zoo.resnet8((5, 5, 3)), True)
    first = next(ring for ring in build_rings(odd, DEFAULT_MACHINE) if ring.name == "stem_conv.x")
    assert first.row_bits == 64  # 15 codes are 60 bits


def test_fp16_multipliers_keep_fp16_rows_and_no_masks():
    flow = dataflow(zoo.resnet8((16, 16, 3)), True)
    rings = build_rings(flow, Machine(mac=Mac.FP16))
    assert all(ring.kind is not RingKind.MASK for ring in rings)
    inputs = [ring for ring in rings if ring.kind is RingKind.INPUT and ring.name == "stem_conv.x"]
    assert inputs[0].row_bits == 16 * 3 * 16


@examples(40)
@given(networks(), st.integers(1, 3), st.booleans())
def test_fewer_slots_never_help_and_every_rule_runs(network, images, training):
    """Every rule of slots is enough for the order of tasks: no ring can deadlock."""
    rules = (RingRule.K, RingRule.K_PLUS_1, RingRule.K_PLUS_S)
    sizes = []
    for rule in rules:
        machine = Machine(ring_rule=rule, images_in_flight=3)
        found = schedule(network, machine, images=images, training=training, book_banks=False)
        sizes.append(found.slots)
    for few, more in pairwise(sizes):
        assert all(a <= b for a, b in zip(few, more, strict=True))


def test_a_ring_with_fewer_slots_than_its_window_is_refused():
    """One slot less than K is a ring in which the window does not fit."""
    from bitrow.pipeline.engine import Wait, Workload, run

    network = zoo.vgg8((16, 16, 3))
    found = schedule(network, replace(DEFAULT_MACHINE, ring_rule=RingRule.K), book_banks=False)
    ring = next(r for r in found.rings if r.name == "s1_2_conv.x")
    wait = next(w for w in found.waits if w.ring == ring.index)
    short = wait._replace(tasks=wait.tasks - 1)  # every row waits for the row after the one whose slot it takes
    waits = [short if w is wait else w for w in found.waits]
    duration = (found.end - found.start)[found.task_of]
    job = Workload(found.plan.sequence, found.plan.unit, duration, len(found.units), waits, None, [], 0, 0)
    assert isinstance(short, Wait)
    assert run(job).stuck


@pytest.mark.parametrize("name", ["resnet20", "vgg8"])
def test_the_tables_in_the_docs_are_what_the_command_prints(name):
    """Slots against cycles, and sizes found, as docs/pipeline.md shows them."""
    text = (Path(__file__).parents[1] / "docs" / "pipeline.md").read_text()
    for line in sizes_markdown(tuple(sizes((name,)))).splitlines():
        assert line in text
    rows = tuple(slowdowns((name,)))
    for line in slowdown_markdown(rows).splitlines():
        assert line in text
    assert all(f"{row.ratios[2]:.2f}" == "1.00" for row in rows)
    balanced = [row for row in rows if row.units == "balanced"]
    assert len(balanced) == 2
    assert all(row.ratios[0] > row.ratios[1] > 1.04 for row in balanced)
