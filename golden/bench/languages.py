"""The constants of a set in languages beside SystemVerilog, given to the compilers that this machine has."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bitrow import tools
from bitrow.errors import BitrowError
from bitrow.export.constants import export

_MACRO = re.compile(r"^`define (\w+) .", re.M)


def _verilog(folder: Path, names: Sequence[str]) -> list[list[str]]:
    """One module that prints every macro: a macro is text until it is used."""
    macros = [name for file in names for name in _MACRO.findall((folder / file).read_text())]
    lines = [f'`include "{name}"' for name in names]
    lines += ["module bench;", "  initial begin", *(f"    $display(`{name});" for name in macros), "  end", "endmodule"]
    (folder / "bench.v").write_text("\n".join([*lines, ""]))
    return [["-g2001", "-Wall", "-t", "null", "bench.v"]]


def _vhdl(folder: Path, names: Sequence[str]) -> list[list[str]]:
    """All packages, by the oldest and the newest standard that they are written for."""
    return [["-a", f"--std={standard}", *names] for standard in ("93c", "08")]


class _Compiler(NamedTuple):
    """A program, what it reads, and the arguments of each call of it on files in a folder."""

    program: str
    language: str
    says: str
    calls: Callable[[Path, Sequence[str]], list[list[str]]]


_COMPILERS = (
    _Compiler("iverilog", "verilog", "Verilog-2001", _verilog),
    _Compiler("ghdl", "vhdl", "VHDL-93 and VHDL-2008", _vhdl),
)


def compiled(vectors: Path) -> Iterator[str]:
    """A line for each language: how many of a set's files its compiler takes, or that it is not there.

    Raises:
        BitrowError: the set is not sound; a compiler refuses a file, or warns of it.
    """
    for each in _COMPILERS:
        program = shutil.which(each.program)
        if program is None:
            yield f"{vectors} constants: {each.says} not compiled, found no {each.program} on the path"
            continue
        with tools.scratch("bitrow-constants-") as room:
            folder = room / each.language
            names = export(vectors, folder, each.language)
            for arguments in each.calls(folder, names):
                ended = tools.run([program, *arguments], folder=folder)
                told = (ended.errors + ended.said).strip()
                if ended.status or told:
                    reason = told.splitlines()[0] if told else f"exit status {ended.status}"
                    raise BitrowError(f"{vectors} constants: {each.program} says {reason}, expected nothing")
        yield f"{vectors} constants: {each.program} takes {len(names)} files of {each.says}"
