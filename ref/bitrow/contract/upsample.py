"""Nearest upsampling in both directions (SPEC.md A12)."""

from __future__ import annotations

from bitrow.config import UpsampleConfig
from bitrow.contract.operation import Given, Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES
from bitrow.errors import BitrowError
from bitrow.oracle.gather import Sources


def _sources(config: UpsampleConfig, given: Given) -> Sources:
    return [[i // config.rows] for i in range(given["x"].shape[1] * config.rows)]


def _gradient_sources(config: UpsampleConfig, given: Given) -> Sources:
    rows = given["dy"].shape[1] // config.rows
    return [[h * config.rows + k for k in range(config.rows)] for h in range(rows)]


def _check_gradient(config: UpsampleConfig, given: Given) -> None:
    _, h, w, _ = given["dy"].shape
    if h % config.rows or w % config.columns:
        raise BitrowError(f"upsample dy: found {h}x{w}, expected multiples of {config.rows}x{config.columns}")


FORWARD = Operation(
    "upsample.forward",
    Program("A12 forward", """
        in  x : 16, n h w c
        out y : 16, n oh ow c = repeat x
    """),
    UpsampleConfig,
    lambda config: ("A12",), by_rows=True, row_sources=_sources,
)  # fmt: skip

BACKWARD = Operation(
    "upsample.backward",
    Program("A12 backward", """
        in  dy    : 16, n oh ow c
        let terms : 16, term n h w c = repeats dy
            sum_  : 16, n h w c      = partial_sums terms
        out dx    : 16, n h w c      = last sum_
    """),
    UpsampleConfig,
    lambda config: (*FP16_CLAUSES, "A12", "T1"), lambda config: "places of a window in row-major order",
    by_rows=True, row_sources=_gradient_sources, check=_check_gradient,
)  # fmt: skip

UPSAMPLE = (FORWARD, BACKWARD)
