"""`bitrow prove`: `claims`, `rtl`, `mutants`, `certificates`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bitrow.cli import needs, options
from bitrow.cli.options import PLACE
from bitrow.cli.prove_rtl import rtl
from bitrow.cli.sections import Command, Group, option
from bitrow.leave import DIFFERS

_DOMAIN = "Domain"


def _end(holds: bool) -> None:
    if not holds:
        raise click.exceptions.Exit(DIFFERS)


@click.command(cls=Command)
@click.argument("patterns", metavar="[CLAIM...]", nargs=-1,
                help="Names, with * and ?, such as 'solver.*'; without any, all claims.")  # fmt: skip
@option("--quick/--full", default=True, show_default=True, section=_DOMAIN,
        help="A stated slice of each domain, or all of it.")  # fmt: skip
@options.kept("out/prove")
@options.jobs
@options.scheduler
@options.json_file
@options.markdown
@options.record
@options.quiet
def claims(quick: bool, quiet: bool, **given: Any) -> None:
    """Check claims of the contract again, all or those named.

    Shows which hold, on which domain, by which method. A killed run is taken up where it stopped.
    docs/claims.md lists all claims.
    """
    needs.jax()
    from bitrow.executors.team import Where
    from bitrow.proofs import command
    from bitrow.proofs.claim import Effort

    given["effort"] = Effort.QUICK if quick else Effort.FULL
    run, files, where = options.records(given, command.ClaimsRun, command.ClaimFiles, Where)
    _end(command.prove(run, files, replace(where, trial=needs.trial), quiet=quiet))


def _committed() -> tuple[Path, ...]:
    """The vector sets of this repository, or the first, which is then missed."""
    return tuple(sorted(Path("golden").glob("v*"))) or (Path("golden/v1"),)


@click.command(cls=Command)
@option("--set", "folders", type=PLACE, multiple=True, default=_committed, metavar="DIR",
        show_default="all in golden/", section="Vectors",
        help="A vector set that has to find them, with the others given.")  # fmt: skip
@options.json_file
@options.markdown
@options.quiet
def mutants(folders: tuple[Path, ...], json_file: Path | None, markdown: Path | None, quiet: bool) -> None:
    """Find each deliberate fault, by a case and by a property.

    The faults are put into the oracle of the datapath and into the row pipeline, one at a time.
    """
    needs.jax()
    from bitrow.proofs.mutants.command import mutants as judge

    _end(judge(folders, json_file=json_file, markdown=markdown, quiet=quiet))


@click.command(cls=Command)
@click.argument("network", metavar="NETWORK|MODEL", help="A named network, a shipped model or a .safetensors file.")
def certificates(network: str) -> None:
    """Print what is proved of each convolution of a network.

    A certificate says how exact float32 simulation is there (docs/proofs.md).
    """
    needs.jax()
    from bitrow.proofs.theorems import print_certificates

    print_certificates(network)


@click.group(cls=Group)
def prove() -> None:
    """Check claims, prove units, find faults, print certificates."""


prove.add_section("Claims of the contract", claims)
prove.add_section("A unit of yours", rtl)
prove.add_section("Faults", mutants)
prove.add_section("Exactness of a network", certificates)
