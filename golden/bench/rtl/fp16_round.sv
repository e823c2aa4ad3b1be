// magnitude * 2^exponent with a sign, rounded once to FP16 (SPEC.md F2, F3, F5, F6). A magnitude of 0 gives a zero of the
// sign. ROUNDING and OVERFLOW count as the packages do: nearest_even, toward_zero, up, down, nearest_away; infinity, saturate.
`include "bugs.svh"
module fp16_round #(
    parameter int WIDTH = 22, parameter int EXPONENT = 7,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic sign,
    input  logic [WIDTH-1:0] magnitude,
    input  logic signed [EXPONENT-1:0] exponent,
    output logic [15:0] word);
  localparam int WIDE = WIDTH < 12 ? 12 : WIDTH;
  localparam logic [14:0] INFINITE = 15'h7c00, LARGEST = 15'h7bff;
  wire [WIDE-1:0] wide = WIDE'(magnitude);

  // The leading one decides which bit is the last that the result keeps: 2^last, never below 2^-24.
  logic signed [31:0] top, last, shift;
  always_comb begin
    top = 0;
    for (int i = 0; i < WIDE; i++) if (wide[i]) top = i;
    last = top + 32'(exponent) - 10;
    if (last < -24) last = -24;
    shift = last - 32'(exponent);
  end

  logic [WIDE-1:0] kept;
  logic guard, sticky;
  always_comb
    if (shift > 0) begin
      kept = wide >> shift;
      guard = 1'(wide >> (shift - 1));
      sticky = (wide & ((WIDE'(1) << (shift - 1)) - WIDE'(1))) != 0 && !`BUG(sticky_lost);
    end else begin
      kept = wide << -shift;
      {guard, sticky} = 2'b00;
    end

  logic up;
  always_comb
    case (ROUNDING)
      0: up = guard && (sticky || kept[0] || `BUG(ties_away));
      1: up = 1'b0;
      2: up = (guard || sticky) && !sign;
      3: up = (guard || sticky) && sign;
      default: up = guard;
    endcase

  // Added to the significand, its hidden one and a carry count the exponent up.
  wire [31:0] encoded = 32'(kept[11:0]) + 32'(up && !`BUG(truncated)) + (32'(last + 24) << 10);
  wire to_largest = OVERFLOW == 1 || ROUNDING == 1 || (ROUNDING == 2 && sign) || (ROUNDING == 3 && !sign);
  always_comb
    if (magnitude == 0) word = {sign, 15'd0};
    else if (encoded >= 32'(INFINITE)) word = {sign, to_largest || `BUG(overflow_to_largest) ? LARGEST : INFINITE};
    else if (encoded < 32'h400 && (FLUSH != 0 || `BUG(results_flushed))) word = {sign, 15'd0};
    else word = {sign, encoded[14:0]};
endmodule
