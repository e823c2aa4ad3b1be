// An FP16 word as FP32, exact (SPEC.md F10).
module fp16_to_float32 #(
    parameter int FLUSH = 0) (
    input  logic [15:0] a,
    output logic [31:0] y);
  logic sign, nan, infinite, zero;
  logic [10:0] significand;
  logic signed [5:0] exponent;
  fp16_unpack #(.FLUSH(FLUSH)) unpack (.word(a), .sign, .nan, .infinite, .zero, .significand, .exponent);

  logic [3:0] top;  // the leading one
  always_comb begin
    top = 0;
    for (int i = 0; i < 11; i++) if (significand[i]) top = 4'(i);
  end
  wire [23:0] fraction = 24'(significand) << (5'd23 - 5'(top));
  wire [7:0] biased = 8'd127 + 8'(exponent) + 8'(top);
  always_comb
    if (nan) y = 32'h7fc00000;
    else if (infinite) y = {sign, 31'h7f800000};
    else if (zero) y = {sign, 31'd0};
    else y = {sign, biased, fraction[22:0]};
endmodule
