"""Small ONNX files for the importers' tests, built node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bitrow.importers.calibration import float_twin
from bitrow.importers.command import FloatReading, ImportOptions, read_float
from bitrow.importers.original import run_original

FLOAT = onnx.TensorProto.FLOAT


class OnnxGraph:
    """Nodes and constants; `add` and `constant` return names of values."""

    def __init__(self, shape: tuple[Any, ...] = (1, 3, 8, 8), opset: int = 17, dtype: int = FLOAT) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.opset = opset
        self.inputs = [helper.make_tensor_value_info("x", dtype, shape)]
        self.rng = np.random.default_rng(0)

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        name = f"c.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self.rng.standard_normal(shape) * scale)

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"v.{len(self.nodes)}.{place}" for place in range(outputs)]
        label = f"/net.{len(self.nodes)}/{operator}"
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=label, **attributes))
        return names[0]

    def norm(self, x: str, channels: int, eps: float = 1e-5, var: Any = None) -> str:
        rng = self.rng
        var = rng.uniform(0.1, 2, channels) if var is None else var
        given = [self.constant(v) for v in (rng.uniform(0.5, 2, channels), rng.normal(size=channels),
                                            rng.normal(size=channels), var)]  # fmt: skip
        return self.add("BatchNormalization", x, *given, epsilon=eps)

    def quant(self, x: str, scale: Any, bits: int, signed: int = 1, narrow: int = 0, **given: Any) -> str:
        """A node of QONNX."""
        inputs = [x, self.constant(scale), self.constant(given.pop("zero", 0.0)), self.constant(float(bits))]
        domain = given.pop("domain", "qonnx.custom_op.general")
        return self.add("Quant", *inputs, domain=domain, signed=signed, narrow=narrow,
                        rounding_mode=given.pop("rounding", "ROUND"))  # fmt: skip

    def model(self, *outputs: str) -> Any:
        graph = helper.make_graph(
            self.nodes, "net", self.inputs, [helper.make_empty_tensor_value_info(name) for name in outputs],
            self.constants,
        )  # fmt: skip
        versions = [helper.make_opsetid("", self.opset), helper.make_opsetid("qonnx.custom_op.general", 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=8)

    def save(self, folder: Path, *outputs: str, name: str = "net.onnx") -> Path:
        (folder / name).write_bytes(self.model(*outputs).SerializeToString())
        return folder / name


def float_pair(path: Path, count: int = 2, **options: Any) -> tuple[FloatReading, np.ndarray, np.ndarray]:
    """What was read, the float twin's output and the original's, on drawn images."""
    found = read_float(path, ImportOptions(**options))
    images = np.random.default_rng(1).standard_normal((count, *found.made.network.input_shape)).astype(np.float32)
    output = found.made.values[found.made.network.output]
    expected = run_original(path, images, [output], found.made.layouts)[output]
    return found, float_twin(found.made, images).reshape(expected.shape), expected


def assert_close(got: np.ndarray, expected: np.ndarray, share: float = 1e-5) -> None:
    """Float32 networks of a few layers, summed in other orders."""
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= share * max(1.0, float(np.abs(expected).max()))
