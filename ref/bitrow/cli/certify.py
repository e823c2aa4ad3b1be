"""`bitrow certify`."""

from __future__ import annotations

from pathlib import Path

import click

from bitrow.cli import needs, options
from bitrow.cli.sections import Command, option
from bitrow.leave import DIFFERS


@click.command(cls=Command)
@option("--full", section="Checks", is_flag=True,
        help="Every whole program under every instruction set and flag, too: minutes.")  # fmt: skip
@options.json_file
def certify(json_file: Path | None, full: bool) -> None:
    """Check that this machine gives the contract's bits.

    Kernels and whole programs run in every form, under every instruction set that the machine has and under XLA's
    flags; and the compiled code is read.
    """
    needs.jax(kept=False)
    from bitrow.backend.certify import certify as run_checks

    if not run_checks(json_file, full):
        raise click.exceptions.Exit(DIFFERS)
