"""What `bitrow explore` does, as a function of plain arguments; no command-line parsing here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bitrow import asides
from bitrow.errors import BitrowError
from bitrow.executors.team import Team, Where, opened
from bitrow.files import write_csv, write_report, write_text
from bitrow.graph import Network
from bitrow.lookup import InputSize, find_network
from bitrow.pipeline import explore_state
from bitrow.pipeline.cost_tables import DEFAULT_COSTS, load_costs
from bitrow.pipeline.explore import AXES, Batch, Point, Search, SweepAxes, batches, evaluate, machines
from bitrow.pipeline.explore_front import candidates, choices, front
from bitrow.pipeline.explore_page import page
from bitrow.pipeline.explore_report import Findings, as_json, as_rows, print_findings
from bitrow.pipeline.html import check_installed
from bitrow.pipeline.machine import DEFAULT_MACHINE, load_machine
from bitrow.pipeline.reach import Training, every_layer
from bitrow.progress import bar
from bitrow.reading.values import number, whole_number

if TYPE_CHECKING:
    from rich.console import Console

    from bitrow.pipeline.command import ReportFiles


@dataclass(frozen=True)
class ExploreRun:
    """What `bitrow explore` searches. `vary`: axes as FIELD=VALUE,VALUE..., in place of those of the same field.

    A search of the same question in the folder `state` is taken up where it stopped, unless `fresh`, wherever it ran.
    `fps`: also the smallest machine that makes so many frames a second.
    """

    network: str
    input_size: InputSize | None = None
    images: int = 2
    machine: Path | None = None
    costs: Path | None = None
    policy: str = "row_pipelined_overlap"
    training: Training | Callable[[Network], Training] = every_layer
    vary: Sequence[str] = ()
    fps: float | None = None
    state: Path = Path("out/explore")
    fresh: bool = False


def varied(texts: Sequence[str], axes: SweepAxes = AXES) -> SweepAxes:
    """SweepAxes with those that texts FIELD=VALUE,VALUE... name in place of their own, or behind them.

    Raises:
        BitrowError: a text of another form.
    """
    found = dict(axes)
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name:
            raise BitrowError(f"--vary: found {text!r}, expected FIELD=VALUE,VALUE...")
        found[name] = tuple(dict.fromkeys(_value(value) for value in values.split(",") if value))
    return tuple(found.items())


def _value(text: str) -> object:
    """A number, a truth value or a word, as TOML would have it."""
    if text in ("true", "false"):
        return text == "true"
    whole = whole_number(text)
    return whole if whole is not None else text if number(text) is None else number(text)


def search_of(run: ExploreRun) -> Search:
    """The question of a run.

    Raises:
        BitrowError: an unknown network or policy, a file that cannot be read, an axis that cannot be.
    """
    network = find_network(run.network, run.input_size)
    training = run.training(network) if callable(run.training) else run.training
    machine = load_machine(run.machine) if run.machine else DEFAULT_MACHINE
    costs = load_costs(run.costs) if run.costs else DEFAULT_COSTS
    return Search(network, varied(run.vary), machine, run.policy, run.images, training, costs)


def explore(
    run: ExploreRun, files: ReportFiles, where: Where = Where(), *, quiet: bool = False, console: Console | None = None
) -> Findings:
    """`bitrow explore`: evaluate every machine, print the tables, write the files that are asked for.

    Raises:
        BitrowError: bad arguments, a state that is none, no machine that runs the network or is fast enough, a file
            that cannot be written.
    """
    if files.html_file is not None:
        check_installed()
    search = search_of(run)
    path = explore_state.place(run.state, search)
    with asides.alone(path, "this search"):
        found = findings(search, solve(search, path, where, fresh=run.fresh, quiet=quiet), run.fps)
    if str(files.json_file) != "-":
        print_findings(found, console)
    write_report(files.json_file, as_json(found))
    if files.csv_file is not None:
        write_csv(files.csv_file, list(as_rows(found)))
    if files.html_file is not None:
        write_text(files.html_file, page(found))
    return found


def solve(
    search: Search, path: Path | None = None, where: Where = Where(jobs=1), *, fresh: bool = False, quiet: bool = True
) -> dict[int, Point | str]:
    """The figures of every machine of a search, or why it cannot run, by its place.

    With `path`, what is done is kept there after each batch, and what is there is not done again, unless `fresh`.

    Raises:
        BitrowError: an axis that cannot be, a state that is none, workers that end or are not fit.
    """
    todo = batches(list(machines(search)))
    kept = None if path is None else explore_state.begin(path, search, fresh)
    done = {} if kept is None else {batch.number: found for batch in todo if (found := kept.get(batch))}
    left = [batch for batch in todo if batch.number not in done]
    if left:
        with opened(where, len(left)) as team, bar("explore", len(left), quiet) as advance:
            for batch, points in _evaluated(search, left, team):
                done[batch.number] = points
                if kept is not None:
                    kept.add(batch, points)
                advance(f"{len(batch.machines):,} machines at a time")
    return {place: point for batch in todo for place, point in zip(batch.places, done[batch.number], strict=True)}


def _evaluated(search: Search, left: Sequence[Batch], team: Team) -> Iterator[tuple[Batch, list[Point | str]]]:
    queue = iter(left)
    errand = team.errand(functools.partial(evaluate, search), str)
    for batch, returned in team.as_done(errand, lambda _: next(queue, None)):
        yield batch, returned.result


def findings(search: Search, points: dict[int, Point | str], fps: float | None = None) -> Findings:
    """Front and chosen machines of a search's figures.

    Raises:
        BitrowError: no machine can run the network, or none makes `fps` frames a second.
    """
    runs, refused = candidates(search, points)
    if not runs:
        raise BitrowError(f"{search.network.name}: found no machine that runs it: {next(iter(refused))}")
    base = next((one for one in runs if one.machine == search.base), None)
    return Findings(search, len(points), refused, front(runs), choices(runs, fps, base), base)
