"""`export constants`: a set's constants in Verilog-2001 and VHDL, by compilers where there are any (SPEC.md V1)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bitrow import cli
from bitrow.errors import BitrowError
from bitrow.export.constants import export
from bitrow.vectors.files import schema
from sv_simulators import run
from vectors_samples import batch_case, conv_backward_case, conv_case, frozen_case, two_step, write

CASES = ["conv", "conv_back", "frozen", "batch"]
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set whose cases have every kind of constant."""
    cases = (conv_case(config=two_step(), bias=True), conv_backward_case(), frozen_case(), batch_case())
    return write(tmp_path_factory.mktemp("constants") / "set", *cases)


@pytest.fixture(scope="module")
def written(vectors: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each language."""
    folders = {name: tmp_path_factory.mktemp("constants") / name for name in ("verilog", "vhdl")}
    for name, folder in folders.items():
        suffix = ".vh" if name == "verilog" else "_pkg.vhd"
        assert export(vectors, folder, name) == [f"{case}{suffix}" for case in CASES]
        assert sorted(each.name for each in folder.iterdir()) == sorted(f"{case}{suffix}" for case in CASES)
    return folders


def _header(vectors: Path, name: str) -> dict[str, str]:
    """The C header's constants, each as a number or a text."""
    text = (vectors / name / f"{name}.h").read_text()
    found = dict(re.findall(r"^#define (\w+) (.+)$", text, re.M))
    found |= dict(re.findall(r"^    (\w+) = (\d+),?$", text, re.M))
    return {key: _value(value, found) for key, value in found.items()}


def _value(text: str, named: dict[str, str]) -> str:
    text = named.get(text.lstrip("`"), text).rstrip("u")
    based = re.fullmatch(r"""\d+'h(\w+)|x"(\w+)"|0x(\w+)""", text)
    if based:
        return str(int(next(filter(None, based.groups())), 16))
    bits = re.fullmatch(r'"([01]+)"', text)
    return str(int(bits[1], 2)) if bits else text


@pytest.mark.parametrize("name", CASES)
def test_every_language_says_the_same(vectors: Path, written: dict[str, Path], name: str) -> None:
    """SPEC.md V1: the constants of the C header, each once, with its value."""
    expected = _header(vectors, name)
    macros = re.findall(r"^`define (\w+) (.+)$", (written["verilog"] / f"{name}.vh").read_text(), re.M)
    assert len(macros) == len(expected) and {key: _value(value, dict(macros)) for key, value in macros} == expected
    package = (written["vhdl"] / f"{name}_pkg.vhd").read_text()
    listed = [(f"{name.upper()}_{key}", value) for key, value in
              re.findall(r"^  constant (\w+) : [\w ()]+ := (.+);$", package, re.M)]  # fmt: skip
    values = {key.removeprefix(f"{name.upper()}_"): value for key, value in listed}
    assert len(listed) == len(expected) and {key: _value(value, values) for key, value in listed} == expected
    assert package.isascii() and "__" not in package


def test_a_committed_set(written: dict[str, Path]) -> None:
    """SPEC.md V1: a package for each case of golden/v3, words among its constants."""
    folder = written["vhdl"].parent / "golden"
    names = export(ROOT / "golden" / "v3", folder, "vhdl")
    assert [name.removesuffix("_pkg.vhd") for name in names] == list(schema.read_manifest(ROOT / "golden" / "v3").cases)
    assert "std_logic_vector(15 downto 0) := x" in "".join(each.read_text() for each in folder.iterdir())


def test_verilog_2001_takes_them(vectors: Path, written: dict[str, Path], tmp_path: Path) -> None:
    """SPEC.md V1, V2: all in one module, each twice; widths, words and the name of a file."""
    if not shutil.which("iverilog") or not shutil.which("vvp"):
        pytest.skip("needs iverilog")
    first = schema.read_case_json(vectors, "conv").tensors[0]
    upper = f"CONV_{first.name.upper()}"
    included = "".join(f'`include "{name}.vh"\n' for name in (*CASES, *CASES))
    (tmp_path / "bench.v").write_text(f"""{included}module bench;
  reg [`{upper}_BITS-1:0] words [0:`{upper}_DEPTH-1];
  initial begin
    $readmemh({{"{vectors}/conv/", `{upper}_HEX}}, words);
    $display("%h %0d %0d", words[`{upper}_DEPTH-1], `{upper}_DEPTH, `CONV_CONFIG_DEQUANTIZE);
  end
endmodule
""")
    run(tmp_path, "iverilog", "-g2001", "-Wall", "-I", written["verilog"], "-o", "bench", "bench.v")
    last = (vectors / "conv" / first.name).with_suffix(".hex").read_text().split()[-1]
    assert run(tmp_path, "vvp", "-n", "bench").split() == [last, str(first.count), "1"]


@pytest.mark.parametrize("standard", ["93c", "08"])
def test_vhdl_takes_them(written: dict[str, Path], tmp_path: Path, standard: str) -> None:
    """SPEC.md V1: GHDL analyses every package, and a bench reads them."""
    if not shutil.which("ghdl"):
        pytest.skip("needs ghdl")
    packages = sorted(written["vhdl"].iterdir())
    (tmp_path / "bench.vhd").write_text("""use work.conv_pkg.all;
entity bench is end;
architecture test of bench is
begin
  process begin
    assert X_HEX = "x.hex" and X_BITS = 16 and CONFIG_DEQUANTIZE = CONFIG_DEQUANTIZE_TWO_STEP
      report "differs" severity failure;
    report CASE_NAME & " " & integer'image(X_DEPTH) & " " & integer'image(SCALE_WORD'length);
    wait;
  end process;
end;
""")
    run(tmp_path, "ghdl", "-a", f"--std={standard}", *packages, "bench.vhd")
    run(tmp_path, "ghdl", "-e", f"--std={standard}", "bench")
    printed = run(tmp_path, "ghdl", "-r", f"--std={standard}", "bench")
    depth = re.search(r"X_DEPTH : integer := (\d+)", (written["vhdl"] / "conv_pkg.vhd").read_text())
    assert depth and f"conv {depth[1]} 16" in printed


def test_the_command(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V1: one line; a folder that is there, no set, a set that is not sound, no or another language."""

    def command(*arguments: str | Path) -> tuple[int, str, list[str]]:
        status = cli.run([str(each) for each in ("export", "constants", *arguments)])
        done = capsys.readouterr()
        return status, done.out, done.err.splitlines()

    out = tmp_path / "new"
    assert command(vectors, out, "--language", "vhdl") == (0, f"{out}: 4 files\n", [])
    assert command(vectors, out, "--language", "verilog")[2] == [
        f"bitrow: {out}: found something of this name, expected none"
    ]
    status, _, errors = command(tmp_path / "none", tmp_path / "b", "--language", "verilog")
    assert status == 2 and len(errors) == 1 and "expected the folder of a vector set" in errors[0]
    damaged = Path(shutil.copytree(vectors, tmp_path / "damaged"))
    (damaged / "conv" / "conv.h").write_text("")
    status, _, errors = command(damaged, tmp_path / "b", "--language", "verilog")
    assert status == 2 and len(errors) == 1 and "conv/conv.h" in errors[0] and "not sound" in errors[0]
    for wrong in ([], ["--language", "ada"]):
        status, _, errors = command(vectors, tmp_path / "b", *wrong)
        assert status == 2 and len(errors) == 1 and not (tmp_path / "b").exists()
    with pytest.raises(BitrowError, match="language: found 'ada', expected verilog or vhdl"):
        export(vectors, tmp_path / "b", "ada")
