// The parts of an FP16 word (SPEC.md F1, F5): a finite one stands for significand * 2^exponent.
`include "bugs.svh"
module fp16_unpack #(
    parameter int FLUSH = 0) (
    input  logic [15:0] word,
    output logic sign, nan, infinite, zero,
    output logic [10:0] significand,
    output logic signed [5:0] exponent);  // of the significand's last bit, -24 to 5
  wire subnormal = word[14:10] == 0;
  wire read_as_zero = subnormal && (FLUSH != 0 || `BUG(operands_flushed));
  assign sign = word[15];
  assign nan = &word[14:10] && word[9:0] != 0;
  assign infinite = &word[14:10] && word[9:0] == 0;
  assign significand = read_as_zero ? 11'd0 : {!subnormal, word[9:0]};
  assign zero = significand == 0;
  assign exponent = subnormal ? -6'sd24 : $signed({1'b0, word[14:10]} - 6'd25);
endmodule
