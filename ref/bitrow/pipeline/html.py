"""Pages that need nothing else: templates of this package, filled in by jinja2, with charts as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitrow import figures
from bitrow.extras import extra
from bitrow.pipeline import charts
from bitrow.pipeline.cost import Scope, total_area
from bitrow.pipeline.machine import as_table
from bitrow.pipeline.memory_size import BASELINES, LAYERS
from bitrow.pipeline.report import KB, Report
from bitrow.pipeline.rings import SAVED
from bitrow.pipeline.tables import roof_rows, span


def check_installed() -> None:
    """Find out whether pages can be made here, before the work that they show.

    Raises:
        BitrowError: matplotlib or jinja2 is not installed; naming the extra that has them.
    """
    figures.loaded("matplotlib")
    _jinja()


def _jinja() -> Any:
    return extra("plots", "jinja2", "jinja2")


def render(template: str, drawn: Mapping[str, Any], **values: Any) -> str:
    """A template filled in with `values`, which are escaped, and the figures `drawn`, by the names of their ids.

    Raises:
        BitrowError: as `check_installed`.
    """
    jinja2 = _jinja()
    markup = extra("plots", "markupsafe", "jinja2").Markup
    room = jinja2.Environment(
        loader=jinja2.PackageLoader("bitrow.pipeline"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    room.globals["svg"] = lambda figure, name, label: markup(figures.inline(figure, name, label))
    return str(room.get_template(template).render(charts=drawn, **values))


def page(found: Report) -> str:
    """The page of a run.

    Raises:
        BitrowError: as `check_installed`.
    """
    run = found.schedule
    height, width, _ = run.flow.network.input_shape
    drawn = {
        "units": charts.units_over_time(found),
        "cycles": charts.where_cycles_go(found),
        "lanes": charts.unit_lanes(run),
        "timeline": charts.timeline(run),
        "buffers": charts.buffers(found),
        "occupancy": charts.occupancy(found),
        "banks": charts.banks(found),
        "efficiency": charts.efficiency(found),
        "energy": charts.energy(found),
    }
    return render(
        "report.html",
        drawn,
        title=f"{run.flow.network.name} {height}x{width}, {run.batch} image(s), {run.policy}",
        headline=_headline(found),
        figures=_figures(found),
        baselines={name: BASELINES[name] for name in found.memory.baselines},
        rings=_rings(found),
        roofs=roof_rows(found),
        sources=[(one.name, f"{one.many:,.0f}", one.source) for one in (*found.cost.energy, *found.cost.area)],
        machine=list(as_table(run.machine).items()),
    )


def _headline(found: Report) -> list[tuple[str, str]]:
    """What a reader looks for first."""
    memory, cost = found.memory, found.cost
    layers = memory.baselines.get(LAYERS)
    return [
        (f"frames/s at {found.schedule.machine.clock_mhz:g} MHz", f"{found.frames_per_second:,.1f}"),
        ("TFLOPS/W with weights, at most", span(cost.tflops_per_watt[Scope.CHIP], 2)),
        ("GFLOPS/mm2 with weights, at most", span(cost.gflops_per_mm2[Scope.CHIP], 1)),
        *([("live memory, layer by layer over this", f"{layers.live / memory.live.live:.2f}x")] if layers else ()),
        ("MAC lanes at work", f"{found.lanes_busy['macs']:.1%}"),
    ]


def _figures(found: Report) -> list[tuple[str, str]]:
    run = found.schedule
    return [
        ("passes", "forward and backward" if run.flow.training else "forward"),
        ("row tasks", f"{len(run):,}"),
        ("cycles", f"{run.cycles:,}"),
        ("cycles per image", f"{found.cycles_per_image:,.0f}"),
        *((f"{kind} busy", f"{share:.1%}") for kind, share in found.utilization.items()),
        ("bank conflicts", str(found.conflicts)),
        ("on-chip buffers, built", f"{found.memory.total / KB:,.1f} KB"),
        ("mm2, with the weight memory", span(total_area(found.cost).times(1e-6), 3)),
    ]


def _rings(found: Report) -> list[tuple[str, str, str, int, str]]:
    run = found.schedule
    return [
        (ring.name, ring.kind.value, str(slots or "no limit"), peak, f"{ring.row_bits * (slots or peak) / KB:,.2f}")
        for ring, slots, peak in zip(run.rings, run.slots, found.peaks, strict=True)
        if ring.kind not in SAVED
    ]
