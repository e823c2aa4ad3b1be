"""The command line: what it prints, its exit status, one line for every error (SPEC.md V1 to V5)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from bitrow import cli
from bitrow.config import ConvConfig
from bitrow.formats import Fxp
from bitrow.vectors import taken_up
from bitrow.vectors.files import hexfile, store
from test_vectors_store_check import SEALED, UNSEALED, seal, words
from vectors_samples import conv_case, frozen_case, write

UNIT = "fp16_add_nearest_even"


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    config = ConvConfig(padding=1, weight_format=Fxp(4, narrow=True))
    return write(tmp_path / "set", conv_case(config=config, bias=True), frozen_case())


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run a command in this process: its exit status, what it printed, and the lines of its error."""

    def command(*arguments: object) -> tuple[int, str, list[str]]:
        try:
            status = cli.run([str(argument) for argument in arguments])
        except SystemExit as leave:
            status = int(leave.code or 0)
        done = capsys.readouterr()
        return status, done.out, done.err.splitlines()

    return command


def finish(*arguments: object, stdout: int | IO[str] = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, to its end."""
    command = [sys.executable, "-m", "bitrow", *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


def assert_refused(result: tuple[int, str, list[str]], text: str, status: int = 2) -> None:
    """One clear line on standard error, and an exit status that is not zero."""
    assert result[0] == status, result
    assert len(result[2]) == 1 and result[2][0].startswith("bitrow: ") and text in result[2][0], result[2]
    assert "Traceback" not in result[1] + result[2][0]


def test_a_set_is_made_and_verified(tmp_path: Path, run) -> None:
    """SPEC.md V4, V5: generate writes a sound set, and verify recomputes every value of it."""
    out = tmp_path / "set"
    status, printed, errors = run(
        "generate", "--out", out, "--suite", UNIT, "--suite", "fxp_pack_fxp4", "--seed", 3
    )
    assert (status, errors) == (0, []) and UNIT in printed and "every word agreed" in printed
    assert store.case_names(out) == [UNIT, "fxp_pack_fxp4"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["seed"] == 3 and manifest["coverage"]
    assert run("verify", out) == (0, f"{out}: 2 cases, every value recomputed and the same\n", [])
    assert run("verify", out, "--no-recompute")[0] == 0
    assert_refused(run("generate", "--out", out, "--suite", UNIT), "use --force to replace")
    status, printed, errors = run("generate", "--out", out, "--suite", UNIT, "--force", "--quiet")
    assert (status, printed, errors) == (0, "", []) and store.case_names(out) == [UNIT]


def test_a_wrong_value_is_found_by_recomputing(tmp_path: Path, run) -> None:
    """SPEC.md V5: a word that has its checksum but is not the contract's: exit 1, case and tap named."""
    out, report = tmp_path / "set", tmp_path / "report.json"
    assert run("generate", "--out", out, "--suite", UNIT, "--quiet")[0] == 0
    golden = int(store.read_case(out, UNIT).tensor("y").data[5])
    words(UNIT, "y", 5, golden ^ 1)(out)
    seal(out)
    assert run("verify", out, "--no-recompute")[0] == 0
    status, printed, errors = run("verify", out, "--json", report)
    assert status == 1 and len(errors) == 1 and "1 tensors differ from their recomputation" in errors[0]
    assert f"{UNIT} y" in printed
    assert len(json.loads(report.read_text())["mismatches"]) == 1


@pytest.mark.parametrize("kind", [*SEALED, *UNSEALED])
def test_bad_sets(vectors: Path, run, kind: str) -> None:
    """SPEC.md V1 to V4: every kind of bad set gives one line and status 2, with and without recomputation."""
    edit, message = {**SEALED, **UNSEALED}[kind]
    edit(vectors)
    if kind in SEALED and kind not in UNSEALED:
        seal(vectors)
    assert_refused(run("verify", vectors, "--no-recompute"), message.split(": found", 1)[0][:20])
    assert_refused(run("verify", vectors), message[:20])
    assert_refused(run("verify", vectors, "--dut", vectors), message[:20])


def test_findings_as_json(vectors: Path, tmp_path: Path, run) -> None:
    """SPEC.md V4: all findings are in the report, the first in the line."""
    for name in ("conv/x.hex", "frozen/y.hex"):
        (vectors / name).write_text("zz\n")
    report = tmp_path / "report.json"
    assert_refused(run("verify", vectors, "--json", report), "(and 1 more findings)")
    assert len(json.loads(report.read_text())["findings"]) == 2


USAGE = {
    "no command": (["frobnicate"], "No such command 'frobnicate'"),
    "no set": (["verify"], "Missing argument 'DIR'"),
    "no option": (["verify", "x", "--fast"], "No such option"),
    "no out": (["generate"], "Missing option '--out'"),
    "seed": (["generate", "--out", "x", "--seed", "-1"], "Invalid value for '--seed'"),
    "set nowhere": (
        ["verify", "/nowhere/set"],
        "/nowhere/set: found nothing, expected the folder of a vector set",
    ),
    "word": (["inspect", "0xhello"], "found neither a file nor a word"),
    "word too long": (["inspect", "0x123456789"], "expected 1 to 8 hex digits"),
    "format": (["inspect", "3c01", "--as", "fp8"], "found 'fp8', expected fp16"),
    "too wide": (["inspect", "123c01", "--as", "fp16"], "more than 16 bits"),
    "folder": (["inspect", "/"], "found a folder"),
    "parent": (["generate", "--out", "/nowhere/set"], "found no folder /nowhere"),
    "root": (["generate", "--out", "/"], "found the root folder"),
}


@pytest.mark.parametrize("kind", USAGE)
def test_bad_usage(run, kind: str) -> None:
    """SPEC.md V5: wrong arguments give one line and status 2."""
    arguments, message = USAGE[kind]
    assert_refused(run(*arguments), message)


@pytest.mark.parametrize("name", ["no_such_case", "resnet8_digits_9_x", "../x"])
def test_unknown_suites_and_networks(tmp_path: Path, run, name: str) -> None:
    """SPEC.md V5: nothing is begun for a suite, case or network that there is none of."""
    assert_refused(run("generate", "--out", tmp_path / "set", "--suite", name), name)
    assert_refused(run("generate", "--out", tmp_path / "set", "--network", name), name)
    assert list(tmp_path.iterdir()) == []


def test_help(run) -> None:
    """SPEC.md V1: no command shows the commands; --help of each says what it does."""
    status, _, errors = run()
    assert status == 2 and "Golden vectors:" in errors
    for command in ([], ["generate"], ["verify"], ["inspect"]):
        status, printed, errors = run(*command, "--help")
        assert (status, errors) == (0, []) and "Usage: bitrow" in printed
    assert run("--version")[1].startswith("bitrow, version ")


def dump(folder: Path, case, name: str, data: np.ndarray) -> None:
    (folder / case.name).mkdir(parents=True, exist_ok=True)
    text = b"".join(hexfile.hex_chunks(np.asarray(data), case.tensor(name).encoding))
    (folder / case.name / f"{name}.hex").write_bytes(text)


def test_comparing_a_design(vectors: Path, tmp_path: Path, run) -> None:
    """SPEC.md T1: --dut exits 0 where all dumps agree, else 1 with place, words, distance and diagnosis."""
    out, report = tmp_path / "out", tmp_path / "report.json"
    frozen = frozen_case()
    dump(out, frozen, "z", frozen.tensor("z").data)
    status, printed, errors = run("verify", vectors, "--dut", out)
    assert (status, errors) == (0, []) and "frozen: 1 tensors, 120 words match" in printed
    assert "not dumped: conv" in printed
    dump(out, frozen, "z", frozen.tensor("z").data ^ 0x8000)
    status, printed, errors = run("verify", vectors, "--dut", out, "--json", report)
    assert status == 1 and len(errors) == 1 and "1 of 1 cases differ" in errors[0]
    assert "frozen z element 0 (row n=0 h=0, column 0, channel 0): found 0x" in printed
    assert "would match with the sign of each word turned" in printed
    content = json.loads(report.read_text())["dut"]
    assert not content["matches"] and content["cases"][0]["diagnosis"]["explained"]
    status, printed, _ = run("verify", vectors, "--dut", out, "--json", "-")
    assert status == 1 and json.loads(printed)["dut"] == content


def test_comparing_for_ci(vectors: Path, tmp_path: Path, run) -> None:
    """SPEC.md T1: a bad file, wrong words and a required case are all told; 2 before 1, both reports written."""
    out, report, junit = tmp_path / "out", tmp_path / "report.json", tmp_path / "report.xml"
    frozen = frozen_case()
    dump(out, frozen, "z", frozen.tensor("z").data)
    common = ("verify", vectors, "--dut", out, "--json", report, "--junit", junit, "--require")
    assert run(*common, "frozen")[::2] == (0, [])
    status, printed, errors = run(*common, "all")
    assert status == 1 and errors[0].endswith("1 required cases are not dumped: conv")
    assert "frozen: 1 tensors" in printed
    dump(out, frozen, "z", frozen.tensor("z").data ^ 0x8000)
    (out / "stray.hex").write_text("0000\n")
    status, printed, errors = run(*common, "conv")
    assert status == 2 and len(errors) == 1 and "stray.hex: found a hex file of no case" in errors[0]
    assert "1 of 1 cases differ" in errors[0] and "required cases are not dumped: conv" in errors[0]
    assert "would match with the sign of each word turned" in printed and "frozen z: differs every word" in printed
    content = json.loads(report.read_text())["dut"]
    assert content["lacking"] == ["conv"] and len(content["unread"]) == 1 and not content["matches"]
    assert 'failures="2" errors="1"' in junit.read_text()
    assert_refused(run("verify", vectors, "--require", "all"), "--require: found no --dut")
    assert_refused(run(*common, "cnov"), "require: found 'cnov', expected all or a case of the set")
    inside = run("verify", vectors, "--dut", out, "--junit", vectors / "conv" / "y.hex")
    assert_refused(inside, "which is read or part of")


@pytest.mark.parametrize("text", ["zzzz\n", "0000\n", "3c01 " * 119, "123456 " * 120, ""])
def test_bad_dumps(vectors: Path, tmp_path: Path, run, text: str) -> None:
    """SPEC.md V2: a dump that cannot be one is bad input, not a mismatch."""
    (tmp_path / "out" / "frozen").mkdir(parents=True)
    (tmp_path / "out" / "frozen" / "z.hex").write_text(text)
    assert_refused(run("verify", vectors, "--dut", tmp_path / "out"), "frozen/z.hex")
    assert_refused(run("verify", vectors, "--dut", tmp_path / "none"), "found nothing")


def test_inspecting_words_and_files(vectors: Path, run) -> None:
    """SPEC.md F1, F7, Q5: a word as FP16 with neighbours and nibbles, a file with count and classes."""
    status, printed, errors = run("inspect", "0x3c01")
    assert (status, errors) == (0, []) and printed.splitlines() == [
        "0x3c01 as FP16",
        "  sign 0, exponent 01111 (15, 2^0), fraction 0000000001 (0x1)",
        "  class normal",
        "  value 1.0009765625",
        "  hex float 0x1.004p+0",
        "  ulp 0.0009765625 (2^-10)",
        "  next toward zero 0x3c00 (1)",
        "  next away from zero 0x3c02 (1.001953125)",
        "  as FXP4 nibbles, low first: 1, 0, -4, 3",
    ]
    assert run("inspect", "16'h8000")[1].splitlines()[2:4] == ["  class zero", "  value -0"]
    assert "class subnormal" in run("inspect", "0001")[1] and "class NaN" in run("inspect", "7e01")[1]
    assert "value -inf" in run("inspect", "fc00")[1] and "as FXP4: -8" in run("inspect", "8")[1]
    assert "as UFXP4 nibbles, low first: 8, 15" in run("inspect", "f8", "--as", "ufxp4")[1]
    assert "of 24 bits: -1" in run("inspect", "ffffff", "--as", "int24")[1]
    assert "value 1.10000002384185791015625" in run("inspect", "3f8ccccd")[1]
    lines = run("inspect", vectors / "frozen" / "z.hex")[1].splitlines()
    assert (
        lines[0].endswith("z.hex: 120 words of 16 bits, fp16")
        and lines[1] == "  output z, 2 x 3 x 5 x 4 [n h w c]"
    )
    z = frozen_case().tensor("z").data
    assert f"NaN {int(((z & 0x7FFF) > 0x7C00).sum())}, negative {int((z >> 15).sum())}" in lines[2]
    assert "-7: " in run("inspect", vectors / "conv" / "weight_code.hex")[1]
    assert_refused(run("inspect", vectors / "manifest.json"), "non-hex word")


BLOCKED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax", "optax"):
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Refuse())
from bitrow.cli import main
main(sys.argv[1:])
"""


def test_reading_commands_need_no_jax(vectors: Path) -> None:
    """SPEC.md V1: help, inspect, verify --no-recompute and verify --dut run where JAX is not installed."""
    commands = (
        ["--help"],
        ["prove", "claims", "--help"],
        ["transfer", "--help"],
        ["inspect", "3c01"],
        ["verify", vectors, "--no-recompute"],
        ["verify", vectors, "--dut", vectors],
    )
    for arguments in commands:
        command = [sys.executable, "-c", BLOCKED, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), arguments


NEED_JAX = (
    ["verify", "SET"], ["verify", "SET", "--model", "c"], ["generate", "--out", "OUT"], ["export", "c", "OUT"],
    ["import", "SET", "--out", "OUT"], ["pipeline", "resnet8"], ["explore", "resnet8"], ["ablate"],
    ["transfer", "--out", "OUT"],
    ["prove", "claims", "--quick"], ["prove", "mutants"], ["prove", "certificates", "resnet8"], ["certify"],
)  # fmt: skip
EACH = BLOCKED.replace("import main\nmain(sys.argv[1:])", "import run\nimport json") + """
for arguments in json.loads(sys.argv[1]):
    print(run(arguments), flush=True)
"""


def test_a_command_that_needs_jax_names_the_extra(vectors: Path, tmp_path: Path) -> None:
    """SPEC.md V5: one line, 2, and nothing is written."""
    places = {"SET": str(vectors), "OUT": str(tmp_path / "out")}
    asked = [[places.get(word, word) for word in command] for command in NEED_JAX]
    command = [sys.executable, "-c", EACH, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = "bitrow: jax: found no jax, expected it installed: pip install 'bitrow[jax]'"
    assert done.stderr.splitlines() == [line] * len(asked), done.stderr
    assert done.stdout.split() == ["2"] * len(asked) and list(tmp_path.iterdir()) == [vectors]


def test_every_failure_is_one_line(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md V5: whatever goes wrong inside, no traceback unless it is asked for."""

    def fail(error: BaseException):
        def raiser(*_: object) -> None:
            raise error

        monkeypatch.setattr("bitrow.vectors.files.inspect.inspect_lines", raiser)
        return run("inspect", "3c01")

    assert_refused(fail(RuntimeError("two\nlines")), "defect: RuntimeError: two lines", status=3)
    assert_refused(fail(OSError(28, "No space left on device", "x.hex")), "x.hex: No space left on device")
    assert_refused(fail(MemoryError()), "not enough memory")
    assert_refused(fail(KeyboardInterrupt()), "interrupted", status=130)
    monkeypatch.setenv("BITROW_DEBUG", "1")
    assert any("Traceback" in line for line in fail(RuntimeError("x"))[2])


def test_output_that_cannot_be_written(vectors: Path, tmp_path: Path) -> None:
    """SPEC.md V5: a full disk and a closed pipe behind standard output end without a traceback."""
    hex_file = str(vectors / "conv" / "x.hex")
    with Path("/dev/full").open("w") as full:
        done = finish("inspect", hex_file, stdout=full)
    assert (done.returncode, done.stderr) == (2, "bitrow: No space left on device\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = finish("inspect", hex_file, stdout=writer)
    os.close(writer)
    assert done.returncode != 0 and done.stderr == ""
    done = finish("verify", vectors, "--no-recompute", "--json", tmp_path / "no" / "report.json")
    assert done.returncode == 2 and "no/report.json: cannot be written" in done.stderr


@pytest.mark.parametrize("how", [
    signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
])  # fmt: skip
def test_stopping_generate(tmp_path: Path, how: signal.Signals) -> None:
    """SPEC.md V5: stopped in mid-write, nothing appears and an old set stays, beside it what was judged; the next run
    cleans up."""
    out = write(tmp_path / "set", frozen_case())
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    command = [sys.executable, "-m", "bitrow", "generate", "--out", str(out), "--suite", "smoke", "--force"]
    # a shell starts background jobs with interrupts ignored, and children inherit that; a handler they do not
    before_start = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before_start)
    with process:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob(".set.bitrow-partial-*/*/case.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(how)
        _, errors = process.communicate()
    expected = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[how]
    assert process.returncode == expected and "Traceback" not in errors
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert (how is signal.SIGKILL) == bool(list(tmp_path.glob(".set.bitrow-partial-*")))
    write(out, conv_case(), force=True)
    kept = taken_up._place(out, "cases").name
    assert {p.name for p in tmp_path.iterdir()} - {f".{kept}.lock"} == {"set", kept}
