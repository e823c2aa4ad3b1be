"""`bitrow export`: `c`, `sv`, `constants`."""

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
    """Write the contract as a C99 model.

    bitrow.h and bitrow.c, and a SystemVerilog package that calls them: every operation of the contract, single words,
    arrays and whole layers in both directions; docs/c-model.md.
    """
    from bitrow.export.folder import check_folder

    if input_size is not None and network is None:
        raise BitrowError("--input-size: found no --network, expected one")
    check_folder(out)  # before JAX loads
    needs.jax()
    from bitrow.export.files import export as write

    put([f"{out}: {', '.join(write(out, network, input_size))}"])


@click.command(cls=Command)
@click.argument("out", metavar="DIR", type=PLACE, help="Folder to create; its parent must exist.")
def sv(out: Path) -> None:
    """Write single words as synthesizable SystemVerilog.

    bitrow_pkg.sv has a function and bitrow_modules.sv a module for each operation: FP16 in every mode, FP32,
    quantizers, dequantizers, products into a register, the LFSR, packing; docs/sv-reference.md.
    """
    from bitrow.export.folder import check_folder

    check_folder(out)  # before JAX loads
    needs.jax()
    from bitrow.export.files import export_hardware

    put([f"{out}: {', '.join(export_hardware(out))}"])


@click.command(cls=Command)
@click.argument("vectors", metavar="SET", type=PLACE, help="Folder of a vector set.")
@click.argument("out", metavar="DIR", type=PLACE, help="Folder to create; its parent must exist.")
@option("--language", type=click.Choice(["verilog", "vhdl"]), required=True, help="CASE.vh, or CASE_pkg.vhd.")
def constants(vectors: Path, out: Path, language: str) -> None:
    """Write a set's constants for Verilog or VHDL.

    A file for each case: macros of Verilog-2001, or a package of VHDL-93. Those for SystemVerilog and C lie in the set.
    """
    from bitrow.export.constants import export as write

    put([f"{out}: {len(write(vectors, out, language))} files"])


@click.group(cls=Group)
def export() -> None:
    """Write the contract in another language."""


export.add_section("Languages", c, sv)
export.add_section("Vector sets", constants)
