"""What `bitrow transfer` does, as a function of plain arguments; no command-line parsing here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bitrow import terminal
from bitrow.errors import BitrowError
from bitrow.progress import bar
from bitrow.terminal import Column
from bitrow.transfer import compare_run, data, processes
from bitrow.transfer.experiment import CHECKPOINT_SECONDS, Cell, ExperimentPlan, run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def transfer(
    spec: str = "digits",
    *,
    input_size: int | None = None,
    limit: int | None = None,
    out: Path | None = None,
    resume: bool = False,
    jobs: int | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    coordinator: str | None = None,
    process_count: int | None = None,
    process: int | None = None,
    quiet: bool = False,
    console: Console | None = None,
    ready: Callable[[], object] = lambda: None,
    **options: object,
) -> list[Cell]:
    """`bitrow transfer`: run the grid that `options` (fields of `ExperimentPlan`) describe, print and write results.

    `jobs`: runs at a time, by default one for each processor. `checkpoint_seconds`: the least time between two
    checkpoints of a run. `coordinator`, `process_count` and `process`: as `processes.join`; every process runs the
    same command, and process 0 alone writes and prints. `ready` is as `experiment.run`'s.

    Raises:
        BitrowError: data that cannot be read, options that cannot be, results that are in the way.
    """
    if resume and out is None:
        raise BitrowError("--resume: found no --out, expected the folder of the results to continue")
    processes.join(coordinator, process_count, process)
    plan = ExperimentPlan(**options)  # type: ignore[arg-type]
    begun = time.monotonic()
    loaded = _load(spec, input_size, limit)
    total = len(plan.policies) * len(plan.numerics) * plan.seeds
    with bar("transfer", total, quiet or not processes.leads()) as advance:
        cells = run(plan, loaded, out, resume, advance, jobs or os.cpu_count() or 1, checkpoint_seconds, ready)
    if not processes.leads():
        return cells
    terminal.put_table(table(cells, plan.numerics), console)
    terminal.put_line(f"{total} runs, {time.monotonic() - begun:.0f} s", console)
    return cells


def _load(spec: str, input_size: int | None, limit: int | None) -> data.Transfer:
    return data.load(spec, None if input_size is None else (input_size, input_size, 3), limit=limit)


def compare(
    spec: str = "digits",
    *,
    input_size: int | None = None,
    limit: int | None = None,
    out: Path | None = None,
    resume: bool = False,
    jobs: int | None = None,
    checkpoint_seconds: float | None = None,
    coordinator: str | None = None,
    process_count: int | None = None,
    process: int | None = None,
    quiet: bool = False,
    ready: Callable[[], object] = lambda: None,
    **options: object,
) -> bool:
    """`bitrow transfer --compare`: simulated beside bit-accurate training, for each policy, gradient and seed.

    Prints what was found, and says whether it is what SPEC.md E2 promises: no difference where that holds.

    Raises:
        BitrowError: as `transfer`; `resume`, `jobs`, `checkpoint_seconds` or processes: a comparison runs alone, anew.
    """
    refused = {
        "resume": resume or None, "jobs": jobs, "checkpoint-seconds": checkpoint_seconds, "coordinator": coordinator,
        "processes": process_count, "process": process,
    }  # fmt: skip
    for name, value in refused.items():
        if value is not None:
            raise BitrowError(f"--compare: found --{name}, expected it without")
    plan = ExperimentPlan(**options)  # type: ignore[arg-type]
    total = len(plan.policies) * plan.seeds * len(compare_run.gradients(plan))
    loaded = _load(spec, input_size, limit)
    with bar("compare", total, quiet) as advance:
        results = compare_run.run(plan, loaded, out, advance, ready)
    for one in results:
        first, *more = one.found.lines()
        terminal.put([f"{one.policy} {one.gradient} seed {one.seed}: {first}", *(f"  {line}" for line in more)])
    return all(one.found.holds for one in results)


def table(cells: Sequence[Cell], numerics: Sequence[str]) -> Table:
    """Policies by numerics: mean and standard deviation of the accuracy, and what an image costs."""
    figures = (*numerics, "trained", "KiB kept", "MMAC forward + back", "MFLOP forward + back", "energy, µJ")
    columns = [Column("policy"), *(Column(name, True) for name in figures)]
    found = terminal.table("Accuracy on the target, %, mean ± deviation over the seeds", columns)
    by_policy: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        by_policy.setdefault(cell.policy, {})[cell.numerics] = cell
    for policy, row in by_policy.items():
        cost = row[numerics[-1]].cost
        accuracy = [f"{100 * row[name].mean:.1f} ± {100 * row[name].spread:.1f}" for name in numerics]
        spent = (
            f"{cost['trainable']:,}",
            f"{cost['saved_kib']:.2f}",
            f"{cost['macs_forward'] / 1e6:.2f} + {cost['macs_backward'] / 1e6:.2f}",
            f"{cost['fp_forward'] / 1e6:.2f} + {cost['fp_backward'] / 1e6:.2f}",
            f"{cost['energy_per_image_uj_low']:.2f} to {cost['energy_per_image_uj_high']:.2f}",
        )
        terminal.add_row(found, (policy, *accuracy, *spent))
    return found
