"""A node of an ONNX file: its attributes, read by their type, and the constants among its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bitrow.importers.onnx_file import DOMAIN, QUANT_DOMAINS, OnnxFile
from bitrow.importers.onnx_values import FileCodes, FileMap, Known, Lost, OnnxValue, number_array
from bitrow.importers.operators import NotImported

_FIELDS: dict[int, str] = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints"}  # by AttributeProto.AttributeType
_TENSOR = 4
_MOST_ITEMS = 1 << 16
_CASTS: dict[int, type] = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}


class OnnxNode:
    """One node, and what its inputs stand for."""

    def __init__(self, file: OnnxFile, proto: Any, place: int, find: Callable[[str], OnnxValue]) -> None:
        self.file, self.proto, self._find = file, proto, find
        self.opset = file.opset
        first = next(filter(None, proto.output), "")
        self.name: str = proto.name or first or f"node {place}"
        self.operator: str = proto.op_type
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)
        self._attributes = {one.name: one for one in proto.attribute}

    @property
    def standard(self) -> bool:
        """An operator of ONNX, or of the quantizers' own domains."""
        return self.proto.domain in DOMAIN or self.proto.domain in QUANT_DOMAINS

    def attribute(self, name: str, default: Any = None) -> Any:
        """A number, bytes or a list of numbers. Raises: NotImported: another type of attribute."""
        found = self._attributes.get(name)
        if found is None:
            return default
        field = _FIELDS.get(found.type)
        if field is None:
            raise NotImported(f"found attribute {name} of ONNX's type {found.type}, expected numbers or a text")
        value = getattr(found, field)
        if field in ("floats", "ints"):
            if len(value) > _MOST_ITEMS:
                raise NotImported(f"found attribute {name} of {len(value):,} numbers, expected at most {_MOST_ITEMS:,}")
            return list(value)
        return value

    def integer(self, name: str, default: int) -> int:
        return self._typed(name, int, default)

    def real(self, name: str, default: float) -> float:
        return float(self._typed(name, (float, int), default))

    def text(self, name: str, default: str) -> str:
        return str(self._typed(name, bytes, default.encode()).decode("utf-8", "replace"))[:40]

    def integers(self, name: str) -> list[int] | None:
        found = self._typed(name, list, None)
        if found is not None and not all(isinstance(one, int) for one in found):
            raise NotImported(f"found attribute {name} of {found[:4]}, expected integers")
        return found

    def tensor(self, name: str) -> np.ndarray | None:
        """The array of an attribute."""
        found = self._attributes.get(name)
        if found is None:
            return None
        if found.type != _TENSOR:
            raise NotImported(f"found attribute {name} of ONNX's type {found.type}, expected a tensor")
        return self.file.array(found.t, f"attribute {name}")

    def dtype(self, name: str) -> type:
        """What a Cast makes."""
        found = _CASTS.get(self.integer(name, 0))
        if found is None:
            raise NotImported(f"found a cast to ONNX's data type {self.integer(name, 0)}, expected numbers")
        return found

    def _typed(self, name: str, kind: Any, default: Any) -> Any:
        value = self.attribute(name, default)
        if value is not default and not isinstance(value, kind):
            raise NotImported(f"found attribute {name} {str(value)[:40]!r}, expected another type")
        return value

    def given(self, place: int) -> bool:
        """Whether the input is there; an optional one may be named ""."""
        return place < len(self.inputs) and self.inputs[place] != ""

    def found(self, place: int) -> OnnxValue:
        """What an input stands for. Raises: NotImported: it is left out."""
        if not self.given(place):
            raise NotImported(f"found no input {place + 1}, expected one")
        return self._find(self.inputs[place])

    def known(self, place: int) -> Known:
        """A constant. Raises: NotImported: a value that is computed."""
        found = self.found(place)
        if not isinstance(found, Known):
            raise NotImported(f"found a computed input {self.inputs[place][:80]!r}, expected a constant")
        return found

    def map(self, place: int = 0) -> FileMap:
        """A map. Raises: NotImported: a constant, or codes."""
        found = self.found(place)
        if isinstance(found, FileMap):
            return found
        what = "codes" if isinstance(found, FileCodes) else "nothing known" if isinstance(found, Lost) else "a constant"
        raise NotImported(f"found {what} as input {self.inputs[place][:80]!r}, expected a map")

    def vector(self, place: int) -> np.ndarray:
        """A constant f32[c]."""
        return number_array(self.known(place)).reshape(-1)

    def number(self, place: int, default: float | None) -> float | None:
        """A constant of one number, `default` where it is left out."""
        if not self.given(place):
            return default
        array = self.known(place).array
        if array.size != 1:
            raise NotImported(f"found {array.size} numbers as input {place + 1}, expected one")
        return float(array.reshape(()))

    def axes(self, place: int, name: str = "axes") -> list[int] | None:
        """Axes, which later versions take as an input."""
        return self.list_of(place, name)

    def list_of(self, place: int, name: str) -> list[int] | None:
        """Integers of an attribute, or of the input that later versions have in its place."""
        if self.given(place):
            array = self.known(place).array
            if array.dtype.kind not in "iu" or array.size > _MOST_ITEMS:
                raise NotImported(f"found {name} of {array.dtype}, expected integers")
            return [int(one) for one in array.reshape(-1)]
        return self.integers(name)
