// An FP32 word, rounded once to FP16 (SPEC.md F10).
`include "bugs.svh"
module fp16_from_float32 #(
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [31:0] x,
    output logic [15:0] y);
  wire subnormal = x[30:23] == 0;
  wire [23:0] significand = {!subnormal, x[22:0]};
  wire signed [8:0] exponent = subnormal ? -9'sd149 : $signed({1'b0, x[30:23]} - 9'd150);
  logic [15:0] rounded;
  fp16_round #(.WIDTH(24), .EXPONENT(9), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) round (
      .sign(x[31]), .magnitude(significand), .exponent, .word(rounded));
  always_comb
    if (&x[30:23]) y = x[22:0] != 0 ? 16'h7e00 | {`BUG(nan_sign), 15'd0} : {x[31], 15'h7c00};
    else y = rounded;
endmodule
