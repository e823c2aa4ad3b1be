"""docs/model_in_the_loop.md: the oracle judges a design's transactions while they happen, without JAX."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from versions import light

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/model_in_the_loop.md"
PYTHON = os.environ.get("BITROW_RTL_PYTHON", sys.executable)
LACKING = [name for name in ("iverilog", "vvp") if not shutil.which(name)]
if sys.executable == PYTHON and importlib.util.find_spec("cocotb") is None:
    LACKING.append("cocotb (extra rtl)")
needs_simulator = pytest.mark.skipif(bool(LACKING), reason=f"needs {' and '.join(LACKING)}")
FORBID = f"""
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {light.FORBIDDEN}:
            raise ImportError("forbidden: " + name)

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_scoreboard_passes_the_design() -> None:
    """SPEC.md M2: each transaction is judged, some at both ends of the register."""
    names = light.model(PAGE)
    assert light.judged(names, 300) == 300
    assert {-128, 127} <= {dot.expected() for dot in names["drawn"](1, 300)}


@pytest.mark.parametrize("fault", light.FAULTS)
def test_the_scoreboard_finds_a_fault(fault: str) -> None:
    """SPEC.md M2: at the first transaction that differs, with what the register should have held."""
    with pytest.raises(AssertionError, match=r"result \d+: found -?\d+, expected -?\d+: x .* register \["):
        light.judged(light.model(PAGE), 300, **light.FAULTS[fault])


def test_a_result_too_many_is_refused() -> None:
    board = light.model(PAGE)["Scoreboard"]()
    with pytest.raises(AssertionError, match="result 0: found 3, expected none"):
        board.seen(3)


def test_what_a_bench_needs_runs_without_jax(tmp_path: Path) -> None:
    """SPEC.md V1, V5: read, check, compare, judge, where an import of JAX, flax, optax and the like fails."""
    command = [sys.executable, "-c", FORBID, str(ROOT / "tests/versions/light.py"), str(ROOT / "golden/v1"), str(PAGE)]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "300 transactions judged" in done.stdout, done.stderr


def test_the_row_of_the_page(tmp_path: Path) -> None:
    """SPEC.md C1, V5: the page's lines of a convolution's row run without JAX, and say what stands below them."""
    lines, said = re.search(r"```python\n(import numpy.*?)```\n\n```\n(.*?)```", PAGE.read_text(), re.DOTALL).groups()  # type: ignore[union-attr]
    (tmp_path / "row.py").write_text(lines)
    command = [sys.executable, "-c", FORBID, str(tmp_path / "row.py")]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == said


def simulated(folder: Path, **changes: str) -> tuple[int, str]:
    for name, text in light.blocks(PAGE).items():
        for old, new in changes.items() if name == "mac.sv" else ():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / name).write_text(text)
    command = [PYTHON, "run_mac.py"]
    environment = {**os.environ, "SIM": "icarus", "COUNT": "40"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "ref"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@needs_simulator
def test_the_design_passes_under_a_simulator(tmp_path: Path) -> None:
    """SPEC.md M2: driver, monitors and scoreboard, with pauses on both sides."""
    status, log = simulated(tmp_path)
    assert status == 0 and "40 transactions" in log, log


@needs_simulator
def test_a_fault_fails_under_a_simulator(tmp_path: Path) -> None:
    """SPEC.md M2: a register that keeps the sum of the transaction before."""
    status, log = simulated(tmp_path, **{"x_last ? 0 : clamped": "clamped"})
    assert status == 1 and "AssertionError: result" in log, log
