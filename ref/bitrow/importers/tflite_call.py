"""One operator of a TFLite file: its options, and what its inputs stand for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitrow.importers.onnx_values import (
    FileMap,
    Known,
    OnnxValue,
    number_array,
)
from bitrow.importers.onnx_windows import weight_quantizer
from bitrow.importers.operators import FileQuantizer, NotImported, PerAxis
from bitrow.importers.tflite_file import OPTIONS, TfliteFile, TfliteNode

MOST = 1 << 16  # of a kernel, stride, dilation or padding


class TfliteCall:
    """One operator, and what its inputs stand for."""

    def __init__(
        self, file: TfliteFile, node: TfliteNode, names: tuple[str, ...], find: Callable[[int], OnnxValue]
    ) -> None:
        self.file, self.node, self._find = file, node, find
        self.operator, self.outputs = node.operator, names
        self.name = names[0] if names else node.operator

    def option(self, name: str) -> int:
        """A field of the options. Raises: NotImported: the operator has none."""
        if name not in self.node.options:
            raise NotImported(f"found no {OPTIONS[self.operator][0]}, expected them with the operator")
        return self.node.options[name]

    def size(self, name: str) -> int:
        """A field from 1."""
        found = self.option(name)
        if not 1 <= found <= MOST:
            raise NotImported(f"found {name} {found}, expected 1 to {MOST:,}")
        return found

    def pair(self, of_rows: str, of_columns: str) -> PerAxis:
        return self.size(of_rows), self.size(of_columns)

    @property
    def count(self) -> int:
        """How many inputs are there."""
        return len([one for one in self.node.inputs if one >= 0])

    def found(self, place: int) -> OnnxValue:
        """What an input stands for. Raises: NotImported: it is left out."""
        if place >= len(self.node.inputs) or self.node.inputs[place] < 0:
            raise NotImported(f"found no input {place + 1}, expected one")
        return self._find(self.node.inputs[place])

    def given(self, place: int) -> bool:
        return place < len(self.node.inputs) and self.node.inputs[place] >= 0

    def map(self, place: int = 0) -> FileMap:
        """A map. Raises: NotImported: a constant."""
        found = self.found(place)
        if not isinstance(found, FileMap):
            raise NotImported(f"found a constant as input {place + 1}, expected a map")
        return found

    def known(self, place: int) -> Known:
        """A constant. Raises: NotImported: a value that is computed."""
        found = self.found(place)
        if not isinstance(found, Known):
            raise NotImported(f"found a computed input {place + 1}, expected a constant")
        return found

    def weights(self, order: tuple[int, ...]) -> tuple[np.ndarray, FileQuantizer | None]:
        """The second input, f32 of as many dimensions as `order`, with its axes in that order, the outputs last; its
        quantizer, if it is codes.
        """
        known = self.known(1)
        array = number_array(known)
        if array.ndim != len(order) or not array.size:
            raise NotImported(f"found weights of shape {list(array.shape)}, expected {len(order)} dimensions")
        self.file.spend(array.nbytes)
        return array.transpose(order), weight_quantizer(known, order)

    def bias(self, count: int) -> np.ndarray | None:
        """The third input, if there is one."""
        if not self.given(2):
            return None
        array = number_array(self.known(2)).reshape(-1)
        if array.size != count:
            raise NotImported(f"found a bias of {array.size} numbers, expected {count}")
        return array

    def integers(self, place: int) -> list[int]:
        """A constant of a few integers."""
        array = self.known(place).array
        if array.dtype.kind != "i" or array.size > 16:
            raise NotImported(f"found {array.size} numbers of {array.dtype} as input {place + 1}, expected integers")
        return [int(one) for one in array.reshape(-1)]
