"""The trace: complete, and in the form that Perfetto's importer of Chrome trace events reads without loss."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow import zoo
from bitrow.pipeline.banks import accesses, touched_banks
from bitrow.pipeline.machine import Machine
from bitrow.pipeline.occupancy import peak_rows
from bitrow.pipeline.rings import RingKind
from bitrow.pipeline.schedule import schedule
from bitrow.pipeline.trace import events, write_trace
from draws import examples
from pipeline_samples import machines, networks
from pipeline_simulation import Simulation

UNITS, BANKS, RINGS = 1, 2, 3


@pytest.fixture(scope="module")
def run():
    return schedule(zoo.resnet8((16, 16, 3)), images=2)


@pytest.fixture(scope="module")
def trace(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    many = write_trace(run, path)
    found = json.loads(path.read_text())["traceEvents"]
    assert len(found) == many
    return found


def nanoseconds(microseconds: float) -> int:
    """As Perfetto's importer takes times: a double times 1000.0, cut off."""
    return int(microseconds * 1000.0)


def test_every_task_access_and_counter_is_there(run, trace):
    tasks = [e for e in trace if e["ph"] == "X" and e["pid"] == UNITS]
    assert len(tasks) == len(run)
    assert max(e["args"]["cycle"] + e["args"]["cycles"] for e in tasks) == run.cycles
    touched = [touched_banks(line, run.slots, run.layout, run.images) for line in accesses(run.flow, run.rings)]
    assert sum(e["ph"] == "X" and e["pid"] == BANKS for e in trace) == sum((line >= 0).sum() for line in touched)
    names = {e["args"]["name"] for e in trace if e["ph"] == "M" and e["name"] == "thread_name"}
    assert {*run.units, "bank 0", "bank 31"} <= names
    counters = [e for e in trace if e["ph"] == "C"]
    assert {e["name"].split(" (")[0] for e in counters} == {ring.name for ring in run.rings}
    for ring in run.rings:
        mine = [e["args"]["rows"] for e in counters if e["name"].startswith(f"{ring.name} (")]
        assert max(mine) == peak_rows(run, ring) and mine[-1] == 0


@examples(20)
@given(networks(layers=4), machines(), st.integers(1, 2))
def test_the_accesses_of_the_trace_are_those_of_the_schedule(network, machine, images):
    """Each row of each ring, written once by each writer and read once by each reader, on the bank of its slot.

    Those of one task that find fewer ports than they are have a port each, one after another.
    """
    found = schedule(network, machine, images=images)
    traced: Counter = Counter()
    for event in events(found):
        if event["ph"] == "X" and event["pid"] == BANKS:
            bank = (event["tid"] - 100_000) // machine.ports
            traced[event["name"], bank] += 1
    expected: Counter = Counter()
    simulated = Simulation(found)
    for kind, by_task in (("read", simulated.reads), ("write", simulated.writes)):
        for ring, number in (access for rows in by_task.values() for access in rows):
            buffer = simulated.buffers[ring]
            if buffer.kind is not RingKind.HANDOFF:
                slot = number % buffer.slots if buffer.slots else number
                bank = buffer.home + (buffer.offset + slot % buffer.span) % machine.banks
                expected[f"{kind} {found.rings[ring].name}", bank] += 1
    assert traced == expected


def test_events_have_the_fields_that_their_phase_demands(trace):
    """Trace Event Format: complete events X, counters C, metadata M; names of lanes before what runs on them."""
    named: dict[str, set] = {"process_name": set(), "thread_name": set()}
    for event in trace:
        assert type(event["pid"]) is int and event["pid"] > 0 and type(event["name"]) is str and event["name"]
        match event["ph"]:
            case "M":
                place = event["pid"] if event["name"] == "process_name" else (event["pid"], event["tid"])
                named[event["name"]].add(place)
                assert set(event["args"]) == {"name"} and event["args"]["name"]
            case "X":
                assert (event["pid"], event["tid"]) in named["thread_name"] and type(event["tid"]) is int
                assert event["ts"] >= 0 and event["dur"] > 0 and type(event["cat"]) is str
            case "C":
                assert event["pid"] in named["process_name"] and event["ts"] >= 0
                assert list(event["args"]) == ["rows"] and type(event["args"]["rows"]) is int
            case _:
                raise AssertionError(event)
    threads = [thread for _, thread in named["thread_name"]]
    assert len(threads) == len(set(threads))  # Perfetto finds a thread's name by its number alone


def test_counters_go_forward_in_time_and_never_below_zero(trace):
    counters = defaultdict(list)
    for event in trace:
        if event["ph"] == "C":
            assert event["args"]["rows"] >= 0
            counters[event["name"]].append(nanoseconds(event["ts"]))
    for times in counters.values():
        assert all(a <= b for a, b in pairwise(times))


def test_times_are_the_cycles_in_nanoseconds(run, trace):
    for event in trace:
        if event["ph"] == "X" and event["pid"] == UNITS:
            assert nanoseconds(event["ts"]) == 2 * event["args"]["cycle"]  # 500 MHz
            assert nanoseconds(event["dur"]) == 2 * event["args"]["cycles"]


@examples(20)
@given(networks(layers=4), machines(), st.sampled_from([500.0, 333.0, 47.3, 1400.0]))
def test_lanes_never_overlap_by_a_nanosecond(network, machine, clock):
    """Perfetto nests what overlaps and drops what cannot be nested."""
    fields = {name: getattr(machine, name) for name in Machine.__dataclass_fields__}
    found = schedule(network, Machine(**{**fields, "clock_mhz": clock}))
    lanes: dict[tuple[int, int], int] = {}
    for event in events(found):
        if event["ph"] == "X":
            lane = event["pid"], event["tid"]
            assert nanoseconds(event["ts"]) >= lanes.get(lane, 0)
            lanes[lane] = nanoseconds(event["ts"]) + nanoseconds(event["dur"])
