"""Narrowings to float16 that are widened again with nothing between but moves: XLA may delete both (SPEC.md F2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bitrow.backend.origins import short_path
from bitrow.backend.violation import Violation

_MOVES = frozenset([
    "reshape", "broadcast_in_dim", "transpose", "slice", "squeeze", "concatenate", "pad", "gather", "dynamic_slice",
    "rev", "copy", "copy_p", "select_n", "dynamic_update_slice", "expand_dims", "split", "optimization_barrier",
])  # fmt: skip


def cast_pairs(program: str, jitted: Any, arguments: Sequence[Any]) -> list[Violation]:
    """Those of the traced program, each with the line that widens."""
    closed = jitted.trace(*arguments).jaxpr
    found: list[Violation] = []
    _follow(closed.jaxpr, [False] * len(closed.jaxpr.invars), program, found)
    return list(dict.fromkeys(found))


def _follow(jaxpr: Any, fresh: Sequence[bool], program: str, found: list[Violation]) -> list[bool]:
    """Which results are narrowed and not decided since; `fresh` says it of the inputs."""
    known = dict(zip(jaxpr.invars, fresh, strict=True))

    def is_fresh(atom: Any) -> bool:
        return not hasattr(atom, "val") and known.get(atom, False)

    for eqn in jaxpr.eqns:
        inputs = [is_fresh(atom) for atom in eqn.invars]
        name, out = eqn.primitive.name, [False] * len(eqn.outvars)
        if name == "convert_element_type":
            source, target = eqn.invars[0].aval.dtype, eqn.outvars[0].aval.dtype
            out = [source == jnp.float32 and target in (jnp.float16, jnp.bfloat16)]
            if inputs[0] and target == jnp.float32:
                found.append(Violation(program, name, "a cast pair that is deleted", str(eqn)[:120], _eqn_source(eqn)))
        elif name in _MOVES:
            out = [any(inputs)] * len(eqn.outvars)
        else:
            out = _inside(eqn, inputs, program, found) or out
        known.update(zip(eqn.outvars, out, strict=True))
    return [is_fresh(atom) for atom in jaxpr.outvars]


def _inside(eqn: Any, inputs: list[bool], program: str, found: list[Violation]) -> list[bool] | None:
    """Follow the programs that an operation runs; a loop's carry until it says nothing new."""
    result = None
    for value in eqn.params.values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            jaxpr: Any = getattr(inner, "jaxpr", inner)
            if not hasattr(jaxpr, "eqns"):
                continue
            count = len(jaxpr.invars)
            given = inputs[-count:] if len(inputs) >= count else [*inputs, *[False] * (count - len(inputs))]
            out = _follow(jaxpr, given, program, found)
            if eqn.primitive.name in ("scan", "while") and any(out):
                out = _follow(jaxpr, [one or any(out) for one in given], program, found)
            if len(out) == len(eqn.outvars):
                result = out
    return result


def _eqn_source(eqn: Any) -> tuple[str, ...]:
    own = str(Path(jax.__file__).parent)
    frames = eqn.source_info.traceback.frames if eqn.source_info.traceback else ()
    for frame in frames:
        if not frame.file_name.startswith(own):
            return (f"{short_path(frame.file_name)}:{frame.line_num} {frame.function_name}",)
    return ()
