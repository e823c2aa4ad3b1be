"""Flax modules, and any function of JAX, as a graph of float operators: by the primitives that a call of it runs.

The call is traced, not run: what does not depend on the input is a constant and is computed, every primitive on a map
is a row of `traced_operators.PRIMITIVES`, and any other is refused by its name. So a module's own code may be what it
likes, shortcuts and gates too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from flax import linen, nnx

from bitrow.config import Shape
from bitrow.config.base import MOST_ALONG
from bitrow.errors import BitrowError
from bitrow.importers.float_graph import UNFORESEEN, FileNode, FloatGraph, FloatStep, Reading, Refusal, refusal_reason
from bitrow.importers.names import identifier
from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_values import NHWC, FileMap, Lost, output_values
from bitrow.importers.operators import Clamp, FloatOperator, Normalize, NotImported, ScaleShift
from bitrow.importers.rewrite import along
from bitrow.importers.traced_equations import flattened
from bitrow.importers.traced_operators import PRIMITIVES
from bitrow.importers.traced_values import RootScale, TracedConstant, TracedNode, TracedValue, computed

TracedCall = nnx.Module | linen.Module | Callable[[jax.Array], jax.Array]


class TracedModule:
    """A module's call on one image f32[1,h,w,c], as primitives.

    An nnx module is taken in evaluation mode (a copy of it: the module stays as it is); a linen module needs its
    `variables`; a function takes the images alone.

    Raises:
        BitrowError: a shape that is none, no module, or what the call itself raises.
    """

    def __init__(self, module: TracedCall, input_shape: Shape, variables: Mapping[str, Any] | None = None) -> None:
        self.name = _name(module)
        self.shape = _checked_shape(self.name, input_shape)
        image = jax.ShapeDtypeStruct((1, *self.shape), np.float32)
        call = _call(self.name, module, variables)
        try:
            closed = jax.make_jaxpr(call)(image)
        except Exception as error:  # the module's own, of any kind
            reason = " ".join(str(error).split())[:120]
            raise BitrowError(f"{self.name}: its call on [1, h, w, c] of {list(self.shape)} fails ({reason})") from None
        if not closed.out_avals:
            raise BitrowError(f"{self.name}: found no output, expected some")
        self._equations, self._given, self._outputs = flattened(closed)

    def reading(self) -> Reading:
        """Every primitive on a map, or why it cannot be a layer."""
        build, nodes, refusals = StepBuilder(), list[FileNode](), list[Refusal]()
        found: dict[str, TracedValue] = {self._given: build.input(self._given, self.shape, NHWC, 1)}
        for equation in self._equations:
            node, steps = TracedNode(equation, found), len(build.steps)
            if all(isinstance(one, TracedConstant) for one in node.inputs):
                found |= computed(node)
                continue
            made: TracedValue = Lost()
            try:
                made = _made(build, node)
            except BitrowError:
                raise
            except (NotImported, *UNFORESEEN) as error:
                del build.steps[steps:]
                refusals.append(Refusal(equation.name, equation.operator, refusal_reason(error)))
            note = "" if len(build.steps) > steps or isinstance(made, Lost) else "nothing: how its input is looked at"
            nodes.append(FileNode(equation.name, equation.operator, note))
            found |= {name: made if place == 0 else Lost() for place, name in enumerate(equation.outputs)}
        return self._reading(build, found, nodes, refusals)

    def _reading(
        self, build: StepBuilder, found: dict[str, TracedValue], nodes: list[FileNode], refusals: list[Refusal]
    ) -> Reading:
        outputs = output_values(self.name, {name: found.get(name) for name in self._outputs}, bool(refusals))
        ends = frozenset(outputs)
        steps = along(along(build.steps, ends, _pair), ends, _normalized)
        graph = FloatGraph(identifier(self.name, "network"), self._given, outputs, tuple(steps), build.shapes,
                           build.layouts)  # fmt: skip
        return Reading(graph, tuple(nodes), tuple(refusals))

    def run(
        self, images: np.ndarray, values: Iterable[str], layouts: Mapping[str, tuple[str, ...]]
    ) -> dict[str, np.ndarray]:
        """Values of the call by name, f32[n,h,w,c] or f32[n,c], for images f32[n,h,w,c], one after another."""
        wanted = list(dict.fromkeys(values))
        found = [self._run_one(image, wanted) for image in images]
        axes = {name: [layouts[name].index(letter) for letter in NHWC] for name in wanted if len(layouts[name]) == 4}
        moved = [{name: one[name].transpose(axes[name]) if name in axes else one[name] for name in wanted}
                 for one in found]  # fmt: skip
        return {name: np.concatenate([one[name] for one in moved]).astype(np.float32) for name in wanted}

    def _run_one(self, image: np.ndarray, wanted: list[str]) -> dict[str, np.ndarray]:
        """By each primitive's own implementation."""
        found: dict[str, Any] = {self._given: image[None]}
        for equation in self._equations:
            given = [found[one] if isinstance(one, str) else one for one in equation.inputs]
            found |= zip(equation.outputs, equation.bind(given), strict=True)
        return {name: np.asarray(found[name]) for name in wanted}


def _name(module: Any) -> str:
    named = module if isinstance(getattr(module, "__name__", None), str) else type(module)
    return str(named.__name__)[:80].replace("<lambda>", "function")


def _checked_shape(name: str, shape: Any) -> Shape:
    sizes = shape if isinstance(shape, tuple | list) else ()
    if len(sizes) != 3 or not all(type(one) is int and 1 <= one <= MOST_ALONG for one in sizes):
        raise BitrowError(f"{name} input_shape: found {str(shape)[:80]}, expected (h, w, c) of 1 to {MOST_ALONG:,}")
    return sizes[0], sizes[1], sizes[2]


def _call(name: str, module: Any, variables: Any) -> Callable[[jax.Array], Any]:
    if isinstance(module, linen.Module):
        if not isinstance(variables, Mapping):
            found = type(variables).__name__
            raise BitrowError(f"{name} variables: found {found}, expected those of a linen module, by collection")
        return lambda x: module.apply(variables, x)
    if variables is not None:
        raise BitrowError(f"{name} variables: found some, expected none but a linen module's")
    if isinstance(module, nnx.Module):
        copied: Any = nnx.clone(module)
        copied.eval()
        module = copied
    if not callable(module):
        raise BitrowError(f"{name}: found a {type(module).__name__}, expected a module or a function")
    called: Callable[[jax.Array], Any] = module
    return called


def _made(build: StepBuilder, node: TracedNode) -> TracedValue:
    if node.operator not in PRIMITIVES:
        raise NotImported("an unknown primitive")
    if any(isinstance(one, Lost) for one in node.inputs):
        return Lost()
    made = PRIMITIVES[node.operator](build, node)
    dims = made.dims if isinstance(made, FileMap) else node.dims
    if dims != node.dims:
        raise NotImported(f"found a result of {list(node.dims)}, expected {list(dims)}")
    return made


def _pair(before: FloatStep, step: FloatStep) -> FloatOperator | None:
    """max and min are one clip."""
    one, other = before.op, step.op
    if isinstance(one, Clamp) and isinstance(other, Clamp):
        low, high = max(one.low, other.low), min(one.high, other.high)
        return Clamp(low, high) if low < high else None
    return None


def _normalized(before: FloatStep, step: FloatStep) -> FloatOperator | None:
    """A mean subtracted and a root multiplied are a batch norm's, with its variance and eps (B1)."""
    one, other = before.op, step.op
    if not isinstance(other, RootScale) or not isinstance(one, ScaleShift) or not np.all(one.scale == 1):
        return None
    gamma, mean, var = (np.broadcast_to(each, other.var.shape) for each in (other.gamma, -one.shift, other.var))
    return Normalize(gamma, np.zeros_like(gamma), mean, var, other.eps)

