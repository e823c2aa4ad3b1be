"""The files of `export sv`: their text by itself, linted, and read by yosys (SPEC.md F, Q, M, D, A)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitrow import cli
from bitrow.export import hardware, hardware_modules, systemverilog
from bitrow.export.scalars import SCALARS
from bitrow.lower.systemverilog import counting
from sv_samples import samples
from sv_simulators import FOUND, called, lint, needs_lint, needs_simulator, needs_yosys, run, simulate, write_rows

ROOT = Path(__file__).parents[1]
FUNCTION = re.compile(r"function automatic logic(?: signed)?(?: \[\d+:0\])? (bw_\w+)\((.*?)\);\n(.*?)endfunction", re.S)
NAME = re.compile(r"(?<!['\w$])[a-z_]\w*")


def functions(text: str) -> dict[str, tuple[list[str], list[str]]]:
    """Each function's arguments and lines."""
    found = {}
    for name, arguments, body in FUNCTION.findall(text):
        listed = [argument.split()[-1] for argument in arguments.split(",")]
        found[name] = listed, [line.strip() for line in body.splitlines() if line.strip()]
    return found


def test_every_line_reads_what_is_assigned_above_it(sv_files: Path) -> None:
    """SPEC.md F2: no state, no loop, no number that is unknown: each name is declared, and assigned once before it is
    read."""
    found = functions((sv_files / "bitrow_pkg.sv").read_text())
    assert set(found) >= {f"bw_{name}" for name in hardware.words()}
    helpers = {name for width in (8, 16, 32) for name in counting(width)}
    for name, (arguments, lines) in found.items():
        if name in helpers:
            continue
        declared = {each for line in lines if line.startswith("logic")
                    for each in NAME.findall(re.sub(r"^logic( \[\d+:0\])?", "", line))}  # fmt: skip
        known, rows = set(arguments), [line for line in lines if not line.startswith("logic")]
        for row in rows:
            target, expression = re.fullmatch(r"(\w+) = (.*);", row).groups()  # type: ignore[union-attr]
            assert set(NAME.findall(expression)) <= known | helpers, (name, row)
            assert target in declared | {name} and target not in known, (name, row)
            known.add(target)
        assert rows[-1].startswith(f"{name} = ") and declared <= known, name
        assert not re.search(r"'[xz]|\b(real|initial|for|while|if|case)\b", " ".join(rows)), name


def test_the_text_is_the_same_each_time() -> None:
    """SPEC.md F3: a kernel that is traced anew is printed as before, in a package that is kept."""
    for name in ("fp16_to_fp32", "quantize", "max"):
        word = hardware.words()[name]
        assert word._replace(word=replace(word.word)).text() == word.text(), name


def test_it_stands_for_the_package_that_calls_c(sv_files: Path) -> None:
    """SPEC.md F, Q, M, D: every function that bitrow_pkg.sv of `export c` imports, its arguments of the same names."""
    found = functions((sv_files / "bitrow_pkg.sv").read_text())
    imported = re.findall(r'import "DPI-C" pure function [\w ]+ (bw_\w+)\((.*?)\);', systemverilog.package())
    assert len(imported) > 25
    for name, arguments in imported:
        assert found[name][0] == [argument.split()[-1] for argument in arguments.split(", ")], name
    modes = re.findall(r"localparam .*?(BW_\w+) = [56]'d(\d+);", (sv_files / "bitrow_pkg.sv").read_text())
    assert modes == re.findall(r"localparam .*?(BW_\w+) = (\d+);", systemverilog.package())


def test_every_function_has_a_module() -> None:
    """SPEC.md F, Q, M, D: in the widths of hardware; the quantizer's has both results."""
    printed = re.findall(r"^module (\w+)", hardware_modules.modules(), re.M)
    assert printed == hardware_modules.names()
    assert {f"bitrow_{name}" for name in hardware.words()} - set(printed) == {"bitrow_inside"}
    assert {name for name, word in hardware.words().items() if word.moded} >= {
        name.removeprefix("word_") for name, word in SCALARS.items() if word.moded and "mul_int32" not in name
    }


@needs_lint
def test_lint_has_nothing_to_say(sv_files: Path) -> None:
    """SPEC.md F, Q, M, D: every warning on; all modules are tops beside each other."""
    said = lint(sv_files, "-Wno-MULTITOP", "bitrow_pkg.sv", "bitrow_modules.sv").splitlines()
    assert [line for line in said if not line.startswith("- ")] == []  # later versions report what they did


def test_the_command(sv_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """SPEC.md F, Q, M, D: the files, whole; a folder that is there is refused in one line before anything is traced."""
    monkeypatch.setattr(hardware, "package", (sv_files / "bitrow_pkg.sv").read_text)
    out = tmp_path / "new"
    assert cli.run(["export", "sv", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: bitrow_pkg.sv, bitrow_modules.sv, bitrow_example.sv\n"
    assert [each.read_bytes() for each in sorted(out.iterdir())] == [
        each.read_bytes() for each in sorted(sv_files.iterdir())
    ]
    monkeypatch.setattr(hardware, "package", None)
    assert cli.run(["export", "sv", str(out)]) == 2
    assert capsys.readouterr().err == f"bitrow: {out}: found something of this name, expected none\n"


@needs_simulator
def test_the_example_runs(sv_files: Path, tmp_path: Path) -> None:
    """SPEC.md F2, Q1, D1: bitrow_example.sv, as it says."""
    text = (sv_files / "bitrow_example.sv").read_text().replace("module bitrow_example", "module bench")
    (tmp_path / "example.sv").write_text(text)
    assert "bitrow_example: sum 4000 product 0000" in simulate(
        FOUND[0], tmp_path, sv_files / "bitrow_pkg.sv", "example.sv"
    )


@needs_simulator
def test_the_page_s_design_agrees(sv_files: Path, tmp_path: Path) -> None:
    """SPEC.md F2, A1: docs/sv-reference.md's design and its bench; one that truncates fails."""
    page = (ROOT / "docs" / "sv-reference.md").read_text()
    blocks = dict(re.findall(r"```systemverilog\n// (\w+\.sv)\n(.*?)```", page, re.S))
    for name, text in blocks.items():
        (tmp_path / name).write_text(text)
    files = (sv_files / "bitrow_pkg.sv", sv_files / "bitrow_modules.sv", "scale_relu.sv", "bench.sv")
    assert "512 words agree" in simulate(FOUND[0], tmp_path, *files)
    (tmp_path / "scale_relu.sv").write_text(blocks["scale_relu.sv"].replace("BW_NEAREST_EVEN", "BW_TOWARD_ZERO"))
    assert "words agree" not in simulate(FOUND[0], tmp_path, *files)


def _part(folder: Path, names: tuple[str, ...]) -> Path:
    """Some functions and their modules, for a tool that takes its time."""
    texts = [hardware.words()[name].text() for name in names]
    lines = ["package bitrow_pkg;", *hardware.counts(texts), *texts, "endpackage\n"]
    (folder / "bitrow_pkg.sv").write_text("\n".join(lines))
    modules = hardware_modules.modules()
    cut = [re.search(rf"^module bitrow_{name} .*?endmodule\n", modules, re.M | re.S) for name in names]
    (folder / "bitrow_modules.sv").write_text("\n".join(each[0] for each in cut if each))
    return folder


def synthesized(folder: Path, files: Path, names: list[str]) -> dict[str, int]:
    """Cells of modules that yosys makes gates of, each also as the netlist NAME.net.v."""
    rows = [f"design -load all\nhierarchy -check -top {name}\nsynth -flatten\ntee -o {name}.stat stat\n"
            f"write_verilog -noattr {name}.net.v" for name in names]  # fmt: skip
    script = [f"read_verilog -sv {files / 'bitrow_pkg.sv'} {files / 'bitrow_modules.sv'}", "design -save all", *rows]
    (folder / "synth.ys").write_text("\n".join(script) + "\n")
    assert "ERROR" not in run(folder, "yosys", "-q", "-q", "synth.ys")
    stats = {name: (folder / f"{name}.stat").read_text() for name in names}
    return {name: int(re.findall(r"Number of cells: +(\d+)", text)[0]) for name, text in stats.items()}


def gates_agree(folder: Path, name: str, count: int) -> None:
    """The netlist of a function's module, its default mode, on drawn words in Icarus."""
    word = hardware.words()[name]
    given = samples(name, 20 * count)
    kept = slice(None, None, 20) if word.moded else slice(0, count)  # the first of the modes is the default
    operands, expected = [each[kept] for each in given.operands], given.expected[kept]
    plain = word._replace(word=replace(word.word, moded=False))
    bits = write_rows(folder / "gates.rows", plain, operands[1:] if word.moded else operands)
    fields = re.findall(r"\[[\d:]+\]", called(plain, "row"))
    ports = ", ".join(f".{port.name}(row{field})" for port, field in zip(word.ports, fields, strict=True))
    (folder / "bench.sv").write_text(f"""module bench;
  logic [{bits - 1}:0] rows [0:{expected.size - 1}];
  logic [{bits - 1}:0] row;
  logic [{word.result.width - 1}:0] y;
  bitrow_{name} gates ({ports}, .y(y));
  integer i;
  initial begin
    $readmemh("gates.rows", rows);
    for (i = 0; i < {expected.size}; i = i + 1) begin
      row = rows[i];
      #1;
      $display("= %h", y);
    end
  end
endmodule
""")
    printed = simulate("iverilog", folder, f"bitrow_{name}.net.v", "bench.sv")
    found = [int(line.split()[1], 16) for line in printed.splitlines() if line.startswith("=")]
    assert np.array_equal(found, expected), name


needs_gates = pytest.mark.skipif("iverilog" not in FOUND, reason="needs iverilog")
SMALL = ("relu6", "lfsr_step", "max")


@needs_yosys
@needs_gates
def test_yosys_makes_gates_of_them(tmp_path: Path) -> None:
    """SPEC.md A1, A2, Q3: what yosys makes of some small functions gives the oracle's words."""
    cells = synthesized(tmp_path, _part(tmp_path, SMALL), [f"bitrow_{name}" for name in SMALL])
    assert all(0 < each < 500 for each in cells.values())
    for name in SMALL:
        gates_agree(tmp_path, name, 200)


def table() -> tuple[str, dict[str, int]]:
    """The yosys version of docs/sv-reference.md and its cells by module."""
    page = (ROOT / "docs" / "sv-reference.md").read_text()
    rows = re.findall(r"`(bitrow_\w+)` +\| +([\d,]+)", page)
    ((version,),) = [re.findall(r"yosys (\d+\.\d+)", page)[:1]]
    return version, {name: int(cells.replace(",", "")) for name, cells in rows}


def test_the_page_counts_every_module() -> None:
    """SPEC.md F, Q, M, D: docs/sv-reference.md has each of them in its table or says that it is not counted."""
    page = (ROOT / "docs" / "sv-reference.md").read_text()
    left_out = set(re.findall(r"`(bitrow_\w+)`", re.findall(r"Not counted: (.*?)\n\n", page, re.S)[0]))
    assert left_out.isdisjoint(table()[1]) and left_out | set(table()[1]) == set(hardware_modules.names())


@pytest.mark.slow
@needs_yosys
@needs_gates
def test_the_page_s_cells(sv_files: Path, tmp_path: Path) -> None:
    """SPEC.md F, Q, M, D: the modules that the page counts, by yosys of its version; gates of FP16 by the oracle."""
    version, cells = table()
    if f"Yosys {version}" not in run(tmp_path, "yosys", "-V"):
        pytest.skip(f"the page counts the cells of yosys {version}")
    found = synthesized(tmp_path, sv_files, list(cells))
    off = {name: (found[name], said) for name, said in cells.items() if abs(found[name] - said) > max(4, 0.02 * said)}
    assert not off  # what yosys has read before decides ties, by one or two cells in thousands
    for name in ("fp16_add", "fp16_mul", "fp16_fma", "dequantize", "dequantize_two_step", "fp16_from_fp32"):
        gates_agree(tmp_path, name, 300)
