"""One walk over a kernel's jaxpr: its equations, one after another, as terms of a target.

What is read is the program that JAX compiles, traced on scalars: a kernel that works element by element does to each
element of an array what it does to a scalar. Calls are followed, loops of a known length unrolled. A primitive that
is not known here is refused, and so is arithmetic on floating-point numbers, whose words may only be moved about.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import jax
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from bitrow.errors import BitrowError
from bitrow.lower.target import T, Target, Word

_WORDS = "iubf"  # numpy's letters of the kinds of dtypes
# The kinds of operands that each primitive is read for; a result is of one of them, or bool.
_KINDS = {
    **dict.fromkeys(("add", "sub", "mul", "div", "rem", "neg", "abs", "max", "min", "clamp", "integer_pow"), "iu"),
    **dict.fromkeys(("shift_left", "shift_right_logical", "shift_right_arithmetic"), "iu"),
    **dict.fromkeys(("clz", "population_count"), "iu"),
    **dict.fromkeys(("lt", "le", "gt", "ge"), "iu"),
    **dict.fromkeys(("and", "or", "xor", "not", "eq", "ne", "convert_element_type"), "iub"),
    **dict.fromkeys(("select_n", "broadcast_in_dim", "reshape", "squeeze", "copy"), _WORDS),
    "bitcast_convert_type": "iuf",
}
_MOVES = ("broadcast_in_dim", "reshape", "squeeze", "copy")  # of one element: nothing happens to it
_CALLS = {"jit": "jaxpr", "remat2": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
_KNOWN = ", ".join(sorted({*_KINDS, *_CALLS, "scan"}))


def lower(function: Callable[..., Any], target: Target[T], *arguments: Any) -> Any:
    """What a kernel makes of its arguments: words of the target, in a tree like the kernel's result.

    Words among the arguments are traced as scalars of their dtypes; the others are the kernel's own parameters.

    Raises:
        BitrowError: naming it and the kernel's line; a primitive, a dtype or a shape that cannot be read.
    """
    words = [each for each in arguments if isinstance(each, Word)]

    def of_words(*scalars: Any) -> Any:  # a new function each time: JAX remembers what it has traced
        left = iter(scalars)
        return function(*(next(left) if isinstance(each, Word) else each for each in arguments))

    scalars = [jax.ShapeDtypeStruct((), word.dtype) for word in words]
    program, shapes = jax.make_jaxpr(of_words, return_shape=True)(*scalars)
    return jax.tree.unflatten(jax.tree.structure(shapes), _Walk(target).inside(program, words))


@dataclass(frozen=True)
class _Walk(Generic[T]):
    target: Target[T]

    def inside(self, called: ClosedJaxpr | Jaxpr, words: Sequence[Word[T]], line: str = "") -> list[Word[T]]:
        """The results of a program, its arguments given; `line` is the kernel's that calls it."""
        jaxpr: Any = getattr(called, "jaxpr", called)
        consts = getattr(called, "consts", [])
        known: dict[Var, Word[T]] = dict(zip(jaxpr.invars, words, strict=True))
        known.update((var, self._literal(value, var.aval)) for var, value in zip(jaxpr.constvars, consts, strict=True))

        def read(atom: Any) -> Word[T]:
            return self._literal(atom.val, atom.aval) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            here = source_info_util.summarize(equation.source_info).rpartition("/")[2] or line  # JAX's own have none
            _check(equation, here)
            results = self._equation(equation, [read(atom) for atom in equation.invars], here)
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _literal(self, value: Any, aval: Any) -> Word[T]:
        found = np.asarray(value, aval.dtype)
        if found.size != 1 or found.dtype.kind not in _WORDS:
            raise BitrowError(f"lower: found a constant {aval.str_short()}, expected one number")
        bits = found.view(f"u{found.itemsize}") if found.dtype.kind == "f" else found
        return Word(self.target.literal(int(bits.reshape(())), found.dtype), found.dtype)

    def _equation(self, equation: JaxprEqn, operands: list[Word[T]], line: str) -> list[Word[T]]:
        name = equation.primitive.name
        if name in _CALLS:
            return self.inside(equation.params[_CALLS[name]], operands, line)
        if name == "scan":
            return self._unrolled(equation, operands, line)
        if name in _MOVES:
            return operands
        result: Any = equation.outvars[0].aval
        dtype = np.dtype(result.dtype)
        if name == "integer_pow":
            return [self._power(operands[0], equation.params["y"])]
        method = getattr(self.target, f"{name}_" if keyword.iskeyword(name) else name)
        converts = name in ("convert_element_type", "bitcast_convert_type")
        return [Word(method(*operands, *([dtype] if converts else [])), dtype)]

    def _unrolled(self, equation: JaxprEqn, operands: list[Word[T]], line: str) -> list[Word[T]]:
        """A loop of a known length that neither reads nor leaves an element for each turn."""
        consts = len(operands) - len(equation.outvars)
        fixed, state = operands[:consts], operands[consts:]
        for _ in range(equation.params["length"]):
            state = self.inside(equation.params["jaxpr"], [*fixed, *state], line)
        return state

    def _power(self, base: Word[T], exponent: int) -> Word[T]:
        if exponent == 0:
            return Word(self.target.literal(1, base.dtype), base.dtype)
        half = self._power(base, exponent // 2)
        square = Word(self.target.mul(half, half), base.dtype)
        return Word(self.target.mul(square, base), base.dtype) if exponent % 2 else square


def _check(equation: JaxprEqn, line: str) -> None:
    """Refuse what would be read wrongly: another primitive, more than one element, a dtype that is not meant.

    Raises:
        BitrowError: naming the primitive and the kernel's line.
    """
    name = equation.primitive.name
    where = f"{name} at {line}"
    if name not in {*_KINDS, *_CALLS, "scan"}:
        raise BitrowError(f"lower: found the primitive {where}, expected one of {_KNOWN}")
    kinds = _KINDS.get(name, _WORDS)
    operands, results = ([atom.aval for atom in atoms] for atoms in (equation.invars, equation.outvars))
    avals: list[tuple[Any, str]] = [*((aval, kinds) for aval in operands), *((aval, f"{kinds}b") for aval in results)]
    for aval, allowed in avals:
        if np.prod(aval.shape) != 1:
            raise BitrowError(f"lower: found {aval.str_short()} in {where}, expected one element")
        if np.dtype(aval.dtype).kind not in allowed:
            raise BitrowError(f"lower: found {aval.str_short()} in {where}, expected integers")
