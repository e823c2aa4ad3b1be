"""`bitrow pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bitrow.cli import needs, options
from bitrow.cli.options import PLACE, WORKLOAD
from bitrow.cli.sections import OUTPUT, Command, option


@click.command(cls=Command)
@click.argument("network", metavar="NETWORK|MODEL", help="A named network, a shipped model or a .safetensors file.")
@options.input_size(WORKLOAD, "Input rows and columns.", show_default="the network's own")
@options.images(1)
@options.passes
@options.machine
@options.costs
@options.policy
@option("--check", section="Checks", is_flag=True, help="Compute every row; compare with the whole-tensor model.")
@option("--rings", section=OUTPUT, is_flag=True, help="List every ring.")
@options.json_file
@options.csv_file
@option("--trace", "trace_file", section=OUTPUT, type=PLACE, metavar="FILE", help="A trace that opens in Perfetto.")
@option("--rows", "rows_file", section=OUTPUT, type=PLACE, metavar="FILE",
        help="Where every row lies and how long, as CSV.")  # fmt: skip
@options.html_file
def pipeline(
    network: str, forward_only: bool, freeze: str | None, check: bool, rings: bool, **given: Any
) -> None:
    """Run the row pipeline: cycles, buffers, banks, energy."""
    from bitrow import lookup
    from bitrow.pipeline import command

    model = [Path(network)] if lookup.is_file(network) else []
    needs.outputs(given, [*model, given["machine"], given["costs"]])
    needs.jax()
    given |= {"network": network, "training": options.training(forward_only, freeze)}
    run, files = options.records(given, command.PipelineRun, command.ReportFiles)
    command.pipeline(run, files, check=check, rings=rings, ready=needs.machine("pipeline"))
