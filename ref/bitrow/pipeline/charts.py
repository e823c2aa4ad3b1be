"""The charts of a run's page, as matplotlib figures.

In a chart a colour has one meaning, and one thing has the same colour in every chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitrow import figures
from bitrow.figures import COLOURS, DARK, LIGHT
from bitrow.pipeline.cost import PAPER_GFLOPS_PER_MM2, PAPER_TFLOPS_PER_WATT, Scope
from bitrow.pipeline.cost_tables import Range
from bitrow.pipeline.occupancy import curve, row_lives
from bitrow.pipeline.report import KB, Report
from bitrow.pipeline.rings import SAVED, RingKind
from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.stages import Phase
from bitrow.pipeline.stalls import CAUSES, unit_busy, utilization
from bitrow.pipeline.work import UNIT

WIDTH = 11.0  # inches
_ROW = 0.3  # inches of a bar
_BLUE, _ORANGE, _GREEN, _PINK, _SKY, _YELLOW, _BLACK, _BROWN = COLOURS
_ARRAYS = {UNIT.FXP: _BLUE, UNIT.FP: _ORANGE, UNIT.LOADER: _GREEN}
_IDLE = dict(zip(CAUSES, (_BLUE, _GREEN, _PINK, _ORANGE, _BROWN, _SKY, _YELLOW, LIGHT), strict=True))
_PHASES = dict(zip(Phase, (_BLUE, _SKY, _ORANGE, _YELLOW), strict=True))
_RINGS = dict(zip(RingKind, (_BLUE, _GREEN, _SKY, _YELLOW, _ORANGE, _PINK, _BLACK, _BROWN, DARK, LIGHT), strict=True))
_BINS = 200
_DETAIL = 0.02  # of a run, shown larger,
_SINGLE = 600  # or as much as so many tasks begin in
_FINEST = 1 / 1000  # of what is shown: a gap or a task smaller than that could not be seen
_LABEL = 28  # characters of a stage's name


def units_over_time(found: Report) -> Any:
    """Share of each kind of array at work, over the cycles of the run."""
    run = found.schedule
    middle = (np.arange(_BINS) + 0.5) * run.cycles / _BINS
    with figures.new(WIDTH, 2.8) as figure:
        axes = figure.subplots()
        for kind in found.utilization:
            axes.plot(middle, utilization(run, kind, _BINS), color=_ARRAYS[kind], label=kind, linewidth=1.3)
        axes.set(xlabel="cycle", xlim=(0, run.cycles), ylim=(0, 1.02))
        figures.ticks(axes.xaxis, "k")
        figures.ticks(axes.yaxis, "{x:.0%}")
        figure.legend(loc="outside upper left", ncols=len(_ARRAYS))
    return figure


def where_cycles_go(found: Report) -> Any:
    """Each kind of unit's cycles: busy, and idle by cause."""
    kinds = list(found.stalls)
    busy = np.array([unit_busy(found.schedule, kind) for kind in kinds])
    total = np.array([max(1, sum(found.stalls[kind].values())) for kind in kinds])
    left = busy.copy()
    with figures.new(WIDTH, 1.3 + _ROW * len(kinds)) as figure:
        axes = figure.subplots()
        axes.barh(kinds, busy, color=DARK, label="busy")
        for cause in CAUSES:
            share = (1 - busy) * np.array([found.stalls[kind][cause] for kind in kinds]) / total
            if share.any():
                axes.barh(kinds, share, left=left, color=_IDLE[cause], label=cause)
            left += share
        axes.set_xlim(0, 1)
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()
        figures.ticks(axes.xaxis, "{x:.0%}")
        figure.legend(loc="outside upper left", ncols=5)
    return figure


def timeline(run: Schedule) -> Any:
    """Every row task of the run in its stage's row, and a part of the run in which single tasks say what they are.

    The heads of a stage lie above its chains forward, below them backward.
    """
    names = [stage.name if len(stage.name) <= _LABEL else f"{stage.name[:_LABEL]}..." for stage in run.flow.stages]
    spans = ((0, run.cycles), busiest(run))
    finest = _FINEST * (spans[1][1] - spans[1][0])
    style = {"linewidth": 3.4, "solid_capstyle": "butt"}
    with figures.new(WIDTH, 1.2 + 0.115 * len(names)) as figure:
        both = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for phase, color in _PHASES.items():
            both[0].plot(*task_lines(run, phase, *spans[0]), color=color, label=phase.label, **style)
        for task in _between(run, *spans[1]):
            cycles = [run.start[task], max(run.end[task], run.start[task] + finest)]
            both[1].plot(cycles, [_level(run, task)] * 2, color=_PHASES[Phase(run.phase[task])],
                         gid=f"task{task}", label=figures.hover(task_title(run, task)), **style)  # fmt: skip
        for axes, (low, high), title in zip(both, spans, ("the whole run", "a part of it"), strict=True):
            axes.set(title=title, xlabel="cycle", xlim=(low, high))
            axes.grid(visible=False, axis="y")
            axes.locator_params(axis="x", nbins=6)
            figures.ticks(axes.xaxis, "k")
        both[0].set_yticks(range(len(names)), names, fontsize=7)
        both[0].set_ylim(len(names) - 0.5, -0.5)
        figure.legend(*both[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(_PHASES))
    return figure


def busiest(run: Schedule) -> tuple[int, int]:
    """Cycles of a part of the run, where the most tasks begin, but no more than can be told apart."""
    part = max(1, int(_DETAIL * run.cycles))
    while True:
        begun = np.searchsorted(run.start, run.start + part) - np.arange(len(run))
        if begun.max() <= _SINGLE or part == 1:
            since = int(run.start[begun.argmax()])
            return since, since + part
        part //= 2


def task_title(run: Schedule, task: int) -> str:
    """A row task in words."""
    stage, phase = run.flow.stages[run.stage[task]].name, Phase(run.phase[task]).label
    where = f"image {run.image[task]} row {run.row[task]}"
    return f"{stage} {phase}, {where}, {run.units[run.unit[task]]}, cycles {run.start[task]:,} to {run.end[task]:,}"


def unit_lanes(run: Schedule) -> Any:
    """Every row task of the run in its unit's lane, a colour for each image."""
    lanes = len(run.units)
    with figures.new(WIDTH, 1.2 + _ROW * lanes) as figure:
        axes = figure.subplots()
        for image in range(run.images):
            mine = np.flatnonzero(run.image == image)
            x, y = _pieces(run, mine, run.unit[mine].astype(float), (0, run.cycles))
            color = COLOURS[image % len(COLOURS)]
            axes.plot(x, y, color=color, linewidth=14, solid_capstyle="butt", label=f"image {image}")
        axes.set(xlabel="cycle", xlim=(0, run.cycles), ylim=(lanes - 0.5, -0.5))
        axes.set_yticks(range(lanes), run.units, fontsize=9 if lanes < 30 else 7)
        axes.grid(visible=False, axis="y")
        figures.ticks(axes.xaxis, "k")
        handles = axes.get_legend_handles_labels()
        figure.legend(*(part[: len(COLOURS)] for part in handles), loc="outside upper left", ncols=len(COLOURS))
    return figure


def task_lines(run: Schedule, phase: Phase, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Cycles and heights of a line through the tasks of a phase between two cycles, in the rows of their stages."""
    mine = _between(run, low, high)
    mine = mine[run.phase[mine] == phase]
    return _pieces(run, mine, _level(run, mine), (low, high))


def _between(run: Schedule, low: int, high: int) -> np.ndarray:
    return np.flatnonzero((run.end > low) & (run.start < high))


def _level(run: Schedule, tasks: Any) -> Any:
    """Heights of tasks in the rows of their stages."""
    return run.stage[tasks] + np.where(run.phase[tasks] % 2, 0.25, -0.25)


def _pieces(
    run: Schedule, mine: np.ndarray, height: np.ndarray, shown: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles and heights of a line through tasks at heights of theirs, broken by NaN: a piece for each.

    Tasks nearer to each other than can be seen share a piece, and none is shorter than can be seen.
    """
    finest = _FINEST * (shown[1] - shown[0])
    order = np.lexsort((run.start[mine], height))
    height, start, end = height[order], run.start[mine][order], run.end[mine][order]
    first = np.append(True, (height[1:] != height[:-1]) | (start[1:] - end[:-1] > finest))[: len(mine)]
    left, right, level = start[first], end[np.append(first[1:], True)[: len(mine)]], height[first]
    gap = np.full(len(left), np.nan)
    x = np.stack([left, np.maximum(right, left + finest), gap], axis=1)
    return x.ravel(), np.stack([level, level, gap], axis=1).ravel()


def buffers(found: Report) -> Any:
    """What lives at once and what is allocated, of this run and of other ways of buffering."""
    memory = found.memory
    ways = {"this run": memory.live, **memory.baselines}
    live, allocated = (np.array([getattr(way, name) for way in ways.values()]) / KB for name in ("live", "allocated"))
    notes = [f"{most:,.1f} KB, {most / allocated[0]:.2f} times this run" for most in allocated]
    notes[0] = f"{allocated[0]:,.1f} KB"
    with figures.new(WIDTH, 1.2 + _ROW * len(ways)) as figure:
        axes = figure.subplots()
        axes.barh(list(ways), live, color=_BLUE, label="live at once")
        bars = axes.barh(list(ways), allocated - live, left=live, color=_SKY, label="to allocated")
        _finish_bars(axes, bars, notes, max(allocated))
        figures.ticks(axes.xaxis, "{x:,g} KB")
        figure.legend(loc="outside upper left", ncols=2)
    return figure


def occupancy(found: Report) -> Any:
    """What the rows in use take over time, by kind of buffer; dashed what is kept for the backward pass."""
    run = found.schedule
    edges = np.linspace(0, run.cycles, _BINS)
    with figures.new(WIDTH, 3.6) as figure:
        axes = figure.subplots()
        for kind in dict.fromkeys(ring.kind for ring in run.rings):
            dash = "--" if kind in SAVED else "-"
            values = bits_in_use(run, kind, edges) / KB
            axes.plot(edges, values, dash, color=_RINGS[kind], label=kind.value, linewidth=1.3)
        axes.set(xlabel="cycle", xlim=(0, run.cycles))
        axes.set_ylim(bottom=0)
        figures.ticks(axes.xaxis, "k")
        figures.ticks(axes.yaxis, "{x:,g} KB")
        figure.legend(loc="outside upper left", ncols=5)
    return figure


def bits_in_use(run: Schedule, kind: RingKind, cycles: np.ndarray) -> np.ndarray:
    """Bits of the rows that rings of a kind hold at each of `cycles`, int64[n]."""
    rings = [ring for ring in run.rings if ring.kind is kind]
    lives = [row_lives(run, ring) for ring in rings]
    born, dies = (np.concatenate(part) for part in zip(*lives, strict=True))
    bits = np.concatenate([np.full(len(life.born), ring.row_bits) for life, ring in zip(lives, rings, strict=True)])
    line = curve(born, dies, bits)
    at = np.searchsorted(line.time, cycles, side="right")
    return np.append(0, line.value)[at]


def banks(found: Report) -> Any:
    """Peak and waiting of each bank."""
    numbers = range(len(found.bank_peaks))
    with figures.new(WIDTH, 2.6) as figure:
        left, right = figure.subplots(1, 2)
        left.bar(numbers, np.array(found.bank_peaks) / KB, color=_BLUE)
        left.set(title="peak in each bank", xlabel="bank")
        figures.ticks(left.yaxis, "{x:,g} KB")
        right.bar(numbers, [found.conflicts.by_bank.get(bank, 0) for bank in numbers], color=_IDLE["bank conflict"])
        right.set(title="cycles waited for each bank", xlabel="bank")
        figures.ticks(right.yaxis, "k")
        for axes in (left, right):
            axes.grid(visible=False, axis="x")
            axes.locator_params(axis="x", integer=True)
            axes.margins(x=0.01)
    return figure


def efficiency(found: Report) -> Any:
    """Operations for the energy and for the area, with the weight memory, beside the paper's."""
    costs = {"this machine": found.cost}
    if found.fp16_macs:
        costs["with FP16 MACs"] = found.fp16_macs.cost
    names = [*costs, "the paper's chip, implemented"]
    watts = [cost.tflops_per_watt[Scope.CHIP] for cost in costs.values()]
    area = [cost.gflops_per_mm2[Scope.CHIP] for cost in costs.values()]
    watts.append(Range(PAPER_TFLOPS_PER_WATT, PAPER_TFLOPS_PER_WATT))
    area.append(Range(PAPER_GFLOPS_PER_MM2, PAPER_GFLOPS_PER_MM2))
    with figures.new(WIDTH, 1.2 + _ROW * len(names)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        _range_bars(left, names, watts, 2)
        left.set_title("TFLOPS/W, upper bounds")
        _range_bars(right, names, area, 1)
        right.set_title("GFLOPS/mm2 in this run, upper bounds")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def energy(found: Report) -> Any:
    """Energy of the run, by what takes it."""
    bill = found.cost.energy
    with figures.new(WIDTH, 1.2 + _ROW * len(bill)) as figure:
        axes = figure.subplots()
        micro = [Range(item.cost.low * 1e-6, item.cost.high * 1e-6) for item in bill]
        _range_bars(axes, [item.name for item in bill], micro, 2)
        figures.ticks(axes.xaxis, "{x:,g} uJ")
        figure.legend(loc="outside upper left", ncols=2)
    return figure


def _range_bars(axes: Any, names: Sequence[str], ranges: Sequence[Range], digits: int) -> None:
    low, high = np.array(ranges).T
    axes.barh(names, low, color=_BLUE, label="low")
    bars = axes.barh(names, high - low, left=low, color=_SKY, label="to high")
    notes = [f"{a:,.4g}" if a == b else f"{a:,.{digits}f} to {b:,.{digits}f}" for a, b in ranges]
    _finish_bars(axes, bars, notes, max(high))


def _finish_bars(axes: Any, bars: Any, notes: Sequence[str], most: float) -> None:
    """Notes at the ends of bars that lie from the top down, with room for them."""
    axes.bar_label(bars, notes, padding=4)
    axes.set_xlim(0, 1.35 * most or 1)
    axes.grid(visible=False, axis="y")
    if not axes.yaxis_inverted():  # once, where axes share it
        axes.invert_yaxis()
