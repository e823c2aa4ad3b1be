"""The SystemVerilog package and the C header of a case, by compilers where there are any (SPEC.md V1, V2)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bitrow.contract.encoding import FP16_WORD, Role
from bitrow.contract.units import UNITS
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.files import emit, hexfile, schema
from bitrow.vectors.files.dump import read_dump
from vectors_samples import batch_case, conv_backward_case, conv_case, frozen_case, two_step, write


def need(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set whose cases have every kind of constant."""
    cases = (conv_case(config=two_step(), bias=True), conv_backward_case(), frozen_case(), batch_case())
    return write(tmp_path_factory.mktemp("sources") / "set", *cases)


CASES = ["conv", "conv_back", "frozen", "batch"]


@pytest.mark.parametrize("name", CASES)
def test_identifiers_are_distinct_and_both_files_agree(vectors: Path, name: str) -> None:
    """SPEC.md V1: package and header declare the same constants with the same values, each once."""
    package = (vectors / name / f"{name}_pkg.sv").read_text()
    header = (vectors / name / f"{name}.h").read_text()
    assert package.isascii() and header.isascii()
    names = re.findall(r"localparam (?:int |logic \[\d+:0\] )?(\w+) =", package)
    macros = re.findall(r"#define (\w+) ", header)
    prefix = name.upper()
    assert macros == [f"{prefix}_{constant}" for constant in names]
    members = re.findall(r"^    (\w+) = (\d+)", package, re.MULTILINE)
    assert members == [
        (m.removeprefix(f"{prefix}_"), v) for m, v in re.findall(r"^    (\w+) = (\d+)", header, re.M)
    ]
    declared = [*names, *(member for member, _ in members)]
    assert len(set(declared)) == len(declared)
    entry = schema.read_case_json(vectors, name)
    for tensor in entry.tensors:
        upper = tensor.name.upper()
        assert f"localparam int {upper}_DEPTH = {tensor.count};" in package
        assert f"localparam int {upper}_BITS = {tensor.encoding.word_bits};" in package
        assert f'localparam {upper}_HEX = "{tensor.name}.hex";' in package
        for axis, size in zip(tensor.layout.split(), tensor.shape, strict=True):
            assert f"localparam int {upper}_DIM_{axis.upper()} = {size};" in package


def test_names_that_would_collide_are_refused(tmp_path: Path) -> None:
    """SPEC.md V1: two constants of one name would hide each other."""
    word = np.zeros((), np.uint16)
    tensors = tuple(Tensor(name, Role.INPUT, FP16_WORD, "", word) for name in ("x", "x_bits", "x_bits_bits"))
    write(tmp_path / "fine", Case("fine", UNITS["add"], FloatMode(), tensors, ()))
    clash = Tensor("config_mode", Role.INPUT, FP16_WORD, "rounding", np.zeros(1, np.uint16))
    entry = schema.TensorEntry("config", Role.INPUT, FP16_WORD, "", ())
    assert emit.constants(schema.CaseEntry("c", "o", FloatMode(), (entry,), (), {}, "all"), {})
    twice = schema.CaseEntry("c", "o", FloatMode(), (entry, entry), (), {}, "all")
    with pytest.raises(BitrowError, match="found two constants CONFIG_BITS"):
        emit.constants(twice, {})
    assert clash.data.size == 1


@pytest.mark.parametrize("name", CASES)
def test_header_compiles(vectors: Path, tmp_path: Path, name: str) -> None:
    """SPEC.md V1: strict C99 takes the header, twice over, and its values are those of the case."""
    gcc = need("gcc")
    upper = name.upper()
    first = schema.read_case_json(vectors, name).tensors[0]
    source = tmp_path / "main.c"
    source.write_text(
        f'#include "{name}.h"\n#include "{name}.h"\n#include <stdio.h>\n'
        f"enum {name}_config_mode_rounding rounding = {upper}_CONFIG_MODE_ROUNDING;\n"
        f'int main(void) {{ printf("%u %u %s %d", {upper}_{first.name.upper()}_DEPTH, '
        f"{upper}_{first.name.upper()}_BITS, {upper}_{first.name.upper()}_HEX, (int)rounding); return 0; }}\n"
    )
    flags = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", vectors / name)
    run(gcc, *flags, source, "-o", tmp_path / "main")
    assert run(tmp_path / "main") == f"{first.count} {first.encoding.word_bits} {first.name}.hex 0"


def test_every_header_in_one_unit(vectors: Path, tmp_path: Path) -> None:
    """SPEC.md V1: firmware may include the headers of all cases at once."""
    source = tmp_path / "all.c"
    source.write_text("".join(f'#include "{name}/{name}.h"\n' for name in CASES) + "int unused;\n")
    flags = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", vectors, "-c")
    run(need("gcc"), *flags, source, "-o", tmp_path / "all.o")


BENCH = """module bench;
  import {name}_pkg::*;
  logic [{upper}_BITS-1:0] words [0:{upper}_DEPTH-1];
  initial begin
    $readmemh({{"{folder}/", {upper}_HEX}}, words);
    $display("%h %0d %0d %s", words[{upper}_DEPTH-1], {upper}_DEPTH, CONFIG_MODE_ROUNDING, CASE_NAME);
    words[1] = 'x;
    $writememh("{dump}", words);
  end
endmodule
"""


@pytest.mark.parametrize(
    ("name", "tensor"), [("conv", "x"), ("conv", "acc"), ("conv", "x_code"), ("batch", "yy")]
)
def test_a_simulator_reads_what_was_written(vectors: Path, tmp_path: Path, name: str, tensor: str) -> None:
    """SPEC.md V1, V2: `$readmemh` takes the hex file, named by the package; its dump is read back."""
    compiler, runner = need("iverilog"), need("vvp")
    bench, dump = tmp_path / "bench.sv", tmp_path / "dump.hex"
    bench.write_text(BENCH.format(name=name, upper=tensor.upper(), folder=vectors / name, dump=dump))
    package = vectors / name / f"{name}_pkg.sv"
    assert run(compiler, "-g2012", "-Wall", "-o", tmp_path / "bench", package, bench) == ""
    entry = next(t for t in schema.read_case_json(vectors, name).tensors if t.name == tensor)
    golden = hexfile.read_hex(vectors / name / f"{tensor}.hex", entry.encoding, entry.count, tensor)
    last = f"{golden[-1]:0{entry.encoding.hex_digits}x}"
    assert run(runner, tmp_path / "bench").split() == [last, str(entry.count), "0", name]
    read = read_dump(dump, entry.encoding, entry.count, "dump.hex")
    assert np.flatnonzero(read.undriven).tolist() == [1]
    np.testing.assert_array_equal(np.delete(read.words, 1), np.delete(golden, 1))


@pytest.mark.parametrize("name", CASES)
def test_package_is_lint_clean(vectors: Path, tmp_path: Path, name: str) -> None:
    """SPEC.md V1: a linter with every warning on has nothing to say."""
    top = tmp_path / "top.sv"
    top.write_text(f"module top;\n  import {name}_pkg::*;\nendmodule\n")
    package = vectors / name / f"{name}_pkg.sv"
    assert run(need("verilator"), "--lint-only", "-Wall", "--top-module", "top", package, top) == ""
