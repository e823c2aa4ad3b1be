"""Pictures of transfer experiments: learning curves, and accuracy against memory. The same bytes for the same numbers.

Figures are made without pyplot and without a display; text is outlines, colours are told apart without colour
vision (Okabe and Ito's).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.files import whole
from bitrow.transfer.data_raw import extra

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8B6F47")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ("-", "--", "-.", ":")
_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "bitrow",
    "svg.fonttype": "path",
}
_METADATA: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": "bitrow"},
    ".png": {"Software": "bitrow"},
}


@dataclass(frozen=True)
class Curve:
    """One experiment over its epochs: `loss` and `accuracy` (0 to 1), for each seed a value for each epoch."""

    name: str
    loss: Sequence[Sequence[float]]
    accuracy: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Point:
    """One experiment's outcome: accuracy (0 to 1) of each seed, and KiB kept for the backward pass of an image."""

    policy: str
    numerics: str
    accuracy: Sequence[float]
    memory_kib: float


def learning_curves(curves: Sequence[Curve], path: str | Path | None = None, title: str = "") -> Any:
    """Loss and accuracy by epoch: the mean of the seeds as a line, from the least to the greatest as a band.

    Returns the matplotlib Figure; `path` (.svg or .png) also writes it, whole or not at all.

    Raises:
        BitrowError: no curves, seeds of several lengths, a number that is not finite, another suffix, a file that
            cannot be written, matplotlib not installed.
    """
    _some("learning curves", curves)
    checked = [(c.name, _grid(c.name, "loss", c.loss), 100 * _grid(c.name, "accuracy", c.accuracy)) for c in curves]
    with _figure(9.0, 3.6, title) as figure:
        left, right = figure.subplots(1, 2)
        for place, (name, loss, accuracy) in enumerate(checked):
            dash = _DASHES[place // len(_COLOURS) % len(_DASHES)]
            style = {"color": _COLOURS[place % len(_COLOURS)], "linestyle": dash}
            _band(left, loss, style, name)
            _band(right, accuracy, style, name)
        left.set(title="Training loss", xlabel="epoch", ylabel="cross-entropy, nats")
        right.set(title="Test accuracy", xlabel="epoch", ylabel="% of the target's test images")
        figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
        if all((loss > 0).all() for _, loss, _ in checked) and _spread(loss for _, loss, _ in checked) > 30:
            left.set_yscale("log")
            left.yaxis.set_major_formatter(_plain_numbers())
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.margins(x=0.02)
    return _saved(figure, path)


def accuracy_memory(points: Sequence[Point], path: str | Path | None = None, title: str = "") -> Any:
    """Accuracy against memory kept for the backward pass: a colour for each policy, a mark for each numerics.

    Marks are means, bars go from the worst seed to the best; numerics of a policy stand side by side. Returns the
    matplotlib Figure; `path` as in `learning_curves`.

    Raises:
        BitrowError: no points, memory that is not positive, or as `learning_curves`.
    """
    _some("accuracy against memory", points)
    policies, kinds = _unique(p.policy for p in points), _unique(p.numerics for p in points)
    with _figure(7.6, 4.2, title) as figure:
        axes = figure.subplots()
        for point in points:
            accuracy = 100 * _grid(f"{point.policy} {point.numerics}", "accuracy", [point.accuracy])[0]
            if not 0 < point.memory_kib < np.inf:
                raise BitrowError(f"plot {point.policy}: found memory of {point.memory_kib} KiB, expected more than 0")
            mean, place = float(accuracy.mean()), kinds.index(point.numerics)
            x = point.memory_kib * 1.06 ** (place - (len(kinds) - 1) / 2)  # beside each other, not on top
            axes.errorbar(
                x, mean, yerr=[[mean - float(accuracy.min())], [float(accuracy.max()) - mean]],
                fmt=_MARKERS[place % len(_MARKERS)], color=_COLOURS[policies.index(point.policy) % len(_COLOURS)],
                markersize=7, capsize=3, elinewidth=1.2, markeredgecolor="white", markeredgewidth=0.6,
            )  # fmt: skip
        axes.set(xscale="log", xlabel="KiB kept for the backward pass of one image", ylabel="test accuracy, %")
        axes.xaxis.set_major_formatter(_plain_numbers())
        axes.margins(0.08)
        _legend(figure, policies, kinds)
    return _saved(figure, path)


def _legend(figure: Any, policies: list[str], kinds: list[str]) -> None:
    line = extra("matplotlib.lines", "matplotlib").Line2D
    patch = extra("matplotlib.patches", "matplotlib").Patch
    handles = [patch(color=_COLOURS[i % len(_COLOURS)], label=name) for i, name in enumerate(policies)]
    handles += [
        line([], [], marker=_MARKERS[i % len(_MARKERS)], color="#555555", linestyle="none", label=name)
        for i, name in enumerate(kinds)
    ]
    figure.legend(handles=handles, loc="outside right upper")


def _plain_numbers() -> Any:
    return extra("matplotlib.ticker", "matplotlib").FuncFormatter(lambda value, _: f"{value:g}")


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


@contextlib.contextmanager
def _figure(width: float, height: float, title: str) -> Iterator[Any]:
    """A figure of that many inches, in this module's style whatever the user's own."""
    matplotlib = extra("matplotlib", "matplotlib")
    backend = extra("matplotlib.backends.backend_agg", "matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        figure = extra("matplotlib.figure", "matplotlib").Figure(figsize=(width, height), layout="constrained", dpi=144)
        backend.FigureCanvasAgg(figure)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        yield figure


def _saved(figure: Any, path: str | Path | None) -> Any:
    if path is not None:
        save(figure, path)
    return figure


def save(figure: Any, path: str | Path) -> None:
    """Write a figure as .svg or .png, with no date in it; the file appears whole or not at all.

    Raises:
        BitrowError: another suffix, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix not in _METADATA:
        raise BitrowError(f"plot {path}: found suffix {path.suffix!r}, expected .svg or .png")
    matplotlib = extra("matplotlib", "matplotlib")
    with whole(path) as aside, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        figure.savefig(aside, format=path.suffix[1:], metadata=_METADATA[path.suffix])
