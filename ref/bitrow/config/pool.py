"""Pools (SPEC.md A2, A3)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bitrow.config.base import LayerConfig, SavedMap, Shape, window_size
from bitrow.config.rows import (
    SUM,
    Buffer,
    Ops,
    Phase,
    Place,
    RingKind,
    RowPlan,
    RowWord,
    Take,
    elements,
    gradient_rows,
    input_rows,
)
from bitrow.config.windows import Pair, Sides, Windows, along, both, settle, sides
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode
from bitrow.reading.records import later


@dataclass(frozen=True)
class MaxPoolConfig(LayerConfig):
    """Max pool over windows of `kernel` (SPEC.md A2).

    `kernel` and `stride` are one int, or one each for rows and columns; `padding` is one int, or top, bottom, left
    and right. Where all are alike a tuple becomes the int.

    Raises:
        BitrowError: kernel outside 1..16 (the winner's index has 8 bits), stride below 1, or padding that
            leaves a window empty, a field of another type.
    """

    label = "max pool"

    kernel: Pair = 2
    stride: Pair = 2
    padding: Sides = 0
    mode: FloatMode = FloatMode()

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, kernel=1, stride=1, padding=0)
        if max(both(self.kernel)) > 16:
            raise BitrowError(f"max pool kernel: found {self.kernel}, expected at most 16")
        _refuse_empty(self.label, self.kernel, self.padding)

    @property
    def windows(self) -> Windows:
        """How windows lie (A2)."""
        return along(both(self.kernel), self.stride, self.padding)

    @property
    def places(self) -> int:
        """Elements of a window, and so the winner's places in it."""
        return math.prod(both(self.kernel))

    @property
    def _winner(self) -> RowWord:
        """A place in a window."""
        return RowWord(max(1, (self.places - 1).bit_length()), "uint8")

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        return (*window_size(where, inputs[0], self.windows), inputs[0][2])

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        return [SavedMap("winners", self._winner.bits, of_result=True)] if passes else []

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]

    def row_plan(self, place: Place) -> RowPlan:
        """A row is computed in the chain's visit; its windows' winners are kept, whose gradients meet."""
        reads = ((Phase.BACKWARD_HEAD, Take.MEETING),)
        winners = Buffer("index", RingKind.INDEX, self._winner, Phase.FORWARD_CHAIN, reads)
        down, across = self.windows
        x = input_rows(Phase.FORWARD_CHAIN, Take.WINDOW, margin=(across.before, across.after))
        return RowPlan(head=True, window=down, inputs=(x,), buffers=(gradient_rows(Take.MEETING), winners))

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """A comparison counts as an addition."""
        match phase:
            case Phase.FORWARD_CHAIN:
                return Ops(add=(self.places - 1) * elements(place.out))
            case Phase.BACKWARD_HEAD:
                row = elements(place.shape)
                return Ops(add=rows * self.windows[1].sharing * row, moved=row)
        return Ops()


def _refuse_empty(label: str, kernel: Pair, padding: Sides) -> None:
    """Refuse padding under which a window may lie outside the map."""
    (kh, kw), edges = both(kernel), sides(padding)
    if max(edges[:2]) >= kh or max(edges[2:]) >= kw:
        raise BitrowError(f"{label} padding: found {padding}, expected less than the kernel of {kernel} on every side")


@dataclass(frozen=True)
class AvgPoolConfig(LayerConfig):
    """Average pool over windows of `kernel`, or the whole map (SPEC.md A3).

    `kernel` None is the whole map, `stride` None the kernel. Both are one int, or one each for rows and columns;
    `padding` is one int, or top, bottom, left and right. Where all are alike a tuple becomes the int, and a stride
    that is the kernel None. `count_padding`: a window's mean counts its elements outside the map, which are +0, too.

    Raises:
        BitrowError: kernel or stride below 1, padding that leaves a window empty, a stride or padding for the whole
            map, a field of another type.
    """

    label = "average pool"

    kernel: Pair | None = None
    mode: FloatMode = FloatMode()
    stride: Pair | None = later(None)
    padding: Sides = later(0)
    count_padding: bool = later(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, padding=0)
        if self.kernel is None:
            for name, none in (("stride", None), ("padding", 0)):
                if getattr(self, name) != none:
                    found = getattr(self, name)
                    raise BitrowError(f"average pool {name}: found {found}, expected {none} for the whole map")
            return
        settle(self, kernel=1)
        if self.stride is not None:
            settle(self, stride=1)
        if self.stride == self.kernel:
            object.__setattr__(self, "stride", None)
        _refuse_empty(self.label, self.kernel, self.padding)

    def windows(self, hw: Sequence[int]) -> Windows:
        """How windows lie on a map of so many rows and columns (A3)."""
        kernel = (hw[0], hw[1]) if self.kernel is None else both(self.kernel)
        return along(kernel, self.stride or kernel, self.padding)

    @property
    def apart(self) -> bool:
        """Windows lie side by side, inside the map."""
        return self.stride is None and self.padding == 0

    def output_shape(self, where: str, size: None, inputs: Sequence[Shape]) -> Shape:
        return (*window_size(where, inputs[0], self.windows(inputs[0])), inputs[0][2])

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        return inputs[0]

    def row_plan(self, place: Place) -> RowPlan:
        """Input rows are added to sums as they come; the chain scales the sums. Where windows share rows or reach
        outside the map, the chain's visit takes the rows of its window."""
        down, across = self.windows(place.shape)
        if self.apart:
            reads = ((Phase.FORWARD_HEAD, Take.RUNNING), (Phase.FORWARD_CHAIN, Take.SAME))
            sums = Buffer("sum", RingKind.HANDOFF, SUM, Phase.FORWARD_HEAD, reads, per=down.kernel)
            x, phase = input_rows(Phase.FORWARD_HEAD, Take.SAME), Phase.FORWARD_HEAD
            buffers = (sums, gradient_rows(Take.POOLED))
            return RowPlan(head=True, window=down, inputs=(x,), buffers=buffers, wide=(phase,))
        x = input_rows(Phase.FORWARD_CHAIN, Take.WINDOW, margin=(across.before, across.after))
        scaled, phase = gradient_rows(Take.MEETING, tap="scaled"), Phase.FORWARD_CHAIN
        return RowPlan(head=True, window=down, inputs=(x,), buffers=(scaled,), wide=(phase,))

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        into, out, apart = elements(place.shape), elements(place.out), self.apart
        down, across = self.windows(place.shape)
        match phase:
            case Phase.FORWARD_HEAD:
                return Ops(add=into)
            case Phase.FORWARD_CHAIN:
                return Ops(mul=out, add=0 if apart else down.kernel * across.kernel * out)
            case Phase.BACKWARD_CHAIN:
                return Ops(mul=0 if apart else out)
            case Phase.BACKWARD_HEAD:
                return Ops(mul=into) if apart else Ops(add=rows * across.sharing * into, moved=into)
        return Ops()
