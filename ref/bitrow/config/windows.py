"""How windows lie along an axis, and how a configuration says it (SPEC.md C1, A2, A3). Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from bitrow.errors import BitrowError

Pair = int | tuple[int, int]  # rows, columns; an int is both
Sides = int | tuple[int, int, int, int]  # top, bottom, left, right; an int is all four


class Window(NamedTuple):
    """Windows along one axis: result i reads positions `i*stride - before + k*dilation`, k from 0 to `kernel` - 1.

    `before` and `after` are the positions outside the map, ahead of it and behind it, that windows may reach.
    """

    kernel: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """Positions from the first that a window reads to the last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def step(self) -> int:
        """Kernel indices that read one position are so many apart."""
        return self.stride // math.gcd(self.stride, self.dilation)

    @property
    def sharing(self) -> int:
        """The most windows that read one position."""
        return -(-self.kernel // self.step)

    def results(self, size: int) -> int:
        """Results along an axis of `size` positions; below 1 where no window fits."""
        return (size + self.before + self.after - self.extent) // self.stride + 1

    def spanned(self, results: int) -> int:
        """The least positions of an axis that so many results come from: `results`'s other direction (SPEC.md C5)."""
        return (results - 1) * self.stride + self.extent - self.before - self.after

    def unused(self, size: int) -> int:
        """Positions at the end, outside the map first, that no window reaches."""
        return (size + self.before + self.after - self.extent) % self.stride

    def holding(self, size: int) -> list[int]:
        """Of each position of a map of `size`, how many windows read it."""
        first = [i * self.stride - self.before for i in range(self.results(size))]
        return [sum((at - start) in range(0, self.extent, self.dilation) for start in first) for at in range(size)]

    def inside(self, size: int) -> list[int]:
        """Of each window, how many of its positions lie in a map of `size`."""
        found = []
        for first in (i * self.stride - self.before for i in range(self.results(size))):
            ahead = -(-max(0, -first) // self.dilation)  # elements outside the map, at its beginning
            found.append(max(0, min(self.kernel - 1, (size - 1 - first) // self.dilation) - ahead + 1))
        return found


Windows = tuple[Window, Window]  # down the rows, across the columns


def same(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Positions before and after an axis for size/stride results, rounded up: TensorFlow's SAME, an odd one after."""
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return total // 2, total - total // 2


def both(value: Pair) -> tuple[int, int]:
    """Rows and columns."""
    return value if isinstance(value, tuple) else (value, value)


def sides(value: Sides) -> tuple[int, int, int, int]:
    """Top, bottom, left and right."""
    return value if isinstance(value, tuple) else (value,) * 4


def along(kernel: Sequence[int], stride: Pair, padding: Sides, dilation: Pair = 1) -> Windows:
    """The windows of a kernel of so many rows and columns."""
    top, bottom, left, right = sides(padding)
    (down, across), (apart, aside) = both(stride), both(dilation)
    return Window(kernel[0], down, top, bottom, apart), Window(kernel[1], across, left, right, aside)


def settle(config: Any, **least: int) -> None:
    """Give fields their one form, an int where rows and columns, or all sides, are alike.

    Raises:
        BitrowError: naming the layer and the field; a number below its `least`.
    """
    for name, smallest in least.items():
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if min(numbers) < smallest:
            raise BitrowError(f"{config.label} {name}: found {value}, expected {smallest} or more")
        if len(set(numbers)) == 1:
            object.__setattr__(config, name, numbers[0])
