"""Kernels run operation by operation: each primitive compiled and executed alone (SPEC.md V5).

JAX run eagerly does the same, but compiles every primitive anew for every shape. Here elementwise primitives
run on flat arrays of two sizes, scalars spread out, so that a whole suite shares some two hundred small programs.
Operations that only move words are done by numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

SMALL, LARGE = 1 << 12, 1 << 16  # beyond this, filling up to the next size would cost more than compiling

ELEMENTWISE = frozenset(
    [
        "add",
        "sub",
        "mul",
        "div",
        "rem",
        "max",
        "min",
        "neg",
        "sign",
        "abs",
        "floor",
        "ceil",
        "round",
        "sqrt",
        "rsqrt",
        "exp",
        "not",
        "and",
        "or",
        "xor",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "shift_left",
        "shift_right_logical",
        "shift_right_arithmetic",
        "select_n",
        "convert_element_type",
        "bitcast_convert_type",
        "is_finite",
        "nextafter",
        "clamp",
        "clz",
        "population_count",
        "integer_pow",
        "square",
        "pow",
        "stop_gradient",
        "copy",
        "copy_p",
    ]
)
_INLINED = frozenset(
    ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint")
)


def _bucket(size: int) -> int:
    """The padded length of a flat array: one of two sizes, or beyond them the size itself."""
    return next((length for length in (SMALL, LARGE) if size <= length), size)


def _elementwise(primitive: Any, values: Sequence[np.ndarray], params: dict[str, Any]) -> list[np.ndarray]:
    shape = np.broadcast_shapes(*(value.shape for value in values))
    size = int(np.prod(shape))
    padded = []
    for value in values:
        if value.ndim or size <= LARGE:  # a scalar beside large arrays stays one
            flat = np.zeros(_bucket(size), value.dtype)
            flat[:size] = np.broadcast_to(value, shape).reshape(-1)
            value = flat
        padded.append(value)
    if "sharding" in params:
        params = params | {"sharding": None}
    result = np.asarray(primitive.bind(*padded, **params))
    return [result[:size].reshape(shape)]


def _slice(x: np.ndarray, start_indices, limit_indices, strides, **_: Any) -> np.ndarray:
    steps = strides or (1,) * x.ndim
    return x[tuple(slice(*span) for span in zip(start_indices, limit_indices, steps, strict=True))]


def _broadcast(x: np.ndarray, shape, broadcast_dimensions, **_: Any) -> np.ndarray:
    wide = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, x.shape, strict=True):
        wide[axis] = size
    return np.broadcast_to(x.reshape(wide), shape)


def _pad(x: np.ndarray, fill: np.ndarray, padding_config, **_: Any) -> np.ndarray:
    """Padding as XLA has it: inner gaps first, then the edges, where a negative width cuts."""
    for axis, (low, high, inner) in enumerate(padding_config):
        x = np.moveaxis(x, axis, 0)
        spread = np.full((max(0, (len(x) - 1) * (inner + 1) + 1), *x.shape[1:]), fill, x.dtype)
        spread[:: inner + 1] = x
        wide = np.full((max(0, low) + len(spread) + max(0, high), *x.shape[1:]), fill, x.dtype)
        wide[max(0, low) : max(0, low) + len(spread)] = spread
        x = np.moveaxis(wide[max(0, -low) : len(wide) - max(0, -high)], 0, axis)
    return x


MOVES: dict[str, Callable[..., np.ndarray]] = {
    "reshape": lambda x, new_sizes, **_: x.reshape(new_sizes),
    "squeeze": lambda x, dimensions, **_: x.squeeze(dimensions),
    "expand_dims": lambda x, dimensions, **_: np.expand_dims(x, dimensions),
    "transpose": lambda x, permutation, **_: x.transpose(permutation),
    "rev": lambda x, dimensions, **_: np.flip(x, dimensions),
    "slice": _slice,
    "broadcast_in_dim": _broadcast,
    "pad": _pad,
    "stack": lambda *xs, axis, **_: np.stack(xs, axis),
    "concatenate": lambda *xs, dimension, **_: np.concatenate(xs, dimension),
}


def _scan(values: Sequence[np.ndarray], equation: Any) -> list[np.ndarray]:
    """The body of a scan, step after step. What the body sees of one rank less is a step's row; the rest is carried."""
    params, body = equation.params, equation.params["jaxpr"]
    carried = sum(out.aval.ndim == inner.ndim for out, inner in zip(equation.outvars, body.out_avals, strict=True))
    taken = sum(value.ndim != inner.ndim for value, inner in zip(values, body.in_avals, strict=True))
    consts = len(values) - carried - taken
    fixed, state, rows = values[:consts], list(values[consts : consts + carried]), values[consts + carried :]
    length = params["length"]
    collected: list[list[np.ndarray]] = []
    order = range(length - 1, -1, -1) if params["reverse"] else range(length)
    for step in order:
        out = _evaluate(body.jaxpr, body.consts, [*fixed, *state, *(row[step] for row in rows)])
        state = out[:carried]
        collected.append(out[carried:])
    if params["reverse"]:
        collected.reverse()
    stacked = [np.stack([np.asarray(step[i]) for step in collected]) for i in range(len(collected[0]))]
    return [*state, *stacked]


def _inner(params: dict[str, Any]) -> Any:
    return next(params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in params)


def _apply(equation: Any, values: list[np.ndarray]) -> list[np.ndarray]:
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return _scan(values, equation)
    if name in _INLINED:
        inner = _inner(params)
        consts = inner.consts if hasattr(inner, "consts") else ()
        return _evaluate(getattr(inner, "jaxpr", inner), consts, values)
    if name in MOVES:
        return [MOVES[name](*values, **params)]
    same_width = name != "bitcast_convert_type" or (
        np.dtype(params["new_dtype"]).itemsize == values[0].dtype.itemsize
    )
    if name in ELEMENTWISE and same_width:
        return _elementwise(equation.primitive, values, params)
    found = equation.primitive.bind(*values, **params)
    return [np.asarray(x) for x in found] if equation.primitive.multiple_results else [np.asarray(found)]


def _evaluate(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
    known: dict[Any, np.ndarray] = {}

    def read(atom: Any) -> np.ndarray:
        return (
            np.asarray(atom.val, getattr(atom.aval, "dtype", None))
            if isinstance(atom, core.Literal)
            else known[atom]
        )

    known.update(zip(jaxpr.constvars, map(np.asarray, consts), strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        results = _apply(equation, [read(atom) for atom in equation.invars])
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def run(function: Callable[[Any], dict[str, Any]], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`function(arrays)`, its primitives executed one by one; the same dict of results, as numpy arrays."""
    closed, shape = jax.make_jaxpr(function, return_shape=True)(arrays)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(arrays)]
    results = _evaluate(closed.jaxpr, closed.consts, leaves)
    return jax.tree.unflatten(jax.tree.structure(shape), results)
