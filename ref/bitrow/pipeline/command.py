"""What `bitrow pipeline` and `bitrow ablate` do, as functions of plain arguments; no command-line parsing here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bitrow import terminal
from bitrow.errors import BitrowError
from bitrow.files import whole, write_csv, write_report, write_text
from bitrow.graph import Network
from bitrow.lookup import InputSize, find_network
from bitrow.pipeline import ablate as ablations
from bitrow.pipeline.ablate_page import page as ablation_page
from bitrow.pipeline.cost_tables import DEFAULT_COSTS, CostTables, load_costs
from bitrow.pipeline.html import check_installed, page
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, load_machine
from bitrow.pipeline.policies import policy_named
from bitrow.pipeline.reach import Training, every_layer
from bitrow.pipeline.report import Report, as_dict, report, to_csv
from bitrow.pipeline.row_file import write_baselines, write_rows
from bitrow.pipeline.schedule import Schedule, schedule
from bitrow.pipeline.tables import print_report
from bitrow.pipeline.trace import write_trace
from bitrow.terminal import Column

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STUDIES = ("techniques", "input-size", "lanes", "banks")


def check_rows(found: Schedule, name: str, samples: Path | None = None) -> str:
    """Emulate a schedule and hold every row against the whole-tensor model; says how much was compared.

    Parameters and images are those of `check.model_for`. Loads JAX.

    Raises:
        BitrowError: the first row that differs; a model file or images that cannot be read.
    """
    import jax.numpy as jnp

    from bitrow.pipeline.check import check, model_for

    model = model_for(found, name, samples)
    assert model.samples is not None
    dlogits = jnp.asarray(model.samples.dlogits) if found.flow.training else None
    checked = check(found, model.params, jnp.asarray(model.samples.images), dlogits)
    return f"{checked.rows:,} rows of {checked.words:,} words equal the whole-tensor model"


@dataclass(frozen=True)
class ReportFiles:
    """Where a report goes; None: nowhere. `-` is standard output, for JSON, and then no table is printed."""

    json_file: Path | None = None
    csv_file: Path | None = None
    trace_file: Path | None = None
    rows_file: Path | None = None
    baselines_file: Path | None = None
    html_file: Path | None = None


@dataclass(frozen=True)
class PipelineRun:
    """What `bitrow pipeline` schedules: arguments of `find_network` and `run_pipeline`.

    `training` may follow from the network: every layer that has parameters, where nothing is said. `samples`: the
    images that are computed, where any are (`check.model_for`).
    """

    network: str
    input_size: InputSize | None = None
    images: int = 1
    machine: Path | None = None
    costs: Path | None = None
    policy: str = "row_pipelined_overlap"
    training: Training | Callable[[Network], Training] = every_layer
    samples: Path | None = None


@dataclass(frozen=True)
class AblationRun:
    """What `bitrow ablate` runs."""

    networks: Sequence[str] = ablations.NETWORKS
    studies: Sequence[str] = STUDIES
    images: int = 2
    machine: Path | None = None


def run_pipeline(
    network: Network,
    *,
    images: int = 1,
    machine: Machine | Path | None = None,
    policy: str = "row_pipelined_overlap",
    training: Training = True,
    costs: CostTables | Path | None = None,
) -> Report:
    """Schedule a network and report on it.

    Raises:
        BitrowError: a machine, policy or number of images that cannot be; naming what is missing.
    """
    built = load_machine(machine) if isinstance(machine, Path) else machine or DEFAULT_MACHINE
    tables = load_costs(costs) if isinstance(costs, Path) else costs or DEFAULT_COSTS
    return report(schedule(network, built, policy_named(policy), images, training=training), costs=tables)


def pipeline(
    run: PipelineRun,
    files: ReportFiles = ReportFiles(),
    *,
    check: bool = False,
    rings: bool = False,
    console: Console | None = None,
    ready: Callable[[], object] = lambda: None,
    traced: Callable[[Schedule], object] = lambda found: None,
) -> Report:
    """`bitrow pipeline`: schedule, print tables, write the files that are asked for.

    `check` emulates every row and raises where one differs from the whole-tensor model; `ready` is asked first, and
    may refuse the machine. `rings` lists every ring. `traced` sees the run before anything is printed or written.

    Raises:
        BitrowError: bad arguments, or a file that cannot be written.
    """
    if files.html_file is not None:
        check_installed()
    network = find_network(run.network, run.input_size)
    training = run.training(network) if callable(run.training) else run.training
    found = run_pipeline(
        network, images=run.images, machine=run.machine, policy=run.policy, training=training,
        costs=run.costs,
    )
    traced(found.schedule)
    if check:
        ready()
    checked = check_rows(found.schedule, run.network, run.samples) if check else ""
    if str(files.json_file) != "-":
        print_report(found, console, rings=rings)
        if checked:
            terminal.put_line(checked, console)
    write_report(files.json_file, as_dict(found))
    _write(files.csv_file, lambda path: to_csv(found, path))
    _write(files.trace_file, lambda path: write_trace(found.schedule, path))
    _write(files.rows_file, lambda path: write_rows(found.schedule, path))
    _write(files.baselines_file, lambda path: write_baselines(found.schedule, path))
    if files.html_file is not None:
        write_text(files.html_file, page(found))
    return found


def ablate(
    run: AblationRun = AblationRun(),
    files: ReportFiles = ReportFiles(),
    *,
    console: Console | None = None,
    progress: Callable[[ablations.AblationPoint], None] | None = None,
) -> list[ablations.AblationPoint]:
    """`bitrow ablate`: run the studies, print the table, write the files; `progress` sees each run.

    Raises:
        BitrowError: an unknown network or study, a machine that cannot run one, a file that cannot be written.
    """
    if files.html_file is not None:
        check_installed()
    built = load_machine(run.machine) if run.machine else DEFAULT_MACHINE
    points: list[ablations.AblationPoint] = []
    for study in run.studies:
        for point in _study(study, run.networks, built, run.images):
            points.append(point)
            if progress:
                progress(point)
    if str(files.json_file) != "-":
        terminal.put_table(_ablation_table(points), console)
    write_report(files.json_file, ablations.as_rows(points))
    if files.csv_file is not None:
        write_csv(files.csv_file, _flat(points))
    if files.html_file is not None:
        write_text(files.html_file, ablation_page(points))
    return points


def _study(study: str, networks: Sequence[str], machine: Machine, images: int) -> Iterable[ablations.AblationPoint]:
    match study:
        case "techniques":
            return ablations.techniques(networks, machine, images)
        case "input-size":
            return ablations.sweep_input_size(networks, machine, images)
        case "lanes":
            return ablations.sweep_lanes(networks, machine, images)
        case "banks":
            return ablations.sweep_banks(networks, machine, images)
    raise BitrowError(f"study: found {study!r}, expected one of {', '.join(STUDIES)}")


def _ablation_table(points: Sequence[ablations.AblationPoint]) -> Table:
    columns = [Column(name, name not in ablations.TEXTS) for name, _ in ablations.COLUMNS]
    return terminal.table("Ablations", columns, ([text(point) for _, text in ablations.COLUMNS] for point in points))


def _flat(points: Sequence[ablations.AblationPoint]) -> list[dict[str, object]]:
    """A row for each run; a range as its two ends."""
    rows = []
    for row in ablations.as_rows(points):
        flat: dict[str, object] = {}
        for key, value in row.items():
            if isinstance(value, tuple):
                flat[f"{key}_low"], flat[f"{key}_high"] = value
            else:
                flat[key] = value
        rows.append(flat)
    return rows


def _write(target: Path | None, write: Callable[[Path], object]) -> None:
    if target is not None:
        with whole(target) as aside:
            write(aside)
