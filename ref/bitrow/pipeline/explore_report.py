"""A search's findings as tables, JSON and CSV. Needs rich for tables alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitrow import terminal
from bitrow.pipeline.explore import FP_LANES, Search
from bitrow.pipeline.explore_front import Candidate
from bitrow.pipeline.machine import as_table
from bitrow.pipeline.report import KB
from bitrow.terminal import Column

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 40  # machines of a front in the terminal


@dataclass(frozen=True, eq=False)
class Findings:
    """Of a search: `many` machines asked for, `refused` by reason, the `front`, the `chosen` by why.

    `base`: the machine that all others vary, None where it is none of them.
    """

    search: Search
    many: int
    refused: Mapping[str, int]
    front: Sequence[Candidate]
    chosen: Mapping[str, Candidate]
    base: Candidate | None

    @property
    def marked(self) -> dict[str, Candidate]:
        """The chosen, and the base."""
        return {**self.chosen, **({f"as given: {self.base.machine.name}": self.base} if self.base else {})}

    @property
    def title(self) -> str:
        run = self.search
        height, width, _ = run.network.input_shape
        passes = "forward and backward" if run.training else "forward"
        return f"{run.network.name} {height}x{width}, {run.images} image(s), {passes}, {run.policy}"

    @property
    def told(self) -> str:
        """How many machines were looked at."""
        most = max(self.refused, key=lambda why: self.refused[why], default="")
        refused = f"; {sum(self.refused.values()):,} cannot run, most often: {most}" if most else ""
        front = f"{len(self.front):,} of them on the front of time, energy, area and memory"
        return f"{self.many:,} machines, {front}{refused}"


FIGURES: tuple[tuple[str, Callable[[Candidate], str]], ...] = (
    ("cycles/image", lambda one: f"{one.point.cycles / one.images:,.0f}"),
    ("frames/s", lambda one: f"{one.frames_per_second:,.1f}"),
    ("uJ/image", lambda one: f"{one.microjoules.low:,.4g}-{one.microjoules.high:,.4g}"),
    ("mm2", lambda one: f"{one.mm2.low:.2f}-{one.mm2.high:.2f}"),
    ("buffers KB", lambda one: f"{one.point.memory / KB:,.0f}"),
    ("TFLOPS/W", lambda one: f"{one.tflops_per_watt.low:.2f}-{one.tflops_per_watt.high:.2f}"),
    ("GFLOPS/mm2", lambda one: f"{one.gflops_per_mm2.low:.0f}-{one.gflops_per_mm2.high:.0f}"),
)


def header(search: Search) -> list[str]:
    """The axes, and then the figures."""
    return [name.replace("_", " ") for name, _ in search.axes] + [name for name, _ in FIGURES]


def cells(search: Search, one: Candidate) -> list[str]:
    """A machine's settings on the axes, and its figures."""
    table = as_table(one.machine)
    table[FP_LANES] = table["fp_mul_lanes"]
    return [str(table[name]) for name, _ in search.axes] + [text(one) for _, text in FIGURES]


def print_findings(found: Findings, console: Console | None = None) -> None:
    """The machines that stand out, and the front, thinned evenly where it is long."""
    console = console or terminal.console()
    columns = [Column(name, figures=True) for name in header(found.search)]
    rows = [(name, *cells(found.search, one)) for name, one in found.marked.items()]
    terminal.put_table(terminal.table(f"Machines for {found.title}", [Column("why"), *columns], rows), console)
    many = len(found.front)
    step = -(-many // SHOWN)
    title = "The front, fastest first" + (f": every {step}th of {many}, all in --json and --csv" if step > 1 else "")
    rows = [(str(place + 1), *cells(found.search, found.front[place])) for place in range(0, many, step)]
    terminal.put_table(terminal.table(title, [Column("no."), *columns], rows), console)
    terminal.put_line(found.told, console)


def as_json(found: Findings) -> dict[str, Any]:
    """The findings as what JSON can hold; each machine as `machine_from` reads it."""
    search = found.search
    return {
        "network": search.network.name,
        "input_shape": list(search.network.input_shape),
        "policy": search.policy,
        "images": search.images,
        "training": search.trained,
        "axes": {name: list(values) for name, values in search.axes},
        "machines": found.many,
        "refused": dict(found.refused),
        "chosen": {name: _figures(one) for name, one in found.marked.items()},
        "front": [_figures(one) for one in found.front],
    }


def _figures(one: Candidate) -> dict[str, Any]:
    return {
        "machine": as_table(one.machine),
        "cycles": one.point.cycles,
        "frames_per_second": one.frames_per_second,
        "microjoules": list(one.microjoules),
        "mm2": list(one.mm2),
        "buffer_kb": one.point.memory / KB,
        "tflops_per_watt": list(one.tflops_per_watt),
        "gflops_per_mm2": list(one.gflops_per_mm2),
    }


def as_rows(found: Findings) -> Iterator[dict[str, Any]]:
    """A row for each machine of the front: settings, figures, ranges as their two ends."""
    for one in found.front:
        row: dict[str, Any] = {}
        for key, value in _figures(one).items():
            match value:
                case dict():
                    row |= value
                case [low, high]:
                    row |= {f"{key}_low": low, f"{key}_high": high}
                case _:
                    row[key] = value
        yield row
