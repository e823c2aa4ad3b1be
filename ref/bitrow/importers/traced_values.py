"""What a value of a traced call stands for: a constant, and what it was made of; a map; a window's sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bitrow.importers.onnx_values import (
    FileMap,
    Lost,
)
from bitrow.importers.operators import (
    MeanWindow,
    NotImported,
    ScaleShift,
)
from bitrow.importers.traced_equations import TracedEquation


class NormRoot(NamedTuple):
    """What a constant was made of: `gamma / sqrt(var + eps)`; without a root, `var + eps` alone."""

    gamma: np.ndarray
    var: np.ndarray
    eps: float
    rooted: bool = False


class TracedConstant(NamedTuple):
    """A value that does not depend on the input."""

    array: np.ndarray
    root: NormRoot | None = None


class WindowSums(NamedTuple):
    """Sums of windows of `source`, which a division by their sizes makes means; `view`: the result as it is seen."""

    source: FileMap
    op: MeanWindow
    view: FileMap


TracedValue = TracedConstant | FileMap | WindowSums | Lost


@dataclass(frozen=True, eq=False)
class RootScale(ScaleShift):
    """A scale that is `gamma / sqrt(var + eps)`."""

    gamma: np.ndarray
    var: np.ndarray
    eps: float


class TracedNode:
    """A primitive, and what its inputs stand for."""

    def __init__(self, equation: TracedEquation, found: Mapping[str, TracedValue]) -> None:
        self.equation, self.params = equation, equation.params
        self.name, self.operator, self.outputs = equation.name, equation.operator, equation.outputs
        self.dims: tuple[int, ...] = equation.shapes[0] if equation.shapes else ()
        self.inputs = [found[one] if isinstance(one, str) else TracedConstant(one) for one in equation.inputs]

    def map(self, place: int = 0) -> FileMap:
        """A map. Raises: NotImported: a constant, or sums that nothing divided."""
        found = self.inputs[place]
        if isinstance(found, FileMap):
            return found
        what = "a window's sum that nothing divides by its size" if isinstance(found, WindowSums) else "a constant"
        raise NotImported(f"found {what} as input {place + 1}, expected a map")

    def constant(self, place: int) -> TracedConstant:
        """A constant. Raises: NotImported: a value that depends on the input."""
        found = self.inputs[place]
        if isinstance(found, TracedConstant):
            return found
        raise NotImported(f"found a computed input {place + 1}, expected a constant")

    @property
    def constant_at(self) -> int | None:
        """Which of two inputs is a constant."""
        return next((place for place, one in enumerate(self.inputs) if isinstance(one, TracedConstant)), None)


_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "copy": lambda x: x,
    "reshape": lambda x, **given: x.reshape(given["new_sizes"]),
}  # fmt: skip


def computed(node: TracedNode) -> dict[str, TracedValue]:
    """What a primitive makes of constants, by name; what it was made of, where that says a batch norm's scale."""
    given = [node.constant(place) for place in range(len(node.inputs))]
    arrays = [one.array for one in given]
    if node.operator in _NUMPY and all(one.dtype == arrays[0].dtype for one in arrays):
        params = node.params if node.operator == "reshape" else {}
        with np.errstate(all="ignore"):
            made = [_NUMPY[node.operator](*arrays, **params)]
    else:
        made = [np.asarray(one) for one in node.equation.bind(arrays)]
    root = _root(node.operator, given)
    root = root if root is not None and root.var.size == made[0].size else None
    return {name: TracedConstant(one, root if place == 0 else None)
            for place, (name, one) in enumerate(zip(node.outputs, made, strict=True))}  # fmt: skip


def _root(operator: str, given: list[TracedConstant]) -> NormRoot | None:
    """`var + eps`, its root, the root times gamma; shapes do not matter, only c numbers in order."""
    one, other = (given[0], given[-1])
    if operator == "add" and other.array.ndim == 0 and one.array.ndim and other.array.dtype == np.float32:
        var = one.array.reshape(-1).astype(np.float32)
        return NormRoot(np.ones_like(var), var, float(other.array)) if var.size == max(one.array.shape) else None
    if operator == "rsqrt" and one.root is not None and not one.root.rooted:
        return one.root._replace(rooted=True)
    if operator == "mul":
        for root, gamma in ((one.root, other.array), (other.root, one.array)):
            if root is not None and root.rooted and gamma.size == root.var.size:
                return root._replace(gamma=root.gamma * gamma.reshape(-1).astype(np.float32))
    if operator in ("reshape", "broadcast_in_dim", "squeeze", "copy") and one.root is not None:
        return one.root
    return None
