"""The operators' graph while a file is read node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bitrow.config import Shape
from bitrow.importers.float_graph import FloatStep
from bitrow.importers.onnx_values import FileMap
from bitrow.importers.operators import FloatOperator


class StepNode(Protocol):
    """What a step takes from the node that it stands for."""

    @property
    def name(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def outputs(self) -> Sequence[str]: ...


class StepBuilder:
    """Collects steps; a value of the graph has the name that it has in the file."""

    def __init__(self) -> None:
        self.steps: list[FloatStep] = []
        self.shapes: dict[str, Shape] = {}
        self.layouts: dict[str, tuple[str, ...]] = {}

    def input(self, name: str, shape: Shape, axes: tuple[str, ...], batch: int) -> FileMap:
        """The network's input."""
        self.shapes[name], self.layouts[name] = shape, axes
        return FileMap(name, shape, axes, batch)

    def step(
        self, node: StepNode, op: FloatOperator, *inputs: FileMap, part: int = 0, axes: tuple[str, ...] | None = None
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
