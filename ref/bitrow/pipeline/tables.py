"""A report as tables for the terminal. Needs rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitrow import terminal
from bitrow.pipeline.cost import PAPER_GFLOPS_PER_MM2, PAPER_TFLOPS_PER_WATT, Range
from bitrow.pipeline.report import KB, Report
from bitrow.terminal import Column, add_row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_report(found: Report, console: Console | None = None, *, rings: bool = False) -> None:
    """Print a report: figures, stalls, memory, cost; with `rings` every buffer as well."""
    console = console or terminal.console()
    for made in (_summary(found), _stalls(found), _memory(found), _cost(found)):
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
    title = f"{run.flow.network.name} {height}x{width}, {run.images} image(s), {pass_name}, {run.policy}"
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
    table = _table("On-chip buffers, weights apart", "way", "rows KB", "saved KB", "total KB", "this run's x")
    add_row(
        table,
        (
            "this run",
            f"{memory.rows / KB:,.1f}",
            f"{memory.saved / KB:,.1f}",
            f"{memory.total / KB:,.1f}",
            "1.00",
        ),
    )
    for name, (rows, saved) in memory.baselines.items():
        ratio = (rows + saved) / memory.total if memory.total else 0
        add_row(table, (name, f"{rows / KB:,.1f}", f"{saved / KB:,.1f}", f"{(rows + saved) / KB:,.1f}", f"{ratio:.2f}"))
    return table


def _cost(found: Report) -> Table:
    table = _table(
        "Energy and area (computed counts, assumed costs: lower bounds of a chip's)",
        "figure",
        "this machine",
        "with FP16 MACs",
        "the paper's chip",
    )
    other = found.fp16_macs.cost if found.fp16_macs else None
    rows = (
        ("TFLOPS/W", "tflops_per_watt", 2, f"{PAPER_TFLOPS_PER_WATT}"),
        ("GFLOPS/mm2 in this run", "gflops_per_mm2", 1, f"{PAPER_GFLOPS_PER_MM2}"),
        ("GFLOPS/mm2 at most", "peak_gflops_per_mm2", 1, ""),
        ("mW", "milliwatts", 1, ""),
    )
    for name, field, digits, paper in rows:
        theirs = span(getattr(other, field), digits) if other else ""
        add_row(table, (name, span(getattr(found.cost, field), digits), theirs, paper))
    return table


def _rings(found: Report) -> Table:
    table = _table("Buffers", "ring", "kind", "slots", "peak rows", "KB")
    run = found.schedule
    for ring, slots, peak in zip(run.rings, run.slots, found.peaks, strict=True):
        kilobytes = ring.row_bits * (slots or peak) / KB
        add_row(table, (ring.name, ring.kind.value, str(slots or "no limit"), str(peak), f"{kilobytes:,.2f}"))
    return table
