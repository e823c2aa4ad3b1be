"""`bitrow ablate`."""

from __future__ import annotations

from typing import Any

import click

from bitrow.cli import needs, options
from bitrow.cli.options import WORKLOAD
from bitrow.cli.sections import Command, option


@click.command(cls=Command)
@option("--network", "networks", section=WORKLOAD, multiple=True, metavar="NAME", show_default="four networks",
        help="A named network; repeatable.")  # fmt: skip
@option("--study", "studies", section=WORKLOAD, multiple=True, metavar="NAME", show_default="all of them",
        help="techniques, input-size, lanes or banks; repeatable.")  # fmt: skip
@options.images(2)
@options.machine
@options.json_file
@options.csv_file
@options.html_file
def ablate(**given: Any) -> None:
    """Switch the paper's techniques on and off, and sweep.

    There are three techniques; the sweeps are over input size, lanes and banks.
    """
    from bitrow.pipeline import command

    needs.outputs(given, [given["machine"]])
    needs.jax()
    command.ablate(*options.records(given, command.AblationRun, command.ReportFiles))
