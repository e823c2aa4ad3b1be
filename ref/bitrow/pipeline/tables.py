"""A report as tables for the terminal. Needs rich."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bitrow.pipeline.cost import PAPER_GFLOPS_PER_MM2, PAPER_TFLOPS_PER_WATT, Range
from bitrow.pipeline.report import KB, Report


def print_report(found: Report, console: Console | None = None, *, rings: bool = False) -> None:
    """Print a report: figures, stalls, memory, cost; with `rings` every buffer as well."""
    console = console or Console()
    console.print(_summary(found))
    console.print(_stalls(found))
    console.print(_memory(found))
    console.print(_cost(found))
    if rings:
        console.print(_rings(found))


def span(bounds: Range, digits: int = 2) -> str:
    """A range as text."""
    return f"{bounds.low:,.{digits}f} to {bounds.high:,.{digits}f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 else "right")
    return table


def _summary(found: Report) -> Table:
    run = found.schedule
    height, width, _ = run.flow.network.input_shape
    pass_name = "forward and backward" if run.flow.training else "forward"
    title = f"{run.flow.network.name} {height}x{width}, {run.images} image(s), {pass_name}, {run.policy}"
    table = _table(title, "figure", "value")
    table.add_row("machine", f"{run.machine.name}, {run.machine.clock_mhz:g} MHz")
    table.add_row("row tasks", f"{len(run):,}")
    table.add_row("cycles", f"{run.cycles:,}")
    table.add_row("cycles per image", f"{found.cycles_per_image:,.0f}")
    table.add_row("frames/s", f"{found.frames_per_second:,.1f}")
    for kind, share in found.utilization.items():
        table.add_row(f"{kind} busy", f"{share:.1%}")
    names = {"macs": "MAC lanes", "deq": "dequantizer lanes", "mul": "FP multipliers", "add": "FP adders"}
    for key, share in found.lanes_busy.items():
        table.add_row(f"{names[key]} at work", f"{share:.1%}")
    lost = found.conflicts
    table.add_row("bank conflicts", str(lost))
    if lost.first:
        first = lost.first
        table.add_row("first conflict", f"bank {first.bank}, cycle {first.since:,}: {first.stage} {first.phase}")
    return table


def _stalls(found: Report) -> Table:
    table = _table("Idle cycles by cause", "cause", *found.stalls)
    causes = next(iter(found.stalls.values()))
    for cause in causes:
        if any(by_cause[cause] for by_cause in found.stalls.values()):
            table.add_row(cause, *(f"{by_cause[cause]:,}" for by_cause in found.stalls.values()))
    return table


def _memory(found: Report) -> Table:
    memory = found.memory
    table = _table("On-chip buffers, weights apart", "way", "rows KB", "saved KB", "total KB", "this run's x")
    table.add_row(
        "this run",
        f"{memory.rows / KB:,.1f}",
        f"{memory.saved / KB:,.1f}",
        f"{memory.total / KB:,.1f}",
        "1.00",
    )
    for name, (rows, saved) in memory.baselines.items():
        ratio = (rows + saved) / memory.total if memory.total else 0
        table.add_row(name, f"{rows / KB:,.1f}", f"{saved / KB:,.1f}", f"{(rows + saved) / KB:,.1f}", f"{ratio:.2f}")
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
        table.add_row(name, span(getattr(found.cost, field), digits), theirs, paper)
    return table


def _rings(found: Report) -> Table:
    table = _table("Buffers", "ring", "kind", "slots", "peak rows", "KB")
    run = found.schedule
    for ring, slots, peak in zip(run.rings, run.slots, found.peaks, strict=True):
        kilobytes = ring.row_bits * (slots or peak) / KB
        table.add_row(ring.name, ring.kind.value, str(slots or "no limit"), str(peak), f"{kilobytes:,.2f}")
    return table
