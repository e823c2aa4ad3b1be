"""`bitrow pipeline`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bitrow.cli import needs, options
from bitrow.cli.options import PLACE, WORKLOAD
from bitrow.cli.sections import OUTPUT, Command, option
from bitrow.errors import BitrowError
from bitrow.terminal import put
from bitrow.vectors.trace.formats import ImageFormat

if TYPE_CHECKING:
    from bitrow.pipeline.schedule import Schedule
    from bitrow.vectors.trace.write import TraceChoice

_TRACE = "Vectors"


@click.command(cls=Command)
@click.argument("network", metavar="NETWORK|MODEL", help="A named network, a shipped model or a .safetensors file.")
@options.input_size(WORKLOAD, "Input rows and columns.", show_default="the network's own")
@options.images(1)
@option("--samples", section=WORKLOAD, type=PLACE, metavar="PATH", show_default="samples of the model, or drawn",
        help="The images: a picture, folder, zip or npz file; fewer than --images: again.")  # fmt: skip
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
@option("--baselines", "baselines_file", section=OUTPUT, type=PLACE, metavar="FILE",
        help="The same of the ways of buffering that it is compared with.")  # fmt: skip
@options.html_file
@option("--vectors", "folder", section=_TRACE, type=PLACE, metavar="DIR",
        help="Every row's words, and which task reads and writes it where and when (docs/traces.md).")  # fmt: skip
@option("--at", section=_TRACE, multiple=True, metavar="CYCLE|peak|ends", show_default="peak",
        help="Cycles of which DIR has the banks' images; peak: when most lives, ends: of each task.")  # fmt: skip
@option("--image-format", section=_TRACE, type=click.Choice([each.value for each in ImageFormat]),
        show_default="readmemh", help="How they are written.")  # fmt: skip
@option("--force", section=_TRACE, is_flag=True, help="Replace a vector set in DIR.")
def pipeline(
    network: str, forward_only: bool, freeze: str | None, check: bool, rings: bool, **given: Any
) -> None:
    """Run the row pipeline: cycles, buffers, banks, energy."""
    from bitrow.pipeline import command

    traced = _trace_choice({name: given.pop(name) for name in ("folder", "at", "image_format", "force")})
    folder = traced.folder if traced else None
    if given["samples"] and not (check or folder):
        raise BitrowError("--samples: found neither --check nor --vectors, expected one, which computes them")
    needs.run_outputs(given | {"vectors_file": folder}, network)
    needs.jax()
    given |= {"network": network, "training": options.training(forward_only, freeze)}
    run, files = options.records(given, command.PipelineRun, command.ReportFiles)
    ready = needs.machine("pipeline")
    lines: list[str] = []

    def trace(found: Schedule) -> None:
        from bitrow.vectors.trace.write import trace_network

        lines.extend([trace_network(found, network, traced, ready, run.samples)] if traced else ())

    command.pipeline(run, files, check=check, rings=rings, ready=ready, traced=trace)
    if str(files.json_file) != "-":
        put(lines)


def _trace_choice(given: dict[str, Any]) -> TraceChoice | None:
    """The trace that is asked for, if one is; its folder is looked at before anything is computed."""
    from bitrow.vectors.files.store import check_target
    from bitrow.vectors.trace.write import TraceChoice

    if given["folder"] is None:
        for name in ("at", "image_format", "force"):
            if given[name]:
                raise BitrowError(f"--{name.replace('_', '-')}: found no --vectors, expected a trace's folder, too")
        return None
    check_target(given["folder"], given["force"])
    if given["image_format"]:
        given["image_format"] = ImageFormat(given["image_format"])
    (choice,) = options.records(given, TraceChoice)
    return choice
