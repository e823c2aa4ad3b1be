"""What `bitrow prove rtl` cannot take is one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import rtl_samples
from bitrow import tools
from bitrow.errors import BitrowError
from bitrow.proofs.rtl import solvers, yosys
from rtl_samples import FOLDER
from rtl_tools import FILES, needs_tools, prove

pytest.importorskip("z3", reason="needs z3 (extra proofs)")


def test_without_tools_one_line_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(yosys.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BitrowError, match=r"yosys: found none, expected it installed: pip install 'bitrow\[rtl\]'"):
        yosys.command()
    with pytest.raises(BitrowError, match="solver: found neither bitwuzla nor z3"):
        solvers.installed()
    assert tools.verilator() is None


BROKEN = "module broken (input logic [15:0] a, output logic [15:0] y);\n  assign y = a +;\nendmodule\n"
LATCH = """module latch (input logic en, input logic [15:0] a, b, output logic [15:0] y);
  always_latch if (en) y = a;
endmodule
"""
TWO = """module two (input logic clk, other, input logic [15:0] a, b, output logic [15:0] y);
  logic [15:0] s;
  always_ff @(posedge clk) s <= a;
  always_ff @(posedge other) y <= s;
endmodule
"""
NARROW = (
    "module narrow (input logic [15:0] a, input logic [7:0] b, output logic [15:0] y);\n  assign y = a;\nendmodule\n"
)
BOTH = """module both (input logic clk, input logic [15:0] a, b, output logic [15:0] y);
  logic [15:0] s;
  always_ff @(posedge clk) s <= a;
  always_ff @(negedge clk) y <= s;
endmodule
"""
BAD = {
    "no module": (["--top", "absent", "--as", "max"], "--top: found no module absent in "),
    "another word": (["--top", "fp16_max", "--as", "max", "--port", "c=a"], "--port: found 'c', expected one of a, b"),
    "another port": (
        ["--top", "fp16_max", "--as", "max", "--port", "a=A"],
        "found no port A for a, expected one of its ",
    ),
    "a port's direction": (["--top", "fp16_max", "--as", "max", "--port", "a=y"], "found an output for a of max"),
    "an input of no meaning": (["--top", "quantizer", "--as", "relu.forward", "--port", "y=t"], "found an input x_inv"),
    "no tie": (["--top", "fp16_max", "--as", "max", "--tie", "c=1"], "--tie: found c, expected an input"),
    "a wide tie": (["--top", "fp16_max", "--as", "max", "--tie", "a=65536"], "--tie a: found 65536, expected a number"),
    "no number": (["--top", "fp16_max", "--as", "max", "--tie", "a=x"], "--tie a: found 'x', expected a whole number"),
    "registers": (
        ["--top", "fp16_add_piped", "--as", "fp16.add", "--tie", "clk=0", "--tie", "rst=0", "--tie", "en=1"],
        "module fp16_add_piped: found 3 registers, the first at fp16.sv:",
    ),
    "no latency": (
        ["--top", "fp16_add_piped", "--as", "fp16.add", "--clock", "clk", "--latency", "0"],
        "--latency: found 0 with --clock clk, expected 1 or more cycles",
    ),
    "a latency left out": (["--top", "fp16_add_piped", "--as", "fp16.add", "--clock", "clk"], "--latency: found none"),
    "no clock": (["--top", "fp16_max", "--as", "max", "--latency", "1"], "--latency: found 1 without --clock"),
    "a wide clock": (
        ["--top", "fp16_max", "--as", "max", "--clock", "a", "--latency", "1"],
        "--clock a: found an input",
    ),
    "a reset of 2": (["--top", "lfsr16", "--as", "lfsr.step", "--reset", "r=2"], "--reset: found 'r=2', expected PORT"),
    "no output": (["--top", "fp16_max", "--as", "max", "--port", "y="], "--port: found no output of max to compare"),
    "no operation": (["--top", "fp16_max", "--as", "maximum"], "--as: found 'maximum', expected one of fp16.add"),
    "none at all": (["--top", "fp16_max"], "--as: found none, expected an operation; --list"),
    "no top": (["--as", "max"], "--top: found none, expected a module"),
    "a script": (["--top", "x; shell true", "--as", "max"], "--top: found 'x; shell true', expected a name"),
    "a macro's script": (["--top", "fp16_max", "--as", "max", "--define", "A=1;shell"], "--define A: found '1;shell'"),
    "a format": (
        ["--top", "pack2", "--as", "fxp.pack", "--format", "fxp9"],
        "--format: found 'fxp9', expected fxp2..8",
    ),
    "a wide code": (["--top", "pack2", "--as", "fxp.pack", "--format", "fxp8"], "fxp.pack: found codes of 8 bits"),
}
OWN = {"broken": (BROKEN, [], "own.sv:2"), "latch": (LATCH, ["--tie", "en=1"], "registers, the first at"),
       "two": (TWO, ["--clock", "clk", "--latency", "2", "--tie", "other=0"], "clocked by other"),
       "both": (BOTH, ["--clock", "clk", "--latency", "2"], "found registers of both edges of clk"),
       "narrow": (NARROW, [], "module narrow port b: found 8 bits, expected 16 for b of fp16.add")}  # fmt: skip


def refused(capsys: pytest.CaptureFixture[str], said: str, *arguments: str) -> None:
    assert prove(*arguments) == 2
    caught = capsys.readouterr()
    (line,) = caught.err.splitlines()
    assert line.startswith("bitrow: ") and said in line and not caught.out, line


@needs_tools
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, said = BAD[case]
    refused(capsys, said, *FILES, *arguments)


@needs_tools
@pytest.mark.parametrize("case", OWN)
def test_a_unit_that_cannot_be_is_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, arguments, said = OWN[case]
    (tmp_path / "own.sv").write_text(text)
    refused(capsys, said, str(tmp_path / "own.sv"), "--top", case, "--as", "fp16.add", *arguments,
            "--json", str(tmp_path / "report.json"))  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["own.sv"]


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a b.sv").write_text(NARROW)
    refused(capsys, "found a space", str(tmp_path / "a b.sv"), "--top", "narrow", "--as", "fp16.add")
    refused(capsys, "no.sv", str(tmp_path / "no.sv"), "--top", "narrow", "--as", "fp16.add")
    refused(capsys, "FILE: found none, expected SystemVerilog files", "--top", "narrow", "--as", "fp16.add")
    source = str(FOLDER / "fp16.sv")
    refused(capsys, "--json: found ", source, "--top", "fp16_max", "--as", "max", "--json", source)


@needs_tools
def test_samples_end_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make prove-rtl`: a page without marks is found before anything is decided; a wrong verdict is a line."""
    page = tmp_path / "page.md"
    page.write_text("no marks\n")
    for given, said in (
        (["--markdown", str(page)], "page.md: found not all of its marks"),
        (["--markdown", str(tmp_path / "none.md")], "No such file or directory"),
    ):
        assert rtl_samples.main(given) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1) and said in err
    sound = rtl_samples.RtlSample.proof
    monkeypatch.setattr(rtl_samples.RtlSample, "proof", lambda sample, *faults: sound(sample))
    assert rtl_samples.main(["--unit", "pack2"]) == 2
    assert "pack2 BUG_NIBBLES: found proved, expected refuted" in capsys.readouterr().err
