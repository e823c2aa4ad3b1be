// fp16(a * b + c), rounded once (SPEC.md F2 to F6). Product and addend meet in a fixed point of 2^-48.
`include "bugs.svh"
module fp16_fma #(
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [15:0] a, b, c,
    output logic [15:0] y);
  localparam int WIDTH = 82;  // the largest product is below 2^(32 + 48), a sum below twice that
  logic a_sign, a_nan, a_infinite, a_zero, b_sign, b_nan, b_infinite, b_zero, c_sign, c_nan, c_infinite, c_zero;
  logic [10:0] a_significand, b_significand, c_significand;
  logic signed [5:0] a_exponent, b_exponent, c_exponent;
  fp16_unpack #(.FLUSH(FLUSH)) unpack_a (.word(a), .sign(a_sign), .nan(a_nan), .infinite(a_infinite), .zero(a_zero),
      .significand(a_significand), .exponent(a_exponent));
  fp16_unpack #(.FLUSH(FLUSH)) unpack_b (.word(b), .sign(b_sign), .nan(b_nan), .infinite(b_infinite), .zero(b_zero),
      .significand(b_significand), .exponent(b_exponent));
  fp16_unpack #(.FLUSH(FLUSH)) unpack_c (.word(c), .sign(c_sign), .nan(c_nan), .infinite(c_infinite), .zero(c_zero),
      .significand(c_significand), .exponent(c_exponent));

  wire p_sign = a_sign ^ b_sign;
  wire [6:0] p_shift = 7'(a_exponent) + 7'(b_exponent) + 7'd48;  // 0 to 58
  wire [6:0] c_shift = 7'(c_exponent) + 7'd48;                   // 24 to 53
  wire [WIDTH-1:0] product = WIDTH'(22'(a_significand) * 22'(b_significand)) << p_shift;
  wire [WIDTH-1:0] addend = WIDTH'(c_significand) << c_shift;
  wire larger = product >= addend;
  wire [WIDTH-1:0] difference = larger ? product - addend : addend - product;
  wire [WIDTH-1:0] sum = p_sign == c_sign ? product + addend : difference;
  wire zero_sign = p_sign == c_sign ? p_sign : ROUNDING == 3;

  logic [15:0] rounded;
  fp16_round #(.WIDTH(WIDTH), .EXPONENT(7), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) round (
      .sign(sum == 0 ? zero_sign : larger ? p_sign : c_sign), .magnitude(sum), .exponent(-7'sd48), .word(rounded));
  wire invalid = (a_infinite && b_zero) || (a_zero && b_infinite);
  wire p_infinite = a_infinite || b_infinite;
  always_comb
    if (a_nan || b_nan || c_nan || invalid || (p_infinite && c_infinite && p_sign != c_sign))
      y = 16'h7e00 | {`BUG(nan_sign), 15'd0};
    else if (p_infinite) y = {p_sign, 15'h7c00};
    else if (c_infinite) y = c;
    else y = rounded;
endmodule
