"""`export sv`: every function and module in a simulator, against the oracle (SPEC.md F, Q, M, D, A)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitrow.contract import arithmetic
from bitrow.export import hardware
from bitrow.formats import FloatMode, Fxp, Overflow, Rounding
from bitrow.oracle import fp16, fxp, lfsr
from bitrow.proofs import judges
from bitrow.vectors.stimulus import stream
from bitrow.vectors.stimulus.stream import Stream
from sv_samples import JUDGES, Words, mode_of, ranks, samples
from sv_simulators import FOUND, bench, needs_simulator, needs_verilator, results, simulate

COUNT = 2000


def agree(folder: Path, files: Path, tool: str, given: dict[str, Words]) -> None:
    """Every function's words in one bench."""
    words = hardware.words()
    path = bench(folder, {words[name]: each.operands for name, each in given.items()})
    simulate(tool, folder, files / "bitrow_pkg.sv", path)
    for name, each in given.items():
        found = results(folder, words[name])
        if name == "order":
            assert ranks(found, each.operands[0])
            continue
        wrong = np.flatnonzero(found != each.expected)
        rows = [[hex(int(column[at])) for column in (*each.operands, found, each.expected)] for at in wrong[:3]]
        assert not wrong.size and found.size == each.expected.size, (name, wrong.size, rows)


@needs_simulator
def test_every_function_and_mode(sv_files: Path, tmp_path: Path) -> None:
    """SPEC.md F2 to F6, F9, F10, Q1 to Q5, M1, M2, D1, D2, A1, A2, A6, A9: directed and drawn words, by the oracle."""
    agree(tmp_path, sv_files, FOUND[0], {name: samples(name, COUNT) for name in hardware.words()})


@pytest.mark.slow
@pytest.mark.skipif(len(FOUND) < 2, reason="needs iverilog, and verilator with make and c++")
def test_every_function_and_mode_in_the_other_simulator(sv_files: Path, tmp_path: Path) -> None:
    """SPEC.md F2 to F6, F9, F10, Q1 to Q5, M1, M2, D1, D2: ten times as many words."""
    agree(tmp_path, sv_files, FOUND[1], {name: samples(name, 10 * COUNT) for name in hardware.words()})


MODULES = """module bench;
  logic [15:0] a [0:{last}];
  logic [15:0] b [0:{last}];
  logic [23:0] acc [0:{last}];
  logic [15:0] t, u, down;
  logic signed [23:0] sum, wrapped, clamped;
  logic [3:0] code, plain;
  logic [7:0] wide, drawn;
  logic mask, inner, in_wide;
  integer i;
  bitrow_fp16_add #(.MODE(bitrow_pkg::BW_DOWN | bitrow_pkg::BW_SATURATE)) add_down (.a(t), .b(u), .y(down));
  bitrow_quantize narrow_codes (.t(t), .code(code), .mask(mask));
  bitrow_quantize #(.SIGNED(1'b1), .NARROW(1'b1)) plain_codes (.t(t), .code(plain), .mask(inner));
  bitrow_quantize #(.BITS(8), .SIGNED(1'b0)) wide_codes (.t(t), .code(wide), .mask(in_wide));
  bitrow_quantize_drawn #(.BITS(8)) drawn_codes (.t(t), .word(u), .code(drawn));
  bitrow_mac_wrap #(.X_BITS(8), .WEIGHT_BITS(8), .X_SIGNED(1'b0)) wraps (
      .acc(sum), .x(u[7:0]), .weight(u[15:8]), .y(wrapped));
  bitrow_mac_saturate clamps (.acc(sum), .x(u[3:0]), .weight(u[7:4]), .y(clamped));
  initial begin
    $readmemh("a.hex", a);
    $readmemh("b.hex", b);
    $readmemh("acc.hex", acc);
    for (i = 0; i <= {last}; i = i + 1) begin
      t = a[i];
      u = b[i];
      sum = acc[i];
      #1;
      $display("= %0d %0d %0d %0d %0d %0d %0d %0d %0d %0d",
               down, code, mask, plain, inner, wide, in_wide, drawn, wrapped, clamped);
    end
    $finish;
  end
endmodule
"""


def _row(t: int, u: int, acc: int) -> list[int]:
    """What MODULES prints for one row."""
    narrow, wide = Fxp(4, narrow=True), Fxp(8, signed=False)
    x, weight = u & 255, fxp.wrap(u >> 8, 8)
    return [
        fp16.add(t, u, FloatMode(Rounding.DOWN, Overflow.SATURATE)),
        fxp.code(t, Fxp(4)) & 15, fxp.mask(t, Fxp(4)), fxp.code(t, narrow) & 15, fxp.mask(t, narrow),
        fxp.code(t, wide), fxp.mask(t, wide), fxp.drawn_code(t, u, Fxp(8)) & 255,
        fxp.wrap(acc + x * weight, 24), JUDGES["mac_saturate"](acc, fxp.wrap(u, 4), fxp.wrap(u >> 4, 4), 24),
    ]  # fmt: skip


@needs_simulator
def test_modules_of_several_widths_and_modes(sv_files: Path, tmp_path: Path) -> None:
    """SPEC.md F3, F6, F7, Q1 to Q4, M2: the modules' parameters, unsigned and narrow codes, full registers."""
    drawn, count = Stream("sv modules"), 600
    t = np.concatenate([stream.spread(drawn, (count - 60,), -4, 8), stream.SPECIAL_WORDS[:60]]).astype(np.int64)
    u = drawn.words(16, count).astype(np.int64)
    acc = np.where(drawn.below(2, count) == 0, 0x7FFFFF - drawn.below(64, count), drawn.below(1 << 24, count))
    acc = np.where(drawn.below(4, count) == 0, 0x800000 + drawn.below(64, count), acc)
    for name, values, digits in (("a", t, 4), ("b", u, 4), ("acc", acc, 6)):
        (tmp_path / f"{name}.hex").write_text("".join(f"{value:0{digits}x}\n" for value in values.tolist()))
    (tmp_path / "bench.sv").write_text(MODULES.format(last=count - 1))
    printed = simulate(FOUND[0], tmp_path, sv_files / "bitrow_pkg.sv", sv_files / "bitrow_modules.sv", "bench.sv")
    found = [list(map(int, line.split()[1:])) for line in printed.splitlines() if line.startswith("=")]
    assert found == [_row(*map(int, row[:2]), fxp.wrap(int(row[2]), 24)) for row in zip(t, u, acc, strict=True)]


EVERY = judges.EVERY_WORD.astype(np.int64)
OF_ONE = ("fp16_sqrt", "fp16_to_fp32", "fp16_convert", "fp16_negate", "relu", "relu6", "canonical", "passes", "passes6",
          "clip1", "passes1", "lfsr_step")  # fmt: skip


def _every(name: str) -> Words:
    """All words, of a function that takes a mode in all of them."""
    word, judge = hardware.words()[name], JUDGES[name]
    if not word.moded:
        return Words([EVERY], np.array([judge(a) for a in EVERY.tolist()], np.int64))
    modes = sorted({int(mode) for mode in np.unique(samples(name, 20).operands[0])})
    found = [judge(a, mode_of(mode)) for mode in modes for a in EVERY.tolist()]
    return Words([np.repeat(modes, EVERY.size), np.tile(EVERY, len(modes))], np.array(found, np.int64))


@pytest.mark.slow
@needs_verilator
def test_every_word_of_functions_of_one(sv_files: Path, tmp_path: Path) -> None:
    """SPEC.md F2 to F5, F10, Q1, Q2, Q4, A1, A9: all 65,536 words, in every mode or of FXP4, by the oracle."""
    given = {name: _every(name) for name in OF_ONE}
    assert given["lfsr_step"].expected[1] == lfsr.step(1) and given["relu"].expected[2] == arithmetic.relu(2)
    low, high = np.full(EVERY.size, -8), np.full(EVERY.size, 7)
    for name, judge in (("quantize", fxp.code), ("inside", fxp.mask)):
        given[name] = Words([EVERY, low, high], np.array([judge(t, Fxp(4)) for t in EVERY.tolist()], np.int64))
    agree(tmp_path, sv_files, "verilator", given)


PAIRS = """module bench;
  import bitrow_pkg::*;
  logic [15:0] first [0:255];
  integer i, j, sums, products;
  initial begin
    $readmemh("first.hex", first);
    sums = $fopen("add.out", "w");
    products = $fopen("mul.out", "w");
    for (i = 0; i < 256; i = i + 1)
      for (j = 0; j < 65536; j = j + 1) begin
        $fdisplay(sums, "%h", bw_fp16_add(BW_NEAREST_EVEN, first[i], j[15:0]));
        $fdisplay(products, "%h", bw_fp16_mul(BW_NEAREST_EVEN, first[i], j[15:0]));
      end
    $fclose(sums);
    $fclose(products);
    $finish;
  end
endmodule
"""


@pytest.mark.slow
@needs_verilator
def test_sixteen_million_pairs(sv_files: Path, tmp_path: Path) -> None:
    """SPEC.md F2: 256 first operands, special and drawn, with all 65,536 second ones, sums and products by numpy."""
    first = np.concatenate([stream.SPECIAL_WORDS, Stream("sv pairs").words(16, 256)])[:256]
    (tmp_path / "first.hex").write_text("".join(f"{word:04x}\n" for word in first.tolist()))
    (tmp_path / "bench.sv").write_text(PAIRS)
    simulate("verilator", tmp_path, sv_files / "bitrow_pkg.sv", "bench.sv")
    for name, operation in (("add", np.add), ("mul", np.multiply)):
        digits = np.frombuffer((tmp_path / f"{name}.out").read_bytes(), np.uint8).reshape(256, 1 << 16, 5)[..., :4]
        nibbles = np.where(digits > 0x60, digits - 0x57, digits - 0x30).astype(np.uint16)
        found = nibbles[..., 0] << 12 | nibbles[..., 1] << 8 | nibbles[..., 2] << 4 | nibbles[..., 3]
        for word, row in zip(first, found, strict=True):
            with np.errstate(all="ignore"):
                exact = operation(np.full(EVERY.size, word).view(np.float16), judges.EVERY_WORD.view(np.float16))
            assert np.array_equal(row, judges.canonical(exact.view(np.uint16))), (name, hex(word))
