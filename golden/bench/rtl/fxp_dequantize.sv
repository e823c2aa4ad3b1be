// An accumulator to FP16: fp16(acc * scale), or with TWO_STEP fp16(acc) first (SPEC.md D1, D2).
`include "bugs.svh"
module fxp_dequantize #(
    parameter int WIDTH = 24, parameter int TWO_STEP = 0,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic signed [WIDTH-1:0] acc,
    input  logic [15:0] scale,  // positive and normal
    output logic [15:0] acc_fp16, deq);
  wire signed [WIDTH-1:0] read = `BUG(acc_short) ? {acc[WIDTH-2], acc[WIDTH-2:0]} : acc;
  wire [WIDTH-1:0] magnitude = read < 0 ? -read : read;
  wire [10:0] significand = {1'b1, scale[9:0]};
  wire signed [6:0] exponent = $signed(7'(scale[14:10]) - 7'd25);

  logic [15:0] fused, stepped;
  fp16_round #(.WIDTH(WIDTH + 11), .EXPONENT(7), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) round (
      .sign(read < 0), .magnitude((WIDTH + 11)'(magnitude) * (WIDTH + 11)'(significand)), .exponent, .word(fused));
  fp16_from_int32 #(.WIDTH(WIDTH), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) convert (
      .i(read), .y(acc_fp16));
  fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) scaled (.a(acc_fp16), .b(scale), .y(stepped));
  assign deq = TWO_STEP != 0 || `BUG(dequantized_in_two) ? stepped : fused;
endmodule
