"""A network for the zoo, `small`, whose programs compile in seconds; run as a program, `bitrow` with it."""

from __future__ import annotations

from typing import Any

from bitrow import cli, zoo
from bitrow.errors import BitrowError
from bitrow.graph import Network
from transfer_samples import small


def build(input_shape: Any = (8, 8, 1), num_classes: int = 5, width: float = 1.0, options: Any = None) -> Network:
    """`transfer_samples.small`, for images of its size only."""
    if tuple(input_shape) != (8, 8, 1):
        raise BitrowError(f"small: found images of {input_shape}, expected (8, 8, 1)")
    return small(num_classes)


if __name__ == "__main__":
    zoo.NETWORKS["small"] = build
    cli.main()
