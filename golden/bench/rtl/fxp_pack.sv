// Codes to bytes (SPEC.md Q5): two of up to 4 bits share a byte, the first in the low nibble; each row starts on a byte.
`include "bugs.svh"
module fxp_pack #(
    parameter int BITS = 4, parameter int SIGNED = 1, parameter int ROW = 8) (  // codes in a row
    input  logic clk, rst,
    input  logic in_valid, output logic in_ready, input  logic [BITS-1:0] code,
    output logic out_valid, input  logic out_ready, output logic [7:0] data);
  localparam int CODE = BITS > 4 ? 8 : 4;
  wire sign = SIGNED != 0 && code[BITS-1] && !`BUG(nibbles_zero_extended);
  wire [7:0] extended = {{(9 - BITS){sign}}, code[BITS-2:0]} | 8'(code);
  logic [31:0] at;
  logic half;  // the low nibble is there
  logic [3:0] low;
  wire last = at == ROW - 1;
  wire whole = CODE == 8 || half || last;
  wire [3:0] first = half ? low : extended[3:0], second = half ? extended[3:0] : 4'd0;
  assign in_ready = !rst && (!whole || out_ready);
  assign out_valid = !rst && in_valid && whole;
  assign data = CODE == 8 ? extended : `BUG(nibbles_swapped) ? {first, second} : {second, first};
  always_ff @(posedge clk)
    if (rst) begin
      at <= '0;
      half <= 1'b0;
    end else if (in_valid && in_ready) begin
      at <= last ? '0 : at + 1;
      half <= !whole;
      low <= extended[3:0];
    end
endmodule
