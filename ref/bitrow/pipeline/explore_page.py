"""The page of a search: three views of the front, linked with each other and with its table."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from bitrow import figures
from bitrow.figures import COLOURS
from bitrow.pipeline.charts import WIDTH
from bitrow.pipeline.explore_front import Candidate, middle
from bitrow.pipeline.explore_report import Findings, cells, header
from bitrow.pipeline.html import render
from bitrow.pipeline.report import KB

_GOALS: dict[str, Callable[[Candidate], float]] = {
    "frames/s": lambda one: one.frames_per_second,
    "uJ an image": lambda one: middle(one.microjoules),
    "mm2": lambda one: middle(one.mm2),
    "KB of buffers": lambda one: one.point.memory / KB,
}
_VIEWS = {"area": ("mm2", "frames/s"), "energy": ("uJ an image", "frames/s"), "memory": ("KB of buffers", "frames/s"),
          "build": ("mm2", "uJ an image")}  # fmt: skip


def page(found: Findings) -> str:
    """Charts and tables as one HTML page that needs nothing else, scripts neither.

    Raises:
        BitrowError: as `html.check_installed`.
    """
    drawn = {name: _view(found, *axes) for name, axes in _VIEWS.items()}
    return render(
        "explore.html",
        drawn,
        title=f"Machines for {found.title}",
        told=found.told,
        views={name: f"{y} over {x}" for name, (x, y) in _VIEWS.items()},
        points=range(1, len(found.front) + 1),
        header=header(found.search),
        chosen=[[name, *cells(found.search, one)] for name, one in found.marked.items()],
        front=[cells(found.search, one) for one in found.front],
        axes=[(name, ", ".join(map(str, values))) for name, values in found.search.axes],
    )


def _view(found: Findings, across: str, up: str) -> Any:
    """The front by two of its goals; a point is a link to its row."""
    x, y = _GOALS[across], _GOALS[up]
    with figures.new(WIDTH, 4.4) as figure:
        axes = figure.subplots()
        for place, one in enumerate(found.front, start=1):
            axes.plot(x(one), y(one), "o", color=COLOURS[0], markersize=5, alpha=0.6, gid=f"p{place}", url=f"#m{place}",
                      label=figures.hover(f"{place}: {', '.join(cells(found.search, one))}"))  # fmt: skip
        for (mark, colour), (name, one) in zip(product("Ds", COLOURS[1:]), found.marked.items(), strict=False):
            axes.plot(x(one), y(one), mark, color=colour, markersize=7, fillstyle="none", markeredgewidth=2, label=name)
        axes.set(xlabel=across, ylabel=up, xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            _plain(axis)
        figure.legend(loc="outside upper left", ncols=3)
    return figure


def _plain(axis: Any) -> None:
    """Numbers at 1, 2 and 5 of each decade."""
    ticker = figures.loaded("matplotlib.ticker")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(ticker.NullLocator())
    figures.ticks(axis, "{x:,g}")
