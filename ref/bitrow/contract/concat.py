"""Concatenation (SPEC.md A7)."""

from __future__ import annotations

import numpy as np

from bitrow.config import ConcatConfig
from bitrow.contract.operation import Config, Given, Operation
from bitrow.contract.program import Program
from bitrow.errors import BitrowError


def _check(config: Config, given: Given) -> None:
    if given["x"].shape[:-1] != given["other"].shape[:-1]:
        found = [list(given[name].shape) for name in ("x", "other")]
        raise BitrowError(f"concat: found maps of {found[0]} and {found[1]}, expected equal images, rows and columns")


def _cut(dy: np.ndarray, channels: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.split(dy, np.cumsum(channels)[:-1], axis=-1))


FORWARD = Operation(
    "concat.forward",
    Program("A7", """
        in  x     : 16, n h w c_x
        in  other : 16, n h w c_other
        out y     : 16, n h w c = join x other
    """),
    ConcatConfig,
    lambda config: ("A7",), lambda config: "channels of x, then of other", by_rows=True, check=_check, handed_back=_cut,
)  # fmt: skip

CONCAT = (FORWARD,)
