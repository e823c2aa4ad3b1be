// fp16(a + b), or fp16(a - b) (SPEC.md F2 to F6).
`include "bugs.svh"
module fp16_add #(
    parameter int SUBTRACT = 0, parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [15:0] a, b,
    output logic [15:0] y);
  wire [15:0] addend = {b[15] ^ (SUBTRACT != 0), b[14:0]};
  logic a_sign, a_nan, a_infinite, a_zero, b_sign, b_nan, b_infinite, b_zero;
  logic [10:0] a_significand, b_significand;
  logic signed [5:0] a_exponent, b_exponent;
  fp16_unpack #(.FLUSH(FLUSH)) unpack_a (.word(a), .sign(a_sign), .nan(a_nan), .infinite(a_infinite), .zero(a_zero),
      .significand(a_significand), .exponent(a_exponent));
  fp16_unpack #(.FLUSH(FLUSH)) unpack_b (.word(addend), .sign(b_sign), .nan(b_nan), .infinite(b_infinite), .zero(b_zero),
      .significand(b_significand), .exponent(b_exponent));

  // The smaller operand is shifted under the larger one, with three places more and a sticky last one.
  wire swap = b[14:0] > a[14:0];
  wire sign = swap ? b_sign : a_sign;
  wire [13:0] greater = {swap ? b_significand : a_significand, 3'b000};
  wire [13:0] lesser = {swap ? a_significand : b_significand, 3'b000};
  wire signed [6:0] exponent = 7'(swap ? b_exponent : a_exponent);
  wire [6:0] distance = exponent - 7'(swap ? a_exponent : b_exponent);
  wire lost = (lesser & ((14'd1 << distance) - 14'd1)) != 0;  // a shift past the end leaves all ones
  wire [13:0] aligned = (lesser >> distance) | 14'(lost && !`BUG(align_sticky_lost));
  wire [14:0] sum = a_sign == b_sign ? 15'(greater) + 15'(aligned) : 15'(greater) - 15'(aligned);
  wire zero_sign = a_sign == b_sign ? a_sign : ROUNDING == 3 || `BUG(zero_sum_negative);

  logic [15:0] rounded;
  fp16_round #(.WIDTH(15), .EXPONENT(7), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) round (
      .sign(sum == 0 ? zero_sign : sign), .magnitude(sum), .exponent(exponent - 7'sd3), .word(rounded));
  always_comb
    if (a_nan || b_nan) y = `BUG(nan_payload) ? (a_nan ? a : addend) : 16'h7e00 | {`BUG(nan_sign), 15'd0};
    else if (a_infinite && b_infinite && a_sign != b_sign) y = 16'h7e00 | {`BUG(nan_sign), 15'd0};
    else if (a_infinite || b_infinite) y = a_infinite ? a : addend;
    else y = rounded;
endmodule
