"""The page of the ablations: charts and table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bitrow import figures
from bitrow.figures import COLOURS
from bitrow.pipeline.ablate import COLUMNS, AblationPoint
from bitrow.pipeline.charts import WIDTH
from bitrow.pipeline.html import render


def page(points: Sequence[AblationPoint]) -> str:
    """Charts and table as one HTML page that needs nothing else.

    Raises:
        BitrowError: as `html.check_installed`.
    """
    drawn: dict[str, Any] = {}
    studies: dict[str, dict[str, str]] = {}
    for study in dict.fromkeys(point.study for point in points):
        mine = [point for point in points if point.study == study]
        is_sweep = study != "techniques"
        made = {f"Figures over {study}": _sweep_chart(study, mine)} if is_sweep else _technique_charts(mine)
        names = [f"{study}-{place}".replace(" ", "-") for place in range(len(made))]
        drawn.update(zip(names, made.values(), strict=True))
        studies[study] = dict(zip(names, made, strict=True))
    rows = [[text(point) for _, text in COLUMNS] for point in points]
    header = [name for name, _ in COLUMNS]
    title = "Ablations of the row pipeline"
    return render("ablations.html", drawn, title=title, studies=studies, header=header, rows=rows)


def _technique_charts(points: Sequence[AblationPoint]) -> dict[str, Any]:
    """A figure for each network: bars for each combination."""
    return {
        name: _technique_chart([point for point in points if point.network == name])
        for name in dict.fromkeys(point.network for point in points)
    }


def _technique_chart(points: Sequence[AblationPoint]) -> Any:
    labels = [f"{p.pipeline}, {p.batch_norm} statistics" for p in points]
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    kinds = list(dict.fromkeys(p.arithmetic for p in points))
    with figures.new(WIDTH, 1.2 + 0.5 * len(places)) as figure:
        every = figure.subplots(1, 3, sharey=True)
        for axes, (title, form, note, value) in zip(every, (
            ("frames/s", "k", "{:,.1f}", lambda p: p.frames_per_second),
            ("buffers", "{x:,g} KB", "{:,.0f}", lambda p: p.buffer_kb),
            ("TFLOPS/W, upper bound", "{x:g}", "{:.2f}", lambda p: p.tflops_per_watt[1]),
        ), strict=True):  # fmt: skip
            for offset, kind in enumerate(kinds):
                mine = [(places[label] + 0.4 * offset, value(p)) for label, p in zip(labels, points, strict=True)
                        if p.arithmetic == kind]  # fmt: skip
                bars = axes.barh(*zip(*mine, strict=True), height=0.36, color=COLOURS[offset], label=kind)
                axes.bar_label(bars, fmt=note, padding=3, fontsize=8)
            axes.set_title(title)
            axes.margins(x=0.2)
            axes.grid(visible=False, axis="y")
            axes.locator_params(axis="x", nbins=4)
            figures.ticks(axes.xaxis, form)
        every[0].set_yticks([place + 0.2 * (len(kinds) - 1) for place in places.values()], list(places))
        every[0].invert_yaxis()
        figure.legend(*every[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _sweep_chart(study: str, points: Sequence[AblationPoint]) -> Any:
    field = {"input size": "input_size", "lanes": "fxp_lanes", "banks": "banks"}[study]
    names = list(dict.fromkeys(point.network for point in points))
    settings = sorted({getattr(point, field) for point in points})
    with figures.new(WIDTH, 5.6) as figure:
        every = figure.subplots(2, 2).ravel()
        for axes, (title, form, least, value) in zip(every, (
            ("frames/s", "k", 0, lambda p: p.frames_per_second),
            ("FXP array busy", "{x:.0%}", 0, lambda p: p.fxp_busy),
            ("buffers", "{x:,g} KB", 0, lambda p: p.buffer_kb),
            ("slowdown by bank conflicts", "{x:.3f}", 1, lambda p: p.bank_slowdown),
        ), strict=True):  # fmt: skip
            for number, name in enumerate(names):
                line = [(getattr(p, field), value(p)) for p in points if p.network == name]
                color = COLOURS[number % len(COLOURS)]
                axes.plot(*zip(*line, strict=True), "o-", color=color, label=name, markersize=3.5)
            axes.set(title=title, xlabel=study, xscale="log" if field == "fxp_lanes" else "linear")
            axes.set_xticks(settings, settings, minor=False)
            axes.set_xticks([], minor=True)
            axes.set_ylim(bottom=least)
            figures.ticks(axes.yaxis, form)
        figure.legend(*every[0].get_legend_handles_labels(), loc="outside upper left", ncols=8)
    return figure
