"""`bitrow generate`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitrow import terminal
from bitrow.cli import needs, options
from bitrow.cli.arguments import Whole
from bitrow.cli.options import PLACE
from bitrow.cli.sections import OUTPUT, Command, option
from bitrow.errors import BitrowError
from bitrow.terminal import Column, put

if TYPE_CHECKING:
    from bitrow.vectors.generate import Generated
    from bitrow.vectors.own_layer import LayerCase
    from bitrow.vectors.passes import PassChoice

DEFAULT_SUITE = "standard"
_VECTORS, _PASS = "Vectors", "Pass of a network"
_SPELLED = {"layers": "layer"}


@click.command(cls=Command)
@option(
    "--suite", "suites", section=_VECTORS, multiple=True, metavar="NAME",
    show_default="standard, unless others are asked for", help="smoke, standard or the name of a case; repeatable.",
)  # fmt: skip
@option("--network", section=_VECTORS, metavar="NAME|MODEL",
        help="The training pass of this network, shipped model or .safetensors file, too.")  # fmt: skip
@option("--layer-file", "layer_files", section=_VECTORS, type=PLACE, multiple=True, metavar="FILE",
        help="A layer of one's own, in TOML (docs/vectors.md), too; repeatable.")  # fmt: skip
@option("--seed", section=_VECTORS, type=Whole(0, 2**32 - 1), default=0, show_default=True, metavar="N",
        help="Of the stimulus, and of what a network has not.")  # fmt: skip
@options.input_size(_PASS, "Input rows and columns.", show_default="the network's own")
@option("--images", section=_PASS, type=PLACE, metavar="PATH", show_default="samples of the model, or drawn",
        help="A picture, a folder or zip of them, or an npz file.")  # fmt: skip
@option("--limit-images", section=_PASS, type=Whole(1, 10_000), metavar="N", show_default="1",
        help="At most N images, in one batch.")  # fmt: skip
@option("--layer", "layers", section=_PASS, multiple=True, metavar="NAME", show_default="all layers",
        help="Only the cases of this layer; repeatable.")  # fmt: skip
@option("--part", section=_PASS, type=click.Choice(["all", "layers", "whole"]), show_default="all",
        help="Cases of the layers, of the whole network (of a shipped model), or both.")  # fmt: skip
@option("--out", section=OUTPUT, type=PLACE, metavar="DIR", help="Folder to create; its parent must exist.")
@option("--force", section=OUTPUT, is_flag=True, help="Replace the vector set at --out, in one step at the end.")
@option("--list", "listed", section=OUTPUT, is_flag=True, help="Print the names of the cases; compute nothing.")
@options.case_jobs
@options.scheduler
@options.fresh
@option("--quiet", is_flag=True, help="No progress bar and no summary.")
def generate(out: Path | None, force: bool, listed: bool, quiet: bool, fresh: bool, **given: Any) -> None:
    """Compute vectors by oracle and kernels; write a new set.

    Nothing is written unless every word of every tensor agrees. A run that was stopped is taken up by the same command.
    """
    from bitrow.vectors.files import store

    if not listed and out is None:
        raise click.UsageError("Missing option '--out'.", click.get_current_context())
    if not listed and out is not None:
        store.check_target(out, force)  # before JAX loads: a wrong folder should not cost seconds
    needs.jax()
    from bitrow.executors.team import Where
    from bitrow.progress import bar
    from bitrow.vectors import catalog, taken_up
    from bitrow.vectors.generate import generate as compute

    (where,) = options.records({name: given.pop(name) for name in ("jobs", "scheduler")}, Where)
    where = replace(where, trial=needs.trial)
    seed, suites, own = given.pop("seed"), given.pop("suites"), _own(given.pop("layer_files"))
    network = _choice(given)
    suites = tuple(suites) or (() if network or own else (DEFAULT_SUITE,))
    # names first: unknown ones are refused before anything is compiled
    names = [*catalog.names(suites, network), *(name for layer in own for name in layer.names())]
    if listed or out is None:
        put(names)
        return
    problems = [catalog.problems(suites, network, seed), *(layer.problems() for layer in own)]
    label = " ".join([*suites, *([network.network] if network else []), *(layer.name for layer in own)])
    with taken_up.generating(out, fresh) as kept, bar("generate", len(names), quiet) as advance:
        result = compute(out, itertools.chain(*problems), seed, label, force, lambda row: advance(row.case),
                         replace(where.small(len(names)), kept=kept))  # fmt: skip
    if not quiet:
        _summary(result)


def _choice(given: dict[str, Any]) -> PassChoice | None:
    """The pass that is asked for; its options are refused where none is."""
    from bitrow.vectors.passes import PassChoice, PassPart

    if given["network"] is None:
        spare = next((name for name, value in given.items() if value not in (None, ())), None)
        if spare is not None:
            raise BitrowError(f"--{_SPELLED.get(spare, spare.replace('_', '-'))}: found no --network, expected one")
        return None
    if given["part"] is not None:
        given["part"] = PassPart(given["part"])
    (choice,) = options.records(given, PassChoice)
    return choice


def _own(files: Sequence[Path]) -> list[LayerCase]:
    from bitrow.vectors.layer_file import load

    return [load(file) for file in files]


def _summary(result: Generated) -> None:
    """The table at the end."""
    columns = [Column(name) for name in ("case", "operation", "oracle rows")]
    columns += [Column(name, True) for name in ("tensors", "words", "bins", "clauses", "seconds")]
    table = terminal.table(f"{result.path}: {result.summary.cases} cases", columns)
    for row in result.rows:
        rows = "all" if row.rows_checked == "all" else "sample"
        counts = (row.tensors, row.words, row.bins, row.clauses, f"{row.seconds:.2f}")
        terminal.add_row(table, (row.case, row.operation, rows, *counts))
    total = result.summary
    table.add_section()
    terminal.add_row(table, ("total", "", "", total.tensors, total.words, "", "", ""))
    terminal.put_table(table)
    put([f"{total.bytes:,} bytes; every word agreed by oracle, eager and compiled kernels"])
