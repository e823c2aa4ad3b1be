"""What `bitrow transfer` does, as a function of plain arguments; no command-line parsing here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitrow import terminal
from bitrow.errors import BitrowError
from bitrow.lookup import InputSize
from bitrow.progress import bar
from bitrow.terminal import Column
from bitrow.transfer import compare_run, data, processes, tables
from bitrow.transfer.experiment import ExperimentPlan
from bitrow.transfer.grid import RunSettings, run
from bitrow.transfer.tables import Cell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class DataChoice:
    """What is learned from: `spec` and `limit` as `data.load`'s; `input_size` makes every image of these rows
    and columns, in colour. `target_only`: every class is the target's, and the plan's `model_file` all that was
    learned before."""

    spec: str = "digits"
    input_size: InputSize | None = None
    limit: int | None = None
    target_only: bool = False

    def load(self) -> data.Transfer:
        """The two tasks. Raises: BitrowError as `data.load`."""
        size = None if self.input_size is None else (*self.input_size, 3)
        return data.load(self.spec, size, limit=self.limit, source=0 if self.target_only else None)


@dataclass(frozen=True)
class Meeting:
    """Several processes that train together, as `processes.join`'s arguments; none: this one alone."""

    coordinator: str | None = None
    process_count: int | None = None
    process: int | None = None


def transfer(
    plan: ExperimentPlan,
    choice: DataChoice = DataChoice(),
    settings: RunSettings = RunSettings(),
    meeting: Meeting = Meeting(),
    *,
    quiet: bool = False,
    console: Console | None = None,
) -> list[Cell]:
    """`bitrow transfer`: run the grid, print and write results.

    With a `meeting` every process runs the same command, and process 0 alone writes and prints.

    Raises:
        BitrowError: data that cannot be read, settings that cannot be, results that are in the way.
    """
    if settings.scheduler is not None and meeting.coordinator is not None:
        raise BitrowError("--scheduler: found --coordinator, too, expected one of them")
    if settings.resume and settings.out is None:
        raise BitrowError("--resume: found no --out, expected the folder of the results to continue")
    processes.join(meeting.coordinator, meeting.process_count, meeting.process)
    begun = time.monotonic()
    loaded = choice.load()
    total = len(plan.policies) * len(plan.numerics) * plan.seeds
    with bar("transfer", total, quiet or not processes.leads()) as advance:
        cells = run(plan, loaded, settings, advance)
    if not processes.leads():
        return cells
    terminal.put_table(table(cells, plan.numerics, len(loaded.target.test.y)), console)
    terminal.put_table(cost_table(cells), console)
    for one in tables.differences(cells):
        terminal.put_line(f"{one.policy}: {one.numerics} less {one.reference} {one.mean:+.1f} points, 95% interval "
                          f"{one.low:+.1f} to {one.high:+.1f}", console)  # fmt: skip
    if plan.seeds < tables.ENOUGH:
        few = f"found {plan.seeds} seeds, expected {tables.ENOUGH} or more to tell small differences from none"
        terminal.put_line(few, console)
    terminal.put_line(f"{total} runs, {time.monotonic() - begun:.0f} s", console)
    return cells


def compare(
    plan: ExperimentPlan,
    choice: DataChoice = DataChoice(),
    settings: RunSettings = RunSettings(),
    meeting: Meeting = Meeting(),
    *,
    quiet: bool = False,
) -> bool:
    """`bitrow transfer --compare`: simulated beside bit-accurate training, for each policy, gradient and seed.

    Prints what was found, and says whether it is what SPEC.md E2 promises: no difference where that holds.

    Raises:
        BitrowError: as `transfer`; a setting but `out`, or processes: a comparison runs alone, anew.
    """
    refused = {
        "resume": settings.resume or None, "jobs": settings.jobs, "scheduler": settings.scheduler,
        "checkpoint-seconds": settings.checkpoint_seconds,
        "coordinator": meeting.coordinator, "processes": meeting.process_count, "process": meeting.process,
    }  # fmt: skip
    for name, value in refused.items():
        if value is not None:
            raise BitrowError(f"--compare: found --{name}, expected it without")
    total = len(plan.policies) * plan.seeds * len(compare_run.gradients(plan))
    loaded = choice.load()
    with bar("compare", total, quiet) as advance:
        results = compare_run.run(plan, loaded, settings.out, advance, settings.ask)
    for one in results:
        first, *more = one.found.lines()
        terminal.put([f"{one.policy} {one.gradient} seed {one.seed}: {first}", *(f"  {line}" for line in more)])
    return all(one.found.holds for one in results)


def table(cells: Sequence[Cell], numerics: Sequence[str], images: int) -> Table:
    """Policies by numerics: mean and standard deviation of the accuracy, and what is kept of the source's."""
    columns = [Column("policy"), *(Column(name, True) for name in numerics)]
    known = cells[-1].source_accuracy is not None
    columns += [Column(f"source, {name}", True) for name in numerics if known]
    found = terminal.table(tables.title(len(cells[0].runs), images), columns)
    by_policy: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        by_policy.setdefault(cell.policy, {})[cell.numerics] = cell
    for policy, row in by_policy.items():
        accuracy = [f"{100 * row[name].mean:.1f} ± {100 * row[name].spread:.1f}" for name in numerics]
        terminal.add_row(found, (policy, *accuracy, *(row[name].source for name in numerics if known)))
    return found


def cost_table(cells: Sequence[Cell]) -> Table:
    """What an image costs, accelerator and host apart: a row for each policy and the numerics that cost the same."""
    names = ("trained", "KiB kept", "KiB weights", "MMAC forward + back", "MFLOP forward + back", "µJ", "host µJ",
             "optimizer KiB")  # fmt: skip
    columns = [Column("policy"), Column("numerics"), Column("on"), *(Column(name, True) for name in names)]
    found = terminal.table("One training image; host: gradients of parameters, and its share of the update", columns)
    alike: dict[tuple[str, ...], list[str]] = {}
    for cell in cells:
        alike.setdefault((cell.policy, *_spent(cell.cost)), []).append(cell.numerics)
    for (policy, machine, *spent), numerics in alike.items():
        terminal.add_row(found, (policy, ", ".join(numerics), machine, *spent))
    return found


def _spent(cost: dict[str, Any]) -> tuple[str, ...]:
    """What it is spent on, and how much."""
    return (
        cost["machine"],
        f"{cost['trainable']:,}",
        f"{cost['saved_kib']:.2f}",
        f"{cost['weights_kib']:.2f}",
        f"{cost['macs_forward'] / 1e6:.2f} + {cost['macs_backward'] / 1e6:.2f}",
        f"{cost['fp_forward'] / 1e6:.2f} + {cost['fp_backward'] / 1e6:.2f}",
        tables.energy(cost, "energy_per_image"),
        tables.energy(cost, "host_total"),
        f"{cost['optimizer_kib']:.2f}",
    )
