"""Symbols that the kernels' own functions compute with: bit-vectors that behave as JAX arrays of integers.

`symbolic(function)` is the same code object with other globals: `jnp` and `lax` build terms for z3 where the
kernel computes arrays, so what is proved is the shipped text and not a copy of it. Unsigned and signed words keep
apart as in JAX: an operation on two dtypes is refused, as strict promotion would.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import z3
from jax import lax

Multiplier = Callable[[Any, Any], Any]


def _bit_vector_product(a: Any, b: Any) -> Any:
    return a * b


_multiplier: Multiplier = _bit_vector_product


@contextlib.contextmanager
def multiplying(by: Multiplier) -> Iterator[None]:
    """Products of symbols are what `by` makes of the two terms: see `products`."""
    global _multiplier
    before, _multiplier = _multiplier, by
    try:
        yield
    finally:
        _multiplier = before


class Symbol:
    """A word of some dtype as a z3 term: bit-vectors of uint and int dtypes, formulas of bool."""

    def __init__(self, term: Any, dtype: Any) -> None:
        self.term, self.dtype = term, np.dtype(dtype)

    @property
    def bits(self) -> int:
        return self.dtype.itemsize * 8

    @property
    def signed(self) -> bool:
        return self.dtype.kind == "i"

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def _other(self, value: Any) -> Any:
        """The term of the other operand: of the same dtype, or a Python number, which is weakly typed."""
        if isinstance(value, bool | int) and self.dtype.kind != "b":
            return z3.BitVecVal(value, self.bits)
        other = lift(value)
        if other.dtype != self.dtype:
            raise TypeError(f"found operands of {self.dtype} and {other.dtype}, expected one dtype")
        return other.term

    def _same(self, term: Any) -> Symbol:
        return Symbol(term, self.dtype)

    def _reflected(self, value: Any) -> Symbol:
        """A number on the left of an operator."""
        return Symbol(self._other(value), self.dtype)

    def __add__(self, value: Any) -> Symbol:
        return self._same(self.term + self._other(value))

    def __sub__(self, value: Any) -> Symbol:
        return self._same(self.term - self._other(value))

    def __mul__(self, value: Any) -> Symbol:
        return self._same(_multiplier(self.term, self._other(value)))

    def __radd__(self, value: Any) -> Symbol:
        return self._reflected(value) + self

    def __rsub__(self, value: Any) -> Symbol:
        return self._reflected(value) - self

    def __rmul__(self, value: Any) -> Symbol:
        return self._reflected(value) * self

    def __rand__(self, value: Any) -> Symbol:
        return self._reflected(value) & self

    def __ror__(self, value: Any) -> Symbol:
        return self._reflected(value) | self

    def __rxor__(self, value: Any) -> Symbol:
        return self._reflected(value) ^ self

    def __rlshift__(self, value: Any) -> Symbol:
        return self._reflected(value) << self

    def __rrshift__(self, value: Any) -> Symbol:
        return self._reflected(value) >> self

    def __neg__(self) -> Symbol:
        return self._same(-self.term)

    def __invert__(self) -> Symbol:
        return self._same(z3.Not(self.term) if self.dtype.kind == "b" else ~self.term)

    def __and__(self, value: Any) -> Symbol:
        other = self._other(value)
        return self._same(z3.And(self.term, other) if self.dtype.kind == "b" else self.term & other)

    def __or__(self, value: Any) -> Symbol:
        other = self._other(value)
        return self._same(z3.Or(self.term, other) if self.dtype.kind == "b" else self.term | other)

    def __xor__(self, value: Any) -> Symbol:
        other = self._other(value)
        return self._same(z3.Xor(self.term, other) if self.dtype.kind == "b" else self.term ^ other)

    def __lshift__(self, value: Any) -> Symbol:
        return self._same(self.term << self._other(value))

    def __rshift__(self, value: Any) -> Symbol:
        other = self._other(value)
        return self._same(self.term >> other if self.signed else z3.LShR(self.term, other))

    def __mod__(self, value: Any) -> Symbol:
        if self.signed:
            raise TypeError("found % of signed words, expected unsigned ones")
        return self._same(z3.URem(self.term, self._other(value)))

    def _compare(self, value: Any, signed: Callable[[Any, Any], Any], unsigned: Callable[[Any, Any], Any]) -> Symbol:
        return Symbol((signed if self.signed else unsigned)(self.term, self._other(value)), np.bool_)

    def __lt__(self, value: Any) -> Symbol:
        return self._compare(value, lambda a, b: a < b, z3.ULT)

    def __le__(self, value: Any) -> Symbol:
        return self._compare(value, lambda a, b: a <= b, z3.ULE)

    def __gt__(self, value: Any) -> Symbol:
        return self._compare(value, lambda a, b: a > b, z3.UGT)

    def __ge__(self, value: Any) -> Symbol:
        return self._compare(value, lambda a, b: a >= b, z3.UGE)

    def __eq__(self, value: Any) -> Symbol:  # type: ignore[override]
        return Symbol(self.term == self._other(value), np.bool_)

    def __ne__(self, value: Any) -> Symbol:  # type: ignore[override]
        return Symbol(self.term != self._other(value), np.bool_)

    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # numpy's scalars leave the operation to this class

    def astype(self, dtype: Any) -> Symbol:
        """As JAX casts: a bool becomes 0 or 1; a wider word is sign-extended from a signed one."""
        target = np.dtype(dtype)
        width = target.itemsize * 8
        if self.dtype.kind == "b":
            return Symbol(z3.If(self.term, z3.BitVecVal(1, width), z3.BitVecVal(0, width)), target)
        if width <= self.bits:
            return Symbol(z3.Extract(width - 1, 0, self.term), target)
        extend = z3.SignExt if self.signed else z3.ZeroExt
        return Symbol(extend(width - self.bits, self.term), target)


def word(name: str, dtype: Any) -> Symbol:
    """A free word of an integer dtype."""
    return Symbol(z3.BitVec(name, np.dtype(dtype).itemsize * 8), dtype)


def lift(value: Any) -> Symbol:
    """A constant of JAX or numpy as a symbol; a symbol as it is."""
    if isinstance(value, Symbol):
        return value
    array = np.asarray(value)
    if array.shape != ():
        raise TypeError(f"found an array of shape {array.shape}, expected a scalar")
    if array.dtype.kind == "b":
        return Symbol(z3.BoolVal(bool(array)), array.dtype)
    return Symbol(z3.BitVecVal(int(array), array.dtype.itemsize * 8), array.dtype)


def _where(condition: Any, chosen: Any, other: Any) -> Symbol:
    if isinstance(chosen, Symbol):
        other = Symbol(chosen._other(other), chosen.dtype)
    else:
        other = lift(other)
        chosen = Symbol(other._other(chosen), other.dtype)
    return Symbol(z3.If(lift(condition).term, chosen.term, other.term), chosen.dtype)


def _minimum(a: Any, b: Any) -> Symbol:
    a = lift(a)
    return _where(a < b, a, b)


def _maximum(a: Any, b: Any) -> Symbol:
    a = lift(a)
    return _where(a > b, a, b)


def _clip(a: Any, low: Any, high: Any) -> Symbol:
    return _minimum(_maximum(a, low), high)


def _full_like(a: Any, value: Any) -> Symbol:
    a = lift(a)
    return Symbol(a._other(value), a.dtype)


def _zeros_like(a: Any, dtype: Any = None) -> Symbol:
    target = lift(a).dtype if dtype is None else np.dtype(dtype)
    return lift(np.zeros((), target))


def _abs(a: Any) -> Symbol:
    a = lift(a)
    return _where(a < 0, -a, a) if a.signed else a


def _asarray(a: Any, dtype: Any = None) -> Symbol:
    return lift(a) if dtype is None or isinstance(a, Symbol) else lift(np.asarray(a, dtype))


def _broadcast_arrays(*arrays: Any) -> list[Symbol]:
    return [lift(a) for a in arrays]


def _clz(a: Any) -> Symbol:
    """Leading zeros, all of the width for 0, as `lax.clz`."""
    a = lift(a)
    found = z3.BitVecVal(a.bits, a.bits)
    for place in range(a.bits):
        found = z3.If(z3.Extract(place, place, a.term) == 1, z3.BitVecVal(a.bits - 1 - place, a.bits), found)
    return Symbol(found, a.dtype)


def _div(a: Any, b: Any) -> Symbol:
    a = lift(a)
    return Symbol(z3.UDiv(a.term, a._other(b)), a.dtype)


def _fori_loop(low: int, high: int, step: Callable[[Any, Any], Any], state: Any) -> Any:
    for i in range(low, high):
        state = step(lift(np.int32(i)), state)
    return state


class _Namespace:
    """The functions of a module that have a symbolic twin; of the rest, constants and dtypes as they are."""

    def __init__(self, module: ModuleType, twins: dict[str, Callable[..., Any]]) -> None:
        self._module, self._twins = module, twins

    def __getattr__(self, name: str) -> Any:
        if name in self._twins:
            return self._twins[name]
        found = getattr(self._module, name)
        if inspect.isfunction(found):
            raise NotImplementedError(f"found {self._module.__name__}.{name}, expected one of {sorted(self._twins)}")
        return found


_JNP = _Namespace(
    jnp,
    {
        "where": _where, "minimum": _minimum, "maximum": _maximum, "clip": _clip, "full_like": _full_like,
        "zeros_like": _zeros_like, "abs": _abs, "asarray": _asarray, "broadcast_arrays": _broadcast_arrays,
        "uint32": np.uint32, "int32": np.int32, "uint16": np.uint16, "bool_": np.bool_,
    },
)  # fmt: skip
_LAX = _Namespace(lax, {"clz": _clz, "div": _div, "fori_loop": _fori_loop})


def _twin(value: Any) -> Any:
    """What a global of a kernel's module becomes: the two namespaces and the bitrow functions change."""
    if value is jnp:
        return _JNP
    if value is lax:
        return _LAX
    if inspect.isfunction(value) and value.__module__.startswith("bitrow.ops"):
        return symbolic(value)
    if inspect.isclass(value) and issubclass(value, tuple) and value.__module__.startswith("bitrow.ops"):
        return _plain_class(value)
    return value


@functools.cache
def _plain_class(kind: type) -> type:
    """A named tuple of the kernels, its properties without the checks that tests wrap around them."""
    properties = {name: part for name, part in vars(kind).items() if isinstance(part, property) and part.fget}
    plain = {name: property(inspect.unwrap(part.fget)) for name, part in properties.items() if part.fget}
    return type(kind.__name__, (kind,), plain)


class _Globals(dict[str, Any]):
    """A module's globals with their twins, each made when it is first read."""

    def __init__(self, module: str) -> None:
        self._own = vars(sys.modules[module])
        super().__init__({"__builtins__": self._own["__builtins__"]})

    def __missing__(self, name: str) -> Any:
        if name not in self._own:
            raise KeyError(name)
        self[name] = found = _twin(self._own[name])
        return found


_globals_of = functools.cache(_Globals)


def symbolic(function: Callable[..., Any], **changed: Any) -> Callable[..., Any]:
    """`function` of `bitrow.ops` on symbols: its own code, and that of all it calls, with symbolic `jnp` and `lax`.

    `changed` replaces globals of its module: a fault put in on purpose, which the solver has to find.
    """
    plain = inspect.unwrap(function)
    assert isinstance(plain, FunctionType)
    names = _Globals(plain.__module__) if changed else _globals_of(plain.__module__)
    names.update(changed)
    made = FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__)
    made.__kwdefaults__ = plain.__kwdefaults__
    return made
