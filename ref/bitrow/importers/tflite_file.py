"""A TFLite file within bounds: the `tflite` package reads its flatbuffer, all of it at once, into plain records.

Arrays are views of the file's own bytes; what a table points to outside of them cannot be read, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.importers.operators import NotImported
from bitrow.reading import MIB, FileKind, check_unfolded, read_bytes

TFLITE = FileKind("a TFLite file", 1024 * MIB)
MOST_NODES = 1 << 14
_MOST_TENSORS, _MOST_RANK, _MOST_EDGES = 1 << 16, 8, 1 << 10
_IDENTIFIER = b"TFL3"
INT8 = 9  # of TensorType
_DTYPES: dict[int, Any] = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64, INT8: np.int8}  # by TensorType

# By operator: its table of options, and what is read of it.
_WINDOW = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", (*_WINDOW, "DilationHFactor", "DilationWFactor")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_WINDOW, "DilationHFactor", "DilationWFactor")),
    "MAX_POOL_2D": ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth")),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat", "KeepNumDims")),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "SUB": ("SubOptions", ("FusedActivationFunction",)),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", ("BlockSize",)),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", ("AlignCorners",)),
}


class TfliteTensor(NamedTuple):
    """A tensor of the file: its name, shape, type by number, and its bytes, None where it is computed."""

    name: str
    shape: tuple[int, ...]
    kind: int
    data: np.ndarray | None
    sparse: bool
    scales: tuple[float, ...] = ()  # of codes: one, or one for each place along `axis`
    zeros: tuple[int, ...] = ()
    axis: int = 0


class TfliteNode(NamedTuple):
    """An operator: its name, the options that are read of it, the tensors that it reads (-1: left out) and makes."""

    operator: str
    options: dict[str, int]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class TfliteFile:
    """A parsed file of one graph: tensors, operators in order, the numbers of its inputs and outputs.

    Raises:
        BitrowError: no TFLite file, tables that its bytes do not hold, several graphs, too many nodes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_bytes(path, TFLITE)
        self._library = extra("import", "tflite", "tflite")
        self._stored, self._made = len(content), 0
        if len(content) < 8 or content[4:8] != _IDENTIFIER:
            raise BitrowError(f"{path}: found no mark {_IDENTIFIER.decode()} in it, expected {TFLITE.expected}")
        try:
            self._parse(content)
        except BitrowError:
            raise
        except Exception as error:  # whatever struct and numpy raise on places outside the file
            reason = " ".join(str(error).split())[:80]
            raise BitrowError(f"{path}: found no whole TFLite file ({reason}), expected {TFLITE.expected}") from None

    def _parse(self, content: bytes) -> None:
        model = self._library.Model.GetRootAsModel(content, 0)
        if model.SubgraphsLength() != 1:
            raise BitrowError(f"{self.path}: found {model.SubgraphsLength():,} graphs, expected one")
        graph = model.Subgraphs(0)
        for count, most, what in ((graph.OperatorsLength(), MOST_NODES, "nodes"),
                                  (graph.TensorsLength(), _MOST_TENSORS, "tensors"),
                                  (model.BuffersLength(), _MOST_TENSORS, "buffers")):  # fmt: skip
            if count > most:
                raise BitrowError(f"{self.path}: found {count:,} {what}, expected at most {most:,}")
        self.tensors = [self._tensor(model, graph.Tensors(place)) for place in range(graph.TensorsLength())]
        self.inputs, self.outputs = self._edges(graph, "Inputs"), self._edges(graph, "Outputs")
        self.nodes = [self._node(model, graph.Operators(place)) for place in range(graph.OperatorsLength())]

    def _tensor(self, model: Any, tensor: Any) -> TfliteTensor:
        length, place = tensor.ShapeLength(), tensor.Buffer()
        if length > _MOST_RANK or not 0 <= place < model.BuffersLength():
            raise BitrowError(f"{self.path}: found a tensor of {length:,} dimensions in buffer {place:,}, expected "
                              f"up to {_MOST_RANK}, one of {model.BuffersLength():,}")  # fmt: skip
        shape = tuple(int(tensor.Shape(axis)) for axis in range(length))
        buffer, name = model.Buffers(place), tensor.Name()
        if buffer.Offset():
            raise BitrowError(f"{self.path}: found data behind the flatbuffer, expected it inside")
        data = buffer.DataAsNumpy() if buffer.DataLength() else None
        text = name.decode("utf-8", "replace") if isinstance(name, bytes) else ""
        sparse = tensor.Sparsity() is not None
        return TfliteTensor(text[:200], shape, int(tensor.Type()), data, sparse, *_quantization(tensor))

    def _edges(self, table: Any, name: str) -> tuple[int, ...]:
        length = getattr(table, f"{name}Length")()
        if length > _MOST_EDGES:
            raise BitrowError(f"{self.path}: found {length:,} {name.lower()}, expected at most {_MOST_EDGES:,}")
        read: Callable[[int], int] = getattr(table, name)
        found = tuple(int(read(place)) for place in range(length))
        if any(not -1 <= one < len(self.tensors) for one in found):
            raise BitrowError(f"{self.path}: found tensor {max(map(abs, found)):,}, expected {len(self.tensors):,}")
        return found

    def _node(self, model: Any, node: Any) -> TfliteNode:
        place = node.OpcodeIndex()
        if not 0 <= place < model.OperatorCodesLength():
            raise BitrowError(f"{self.path}: found operator {place:,}, expected {model.OperatorCodesLength():,}")
        code = model.OperatorCodes(place)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # early files have the second alone
        custom = code.CustomCode()
        operator = self._library.BUILTIN_OPCODE2NAME.get(number, f"operator {number}")
        if operator == "CUSTOM":
            operator = f"CUSTOM {custom.decode('utf-8', 'replace')[:40] if isinstance(custom, bytes) else ''}"
        inputs, outputs = self._edges(node, "Inputs"), self._edges(node, "Outputs")
        return TfliteNode(operator, dict(self._options(operator, node)), inputs, outputs)

    def _options(self, operator: str, node: Any) -> Iterator[tuple[str, int]]:
        """Nothing where the operator has another table of options than it ought to."""
        kind, fields = OPTIONS.get(operator, ("", ()))
        table = node.BuiltinOptions()
        if kind and table is not None and node.BuiltinOptionsType() == getattr(self._library.BuiltinOptions, kind):
            options = getattr(self._library, kind)()
            options.Init(table.Bytes, table.Pos)
            yield from ((field, int(getattr(options, field)())) for field in fields)

    def array(self, place: int) -> np.ndarray:
        """The array of a constant.

        Raises:
            NotImported: other numbers than float32, float16, int8, int32 and int64; a shape that its bytes do not have.
            BitrowError: more of them than a sound file has.
        """
        tensor = self.tensors[place]
        dtype, name = _DTYPES.get(tensor.kind), tensor.name[:80]
        if tensor.data is None or dtype is None or tensor.sparse:
            kind = "sparse" if tensor.sparse else self.type_name(tensor.kind)
            raise NotImported(f"found constant {name!r} of type {kind}, expected dense FLOAT32, FLOAT16 or INT8")
        size = np.dtype(dtype).itemsize * math.prod(tensor.shape)
        if min(tensor.shape, default=0) < 0 or size != tensor.data.size:
            shape = list(tensor.shape)
            raise NotImported(f"found constant {name!r} of {tensor.data.size:,} bytes, expected {shape}'s {size:,}")
        self.spend(size)
        return np.frombuffer(tensor.data.tobytes(), np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(
            tensor.shape)  # fmt: skip

    def spend(self, size: int) -> None:
        """Count bytes that are about to be made. Raises: BitrowError: more than a sound file unfolds to."""
        self._made += size
        check_unfolded(self._made, self._stored, str(self.path))

    def type_name(self, number: int) -> str:
        """A type of tensors in TFLite's words."""
        names = {value: name for name, value in vars(self._library.TensorType).items() if isinstance(value, int)}
        return names.get(number, str(number))


def _quantization(tensor: Any) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    """Scales, zero points and axis of a tensor's codes; none where it has no scale."""
    table = tensor.Quantization()
    if table is None or not table.ScaleLength():
        return (), (), 0
    scales, zeros = table.ScaleAsNumpy(), table.ZeroPointAsNumpy() if table.ZeroPointLength() else ()
    return tuple(map(float, scales)), tuple(map(int, zeros)), int(table.QuantizedDimension())
