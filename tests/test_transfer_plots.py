"""Plots: they show the numbers given, their files are the same every time, and appear whole or not at all."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from bitrow.errors import BitrowError
from bitrow.figures import save
from bitrow.transfer.plots import LearningCurve, OutcomePoint, accuracy_memory, learning_curves, policy_panels

CURVES = [
    LearningCurve("head", [[1.5, 0.5, 0.25], [1.25, 0.75, 0.5]], [[0.5, 0.75, 0.875], [0.25, 0.5, 0.625]]),
    LearningCurve("prompt", [[1.0, 0.5, 0.5]], [[0.25, 0.5, 0.5]]),
]
POINTS = [
    OutcomePoint("head", "float32", [0.5, 0.75], 0.125),
    OutcomePoint("head", "bit_accurate", [0.5], 0.125),
    OutcomePoint("bias", "bit_accurate", [0.25, 0.5, 1.0], 20.0),
]


def test_curves_show_the_mean_and_the_spread() -> None:
    loss, accuracy = learning_curves(CURVES).axes
    first, second = loss.lines
    np.testing.assert_array_equal(first.get_ydata(), [1.375, 0.625, 0.375])
    np.testing.assert_array_equal(first.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), [37.5, 62.5, 75.0])
    assert first.get_label() == "head" and second.get_color() != first.get_color()
    low, high = np.array([25.0, 50.0, 62.5]), np.array([50.0, 75.0, 87.5])
    corners = {tuple(corner) for corner in accuracy.collections[0].get_paths()[0].vertices.tolist()}
    assert {(i + 1, low[i]) for i in range(3)} | {(i + 1, high[i]) for i in range(3)} <= corners


def test_panels_are_policies_and_colours_numerics() -> None:
    curve = CURVES[0]
    figure = policy_panels({
        "head": [LearningCurve("float32", curve.loss, curve.accuracy), LearningCurve("simulated", [[1.0]], [[0.5]])],
        "bias": [LearningCurve("simulated", [[1.0, 0.5]], [[0.5, 0.75]])],
    })  # fmt: skip
    head, bias = figure.axes
    assert (head.get_title("left"), bias.get_title("left")) == ("head", "bias")
    np.testing.assert_array_equal(head.lines[0].get_ydata(), [37.5, 62.5, 75.0])
    assert head.lines[1].get_color() == bias.lines[0].get_color() != head.lines[0].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["float32", "simulated"]


def test_points_show_mean_and_range() -> None:
    (axes,) = accuracy_memory(POINTS).axes
    marks = [container.lines[0].get_xydata()[0] for container in axes.containers]
    assert [mark[1] for mark in marks] == [62.5, 50.0, 100 * 1.75 / 3]
    assert marks[0][0] * 1.06 == pytest.approx(marks[1][0]) and marks[0][0] < 0.125 < marks[1][0]
    bars = axes.containers[2].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(bars[:, 1], [25.0, 100.0], rtol=1e-15)
    labels = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert labels == ["head", "bias", "float32", "bit_accurate"]


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_files_are_the_same_every_time(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    learning_curves(CURVES, first, "a title")
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.hashsalt": "other"}):
        learning_curves(CURVES, second, "a title")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_pictures_open_and_have_no_date(tmp_path: Path) -> None:
    accuracy_memory(POINTS, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.size == (1094, 604) and image.info["Software"] == "bitrow"
    accuracy_memory(POINTS, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text.startswith("<?xml") and "<dc:date>" not in text and "image/svg+xml" in text


def test_log_scale_only_where_it_helps() -> None:
    assert learning_curves(CURVES).axes[0].get_yscale() == "linear"
    steep = [LearningCurve("x", [[1.0, 0.001]], [[0.5, 1.0]])]
    assert learning_curves(steep).axes[0].get_yscale() == "log"
    zero = [LearningCurve("x", [[1.0, 0.0]], [[0.5, 1.0]])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert learning_curves(zero).axes[0].get_yscale() == "linear"


def test_refusals_leave_what_was_there(tmp_path: Path) -> None:
    kept = tmp_path / "a.svg"
    learning_curves(CURVES, kept)
    before = kept.read_bytes()
    cases = [
        (lambda: learning_curves([], kept), "found nothing to show"),
        (lambda: accuracy_memory([], kept), "found nothing to show"),
        (
            lambda: learning_curves([LearningCurve("x", [[1.0], [1.0, 2.0]], [[0.5]])], kept),
            "found seeds of [1, 2] values",
        ),
        (lambda: learning_curves([LearningCurve("x", [[np.nan]], [[0.5]])], kept), "x loss: found infinities or NaNs"),
        (lambda: accuracy_memory([OutcomePoint("p", "n", [0.5], 0.0)], kept), "plot p: found memory of 0.0 KiB"),
        (lambda: learning_curves(CURVES, tmp_path / "a.jpg"), "found suffix '.jpg', expected .svg, .png or .pdf"),
        (lambda: learning_curves(CURVES, tmp_path / "absent" / "a.svg"), "cannot be written: No such file"),
        (lambda: save(learning_curves(CURVES), tmp_path), "expected .svg, .png or .pdf"),
    ]
    for act, words in cases:
        with pytest.raises(BitrowError) as caught:
            act()
        assert words in str(caught.value) and "\n" not in str(caught.value)
    assert kept.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["a.svg"]
