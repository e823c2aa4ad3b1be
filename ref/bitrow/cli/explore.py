"""`bitrow explore`."""

from __future__ import annotations

from typing import Any

import click

from bitrow.cli import needs, options
from bitrow.cli.arguments import FiniteNumber
from bitrow.cli.options import MACHINE, WORKLOAD
from bitrow.cli.sections import Command, option


@click.command(cls=Command)
@click.argument("network", metavar="NETWORK|MODEL", help="A named network, a shipped model or a .safetensors file.")
@options.input_size(WORKLOAD, "Input rows and columns.", show_default="the network's own")
@options.images(2)
@options.passes
@options.machine
@options.costs
@options.policy
@option("--vary", section=MACHINE, multiple=True, metavar="FIELD=VALUE,...",
        show_default="lanes, banks, ports, ring rules, mappings, packing",
        help="Values of a machine's field, or of fp_lanes; repeatable.")  # fmt: skip
@option("--fps", section=MACHINE, type=FiniteNumber(min=0, min_open=True), metavar="N",
        help="Also the smallest machine for N frames/s.")  # fmt: skip
@options.kept("out/explore")
@options.jobs
@options.scheduler
@options.json_file
@options.csv_file
@options.html_file
@options.quiet
def explore(network: str, quiet: bool, forward_only: bool, freeze: str | None, **given: Any) -> None:
    """Search thousands of machines for a network.

    Shows the front of time, energy, area and memory, and machines that stand out: balanced, densest, fastest,
    smallest. A search is kept, and one that was killed is taken up where it stopped.
    """
    from bitrow.executors.team import Where
    from bitrow.pipeline import command, explore_command

    needs.run_outputs(given, network)
    needs.jax()
    given |= {"network": network, "training": options.training(forward_only, freeze)}
    run, files, where = options.records(given, explore_command.ExploreRun, command.ReportFiles, Where)
    explore_command.explore(run, files, where, quiet=quiet)
