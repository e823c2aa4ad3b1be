"""An ONNX file within bounds: the library parses its protobuf, and what it says of sizes is held against its bytes.

Arrays are made one by one, from the bytes that stand in the file or beside it; nothing outside its folder is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.importers.operators import NotImported
from bitrow.reading import MIB, FileKind, check_size, check_unfolded, opened, read_bytes
from bitrow.reading.archives import take

ONNX = FileKind("an ONNX file", 1024 * MIB)
EXTERNAL = FileKind("a file of an ONNX file's tensors", 4096 * MIB)
OPSETS = range(7, 27)  # versions of ONNX's operators whose meaning the table knows
MOST_NODES = 1 << 14
MOST_RANK = 8
DOMAIN = ("", "ai.onnx")
QUANT_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")

# By the number of ONNX's TensorProto.DataType.
_DTYPES: dict[int, Any] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64,
}  # fmt: skip
_TYPED = {1: "float_data", 7: "int64_data", 11: "double_data"}  # others are in int32_data
_EXTERNAL = 1  # TensorProto.DataLocation


def onnx() -> Any:
    """The library. Raises: BitrowError: it is not installed."""
    return extra("import", "onnx", "onnx")


class OnnxFile:
    """A parsed file: `graph`, the version of its `opset`, and arrays within a budget.

    Raises:
        BitrowError: no ONNX file, an operator set that is too old or too new, too many nodes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = read_bytes(path, ONNX)
        self.model = _parsed(path, self.content)
        self.graph = self.model.graph
        self.opset = _opset(path, self.model)
        self._made = 0
        if len(self.graph.node) > MOST_NODES:
            raise BitrowError(f"{path}: found {len(self.graph.node):,} nodes, expected at most {MOST_NODES:,}")

    def spend(self, count: int, itemsize: int) -> None:
        """Count an array that is about to be made.

        Raises:
            BitrowError: more bytes than a sound file of this size unfolds to.
        """
        self._made += count * itemsize
        check_unfolded(self._made, len(self.content) + self._beside, str(self.path))

    _beside = 0  # bytes of external data

    def array(self, tensor: Any, what: str = "tensor") -> np.ndarray:
        """The array of a TensorProto.

        Raises:
            NotImported: a dtype that has no meaning here, sizes that its bytes do not have.
            BitrowError: external data that cannot be read, or too much of it.
        """
        name = f"{what} {tensor.name[:80]!r}"
        dtype = _DTYPES.get(tensor.data_type)
        if dtype is None:
            raise NotImported(f"found {name} of ONNX's data type {tensor.data_type}, expected numbers")
        dims = tuple(tensor.dims)
        if len(dims) > MOST_RANK or any(size < 0 for size in dims):
            raise NotImported(f"found {name} of shape {list(dims)[:8]}, expected up to {MOST_RANK} sizes from 0")
        count, item = math.prod(dims), np.dtype(dtype)
        if tensor.data_location == _EXTERNAL:
            data = self._external(tensor, name, count * item.itemsize)
        elif tensor.HasField("raw_data"):
            data = tensor.raw_data
        else:
            return self._typed(tensor, name, item, dims)
        if len(data) != count * item.itemsize:
            raise NotImported(f"found {name} of {len(data):,} bytes, expected {count * item.itemsize:,} of its shape")
        return np.frombuffer(data, item.newbyteorder("<")).reshape(dims).astype(item, copy=False)

    def _typed(self, tensor: Any, name: str, dtype: np.dtype, dims: tuple[int, ...]) -> np.ndarray:
        """Numbers that stand one by one; halves as their words."""
        values = getattr(tensor, _TYPED.get(tensor.data_type, "int32_data"))
        if len(values) != math.prod(dims):
            raise NotImported(f"found {name} of {len(values):,} numbers, expected {math.prod(dims):,} of its shape")
        self.spend(len(values), dtype.itemsize)
        if dtype == np.float16:
            return np.array(values, np.int32).astype(np.uint16).view(np.float16).reshape(dims)
        source = {"f": np.float64 if dtype.itemsize == 8 else np.float32}.get(dtype.kind, np.int64)
        return np.array(values, source).astype(dtype).reshape(dims)

    def _external(self, tensor: Any, name: str, size: int) -> bytes:
        """Bytes of a file in the folder, or below it."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        place = PurePosixPath(location)
        folder = self.path.resolve().parent
        target = (folder / location).resolve() if location and "\0" not in location else folder
        if place.is_absolute() or ".." in place.parts or "\\" in location or folder not in target.parents:
            raise BitrowError(f"{self.path} {name}: found data at {location[:80]!r}, expected a file in its folder")
        begin, length = (_size_entry(self.path, name, entries, key, default) for key, default in
                         (("offset", 0), ("length", size)))  # fmt: skip
        if length != size:
            raise NotImported(f"found {name} of {length:,} bytes of external data, expected {size:,} of its shape")
        check_size(self._beside + size, EXTERNAL.most, f"{self.path} {name}")
        with opened(target, EXTERNAL, f"{self.path} {name}") as stream:
            stream.seek(begin)
            data = take(stream, size)
        self._beside += len(data)
        return bytes(data)


def _size_entry(path: Path, name: str, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BitrowError(f"{path} {name} {key}: found {text[:40]!r}, expected a number of bytes")
    return int(text)


def _parsed(path: Path, content: bytes) -> Any:
    library = onnx()
    try:
        model = library.ModelProto.FromString(content)
    except Exception as error:  # the protobuf library's own, of a module that is not ours to name
        reason = " ".join(str(error).split())[:80]
        raise BitrowError(f"{path}: found no whole ONNX file ({reason}), expected {ONNX.expected}") from None
    if not model.HasField("graph") or not model.graph.node:
        raise BitrowError(f"{path}: found no graph with nodes in it, expected {ONNX.expected}")
    if not all(isinstance(name, str) for name in _names(model.graph)):  # what is no text the library gives as bytes
        raise BitrowError(f"{path}: found a name that is no UTF-8, expected {ONNX.expected}")
    return model


def _names(graph: Any) -> Iterator[Any]:
    """Every name in a graph that is looked at."""
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        yield from (value.name for value in values)
    for tensor in graph.initializer:
        yield from (part for entry in tensor.external_data for part in (entry.key, entry.value))


def _opset(path: Path, model: Any) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in DOMAIN]
    if len(set(versions)) != 1:
        raise BitrowError(f"{path}: found {len(versions)} versions of ONNX's operators, expected one")
    if versions[0] not in OPSETS:
        raise BitrowError(
            f"{path}: found version {versions[0]} of ONNX's operators, expected {OPSETS[0]} to {OPSETS[-1]}"
        )
    return versions[0]
