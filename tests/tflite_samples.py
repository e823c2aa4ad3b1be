"""Small TFLite files for the importers' tests, built by the `tflite` package's own functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}
# The window's fields; SAME and no fused activation unless said.
WINDOW = {"StrideH": 1, "StrideW": 1, "Padding": 0, "FusedActivationFunction": 0}


class TfliteGraph:
    """Tensors and operators; `constant` and `add` return a tensor's number."""

    def __init__(self, shape: tuple[int, ...] = (1, 6, 6, 3), dtype: str = "float32") -> None:
        self.tensors: list[tuple[str, tuple[int, ...], int, bytes]] = []
        self.nodes: list[tuple[Any, str, dict[str, int], list[int], list[int]]] = []
        self.rng = np.random.default_rng(0)
        self.outputs: list[int] = []
        self.codes: dict[int, tuple[list[float], list[int], int]] = {}  # by tensor: scales, zero points, axis
        self.identifier = b"TFL3"
        self.x = self.tensor("x", shape, dtype)

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "float32", data: bytes = b"") -> int:
        self.tensors.append((name, shape, TYPES[dtype], data))
        return len(self.tensors) - 1

    def constant(self, array: Any, dtype: str = "float32") -> int:
        array = np.asarray(array, dtype)
        return self.tensor(f"c{len(self.tensors)}", array.shape, dtype, array.tobytes())

    def normal(self, *shape: int, dtype: str = "float32") -> int:
        return self.constant(self.rng.standard_normal(shape), dtype)

    def array(self, place: int) -> np.ndarray:
        """A constant's values."""
        _, shape, kind, data = self.tensors[place]
        dtype = next(name for name, number in TYPES.items() if number == kind)
        return np.frombuffer(data, dtype).reshape(shape)

    def add(
        self, operator: str, inputs: list[int], shape: tuple[int, ...], options: str = "", dtype: str = "float32",
        **fields: int,
    ) -> int:  # fmt: skip
        """One operator, whose result has this shape; `options` is its table."""
        made = self.tensor(f"{operator.lower()}_{len(self.nodes)}", shape, dtype)
        self.nodes.append((operator, options, fields, inputs, [made]))
        self.outputs = [made]
        return made

    def window(self, operator: str, inputs: list[int], shape: tuple[int, ...], **fields: int) -> int:
        """A convolution or pool."""
        pool = operator.endswith("POOL_2D")
        table = "Pool2DOptions" if pool else f"{'Depthwise' * operator.startswith('DEPTH')}Conv2DOptions"
        more = {} if pool else {"DilationHFactor": 1, "DilationWFactor": 1}
        return self.add(operator, inputs, shape, table, **(WINDOW | more | fields))

    def to_bytes(self) -> bytes:
        b = flatbuffers.Builder(1024)
        buffers = [_table(b, "Buffer", Data=b.CreateByteVector(data) if data else None)
                   for data in (b"", *(one[3] for one in self.tensors))]  # fmt: skip
        tensors = [_table(b, "Tensor", Shape=_numbers(b, shape), Type=kind, Buffer=place + 1 if data else 0,
                          Name=b.CreateString(name), Quantization=self._quantization(b, place))
                   for place, (name, shape, kind, data) in enumerate(self.tensors)]  # fmt: skip
        numbers = {name: number for number, name in tflite.BUILTIN_OPCODE2NAME.items()}
        names = list(dict.fromkeys(one[0] for one in self.nodes))
        codes = [_table(b, "OperatorCode", DeprecatedBuiltinCode=min(127, numbers[name]), BuiltinCode=numbers[name])
                 for name in names]  # fmt: skip
        nodes = [self._node(b, names, one) for one in self.nodes]
        graph = _table(b, "SubGraph", Tensors=_offsets(b, tensors), Inputs=_numbers(b, [self.x]),
                       Outputs=_numbers(b, self.outputs), Operators=_offsets(b, nodes))  # fmt: skip
        b.Finish(_table(b, "Model", Version=3, OperatorCodes=_offsets(b, codes), Subgraphs=_offsets(b, [graph]),
                        Buffers=_offsets(b, buffers)), self.identifier)  # fmt: skip
        return bytes(b.Output())

    def _quantization(self, b: Any, place: int) -> int | None:
        if place not in self.codes:
            return None
        scales, zeros, axis = self.codes[place]
        return _table(b, "QuantizationParameters", Scale=b.CreateNumpyVector(np.asarray(scales, np.float32)),
                      ZeroPoint=b.CreateNumpyVector(np.asarray(zeros, np.int64)), QuantizedDimension=axis)  # fmt: skip

    def coded(self, place: int, scales: Any, zeros: Any = 0, axis: int = 0) -> int:
        """The tensor, with scales and zero points."""
        scales, zeros = (np.atleast_1d(each).tolist() for each in (scales, zeros))
        self.codes[place] = (scales, zeros * len(scales) if len(zeros) == 1 else zeros, axis)
        return place

    def _node(self, b: Any, names: list[str], node: Any) -> int:
        operator, options, fields, inputs, outputs = node
        given: dict[str, Any] = {}
        if options:
            given = {"BuiltinOptionsType": getattr(tflite.BuiltinOptions, options),
                     "BuiltinOptions": _table(b, options, **fields)}  # fmt: skip
        return _table(b, "Operator", OpcodeIndex=names.index(operator), Inputs=_numbers(b, inputs),
                      Outputs=_numbers(b, outputs), **given)  # fmt: skip

    def save(self, folder: Path, name: str = "net.tflite") -> Path:
        (folder / name).write_bytes(self.to_bytes())
        return folder / name


def _table(b: Any, kind: str, **fields: Any) -> int:
    getattr(tflite, f"{kind}Start")(b)
    for name, value in fields.items():
        if value is not None:
            getattr(tflite, f"{kind}Add{name}")(b, value)
    return getattr(tflite, f"{kind}End")(b)


def _numbers(b: Any, values: Any) -> int:
    return b.CreateNumpyVector(np.asarray(values, np.int32))


def _offsets(b: Any, values: list[int]) -> int:
    b.StartVector(4, len(values), 4)
    for one in reversed(values):
        b.PrependUOffsetTRelative(one)
    return b.EndVector()
