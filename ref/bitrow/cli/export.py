"""`bitrow export`: `c`."""

from __future__ import annotations

from pathlib import Path

import click

from bitrow.cli import needs, options
from bitrow.cli.options import PLACE
from bitrow.cli.sections import Command, Group, option
from bitrow.errors import BitrowError
from bitrow.terminal import put


@click.command(cls=Command)
@click.argument("out", metavar="DIR", type=PLACE, help="Folder to create; its parent must exist.")
@option("--network", section="Network", metavar="NETWORK|MODEL",
        help="Its layers and its whole pass, too: a named network, shipped model or .safetensors file.")  # fmt: skip
@options.input_size("Network", "Input rows and columns.", show_default="the network's own")
def c(out: Path, network: str | None, input_size: tuple[int, int] | None) -> None:
    """Write the C99 model: bitrow.h, bitrow.c, a SystemVerilog package that calls it.

    Every operation of the contract, single words, arrays and whole layers in both directions; docs/c-model.md.
    """
    from bitrow.export.folder import check_folder

    if input_size is not None and network is None:
        raise BitrowError("--input-size: found no --network, expected one")
    check_folder(out)  # before JAX loads
    needs.jax()
    from bitrow.export.files import export as write

    put([f"{out}: {', '.join(write(out, network, input_size))}"])


@click.group(cls=Group)
def export() -> None:
    """Write the contract in another language."""


export.add_section("Languages", c)
