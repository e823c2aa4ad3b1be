"""The tops of both benches for the plans of a set: SystemVerilog that takes all parameters from the cases' packages."""

from __future__ import annotations

from collections.abc import Iterator

from cover import BESIDE, Part, Plan

_WORD = 32


def _path(part: Part) -> str:
    return f'{{{part.case}_pkg::CASE_NAME, "/", {part.package("HEX")}}}'


def _design(plan: Plan, number: int, ports: str) -> str:
    parameters = ",\n      ".join(f".{name}({value})" for name, value in plan.parameters.items())
    return f"  {plan.module} #(\n      {parameters}) dut_{number} (\n      {ports});"


def _bench(plan: Plan, number: int) -> Iterator[str]:
    """A module that drives one design and compares what it gives."""
    hosts, taps = len(plan.loads), len(plan.taps)
    yield f"// {plan.case}" + "".join(f", {other}" for other in plan.others)
    yield f"module bench_{number} (input logic clk, rst, dump, output logic done, moving, output integer count, wrong);"
    yield "  logic in_valid, in_ready, mid_valid, out_valid, out_ready;"
    yield "  logic [95:0] in_data;\n  logic [159:0] mid_data;\n  logic [191:0] out_data;\n  logic [31:0] at;"
    yield f"  logic [{hosts}:0] ready;  // hosts that are done\n  assign ready[0] = !rst;"
    for i, (kind, part) in enumerate(plan.loads):
        yield f"  logic write_{i};\n  logic [3:0] kind_{i};\n  logic [15:0] at_{i}, word_{i};"
        yield (
            f"  host #(.PATH({_path(part)}), .DEPTH({part.package('DEPTH')}), .KIND({kind})) host_{i} (.clk,\n"
            f"      .start(ready[{i}]), .done(ready[{i + 1}]), .write(write_{i}), .kind(kind_{i}), .at(at_{i}), "
            f".word(word_{i}));"
        )
    ports = ".clk, .rst, .p_write, .p_kind, .p_at, .p_word, .in_valid, .in_ready, .in_data, .mid_valid, .mid_data,"
    yield "  logic p_write;\n  logic [3:0] p_kind;\n  logic [15:0] p_at, p_word;"
    for port, name, width in (("p_kind", "kind", 4), ("p_at", "at", 16), ("p_word", "word", 16)):
        terms = " | ".join(f"({{{width}{{write_{i}}}}} & {name}_{i})" for i in range(hosts))
        yield f"  assign {port} = {terms or chr(39) + '0'};"
    yield f"  assign p_write = {' | '.join(f'write_{i}' for i in range(hosts)) or '1' + chr(39) + 'b0'};"
    yield _design(plan, number, f"{ports}\n      .out_valid, .out_ready, .out_data")
    yield (
        f"  source #(.COUNT({plan.count.package('DEPTH')}), .NUMBER({number}), .ROW({plan.row})) source (\n"
        f"      .clk, .start(ready[{hosts}]), .ready(in_ready), .valid(in_valid), .at);"
    )
    yield f"  sink #(.NUMBER({number})) sink (.clk, .ready(out_ready));"
    for i, part in enumerate(plan.operands):
        yield (
            f"  operand #(.PATH({_path(part)}), .DEPTH({part.package('DEPTH')})) operand_{i} (.at, "
            f".word(in_data[{i * _WORD} +: {_WORD}]));"
        )
    if len(plan.operands) < 3:
        yield f"  assign in_data[95:{len(plan.operands) * _WORD}] = '0;"
    yield f"  logic [{taps - 1}:0] dones;"
    for i, tap in enumerate(plan.taps):
        valid, bus = ("mid_valid", "mid_data") if tap.side == BESIDE else ("out_valid && out_ready", "out_data")
        yield (
            f"  integer count_{i}, wrong_{i};\n"
            f"  tap #(.PATH({_path(tap.part)}), .BITS({tap.part.package('BITS')}), "
            f".DEPTH({tap.part.package('DEPTH')}), .DUMPED({int(tap.dumped)})) tap_{i} (.clk, .dump,\n"
            f"      .valid({valid}), .word({bus}[{tap.slot * _WORD} +: {_WORD}]), .done(dones[{i}]), "
            f".count(count_{i}), .wrong(wrong_{i}));"
        )
    yield "  assign done = &dones;\n  assign moving = p_write || (in_valid && in_ready) || (out_valid && out_ready);"
    yield f"  assign count = {' + '.join(f'count_{i}' for i in range(taps))};"
    yield f"  assign wrong = {' + '.join(f'wrong_{i}' for i in range(taps))};"
    yield "endmodule\n"


def system_verilog(plans: list[Plan]) -> str:
    """The SystemVerilog bench: a module for each plan, and `bench`, which runs them side by side and says the end."""
    count = len(plans)
    lines = [line for number, plan in enumerate(plans) for line in _bench(plan, number)]
    benches = "\n".join(
        f"  integer count_{i}, wrong_{i};\n"
        f"  bench_{i} bench_{i} (.clk, .rst, .dump, .done(done[{i}]), .moving(moving[{i}]), .count(count_{i}), "
        f".wrong(wrong_{i}));"
        for i in range(count)
    )
    told = "\n".join(
        f"      $write(\"case %0s: %0d words, %0d wrong\", {plan.case}_pkg::CASE_NAME, count_{i}, wrong_{i});\n"
        f"      if (done[{i}]) $write(\"\\n\"); else $write(\", not all there\\n\");"
        for i, plan in enumerate(plans)
    )
    lines.append(f"""module bench;
  logic clk = 0, rst = 1, dump = 0;
  logic [{count - 1}:0] done, moving;
  integer cycles = 0, idle = 0;
  always #5 clk = ~clk;
{benches}
  always @(posedge clk) begin
    cycles <= cycles + 1;
    rst <= cycles < 3;
    idle <= |moving || rst ? 0 : idle + 1;
    if (&done || idle > 20000) dump <= 1;  // no sum takes that long
    if (dump) begin
{told}
      $display("cycles %0d", cycles);
      $finish;
    end
  end
endmodule
""")
    return "\n".join(lines)


def cocotb_top(plans: list[Plan]) -> str:
    """The top that cocotb drives: all designs behind one set of ports, `at` says which is awake."""
    lines = ["""`timescale 1ns/1ps
module cocotb_top (
    input  logic clk, rst, input logic [15:0] at,
    input  logic p_write, input logic [3:0] p_kind, input logic [15:0] p_at, p_word,
    input  logic in_valid, output logic in_ready, input logic [95:0] in_data,
    output logic mid_valid, output logic [159:0] mid_data,
    output logic out_valid, input logic out_ready, output logic [191:0] out_data);"""]
    for i, plan in enumerate(plans):
        lines.append(
            f"  logic awake_{i}, in_ready_{i}, mid_valid_{i}, out_valid_{i};\n"
            f"  logic [159:0] mid_data_{i};\n  logic [191:0] out_data_{i};\n"
            f"  assign awake_{i} = at == {i};  // {plan.case}"
        )
        lines.append(_design(plan, i, (
            f".clk, .rst(rst || !awake_{i}), .p_write(p_write && awake_{i}), .p_kind, .p_at, .p_word,\n"
            f"      .in_valid(in_valid && awake_{i}), .in_ready(in_ready_{i}), .in_data, .mid_valid(mid_valid_{i}), "
            f".mid_data(mid_data_{i}),\n      .out_valid(out_valid_{i}), .out_ready(out_ready && awake_{i}), "
            f".out_data(out_data_{i})")))  # fmt: skip
    outputs = ("in_ready", "mid_valid", "mid_data", "out_valid", "out_data")
    lines.append("  always_comb begin\n    {in_ready, mid_valid, mid_data, out_valid, out_data} = '0;")
    for i in range(len(plans)):
        lines.append(f"    if (awake_{i}) begin " + " ".join(f"{name} = {name}_{i};" for name in outputs) + " end")
    lines.append("  end\nendmodule\n")
    return "\n".join(lines)
