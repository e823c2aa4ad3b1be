"""Values of the types that their annotations declare: taken as they are, converted exactly, or refused.

Standard library only. An enumeration's member may be given by its value, an int by any exact integer, a tuple by a
list: conversions that change nothing. A float is no int, an int no bool, and "no member" no member.
"""

from __future__ import annotations

import collections.abc
import enum
import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from bitrow.errors import BitrowError

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN = 60
_REFUSED = object()


def coerce_fields(record: Any, name: str) -> None:
    """Give every field of a frozen dataclass the type that its annotation declares.

    Raises:
        BitrowError: beginning with `name` and the field; a value of another type.
    """
    kind: Any = type(record)
    for field, hint in _fields(kind):
        value = getattr(record, field)
        if type(value) is not hint:
            object.__setattr__(record, field, coerce(f"{name} {field}", hint, value))


@functools.cache
def _fields(record: Any) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(record)
    return tuple((field.name, hints[field.name]) for field in fields(record) if field.init)


def arguments(function: F) -> F:
    """`function`, every argument of which must be of the type that its annotation declares.

    Raises:
        BitrowError: naming function and argument; a value of another type.
    """
    names = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        hints = _hints(function)
        given = [
            value if type(value) is hints[name] else coerce(f"{function.__qualname__} {name}", hints[name], value)
            for name, value in zip(names, args, strict=False)
        ]
        for name in kwargs.keys() & hints.keys():
            kwargs[name] = coerce(f"{function.__qualname__} {name}", hints[name], kwargs[name])
        return function(*given, *args[len(given) :], **kwargs)

    return typing.cast(F, checked)


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(function)
    return {name: hints.get(name, Any) for name in inspect.signature(function).parameters}


def coerce(where: str, hint: Any, value: Any) -> Any:
    """`value` as `hint` declares it. Only enumerations, int, bool, str, tuples, unions and classes are looked at.

    Raises:
        BitrowError: beginning with `where`; a value of another type.
    """
    found = _convert(hint, value)
    if found is _REFUSED:
        raise BitrowError(f"{where}: found {shown(value)}, expected {expected(hint)}")
    return found


def _convert(hint: Any, value: Any) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        found = (_convert(option, value) for option in typing.get_args(hint))
        return next((option for option in found if option is not _REFUSED), _REFUSED)
    if origin is tuple:
        return _convert_tuple(typing.get_args(hint), value)
    if origin is collections.abc.Callable:
        return value if callable(value) else _REFUSED
    if hint is float:
        return value if isinstance(value, numbers.Real) and not isinstance(value, bool) else _REFUSED
    if hint is int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return int(value) if whole else _REFUSED
    if isinstance(hint, type) and issubclass(hint, enum.Enum) and isinstance(value, str):
        return next((member for member in hint if member.value == value), _REFUSED)
    if isinstance(hint, type):
        return value if isinstance(value, hint) else _REFUSED
    return value


def _convert_tuple(items: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, tuple | list):
        return _REFUSED
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        return _REFUSED
    found = tuple(_convert(item, each) for item, each in zip(items, value, strict=True))
    return _REFUSED if any(each is _REFUSED for each in found) else found


def expected(hint: Any) -> str:
    """What `hint` declares, in words."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(expected(option) for option in typing.get_args(hint))
    if origin is collections.abc.Callable:
        return "a function"
    if origin is tuple:
        items = typing.get_args(hint)
        if items[-1] is Ellipsis:
            return f"a tuple, each item {expected(items[0])}"
        return f"a tuple of {len(items)}, each item {expected(items[0])}"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return f"one of {', '.join(str(member.value) for member in hint)}"
    return {int: "an int", float: "a number", bool: "True or False", str: "a str", type(None): "None"}.get(
        hint, str(getattr(hint, "__name__", hint))
    )


def shown(value: Any) -> str:
    """A value in a message: one line, not too long, and its type where the text does not tell it."""
    text = " ".join(repr(value).split())
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    plain = value is None or isinstance(value, bool | int | float | str | tuple | list | enum.Enum)
    return text if plain else f"{type(value).__name__} {text}"
