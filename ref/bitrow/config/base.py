"""What every layer's configuration declares: inputs, size, shape, arrays, rows. A new kind is a subclass (SPEC.md C1).

Standard library only. A configuration is hashable and holds everything about a layer but its size and its arrays.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, NamedTuple

from bitrow import typed
from bitrow.config.rows import Ops, Phase, Place, RowPlan
from bitrow.config.windows import Window, Windows
from bitrow.errors import BitrowError
from bitrow.reading.records import Open

Shape = tuple[int, int, int]  # h, w, c

# What no accelerator of this kind has: beyond it a network is a mistake, or made to fill memory.
MOST_ALONG = 1 << 16  # of a side, channels, a kernel, a stride, a padding
MOST_VALUES = 1 << 28  # of a map or of weights


class ArraySpec(NamedTuple):
    """Dtype name and shape of one parameter array."""

    dtype: str
    shape: tuple[int, ...]


class SavedMap(NamedTuple):
    """A map that one image keeps for the backward pass, of the layer's first input, or of its result.

    `bits` of an element on the accelerator, `bytes` in a JAX program. `operand`: the host multiplies the gradients of
    the result by it for those of parameters.
    """

    what: str
    bits: int
    bytes: int = 1
    of_result: bool = False
    operand: bool = False


class LayerSize(Open):
    """What beside its inputs gives a layer's weights their shape. Each kind of weights has a subclass."""


class LayerConfig(Open):
    """A kind of layer, as a network, a model file and a row pipeline ask for it.

    `label` is its name in messages, `result` SPEC.md's name of what it gives forward, `arity` the number of its inputs,
    None for two or more, `size_type` the `LayerSize` that its nodes hold.
    """

    label: ClassVar[str]
    result: ClassVar[str] = "y"
    arity: ClassVar[int | None] = 1
    size_type: ClassVar[type[LayerSize] | None] = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name in ("label", "output_shape", "row_plan", "row_ops"):
            if getattr(cls, name, None) is getattr(LayerConfig, name, None):
                raise BitrowError(f"{cls.__name__}: found no {name}, expected one")

    def __post_init__(self) -> None:
        typed.coerce_fields(self, self.label)

    def output_shape(self, where: str, size: Any, inputs: Sequence[Shape]) -> Shape:
        """Shape of the result, for inputs of these shapes.

        Raises:
            BitrowError: beginning with `where`, for shapes that do not fit.
        """
        raise NotImplementedError

    def weight_shape(self, size: Any, shape: Shape) -> tuple[int, ...]:
        """Shape of the weights on a first input of `shape`, () without weights."""
        return ()

    def arrays(self, size: Any, shape: Shape, channels: int) -> dict[str, ArraySpec]:
        """The parameter arrays by field name, for a first input of `shape` and a result of `channels`."""
        return {}

    def masters(self, size: Any, shape: Shape, channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the float32 masters that training may change, by name."""
        return {}

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        """What is kept where masters are trained, and where the gradient `passes` on to an input."""
        return []

    def not_negative(self, inputs: Sequence[bool]) -> bool:
        """Whether no result is below zero, for inputs of which that is known or not."""
        return False

    def row_plan(self, place: Place) -> RowPlan:
        """How the layer works by rows."""
        raise NotImplementedError

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        """Its operations in a row task; of a buffer of several rows, `rows` are read: an int, or an array of ints."""
        raise NotImplementedError


def positive(layer: str, name: str, value: int, least: int) -> None:
    """Refuse a number below `least`."""
    if value < least:
        raise BitrowError(f"{layer} {name}: found {value}, expected {least} or more")


def check_extent(where: str, shape: tuple[int, ...], what: str = "a map") -> None:
    """Refuse a map or weights out of all proportion."""
    if max(shape) > MOST_ALONG or math.prod(shape) > MOST_VALUES:
        found = "x".join(map(str, shape))
        raise BitrowError(
            f"{where}: found {what} of {found}, expected sides up to {MOST_ALONG:,} and up to {MOST_VALUES:,} values"
        )


@typed.arguments
def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Rows (or columns) of windows padded alike on both sides of `size` (SPEC.md C1); below 1 where none fits.

    Raises:
        BitrowError: naming the argument; one that is no int.
    """
    return Window(kernel, stride, padding, padding).results(size)


def window_size(where: str, shape: Shape, windows: Windows) -> tuple[int, int]:
    """Rows and columns of a windowed layer's result.

    Raises:
        BitrowError: beginning with `where`, where no window fits.
    """
    (h, w, _), (down, across) = shape, windows
    rows, columns = down.results(h), across.results(w)
    if rows < 1 or columns < 1:
        edges = (down.before, down.after, across.before, across.after)
        padding = edges[0] if len(set(edges)) == 1 else edges
        raise BitrowError(
            f"{where}: found a {down.extent}x{across.extent} window on a {h}x{w} map padded by {padding}, "
            f"expected it to fit"
        )
    return rows, columns
