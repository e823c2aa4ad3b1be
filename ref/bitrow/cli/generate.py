"""`bitrow generate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitrow import terminal
from bitrow.cli import needs
from bitrow.cli.arguments import Whole
from bitrow.cli.options import PLACE
from bitrow.cli.sections import OUTPUT, Command, option
from bitrow.terminal import Column, put

if TYPE_CHECKING:
    from bitrow.vectors.generate import Generated

DEFAULT_SUITE = "standard"
_VECTORS = "Vectors"


@click.command(cls=Command)
@option(
    "--suite", "suites", section=_VECTORS, multiple=True, metavar="NAME",
    show_default="standard, unless --network", help="smoke, standard or the name of a case; repeatable.",
)  # fmt: skip
@option("--network", section=_VECTORS, metavar="NAME", help="The training pass of this network, too.")
@option("--seed", section=_VECTORS, type=Whole(0, 2**32 - 1), default=0, show_default=True, metavar="N",
        help="Of the stimulus.")  # fmt: skip
@option("--out", section=OUTPUT, type=PLACE, required=True, metavar="DIR",
        help="Folder to create; its parent must exist.")  # fmt: skip
@option("--force", section=OUTPUT, is_flag=True, help="Replace the vector set at --out, in one step at the end.")
@option("--quiet", is_flag=True, help="No progress bar and no summary.")
def generate(out: Path, suites: Sequence[str], network: str | None, seed: int, force: bool, quiet: bool) -> None:
    """Compute vectors by oracle and kernels; write a new set.

    Nothing is written unless every word of every tensor agrees.
    """
    from bitrow.vectors.files import store

    store.check_target(out, force)  # before JAX loads: a wrong folder should not cost seconds
    needs.jax()
    from bitrow.progress import bar
    from bitrow.vectors import catalog
    from bitrow.vectors.generate import generate as compute

    names = tuple(suites) or (() if network else (DEFAULT_SUITE,))
    total = catalog.count(names, network)  # refuses unknown names before anything is compiled
    problems = catalog.problems(names, network, seed)
    label = " ".join([*names, *([network] if network else [])])
    with bar("generate", total, quiet) as advance:
        result = compute(out, problems, seed, label, force, lambda row: advance(row.case), needs.machine("generate"))
    if not quiet:
        _summary(result)


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
