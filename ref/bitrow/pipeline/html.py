"""A report as one HTML page that needs nothing else: plots as inline SVG, the timeline as a canvas.

Standard library and numpy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from bitrow.pipeline.cost import PAPER_GFLOPS_PER_MM2, PAPER_TFLOPS_PER_WATT
from bitrow.pipeline.machine import as_table
from bitrow.pipeline.memory_size import BASELINES
from bitrow.pipeline.occupancy import curve, row_lives
from bitrow.pipeline.report import KB, Report
from bitrow.pipeline.rings import SAVED
from bitrow.pipeline.stalls import CAUSES, unit_busy, utilization
from bitrow.pipeline.svg import Bar, Series, bar_chart, line_chart, stacked_chart

_BINS = 200
_MOST_TASKS = 30_000  # drawn in the timeline; a trace holds the whole of a longer run

_STYLE = """
body { font: 14px system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; }
td, th { padding: 2px 10px; border-bottom: 1px solid #ddd; text-align: right; }
td:first-child, th:first-child, .left td, .left th { text-align: left; }
svg { display: block; margin: 1em 0; max-width: 100%; }
canvas { border: 1px solid #ccc; width: 100%; height: 520px; cursor: grab; } .note { color: #555; }
.key span { display: inline-block; width: 10px; height: 10px; margin: 0 4px 0 14px; }
"""

_SCRIPT = """
const data = JSON.parse(document.getElementById('timeline-data').textContent);
const canvas = document.getElementById('timeline'), label = document.getElementById('timeline-label');
const colors = ['#2f6db5', '#7fb2e5', '#d1752b', '#f0b27a'], left = 150;
let from = 0, to = data.cycles;
function draw() {
  const ratio = window.devicePixelRatio || 1; canvas.width = canvas.clientWidth * ratio; canvas.height =
  canvas.clientHeight * ratio; const c = canvas.getContext('2d'); c.scale(ratio, ratio); const width =
  canvas.clientWidth - left, height = canvas.clientHeight - 20, row = height / data.stages.length; c.font =
  '10px system-ui'; c.fillStyle = '#222'; data.stages.forEach((name, i) => { if (row >= 8 || i % 3 === 0)
  c.fillText(name, 4, (i + 0.8) * row); }); const scale = width / (to - from); for (let t = 0; t <
  data.start.length; t++) {
    const x = left + (data.start[t] - from) * scale, w = Math.max(0.6, data.length[t] * scale);
    if (x + w < left || x > left + width) continue;
    c.fillStyle = colors[data.phase[t]];
    const x0 = Math.max(left, x);
    c.fillRect(x0, data.stage[t] * row + (data.phase[t] % 2) * row / 2, x + w - x0, row / 2 - 0.5);
  }
  c.fillStyle = '#222';
  for (let i = 0; i <= 4; i++) {
    const cycle = Math.round(from + (to - from) * i / 4);
    c.fillText(cycle.toLocaleString(), Math.min(left + width * i / 4, left + width - 60), height + 14);
  }
  label.textContent = `cycles ${Math.round(from).toLocaleString()} to ${Math.round(to).toLocaleString()}`;
}
canvas.addEventListener('wheel', e => {
  e.preventDefault();
  const share = (e.offsetX - left) / (canvas.clientWidth - left), at = from + (to - from) * share;
  const zoom = e.deltaY > 0 ? 1.25 : 0.8;
  from = Math.max(0, at - (at - from) * zoom); to = Math.min(data.cycles, at + (to - at) * zoom); draw();
}, { passive: false });
let grabbed = null;
canvas.addEventListener('mousedown', e => { grabbed = e.clientX; });
window.addEventListener('mouseup', () => { grabbed = null; });
window.addEventListener('mousemove', e => {
  if (grabbed === null) return; const span = to - from, move = (grabbed - e.clientX) * span /
  (canvas.clientWidth - left); grabbed = e.clientX; from = Math.max(0, Math.min(data.cycles - span, from +
  move)); to = from + span; draw();
});
window.addEventListener('resize', draw); draw();
"""


def write_html(found: Report, path: str | Path) -> None:
    """Write the page."""
    Path(path).write_text(page(found), encoding="utf-8")


def page(found: Report) -> str:
    """The page as text."""
    run = found.schedule
    height, width, _ = run.flow.network.input_shape
    title = f"{run.flow.network.name} {height}x{width}, {run.images} image(s), {run.policy}"
    sections = (
        _figures(found),
        "<h2>Units over time</h2>" + _utilization(found) + _stalls(found),
        "<h2>Timeline</h2>" + _timeline(found),
        "<h2>Buffers</h2>" + _memory(found) + _occupancy(found) + _banks(found),
        "<h2>Energy and area</h2>" + _cost(found),
        "<h2>Machine</h2>" + _machine(found),
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{''.join(sections)}"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def html_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table of text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _figures(found: Report) -> str:
    run, memory = found.schedule, found.memory
    rows = [
        ("passes", "forward and backward" if run.flow.training else "forward"),
        ("row tasks", f"{len(run):,}"),
        ("cycles", f"{run.cycles:,}"),
        ("cycles per image", f"{found.cycles_per_image:,.0f}"),
        (f"frames/s at {run.machine.clock_mhz:g} MHz", f"{found.frames_per_second:,.1f}"),
        *((f"{kind} busy", f"{share:.1%}") for kind, share in found.utilization.items()),
        ("bank conflicts", str(found.conflicts)),
        ("on-chip buffers", f"{memory.total / KB:,.1f} KB"),
    ]
    return html_table(("figure", "value"), rows)


def _utilization(found: Report) -> str:
    run = found.schedule
    middle = (np.arange(_BINS) + 0.5) * run.cycles / _BINS
    series = [
        Series(kind, list(zip(middle.tolist(), utilization(run, kind, _BINS).tolist(), strict=True)))
        for kind in found.utilization
    ]
    return line_chart("Share of units busy", series, "cycle", "busy", width=1060, top=1.0)


def _stalls(found: Report) -> str:
    total = {kind: max(1, sum(by.values())) for kind, by in found.stalls.items()}
    idle = {kind: 1 - unit_busy(found.schedule, kind) for kind in found.stalls}
    names = ("busy", *CAUSES)
    rows = [
        (kind, [1 - idle[kind], *(idle[kind] * by[cause] / total[kind] for cause in CAUSES)])
        for kind, by in found.stalls.items()
    ]
    return stacked_chart("Where the cycles go", rows, names, width=1060)


def _timeline(found: Report) -> str:
    run = found.schedule
    many = min(len(run), _MOST_TASKS)
    data = {
        "cycles": int(run.end[:many].max()),
        "stages": [stage.name for stage in run.flow.stages],
        "stage": run.stage[:many].tolist(),
        "phase": run.phase[:many].tolist(),
        "start": run.start[:many].tolist(),
        "length": (run.end - run.start)[:many].tolist(),
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    part = "" if many == len(run) else f" The first {many:,} of {len(run):,} tasks; a trace has all."
    names = ("forward head", "forward chain", "backward chain", "backward head")
    key = "".join(
        f'<span style="background:{color}"></span>{name}'
        for name, color in zip(names, ("#2f6db5", "#7fb2e5", "#d1752b", "#f0b27a"), strict=True)
    )
    return (
        f'<p class="key">{key}</p><canvas id="timeline"></canvas>'
        f'<p class="note"><span id="timeline-label"></span>. '
        f"Wheel: zoom; drag: move.{part}</p>"
        f'<script type="application/json" id="timeline-data">{text}</script>'
    )


def _memory(found: Report) -> str:
    memory = found.memory
    bars = [Bar("this run", memory.total / KB, memory.rows / KB)]
    for name, (rows, saved) in memory.baselines.items():
        ratio = (rows + saved) / max(1, memory.total)
        note = f"{(rows + saved) / KB:,.1f} KB, {ratio:.2f} times this run"
        bars.append(Bar(name, (rows + saved) / KB, rows / KB, note))
    notes = "; ".join(f"{name}: {what}" for name, what in BASELINES.items())
    chart = bar_chart("On-chip buffers (dark: rows, light: kept for backward)", bars, "KB", width=1060)
    return f'{chart}<p class="note">{escape(notes)}. Weights apart.</p>'


def _occupancy(found: Report) -> str:
    run = found.schedule
    kinds: dict[str, list[int]] = {}
    for ring in run.rings:
        kinds.setdefault(ring.kind.value, []).append(ring.index)
    series = []
    for kind, members in kinds.items():
        lives = [row_lives(run, run.rings[place]) for place in members]
        born, dies = (np.concatenate(part) for part in zip(*lives, strict=True))
        bits = np.concatenate(
            [np.full(len(life.born), run.rings[p].row_bits) for life, p in zip(lives, members, strict=True)]
        )
        line = curve(born, dies, bits)
        edges = np.linspace(0, run.cycles, _BINS)
        at = np.clip(np.searchsorted(line.time, edges, side="right") - 1, 0, None)
        values = np.where(edges >= line.time[0], line.value[at] / KB, 0.0)
        series.append(Series(kind, list(zip(edges.tolist(), values.tolist(), strict=True))))
    chart = line_chart("KB in use, by kind of buffer", series, "cycle", "KB", width=1060, height=340)
    rows = [
        (
            ring.name,
            ring.kind.value,
            str(slots or "no limit"),
            str(peak),
            f"{ring.row_bits * slots / KB:,.2f}",
        )
        for ring, slots, peak in zip(run.rings, run.slots, found.peaks, strict=True)
        if ring.kind not in SAVED
    ]
    table = html_table(("ring", "kind", "slots", "peak rows", "KB"), rows)
    return f"{chart}<details><summary>Every ring of rows</summary>{table}</details>"


def _banks(found: Report) -> str:
    peaks = [(bank, bits / KB) for bank, bits in enumerate(found.bank_peaks)]
    waits = [(bank, float(found.conflicts.by_bank.get(bank, 0))) for bank, _ in peaks]
    peak = line_chart("Peak KB in each bank", [Series("KB", peaks)], "bank", "KB", width=520, height=220)
    wait = line_chart("Cycles waited for each bank", [Series("cycles", waits)], "bank", "cycles", width=520, height=220)
    return f'<div style="display:flex;flex-wrap:wrap">{peak}{wait}</div>'


def _cost(found: Report) -> str:
    cost, other = found.cost, found.fp16_macs
    watts, area = [], []
    for name, one in (("this machine", cost), ("with FP16 MACs", other.cost if other else None)):
        if one:
            low, high = one.tflops_per_watt
            watts.append(Bar(name, high, low, f"{low:.2f} to {high:.2f}"))
            low, high = one.gflops_per_mm2
            area.append(Bar(name, high, low, f"{low:.1f} to {high:.1f}"))
    watts.append(Bar("the paper's chip, measured", PAPER_TFLOPS_PER_WATT))
    area.append(Bar("the paper's chip, measured", PAPER_GFLOPS_PER_MM2))
    energy = [Bar(item.name, item.cost.high * 1e-6, item.cost.low * 1e-6) for item in cost.energy]
    sources = [(item.name, f"{item.many:,.0f}", item.source) for item in (*cost.energy, *cost.area)]
    return (
        bar_chart("TFLOPS/W", watts, "")
        + bar_chart("GFLOPS/mm2 in this run", area, "")
        + bar_chart("Energy of the run (dark: low, light: high)", energy, "uJ")
        + '<p class="note">Computed: how often each operation happens and how many bits move. Assumed: what '
        "one costs, below. Leakage, clock, control and wires are in no table: a chip is less efficient.</p>"
        + '<div class="left">'
        + html_table(("item", "count", "source of its cost"), sources)
        + "</div>"
    )


def _machine(found: Report) -> str:
    rows = [(key, str(value)) for key, value in as_table(found.schedule.machine).items()]
    return html_table(("field", "value"), rows)
