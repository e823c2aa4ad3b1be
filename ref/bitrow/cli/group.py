"""`bitrow`: every command, under the heading of what it is for."""

from __future__ import annotations

import click

from bitrow import __version__
from bitrow.cli.ablate import ablate
from bitrow.cli.bench_audit import bench_audit
from bitrow.cli.certify import certify
from bitrow.cli.explore import explore
from bitrow.cli.export import export
from bitrow.cli.generate import generate
from bitrow.cli.import_ import import_
from bitrow.cli.inspect import inspect
from bitrow.cli.pipeline import pipeline
from bitrow.cli.prove import prove
from bitrow.cli.sections import Group
from bitrow.cli.transfer import transfer
from bitrow.cli.verify import verify


@click.group("bitrow", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bitrow")
def root() -> None:
    """Bit-accurate reference of the row-pipelined FXP4/FP16 training accelerator: vectors, pipeline, training, proofs.

    Files are read up to a size that no sound one of their kind has; BITROW_READ_LIMIT=BYTES allows more.
    """


root.add_section("Golden vectors", generate, verify, inspect, bench_audit, export)
root.add_section("Networks", import_)
root.add_section("Row pipeline", pipeline, explore, ablate)
root.add_section("Training", transfer)
root.add_section("Proofs", prove)
root.add_section("This machine", certify)
