"""The constants of a vector set's cases in languages that its own files are not in: Verilog-2001 and VHDL.

They say what a case's SystemVerilog package and C header say (SPEC.md V1), from the same list. No JAX is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bitrow.errors import BitrowError
from bitrow.export.folder import check_folder, write_folder
from bitrow.vectors.files import schema
from bitrow.vectors.files.check import check
from bitrow.vectors.files.emit import Constant, Enumeration, constants
from bitrow.vectors.files.hexfile import read_hex
from bitrow.vectors.files.schema import CaseEntry

_SAYS = "Constants of the vector case {}; hex file names are relative to its folder."


class Language(NamedTuple):
    """How a case's file is called, and what is in it."""

    suffix: str
    text: Callable[[CaseEntry, Mapping[str, int]], str]


def _numbered(parts: list[Constant | Enumeration]) -> Iterator[Constant]:
    """Every constant, an enumeration as a number for each member."""
    for part in parts:
        if isinstance(part, Enumeration):
            yield from (Constant(member, place) for place, member in enumerate(part.members))
        else:
            yield part


def verilog_header(case: CaseEntry, words: Mapping[str, int]) -> str:
    """`NAME.vh`: macros of Verilog-2001, named as those of the C header.

    Raises:
        BitrowError: as `emit.constants`.
    """
    prefix = case.name.upper()
    lines = [f"// {_SAYS.format(case.name)}", f"`ifndef BITROW_{prefix}_VH", f"`define BITROW_{prefix}_VH"]
    for part in _numbered(constants(case, words)):
        if part.enum_type:
            value = f"`{prefix}_{str(part.value).upper()}"
        elif isinstance(part.value, str):
            value = f'"{part.value}"'
        else:
            value = f"{part.width}'h{part.value:0{-(-part.width // 4)}x}" if part.width else str(part.value)
        lines.append(f"`define {prefix}_{part.name.upper()} {value}")
    return "\n".join([*lines, "`endif", ""])


def vhdl_package(case: CaseEntry, words: Mapping[str, int]) -> str:
    """`NAME_pkg.vhd`: a package of constants, VHDL-93 and later; words are vectors, members of enumerations numbers.

    Raises:
        BitrowError: as `emit.constants`.
    """
    lines = [
        f"-- {_SAYS.format(case.name)}",
        "library ieee;",
        "use ieee.std_logic_1164.all;",
        "",
        f"package {case.name}_pkg is",
    ]
    for part in _numbered(constants(case, words)):
        if part.enum_type:
            kind, value = "integer", str(part.value).upper()
        elif isinstance(part.value, str):
            kind, value = "string", f'"{part.value}"'
        elif part.width:
            kind, value = f"std_logic_vector({part.width - 1} downto 0)", _vector(part.value, part.width)
        else:
            kind, value = "integer", str(part.value)
        lines.append(f"  constant {part.name.upper()} : {kind} := {value};")
    return "\n".join([*lines, f"end package {case.name}_pkg;", ""])


def _vector(value: int, width: int) -> str:
    """Hex digits stand for four bits each."""
    return f'"{value:0{width}b}"' if width % 4 else f'x"{value:0{width // 4}x}"'


LANGUAGES = {"verilog": Language(".vh", verilog_header), "vhdl": Language("_pkg.vhd", vhdl_package)}


def _words(folder: Path, case: CaseEntry) -> dict[str, int]:
    """The word of each tensor that has only one."""
    found = {}
    for tensor in case.tensors:
        if tensor.count == 1:
            file = f"{case.name}/{schema.tensor_file(tensor.name)}"
            found[tensor.name] = int(read_hex(folder / file, tensor.encoding, 1, file)[0])
    return found


def export(vectors: Path, out: Path, language: str) -> list[str]:
    """Write a file for each case of the set `vectors` into a new folder, which appears whole or not at all.

    Returns:
        The files' names.

    Raises:
        BitrowError: no sound set, another language than `LANGUAGES`, a folder that is there or cannot be written.
    """
    if language not in LANGUAGES:
        raise BitrowError(f"language: found {language!r}, expected {' or '.join(LANGUAGES)}")
    check_folder(out)
    findings = check(vectors)
    if findings:
        raise BitrowError(f"{vectors}: found a set that is not sound, expected one that `verify` passes: {findings[0]}")
    suffix, text = LANGUAGES[language]
    cases = [schema.read_case_json(vectors, name) for name in schema.read_manifest(vectors).cases]
    texts = {f"{case.name}{suffix}": text(case, _words(vectors, case)) for case in cases}
    write_folder(out, texts)
    return list(texts)
