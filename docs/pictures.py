"""Draws the pictures of README.md and docs/paths.md anew: `python docs/pictures.py`.

The second is of what the sample design dumped with `--bug padding_edge`, below out/bench, as docs/paths.md has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from bitrow import figures, fp16, zoo
from bitrow.formats import FloatMode, Rounding
from bitrow.pipeline import charts
from bitrow.pipeline.machine import Machine
from bitrow.pipeline.schedule import schedule

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/pictures"
CASE = "conv_3x3_forward"


def rows() -> Any:
    """The rows of a small network on a machine whose layers have units of their own."""
    return charts.timeline(schedule(zoo.build("resnet8", (8, 8, 3)), Machine(shared=False), images=2))


def differing(dumps: Path, golden: Path) -> Any:
    """Which words of a convolution a faulty design gets wrong, a square for each channel."""
    words = [[int(word, 16) for word in (folder / CASE / "acc.hex").read_text().split()] for folder in (golden, dumps)]
    wrong = (np.subtract(*words) != 0).reshape(4, 4, 4)  # rows, columns, channels
    with figures.new(7, 2.2) as figure:
        for channel, axes in enumerate(figure.subplots(1, 4)):
            axes.imshow(wrong[..., channel], cmap="Greys", vmin=0, vmax=1.4)
            axes.set(title=f"channel {channel}", xticks=range(4), yticks=range(4), xlabel="column")
            axes.grid(visible=False)
        figure.axes[0].set_ylabel("row")
    return figure


def roundings() -> Any:
    """1 + t in FP16 by the kernel, in the five ways to round, as t goes over two steps of the last bit."""
    t = np.linspace(0, 2**-9, 129, dtype=np.float32).astype(np.float16)
    with figures.new(7, 3) as figure:
        axes = figure.subplots()
        for place, (mode, color) in enumerate(zip(Rounding, figures.COLOURS, strict=False)):
            total = np.asarray(fp16.add(jnp.float16(1), jnp.asarray(t), FloatMode(mode)), np.float64)
            axes.plot(t * 2.0**10, (total - 1) * 2**10 + 0.02 * place, drawstyle="steps-post", color=color,
                      label=mode.value.replace("_", " "))  # fmt: skip
        axes.set(xlabel="t, in units of 2^-10", ylabel="fp16.add(1, t) - 1")
        axes.legend()
    return figure


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    figures.save(rows(), FOLDER / "rows.svg")
    figures.save(differing(ROOT / "out/bench/v1/sv", ROOT / "golden/v1"), FOLDER / "padding_edge.svg")
    figures.save(roundings(), FOLDER / "roundings.svg")


if __name__ == "__main__":
    main()
