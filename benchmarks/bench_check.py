"""Ratios of bitrow to float32 on this processor, against the committed ones: `ratios.json`, by the processor's name.

Run as `python benchmarks/bench_check.py [--write] [layers] [step] [rows]`, by default all three. Each ratio is measured
side by side in one sitting, in five stretches; one that is more than 15% above the committed median, in its best
stretch, too, is a regression: exit status 1. `--write` keeps what was measured as this processor's ratios. Never part
of the tests: other work would fail them.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
from rich.console import Console
from rich.table import Table

import bench_layers
import bench_pipeline
import bench_transfer
from bitrow import zoo
from bitrow.processor import cpu_model
from timing import Timing, race, spread

KEPT = Path(__file__).with_name("ratios.json")
ALLOWED = 1.15
SHAPE, BATCH = (32, 32, 3), 32


def layers() -> Iterator[tuple[str, tuple[float, ...]]]:
    """Convolution and norm, of each shape."""
    for shape in bench_layers.SHAPES:
        for what, timing in bench_layers.races(shape).items():
            yield f"{what}, {'x'.join(map(str, shape))}", spread(timing["bitrow"], timing["float32"])


def step() -> Iterator[tuple[str, tuple[float, ...]]]:
    """A training step of resnet8: its time, its compiling and what it needs of memory."""
    images = bench_transfer.drawn(SHAPE, BATCH)
    both = {"bitrow": "bit_accurate", "float32": "float32"}
    found = {side: bench_transfer.trainer(name, SHAPE, 1.0, images, BATCH) for side, name in both.items()}
    timing = race({side: bench_transfer.contenders(one, 1) for side, one in found.items()})
    ours, plain = timing["bitrow"], timing["float32"]
    yield "training step of resnet8", spread(ours, plain)
    yield "compiling it", (ours.compile_ms / plain.compile_ms,)
    yield "temporary memory of it", (ours.temporary_bytes / plain.temporary_bytes,)


def rows() -> Iterator[tuple[str, tuple[float, ...]]]:
    """The row emulator's forward pass over whole tensors."""
    timing: dict[str, Timing] = bench_pipeline.raced(zoo.build("resnet18", (224, 224, 3)), 1, False)[1]
    yield "rows of resnet18 at 224, over whole tensors", spread(timing["rows"], timing["whole"])


def compared(name: str, found: tuple[float, ...], kept: list[float] | None) -> tuple[list[str], bool]:
    """A row of the table, and whether the ratio is a regression."""
    median = statistics.median(found)
    row = [name, f"{median:.2f}", f"{min(found):.2f} to {max(found):.2f}"]
    if kept is None:
        return [*row, "", ""], False
    slower = min(found) > ALLOWED * kept[0]
    return [*row, f"{kept[0]:.2f}", f"{median / kept[0] - 1:+.0%}{' REGRESSION' if slower else ''}"], slower


PARTS = {"layers": layers, "step": step, "rows": rows}


def main(words: list[str]) -> int:
    """Measure, print, and compare or write."""
    parts = [word for word in words if word != "--write"] or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        expected = ", ".join((*PARTS, "--write"))
        print(f"bench_check: found {', '.join(sorted(unknown))}, expected {expected}", file=sys.stderr)
        return 2
    processor, every = cpu_model(), json.loads(KEPT.read_text())
    kept, measured, worse = every.get(processor, {}), {}, 0
    table = Table("what", "median ratio", "range", "committed", "change", title=f"{processor}, JAX {jax.__version__}")
    for name, found in (pair for part in parts for pair in PARTS[part]()):
        measured[name] = [round(value, 3) for value in (statistics.median(found), min(found), max(found))]
        row, slower = compared(name, found, kept.get(name))
        table.add_row(*row)
        worse += slower
    Console(width=120).print(table)
    if "--write" in words:
        KEPT.write_text(json.dumps({**every, processor: {**kept, **measured}}, indent=1) + "\n")
    elif not kept:
        print(f"{KEPT.name}: found no ratios of {processor}, expected those of an earlier run: --write keeps these")
    return min(worse, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
