"""`bitrow explore`: each machine's figures are those of a run of its own; front and choices, judged one by one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow.config import AddConfig, ConvConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.executors.team import Where
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.pipeline import explore_command, explore_state
from bitrow.pipeline.command import ReportFiles
from bitrow.pipeline.cost import Scope, total_area, total_energy
from bitrow.pipeline.cost_tables import DEFAULT_COSTS, CostTables, Range, costs_from
from bitrow.pipeline.explore import AXES, Point, Search, SweepAxes, batches, machines
from bitrow.pipeline.explore_command import ExploreRun, explore, findings, solve, varied
from bitrow.pipeline.explore_front import Candidate, choices, front, middle
from bitrow.pipeline.explore_page import page
from bitrow.pipeline.explore_report import as_json, as_rows
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, Mapping, machine_from
from bitrow.pipeline.policies import policy_named
from bitrow.pipeline.report import report
from bitrow.pipeline.schedule import schedule
from draws import examples


def _network() -> Network:
    """Convolutions of a stride and of single channels, and a shortcut."""
    nodes = (
        Node("first", ConvConfig(2, 1), (INPUT,), ConvSize(3, 3, 8)), Node("relu", ReluConfig(), ("first",)),
        Node("deep", ConvConfig(1, 1, 8), ("relu",), ConvSize(3, 3, 8)), Node("sum", AddConfig(), ("deep", "relu")),
        Node("last", ConvConfig(), ("sum",), ConvSize(1, 1, 5)),
    )  # fmt: skip
    return Network("small", (12, 12, 3), nodes, "last")


SMALL: SweepAxes = (("fxp_lanes", (64, 200)), ("dequantizer_lanes", (8, 32)), ("mapping", ("row", "best")))


def _alone(search: Search, machine: Machine) -> Point | str:
    """The same machine's own run, or why it cannot run."""
    try:
        run = schedule(search.network, machine, policy_named(search.policy), search.images, training=search.training)
        found = report(run, compare=False, costs=search.costs)
    except BitrowError as error:
        return str(error)
    energy, area = total_energy(found.cost, Scope.CHIP), total_area(found.cost)
    return Point(found.schedule.cycles, found.cost.counts.flops, found.memory.total, energy, area)


OWN_COSTS = costs_from({"energy_pj": {"fxp_mac": {"low": 1, "high": 2, "source": "ours"}}})


@pytest.mark.parametrize(("axes", "base", "policy", "costs"), [
    ((*SMALL, ("packing", ("lifetimes", "rings")), ("banks", (8, 16))), {}, "row_pipelined_overlap", DEFAULT_COSTS),
    ((("fp_lanes", (8, 64)), ("ring_rule", ("K", "K+S", "unbounded")), ("ports", (1, 2))), {}, "row_pipelined_overlap",
     OWN_COSTS),
    ((("fxp_lanes", (500, 100)), ("clock_mhz", (100, 800)), ("bank_depth", (0, 30, 100)), ("packing", ("rings",
     "lifetimes"))), {"shared": False, "fp_mul_lanes": 200, "fp_add_lanes": 200, "dequantizer_lanes": 200},
     "row_pipelined", DEFAULT_COSTS),
    ((("weights", ("chip", "dram")), ("mac", ("fxp", "fp16")), ("weight_buffers", (1, 2)),
      ("images_at_once", (1, 2, 4))), {}, "layer_by_layer", DEFAULT_COSTS),
])  # fmt: skip
def test_every_machine_has_the_figures_of_a_run_of_its_own(axes: SweepAxes, base, policy: str, costs: CostTables):
    search = Search(_network(), axes, replace(DEFAULT_MACHINE, **base), policy, images=2, training=True, costs=costs)
    points = solve(search)
    every = list(machines(search))
    assert [points[place] for place in range(len(every))] == [_alone(search, machine) for machine in every]


def test_machines_that_share_a_schedule_are_timed_once(monkeypatch):
    """Dequantizers that nothing waits for and the packing cost no further schedule."""
    calls: list[Machine] = []

    def counted(network, machine, *given, **more):
        calls.append(machine)
        return schedule(network, machine, *given, **more)

    monkeypatch.setattr("bitrow.pipeline.explore.schedule", counted)
    axes = (("dequantizer_lanes", (512, 1024)), ("packing", ("lifetimes", "rings")), ("clock_mhz", (100, 200)))
    assert len(solve(Search(_network(), axes))) == 8 and len(calls) == 1


def test_all_axes_are_at_least_10000_machines():
    search = Search(_network())
    every = list(machines(search))
    assert len(every) == len(set(every)) >= 10_000 and DEFAULT_MACHINE in every
    named = [name for name, _ in AXES]
    assert {"fxp_lanes", "fp_lanes", "dequantizer_lanes", "banks", "ports", "ring_rule", "mapping"} < set(named)
    places = [place for batch in batches(every) for place in batch.places]
    assert sorted(places) == list(range(len(every)))


@pytest.mark.parametrize(("axes", "message"), [
    ((("lanes", (1,)),), "axes: found 'lanes', expected each once of bank_depth, "),
    ((("banks", (1,)), ("banks", (2,))), "axes: found 'banks'"),
    ((("banks", ()),), "axes: found no values of banks"),
    ((("name", ("x",)),), "axes: found 'name'"),
    ((("banks", (0,)),), "banks: found 0, expected a whole number from 1"),
    ((("fp_lanes", (1.5,)),), "fp_mul_lanes: found 1.5"),
    ((("mapping", ("fast",)),), "mapping: found 'fast', expected one of 'row', 'split', 'channel', 'best'"),
    ((("fxp_lanes", tuple(range(1, 402))), ("banks", tuple(range(1, 401)))), "axes: found 160,400 machines"),
])  # fmt: skip
def test_axes_that_cannot_be_are_refused(axes: SweepAxes, message: str):
    with pytest.raises(BitrowError) as error:
        list(machines(Search(_network(), axes)))
    assert message in str(error.value) and "\n" not in str(error.value)


figures = st.integers(1, 4).map(float)
points = st.builds(
    lambda cycles, memory, energy, area: Point(cycles, 10**9, memory, Range(energy, 2 * energy), Range(area, area)),
    st.integers(1, 4), st.integers(1, 4), figures, figures,
)  # fmt: skip


@examples(60)
@given(st.lists(points, min_size=1, max_size=40))
def test_the_front_is_what_nothing_beats(drawn: list[Point]):
    found = [Candidate(Machine(name=f"m{place}"), point, 1) for place, point in enumerate(drawn)]
    kept = front(found)

    def as_good(one: Candidate, other: Candidate) -> bool:
        return all(a <= b for a, b in zip(one.goals, other.goals, strict=True))

    for place, one in enumerate(found):
        better = any(as_good(other, one) and other.goals != one.goals for other in found)
        equal_before = any(other.goals == one.goals for other in found[:place])
        assert (one in kept) == (not better and not equal_before)
    assert [one.seconds for one in kept] == sorted(one.seconds for one in kept)


@examples(40)
@given(st.lists(points, min_size=1, max_size=20), st.integers(1, 4))
def test_chosen_machines_are_the_best_of_all(drawn: list[Point], cycles: int):
    found = [Candidate(Machine(name=f"m{place}"), point, 1) for place, point in enumerate(drawn)]
    fps = 500e6 / cycles
    enough = [one for one in found if one.point.cycles <= cycles]
    if not enough:
        with pytest.raises(BitrowError, match=r"--fps: found .*, expected at most"):
            choices(found, fps)
        return
    chosen = choices(found, fps, found[-1])
    no_worse = [one for one in found if all(a <= b for a, b in zip(one.goals, found[-1].goals, strict=True))]
    fastest = chosen[f"fastest, in nothing worse than {found[-1].machine.name}"]
    assert fastest in no_worse and fastest.seconds == min(one.seconds for one in no_worse)
    smallest = chosen[f"smallest for {fps:g} frames/s"]
    assert smallest in enough and smallest.point.area.low == min(one.point.area.low for one in enough)
    densest = chosen["densest, GFLOPS/mm2"]
    assert middle(densest.gflops_per_mm2) == max(middle(one.gflops_per_mm2) for one in found)
    assert chosen["fastest"].point.cycles == min(one.point.cycles for one in found)
    assert chosen["least energy"].point.energy == min(one.point.energy for one in found)
    product = [one.seconds * middle(one.microjoules) * middle(one.mm2) for one in found]
    assert found.index(chosen["balanced: least time x energy x area"]) in [
        place for place, value in enumerate(product) if value == pytest.approx(min(product))
    ]


def test_a_search_is_taken_up_where_it_stopped(tmp_path, monkeypatch):
    search = Search(_network(), SMALL)
    path = explore_state.place(tmp_path, search)
    whole = solve(search, path)
    todo = batches(list(machines(search)))
    kept = explore_state.begin(path, search)
    sound = path.read_bytes()
    lost = kept.get(todo[1])
    assert len(todo) > 1 and all(kept.get(batch) for batch in todo)
    head, *lines = sound.splitlines(keepends=True)
    path.write_bytes(head + lines[0] + b"".join(lines[2:]))
    seen = []
    monkeypatch.setattr(explore_command, "evaluate", lambda search, batch: seen.append(batch.number) or lost)
    assert solve(search, path) == whole and seen == [1]
    assert solve(search, path) == whole and seen == [1]
    with pytest.raises(BitrowError, match=r"found another file, or what other versions .*--fresh starts over"):
        explore_state.begin(path, replace(search, images=1))
    assert explore_state.place(tmp_path, replace(search, images=1)) != path
    named = dict.fromkeys((name for name, _ in SMALL), 7) | {"mapping": Mapping.CHANNEL}
    assert explore_state.place(tmp_path, replace(search, base=replace(DEFAULT_MACHINE, **named))) == path
    assert explore_state.place(tmp_path, replace(search, base=replace(DEFAULT_MACHINE, banks=7))) != path
    path.write_bytes(head + lines[0] + lines[1].replace(b"[[", b"[[1", 1) + b"".join(lines[2:]))
    assert solve(search, path) == whole and seen == [1, 1]  # a damaged batch is found anew
    solve(search, path, fresh=True)
    assert seen == [1, 1, *range(len(todo))]


@pytest.mark.slow
def test_other_processes_find_the_same():
    search = Search(_network(), SMALL)
    assert solve(search, where=Where(jobs=2)) == solve(search)


def _run(tmp_path, **more) -> ExploreRun:
    axes = ("fxp_lanes=64,8192", "dequantizer_lanes=64", "fp_lanes=128", "banks=64", "ports=1", "ring_rule=K+S")
    return ExploreRun("resnet8", (8, 8), vary=axes, state=tmp_path / "state", **more)


def test_the_files_have_the_front_and_the_chosen(tmp_path, capsys):
    files = ReportFiles(json_file=tmp_path / "a.json", csv_file=tmp_path / "a.csv", html_file=tmp_path / "a.html")
    found = explore(_run(tmp_path, fps=100.0), files, Where(jobs=1))
    printed = capsys.readouterr().out
    assert "smallest for 100 frames/s" in printed and "as given: default28" in printed
    assert "16 machines, " in printed
    table = json.loads(files.json_file.read_text())
    assert table == json.loads(json.dumps(as_json(found)))
    assert [machine_from(one["machine"]) for one in table["front"]] == [one.machine for one in found.front]
    given = table["chosen"]["as given: default28"]
    run = report(schedule(found.search.network, images=2, training=found.search.training), compare=False)
    assert (given["cycles"], given["frames_per_second"]) == (run.schedule.cycles, run.frames_per_second)
    assert len(files.csv_file.read_text().splitlines()) == 1 + len(found.front) == 1 + len(list(as_rows(found)))
    html = files.html_file.read_text()
    for place in range(1, len(found.front) + 1):
        assert html.count(f'href="#m{place}"') == 4 and html.count(f'<tr id="m{place}">') == 1
        assert all(f'id="{view}-p{place}"' in html for view in ("area", "energy", "memory", "build"))
    assert "<script" not in html and "target=" not in html and html == page(found)
    assert len(found.marked) == 8 and all(html.count(f">{escape(name)}<") == 1 + 4 for name in found.marked)


def test_a_search_that_no_machine_answers_is_refused(tmp_path):
    search = Search(_network(), (("bank_depth", (1,)),))
    with pytest.raises(BitrowError, match="found no machine that runs it: machine default28 bank_depth: found 1 words"):
        findings(search, solve(search))
    with pytest.raises(BitrowError, match="--fps: found 1e"):
        explore(_run(tmp_path, fps=1e12), ReportFiles(), Where(jobs=1))


def test_axes_from_the_command_line():
    found = dict(varied(["banks=8,8,16", "shared=true,false", "clock_mhz=0.5,100", "mapping=row"]))
    assert found["banks"] == (8, 16) and found["shared"] == (True, False) and found["clock_mhz"] == (0.5, 100)
    assert found["mapping"] == ("row",) and found["ports"] == dict(AXES)["ports"]
    with pytest.raises(BitrowError, match="--vary: found 'banks', expected FIELD"):
        varied(["banks"])
    assert Mapping(found["mapping"][0]) is Mapping.ROW


def test_the_lines_of_the_docs(capsys):
    page = (Path(__file__).parents[1] / "docs" / "pipeline.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(lines, {})
    assert capsys.readouterr().out.startswith("smallest for 1000 frames/s 256 ")
