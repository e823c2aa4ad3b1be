// fp16(a * b) (SPEC.md F2 to F6).
`include "bugs.svh"
module fp16_mul #(
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [15:0] a, b,
    output logic [15:0] y);
  logic a_sign, a_nan, a_infinite, a_zero, b_sign, b_nan, b_infinite, b_zero;
  logic [10:0] a_significand, b_significand;
  logic signed [5:0] a_exponent, b_exponent;
  fp16_unpack #(.FLUSH(FLUSH)) unpack_a (.word(a), .sign(a_sign), .nan(a_nan), .infinite(a_infinite), .zero(a_zero),
      .significand(a_significand), .exponent(a_exponent));
  fp16_unpack #(.FLUSH(FLUSH)) unpack_b (.word(b), .sign(b_sign), .nan(b_nan), .infinite(b_infinite), .zero(b_zero),
      .significand(b_significand), .exponent(b_exponent));

  wire sign = a_sign ^ b_sign;
  wire invalid = (a_infinite && b_zero) || (a_zero && b_infinite);
  logic [15:0] rounded;
  fp16_round #(.WIDTH(22), .EXPONENT(7), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) round (
      .sign, .magnitude(22'(a_significand) * 22'(b_significand)), .exponent(7'(a_exponent) + 7'(b_exponent)),
      .word(rounded));
  always_comb
    if (a_nan || b_nan || (invalid && !`BUG(infinity_times_zero))) y = 16'h7e00 | {`BUG(nan_sign), 15'd0};
    else if (a_infinite || b_infinite) y = {sign, 15'h7c00};
    else y = rounded;
endmodule
