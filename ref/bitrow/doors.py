"""The doors of the kernels: arrays of the dtype, rank and shape that the annotations declare, or a refusal.

`guard(__name__)`, the last line of a module, puts a door before each of its public functions. What is checked is what
the annotations say (jaxtyping's, read once), on abstract values alone: eagerly, while tracing, under `vmap` and
`shard_map`, and never in a compiled program. Each combination of shapes and dtypes is checked once and remembered.

A numpy array is taken as the JAX array of its dtype. A Python scalar is taken where the annotated dtype holds it
exactly, and refused where it would have to be rounded: `fp16.add(x, 0.5)`, but not `fp16.add(x, 0.1)`.
"""

from __future__ import annotations

import collections.abc
import enum
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray, jaxtyped

from bitrow import typed
from bitrow.errors import BitrowError

_REMEMBERED = 4096  # combinations of shapes and dtypes, for each function
_HOST = (float, np.ndarray)  # what these may be is checked where they are read


class Kind(enum.Enum):
    """What a parameter takes."""

    ARRAY = enum.auto()
    RECORD = enum.auto()  # a NamedTuple of arrays
    SEQUENCE = enum.auto()  # of arrays
    SETTING = enum.auto()  # anything else


class Slot(NamedTuple):
    """A parameter, or a field of a NamedTuple; `options`: the alternatives of its annotation but None."""

    name: str
    kind: Kind
    options: tuple[Any, ...]
    optional: bool
    hint: Any


def guard(module: str) -> None:
    """Put a door before every public function that the module of this name defines.

    A `jax.custom_vjp` function keeps its rules: the door stands before it.
    """
    namespace = vars(sys.modules[module])
    for name, member in list(namespace.items()):
        if name.startswith("_") or getattr(member, "__module__", None) != module:
            continue
        if inspect.isfunction(member) or isinstance(member, jax.custom_vjp):
            namespace[name] = door(member)


def door(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which then raises BitrowError naming itself, the argument, what was found, what was expected."""
    where = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

    @functools.cache
    def slots() -> dict[str, Slot]:
        return _slots(inspect.unwrap(function))

    @functools.lru_cache(_REMEMBERED)
    def check(names: tuple[str, ...], signature: tuple[Any, ...]) -> None:
        _check(where, [slots()[name] for name in names], signature)

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        known = slots()
        if len(args) > len(known) or not kwargs.keys() <= known.keys():
            return function(*args, **kwargs)  # a TypeError of Python's own
        names = (*tuple(known)[: len(args)], *kwargs)
        seen = [_admit(where, known[name], value) for name, value in zip(names, (*args, *kwargs.values()), strict=True)]
        check(names, tuple([signature for _, signature in seen]))
        values = [_ready(value, signature) for value, signature in seen]
        return function(*values[: len(args)], **dict(zip(kwargs, values[len(args) :], strict=True)))

    return guarded


def _slots(annotated: Any) -> dict[str, Slot]:
    """Of a function's parameters, or of a NamedTuple's fields."""
    hints = typing.get_type_hints(annotated)
    return {name: _slot(name, hints.get(name, Any)) for name in inspect.signature(annotated).parameters}


_record_slots = functools.cache(_slots)


def _slot(name: str, hint: Any) -> Slot:
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    options = typing.get_args(hint) if union else (hint,)
    optional = type(None) in options
    options = tuple(option for option in options if option is not type(None))
    if any(_is_array(option) for option in options):
        return Slot(name, Kind.ARRAY, options, optional, hint)
    if all(isinstance(option, type) and hasattr(option, "_fields") for option in options):
        return Slot(name, Kind.RECORD, options, optional, hint)
    if typing.get_origin(hint) is collections.abc.Sequence and _is_array(typing.get_args(hint)[0]):
        return Slot(name, Kind.SEQUENCE, typing.get_args(hint), optional, hint)
    return Slot(name, Kind.SETTING, options, optional, Any if any(o in _HOST for o in options) else hint)


def _is_array(hint: Any) -> bool:
    return isinstance(hint, type) and (hint is jax.Array or issubclass(hint, AbstractArray))


class _Foreign(NamedTuple):
    """Shape and dtype of a numpy array."""

    shape: tuple[int, ...]
    dtype: Any


def _admit(where: str, slot: Slot, value: Any) -> tuple[Any, Any]:
    """The value, and what is checked of it: shape and dtype, or a tuple with one such for each array, or None."""
    if slot.kind is Kind.ARRAY:
        if isinstance(value, jax.Array):
            return value, (value.shape, value.dtype)
        return _admit_other(where, slot, value)
    if slot.kind is Kind.SETTING:
        if type(value) is slot.hint:
            return value, None
        return typed.coerce(f"{where} {slot.name}", slot.hint, value), None
    if value is None and slot.optional:
        return None, None
    if slot.kind is Kind.RECORD:
        if type(value) not in slot.options:
            raise _refusal(where, slot, type(value).__name__)
        fields = _record_slots(type(value)).values()
        seen = [_admit(f"{where} {slot.name}", field, each) for field, each in zip(fields, value, strict=True)]
        return value._make([each for each, _ in seen]), (type(value), *[signature for _, signature in seen])
    if not isinstance(value, collections.abc.Sequence) or not value:
        raise _refusal(where, slot, typed.shown(value))
    each = Slot(slot.name, Kind.ARRAY, slot.options, False, slot.options[0])
    seen = [_admit(where, each._replace(name=f"{slot.name}[{i}]"), item) for i, item in enumerate(value)]
    return [item for item, _ in seen], (list, *[signature for _, signature in seen])


def _admit_other(where: str, slot: Slot, value: Any) -> tuple[Any, Any]:
    """What stands for an array, or for what an annotation allows beside it."""
    if isinstance(value, np.ndarray | np.generic):
        return value, _Foreign(value.shape, value.dtype)
    if value is None and slot.optional:
        return None, None
    if hasattr(value, "__jax_array__"):
        value = jnp.asarray(value)
        return value, (value.shape, value.dtype)
    if type(value) is int and int in slot.options:
        return value, None
    if isinstance(value, bool | int | float):
        for name in (name for option in slot.options if option is not int for name in getattr(option, "dtypes", ())):
            array = _exactly(value, name)
            if array is not None:
                return array, _Foreign((), array.dtype)
    raise _refusal(where, slot, typed.shown(value))


def _exactly(value: float, name: str) -> np.ndarray | None:
    """A Python scalar as an array of the dtype of this name, if it holds the scalar and is of its kind."""
    try:
        dtype = np.dtype(name)
        with np.errstate(all="ignore"):
            array = np.array(value).astype(dtype)
    except (TypeError, OverflowError):
        return None
    if dtype.kind not in {bool: "b", int: "iuf"}.get(type(value), "f"):
        return None
    return array if array.item() == value or value != value else None


def _ready(value: Any, signature: Any) -> Any:
    """The value with every numpy array in it as a JAX array."""
    if type(signature) is _Foreign:
        return jnp.asarray(value.astype(value.dtype.newbyteorder("=")))
    if type(signature) is tuple and isinstance(signature[0], type):
        if not any(type(each) is _Foreign for each in signature):
            return value
        items = [_ready(each, of) for each, of in zip(value, signature[1:], strict=True)]
        return items if signature[0] is list else value._make(items)
    return value


def _arrays(slot: Slot, signature: Any) -> Iterator[tuple[Slot, Any]]:
    """Each array under a slot with its shape and dtype."""
    if signature is None:
        return
    if slot.kind is Kind.ARRAY:
        yield slot, signature
    elif slot.kind is Kind.RECORD:
        for field, each in zip(_record_slots(signature[0]).values(), signature[1:], strict=True):
            for inner, found in _arrays(field, each):
                yield inner._replace(name=f"{slot.name}.{inner.name}"), found
    else:
        for place, each in enumerate(signature[1:]):
            yield Slot(f"{slot.name}[{place}]", Kind.ARRAY, slot.options, False, slot.options[0]), each


def _check(where: str, slots: list[Slot], signature: tuple[Any, ...]) -> None:
    """Hold every array to its annotation; a name of a dimension means one size throughout."""
    sizes: dict[str, Any] = {}
    with jaxtyped("context"):
        for outer, of in zip(slots, signature, strict=True):
            for slot, (shape, dtype) in _arrays(outer, of):
                array = jax.ShapeDtypeStruct(shape, dtype)
                options = [option for option in slot.options if option is not int]
                if not any(option is jax.Array or isinstance(array, _any_array(option)) for option in options):
                    raise _refusal(where, slot, f"{dtype}{list(shape)}", sizes)
                for option in options:
                    sizes |= _sizes(option, shape)


@functools.cache
def _any_array(hint: Any) -> Any:
    """The annotation, of whatever has a shape and a dtype."""
    return hint.dtype[Any, hint.dim_str]


def _sizes(hint: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """The sizes that an array gives to the names of its annotation."""
    names = getattr(hint, "dim_str", "").split()
    variadic = next((place for place, name in enumerate(names) if name[0] in "*."), None)
    if variadic is None:
        return dict(zip(names, shape, strict=False))
    after = len(names) - variadic - 1
    end = len(shape) - after
    return {
        **dict(zip(names[:variadic], shape, strict=False)),
        names[variadic]: list(shape[variadic:end]),
        **dict(zip(names[variadic + 1 :], shape[end:], strict=False)),
    }


def _refusal(where: str, slot: Slot, found: str, sizes: dict[str, Any] | None = None) -> BitrowError:
    wanted = " or ".join(_declared(option) for option in slot.options)
    if slot.kind is Kind.SEQUENCE:
        wanted = f"a sequence of {wanted}"
    names = [name for option in slot.options for name in getattr(option, "dim_str", "").split()]
    known = [f"{name.replace('#', '')} = {sizes[name]}" for name in names if sizes and name in sizes and name != "..."]
    bound = f" with {', '.join(dict.fromkeys(known))}" if known else ""
    return BitrowError(f"{where} {slot.name}: found {found}, expected {wanted}{bound}{' or None' * slot.optional}")


def _declared(hint: Any) -> str:
    if hint is jax.Array:
        return "an array"
    if not _is_array(hint):
        return typed.expected(hint)
    dtype = hint.dtypes[0] if len(hint.dtypes) == 1 else hint.dtype.__name__.lower()
    return f"{dtype}[{', '.join(hint.dim_str.split())}]"
