"""The operators' graph while an ONNX file is read."""

from __future__ import annotations

from bitrow.config import Shape
from bitrow.importers.float_graph import FloatStep
from bitrow.importers.onnx_node import OnnxNode
from bitrow.importers.onnx_values import FileMap
from bitrow.importers.operators import FloatOperator


class Builder:
    """Collects steps; a value of the graph has the name of the ONNX value that it is."""

    def __init__(self) -> None:
        self.steps: list[FloatStep] = []
        self.shapes: dict[str, Shape] = {}
        self.layouts: dict[str, tuple[str, ...]] = {}

    def input(self, name: str, shape: Shape, axes: tuple[str, ...], batch: int) -> FileMap:
        """The network's input."""
        self.shapes[name], self.layouts[name] = shape, axes
        return FileMap(name, shape, axes, batch)

    def step(
        self, node: OnnxNode, op: FloatOperator, *inputs: FileMap, part: int = 0, axes: tuple[str, ...] | None = None
    ) -> FileMap:
        """One operator more; `part` numbers those of a node that becomes several, `axes` are the input's unless given.

        Raises:
            NotImported: shapes that do not fit.
        """
        shape = op.shape([one.shape for one in inputs])
        value = node.outputs[0] if not part else f"{node.outputs[0]}\n{part}"  # no name of a file has a line end in it
        name = node.name if not part else f"{node.name}_{part}"
        names = tuple(one.value for one in inputs)
        self.steps.append(FloatStep(name, node.operator, op, names, value, (node.name,)))
        axes = inputs[0].axes if axes is None else axes
        self.shapes[value], self.layouts[value] = shape, axes
        return FileMap(value, shape, axes, inputs[0].batch)
