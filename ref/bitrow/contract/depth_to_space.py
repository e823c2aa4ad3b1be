"""Depth to space in both directions (SPEC.md A13)."""

from __future__ import annotations

from bitrow.config import DepthToSpaceConfig
from bitrow.contract.operation import Given, Operation
from bitrow.contract.program import Program
from bitrow.errors import BitrowError
from bitrow.oracle.gather import Sources


def _order(config: DepthToSpaceConfig) -> str:
    return f"channels in the order {config.order.value}"


def _sources(config: DepthToSpaceConfig, given: Given) -> Sources:
    return [[i // config.block] for i in range(given["x"].shape[1] * config.block)]


def _gradient_sources(config: DepthToSpaceConfig, given: Given) -> Sources:
    block = config.block
    return [[h * block + k for k in range(block)] for h in range(given["dy"].shape[1] // block)]


def _check(config: DepthToSpaceConfig, given: Given) -> None:
    channels, places = given["x"].shape[3], config.block**2
    if channels % places:
        raise BitrowError(f"depth to space x: found {channels} channels, expected a multiple of {places}")


def _check_gradient(config: DepthToSpaceConfig, given: Given) -> None:
    _, h, w, _ = given["dy"].shape
    if h % config.block or w % config.block:
        raise BitrowError(f"depth to space dy: found {h}x{w}, expected multiples of {config.block}")


FORWARD = Operation(
    "depth_to_space.forward",
    Program("A13 forward", """
        in  x : 16, n h w c_x
        out y : 16, n oh ow c_y = blocks x
    """),
    DepthToSpaceConfig,
    lambda config: ("A13",), _order, by_rows=True, row_sources=_sources, check=_check,
)  # fmt: skip

BACKWARD = Operation(
    "depth_to_space.backward",
    Program("A13 backward", """
        in  dy : 16, n oh ow c_y
        out dx : 16, n h w c_x = channels dy
    """),
    DepthToSpaceConfig,
    lambda config: ("A13",), _order, by_rows=True, row_sources=_gradient_sources, check=_check_gradient,
)  # fmt: skip

DEPTH_TO_SPACE = (FORWARD, BACKWARD)
