"""What tests of `bitrow prove rtl` share: whether its tools are here, a sample by its names, the command."""

from __future__ import annotations

import pytest

from bitrow import cli
from bitrow.errors import BitrowError
from bitrow.proofs.rtl import solvers, yosys
from rtl_samples import BENCH_SAMPLES, FOLDER, SAMPLES, RtlSample


def _missing() -> str:
    """What is not installed that reads and decides units; "" where all is."""
    try:
        yosys.command()
        solvers.installed()
    except BitrowError as error:
        return str(error)
    return ""


needs_tools = pytest.mark.skipif(bool(_missing()), reason=_missing() or "all there")
FUSED = next(each for each in BENCH_SAMPLES if each.top == "fp16_fma")
FILES = [str(FOLDER / name) for name in ("fp16.sv", "fxp.sv")]


def sample(top: str, operation: str) -> RtlSample:
    return next(each for each in SAMPLES if (each.top, each.operation) == (top, operation))


def prove(*arguments: str) -> int:
    try:
        return cli.run(["prove", "rtl", *arguments])
    except SystemExit as leave:
        return int(leave.code or 0)
