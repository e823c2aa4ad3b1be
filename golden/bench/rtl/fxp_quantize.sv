// FP16 to a code: t = fp16(x * inv_scale), rounded to nearest even and clipped, and the straight-through mask
// (SPEC.md Q1, Q2, Q4); or with DRAWN rounded by a random word (Q3).
`include "bugs.svh"
module fxp_quantize #(
    parameter int BITS = 4, parameter int SIGNED = 1, parameter int NARROW = 0, parameter int DRAWN = 0,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [15:0] x, inv_scale, drawn,
    output logic [15:0] t,
    output logic [BITS-1:0] code,
    output logic mask);
  localparam int MAX = SIGNED != 0 ? (1 << (BITS - 1)) - 1 : (1 << BITS) - 1;
  localparam int MIN = SIGNED == 0 ? 0 : NARROW != 0 ? -MAX : -MAX - 1;
  fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) scale (.a(x), .b(inv_scale), .y(t));

  logic sign, nan, infinite, zero;
  logic [10:0] significand;
  logic signed [5:0] exponent;
  fp16_unpack unpack (.word(t), .sign, .nan, .infinite, .zero, .significand, .exponent);
  wire [4:0] shift = 5'(exponent + 6'sd24);
  wire [39:0] magnitude = infinite ? {16'h8000, 24'd0} : 40'(significand) << shift;  // in units of 2^-24

  // To nearest even: the magnitude's integer part, and one more.
  wire tie = magnitude[23:0] == 24'h800000;
  wire up = magnitude[23] && (!tie || magnitude[24] || `BUG(codes_ties_away)) && !`BUG(codes_truncated);
  wire [16:0] integer_part = {1'b0, magnitude[39:24]} + 17'(up);
  wire signed [17:0] nearest = sign ? -$signed({1'b0, integer_part}) : $signed({1'b0, integer_part});

  // By a word: the floor of the sum.
  wire signed [41:0] fixed = sign ? -$signed({2'b00, magnitude}) : $signed({2'b00, magnitude});
  wire signed [41:0] added = $signed({18'd0, drawn, 8'd0});
  wire signed [41:0] raised = fixed + added, raised_magnitude = $signed({2'b00, magnitude}) + added;
  wire signed [17:0] away = sign ? -$signed(raised_magnitude[41:24]) : $signed(raised_magnitude[41:24]);
  wire signed [17:0] floored = `BUG(word_to_magnitude) ? away : $signed(raised[41:24]);
  wire signed [17:0] chosen = DRAWN != 0 ? floored : nearest;

  localparam int NARROWED = MIN == -MAX - 1 ? MIN + 1 : MIN;
  wire signed [17:0] least = `BUG(codes_narrow) ? 18'(NARROWED) : 18'(MIN);
  wire signed [17:0] most = 18'(MAX);
  logic signed [17:0] clipped;
  always_comb begin
    clipped = chosen < least ? least : chosen > most ? most : chosen;
    if (`BUG(codes_wrap) && DRAWN == 0) clipped = chosen;
    if (nan) clipped = `BUG(nan_code_largest) ? most : 18'sd0;
  end
  assign code = clipped[BITS-1:0];
  wire in_range = `BUG(mask_exclusive) ? nearest > 18'(MIN) && nearest < most : nearest >= 18'(MIN) && nearest <= most;
  assign mask = (in_range && !nan && !infinite) || `BUG(mask_stuck);
endmodule
