"""Simulators of SystemVerilog that this machine has, and a bench that runs the package's functions in one of them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bitrow import tools

if TYPE_CHECKING:
    from bitrow.export.hardware import SvWord


VERILATOR = tools.verilator()
BUILDS = VERILATOR is not None and shutil.which("make") and shutil.which("c++")
FOUND = [name for name, there in (("iverilog", shutil.which("iverilog") and shutil.which("vvp")), ("verilator", BUILDS))
         if there]  # fmt: skip
_THERE = pytest.mark.skipif(not FOUND, reason="needs iverilog, or verilator with make and c++")


def needs_simulator(test: Callable[..., None]) -> Callable[..., None]:
    """Iverilog, or Verilator, whose C++ takes tens of seconds to compile: then it is for `make slow`."""
    return _THERE(pytest.mark.slow(test) if FOUND == ["verilator"] else test)


needs_verilator = pytest.mark.skipif(not BUILDS, reason="needs verilator (extra rtl) with make and c++")
needs_lint = pytest.mark.skipif(VERILATOR is None, reason="needs verilator (extra rtl)")
needs_yosys = pytest.mark.skipif(not shutil.which("yosys"), reason="needs yosys")


@pytest.fixture(scope="session")
def sv_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `bitrow export sv`, printed once for all tests of a run."""
    from bitrow.export.files import export_hardware

    base = tmp_path_factory.getbasetemp()
    parent = base.parent if base.name.startswith("popen-") else base
    with open(parent / "sv_files.lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (parent / "sv_files").exists():
            export_hardware(parent / "sv_files")
    return parent / "sv_files"


def run(folder: Path, *command: str | Path, status: int = 0, **environment: str) -> str:
    """What a command printed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == status, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def lint(folder: Path, *arguments: str | Path) -> str:
    """What Verilator says with every warning on."""
    assert VERILATOR is not None
    return run(folder, VERILATOR.program, "--lint-only", "-Wall", *arguments, **VERILATOR.environment)


def simulate(tool: str, folder: Path, *files: str | Path) -> str:
    """Compile files of which the last has the module `bench`, and run it in `folder`."""
    if tool == "iverilog":
        run(folder, "iverilog", "-g2012", "-Wall", "-s", "bench", "-o", "bench.vvp", *files)
        return run(folder, "vvp", "-n", "bench.vvp")
    assert VERILATOR is not None
    options = ["-CFLAGS", "-std=c++20 -O1", *tools.VERILATOR_FLAGS]
    program, environment = VERILATOR
    run(folder, program, "--binary", *options, "--top-module", "bench", *files, **environment)
    return run(folder, folder / "obj_dir" / "Vbench")


def arguments(word: SvWord) -> list[tuple[str, int]]:
    """Names and widths in the order of a call."""
    return [*([("mode", 6)] if word.moded else []), *((port.name, port.width) for port in word.ports)]


def write_rows(path: Path, word: SvWord, operands: list[np.ndarray]) -> int:
    """A row of hex digits for each call, its arguments side by side; the bits of a row."""
    rows, bits = np.zeros(operands[0].size, object), 0
    for (_, width), values in zip(arguments(word), operands, strict=True):
        rows = (rows << width) | (values & ((1 << width) - 1)).astype(object)
        bits += width
    path.write_text("".join(f"{row:0{-(-bits // 4)}x}\n" for row in rows))
    return bits


def called(word: SvWord, row: str) -> str:
    """The call of a function on the fields of a row."""
    above, parts = sum(width for _, width in arguments(word)), []
    for _, width in arguments(word):
        parts.append(f"{row}[{above - 1}:{above - width}]" if width > 1 else f"{row}[{above - 1}]")
        above -= width
    return f"bw_{word.name}({', '.join(parts)})"


def bench(folder: Path, given: dict[SvWord, list[np.ndarray]]) -> Path:
    """A bench that writes NAME.out, a word of hex a line, for each function and its operands."""
    declared, steps = [], []
    for word, operands in given.items():
        name, count = word.name, operands[0].size
        bits = write_rows(folder / f"{name}.rows", word, operands)
        declared.append(f"  logic [{bits - 1}:0] rows_{name} [0:{count - 1}];\n  logic [{bits - 1}:0] row_{name};")
        steps.append(f"""    $readmemh("{name}.rows", rows_{name});
    out = $fopen("{name}.out", "w");
    for (i = 0; i < {count}; i = i + 1) begin
      row_{name} = rows_{name}[i];
      $fdisplay(out, "%h", {called(word, f"row_{name}")});
    end
    $fclose(out);
""")
    path = folder / "bench.sv"
    path.write_text("module bench;\n  import bitrow_pkg::*;\n  integer i, out;\n" + "\n".join(declared)
                    + "\n  initial begin\n" + "".join(steps) + "    $finish;\n  end\nendmodule\n")  # fmt: skip
    return path


def results(folder: Path, word: SvWord) -> np.ndarray:
    """What the bench wrote, signed where the function's result is."""
    found = np.array([int(line, 16) for line in (folder / f"{word.name}.out").read_text().split()], np.int64)
    width = word.result.width
    return found - (found >> (width - 1) << width) if word.result.signed else found
