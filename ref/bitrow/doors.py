"""The doors of the kernels: arrays of the dtype, rank and shape that the annotations declare, or a refusal.

`guard(__name__)`, the last line of a module, puts a door before each of its public functions. What is checked is what
the annotations say (jaxtyping's, read once), on abstract values alone: eagerly, while tracing, under `vmap` and
`shard_map`, and never in a compiled program. Each combination of shapes and dtypes is checked once and remembered;
what a kernel calls in its turn is not checked again.

A numpy array is taken as the JAX array of its dtype. A Python scalar is taken where the annotated dtype holds it
exactly, and refused where it would have to be rounded: `fp16.add(x, 0.5)`, but not `fp16.add(x, 0.1)`.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import jaxtyped

from bitrow.door_slots import Slot, foreign, ready, slots

_REMEMBERED = 4096  # combinations of shapes and dtypes, for each function


class _Inside(threading.local):
    """Whether this thread is behind a door already."""

    now = False


_inside = _Inside()


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
    where = f"{function.__module__.rpartition('.')[2]}.{function.__name__} "
    known: dict[str, Slot] = {}  # filled by the first call, when every annotation's name is defined

    @functools.lru_cache(_REMEMBERED)
    def check(names: tuple[str, ...], traces: tuple[Any, ...]) -> bool:
        _check(where, [known[name] for name in names], traces)
        return any(map(foreign, traces))

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if _inside.now:
            return function(*args, **kwargs)
        if not known:
            known.update((slot.name, slot) for slot in slots(inspect.unwrap(function)))
        if len(args) > len(known) or (kwargs and not kwargs.keys() <= known.keys()):
            return function(*args, **kwargs)  # a TypeError of Python's own
        names, values = (*tuple(known)[: len(args)], *kwargs), (*args, *kwargs.values())
        seen = [known[name].admit(where, value) for name, value in zip(names, values, strict=True)]
        values = tuple([value for value, _ in seen])
        if check(names, tuple([trace for _, trace in seen])):
            values = tuple([ready(*each) for each in seen])
        named = dict(zip(kwargs, values[len(args) :], strict=True))
        _inside.now = True
        try:
            return function(*values[: len(args)], **named)
        finally:
            _inside.now = False

    return guarded


def _check(where: str, outer: list[Slot], traces: tuple[Any, ...]) -> None:
    """Hold every array to its annotation; a name of a dimension means one size throughout."""
    sizes: dict[str, Any] = {}
    with jaxtyped("context"):
        for slot, (shape, dtype) in (found for each, trace in zip(outer, traces, strict=True)
                                     for found in each.arrays(trace)):  # fmt: skip
            array = jax.ShapeDtypeStruct(shape, dtype)
            options = [option for option in slot.options if option is not int]
            if not any(option is jax.Array or isinstance(array, _any_array(option)) for option in options):
                raise slot.refusal(where, f"{dtype}{list(shape)}", sizes)
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
    end = len(shape) - (len(names) - variadic - 1)
    before, after = zip(names, shape[:variadic], strict=False), zip(names[variadic + 1 :], shape[end:], strict=False)
    return dict(before) | {names[variadic]: list(shape[variadic:end])} | dict(after)
