"""A call of a layer of Keras: its configuration, read by type, its arrays and inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitrow.importers.keras_file import KerasFile
from bitrow.importers.onnx_values import FileMap, Known, Lost, number_array
from bitrow.importers.operators import (
    NotImported,
    PerAxis,
)

MOST = 1 << 16  # of a kernel, stride, dilation or padding


class KerasNode:
    """A call of a layer: its configuration, arrays and inputs."""

    def __init__(
        self, file: KerasFile, config: dict[str, Any], kind: str, stored: str, value: str,
        inputs: tuple[FileMap | Lost, ...],
    ) -> None:  # fmt: skip
        self.file, self._config, self.operator, self._stored, self.inputs = file, config, kind, stored, inputs
        self.name, self.outputs = value.replace("\n", " "), (value,)

    def option(self, name: str, default: Any = None) -> Any:
        """A value of the configuration as it stands."""
        return self._config.get(name, default)

    def expect(self, name: str, *values: Any) -> Any:
        """A value that is one of these, the first where it is left out. Raises: NotImported."""
        found = self._config.get(name, values[0])
        if not any(type(found) is type(one) and found == one for one in values):
            raise NotImported(f"found {name} {str(found)[:40]!r}, expected {' or '.join(map(repr, values))}")
        return found

    def number(self, name: str, default: float) -> float:
        found = self._config.get(name, default)
        if type(found) not in (int, float) or not math.isfinite(found) or abs(found) > 1e30:
            raise NotImported(f"found {name} {str(found)[:40]!r}, expected a number")
        return float(found)

    def pair(self, name: str, default: Any) -> PerAxis:
        """Two whole numbers from 1, or one for both."""
        found = self._config.get(name, default)
        found = [found, found] if type(found) is int else found
        if not whole_numbers(found, 2, 1):
            raise NotImported(f"found {name} {str(found)[:40]}, expected two whole numbers from 1")
        return found[0], found[1]

    def map(self, place: int = 0) -> FileMap:
        """An input. Raises: NotImported: there is none."""
        found = self.inputs[place] if place < len(self.inputs) else Lost()
        if not isinstance(found, FileMap):
            raise NotImported(f"found {len(self.inputs)} inputs, expected {place + 1}")
        return found

    def single(self) -> FileMap:
        """The only input."""
        if len(self.inputs) != 1:
            raise NotImported(f"found {len(self.inputs)} inputs, expected one")
        return self.map()

    def arrays(self, *ranks: int) -> list[np.ndarray]:
        """Arrays of these ranks, in the order of the file. Raises: NotImported: others, or another number of them."""
        found = self.file.arrays(self._stored, len(ranks))
        if [one.ndim for one in found] != list(ranks) or not all(one.size for one in found):
            shapes = [list(one.shape) for one in found]
            raise NotImported(f"found arrays of {shapes}, expected {len(ranks)} of {list(ranks)} dimensions")
        return [number_array(Known(one)) for one in found]


def whole_numbers(found: Any, count: int, least: int) -> bool:
    return isinstance(found, list) and len(found) == count and all(
        type(one) is int and least <= one <= MOST for one in found)  # fmt: skip
