"""Max and average pools in both directions (SPEC.md A2, A3)."""

from __future__ import annotations

import numpy as np

from bitrow.config import AvgPoolConfig, MaxPoolConfig
from bitrow.config.windows import Windows
from bitrow.contract.operation import Given, Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES
from bitrow.errors import BitrowError
from bitrow.oracle import gather
from bitrow.oracle.gather import Sources


def _max_sources(config: MaxPoolConfig, given: Given) -> Sources:
    return gather.forward_sources(given["x"].shape[1], config.windows[0])


def _max_gradient_sources(config: MaxPoolConfig, given: Given) -> Sources:
    size, rows = int(given["input_hw"][0]), given["dy"].shape[1]
    return gather.gradient_sources(size, rows, config.windows[0])


def _size(given: Given) -> tuple[int, int]:
    """Rows and columns of the map."""
    h, w = given["input_hw"].tolist() if "input_hw" in given else given["x"].shape[1:3]
    return h, w


def _windows(config: AvgPoolConfig, given: Given) -> Windows:
    """How the windows of an average lie (A3).

    Raises:
        BitrowError: the window is larger than the map.
    """
    windows = config.windows(size := _size(given))
    if min(window.results(along) for window, along in zip(windows, size, strict=True)) < 1:
        most = min(along + window.before + window.after for window, along in zip(windows, size, strict=True))
        raise BitrowError(f"average pool kernel: found {config.kernel}, expected at most {most}")
    return windows


def _count(config: AvgPoolConfig, given: Given) -> np.ndarray:
    """n of each window (A3): its elements, those outside the map with `count_padding` only."""
    rows, columns = (
        np.array([sum(at is not None or config.count_padding for at in read) for read in sources])
        for sources in map(gather.forward_sources, _size(given), _windows(config, given))
    )
    return np.outer(rows, columns)


def _avg_sources(config: AvgPoolConfig, given: Given) -> Sources:
    return gather.forward_sources(given["x"].shape[1], _windows(config, given)[0])


def _avg_gradient_sources(config: AvgPoolConfig, given: Given) -> Sources:
    return gather.gradient_sources(int(given["input_hw"][0]), given["dy"].shape[1], _windows(config, given)[0])


def _gradient_order(config: AvgPoolConfig) -> str:
    return "elementwise" if config.apart else "windows in row-major order from the first"


MAX_FORWARD = Operation(
    "max_pool.forward",
    Program("A2 max pool", """
        in  x     : 16, n h w c
        out y     : 16, n oh ow c    = maximum x
        out index : index, n oh ow c = place x
    """),
    MaxPoolConfig,
    lambda config: ("A2", "F4", "F5"), by_rows=True, row_sources=_max_sources,
)  # fmt: skip

MAX_BACKWARD = Operation(
    "max_pool.backward",
    Program("A2 max pool backward", """
        in  dy       : 16, n oh ow c
        kept index   : index, n oh ow c
        par input_hw : int, axis
        out dx       : 16, n h w c = won dy index
    """),
    MaxPoolConfig,
    lambda config: (*FP16_CLAUSES, "A2", "T1"), lambda config: "windows in row-major order from +0",
    by_rows=True, row_sources=_max_gradient_sources, static=("input_hw",),
)  # fmt: skip

AVG_FORWARD = Operation(
    "avg_pool.forward",
    Program("A3 forward", """
        in  x           : 16, n h w c
        let wide        : 32, n h w c             = widen x
        let window      : 32, n oh kh ow w c      = windows wide
            sum_level   : 32, n oh kh ow w_level c = tree window
            sum_running : 32, kh n oh ow c        = running sum_level
            sum         : 32, n oh ow c           = last sum_running
        let inv_n       : 32, n oh ow             = reciprocal
        out y           : 16, n oh ow c           = mul sum inv_n
    """),
    AvgPoolConfig,
    lambda config: (*FP16_CLAUSES, "A3", "B2", "T1", "F9", "T2"),
    lambda config: "window rows by trees over w of adjacent pairs padded with +0, then in order from +0",
    by_rows=True, row_sources=_avg_sources, windows=_windows, count=_count,
)  # fmt: skip

AVG_BACKWARD = Operation(
    "avg_pool.backward",
    Program("A3 backward", """
        in  dy       : 16, n oh ow c
        par input_hw : int, axis
        let inv_n    : 32, n oh ow      = reciprocal
        let scaled   : 16, n oh ow c    = mul dy inv_n if apart
            scaled   : 16, n oh ow c    = mul dy inv_n if not apart
        out dx       : 16, n h w c      = spread scaled
    """),
    AvgPoolConfig,
    lambda config: (*FP16_CLAUSES, "A3", "T1"), _gradient_order, lambda config, given: {"apart": config.apart},
    by_rows=True, row_sources=_avg_gradient_sources, windows=_windows, count=_count, static=("input_hw",),
)  # fmt: skip

MAX_POOL = (MAX_FORWARD, MAX_BACKWARD)
AVG_POOL = (AVG_FORWARD, AVG_BACKWARD)
