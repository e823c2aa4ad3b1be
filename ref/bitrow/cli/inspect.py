"""`bitrow inspect`."""

from __future__ import annotations

import click

from bitrow.cli.sections import Command, option
from bitrow.terminal import put


@click.command(cls=Command)
@click.argument("target", metavar="WORD|FILE", help="Hex digits, or a file of them.")
@option("--as", "as_format", section="Decoding", metavar="FORMAT", help="fp16, fp32, fxp2..8, ufxp2..8, int8..32.")
def inspect(target: str, as_format: str | None) -> None:
    """Decode a word such as 0x3c01, or sum up a hex file.

    Without --as, a word of four digits is FP16 (and its nibbles FXP4), of eight FP32, of one or two FXP4; a
    file in a vector set is what its case says.
    """
    from bitrow.vectors.files.inspect import inspect_lines

    put(inspect_lines(target, as_format))
