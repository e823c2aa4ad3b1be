"""What a parameter of a kernel takes, read from its annotation: an array, a NamedTuple or a sequence of arrays, or a
setting.

A slot admits a value: it returns the value and its *trace*, which is all that is checked of it: shape and dtype of an
array, a tuple of traces for what holds arrays, None for the rest. Arrays that JAX does not hold yet have traces of
their own, `Foreign`.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray

from bitrow import typed
from bitrow.errors import BitrowError

_HOST = (float, np.ndarray)  # what these may be is checked where they are read


class Foreign(NamedTuple):
    """Shape and dtype of a numpy array."""

    shape: tuple[int, ...]
    dtype: Any


@dataclass(frozen=True)
class Slot:
    """A setting: `options` are the alternatives of its annotation but None, `hint` the annotation."""

    name: str
    options: tuple[Any, ...]
    optional: bool
    hint: Any

    def admit(self, where: str, value: Any) -> tuple[Any, Any]:
        """The value and its trace.

        Raises:
            BitrowError: beginning with `where`, which ends in a space or point, and the slot's name; what can be no
                such value.
        """
        if type(value) is self.hint:
            return value, None
        return typed.coerce(f"{where}{self.name}", self.hint, value), None

    def arrays(self, trace: Any) -> Iterator[tuple[Slot, Any]]:
        """Every array under this slot, with its trace."""
        return iter(())

    def refusal(self, where: str, found: str, sizes: dict[str, Any] | None = None) -> BitrowError:
        """`sizes`: of the dimensions that are known by now."""
        wanted = " or ".join(map(_declared, self.options))
        names = [name for option in self.options for name in getattr(option, "dim_str", "").split()]
        known = {name.replace("#", ""): sizes[name] for name in names if sizes and name in sizes and name != "..."}
        bound = " with " + ", ".join(f"{name} = {size}" for name, size in known.items()) if known else ""
        return BitrowError(
            f"{where}{self.name}: found {found}, expected {wanted}{bound}{' or None' if self.optional else ''}"
        )


class ArraySlot(Slot):
    """An array, or an int where the annotation says so, too."""

    def admit(self, where: str, value: Any) -> tuple[Any, Any]:
        if isinstance(value, jax.Array):
            return value, (value.shape, value.dtype)
        if isinstance(value, np.ndarray | np.generic):
            return value, Foreign(value.shape, value.dtype)
        if hasattr(value, "__jax_array__"):
            return self.admit(where, jnp.asarray(value))
        if value is None and self.optional:
            return None, None
        if int in self.options and isinstance(value, int) and not isinstance(value, bool):
            return int(value), None
        if isinstance(value, int | float) and hasattr(value, "dtype"):  # JAX's own scalars, in its transformations
            return np.asarray(value, value.dtype), Foreign((), value.dtype)
        for name in (name for option in self.options for name in _dtypes(option)):
            array = _exactly(value, name)
            if array is not None:
                return array, Foreign((), array.dtype)
        raise self.refusal(where, typed.shown(value))

    def arrays(self, trace: Any) -> Iterator[tuple[Slot, Any]]:
        if trace is not None:
            yield self, trace


class RecordSlot(Slot):
    """A NamedTuple of arrays; its trace begins with its type."""

    def admit(self, where: str, value: Any) -> tuple[Any, Any]:
        if type(value) not in self.options:
            if value is None and self.optional:
                return None, None
            raise self.refusal(where, type(value).__name__)
        where = f"{where}{self.name}."
        seen = [slot.admit(where, each) for slot, each in zip(_fields(type(value)), value, strict=True)]
        return value._make([each for each, _ in seen]), (type(value), *[trace for _, trace in seen])

    def arrays(self, trace: Any) -> Iterator[tuple[Slot, Any]]:
        for slot, each in zip(_fields(trace[0]), trace[1:], strict=True) if trace else ():
            for inner, found in slot.arrays(each):
                yield replace(inner, name=f"{self.name}.{inner.name}"), found


class SequenceSlot(Slot):
    """A sequence of arrays, not empty; its trace begins with `list`."""

    def admit(self, where: str, value: Any) -> tuple[Any, Any]:
        if not isinstance(value, list | tuple) or not value:
            raise self.refusal(where, typed.shown(value))
        seen = [self._at(place).admit(where, each) for place, each in enumerate(value)]
        return [each for each, _ in seen], (list, *[trace for _, trace in seen])

    def arrays(self, trace: Any) -> Iterator[tuple[Slot, Any]]:
        for place, each in enumerate(trace[1:]):
            yield self._at(place), each

    def _at(self, place: int) -> ArraySlot:
        return ArraySlot(f"{self.name}[{place}]", self.options, False, self.hint)


def slots(annotated: Callable[..., Any]) -> tuple[Slot, ...]:
    """Of a function's parameters, or of a NamedTuple's fields."""
    hints = typing.get_type_hints(annotated)
    return tuple(_slot(name, hints.get(name, Any)) for name in inspect.signature(annotated).parameters)


_fields: Callable[[Any], tuple[Slot, ...]] = functools.cache(slots)


def _slot(name: str, hint: Any) -> Slot:
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    given = typing.get_args(hint) if union else (hint,)
    options = tuple(option for option in given if option is not type(None))
    optional = len(options) < len(given)
    if any(map(is_array, options)):
        return ArraySlot(name, options, optional, hint)
    if all(isinstance(option, type) and hasattr(option, "_fields") for option in options):
        return RecordSlot(name, options, optional, hint)
    if typing.get_origin(hint) is collections.abc.Sequence and is_array(typing.get_args(hint)[0]):
        return SequenceSlot(name, typing.get_args(hint), False, hint)
    return Slot(name, options, optional, Any if any(option in _HOST for option in options) else hint)


def is_array(hint: Any) -> bool:
    """Whether an annotation is of one array."""
    return isinstance(hint, type) and (hint is jax.Array or issubclass(hint, AbstractArray))


def _dtypes(hint: Any) -> tuple[str, ...]:
    """Names of the dtypes that an annotation lists; none where it takes any."""
    listed = getattr(hint, "dtypes", ())
    return tuple(name for name in listed if isinstance(name, str)) if isinstance(listed, list | tuple) else ()


def _exactly(value: Any, name: str) -> np.ndarray | None:
    """A Python scalar as an array of the dtype of this name, if that holds it and is of its kind."""
    kinds = {bool: "b", int: "iuf", float: "f"}.get(type(value), "")
    try:
        with np.errstate(all="ignore"):
            array = np.array(value).astype(name) if kinds else None
    except (TypeError, OverflowError):
        return None
    if array is None or array.dtype.kind not in kinds:
        return None
    return array if array.item() == value or value != value else None


def ready(value: Any, trace: Any) -> Any:
    """The value with every numpy array in it as a JAX array."""
    if type(trace) is Foreign:
        return jnp.asarray(value.astype(value.dtype.newbyteorder("=")))
    if type(trace) is tuple and isinstance(trace[0], type):
        items = [ready(each, of) for each, of in zip(value, trace[1:], strict=True)]
        return items if trace[0] is list else value._make(items)
    return value


def foreign(trace: Any) -> bool:
    """Whether a trace has an array that JAX does not hold."""
    return type(trace) is Foreign or (type(trace) is tuple and any(map(foreign, trace)))


def _declared(hint: Any) -> str:
    if hint is jax.Array:
        return "an array"
    if not is_array(hint):
        return typed.expected(hint)
    listed = _dtypes(hint)
    dtype = " or ".join(listed) if 0 < len(listed) < 3 else hint.dtype.__name__.lower()
    names = hint.dim_str.replace("#", "").split()
    return f"{dtype}[{', '.join(names)}]{' (broadcast)' if '#' in hint.dim_str else ''}"
