// What meets a convolution's map first: the fold, the stochastic word, the quantizer (SPEC.md Q, C2). One word a cycle,
// combinational; the words of the LFSR are counted in elements of the tensor, as they pass.
module conv_head #(
    parameter int FOLDED = 0, parameter int DRAWN = 0,
    parameter int BITS = 4, parameter int SIGNED = 1, parameter int NARROW = 0,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic clk, rst, load_seed, step,
    input  logic [15:0] seed, x, fold, inv_scale,
    output logic [15:0] folded, word, t,
    output logic [BITS-1:0] code,
    output logic mask);
  if (FOLDED != 0) begin : folds
    fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) multiply (.a(x), .b(fold), .y(folded));
  end else begin : straight
    assign folded = x;
  end
  if (DRAWN != 0) begin : stochastic
    lfsr16 lfsr (.clk, .load(load_seed), .step, .seed, .start(32'd0), .word);
  end else begin : nearest
    assign word = 16'd0;
  end
  fxp_quantize #(.BITS(BITS), .SIGNED(SIGNED), .NARROW(NARROW), .DRAWN(DRAWN),
      .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) quantize (
      .x(folded), .inv_scale, .drawn(word), .t, .code, .mask);
endmodule
