"""Pictures of transfer experiments: learning curves, and accuracy against memory, in the style of `bitrow.figures`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitrow import figures
from bitrow.errors import BitrowError
from bitrow.figures import COLOURS

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class LearningCurve:
    """One experiment over its epochs: `loss` and `accuracy` (0 to 1), for each seed a value for each epoch."""

    name: str
    loss: Sequence[Sequence[float]]
    accuracy: Sequence[Sequence[float]]


@dataclass(frozen=True)
class OutcomePoint:
    """One experiment's outcome: accuracy (0 to 1) of each seed, and KiB kept for the backward pass of an image."""

    policy: str
    numerics: str
    accuracy: Sequence[float]
    memory_kib: float


def learning_curves(curves: Sequence[LearningCurve], path: str | Path | None = None, title: str = "") -> Any:
    """Loss and accuracy by epoch: the mean of the seeds as a line, from the least to the greatest as a band.

    Returns the matplotlib Figure; `path` (.svg, .png or .pdf) also writes it, whole or not at all.

    Raises:
        BitrowError: no curves, seeds of several lengths, a number that is not finite, another suffix, a file that
            cannot be written, matplotlib not installed.
    """
    _some("learning curves", curves)
    checked = [(c.name, _grid(c.name, "loss", c.loss), 100 * _grid(c.name, "accuracy", c.accuracy)) for c in curves]
    with figures.new(9.0, 3.6, title) as figure:
        left, right = figure.subplots(1, 2)
        for place, (name, loss, accuracy) in enumerate(checked):
            dash = _DASHES[place // len(COLOURS) % len(_DASHES)]
            style = {"color": COLOURS[place % len(COLOURS)], "linestyle": dash}
            _band(left, loss, style, name)
            _band(right, accuracy, style, name)
        left.set(title="Training loss", xlabel="epoch", ylabel="cross-entropy, nats")
        right.set(title="Test accuracy", xlabel="epoch", ylabel="% of the target's test images")
        figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
        if all((loss > 0).all() for _, loss, _ in checked) and _spread(loss for _, loss, _ in checked) > 30:
            left.set_yscale("log")
            figures.ticks(left.yaxis, "{x:g}")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.margins(x=0.02)
    return _saved(figure, path)


def policy_panels(
    panels: Mapping[str, Sequence[LearningCurve]], path: str | Path | None = None, title: str = ""
) -> Any:
    """Test accuracy by epoch, a panel for each policy, a colour for each numerics, which name the curves.

    Lines and bands as in `learning_curves`, and so are the Figure, `path` and what is refused.
    """
    _some("learning curves", list(panels.values()))
    kinds = _unique(curve.name for curves in panels.values() for curve in curves)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with figures.new(3.2 * columns + 1.6, 2.6 * rows, title) as figure:
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes, (policy, curves) in zip(grid, panels.items(), strict=False):
            for curve in curves:
                values = 100 * _grid(f"{policy} {curve.name}", "accuracy", curve.accuracy)
                colour = COLOURS[kinds.index(curve.name) % len(COLOURS)]
                _band(axes, values, {"color": colour, "linestyle": "-"}, curve.name)
            axes.set(title=policy, xlabel="epoch", ylabel="test accuracy, %")
            axes.label_outer()
            axes.xaxis.get_major_locator().set_params(integer=True)
        line = figures.loaded("matplotlib.lines").Line2D
        handles = [line([], [], color=COLOURS[i % len(COLOURS)], label=name) for i, name in enumerate(kinds)]
        figure.legend(handles=handles, loc="outside right upper")
    return _saved(figure, path)


def accuracy_memory(points: Sequence[OutcomePoint], path: str | Path | None = None, title: str = "") -> Any:
    """Accuracy against memory kept for the backward pass: a colour for each policy, a mark for each numerics.

    Marks are means, bars go from the worst seed to the best; numerics of a policy stand side by side. Returns the
    matplotlib Figure; `path` as in `learning_curves`.

    Raises:
        BitrowError: no points, memory that is not positive, or as `learning_curves`.
    """
    _some("accuracy against memory", points)
    policies, kinds = _unique(p.policy for p in points), _unique(p.numerics for p in points)
    with figures.new(7.6, 4.2, title) as figure:
        axes = figure.subplots()
        for point in points:
            accuracy = 100 * _grid(f"{point.policy} {point.numerics}", "accuracy", [point.accuracy])[0]
            if not 0 < point.memory_kib < np.inf:
                raise BitrowError(f"plot {point.policy}: found memory of {point.memory_kib} KiB, expected more than 0")
            mean, place = float(accuracy.mean()), kinds.index(point.numerics)
            x = point.memory_kib * 1.06 ** (place - (len(kinds) - 1) / 2)  # beside each other, not on top
            axes.errorbar(
                x, mean, yerr=[[mean - float(accuracy.min())], [float(accuracy.max()) - mean]],
                fmt=_MARKERS[place % len(_MARKERS)], color=COLOURS[policies.index(point.policy) % len(COLOURS)],
                markersize=7, capsize=3, elinewidth=1.2, markeredgecolor="white", markeredgewidth=0.6,
            )  # fmt: skip
        beside = "; numerics of a policy beside each other" if len(kinds) > 1 else ""
        axes.set(xscale="log", xlabel=f"KiB kept for the backward pass of one image{beside}", ylabel="test accuracy, %")
        figures.ticks(axes.xaxis, "{x:g}")
        axes.margins(0.08)
        _legend(figure, policies, kinds)
    return _saved(figure, path)


def _legend(figure: Any, policies: list[str], kinds: list[str]) -> None:
    line = figures.loaded("matplotlib.lines").Line2D
    patch = figures.loaded("matplotlib.patches").Patch
    handles = [patch(color=COLOURS[i % len(COLOURS)], label=name) for i, name in enumerate(policies)]
    handles += [
        line([], [], marker=_MARKERS[i % len(_MARKERS)], color="#555555", linestyle="none", label=name)
        for i, name in enumerate(kinds)
    ]
    figure.legend(handles=handles, loc="outside right upper")


def _band(axes: Any, values: np.ndarray, style: dict[str, str], name: str) -> None:
    epochs = np.arange(1, values.shape[1] + 1)
    marker = "o" if values.shape[1] < 3 else None
    axes.plot(epochs, values.mean(0), label=name, linewidth=1.6, marker=marker, **style)
    axes.fill_between(epochs, values.min(0), values.max(0), color=style["color"], alpha=0.15, linewidth=0)


def _spread(arrays: Iterable[np.ndarray]) -> float:
    every = np.concatenate([values.reshape(-1) for values in arrays])
    return float(every.max() / every.min())


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _some(what: str, values: Sequence[Any]) -> None:
    if not values:
        raise BitrowError(f"plot of {what}: found nothing to show, expected at least one experiment")


def _grid(name: str, what: str, rows: Sequence[Sequence[float]]) -> np.ndarray:
    """f64[seeds, epochs]."""
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1 or lengths[0] == 0:
        raise BitrowError(f"plot {name} {what}: found seeds of {lengths} values, expected one length above 0")
    values = np.array(rows, np.float64)
    if not np.isfinite(values).all():
        raise BitrowError(f"plot {name} {what}: found infinities or NaNs, expected finite numbers")
    return values


def _saved(figure: Any, path: str | Path | None) -> Any:
    if path is not None:
        figures.save(figure, path)
    return figure
