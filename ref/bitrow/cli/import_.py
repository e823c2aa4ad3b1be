"""`bitrow import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bitrow.cli import needs, options
from bitrow.cli.options import PLACE, TIMES
from bitrow.cli.sections import OUTPUT, Command, option
from bitrow.reading.values import number, whole_number

_IMAGES, _CODES, _FILE = "Images", "Codes", "File"


class Numbers(click.ParamType):
    """Finite numbers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        found = [number(part) for part in str(value).split(",")]
        if None in found:
            self.fail(f"{value!r} is not finite numbers with commas between them.", param, ctx)
        return tuple(one for one in found if one is not None)


class BitCounts(click.ParamType):
    """One number of bits, or three."""

    name = "bits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value
        found = [one for one in map(whole_number, str(value).split(",")) if one is not None and 2 <= one <= 8]
        if len(found) not in (1, 3) or len(found) != str(value).count(",") + 1:
            self.fail(f"{value!r} is not one number from 2 to 8, or three with commas between them.", param, ctx)
        return (found * 3)[0], (found * 3)[1], (found * 3)[2]


@click.command("import", cls=Command)
@click.argument("file", metavar="FILE", type=PLACE,
                help="An .onnx (QONNX, QCDQ), .keras or .tflite file, or torchvision's state dict in .safetensors.")
@options.input_size(_FILE, "Rows and columns, where the file leaves them open.")
@option("--output", "outputs", section=_FILE, multiple=True, metavar="NAME", show_default="the file's",
        help="A value that is an output of the network; repeatable.")  # fmt: skip
@option("--images", section=_IMAGES, type=PLACE, metavar="PATH", show_default="drawn ones",
        help="To calibrate on: a picture, a folder or zip of pictures, an npz.")  # fmt: skip
@option("--limit-images", section=_IMAGES, type=TIMES, default=8, show_default=True, metavar="N",
        help="The first N of them.")  # fmt: skip
@option("--mean", section=_IMAGES, type=Numbers(), default=(0.0,), metavar="X,...",
        help="Subtracted from a picture's values of 0 to 1, by channel.")  # fmt: skip
@option("--std", section=_IMAGES, type=Numbers(), default=(1.0,), metavar="X,...",
        help="What they are divided by then.")  # fmt: skip
@option("--bits", section=_CODES, type=BitCounts(), default=(4, 4, 4), metavar="N[,N,N]",
        help="Of codes that the file does not state: activations, weights, gradients.")  # fmt: skip
@option("--per-channel", section=_CODES, is_flag=True, help="A weight scale for each output channel.")
@option("--round-scales", section=_CODES, is_flag=True, help="Round the file's scales to FP16 where it lacks them.")
@option("--check", section="Checks", is_flag=True, help="Run the original by onnxruntime beside the import.")
@option("--out", section=OUTPUT, type=PLACE, required=True, metavar="FILE", help="The model file to write.")
@option("--force", section=OUTPUT, is_flag=True, help="Replace the file at --out.")
@option("--report", section=OUTPUT, type=PLACE, metavar="FILE",
        help="What became of each node, as JSON; - is standard output.")  # fmt: skip
@option("--quiet", is_flag=True, help="No lines but an error's.")
def import_(file: Path, out: Path, force: bool, report: Path | None, quiet: bool, **given: Any) -> None:
    """Make a model file of a network of another program.

    Nothing is written where a node is refused; all that are refused are listed.
    """
    from bitrow.importers import command_line

    command_line.check_places(file, out, report, given["images"], force)
    needs.jax()
    if given["check"]:
        needs.machine("import")()
    command_line.run(file, out, force, report, quiet, command_line.options(given))
