"""A network description as JSON and back: frozen values by type name and fields. Standard library only."""

from __future__ import annotations

import enum
import functools
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

from bitrow.errors import BitrowError
from bitrow.graph import MOST_LAYERS, Network


def to_json(network: Network) -> dict[str, Any]:
    """The network as JSON values; `from_json` gives back an equal network."""
    return _encode(network)


def from_json(where: str, value: Any) -> Network:
    """The network that `to_json` wrote.

    Raises:
        BitrowError: naming `where` and the field; a field missing, unknown or of the wrong type, an unknown
            layer or enumeration value, or a network that `Network` refuses.
    """
    try:
        return _decode(Network, value, "network")
    except BitrowError as error:
        raise BitrowError(f"{where}: {error}") from None


def _encode(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if is_dataclass(value):
        members = {f.name: _encode(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"type": type(value).__name__, **members}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


def _decode(hint: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _decode(_choose(typing.get_args(hint), value, path), value, path)
    if origin is tuple:
        return _decode_tuple(typing.get_args(hint), value, path)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        allowed = [member.value for member in hint]
        if value not in allowed:
            raise BitrowError(f"{path}: found {value!r}, expected one of {', '.join(allowed)}")
        return hint(value)
    if is_dataclass(hint):
        return _decode_record(hint, value, path)
    if type(value) is not hint:
        raise BitrowError(f"{path}: found {value!r}, expected {getattr(hint, '__name__', hint)}")
    return value


def _choose(options: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in options:
        return type(None)
    records: dict[str, Any] = {o.__name__: o for o in options if isinstance(o, type) and is_dataclass(o)}
    if not records:
        return next(option for option in options if option is not type(None))
    name = value.get("type") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in records:
        raise BitrowError(f"{path}: found {name!r}, expected one of {', '.join(records)}")
    return records[name]


def _decode_tuple(items: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise BitrowError(f"{path}: found {value!r}, expected a list")
    if items[-1] is Ellipsis and len(value) > MOST_LAYERS:
        raise BitrowError(f"{path}: found {len(value):,} items, expected at most {MOST_LAYERS:,}")
    if items[-1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise BitrowError(f"{path}: found {len(value)} items, expected {len(items)}")
    return tuple(_decode(items[i], item, f"{path}[{i}]") for i, item in enumerate(value))


_hints = functools.cache(typing.get_type_hints)


def _decode_record(record: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict) or value.get("type") != record.__name__:
        raise BitrowError(f"{path}: found {str(value)[:40]!r}, expected a {record.__name__}")
    hints = _hints(record)
    names = [f.name for f in fields(record) if f.init]
    for name in value:
        if name != "type" and name not in names:
            raise BitrowError(f"{path}.{name}: found this field, expected {', '.join(names)}")
    for name in names:
        if name not in value:
            raise BitrowError(f"{path}.{name}: found no such field, expected one")
    members = {name: _decode(hints[name], value[name], f"{path}.{name}") for name in names}
    try:
        return record(**members)
    except BitrowError as error:
        raise BitrowError(f"{path}: {error}") from None
