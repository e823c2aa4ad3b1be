"""Records: dataclasses as JSON and TOML hold them, written and strictly read as their fields are declared.

A record is an object of its fields in their order: enumerations by their values, tuples as lists, records as objects.
It begins with its type's name under "type", so that one of several can stand in a place, unless it is `Plain`. Its
structure is read here; what its values may be is its constructor's to say, of files as of arguments. Standard library
only.
"""

from __future__ import annotations

import enum
import functools
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any

from bitrow.errors import BitrowError

_MOST = 1 << 11  # records in a list: no file of ours has more, and refusing them takes no time


class Open:
    """A base of records, one of whose subclasses stands where it is declared."""


class Plain:
    """A base of records without "type": no other could stand in their place.

    A field that has a default may be left out of the object; one that is None is.
    """


_LATER = "later"


def later(default: Any) -> Any:
    """A field that came after records of its kind were written: at its default it is not, and may be missing."""
    return field(default=default, metadata={_LATER: True})


def written(record: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of the fields that are written of a record."""
    for name, declared in _declared(type(record)).items():
        value = getattr(record, name)
        if not (_is_later(declared) and value == declared.default):
            yield name, value


def write(value: Any) -> Any:
    """A record as JSON values; `read` gives back an equal one."""
    if isinstance(value, enum.Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        members = {name: write(member) for name, member in written(value)}
        if isinstance(value, Plain):
            return {name: member for name, member in members.items() if member is not None}
        return {"type": type(value).__name__, **members}
    if isinstance(value, tuple):
        return [write(item) for item in value]
    return value


def complete(kind: Any, value: Any) -> Any:
    """A record's object as `read` takes it, of one in which a person left out types and fields that have defaults."""
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {} if issubclass(kind, Plain) else {"type": kind.__name__}
    made |= value
    hints = _hints(kind)
    for name, declared in _declared(kind).items():
        if name in value:
            records = [option for option in _options(hints[name]) or (hints[name],) if is_dataclass(option)]
            made[name] = complete(records[0], value[name]) if len(records) == 1 else value[name]
        elif declared.default is not MISSING:
            made[name] = write(declared.default)
    return made


def read(kind: Any, value: Any, where: str, join: str = " ") -> Any:
    """The record of type `kind`, or of one of a union of types, that `write` wrote.

    Raises:
        BitrowError: naming `where` (a field of it after `join`): a field missing or unknown, an unknown type or member
            of an enumeration, a list of another length, or a value that the record refuses.
    """
    return _read(kind, value, where, join)


def _read(hint: Any, value: Any, path: str, join: str = ".") -> Any:
    origin = typing.get_origin(hint)
    options = _options(hint)
    if options:
        if value is None and type(None) in options:
            return None
        return _read(_choose(options, value, path), value, path, join)
    if origin is tuple:
        return _list(typing.get_args(hint), value, path)
    if origin is dict and not isinstance(value, dict):
        raise BitrowError(f"{path}: found {str(value)[:80]}, expected an object")
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _member(hint, value, path)
    return _record(hint, value, path, join) if is_dataclass(hint) else value


def _options(hint: Any) -> tuple[Any, ...]:
    """The types that may stand where `hint` is declared, () if it is one itself."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return tuple(kind for option in typing.get_args(hint) for kind in _options(option) or (option,))
    return tuple(hint.__subclasses__()) if isinstance(hint, type) and Open in hint.__bases__ else ()


def _choose(options: tuple[Any, ...], value: Any, path: str) -> Any:
    records: dict[str, Any] = {getattr(kind, "__name__", ""): kind for kind in options if is_dataclass(kind)}
    if not records:
        return next(kind for kind in options if kind is not type(None))
    if len(records) == 1 and issubclass(only := next(iter(records.values())), Plain):
        return only
    name = value.get("type") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in records:
        raise BitrowError(f"{path}: found {str(name)[:40]!r}, expected one of {', '.join(sorted(records))}")
    return records[name]


def _member(kind: type[enum.Enum], value: Any, path: str) -> enum.Enum:
    for member in kind:
        if type(value) is type(member.value) and value == member.value:
            return member
    raise BitrowError(f"{path}: found {value!r}, expected one of {', '.join(repr(member.value) for member in kind)}")


def _list(items: tuple[Any, ...], value: Any, path: str) -> Any:
    if not isinstance(value, list):
        raise BitrowError(f"{path}: found {str(value)[:80]}, expected a list")
    if items[-1] is not Ellipsis and len(value) != len(items):
        raise BitrowError(f"{path}: found {len(value)} items, expected {len(items)}")
    if not is_dataclass(items[0]):
        return value
    if len(value) > _MOST:
        raise BitrowError(f"{path}: found {len(value):,} items, expected at most {_MOST:,}")
    return tuple(_read(items[0], item, f"{path}[{place}]") for place, item in enumerate(value))


def _record(kind: Any, value: Any, path: str, join: str) -> Any:
    plain = issubclass(kind, Plain)
    if not isinstance(value, dict) or (not plain and value.get("type") != kind.__name__):
        raise BitrowError(f"{path}: found {str(value)[:40]!r}, expected a {kind.__name__}")
    declared = _declared(kind)
    for name in value:
        if name not in declared and (plain or name != "type"):
            raise BitrowError(f"{path}: found field {str(name)[:80]!r}, expected one of {', '.join(declared)}")
    for name, one in declared.items():
        if name not in value and not (_is_later(one) or (plain and one.default is not MISSING)):
            raise BitrowError(f"{path}: found no field {name!r}, expected one")
    hints = _hints(kind)
    members = {name: _read(hints[name], value[name], f"{path}{join}{name}") for name in declared if name in value}
    try:
        return kind(**members)
    except BitrowError as error:
        raise BitrowError(f"{path}: {error}") from None


def _declared(kind: Any) -> dict[str, Field[Any]]:
    return {one.name: one for one in fields(kind) if one.init}


def _is_later(declared: Field[Any]) -> bool:
    return _LATER in declared.metadata


_hints = functools.cache(typing.get_type_hints)
