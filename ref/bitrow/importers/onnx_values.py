"""What a name of an ONNX graph stands for while it is read: a constant, a map in some layout, codes, or nothing known.

A map's `axes` name its dimensions in order, each by the letters that are folded into it: ("n", "c", "h", "w") as ONNX
has them, ("n", "h", "w", "c") behind a transpose, ("n", "chw") flattened. So a transpose or a reshape is no operator:
it changes how the map is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bitrow.config import Shape
from bitrow.errors import BitrowError
from bitrow.formats import Fxp
from bitrow.importers.operators import FileQuantizer, NotImported

NCHW = ("n", "c", "h", "w")
NHWC = ("n", "h", "w", "c")


class Known(NamedTuple):
    """A constant; of quantized weights also scale (of as many dimensions, or one value) and format of its codes."""

    array: np.ndarray
    scale: np.ndarray | None = None
    fmt: Fxp | None = None


class FileMap(NamedTuple):
    """A value of the operators' graph, and how the file lays it out."""

    value: str
    shape: Shape
    axes: tuple[str, ...]
    batch: int = 1

    @property
    def sizes(self) -> dict[str, int]:
        h, w, c = self.shape
        return {"n": self.batch, "h": h, "w": w, "c": c}

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape that the file sees."""
        return tuple(math.prod(self.sizes[letter] for letter in axis) for axis in self.axes)


class FileCodes(NamedTuple):
    """Codes of a map between QuantizeLinear and DequantizeLinear."""

    map: FileMap
    quantizer: FileQuantizer


class Lost(NamedTuple):
    """The result of a node that was refused: what reads it is judged by its operator alone."""


OnnxValue = Known | FileMap | FileCodes | Lost


def output_values(where: str, ends: Mapping[str, object], refused: bool) -> tuple[str, ...]:
    """The graph's values of a file's outputs, what they stand for by name; none where a node was refused.

    Raises:
        BitrowError: an output that is no map.
    """
    found = []
    for name, end in ends.items():
        if isinstance(end, FileMap):
            found.append(end.value)
        elif not refused:
            shown = f" {name[:80]!r}" if name else ""
            raise BitrowError(f"{where}: found no map as output{shown}, expected one")
    return () if refused else tuple(dict.fromkeys(found))


def transposed(given: FileMap, perm: Sequence[int]) -> FileMap:
    """The map behind a transpose. Raises: NotImported: no permutation of its axes."""
    if sorted(perm) != list(range(len(given.axes))):
        raise NotImported(f"found the permutation {list(perm)[:8]}, expected one of {len(given.axes)} axes")
    return given._replace(axes=tuple(given.axes[place] for place in perm))


def reshaped(given: FileMap, target: Sequence[int], zero_copies: bool = True) -> FileMap:
    """The map behind a reshape to `target`, where dimensions are only folded or unfolded.

    Raises:
        NotImported: a shape of other size, or dimensions that mix letters.
    """
    wanted = _resolved(given, list(target), zero_copies)
    sizes = given.sizes
    letters = [letter for axis in given.axes for letter in axis if sizes[letter] > 1 and letter != "n"]
    if not wanted or wanted[0] != given.batch or not given.axes[0].startswith("n"):
        raise NotImported(f"found a reshape from {list(given.dims)} to {wanted[:8]}, expected the images first")
    axes = ["n"]
    for size in wanted[1:]:
        axis = ""
        while math.prod(sizes[letter] for letter in axis) < size and letters:
            axis += letters.pop(0)
        if math.prod(sizes[letter] for letter in axis) != size:
            found = f"{list(given.dims)} to {wanted[:8]}"
            raise NotImported(f"found a reshape from {found}, which splits or mixes dimensions")
        axes.append(axis)
    return given._replace(axes=_ones_named(axes, sizes))


def _resolved(given: FileMap, target: list[int], zero_copies: bool) -> list[int]:
    dims = given.dims
    wanted = [dims[i] if size == 0 and zero_copies and i < len(dims) else size for i, size in enumerate(target)]
    if wanted.count(-1) > 1 or any(size < -1 or size == 0 for size in wanted):
        raise NotImported(f"found a reshape to {target[:8]}, expected sizes from 1 and -1 once")
    known = math.prod(size for size in wanted if size != -1)
    if -1 in wanted:
        wanted[wanted.index(-1)] = math.prod(dims) // known
    if math.prod(wanted) != math.prod(dims):
        raise NotImported(f"found a reshape from {list(dims)} to {target[:8]}, expected as many values")
    return wanted


def _ones_named(axes: list[str], sizes: dict[str, int]) -> tuple[str, ...]:
    """Dimensions of size 1 are named by letters of size 1, in ONNX's order where several are free."""
    free = [letter for letter in "chw" if sizes[letter] == 1]
    named = []
    for axis in axes:
        named.append(axis or (free.pop(0) if free else ""))
    return tuple(named)


def map_axis(given: FileMap, axis: int) -> str:
    """The letters of an axis by number. Raises: NotImported: no such axis."""
    if not -len(given.axes) <= axis < len(given.axes):
        raise NotImported(f"found axis {axis}, expected one of {len(given.axes)}")
    return given.axes[axis]


def spatial(given: FileMap) -> FileMap:
    """The map if it lies as ONNX's windows want it. Raises: NotImported: another layout."""
    if given.axes != NCHW:
        raise NotImported(f"found a map laid out as {shown(given)}, expected [n, c, h, w]")
    return given


def shown(given: FileMap) -> str:
    """The layout in words."""
    return f"[{', '.join('*'.join(axis) or '1' for axis in given.axes)}]"


def per_channel(given: FileMap, constant: Known) -> np.ndarray:
    """A constant operand as f32[c], or f32[] where it is one number.

    Raises:
        NotImported: numbers that differ within a channel, or a constant that is not one of numbers.
    """
    array = number_array(constant)
    if array.size == 1:
        return array.reshape(())
    dims = (1,) * (len(given.axes) - array.ndim) + array.shape
    channels = given.shape[2]
    others = [size for size, axis in zip(dims, given.axes, strict=False) if axis != "c"]
    if len(dims) != len(given.axes) or any(size != 1 for size in others) or array.size != channels:
        found = f"a constant of shape {list(array.shape)} on {shown(given)}"
        raise NotImported(f"found {found}, expected one number for each channel")
    return array.reshape(channels)


def number_array(constant: Known) -> np.ndarray:
    """A constant as float32. Raises: NotImported: not finite, other numbers than float32 and float16."""
    if constant.array.dtype not in (np.float32, np.float16):
        raise NotImported(f"found a constant of {constant.array.dtype}, expected float32 or float16")
    array = constant.array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise NotImported("found a constant with infinities or NaNs, expected finite numbers")
    return array


def flat_weight(given: FileMap, weight: np.ndarray) -> np.ndarray:
    """Rows of weights [in, out] from the order of the flattened map to that of (h, w, c).

    Raises:
        NotImported: a map that is not flat, or of another size.
    """
    if len(given.axes) != 2:
        raise NotImported(f"found a map laid out as {shown(given)}, expected a flat one")
    count = math.prod(given.shape)
    if weight.shape[0] != count:
        raise NotImported(f"found weights of {weight.shape[0]} inputs, expected {count}")
    sizes = given.sizes
    letters = [letter for letter in given.axes[1] if letter != "n"]
    letters += [letter for letter in "hwc" if letter not in letters and sizes[letter] == 1]
    shaped = weight.reshape(*(sizes[letter] for letter in letters), weight.shape[1])
    order = [letters.index(letter) for letter in "hwc"]
    return np.ascontiguousarray(shaped.transpose(*order, 3).reshape(count, -1))
