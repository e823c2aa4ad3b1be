"""A report as tables for the terminal. Needs rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitrow import terminal
from bitrow.pipeline.cost import PAPER_GFLOPS_PER_MM2, PAPER_TFLOPS_PER_WATT, total_area
from bitrow.pipeline.cost_tables import Range
from bitrow.pipeline.memory_size import PAPER_MEMORY_RATIO
from bitrow.pipeline.report import KB, Report, ratios
from bitrow.terminal import Column, add_row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_report(found: Report, console: Console | None = None, *, rings: bool = False) -> None:
    """Print a report: figures, stalls, memory, cost; with `rings` every buffer as well."""
    console = console or terminal.console()
    for made in (_summary(found), _stalls(found), _memory(found), _cost(found), _roofline(found)):
        terminal.put_table(made, console)
    if rings:
        terminal.put_table(_rings(found), console)


def span(bounds: Range, digits: int = 2) -> str:
    """A range as text."""
    return f"{bounds.low:,.{digits}f} to {bounds.high:,.{digits}f}"


def _table(title: str, *columns: str) -> Table:
    return terminal.table(title, [Column(name, number > 0) for number, name in enumerate(columns)])


def _summary(found: Report) -> Table:
    run = found.schedule
    height, width, _ = run.flow.network.input_shape
    pass_name = "forward and backward" if run.flow.training else "forward"
    title = f"{run.flow.network.name} {height}x{width}, {run.batch} image(s), {pass_name}, {run.policy}"
    table = _table(title, "figure", "value")
    add_row(table, ("machine", f"{run.machine.name}, {run.machine.clock_mhz:g} MHz"))
    add_row(table, ("row tasks", f"{len(run):,}"))
    add_row(table, ("cycles", f"{run.cycles:,}"))
    add_row(table, ("cycles per image", f"{found.cycles_per_image:,.0f}"))
    add_row(table, ("frames/s", f"{found.frames_per_second:,.1f}"))
    for kind, share in found.utilization.items():
        add_row(table, (f"{kind} busy", f"{share:.1%}"))
    names = {"macs": "MAC lanes", "deq": "dequantizer lanes", "mul": "FP multipliers", "add": "FP adders"}
    for key, share in found.lanes_busy.items():
        add_row(table, (f"{names[key]} at work", f"{share:.1%}"))
    lost = found.conflicts
    add_row(table, ("bank conflicts", str(lost)))
    if lost.first:
        first = lost.first
        add_row(table, ("first conflict", f"bank {first.bank}, cycle {first.since:,}: {first.stage} {first.phase}"))
    return table


def _stalls(found: Report) -> Table:
    table = _table("Idle cycles by cause", "cause", *found.stalls)
    causes = next(iter(found.stalls.values()))
    for cause in causes:
        if any(by_cause[cause] for by_cause in found.stalls.values()):
            add_row(table, (cause, *(f"{by_cause[cause]:,}" for by_cause in found.stalls.values())))
    return table


def _memory(found: Report) -> Table:
    memory = found.memory
    title = f"On-chip buffers, KB, weights apart; in brackets times this run's (the paper: up to {PAPER_MEMORY_RATIO}x)"
    table = _table(title, "way", "rows live", "saved live", "all live", "allocated", "built")
    live = (memory.live.rows, memory.live.saved, memory.live.live, memory.live.allocated, memory.built)
    add_row(table, ("this run", *(f"{bits / KB:,.1f}" for bits in live)))
    rings = memory.rows - memory.queue, memory.saved
    add_row(table, ("each ring alone", "", "", "", f"{sum(rings) / KB:,.1f}", ""))
    for name, way in memory.baselines.items():
        many = ratios(memory, way)
        shown = {"rows": way.rows, "saved": way.saved, "live": way.live, "allocated": way.allocated}
        cells = [f"{bits / KB:,.1f}" + (f" ({many[key]:.2f}x)" if many.get(key) else "") for key, bits in shown.items()]
        add_row(table, (name, *cells, f"({many['built']:.2f}x)" if many["built"] else ""))
    return table


def _cost(found: Report) -> Table:
    title = "Energy and area (computed counts, assumed costs: upper bounds of a chip's efficiency)"
    table = _table(title, "figure", "this machine", "with FP16 MACs", "the paper's chip")
    costs = [found.cost, *([found.fp16_macs.cost] if found.fp16_macs else [])]
    papers = {"tflops_per_watt": PAPER_TFLOPS_PER_WATT, "gflops_per_mm2": PAPER_GFLOPS_PER_MM2}
    for name, field, digits in (("TFLOPS/W", "tflops_per_watt", 2), ("GFLOPS/mm2", "gflops_per_mm2", 1),
                                ("GFLOPS/mm2 at most,", "peak_gflops_per_mm2", 1)):  # fmt: skip
        for scope in getattr(found.cost, field):
            shown = [span(getattr(cost, field)[scope], digits) for cost in costs]
            add_row(table, (f"{name} {scope.value}", *shown, *[""] * (2 - len(costs)), papers.get(field, "")))
    for name, value, digits in (("mm2, with the weight memory", lambda cost: total_area(cost).times(1e-6), 3),
                                ("mW", lambda cost: cost.milliwatts, 1)):  # fmt: skip
        add_row(table, (name, *(span(value(cost), digits) for cost in costs), *[""] * (2 - len(costs)), ""))
    return table


def _roofline(found: Report) -> Table:
    table = _table("Roofline", *ROOF)
    for row in roof_rows(found):
        add_row(table, row)
    return table


ROOF = ("of", "GB/s", "operations a byte", "GOPS")


def roof_rows(found: Report) -> list[tuple[str, str, str, str]]:
    """The lanes' roof, each memory's, and what the run achieved."""
    line = found.roofline
    memories = [
        (name, f"{roof.gbytes:,.1f}", f"{roof.intensity:,.2f}", f"{roof.gops:,.1f}")
        for name, roof in line.roofs.items()
    ]
    return [("MAC lanes", "", "", f"{line.peak:,.1f}"), *memories, ("this run", "", "", f"{line.achieved:,.1f}")]


def _rings(found: Report) -> Table:
    table = _table("Buffers", "ring", "kind", "slots", "peak rows", "KB")
    run = found.schedule
    for ring, slots, peak in zip(run.rings, run.slots, found.peaks, strict=True):
        kilobytes = ring.row_bits * (slots or peak) / KB
        add_row(table, (ring.name, ring.kind.value, str(slots or "no limit"), str(peak), f"{kilobytes:,.2f}"))
    return table
