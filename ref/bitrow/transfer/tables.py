"""Results as a paper prints them: cells of policy and numerics, paired differences with intervals, two tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from bitrow.transfer.kept import Run

ENOUGH = 10  # seeds; a difference that fewer show may be none
CONFIDENCE = 0.95


class Cell(NamedTuple):
    """One policy in one numerics: its runs by seed."""

    policy: str
    numerics: str
    runs: tuple[Run, ...]

    @property
    def accuracy(self) -> tuple[float, ...]:
        """By seed."""
        return tuple(run.accuracy for run in self.runs)

    @property
    def cost(self) -> dict[str, Any]:
        """What an image costs; the same for every seed, but of a sparse update, which chooses anew: the first's."""
        return self.runs[0].cost

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracy)

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds, 0 for one."""
        return statistics.stdev(self.accuracy) if len(self.accuracy) > 1 else 0.0

    @property
    def source_before(self) -> float | None:
        """Mean accuracy on the source as the runs began, None where there is no source."""
        return _mean([run.source_before for run in self.runs])

    @property
    def source_accuracy(self) -> float | None:
        """As the runs ended."""
        return _mean([run.source_accuracy for run in self.runs])

    @property
    def source(self) -> str:
        """What of the source is kept, in %, as in "61.3 of 97.2"."""
        before, after = self.source_before, self.source_accuracy
        return "" if before is None or after is None else f"{100 * after:.1f} of {100 * before:.1f}"


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


@dataclass(frozen=True)
class PairedDifference:
    """A cell's accuracy less another's of the same policy, seed by seed, in points: their mean, and the 95% interval
    around it by Student's t.
    """

    policy: str
    numerics: str
    reference: str
    seeds: int
    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """For a CSV file."""
        return asdict(self)


def differences(cells: Sequence[Cell]) -> list[PairedDifference]:
    """Of every cell to the first numerics of its policy, by two seeds or more.

    Runs of one seed begin with one network and see the images in one order, so they are pairs.
    """
    first: dict[str, Cell] = {}
    found = []
    for cell in cells:
        other = first.setdefault(cell.policy, cell)
        if other is not cell and len(cell.runs) > 1:
            found.append(_difference(cell, other))
    return found


def _difference(cell: Cell, other: Cell) -> PairedDifference:
    pairs = zip(cell.accuracy, other.accuracy, strict=True)
    points = [100 * (a - b) for a, b in pairs]
    mean, half = statistics.fmean(points), half_width(points)
    return PairedDifference(cell.policy, cell.numerics, other.numerics, len(points), mean, mean - half, mean + half)


def half_width(values: Sequence[float]) -> float:
    """Of the interval of CONFIDENCE around the mean of two or more values drawn from a normal distribution."""
    from scipy.stats import t  # type: ignore[import-untyped]  # a part of JAX's own installation, slow to load

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def title(seeds: int, images: int) -> str:
    """Of a table of accuracies."""
    count = f"{seeds} seed{'s' * (seeds != 1)}"
    return f"Accuracy on {images:,} images of the target, %, mean ± deviation over {count}"


_COLUMNS = ("policy", "numerics", "accuracy", "to the first", "source kept", "trained", "KiB kept", "µJ", "host µJ",
            "optimizer KiB")  # fmt: skip
_NOTE = ("; differences paired by seed, 95% intervals; memory and energy of a training image on the accelerator and "
         "the host, of float32 its own operations alone")  # fmt: skip


def energy(cost: dict[str, Any], name: str) -> str:
    """Of a cell's costs, as in "0.16 to 0.21"."""
    return f"{cost[f'{name}_uj_low']:.2f} to {cost[f'{name}_uj_high']:.2f}"


def _rows(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    apart = {(one.policy, one.numerics): one for one in differences(cells)}
    rows: list[tuple[str, ...]] = []
    for cell in cells:
        one = apart.get((cell.policy, cell.numerics))
        difference = "" if one is None else f"{one.mean:+.1f} [{one.low:+.1f}, {one.high:+.1f}]"
        spent = (energy(cell.cost, name) for name in ("energy_per_image", "host_total"))
        kept, state = (f"{cell.cost[name]:.2f}" for name in ("saved_kib", "optimizer_kib"))
        figures = (f"{cell.cost['trainable']:,}", kept, *spent, state)
        accuracy = f"{100 * cell.mean:.1f} ± {100 * cell.spread:.1f}"
        rows.append((cell.policy, cell.numerics, accuracy, difference, cell.source, *figures))
    return rows


def markdown(cells: Sequence[Cell], heading: str) -> str:
    """The cells as a Markdown table under a line of text; differences in points, paired by seed, 95% intervals."""
    lines = [f"{heading}{_NOTE}.", ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", "|---|---" + "|--:" * (len(_COLUMNS) - 2) + "|"]
    lines += [f"| {' | '.join((f'`{policy}`', *rest))} |" for policy, *rest in _rows(cells)]
    return "\n".join(lines) + "\n"


def latex(cells: Sequence[Cell], heading: str) -> str:
    """The same as a LaTeX table of the package booktabs."""
    lines = [r"\begin{table}", rf"\caption{{{_tex(heading + _NOTE)}.}}"]
    lines += [r"\begin{tabular}{ll" + "r" * (len(_COLUMNS) - 2) + "}", r"\toprule"]
    lines += [" & ".join(map(_tex, _COLUMNS)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_tex, row)) + r" \\" for row in _rows(cells)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _tex(text: str) -> str:
    for found, wanted in (("%", r"\%"), ("_", r"\_"), ("±", r"$\pm$"), ("µ", r"$\mu$")):
        text = text.replace(found, wanted)
    return text
