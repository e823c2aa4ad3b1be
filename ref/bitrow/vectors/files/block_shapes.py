"""What the tensors of products, upsampling and depth to space must be to each other (SPEC.md A8, A12, A13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitrow.config import DepthToSpaceConfig, MultiplyConfig, UpsampleConfig
from bitrow.errors import BitrowError

if TYPE_CHECKING:
    from bitrow.vectors.files.shapes import Shapes


def multiply(shapes: Shapes, config: MultiplyConfig) -> None:
    n, h, w, c = shapes.of("x", 4)
    shapes.same(("y", "dx", "dy"), (n, h, w, c))
    if not config.gate:
        shapes.same(("other", "dother"), (n, h, w, c))
        return
    shapes.same(("gate", "dgate", "sum"), (n, 1, 1, c))
    shapes.same(("sum_running",), (h, n, 1, 1, c))
    for name in shapes.tensors:
        if name.startswith("sum_level"):
            width = (1 << (w - 1).bit_length()) >> int(name.removeprefix("sum_level") or 0)
            shapes.same((name,), (n, 1, h, 1, max(width, 1), c))


def upsample(shapes: Shapes, config: UpsampleConfig) -> None:
    n, h, w, c = shapes.of("x" if "x" in shapes else "dx", 4)
    sums = tuple(name for name in shapes.tensors if name.startswith("sum_"))
    shapes.same(("x", "dx", *sums), (n, h, w, c))
    shapes.same(("y", "dy"), (n, h * config.rows, w * config.columns, c))


def depth_to_space(shapes: Shapes, config: DepthToSpaceConfig) -> None:
    name, block = "x" if "x" in shapes else "dx", config.block
    n, h, w, c = shapes.of(name, 4)
    if c % block**2:
        expected = f"channels in a multiple of {block**2}"
        raise BitrowError(f"{shapes.case.name}/{name}: found shape {[n, h, w, c]}, expected {expected}")
    shapes.same(("y", "dy"), (n, h * block, w * block, c // block**2))
