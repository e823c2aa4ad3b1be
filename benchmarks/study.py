"""Which policy in which numerics: a grid of transfers of one kind of network on images of one's own, with ten seeds.

Run as `python benchmarks/study.py --images ZIP --out DIR`; DIR keeps every run that was finished, and the same command
goes on from there. Prints the Markdown tables of docs/study.md. `--seeds 1` tries it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bitrow import jax_switches
from bitrow.errors import BitrowError
from bitrow.markdown import table
from bitrow.progress import bar

POLICIES = ("head", "bias", "norm", "lite_residual", "bias+lite_residual", "sparse_20", "full")
NUMERICS = ("float32", "bit_accurate", "bit_accurate-fxp4-stochastic-log")
SHORT = {"bit_accurate": "nearest", "bit_accurate-fxp4-stochastic": "stochastic",
         "bit_accurate-fxp4-stochastic-log": "stochastic log", "bit_accurate-qas": "codes, QAS",
         "bit_accurate-codes": "codes"}  # fmt: skip


def tables_of(cells: Sequence, images: int) -> Iterator[str]:
    """Accuracy on the target, the differences to float32 and to `full`, the source's, and the costs."""
    from bitrow.transfer import tables

    by = {(cell.policy, cell.numerics): cell for cell in cells}
    policies, numerics = (list(dict.fromkeys(pair[place] for pair in by)) for place in (0, 1))
    shown = [SHORT.get(name, name) for name in numerics]
    rows = [[f"`{p}`", *(_accuracy(by[p, n]) for n in numerics)] for p in policies]
    yield from _table(tables.title(len(cells[0].runs), images), ["policy", *shown], rows)
    if len(cells[0].runs) > 1:
        first = numerics[0]
        rows = [[f"`{p}`", *(_apart(by[p, n], by[p, first]) for n in numerics[1:])] for p in policies]
        yield from _table(f"Less {first}, points, paired by seed, 95% interval", ["policy", *shown[1:]], rows)
    if len(cells[0].runs) > 1 and len(policies) > 1:
        last = policies[-1]
        rows = [[f"`{p}`", *(_apart(by[p, n], by[last, n]) for n in numerics)] for p in policies[:-1]]
        yield from _table(f"Less `{last}`, points, paired by seed, 95% interval", ["policy", *shown], rows)
    rows = [[f"`{p}`", *(by[p, n].source for n in numerics)] for p in policies]
    yield from _table("The source's accuracy after and before, %", ["policy", *shown], rows)
    rows = [[f"`{p}`", short, *_spent(by[p, n].cost)]
            for p in policies for n, short in zip(numerics[:2], shown[:2], strict=True)]  # fmt: skip
    yield from _table("One training image", ["policy", "numerics", "trained", "KiB kept", "µJ", "host µJ"], rows)


def _accuracy(cell) -> str:
    return f"{100 * cell.mean:.1f} ± {100 * cell.spread:.1f}"


def _spent(cost) -> list[str]:
    from bitrow.transfer import tables

    spent = (tables.energy(cost, name) for name in ("energy_per_image", "host_total"))
    return [f"{cost['trainable']:,}", f"{cost['saved_kib']:.1f}", *spent]


def _apart(cell, other) -> str:
    """Mean difference and its interval; an interval without 0 in bold."""
    from bitrow.transfer import tables

    points = [100 * (a - b) for a, b in zip(cell.accuracy, other.accuracy, strict=True)]
    mean, half = sum(points) / len(points), tables.half_width(points)
    mark = "**" if abs(mean) > half else ""
    return f"{mark}{mean:+.1f}{mark} [{mean - half:+.1f}, {mean + half:+.1f}]"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from (f"{title}:\n", *table(columns, rows), "")


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--images", required=True, help="as bitrow transfer --data's")
    asked.add_argument("--out", required=True, type=Path, help="where runs are kept, and continued")
    asked.add_argument("--seeds", type=int, default=10)
    asked.add_argument("--limit", type=int, default=150, help="images of each class, to train and to test on")
    asked.add_argument("--epochs", type=int, default=5)
    asked.add_argument("--pretrain-epochs", type=int, default=20)
    asked.add_argument("--tune-epochs", type=int, default=8)
    asked.add_argument("--optimizer", default="adam")
    asked.add_argument("--learning-rate", type=float, help="default: as bitrow transfer's")
    asked.add_argument("--replay", type=float, default=0.0, help="share of source images in each batch")
    asked.add_argument("--policy", action="append", help="repeatable; default: the study's")
    asked.add_argument("--numerics", action="append", help="repeatable; default: the study's")
    asked.add_argument("--jobs", type=int)
    given = asked.parse_args()
    jax_switches.prepare()
    from bitrow.transfer.command import DataChoice
    from bitrow.transfer.experiment import ExperimentPlan
    from bitrow.transfer.grid import RunSettings, run

    begun = time.monotonic()
    try:
        how = ("epochs", "pretrain_epochs", "tune_epochs", "optimizer", "learning_rate", "replay")
        training = {name: getattr(given, name) for name in how}
        policies, numerics = tuple(given.policy or POLICIES), tuple(given.numerics or NUMERICS)
        plan = ExperimentPlan(policies, numerics, given.seeds, **training)
        data = DataChoice(given.images, limit=given.limit).load()
        total = len(plan.policies) * len(plan.numerics) * plan.seeds
        with bar("study", total, False) as advance:
            cells = run(plan, data, RunSettings(given.out, resume=True, jobs=given.jobs), advance)
    except BitrowError as error:
        print(f"study: {error}", file=sys.stderr)
        return 2
    print(*tables_of(cells, len(data.target.test.y)), sep="\n")
    print(f"{total} runs, {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
