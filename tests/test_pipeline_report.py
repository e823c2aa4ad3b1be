"""Reports: figures that must add up, files that must open, commands and their mistakes."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import bitrow.models
from bitrow import figures, zoo
from bitrow.config import BatchNormConfig, Statistics
from bitrow.errors import BitrowError
from bitrow.pipeline import ablate as ablations
from bitrow.pipeline import charts, command
from bitrow.pipeline.command import AblationRun, PipelineRun, ReportFiles
from bitrow.pipeline.cost import Scope
from bitrow.pipeline.html import page
from bitrow.pipeline.machine import DEFAULT_MACHINE, Mac, Machine, RingRule
from bitrow.pipeline.memory_size import FULL_MAPS, LAYERS, memory_size
from bitrow.pipeline.occupancy import curve, peak_rows, row_lives
from bitrow.pipeline.policies import POLICIES
from bitrow.pipeline.report import KB, as_dict, report, to_csv
from bitrow.pipeline.rings import SAVED
from bitrow.pipeline.schedule import schedule
from bitrow.pipeline.stages import Phase
from bitrow.pipeline.stalls import idle, stall_table, unit_busy, unit_kinds, utilization
from bitrow.pipeline.tables import print_report
from bitrow.pipeline.work import UNIT
from draws import examples
from network_samples import every_layer
from pipeline_samples import machines, networks

policies = st.sampled_from(list(POLICIES.values()))


@pytest.fixture(scope="module")
def small():
    return report(schedule(zoo.resnet8((16, 16, 3)), images=2))


@pytest.fixture(scope="module")
def small_page(small):
    return page(small)


@examples(60)
@given(networks(), machines(), policies, st.integers(1, 2), st.booleans())
def test_busy_and_idle_cycles_add_up_to_the_run(network, machine, policy, images, training):
    found = schedule(network, machine, policy, images, training=training)
    kinds = unit_kinds(found)
    table = stall_table(found)
    for kind in dict.fromkeys(kinds):
        units = [number for number, name in enumerate(kinds) if name == kind]
        busy = sum(int((found.end - found.start)[found.unit == unit].sum()) for unit in units)
        assert busy + sum(table[kind].values()) == found.cycles * len(units)
        assert unit_busy(found, kind) == pytest.approx(busy / (found.cycles * len(units)))
    assert (idle(found).cycles > 0).all()


@examples(30)
@given(networks(), machines(), st.integers(1, 40))
def test_utilization_over_time_averages_to_the_whole(network, machine, bins):
    found = schedule(network, machine)
    for kind in UNIT:
        over_time = utilization(found, kind, bins)
        assert over_time.shape == (bins,)
        assert (over_time >= -1e-9).all() and (over_time <= 1 + 1e-9).all()
        assert over_time.mean() == pytest.approx(utilization(found, kind)[0])


def test_arrays_that_take_turns_are_reported_apart():
    for policy in POLICIES.values():
        found = schedule(zoo.resnet8((16, 16, 3)), policy=policy)
        shares = {kind: utilization(found, kind)[0] for kind in UNIT}
        kinds = np.array(found.grid.kinds())[found.line]
        for kind, share in shares.items():
            busy = int((found.end - found.start)[kinds == kind].sum())
            assert share == pytest.approx(busy / found.cycles)


def test_without_banks_and_rings_nothing_is_charged_to_them():
    found = schedule(zoo.resnet8((16, 16, 3)), images=2, book_banks=False)
    table = stall_table(found)
    assert all(by_cause["bank conflict"] == 0 for by_cause in table.values())


def test_the_barrier_of_batch_statistics_is_charged_as_such():
    """SPEC.md B2: the arrays stand still until the batch was seen; with frozen statistics nothing waits for that."""
    machine = Machine(images_in_flight=3)
    waits = []
    for norm in (BatchNormConfig(), BatchNormConfig(Statistics.BATCH)):
        table = stall_table(schedule(every_layer(norm), machine, images=3))
        waits.append(sum(by_cause["batch statistics"] for by_cause in table.values()))
    assert waits[0] == 0 < machine.statistics_latency < waits[1]


def test_page_and_terminal_say_the_same_of_conflicts(small, small_page):
    console = _console()
    print_report(small, console)
    said = str(small.conflicts)
    assert small.conflicts.tasks and said in small_page and said in console.file.getvalue()


def test_curve_counts_a_slot_that_passes_on_in_one_cycle_once():
    line = curve(np.array([0, 2, 5]), np.array([5, 4, 9]))
    assert line.time.tolist() == [0, 2, 4, 5, 9]
    assert line.value.tolist() == [1, 2, 1, 1, 0]


def test_peaks_of_banks_are_at_most_what_all_rings_hold(small):
    run = small.schedule
    assert small.peaks == tuple(peak_rows(run, ring) for ring in run.rings)
    held = sum(peak * ring.row_bits for peak, ring in zip(small.peaks, run.rings, strict=True) if ring.banked)
    assert max(small.bank_peaks) <= held
    assert sum(small.bank_peaks) >= max(ring.row_bits for ring in run.rings if ring.banked)


def test_the_row_pipeline_takes_less_than_layers_one_by_one_and_every_map_kept():
    memory = memory_size(schedule(zoo.vgg8((32, 32, 3))), baselines=True)
    assert memory.baselines[LAYERS].rows > 2.8 * memory.live.rows
    assert memory.baselines[LAYERS].live > 1.1 * memory.live.live
    assert memory.baselines[FULL_MAPS].live > 8 * memory.live.live


def test_json_holds_the_report(small):
    table = json.loads(json.dumps(as_dict(small)))
    assert table["cycles"] == small.schedule.cycles
    assert table["frames_per_second"] == pytest.approx(500e6 * 2 / small.schedule.cycles)
    assert table["paper"] == {"tflops_per_watt": 2.19, "gflops_per_mm2": 85.32, "memory_ratio_at_most": 3.5}
    assert len(table["rings"]) == len(small.schedule.rings)
    assert set(table["memory"]["baselines"]) == {LAYERS, FULL_MAPS}
    assert "same_machine_with_fp16_macs" in table


def test_csv_has_a_line_for_every_figure(small, tmp_path):
    to_csv(small, tmp_path / "report.csv")
    with open(tmp_path / "report.csv", newline="") as file:
        rows = dict(csv.reader(file))
    assert rows["cycles"] == str(small.schedule.cycles)
    low = small.cost.tflops_per_watt[Scope.CHIP].low
    assert float(rows["cost.tflops_per_watt.with the weight memory.0"]) == low
    assert rows["machine.banks"] == str(small.schedule.machine.banks)


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.charts: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.numbers: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "svg":
            self.charts.append(found["aria-label"])
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("src", "href") if key in found]
        self.links += [link for value in found.values() for link in re.findall(r"url\((.*?)\)", value or "")]
        self.numbers += [found[key] for key in ("x", "y", "width", "height", "d", "transform") if key in found]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())

    def check_whole(self, charts: int) -> None:
        """Nothing is left open, drawn nowhere or asked of another file; every id is one place's."""
        assert self.open == [] and len(self.charts) == len(set(self.charts)) == charts
        assert len(self.ids) == len(set(self.ids))
        assert {link.removeprefix("#") for link in self.links} <= set(self.ids)
        assert not [text for text in self.numbers if re.search("nan|inf", text)]


def test_the_page_is_whole_and_needs_nothing_else(small, small_page):
    found = _Page(small_page)
    found.check_whole(charts=9)
    assert {stage.name for stage in small.schedule.flow.stages} <= set(found.words)
    assert {ring.name for ring in small.schedule.rings if ring.kind not in SAVED} <= set(found.words)
    assert figures.inline(charts.timeline(small.schedule), "timeline", "Row tasks of each stage") in small_page


@pytest.mark.parametrize(
    "machine, policy, training",
    [
        (Machine(ring_rule=RingRule.UNBOUNDED), "row_pipelined", True),
        (Machine(mac=Mac.FP16, shared=False), "row_pipelined_overlap", False),
        (Machine(ports=64), "layer_by_layer", True),
    ],
    ids=["unbounded", "fp16 forward", "layers"],
)
def test_every_kind_of_run_has_a_whole_page(machine, policy, training):
    run = schedule(zoo.resnet8((8, 8, 3)), machine, POLICIES[policy], training=training)
    _Page(page(report(run))).check_whole(charts=9)


def test_the_page_is_the_same_every_time(small, small_page):
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.hashsalt": "other", "axes.grid": False}):
        assert page(small) == small_page


def test_hostile_names_are_text_on_the_page():
    name = "</svg><script>alert('x')</script>&amp;\"{{ title }}{% x %}$\\x$"
    found = _Page(page(report(schedule(zoo.resnet8((8, 8, 3)), Machine(name=name)))))
    found.check_whole(charts=9)
    assert name in found.words


def test_every_task_is_drawn_in_its_place(small):
    run = small.schedule
    finest = run.cycles / 1000
    for phase in Phase:
        mine = run.phase == phase
        x, y = (part.reshape(-1, 3) for part in charts.task_lines(run, phase, 0, run.cycles))
        assert np.isnan(x[:, 2]).all() and np.isnan(y[:, 2]).all() and (x[:, 1] - x[:, 0] >= 0.999 * finest).all()
        for stage in range(len(run.flow.stages)):
            here = np.abs(y[:, 0] - stage) < 0.5
            pieces = x[here, :2]
            tasks = np.sort(np.stack([run.start, run.end], axis=1)[mine & (run.stage == stage)], axis=0)
            within = (pieces[:, :1] <= tasks[:, 0]) & (tasks[:, 1] <= pieces[:, 1:])
            assert (within.sum(axis=0) == 1).all() and within.any(axis=1).all()
            assert (pieces[1:, 0] - pieces[:-1, 1]).min(initial=finest) >= 0
            gaps = tasks[1:, 0] - tasks[:-1, 1]
            assert len(pieces) == (gaps > finest).sum() + (len(tasks) > 0)


def test_single_tasks_say_what_they_are_under_the_pointer(small, small_page):
    """Where the most begin, each task of the part shown larger; text of a page is escaped."""
    run = small.schedule
    low, high = charts.busiest(run)
    inside = [task for task in range(len(run)) if run.end[task] > low and run.start[task] < high]
    assert 1 < len(inside) < len(run)
    said = re.findall(r'id="timeline-task(\d+)">.*?<title>([^<]*)</title>', small_page, re.S)
    assert {int(task): title for task, title in said} == {task: charts.task_title(run, task) for task in inside}
    task = inside[0]
    stage, end = run.flow.stages[run.stage[task]].name, f"cycles {run.start[task]:,} to {run.end[task]:,}"
    assert said[0][1].startswith(stage) and said[0][1].endswith(end) and f"image {run.image[task]}" in said[0][1]


def test_every_unit_has_a_lane_in_which_images_have_their_colours(small):
    """Every task lies under a piece of its image's line, in its unit's lane."""
    run = small.schedule
    (axes,) = charts.unit_lanes(run).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [*run.units]
    lines = axes.get_lines()
    assert len(lines) == run.images == len({line.get_color() for line in lines})
    for image, line in enumerate(lines):
        x, y = (np.asarray(part).reshape(-1, 3) for part in line.get_data())
        for unit in range(len(run.units)):
            pieces, mine = x[y[:, 0] == unit, :2], (run.image == image) & (run.unit == unit)
            assert ((pieces[:, :1] <= run.start[mine]) & (run.end[mine] <= pieces[:, 1:])).any(axis=0).all()


def test_the_page_begins_with_what_is_looked_for_first(small, small_page):
    words = _Page(small_page).words
    live = small.memory.baselines[LAYERS].live / small.memory.live.live
    for name, value in (("MAC lanes at work", f"{small.lanes_busy['macs']:.1%}"),
                        ("live memory, layer by layer over this", f"{live:.2f}x")):  # fmt: skip
        assert value in words[words.index(name) :][:4]


def test_charts_show_the_figures_of_the_report(small):
    (bars,) = charts.buffers(small).axes
    memory = small.memory
    ways = [memory.live, *memory.baselines.values()]
    assert [(a.get_width(), a.get_width() + b.get_width()) for a, b in zip(*bars.containers, strict=True)] == [
        (way.live / KB, pytest.approx(way.allocated / KB)) for way in ways
    ]
    (lines,) = charts.units_over_time(small).axes
    for line, kind in zip(lines.lines, small.utilization, strict=True):
        assert line.get_label() == kind
        assert line.get_ydata().mean() == pytest.approx(small.utilization[kind])
    (shares,) = charts.where_cycles_go(small).axes
    ends = [sum(part[unit].get_width() for part in shares.containers) for unit in range(len(small.stalls))]
    assert ends == pytest.approx([1] * len(small.stalls))
    assert [bar.get_width() for bar in shares.containers[0]] == [
        unit_busy(small.schedule, kind) for kind in small.stalls
    ]
    peaks, waits = charts.banks(small).axes
    assert [bar.get_height() * KB for bar in peaks.patches] == pytest.approx(list(small.bank_peaks))
    by_bank = {bank: bar.get_height() for bank, bar in enumerate(waits.patches) if bar.get_height()}
    assert by_bank == small.conflicts.by_bank
    (energy,) = charts.energy(small).axes
    assert [a.get_width() + b.get_width() for a, b in zip(*energy.containers, strict=True)] == pytest.approx(
        [item.cost.high * 1e-6 for item in small.cost.energy]
    )
    watts, area = charts.efficiency(small).axes
    assert watts.patches[0].get_width() == small.cost.tflops_per_watt[Scope.CHIP].low
    assert [text.get_text() for axes in (watts, area) for text in axes.texts][2::3] == ["2.19", "85.32"]


def test_rows_in_use_are_those_of_the_rings(small):
    run = small.schedule
    for kind in {ring.kind for ring in run.rings}:
        cycles = np.arange(0, run.cycles + 1, 97)
        expected = np.zeros(len(cycles), np.int64)
        for ring in run.rings:
            if ring.kind is kind:
                lives = row_lives(run, ring)
                alive = (lives.born[:, None] <= cycles) & (cycles < lives.dies[:, None])
                expected += ring.row_bits * alive.sum(axis=0)
        np.testing.assert_array_equal(charts.bits_in_use(run, kind, cycles), expected)


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_the_library_of_pages_nothing_runs(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(command, "schedule", None)
    words = f"plots: found no {package}, expected it installed: pip install 'bitrow[plots]'"
    files = ReportFiles(html_file=tmp_path / "p.html")
    for run, what in ((command.pipeline, PipelineRun("resnet8")), (command.ablate, AblationRun(("resnet8",)))):
        with pytest.raises(BitrowError, match=re.escape(words)):
            run(what, files, console=_console())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_page_of_a_large_run_is_small():
    run = schedule(zoo.build("mobilenetv2", (224, 224, 3)), images=2)
    assert len(page(report(run))) < 1_000_000


def _console() -> Console:
    return Console(file=StringIO(), width=200)


def test_the_command_writes_every_file(tmp_path):
    console = _console()
    machine = tmp_path / "mine.toml"
    machine.write_text("fxp_lanes = 256\nimages_in_flight = 3\n")
    found = command.pipeline(
        PipelineRun("resnet8", input_size=(16, 16), images=2, machine=machine, policy="row_pipelined"),
        ReportFiles(tmp_path / "r.json", tmp_path / "r.csv", tmp_path / "t.json", tmp_path / "p.html"),
        rings=True,
        console=console,
    )
    assert found.schedule.machine.fxp_lanes == 256 and found.schedule.policy == "row_pipelined"
    text = console.file.getvalue()
    for phrase in ("resnet8 16x16", "frames/s", "full maps kept for training", "85.32", "stem_conv.x"):
        assert phrase in text
    for name in ("r.json", "r.csv", "t.json", "p.html"):
        assert (tmp_path / name).stat().st_size > 1000
    assert json.loads((tmp_path / "r.json").read_text()) == json.loads(json.dumps(as_dict(found)))


def test_the_command_checks_rows_of_a_shipped_model():
    """Every row that the pipeline computes has the bits of the whole-tensor model."""
    model = Path(bitrow.models.__file__).parent / "resnet8_digits.safetensors"
    console = _console()
    command.pipeline(PipelineRun(str(model), training=False), check=True, console=console)
    assert re.search(r"[\d,]+ rows of [\d,]+ words equal the whole-tensor model", console.file.getvalue())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"network": "resnet99"}, "network: found 'resnet99', expected one of resnet8"),
        ({"network": "none.safetensors"}, "none.safetensors"),
        ({"network": "resnet8", "policy": "fast"}, "policy: found 'fast', expected one of layer_by_layer"),
        ({"network": "resnet8", "input_size": (0, 8)}, "input size: found 0x8, expected rows and columns from 1"),
        ({"network": "vgg8", "input_size": (3, 3)}, "s2_pool: found a 2x2 window on a"),
        ({"network": "resnet8", "images": 0}, "images: found 0, expected 1 or more"),
    ],
)
def test_mistakes_are_one_clear_line(arguments, message):
    with pytest.raises(BitrowError) as error:
        command.pipeline(PipelineRun(**arguments), console=_console())
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(BitrowError, match="cannot be written: No such file or directory"):
        command.pipeline(PipelineRun("resnet8", (8, 8)), ReportFiles(tmp_path / "none" / "r.json"), console=_console())


def test_timing_loads_neither_jax_nor_what_draws():
    script = (
        "import sys; from bitrow.pipeline import command; "
        "command.run_pipeline(command.find_network('resnet8', (16, 16))); "
        "sys.exit(bool({'jax', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_ablations_cover_every_combination_and_write_table_and_plot(tmp_path):
    console = _console()
    points = command.ablate(
        AblationRun(("resnet8",), ("techniques", "banks")),
        ReportFiles(tmp_path / "a.json", tmp_path / "a.csv", html_file=tmp_path / "a.html"),
        console=console,
    )
    techniques = [point for point in points if point.study == "techniques"]
    assert len({(p.batch_norm, p.arithmetic, p.pipeline) for p in techniques}) == len(techniques) == 8
    assert len(points) - 8 == len(ablations.BANKS)
    assert len(json.loads((tmp_path / "a.json").read_text())) == len(points)
    with open(tmp_path / "a.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(points)
    drawn = _Page((tmp_path / "a.html").read_text())
    drawn.check_whole(charts=2)
    assert {"frames/s", "buffers", "TFLOPS/W, upper bound", "FXP array busy", "slowdown by bank conflicts"} <= set(
        drawn.words
    )
    assert drawn.words.count("frames/s") == 2 + 1  # a chart of each study, and the table
    assert "layer by layer" in console.file.getvalue()
    assert ablations.markdown(points).count("\n") == len(points) + 2


def test_ablations_show_what_each_technique_brings():
    points = list(ablations.techniques(("resnet8",), DEFAULT_MACHINE, 2))

    def one(batch_norm="frozen", arithmetic="FXP4 + dequantizer", pipeline="row pipeline"):
        return next(p for p in points if (p.batch_norm, p.arithmetic, p.pipeline) == (batch_norm, arithmetic, pipeline))

    best = one()
    assert one(pipeline="layer by layer").frames_per_second < best.frames_per_second
    assert one(arithmetic="FP16 MACs").tflops_per_watt.high < best.tflops_per_watt.low
    assert one(batch_norm="batch").buffer_kb > 2 * best.buffer_kb


def test_ablations_refuse_unknown_names():
    with pytest.raises(BitrowError, match="network: found 'alexnet'"):
        command.ablate(AblationRun(("alexnet",)), console=_console())
    with pytest.raises(BitrowError, match="study: found 'colours', expected one of techniques"):
        command.ablate(AblationRun(("resnet8",), ("colours",)), console=_console())


def test_sweeps_change_what_they_say():
    sizes = list(ablations.sweep_input_size(("resnet8",), sizes=(8, 16)))
    assert [p.input_size for p in sizes] == [8, 16]
    lanes = list(ablations.sweep_lanes(("resnet8",), lanes=(64, 512)))
    assert [p.fxp_lanes for p in lanes] == [64, 512]
    assert lanes[0].frames_per_second < lanes[1].frames_per_second
    banks = list(ablations.sweep_banks(("resnet8",), Machine(), banks=(4, 64)))
    assert banks[0].bank_slowdown > banks[1].bank_slowdown >= 1
