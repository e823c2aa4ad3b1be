"""Modules of the SystemVerilog functions, one for each, in the widths of hardware; and an example that calls both."""

from __future__ import annotations

from collections.abc import Iterator

from bitrow.export import hardware, model
from bitrow.export.hardware import SvWord

_CODE = "parameter int BITS = 4, parameter logic SIGNED = 1'b1, parameter logic NARROW = 1'b0"
_RANGE = """    // F7
    localparam logic signed [31:0] LOW = SIGNED ? -(32'sd1 <<< (BITS - 1)) + {31'd0, NARROW} : 32'sd0;
    localparam logic signed [31:0] HIGH = (32'sd1 <<< (SIGNED ? BITS - 1 : BITS)) - 32'sd1;
"""
_MAC = ("parameter int ACC_BITS = 24, parameter int X_BITS = 4, parameter int WEIGHT_BITS = 4,\n"
        "    parameter logic X_SIGNED = 1'b1")  # fmt: skip


def _quantizer() -> str:
    """Both results of a quantizer in one module."""
    return f"""// A quantizer to codes of BITS: the code of t, and whether the gradient passes (Q1, Q2, Q4).
module bitrow_quantize #({_CODE}) (
    input logic [15:0] t,
    output logic [BITS-1:0] code,
    output logic mask
);
{_RANGE}    logic signed [31:0] wide;
    assign wide = bitrow_pkg::bw_quantize(t, LOW, HIGH);
    assign code = wide[BITS-1:0];
    assign mask = bitrow_pkg::bw_inside(t, LOW, HIGH);
endmodule
"""


def _drawn() -> str:
    return f"""// The same with a word of the LFSR (Q3).
module bitrow_quantize_drawn #({_CODE}) (
    input logic [15:0] t,
    input logic [15:0] word,
    output logic [BITS-1:0] code
);
{_RANGE}    logic signed [31:0] wide;
    assign wide = bitrow_pkg::bw_quantize_drawn(t, word, LOW, HIGH);
    assign code = wide[BITS-1:0];
endmodule
"""


def _code_flags(name: str, given: str) -> str:
    """What a quantizer's code raises (Q6), in its widths."""
    ports = "".join(f"    input logic [15:0] {word},\n" for word in given.split(", "))
    return f"""// {hardware.words()[name].says}.
module bitrow_{name} #({_CODE}) (
{ports}    output logic [4:0] y
);
{_RANGE}    assign y = bitrow_pkg::bw_{name}({given}, LOW, HIGH);
endmodule
"""


def _mac(name: str) -> str:
    return f"""// {hardware.words()[f"mac_{name}"].says}.
module bitrow_mac_{name} #({_MAC}) (
    input logic signed [ACC_BITS-1:0] acc,
    input logic [X_BITS-1:0] x,
    input logic signed [WEIGHT_BITS-1:0] weight,
    output logic signed [ACC_BITS-1:0] y
);
    logic signed [31:0] code, wide;
    assign code = {{{{(32-X_BITS){{X_SIGNED & x[X_BITS-1]}}}}, x}};
    assign wide = bitrow_pkg::bw_mac_{name}(32'(acc), code, 32'(weight), ACC_BITS);
    assign y = wide[ACC_BITS-1:0];
endmodule
"""


_SPECIAL = {"quantize": _quantizer, "inside": None, "quantize_drawn": _drawn, "mac_wrap": lambda: _mac("wrap"),
            "mac_saturate": lambda: _mac("saturate"), "quantize_flags": lambda: _code_flags("quantize_flags", "t"),
            "quantize_drawn_flags": lambda: _code_flags("quantize_drawn_flags", "t, word")}  # fmt: skip


def _plain(word: SvWord) -> str:
    parameter = "#(parameter logic [5:0] MODE = bitrow_pkg::BW_NEAREST_EVEN) " if word.moded else ""
    ports = ",\n".join(f"    {'output' if port is word.result else 'input'} {port.type} {port.name}"
                       for port in (*word.ports, word.result))  # fmt: skip
    given = ", ".join([*(["MODE"] if word.moded else []), *(port.name for port in word.ports)])
    call = f"bitrow_pkg::bw_{word.name}({given})"
    return f"// {word.says}.\nmodule bitrow_{word.name} {parameter}(\n{ports}\n);\n    assign y = {call};\nendmodule\n"


def names() -> list[str]:
    """Every module, in the order of the file."""
    return [f"bitrow_{name}" for name in hardware.words() if _SPECIAL.get(name, _plain) is not None]


def _texts() -> Iterator[str]:
    for name, word in hardware.words().items():
        special = _SPECIAL.get(name, lambda word=word: _plain(word))
        if special is not None:
            yield special()


def modules() -> str:
    """bitrow_modules.sv: a combinational module for each function, its mode and widths as parameters."""
    listed = "\n".join(_texts())
    return f"""// {model.CONTRACT}, as SystemVerilog: a combinational module for each function of bitrow_pkg.sv.
// All stand in one file, and of words of 32 bits a module hands on those that it has.
/* verilator lint_off DECLFILENAME */
/* verilator lint_off UNUSEDSIGNAL */
{listed}/* verilator lint_on UNUSEDSIGNAL */
/* verilator lint_on DECLFILENAME */
"""
