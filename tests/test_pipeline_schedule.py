"""The schedule against an independent simulation, and its contract on random networks and machines.

Rows follow SPEC.md C1 and C2; the sum at a fan-out follows A5; statistics of the batch are B2's barrier.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow import zoo
from bitrow.config import ConvConfig
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.pipeline import banks as banking
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, Packing, RingRule, WeightMemory
from bitrow.pipeline.occupancy import peak_rows, row_lives
from bitrow.pipeline.policies import POLICIES, SchedulePlan, layer_by_layer, row_pipelined, row_pipelined_overlap
from bitrow.pipeline.rings import SAVED
from bitrow.pipeline.schedule import Schedule, schedule, task_ids
from bitrow.pipeline.stages import Phase
from draws import examples
from network_samples import every_layer
from pipeline_samples import machines, networks
from pipeline_simulation import Simulation

policies = st.sampled_from(list(POLICIES.values()))
images_of = st.integers(1, 3)


@st.composite
def runs(draw):
    """A forward pass alone, all gradients, or those that some trained layers need."""
    network = draw(networks())
    names = st.sampled_from([INPUT, *(node.name for node in network.nodes)])
    training = draw(st.one_of(st.booleans(), st.frozensets(names, min_size=1, max_size=3)))
    return network, draw(machines()), draw(policies), draw(images_of), training


def _schedule(run) -> Schedule:
    network, machine, policy, images, training = run
    return schedule(network, machine, policy, images, training=training)


def _timing(found: Schedule) -> dict:
    keys = zip(
        found.stage.tolist(),
        map(Phase, found.phase.tolist()),
        found.image.tolist(),
        found.row.tolist(),
        strict=True,
    )
    return dict(zip(keys, zip(found.start.tolist(), found.end.tolist(), strict=True), strict=True))


@examples(60)
@given(runs())
def test_starts_and_ends_equal_an_independent_simulation(run):
    found = _schedule(run)
    assert _timing(found) == Simulation(found).run()


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
def test_resnet8_equals_an_independent_simulation(policy, shared):
    machine = Machine(shared=shared, dequantizer_lanes=64, fp_mul_lanes=64, fp_add_lanes=64)
    found = schedule(zoo.resnet8((16, 16, 3)), machine, policy, 2)
    assert _timing(found) == Simulation(found).run()


@examples(80)
@given(runs())
def test_every_row_once_and_after_all_it_needs(run):
    """SPEC.md C1, C2: windows of rows, forward and backward."""
    found = _schedule(run)
    timing = _timing(found)
    assert len(timing) == len(found) == found.flow.rows * found.images
    last, flow = found.images - 1, found.flow
    needs = {line[:2]: flow.buffers.needs(flow.stages[line.stage], line.phase) for line in flow.lines}
    for (stage, phase, image, row), (start, _) in timing.items():
        for need in (need_of(row) for need_of in needs[stage, phase]):
            other = last if need.whole_batch else image
            delay = found.machine.statistics_latency if need.whole_batch else 0
            delay += found.machine.loss_latency if need.loss else 0
            assert timing[need.stage, need.phase, other, need.last][1] + delay <= start


def _first_unwritten(found: Schedule) -> str:
    """The first row that a task reads before all who write it have ended; "" for none."""
    for ring in found.rings:
        written = np.full(found.images * ring.rows, -1)
        for phase_end in range(ring.per):
            each = np.arange(len(written))
            image, row = np.divmod(each, ring.rows)
            ids = task_ids(found.grid, ring.writer, image, row * ring.per + phase_end)
            written = np.maximum(written, found.end[found.task_of[ids]])
        for reader in ring.readers:
            many = len(reader.first)
            for task in range(found.images * many):
                image, row = divmod(task, many)
                start = found.start[found.task_of[task_ids(found.grid, reader.line, image, row)]]
                rows = written[image * ring.rows + reader.first[row] : image * ring.rows + reader.last[row] + 1]
                if (rows > start).any():
                    return f"{ring.name} row {row} of image {image}: read at {start}, written until {rows.max()}"
    return ""


@examples(80)
@given(runs())
def test_no_row_is_read_before_it_is_written(run):
    """Masks, winners and activation inputs as well: the forward pass of a row may end after the loss."""
    assert not _first_unwritten(_schedule(run))


@pytest.mark.parametrize("built", [{"shared": False}, {"ports": 2}, {"ports": 4}])
def test_a_mask_that_no_window_reads_is_a_dependency(built):
    """A window of 3 at stride 2 reads rows 0 to 8 of 10: row 9 still comes from the host when the gradient is there."""
    network = Network(
        "late", (10, 40, 4), (Node("down", ConvConfig(stride=2), (INPUT,), ConvSize(3, 3, 1)),), "down"
    )
    found = schedule(network, Machine(loss_latency=0, input_width=4, **built), images=2)
    assert not _first_unwritten(found)
    loader = found.flow.line(0, Phase.FORWARD_CHAIN)
    assert found.flow.before_loss[loader] == 8 and found.flow.lines[loader].rows == 10


@examples(80)
@given(runs())
def test_arrays_are_an_order_of_execution_with_rows_in_order(run):
    found = _schedule(run)
    assert (np.diff(found.start) >= 0).all()
    assert (found.end > found.start).all()
    for line in range(len(found.flow.lines)):
        mine = found.line == line
        numbers = found.image[mine] * found.flow.lines[line].rows + found.row[mine]
        assert (np.diff(numbers) == 1).all()
    for unit in range(len(found.units)):
        mine = found.unit == unit
        assert (found.start[mine][1:] >= found.end[mine][:-1]).all()


@examples(80)
@given(runs())
def test_no_slot_is_overwritten_before_its_last_reader(run):
    found = _schedule(run)
    for ring, slots in zip(found.rings, found.slots, strict=True):
        in_one_queue = found.plan.one_queue and not ring.banked
        if not slots or in_one_queue:
            continue
        born = row_lives(found, ring).born
        for reader in ring.readers:
            task = np.arange(found.images * len(reader.first))
            image, row = np.divmod(task, len(reader.first))
            end = found.end[found.task_of[task_ids(found.grid, reader.line, image, row)]]
            for step in range(int((reader.last - reader.first).max()) + 1):
                read = reader.first[row] + step
                here = read <= reader.last[row]
                next_in_slot = (image * ring.rows + read + slots)[here]
                inside = next_in_slot < len(born)
                assert (end[here][inside] <= born[next_in_slot[inside]]).all(), ring.name


@examples(80)
@given(runs())
def test_occupancy_never_above_capacity(run):
    found = _schedule(run)
    for ring, slots in zip(found.rings, found.slots, strict=True):
        if slots and not (found.plan.one_queue and not ring.banked):
            assert peak_rows(found, ring) <= slots, ring.name
    if found.plan.one_queue:
        heads = [line for line in range(len(found.flow.lines)) if _feeds_queue(found, line)]
        change = []
        for line in heads:
            rows = found.flow.lines[line].rows * found.images
            ids = task_ids(found.grid, line, 0, np.arange(rows))
            chain = found.flow.line(found.flow.lines[line].stage, Phase.FORWARD_CHAIN)
            after = task_ids(found.grid, chain, 0, np.arange(rows))
            change += [(time, 1) for time in found.start[found.task_of[ids]].tolist()]
            change += [(time, -1) for time in found.end[found.task_of[after]].tolist()]
        level = np.cumsum([step for _, step in sorted(change)])
        assert level.max(initial=0) <= found.machine.handoff_rows


def _feeds_queue(found: Schedule, line: int) -> bool:
    place = found.flow.lines[line]
    return place.phase is Phase.FORWARD_HEAD and isinstance(found.flow.stages[place.stage].head.config, ConvConfig)


@examples(80)
@given(runs())
def test_no_two_accesses_on_a_port_in_a_cycle(run):
    found = _schedule(run)
    ports = found.machine.ports
    times: dict[int, list[tuple[int, int]]] = {}
    for line, accesses in enumerate(banking.accesses(found.flow, found.rings)):
        touched = banking.touched_banks(accesses, found.slots, found.layout, found.images)
        for task, row in enumerate(touched.tolist()):
            place = found.task_of[task_ids(found.grid, line, 0, task)]
            start, end = int(found.start[place]), int(found.end[place])
            for bank in set(row) - {-1}:
                many = min(row.count(bank), ports)
                # A task with more accesses than ports takes as many times longer.
                assert end - start >= found.compute[place] * -(-row.count(bank) // ports)
                times.setdefault(bank, []).extend([(start, many), (end, -many)])
    for bank, changes in times.items():
        level = 0
        for _, step in sorted(changes):
            level += step
            assert 0 <= level <= ports, bank


@examples(40)
@given(networks(), machines(), images_of)
def test_the_overlap_never_takes_longer_in_all_units_together(network, machine, images):
    """Both pipelines do the same work; only the waiting differs, and what a unit of other tasks brings from DRAM."""
    machine = replace(machine, weights=WeightMemory.CHIP)
    one = schedule(network, machine, row_pipelined, images)
    two = schedule(network, machine, row_pipelined_overlap, images)
    assert int(one.compute.sum()) == int(two.compute.sum())


def test_layer_by_layer_runs_one_unit_and_finishes_a_layer_before_the_next():
    found = schedule(zoo.resnet8((16, 16, 3)), DEFAULT_MACHINE, layer_by_layer, 2)
    assert found.units == ("loader", "arrays")
    ends = {}
    for line in range(len(found.flow.lines)):
        for image in range(2):
            mine = (found.line == line) & (found.image == image)
            ends[image, line] = found.start[mine].min(), found.end[mine].max()
    forward = [place for place, line in enumerate(found.flow.lines) if line.phase < Phase.BACKWARD_CHAIN][1:]
    for image in range(2):
        for before, after in pairwise(forward):
            assert ends[image, before][1] <= ends[image, after][0]


def test_overlap_is_faster_than_taking_turns_and_than_layer_by_layer():
    network = zoo.resnet8((32, 32, 3))
    cycles = [schedule(network, DEFAULT_MACHINE, policy, 2).cycles for policy in POLICIES.values()]
    assert cycles[2] < cycles[1] < cycles[0]


def test_backward_of_one_image_overlaps_forward_of_the_next():
    found = schedule(zoo.resnet8((32, 32, 3)), DEFAULT_MACHINE, row_pipelined_overlap, 3)
    backward = found.phase >= Phase.BACKWARD_CHAIN
    first_back = found.start[backward & (found.image == 0)].min()
    last_forward = found.end[~backward & (found.image == 1)].max()
    assert first_back < last_forward


def test_images_in_flight_bound_what_is_kept_for_backward():
    network = zoo.resnet8((16, 16, 3))
    slower = schedule(network, Machine(images_in_flight=1), images=3)
    faster = schedule(network, Machine(images_in_flight=3), images=3)
    for found, most in ((slower, 1), (faster, 3)):
        saved = [ring for ring in found.rings if ring.kind in SAVED]
        assert saved
        assert all(peak_rows(found, ring) <= most * ring.rows for ring in saved)
    assert faster.cycles < slower.cycles


def test_batch_statistics_are_a_barrier():
    """SPEC.md B2: no row is normalized before the last row of the batch was summed."""
    machine = Machine(images_in_flight=3)
    found = schedule(every_layer(), machine, images=3)
    stage = next(s for s in found.flow.stages if s.barrier)
    summed = found.end[(found.stage == stage.index) & (found.phase == Phase.FORWARD_HEAD)].max()
    normal = found.start[(found.stage == stage.index) & (found.phase == Phase.FORWARD_CHAIN)].min()
    assert normal >= summed + machine.statistics_latency


def test_batch_statistics_need_the_whole_batch_in_flight():
    with pytest.raises(BitrowError, match=r"images_in_flight: found 2, expected 3.*\(1 short\)"):
        schedule(every_layer(), Machine(images_in_flight=2), images=3)


@pytest.mark.parametrize("images", [0, -1])
def test_refuses_no_images(images):
    with pytest.raises(BitrowError, match=f"images: found {images}, expected 1 or more"):
        schedule(zoo.resnet8((8, 8, 3)), images=images)


def test_refuses_too_few_lanes_for_own_units_and_says_how_many_are_missing():
    machine = Machine(shared=False, dequantizer_lanes=3)
    with pytest.raises(BitrowError, match=r"dequantizer_lanes: found 3, expected 9 or more.*\(6 short\)"):
        schedule(zoo.resnet8((16, 16, 3)), machine)


def test_refuses_banks_that_are_not_deep_enough_and_says_by_how_much():
    fits = schedule(zoo.resnet8((16, 16, 3)), Machine())
    words = banking.bank_words(fits.rings, fits.slots, fits.layout, fits.machine)
    deep = Machine(bank_depth=int(words.max()), packing=Packing.RINGS)
    assert schedule(zoo.resnet8((16, 16, 3)), deep).cycles == fits.cycles
    with pytest.raises(BitrowError, match=r"bank_depth: found \d+ words.*\(1 words short\)"):
        schedule(zoo.resnet8((16, 16, 3)), replace(deep, bank_depth=int(words.max()) - 1))


def test_a_policy_may_be_any_function_and_a_bad_order_is_refused():
    def backwards(grid):
        plan = row_pipelined(grid)
        return SchedulePlan(plan.sequence[::-1], plan.unit, plan.units)

    with pytest.raises(BitrowError, match=r"wait for one another|too short for the order"):
        schedule(zoo.resnet8((8, 8, 3)), policy=backwards)


def test_run_time_grows_with_images_only_in_proportion():
    """Twice the images are twice the tasks, and each image takes as many cycles again."""
    network = zoo.resnet8((16, 16, 3))
    few, many = (schedule(network, images=images) for images in (4, 8))
    assert len(many) == 2 * len(few)
    assert many.cycles < 2.05 * few.cycles


def test_slots_of_the_paper_keep_the_pace_of_unbounded_rings():
    """K+S slots: 1.00 of the cycles with unbounded rings; K slots are slower."""
    network = zoo.resnet20((32, 32, 3))
    cycles = {rule: schedule(network, Machine(ring_rule=rule), images=3, book_banks=False).cycles for rule in RingRule}
    assert cycles[RingRule.K_PLUS_S] / cycles[RingRule.UNBOUNDED] == pytest.approx(1, abs=0.005)
    assert cycles[RingRule.K] > 1.02 * cycles[RingRule.UNBOUNDED]
