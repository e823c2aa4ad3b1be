"""The primitives of a traced call in one list: calls inside it in their place, each value under its own name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters of a call that hold what is called
_CALLED = frozenset({"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat",
                     "checkpoint", "custom_lin"})  # fmt: skip

TracedInput = str | np.ndarray  # a value by its name, or a constant


class TracedEquation(NamedTuple):
    """A primitive in its place: the module's name and its own, parameters, inputs, names and shapes of its results."""

    name: str
    operator: str
    params: dict[str, Any]
    inputs: tuple[TracedInput, ...]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    primitive: Any

    def bind(self, given: Sequence[Any]) -> list[Any]:
        """What the primitive makes of arrays, by its own implementation."""
        params = self.primitive.get_bind_params(self.params)
        made = self.primitive.bind(*map(jax.numpy.asarray, given), **params)
        return list(made) if self.primitive.multiple_results else [made]


class _Flat:
    def __init__(self) -> None:
        self.equations: list[TracedEquation] = []
        self._names = 0

    def fresh(self) -> str:
        self._names += 1
        return f"value {self._names}"

    def put(self, closed: Any, given: Sequence[TracedInput], stack: str = "") -> list[TracedInput]:
        """The results of a jaxpr of these values."""
        known: dict[Any, TracedInput] = dict(zip(closed.jaxpr.constvars, map(np.asarray, closed.consts), strict=True))
        known |= zip(closed.jaxpr.invars, given, strict=True)

        def find(atom: Any) -> TracedInput:
            return np.asarray(atom.val) if isinstance(atom, core.Literal) else known[atom]

        for one in closed.jaxpr.eqns:
            here = "/".join(filter(None, (stack, str(one.source_info.name_stack))))
            known |= zip(one.outvars, self._put_one(one, tuple(map(find, one.invars)), here), strict=True)
        return list(map(find, closed.jaxpr.outvars))

    def _put_one(self, one: Any, inputs: tuple[TracedInput, ...], stack: str) -> Sequence[TracedInput]:
        operator = one.primitive.name
        inner = next((one.params[name] for name in _CALLS if name in one.params), None)
        if operator in _CALLED and inner is not None:
            closed = inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())
            return self.put(closed, inputs, stack)
        name = f"{stack}/{operator}_{len(self.equations)}" if stack else f"{operator}_{len(self.equations)}"
        outputs = tuple(self.fresh() for _ in one.outvars)
        shapes = tuple(tuple(getattr(out.aval, "shape", ())) for out in one.outvars)
        self.equations.append(TracedEquation(name, operator, one.params, inputs, outputs, shapes, one.primitive))
        return outputs


def flattened(closed: Any) -> tuple[list[TracedEquation], str, tuple[str, ...]]:
    """The primitives of a jaxpr of one input, the input's name, the outputs' ("" of a constant)."""
    flat = _Flat()
    given = flat.fresh()
    outputs = flat.put(closed, [given])
    return flat.equations, given, tuple(one if isinstance(one, str) else "" for one in outputs)
