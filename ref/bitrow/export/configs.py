"""Layers' configurations as C structs: their fields, and a configuration's values for them."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bitrow.config import LayerConfig
from bitrow.errors import BitrowError
from bitrow.export.scalars import OVERFLOWS, ROUNDINGS
from bitrow.formats import AccOverflow, Accumulator, Flag, FlagMode, Float, FloatMode, Fxp, Tininess


class CField(NamedTuple):
    """A field of a struct: its C type, its name, how many of it."""

    type: str
    name: str
    many: int = 1

    @property
    def text(self) -> str:
        return f"{self.type} {self.name}{f'[{self.many}]' if self.many > 1 else ''};"


# What lies along a map's axes: rows and columns, or top, bottom, left and right. 0: the whole map's, the kernel.
_ALONG = {"kernel": 2, "stride": 2, "dilation": 2, "padding": 4}
_ABSENT = {"dilation": 1, "stride": 0, "padding": 0}


def mode_bits(mode: FloatMode) -> int:
    """A `FloatMode` as a bw_mode, a `FlagMode` with when a result is tiny."""
    tiny = list(Tininess).index(mode.tininess) << 5 if isinstance(mode, FlagMode) else 0
    return ROUNDINGS.index(mode.rounding) | OVERFLOWS.index(mode.overflow) << 3 | int(mode.flush) << 4 | tiny


def struct_of(kind: type) -> str:
    """The C type of an operation's configuration: a layer's struct, a mode, or a code format."""
    names = {FloatMode: "bw_mode", FlagMode: "bw_mode", Fxp: "bw_fxp"}
    return names.get(kind) or f"bw_{_snake(kind.__name__)}"


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _kind(kind: type[LayerConfig], name: str, hint: Any) -> CField:
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) or typing.get_origin(hint) else (hint,)
    many = [len(typing.get_args(each)) for each in members if typing.get_origin(each) is tuple]
    if name in _ALONG or many:
        return CField("int32_t", name, max([_ALONG.get(name, 0), *many]))
    known = {FloatMode: "bw_mode", Fxp: "bw_fxp", Accumulator: "bw_accumulator", Float: "int32_t", bool: "bool",
             int: "int32_t"}  # fmt: skip
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return CField("int32_t", name)
    if hint not in known:
        raise BitrowError(
            f"C: found the field {kind.__name__}.{name} of {hint}, expected one of {', '.join(map(str, known))}"
        )
    return CField(known[hint], name)


def fields(kind: type[LayerConfig]) -> tuple[CField, ...]:
    """The fields of a layer's struct; what has windows has all that windows have.

    Raises:
        BitrowError: a field of a type that has no C.
    """
    hints = typing.get_type_hints(kind)
    found = {each.name: _kind(kind, each.name, hints[each.name]) for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if "kernel" in found or "stride" in found:
        found |= {name: CField("int32_t", name, _ALONG[name]) for name in _ABSENT if name not in found}
    return tuple(found.values()) or (CField("int32_t", "unused"),)


def values(config: LayerConfig) -> dict[str, Any]:
    """A configuration's values by field: numbers, tuples of numbers, or dicts of a struct's."""
    return {field.name: _value(getattr(config, field.name, _ABSENT.get(field.name, 0)), field.many)
            for field in fields(type(config))}  # fmt: skip


def _value(value: Any, count: int) -> Any:
    if count > 1:
        several = value if isinstance(value, tuple) else (value or 0,) * count
        return tuple(int(each) for each in several)
    match value:
        case FloatMode():
            return mode_bits(value)
        case Fxp():
            return {"low": value.min, "high": value.max}
        case Accumulator():
            return {"bits": value.bits, "overflow": list(AccOverflow).index(value.overflow)}
        case Float():
            return value.bits
        case enum.Enum():
            return list(type(value)).index(value)
    return int(value)


def literal(value: Any) -> str:
    """Values as a C initializer."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f".{name} = {literal(each)}" for name, each in value.items()) + "}"
    return "{" + ", ".join(map(str, value)) + "}" if isinstance(value, tuple) else str(value)


def enumerations(kinds: tuple[type[LayerConfig], ...]) -> Iterator[str]:
    """The enumerations that configurations have, as C."""
    members = ", ".join(f"BW_{each.name} = {place}" for place, each in enumerate(ROUNDINGS))
    flags = ", ".join(f"BW_{flag.name} = {int(flag)}" for flag in Flag)
    yield "/* A mode: a rounding of FP16 results (F3), and as wanted BW_SATURATE (F6), BW_FLUSH (F5), and for flags " \
          "BW_TINY_BEFORE (F13). */"
    yield f"typedef uint32_t bw_mode;\nenum {{ {members}, BW_SATURATE = 8, BW_FLUSH = 16, BW_TINY_BEFORE = 32 }};"
    yield f"/* Words of flags (F11). */\nenum {{ {flags} }};"
    hints = {hint for kind in kinds for hint in typing.get_type_hints(kind).values()} | {AccOverflow}
    for each in sorted(
        (h for h in hints if isinstance(h, type) and issubclass(h, enum.Enum)), key=lambda e: e.__name__
    ):
        prefix = "ACC" if each is AccOverflow else _snake(each.__name__).upper()
        listed = ", ".join(f"BW_{prefix}_{member.name} = {place}" for place, member in enumerate(each))
        yield f"enum {{ {listed} }};"


def structs(kinds: tuple[type[LayerConfig], ...]) -> Iterator[str]:
    """The layers' structs, as C."""
    for kind in kinds:
        listed = "\n".join(f"    {field.text}" for field in fields(kind))
        yield f"/* {kind.label} */\ntypedef struct {{\n{listed}\n}} {struct_of(kind)};"
