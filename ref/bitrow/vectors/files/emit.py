"""A case's constants as a SystemVerilog package and as a C header (SPEC.md V1).

Both say the same: shapes, widths, depths, hex file names, the words of one-word parameters, and the
configuration, so that a bench or firmware needs no JSON parser. Standard library and numpy only.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bitrow.errors import BitrowError
from bitrow.reading import records
from bitrow.vectors.files.schema import SCHEMA, SPEC_VERSION, CaseEntry, TensorEntry, tensor_file


@dataclass(frozen=True)
class Constant:
    """A named integer, bit vector of `width`, text, or member of the enumeration `enum_type`."""

    name: str
    value: int | str
    width: int = 0
    enum_type: str = ""


@dataclass(frozen=True)
class Enumeration:
    """A configuration field with its possible values, numbered from 0."""

    name: str
    members: tuple[str, ...]


# What the numbers of a tuple are of.
_PARTS = {2: ("h", "w"), 4: ("top", "bottom", "left", "right")}


def _config_parts(prefix: str, value: Any) -> Iterator[Constant | Enumeration]:
    for field, part in records.written(value):
        name = f"{prefix}_{field}"
        if dataclasses.is_dataclass(part):
            yield from _config_parts(name, part)
        elif isinstance(part, enum.Enum):
            members = tuple(f"{name}_{member.value}" for member in type(part))
            yield Enumeration(name, members)
            yield Constant(name, f"{name}_{part.value}", enum_type=name)
        elif isinstance(part, tuple):
            yield from (Constant(f"{name}_{of}", one) for of, one in zip(_PARTS[len(part)], part, strict=True))
        else:
            # None is "the whole map" (A3), which no kernel size is
            yield Constant(name, 0 if part is None else int(part))


def _tensor_parts(tensor: TensorEntry, words: Mapping[str, int]) -> Iterator[Constant]:
    yield Constant(f"{tensor.name}_bits", tensor.encoding.word_bits)
    yield Constant(f"{tensor.name}_depth", tensor.count)
    for axis, size in zip(tensor.layout.split(), tensor.shape, strict=True):
        yield Constant(f"{tensor.name}_dim_{axis}", size)
    yield Constant(f"{tensor.name}_hex", tensor_file(tensor.name))
    if tensor.name in words:
        yield Constant(f"{tensor.name}_word", words[tensor.name], width=tensor.encoding.word_bits)


def constants(case: CaseEntry, words: Mapping[str, int]) -> list[Constant | Enumeration]:
    """Everything that both files declare; `words` holds the one word of each tensor that has only one.

    Raises:
        BitrowError: two of them would have the same name.
    """
    parts: list[Constant | Enumeration] = [
        Constant("schema", SCHEMA),
        Constant("spec_version", SPEC_VERSION),
        Constant("case_name", case.name),
        Constant("operation", case.operation),
        *_config_parts("config", case.config),
    ]
    for tensor in case.tensors:
        parts.extend(_tensor_parts(tensor, words))
    seen: set[str] = set()
    for part in parts:
        members = part.members if isinstance(part, Enumeration) else (part.name,)
        for name in (member.upper() for member in members):
            if name in seen:
                raise BitrowError(
                    f"{case.name}: found two constants {name}, expected tensor names that keep them apart"
                )
            seen.add(name)
    return parts


def system_verilog(case: CaseEntry, words: Mapping[str, int]) -> str:
    """`NAME_pkg.sv`: the package `NAME_pkg` of local parameters."""
    lines = [
        f"// Constants of the vector case {case.name}; hex file names are relative to its folder.",
        "/* verilator lint_off UNUSEDPARAM */",
        f"package {case.name}_pkg;",
    ]
    for part in constants(case, words):
        name = part.name.upper()
        if isinstance(part, Enumeration):
            members = ",\n".join(f"    {member.upper()} = {i}" for i, member in enumerate(part.members))
            lines.append(f"  typedef enum int {{\n{members}\n  }} {part.name}_e;")
        elif part.enum_type:
            # int, not the enumeration: some simulators have no parameters of such a type
            lines.append(f"  localparam int {name} = {str(part.value).upper()};")
        elif isinstance(part.value, str):
            # untyped: some simulators have no string parameters
            lines.append(f'  localparam {name} = "{part.value}";')
        elif part.width:
            digits = -(-part.width // 4)
            value = f"{part.width}'h{part.value:0{digits}x}"
            lines.append(f"  localparam logic [{part.width - 1}:0] {name} = {value};")
        else:
            lines.append(f"  localparam int {name} = {part.value};")
    return "\n".join([*lines, f"endpackage : {case.name}_pkg", "/* verilator lint_on UNUSEDPARAM */", ""])


def c_header(case: CaseEntry, words: Mapping[str, int]) -> str:
    """`NAME.h`: macros and enumerations, each name prefixed by the case's."""
    prefix = case.name.upper()
    guard = f"BITROW_{prefix}_H"
    lines = [
        f"/* Constants of the vector case {case.name}; hex file names are relative to its folder. */",
        f"#ifndef {guard}",
        f"#define {guard}",
    ]
    for part in constants(case, words):
        name = f"{prefix}_{part.name.upper()}"
        if isinstance(part, Enumeration):
            members = ",\n".join(
                f"    {prefix}_{member.upper()} = {i}" for i, member in enumerate(part.members)
            )
            lines.append(f"enum {case.name}_{part.name} {{\n{members}\n}};")
        elif part.enum_type:
            lines.append(f"#define {name} {prefix}_{str(part.value).upper()}")
        elif isinstance(part.value, str):
            lines.append(f'#define {name} "{part.value}"')
        elif part.width:
            lines.append(f"#define {name} 0x{part.value:0{-(-part.width // 4)}x}u")
        else:
            lines.append(f"#define {name} {part.value}u")
    return "\n".join([*lines, "#endif", ""])
